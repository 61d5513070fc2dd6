# Copyright 2026 The GreenMIM for transformers authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Image sources: unusual folders and files, and unreadable rows of parquet files."""

import http.server
import os
import shutil
import threading
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from transformers.utils import logging as transformers_logging

from modeling_greenmim.training.errors import UserError, check_unreadable, make_printable
from modeling_greenmim.training.image_decoding import CenterCrop, ExampleMaker
from modeling_greenmim.training.image_files import (
    ImageFiles,
    ParquetImages,
    RowSettings,
    find_images,
    list_files,
    read_row,
)
from modeling_greenmim.training.image_streams import ImageStream
from tests.helpers.training_images import NUM_IMAGES, SHARDS, damage_row_group, encode, write_files, write_parquet


def read_all(images) -> tuple[list[bytes], dict[str, str]]:
    """Read all images. Returns their contents and the reasons why others cannot be read."""
    contents, reasons = [], {}
    for group, size in enumerate(images.group_sizes):
        for row in range(size):
            image = images.get_image(group, row)
            try:
                contents.append(image.read())
            except Exception as error:
                assert image.name not in reasons, "two places have one name"
                reasons[image.name] = str(error)
    return contents, reasons


def find(*names, **settings):
    return find_images([str(name) for name in names], "--train_dir", **settings)


# Folders and files


def test_every_way_to_name_the_data_finds_it(image_folders):
    for names, kind, number in [
        ([image_folders / "files"], "image", NUM_IMAGES),
        ([image_folders / "parquet"], "parquet", 3),
        ([image_folders / "tars"], "webdataset", 3),
        ([image_folders / "parquet" / "*.parquet"], "parquet", 3),
        ([image_folders / "files" / "0*.png", image_folders / "files" / "1*.png"], "image", NUM_IMAGES),
        (["https://example.com/a.parquet", image_folders / "parquet" / "0.parquet"], "parquet", 2),
        (["https://example.com/a.tar?X-Amz-Signature=b%2Fc.png"], "webdataset", 1),
    ]:
        found, files, problems = find(*names)
        assert (found, len(files), problems) == (kind, number, {})


@pytest.mark.parametrize("name", ["trip [2020]", "x*?[a]"])
def test_names_of_folders_are_not_patterns(tmp_path, name):
    write_files(tmp_path / name)
    assert len(find(tmp_path / name)[1]) == NUM_IMAGES
    write_parquet(tmp_path / f"{name}.parquets" / "a [1].parquet", [encode(0)])
    _, files, _ = find(tmp_path / f"{name}.parquets")
    assert len(read_all(ParquetImages(files))[0]) == 1
    assert ImageStream("parquet", files).num_images == len(list(ImageStream("parquet", files).dataset)) == 1


def test_a_name_that_looks_like_a_pattern_is_that_file_alone(tmp_path):
    for name in ("good03[0-9].jpg", "good030.jpg", "good031.jpg"):
        (tmp_path / name).write_bytes(encode(0))
    assert len(find(tmp_path)[1]) == 3
    assert find(tmp_path / "good03[0-9].jpg")[1] == [str(tmp_path / "good03[0-9].jpg")]
    (tmp_path / "good03[0-9].jpg").unlink()
    assert len(find(tmp_path / "good03[0-9].jpg")[1]) == 2


def test_what_is_no_file_is_counted_and_ends_nothing(tmp_path):
    """Folders are noticed when they are listed, images only when they are read."""
    write_files(tmp_path, range(3))
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "missing")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder").symlink_to(tmp_path / "missing")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "missing")  # would not be a valid image
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.parquet")
    _, files, problems = find(tmp_path)
    contents, reasons = read_all(ImageFiles(files))
    assert len(contents) == 3
    assert {Path(name).name for name in problems} == {"folder", "pipe.parquet"}
    assert {Path(name).name for name in reasons} == {"dangling.jpg", "itself.png", "zero.jpg", "pipe.png"}


def test_names_that_are_not_utf_8_are_read(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb") as file:
        file.write(encode(0))
    (tmp_path / "broken\x1b[31m.png").write_text("")
    images = ImageFiles(find(tmp_path)[1])
    contents, _ = read_all(images)
    assert sorted(contents) == [b"", encode(0)]
    make_example = ExampleMaker(CenterCrop((8, 8)), num_channels=1, seed=0, max_pixels=1)
    named = [make_example(images.get_image(group, 0), epoch=0)["unreadable"] for group in range(2)]
    assert set().union(*named) == {f"{tmp_path}/broken\\x1b[31m.png", f"{tmp_path}/\\udcff.png"}
    assert images.checksums != ImageFiles([str(tmp_path / "a.png")]).checksums


def test_folders_that_cannot_be_listed_are_counted(tmp_path, monkeypatch):
    write_files(tmp_path / "open", range(3))
    write_files(tmp_path / "closed.folder", range(3, 6))
    scandir = os.scandir

    def refuse(path):  # permissions do not restrict root
        if Path(path).name == "closed.folder":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    _, files, problems = find(tmp_path)
    assert len(files) == 3
    assert list(problems) == [str(tmp_path / "closed.folder")] and "Permission denied" in str(problems)


def test_loops_of_links_end_and_a_folder_is_listed_once(tmp_path):
    write_files(tmp_path / "images" / "class0")
    (tmp_path / "images" / "class0" / "parent").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "images" / "class0")
    assert len(list_files(str(tmp_path / "images"))[0]) == NUM_IMAGES
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "class0").symlink_to(tmp_path / "images" / "class0")
    assert len(find(tmp_path / "links")[1]) == NUM_IMAGES


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nothing.parquet"], "--train_dir .*nothing.parquet is neither a folder nor a file"),
        (["*.nothing"], "is neither a folder nor a file"),
        (
            ["parquet/0.parquet", "tars/0.tar"],
            ".parquet contains .parquet, .tar. Pass local image files .* only one of these kinds",
        ),
        (["notes.txt"], "notes.txt contains .txt. Pass"),
        (["a.tar.gz"], "contains .gz. Pass .* uncompressed tars"),
        (
            ["empty"],
            r"--train_dir .*empty contains no images. Pass local image files .*\.jpg, .*parquet files or uncompressed tars",
        ),
    ],
)
def test_data_that_are_not_there_are_named(image_folders, names, message):
    (image_folders / "empty").mkdir(exist_ok=True)
    for name in ("notes.txt", "a.tar.gz"):
        (image_folders / name).touch()
    with pytest.raises(UserError, match=message):
        find(*(image_folders / name for name in names))


def test_of_a_folder_with_splits_one_is_chosen(image_folders, tmp_path, caplog):
    for split, shard in (("train", 0), ("test", 1)):
        shutil.copy(image_folders / "parquet" / f"{shard}.parquet", tmp_path / f"{split}-00000-of-00001.parquet")
    transformers_logging.enable_propagation()
    with caplog.at_level("WARNING", logger="transformers"):
        assert ParquetImages(find(tmp_path)[1]).num_images == SHARDS[0]
    transformers_logging.disable_propagation()
    assert "reading 1 of 2 files" in caplog.text
    assert ParquetImages(find(tmp_path, split="test")[1]).num_images == SHARDS[1]


def test_labels_of_files_are_their_folders(tmp_path):
    write_files(tmp_path / "cat", [0])
    assert ImageFiles(find(tmp_path)[1]).get_image(0, 0).label == "cat"


# Contents that changed


def test_the_same_files_in_another_folder_are_the_same_data(image_folders, tmp_path):
    shutil.copytree(image_folders / "files", tmp_path / "moved")
    reference = ImageFiles(find(image_folders / "files")[1]).checksums
    assert ImageFiles(find(tmp_path / "moved")[1]).checksums == reference
    (tmp_path / "moved" / "00.png").unlink()
    assert ImageFiles(find(tmp_path / "moved")[1]).checksums != reference
    shutil.copy(image_folders / "parquet" / "0.parquet", tmp_path)
    single = [ParquetImages([str(folder / "0.parquet")]).checksums for folder in (tmp_path, image_folders / "parquet")]
    assert single[0] == single[1]


def test_other_contents_under_the_same_names_are_noticed(tmp_path):
    write_files(tmp_path / "files")
    before = ImageFiles(find(tmp_path / "files")[1]).checksums
    (tmp_path / "files" / "07.png").write_bytes(encode(7, size=(60, 60)))
    after = ImageFiles(find(tmp_path / "files")[1]).checksums
    assert [name for name in before if before[name] != after[name]] == ["files (checksum of sizes)"]
    checksums = []
    for contents in ([encode(0), encode(1)], [encode(0), encode(1), encode(2)], [encode(0), encode(1, size=(99, 99))]):
        path = write_parquet(tmp_path / "0.parquet", contents)
        checksums += [ParquetImages([str(path)]).checksums, ImageStream("parquet", [str(path)]).checksums]
    sizes = [tuple(each.values()) for each in checksums]
    assert len(set(sizes[::2])) == 3 and len(set(sizes[1::2])) == 3


def test_a_signature_is_no_part_of_the_name(tmp_path, image_folders):
    """The token expires, and the URL with it is opened unchanged."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(image_folders / "parquet"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        addresses = [f"http://127.0.0.1:{server.server_port}/0.parquet?X-Amz-Signature={x}%2Fb" for x in "ac"]
        kind, files, _ = find(addresses[0])
        streams = [ImageStream(kind, [address]) for address in addresses]
        assert sum(1 for _ in streams[0].dataset) == SHARDS[0]
        server.shutdown()
    assert files == [addresses[0]] and kind == "parquet"
    assert streams[0].checksums == streams[1].checksums


# Parquet files


def test_null_rows_count_each(tmp_path):
    contents = [None if index % 3 else encode(index) for index in range(12)]
    images = ParquetImages([str(write_parquet(tmp_path / "0.parquet", [*contents, b""]))])
    contents, reasons = read_all(images)
    assert contents.count(b"") == 9 and len(contents) == images.num_images == 13 and reasons == {}
    assert (
        len(
            {images.get_image(group, row).name for group, size in enumerate(images.group_sizes) for row in range(size)}
        )
        == 13
    )


def test_a_damaged_row_group_is_as_many_images_and_is_read_once(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "good.parquet", [encode(index) for index in range(6)])
    damaged = write_parquet(tmp_path / "bad.parquet", [encode(index) for index in range(10, 16)], rows_per_group=3)
    damage_row_group(damaged, 1)
    images = ParquetImages([str(path), str(damaged)])
    reads = []
    read_row_group = pyarrow.parquet.ParquetFile.read_row_group
    monkeypatch.setattr(
        pyarrow.parquet.ParquetFile,
        "read_row_group",
        lambda self, *args, **kwargs: (reads.append(args), read_row_group(self, *args, **kwargs))[1],
    )
    contents, reasons = read_all(images)
    assert images.num_images == 12 and len(reads) == len(images.group_sizes) == 5
    assert sorted(contents) == sorted(encode(index) for index in [*range(6), *range(10, 13)])
    assert list(reasons) == [f"{damaged}, row {row} of row group 1" for row in range(3)]


def test_files_that_cannot_be_opened_or_lack_the_column_are_left_out_and_named(tmp_path, image_folders):
    good = write_parquet(tmp_path / "good.parquet", [encode(0)])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes((image_folders / "parquet" / "0.parquet").read_bytes()[:-20])
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "other.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "image": [encode(1)]}), tmp_path / "more.parquet")
    write_parquet(tmp_path / "empty.parquet", [])
    files = [str(tmp_path / f"{name}.parquet") for name in ("cut", "other", "good", "more", "empty")]
    images = ParquetImages(files)
    assert read_all(images)[0] == [encode(0), encode(1)] and good.exists()
    assert {Path(name).stem for name in images.unreadable} == {"cut", "other", "empty"}


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        ({"text": ["a"]}, {}, "There is no column 'image', only 'text'. Choose one with --image_column_name"),
        ({"image": ["a"]}, {}, "The column 'image' must hold images, got Value"),
        ({"a": [b"1"], "b": [b"2"]}, {}, "There is no column 'image', only 'a', 'b'"),
        ({"a": [b"1"], "b": [2]}, {"label_column_name": "c"}, "no column 'c' for --label_column_name, only 'a', 'b'"),
    ],
)
def test_a_wrong_column_is_an_error_that_lists_the_columns(tmp_path, table, settings, message):
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "0.parquet")
    with pytest.raises(UserError, match=message):
        ParquetImages([str(tmp_path / "0.parquet")], RowSettings(**settings))
    with pytest.raises(UserError, match=message):
        ImageStream("parquet", [str(tmp_path / "0.parquet")], rows=RowSettings(**settings))


def test_columns_of_plain_bytes_and_labels_are_read(tmp_path):
    table = {"photo": [encode(0), encode(1)], "kind": ["cat", "dog"]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "0.parquet")
    images = ParquetImages([str(tmp_path / "0.parquet")], rows=RowSettings(label_column_name="kind"))
    samples = {image.label: image.read() for image in images.sample(2, seed=0)}
    assert samples == {"cat": encode(0), "dog": encode(1)}


@pytest.mark.parametrize("is_stream", [False, True])
def test_rows_that_name_files_are_opened_only_where_the_user_says_so(tmp_path, is_stream):
    (tmp_path / "image.png").write_bytes(encode(3))
    path = str(write_parquet(tmp_path / "0.parquet", [None], paths=[str(tmp_path / "image.png")]))
    for allowed in (False, True):
        rows = RowSettings(allow_external_files=allowed)
        images = ImageStream("parquet", [path], rows=rows) if is_stream else ParquetImages([path], rows)
        (image,) = images.sample(1, seed=0)
        if allowed:
            assert image.read() == encode(3)
        else:
            with pytest.raises(ValueError, match="--allow_external_files"):
                image.read()


def test_a_row_that_names_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match="not a regular file"):
        read_row({"bytes": None, "path": str(tmp_path / "pipe.png")}, allow_external_files=True)


def test_samples_come_from_several_groups(image_folders):
    images = ParquetImages(find(image_folders / "parquet")[1])
    places = [image.place for image in images.sample(6, seed=0)]
    assert len(set(places)) == 6 and len({group for group, _ in places}) >= 5
    assert len(list(images.sample(1000, seed=0))) == NUM_IMAGES


# Too many


def test_a_few_unreadable_images_are_allowed_and_more_are_named():
    unreadable = {f"{index}.jpg": "ValueError: no image" for index in range(11)}
    check_unreadable(unreadable, 220, 0.05)
    check_unreadable(dict(list(unreadable.items())[:10]), 10, 0.05)
    with pytest.raises(
        UserError, match=r"11 of 219 images cannot be read.*--max_unreadable 0.05.*10.jpg \(ValueError"
    ):
        check_unreadable(unreadable, 219, 0.05)


def test_names_are_printable():
    assert make_printable("Füße 图.jpg") == "Füße 图.jpg"
    assert make_printable("a\x1b[2J\n\udcff") == "a\\x1b[2J\\n\\udcff"
