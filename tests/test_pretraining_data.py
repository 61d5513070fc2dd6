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
"""The data of pre-training: each image once in an epoch, exact resume, and files that are no images."""

import copy
import io
import shutil
import sys
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import datasets
import fsspec
import numpy as np
import PIL.Image
import pytest
import torch
from datasets import Dataset, Features, Image, load_dataset
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers.utils import logging as transformers_logging

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil


EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path += [str(EXAMPLES / "common"), str(EXAMPLES / "pretraining")]
from example_command import UserError  # noqa: E402
from example_images import RandomCrop, crop_center, read_image  # noqa: E402
from pretraining_data import (  # noqa: E402
    EndlessCrops,
    make_collator,
    read_held_out_images,
)
from pretraining_sources import ImageFiles, ImageReader, ImageStream  # noqa: E402


NUM_IMAGES = 20
SHARDS = (7, 9, 4)


def encode(index, size=(12, 12), mode="L", image_format="PNG") -> bytes:
    """An image of one color, which tells its number."""
    content = io.BytesIO()
    PIL.Image.new("L", size, index).convert(mode).save(content, image_format)
    return content.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for name in ("files", "parquet", "tars"):
        (folder / name).mkdir()
    for index in range(NUM_IMAGES):
        (folder / "files" / f"{index:02d}.png").write_bytes(encode(index))
    first = 0
    for shard, number in enumerate(SHARDS):
        images = [{"bytes": encode(index), "path": None} for index in range(first, first + number)]
        dataset = Dataset.from_dict({"image": images}, features=Features({"image": Image()}))
        dataset.to_parquet(folder / "parquet" / f"{shard}.parquet", batch_size=2)
        with tarfile.open(folder / "tars" / f"{shard}.tar", "w") as tar:
            for index in range(first, first + number):
                for extension, content in {"png": encode(index), "cls": str(index % 2).encode()}.items():
                    member = tarfile.TarInfo(f"{index:02d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        first += number
    return folder


def make_source(folders, kind, rank=0, world_size=1, seed=0):
    if kind == "tars":
        return ImageReader(seed, rank, world_size).open_folder(folders / "tars")
    if kind == "files":
        return ImageFiles(sorted(map(str, (folders / "files").iterdir())), seed, rank, world_size)
    files = sorted(map(str, (folders / "parquet").iterdir()))
    dataset = load_dataset("parquet", data_files=files, split="train", streaming=True).decode(False)
    if kind == "row groups":
        dataset = dataset.reshard()
    return ImageStream(dataset, "image", seed, rank, world_size)


def collate(examples):
    return [(example["epoch"], int(example["pixels"].flat[0]), example["mask_seed"]) for example in examples]


def make_loader(folders, kind, rank=0, world_size=1, num_workers=0, **settings):
    crops = EndlessCrops(make_source(folders, kind, rank, world_size), RandomCrop((8, 8)), 1, seed=0, **settings)
    return StatefulDataLoader(crops, batch_size=3, num_workers=num_workers, collate_fn=collate)


def take(iterator, number):
    return [next(iterator) for _ in range(number)]


KINDS = ["files", "shards", "row groups", "tars"]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_holds_each_image_once(folders, kind, world_size, num_workers):
    """Over all processes and workers, for shards that divide by neither, with the same mask and crop however they are split."""
    seen = []
    for rank in range(world_size):
        iterator = iter(make_loader(folders, kind, rank, world_size, num_workers))
        seen += [entry for batch in take(iterator, 2 * NUM_IMAGES // 3) for entry in batch]
        del iterator
    times = Counter(seen)
    assert max(times.values()) == 1
    for epoch in range(2 if world_size > 1 else 1):
        of_epoch = {index: mask_seed for of, index, mask_seed in times if of == epoch}
        assert sorted(of_epoch) == list(range(NUM_IMAGES))
        reference = {index: seed for of, index, seed in take_all(folders, "files", epoch)}
        assert of_epoch == reference


def take_all(folders, kind, epoch):
    batches = take(iter(make_loader(folders, kind)), (epoch + 1) * NUM_IMAGES // 3 + 1)
    return [entry for batch in batches for entry in batch if entry[0] == epoch]


@pytest.mark.parametrize("kind", KINDS)
def test_every_epoch_has_another_order(folders, kind):
    orders = [[index for _, index, _ in take_all(folders, kind, epoch)] for epoch in range(4)]
    assert len(set(map(tuple, orders))) > 1 and len(set(map(tuple, map(sorted, orders)))) == 1
    seeds = [{seed for _, _, seed in take_all(folders, kind, epoch)} for epoch in range(2)]
    assert not seeds[0] & seeds[1]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_loader_goes_on_exactly(folders, kind, num_workers):
    for num_batches in (0, 1, 6, 7, 11):
        loader = make_loader(folders, kind, rank=1, world_size=2, num_workers=num_workers)
        iterator = iter(loader)
        take(iterator, num_batches)
        state = copy.deepcopy(loader.state_dict())  # which goes on to change
        expected = take(iterator, 9)
        resumed = make_loader(folders, kind, rank=1, world_size=2, num_workers=num_workers)
        resumed.load_state_dict(state)
        assert take(iter(resumed), 9) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_images_are_never_trained_on(folders, kind):
    held_out = read_held_out_images(make_source(folders, kind), 8, (8, 8), num_channels=1, seed=0)
    indices = {int(example["pixels"].flat[0]) for example in held_out.examples}
    assert len(indices) == 8
    batches = take(iter(make_loader(folders, kind, held_out=held_out.checksums)), NUM_IMAGES)
    assert {index for batch in batches for _, index, _ in batch} == set(range(NUM_IMAGES)) - indices


def test_held_out_images_come_from_several_shards_and_are_the_same_everywhere(folders):
    samples = [
        [zlib.crc32(image.read()) for image in make_source(folders, "shards", rank, world_size).sample(6)]
        for rank, world_size in [(0, 1), (1, 2)]
    ]
    assert samples[0] == samples[1]
    firsts = {zlib.crc32(encode(index)) for index in (0, 7, 16)}
    assert firsts <= set(samples[0])


def test_a_worker_whose_images_are_all_held_out_leaves_it_to_the_others(folders):
    held_out = frozenset(zlib.crc32(encode(index)) for index in range(7))  # all of the first shard
    for world_size in (1, 3):
        batches = []
        for rank in range(world_size):
            batches += list(zip(range(10), make_loader(folders, "shards", rank, world_size, 3, held_out=held_out)))
        assert {index for _, batch in batches for _, index, _ in batch} == set(range(7, NUM_IMAGES))


# Opening


def test_every_way_to_name_the_data_opens_it(folders):
    reader = ImageReader(seed=0)
    expected = {zlib.crc32(encode(index)) for index in range(NUM_IMAGES)}
    for source, num_images in [
        (reader.open_folder(folders / "files"), NUM_IMAGES),
        (reader.open_folder(folders / "parquet"), NUM_IMAGES),
        (reader.open_folder(folders / "tars"), NUM_IMAGES),
        (reader.open_files([str(folders / "parquet" / "*.parquet")]), NUM_IMAGES),
        (reader.open_files([str(folders / "files" / "0*.png"), str(folders / "files" / "1*.png")]), NUM_IMAGES),
        (reader.open_files([str(folders / "tars" / f"{shard}.tar") for shard in range(3)]), NUM_IMAGES),
        (reader.open_dataset(str(folders / "parquet")), NUM_IMAGES),
    ]:
        assert {zlib.crc32(image.read()) for image in source.iterate(0)} == expected
        assert source.num_images == num_images


def test_labels(folders):
    def get_labels(reader, kind):
        return {image.name[-6:-4]: image.label for image in reader.open_folder(folders / kind).sample(3)}

    assert set(get_labels(ImageReader(seed=0), "files").values()) == {"files"}
    assert set(get_labels(ImageReader(seed=0), "tars").values()) == {None}
    labels = get_labels(ImageReader(seed=0, label_column_name="cls"), "tars")
    assert len(labels) == 3 and all(int(label) == int(name) % 2 for name, label in labels.items())
    with pytest.raises(UserError, match="no column 'kind' for --label_column_name, only 'png', 'cls'"):
        ImageReader(seed=0, label_column_name="kind").open_folder(folders / "tars")


def test_a_data_set_of_the_hub_is_streamed(folders, monkeypatch):
    def load(name, config_name, split, streaming):
        assert (name, config_name, split, streaming) == ("me/images", "small", "train", True)
        files = sorted(map(str, (folders / "parquet").iterdir()))
        return load_dataset("parquet", data_files=files, split="train", streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = ImageReader(seed=0).open_dataset("me/images", "small")
    assert len(list(source.iterate(0))) == NUM_IMAGES


def test_a_data_set_that_is_not_there():
    with pytest.raises(UserError, match="--dataset_name me/images, split 'train': neither a folder"):
        ImageReader(seed=0).open_dataset("me/images")


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["nothing.parquet"], "--data_files .*nothing.parquet is no file"),
        (["*.nothing"], "is no file"),
        (["parquet/0.parquet", "tars/0.tar"], "only one of these kinds, but the files end in .parquet, .tar"),
        (["notes.txt"], "but the files end in .txt"),
        (["damaged.tar"], "none of the webdataset files can be read, such as .*damaged.tar"),
        (["damaged.parquet"], "none of the parquet files can be read"),
    ],
)
def test_files_that_cannot_be_opened(folders, patterns, message):
    for name in ("notes.txt", "damaged.tar", "damaged.parquet"):
        (folders / name).write_text("neither")
    with pytest.raises(UserError, match=message):
        ImageReader(seed=0).open_files([str(folders / pattern) for pattern in patterns])


def test_shards_that_cannot_be_divided_are_named(folders, caplog):
    with caplog.at_level("WARNING", logger="transformers"):
        transformers_logging.enable_propagation()
        ImageReader(seed=0, world_size=2).open_folder(folders / "tars")
        transformers_logging.disable_propagation()
    assert "3 shards cannot be divided among 2 processes" in caplog.text


def test_the_split_that_is_trained_on(folders, tmp_path, caplog):
    """A folder as the Hub stores a data set; and links to folders are followed."""
    for split, shard in (("train", 0), ("test", 1)):
        shutil.copy(folders / "parquet" / f"{shard}.parquet", tmp_path / f"{split}-00000-of-00001.parquet")
    transformers_logging.enable_propagation()
    with caplog.at_level("WARNING", logger="transformers"):
        assert ImageReader(seed=0).open_folder(tmp_path).num_images == SHARDS[0]
    transformers_logging.disable_propagation()
    assert "reading 1 of 2 files" in caplog.text
    assert ImageReader(seed=0).open_dataset(str(tmp_path), split="test").num_images == SHARDS[1]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "class0").symlink_to(folders / "files")
    assert ImageReader(seed=0).open_folder(tmp_path / "links").num_images == NUM_IMAGES


def test_a_tar_that_was_cut_off_is_left_out_and_named(folders, tmp_path):
    shutil.copytree(folders / "tars", tmp_path / "tars")
    path = tmp_path / "tars" / "1.tar"
    path.write_bytes(path.read_bytes()[:3000])
    source = ImageReader(seed=0).open_folder(tmp_path / "tars")
    assert list(source.unreadable) == [str(path)]
    assert len(list(source.iterate(0))) == source.num_images == NUM_IMAGES - SHARDS[1]


def test_a_parquet_file_damaged_in_the_middle_is_an_error_that_says_so(folders, tmp_path):
    shutil.copytree(folders / "parquet", tmp_path / "parquet")
    path = tmp_path / "parquet" / "1.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes(380) + content[400:])
    source = ImageReader(seed=0).open_folder(tmp_path / "parquet")
    with pytest.raises(UserError, match="damaged, or cannot be reached"):
        list(source.iterate(0))


def test_rows_that_name_files(tmp_path):
    (tmp_path / "image.png").write_bytes(encode(3))
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "image.png")}]}
    Dataset.from_dict(rows, features=Features({"image": Image()})).to_parquet(tmp_path / "0.parquet")
    (image,) = ImageReader(seed=0).open_folder(tmp_path).iterate(0)
    assert image.read() == encode(3)


def test_files_in_another_file_system():
    """As on the Hub: a stream of image files has their names there."""
    files = fsspec.filesystem("memory")
    files.pipe({f"/images/{index}.png": encode(index) for index in range(3)})
    rows = load_dataset("imagefolder", data_files="memory://images/*.png", split="train", streaming=True)
    source = ImageStream(rows.cast_column("image", Image(decode=False)), "image", seed=0)
    assert sorted(image.read() for image in source.iterate(0)) == sorted(map(encode, range(3)))


def test_the_same_files_in_another_folder_are_the_same_data(folders, tmp_path):
    shutil.copytree(folders / "files", tmp_path / "moved")
    reader = ImageReader(seed=0)
    assert reader.open_folder(tmp_path / "moved").fingerprint == reader.open_folder(folders / "files").fingerprint
    shutil.copy(folders / "parquet" / "0.parquet", tmp_path)
    single = [reader.open_files([str(each / "0.parquet")]).fingerprint for each in (tmp_path, folders / "parquet")]
    assert single[0] == single[1]
    (tmp_path / "moved" / "00.png").unlink()
    assert reader.open_folder(tmp_path / "moved").fingerprint != reader.open_folder(folders / "files").fingerprint


# Files that are no images


def write_damaged(folder):
    (folder / "truncated.jpg").write_bytes(encode(0, (64, 64), "RGB", "JPEG")[:200])
    (folder / "text.jpg").write_text("this is not an image")
    (folder / "empty.png").touch()
    with (folder / "bomb.png").open("wb") as file:
        PIL.Image.new("1", (30_000, 30_000)).save(file, "PNG")
    (folder / "pickle.npy").write_bytes(b"\x93NUMPY\x01\x00 not really")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damaged_files_are_dropped_and_named(tmp_path, num_workers):
    write_damaged(tmp_path)
    for index in range(30):
        (tmp_path / f"{index}.png").write_bytes(encode(index, mode="RGB"))
    files = sorted(map(str, tmp_path.iterdir())) + [str(tmp_path / "deleted.png")]
    crops = EndlessCrops(ImageFiles(files, 0), RandomCrop((8, 8)), num_channels=3, seed=0, max_unreadable=0.2)
    loader = StatefulDataLoader(crops, batch_size=2, num_workers=num_workers, collate_fn=list)
    batches = take(iter(loader), 40)
    unreadable = {Path(name).name: reason for b in batches for e in b for name, reason in e["unreadable"].items()}
    assert set(unreadable) == {"truncated.jpg", "text.jpg", "empty.png", "bomb.png", "pickle.npy", "deleted.png"}
    assert "DecompressionBombError" in unreadable["bomb.png"] and "no content" in unreadable["empty.png"]
    seen = Counter((e["epoch"], int(e["pixels"].flat[0])) for b in batches for e in b)
    assert set(range(30)) == {index for epoch, index in seen if epoch == 0} and max(seen.values()) == 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_many_damaged_files_stop_the_run(tmp_path, num_workers):
    for index in range(40):
        (tmp_path / f"{index}.jpg").write_bytes(b"no image" if index % 2 else encode(index, mode="RGB"))
    source = ImageFiles(sorted(map(str, tmp_path.iterdir())), seed=0)
    crops = EndlessCrops(source, RandomCrop((8, 8)), num_channels=3, seed=0, max_unreadable=0.1)
    loader = StatefulDataLoader(crops, batch_size=2, num_workers=num_workers, collate_fn=list)
    with pytest.raises(UserError, match=r"11 of \d+ images cannot be read.*--max_unreadable 0.1.*\d+.jpg"):
        take(iter(loader), 100)


def test_damaged_files_are_not_counted_again_in_every_epoch(tmp_path):
    for index in range(48):
        (tmp_path / f"{index}.jpg").write_bytes(b"no image" if index < 8 else encode(index, mode="RGB"))
    source = ImageFiles(sorted(map(str, tmp_path.iterdir())), seed=0)
    crops = EndlessCrops(source, RandomCrop((8, 8)), num_channels=3, seed=0)
    assert take(iter(crops), 200)[-1]["epoch"] == 4
    assert len(crops.unreadable_names) == 8


def test_a_few_damaged_files_alone_are_an_error(tmp_path):
    write_damaged(tmp_path)
    source = ImageFiles(sorted(map(str, tmp_path.iterdir())), seed=0)
    crops = EndlessCrops(source, RandomCrop((8, 8)), num_channels=3, seed=0)
    with pytest.raises(UserError, match="None of 5 images can be read"):
        next(iter(crops))


# Reading and cropping


@pytest.mark.parametrize(
    ("mode", "num_channels", "expected"),
    [("RGB", 1, 1), ("L", 1, 1), ("L", 3, 3), ("RGBA", 3, 3), ("RGBA", 4, 4), ("CMYK", 4, 4), ("P", 3, 3)],
)
def test_reading_images(mode, num_channels, expected):
    image_format = "TIFF" if mode == "CMYK" else "PNG"
    pixels = read_image(encode(100, (5, 7), mode, image_format), num_channels)
    assert pixels.shape == (expected, 7, 5) and pixels.dtype == np.uint8


def test_reading_arrays_of_many_channels():
    array = np.random.default_rng(0).random((13, 20, 30)).astype(np.float32)
    content = io.BytesIO()
    np.save(content, array)
    np.testing.assert_array_equal(read_image(content.getvalue(), 13), array)
    with pytest.raises(ValueError, match="13 channels, the model takes 4"):
        read_image(content.getvalue(), 4)
    content = io.BytesIO()
    np.save(content, np.array([{"a": "pickle"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError):
        read_image(content.getvalue(), 3)


@pytest.mark.parametrize("num_channels", [1, 3, 4, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crops(num_channels, dtype):
    pixels = np.random.default_rng(0).integers(0, 255, (num_channels, 40, 60)).astype(dtype)
    crop = RandomCrop((16, 24))
    first, again, other = crop(pixels, (0, 1)), crop(pixels, (0, 1)), crop(pixels, (0, 2))
    assert first.shape == (num_channels, 16, 24) and first.dtype == dtype
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_crop_of_everything_is_the_resized_image():
    """At the one aspect ratio that leaves an image whole, and with a flip half of the time."""
    image = PIL.Image.effect_mandelbrot((64, 64), (-2, -1.2, 0.8, 1.2), 30)
    pixels = np.asarray(image)[None]
    whole = np.asarray(image.resize((16, 16), PIL.Image.Resampling.BICUBIC)).astype(int)
    crop = RandomCrop((16, 16), min_scale=1.0)
    crops = [crop(pixels, (seed,))[0].astype(int) for seed in range(200)]
    nearest = [min(abs(c - whole).mean(), abs(c[:, ::-1] - whole).mean()) for c in crops]
    assert min(nearest) < 2.0
    is_flipped = [abs(c[:, ::-1] - whole).mean() < abs(c - whole).mean() for c in crops]
    assert 0.35 < np.mean(is_flipped) < 0.65
    assert not any(
        abs(c[:, ::-1] - whole).mean() < abs(c - whole).mean()
        for c in (RandomCrop((16, 16), 1.0, flip=False)(pixels, (seed,))[0].astype(int) for seed in range(20))
    )


def test_the_center_is_cropped():
    pixels = np.zeros((2, 30, 90), dtype=np.uint8)
    pixels[:, :, 30:60] = 200
    assert (
        crop_center(pixels, (10, 10))[:, :, 2:-2] == 200
    ).all()  # at its edges, it sees a little of what is beside it
    assert crop_center(pixels, (10, 30)).shape == (2, 10, 30) and crop_center(pixels, (10, 30)).min() == 0
    assert (crop_center(np.swapaxes(pixels, 1, 2), (8, 8))[:, 2:-2] == 200).all()


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_batch_is_what_the_model_takes(folders, per_sample):
    config = GreenMimConfig(
        image_size=32, patch_size=2, num_channels=1, embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=4
    )
    image_processor = GreenMimImageProcessorPil(image_mean=[0.5], image_std=[0.5])
    crops = EndlessCrops(make_source(folders, "files"), RandomCrop((32, 32)), num_channels=1, seed=0)
    collator = make_collator(config, image_processor, per_sample=per_sample)
    batch = collator([example for example, _ in zip(crops, range(4))])
    masks = batch["inputs"]["bool_masked_pos"]
    assert (masks == masks[0]).all() != per_sample
    values = batch["inputs"]["pixel_values"]
    assert values.shape == (4, 1, 32, 32) and values.min() >= -1 and values.dtype == torch.float32
    assert GreenMimForMaskedImageModeling(config)(**batch["inputs"]).loss.isfinite()
    assert batch["epochs"] == [0] * 4 and batch["unreadable"] == {}
