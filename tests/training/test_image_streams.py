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
"""
Streams: each image once per epoch, exact resume with the same numbers of processes and workers, and damaged data.
"""

import copy
import itertools
import shutil
import zlib
from collections import Counter
from pathlib import Path

import datasets
import fsspec
import pyarrow.parquet
import pytest
from datasets import load_dataset
from transformers.utils import logging as transformers_logging

from modeling_greenmim.training import micro_batches
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.image_decoding import CenterCrop, ExampleMaker, RandomCrop
from modeling_greenmim.training.image_files import RowSettings, find_images
from modeling_greenmim.training.image_streams import ImageStream, StreamedMicroBatches
from tests.helpers.training_images import NUM_IMAGES, SHARDS, damage_row_group, encode, write_parquet


KINDS = ["parquet", "tars"]


def open_folder(folder, **settings):
    kind, files, _ = find_images([str(folder)], "--train_dir")
    return ImageStream(kind, files, rows=RowSettings(**settings))


def collate(examples):
    """Collate the epoch, number and mask of each image, or the reason why it cannot be read."""
    return [
        (example["epoch"], *example["unreadable"].items())
        if example["unreadable"]
        else (example["epoch"], int(example["pixels"].flat[0]), str(example["mask_seed"]))
        for example in examples
    ]


def make_loader(stream, rank=0, world_size=1, num_workers=0, held_out=frozenset(), collate=collate, **settings):
    make_example = ExampleMaker(RandomCrop((8, 8)), 1, seed=0, held_out=held_out)
    streamed = StreamedMicroBatches(stream, 3, make_example, collate, rank, world_size, **settings)
    return micro_batches.make_loader(streamed, range(0), num_workers)


def take(iterator, number):
    """Micro-batches; a loader makes lists of tuples."""
    return [list(map(tuple, next(iterator))) for _ in range(number)]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_holds_each_image_once(image_folders, kind, world_size, num_workers):
    """Over all processes and workers, with a number of shards that neither divides."""
    seen = []
    for rank in range(world_size):
        iterator = iter(make_loader(open_folder(image_folders / kind), rank, world_size, num_workers))
        seen += [entry for batch in take(iterator, 2 * NUM_IMAGES // 3) for entry in batch]
        del iterator
    times = Counter(seen)
    assert max(times.values()) == 1
    for epoch in range(2 if world_size > 1 else 1):
        assert sorted(index for other, index, _ in times if other == epoch) == list(range(NUM_IMAGES))


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_have_orders_and_masks_of_their_own(image_folders, kind):
    batches = take(iter(make_loader(open_folder(image_folders / kind))), 4 * NUM_IMAGES // 3 + 1)
    entries = [entry for batch in batches for entry in batch]
    orders = [tuple(index for other, index, _ in entries if other == epoch) for epoch in range(4)]
    assert len(set(orders)) > 1
    assert len({seed for _, _, seed in entries}) == len(entries)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_loader_continues_exactly(image_folders, kind, num_workers):
    for num_batches in (0, 1, 6, 7, 11):
        loader = make_loader(open_folder(image_folders / kind), 1, 2, num_workers)
        iterator = iter(loader)
        take(iterator, num_batches)
        state = copy.deepcopy(loader.state_dict())  # it changes afterwards
        expected = take(iterator, 9)
        resumed = make_loader(open_folder(image_folders / kind), 1, 2, num_workers)
        resumed.load_state_dict(state)
        assert take(iter(resumed), 9) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_images_are_never_trained_on(image_folders, kind):
    make_example = ExampleMaker(CenterCrop((8, 8)), num_channels=1, seed=0)
    held_out = micro_batches.read_held_out_images(open_folder(image_folders / kind), 8, make_example)
    indices = {int(example["pixels"].flat[0]) for example in held_out.examples}
    assert len(indices) == 8
    loader = make_loader(open_folder(image_folders / kind), held_out=held_out.checksums)
    assert {index for batch in take(iter(loader), NUM_IMAGES) for _, index, _ in batch} == set(
        range(NUM_IMAGES)
    ) - indices


def test_a_worker_whose_images_are_all_held_out_leaves_it_to_the_others(image_folders):
    held_out = frozenset(zlib.crc32(encode(index)) for index in range(SHARDS[0]))  # all of the first shard
    for world_size in (1, 3):
        batches = []
        for rank in range(world_size):
            loader = make_loader(open_folder(image_folders / "tars"), rank, world_size, 3, held_out)
            batches += list(zip(range(10), loader))
        assert {index for _, batch in batches for _, index, _ in batch} == set(range(SHARDS[0], NUM_IMAGES))


def test_labels_are_columns(image_folders):
    samples = open_folder(image_folders / "tars", label_column_name="cls").sample(3, seed=0)
    assert all(int(image.label) == int(image.name.removesuffix(".png)")[-2:]) % 2 for image in samples)
    with pytest.raises(UserError, match="no column 'kind' for --label_column_name, only 'png', 'cls'"):
        open_folder(image_folders / "tars", label_column_name="kind")


def test_a_data_set_of_the_hub_is_streamed(image_folders, monkeypatch):
    def load(path, config_name, data_files, split, streaming):
        assert (path, config_name, data_files, split, streaming) == ("me/images", "small", None, "train", True)
        files = sorted(map(str, (image_folders / "parquet").iterdir()))
        return load_dataset("parquet", data_files=files, split="train", streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", load)
    stream = ImageStream("me/images", config_name="small")
    assert sum(1 for _ in stream.dataset) == NUM_IMAGES


def test_a_data_set_that_is_not_there_is_named():
    with pytest.raises(UserError, match="Cannot stream --dataset_name me/images, split 'train'"):
        ImageStream("me/images")


def test_names_of_files_of_image_folders_are_opened():
    """As on the Hub, they come from the builder, not from the data."""
    files = fsspec.filesystem("memory")
    files.pipe({f"/images/{index}.png": encode(index) for index in range(3)})
    rows = load_dataset("imagefolder", data_files="memory://images/*.png", split="train", streaming=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load_dataset", lambda *args, **kwargs: rows)
        stream = ImageStream("me/images")
    assert sorted(image.read() for image in stream.sample(9, seed=0)) == sorted(map(encode, range(3)))


def test_shards_that_cannot_be_divided_are_named(image_folders, caplog):
    transformers_logging.enable_propagation()
    with caplog.at_level("WARNING", logger="transformers"):
        make_loader(open_folder(image_folders / "tars"), world_size=2)
    transformers_logging.disable_propagation()
    assert "3 shards cannot be divided among 2 processes" in caplog.text


# Damaged data


def test_a_tar_that_was_cut_off_is_left_out_and_named(image_folders, tmp_path):
    shutil.copytree(image_folders / "tars", tmp_path / "tars")
    path = tmp_path / "tars" / "1.tar"
    path.write_bytes(path.read_bytes()[:3000])
    stream = open_folder(tmp_path / "tars")
    assert list(stream.unreadable) == [str(path)]
    assert sum(1 for _ in stream.dataset) == stream.num_images == NUM_IMAGES - SHARDS[1]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_which_none_can_be_read_are_an_error(tmp_path, kind):
    extension = "parquet" if kind == "parquet" else "tar"
    (tmp_path / f"damaged.{extension}").write_text("neither")
    with pytest.raises(UserError, match=f"None of the 1 .* files can be read. The first one is .*damaged.{extension}"):
        open_folder(tmp_path)


@pytest.fixture
def damaged_parquet(image_folders, tmp_path) -> Path:
    """Create a folder in which one row group (two images) cannot be read."""
    shutil.copytree(image_folders / "parquet", tmp_path / "damaged")
    damage_row_group(tmp_path / "damaged" / "1.parquet", 1)
    return tmp_path / "damaged"


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_the_rest_of_a_damaged_shard_is_one_image_that_cannot_be_read(damaged_parquet, world_size, num_workers):
    """In each epoch; the others of the epoch are seen once."""
    seen = []
    for rank in range(world_size):
        loader = make_loader(open_folder(damaged_parquet), rank, world_size, num_workers)
        seen += [entry for batch in take(iter(loader), NUM_IMAGES) for entry in batch]
    whole = Counter(entry for entry in seen if len(entry) == 3)
    damage = [entry[1] for entry in seen if len(entry) == 2]
    assert max(whole.values()) == 1 and damage
    (name,) = {name for name, _ in damage}
    assert name.startswith("shard ")
    numbers = {number for epoch, number, _ in whole if epoch == 0}
    assert numbers < set(range(NUM_IMAGES)) and len(numbers) == NUM_IMAGES - 2


def test_a_run_is_resumed_exactly_around_a_damaged_shard(damaged_parquet):
    expected = take(iter(make_loader(open_folder(damaged_parquet))), 14)
    assert any(len(entry) == 2 for batch in expected[:7] for entry in batch)
    for num_batches in range(1, 8):
        loader = make_loader(open_folder(damaged_parquet))
        take(iter(loader), num_batches)
        resumed = make_loader(open_folder(damaged_parquet))
        resumed.load_state_dict(copy.deepcopy(loader.state_dict()))
        assert take(iter(resumed), 14 - num_batches) == expected[num_batches:]


def test_a_damaged_tar_is_named(image_folders, tmp_path):
    """The file can be opened but not read to its end, as when a connection breaks."""
    stream = open_folder(image_folders / "tars")
    path = image_folders / "tars" / "1.tar"
    moved = path.rename(tmp_path / "1.tar")
    try:
        images = [image for shard in range(3) for image in stream.read_shard(shard)]
    finally:
        moved.rename(path)
    assert len(images) == NUM_IMAGES - SHARDS[1] + 1
    (damaged,) = [image for image in images if image.place[1] is None]
    assert damaged.name == str(path)
    with pytest.raises(FileNotFoundError):
        damaged.read()


def test_held_out_images_are_read_around_a_damaged_shard(damaged_parquet):
    stream, make_example = open_folder(damaged_parquet), ExampleMaker(CenterCrop((8, 8)), num_channels=1, seed=0)
    held_out = micro_batches.read_held_out_images(stream, NUM_IMAGES, make_example)
    assert len(held_out.examples) == NUM_IMAGES - 2 and "shard" in str(held_out.unreadable)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_images_that_cannot_be_read_leave_their_places_empty_and_are_named_each(tmp_path, num_workers):
    contents = [encode(index) for index in range(12)]
    write_parquet(tmp_path / "0.parquet", [*contents, None, None, None, b"no image", b"neither"])
    loader = make_loader(open_folder(tmp_path), num_workers=num_workers)
    entries = [entry for batch in take(iter(loader), 12) for entry in batch]
    unreadable = Counter(name for _, (name, _) in (entry for entry in entries if len(entry) == 2))
    assert len(unreadable) == 5
    seen = Counter(entry for entry in entries if len(entry) == 3)
    assert {index for epoch, index, _ in seen if epoch == 0} == set(range(12)) and max(seen.values()) == 1


def test_a_buffer_shuffles_the_images_of_several_shards(image_folders):
    loader = make_loader(open_folder(image_folders / "parquet"), shuffle_buffer_size=8)
    first, second = (
        [number for batch in take(batches, 10) for _, number, _ in batch][:NUM_IMAGES]
        for batches in (iter(loader), iter(make_loader(open_folder(image_folders / "parquet"))))
    )
    assert sorted(first) == sorted(second) == list(range(NUM_IMAGES))
    assert sum(abs(a - b) == 1 for a, b in itertools.pairwise(first)) < sum(
        abs(a - b) == 1 for a, b in itertools.pairwise(second)
    )


def test_data_without_a_readable_image_are_an_error(tmp_path):
    path = write_parquet(tmp_path / "0.parquet", [None, b"no image"])
    loader = make_loader(ImageStream("parquet", [str(path)]))
    with pytest.raises(UserError, match="None of the 2 images can be read"):
        list(loader)


def test_a_worker_continues_with_other_shards_after_an_epoch_of_a_damaged_one(image_folders, tmp_path):
    """With as many workers as shards, it has nothing else in that epoch."""
    damaged = write_parquet(tmp_path / "0.parquet", [encode(0), encode(1)])
    damage_row_group(damaged, 0)
    write_parquet(tmp_path / "1.parquet", [encode(2), encode(3)])
    loader = make_loader(open_folder(tmp_path), num_workers=2)
    entries = [entry for batch in take(iter(loader), 12) for entry in batch]
    assert {entry[1] for entry in entries if len(entry) == 3} == {2, 3}


def test_a_stream_has_columns(monkeypatch):
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *args, **kwargs: datasets.IterableDataset.from_generator(list)
    )
    with pytest.raises(UserError, match="because its columns are unknown"):
        ImageStream("me/images")


def test_a_row_may_be_bytes(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"image": [encode(0)]}), tmp_path / "0.parquet")
    (image,) = open_folder(tmp_path).sample(1, seed=0)
    assert image.read() == encode(0) and image.name == f"image 0 of {tmp_path / '0.parquet'}"
