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
"""The data of the quickstart: images on disk -> decoded and cropped images -> batches with masks and group plans.

Every example is `{"image": {"bytes": ..., "path": ...}}`, as `datasets` stores images, whether it comes from a stream of
parquet files or from a folder. Images are decoded in the collator, so that one broken file cannot end a stream.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow
import pyarrow.parquet
import torch
from datasets import ClassLabel, Dataset, Features, Image, IterableDataset, Value, load_dataset
from sklearn.datasets import load_digits

from modeling_greenmim import GreenMimConfig, GreenMimImageProcessorPil, make_group_plan, sample_masks
from modeling_greenmim.image_conversion_greenmim import to_channels_first_array


IMAGE_EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
HELD_OUT_SHARE, MIN_HELD_OUT, MAX_HELD_OUT = 0.05, 8, 128
# what PIL and the conversion to RGB raise for files that are no image, cut off, or of an unknown kind
UNREADABLE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, PIL.Image.DecompressionBombError)


class QuickstartError(Exception):
    """What the user can mend: shown as one line, without a traceback."""


@dataclass
class ImageData:
    """Images to train on, images that are never trained on, and the files that could not be read (name -> reason)."""

    train: Dataset | IterableDataset
    held_out: list[dict]
    num_images: int
    unreadable: dict[str, str] = field(default_factory=dict)


def write_digits(folder: Path, image_size: int, num_files: int = 4):
    """Stores scikit-learn's 1,797 handwritten digits (8 x 8 pixels, part of the package), enlarged, as parquet."""
    digits = load_digits()
    images = [PIL.Image.fromarray(np.uint8(np.round(image * 255 / 16))) for image in digits.images]
    images = [image.resize((image_size, image_size), PIL.Image.Resampling.BICUBIC) for image in images]
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
    dataset = Dataset.from_dict({"image": images, "label": digits.target}, features=features)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(num_files):
        path = folder / f"train-{index:05d}-of-{num_files:05d}.parquet"
        dataset.shard(num_files, index).to_parquet(path)


def open_images(train_dir: Path, image_column_name: str, seed: int) -> ImageData:
    """Opens a folder of parquet files, which are streamed, or a folder of images, at any depth."""
    if not train_dir.is_dir():
        raise QuickstartError(f"--train_dir {train_dir} is not a folder.")
    files = sorted(path for path in train_dir.rglob("*") if path.is_file())
    if parquet_files := [path for path in files if path.suffix.lower() == ".parquet"]:
        return open_parquet(parquet_files, image_column_name, seed)
    if image_files := [path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS]:
        return open_image_files(image_files, seed)
    raise QuickstartError(
        f"--train_dir {train_dir} holds no parquet file and no image, among {len(files)} files. Images end in "
        f"{', '.join(sorted(IMAGE_EXTENSIONS))}."
    )


def open_image_files(files: list[Path], seed: int) -> ImageData:
    """Image files, read by index: `datasets` would stream a folder as one shard, always in the same order."""
    if len(files) < 2:
        raise QuickstartError(f"Found 1 image, {files[0]}, but need one to train on and one to hold out.")
    names = [str(files[index]) for index in np.random.default_rng(seed).permutation(len(files))]
    num_held_out = min(max(MIN_HELD_OUT, round(HELD_OUT_SHARE * len(names))), len(names) // 2)
    dataset = Dataset.from_dict({"image": names}, features=Features({"image": Value("string")}))
    dataset = dataset.cast_column("image", Image(decode=False))
    held_out = list(dataset.select(range(min(num_held_out, MAX_HELD_OUT))))
    return ImageData(dataset.select(range(num_held_out, len(names))), held_out, num_images=len(names))


def open_parquet(files: list[Path], image_column_name: str, seed: int) -> ImageData:
    """Parquet files, streamed with `datasets`: their order and a buffer are shuffled anew in every epoch."""
    readable_files, unreadable, num_images = [], {}, 0
    for path in files:
        try:
            num_images += pyarrow.parquet.read_metadata(path).num_rows
        except (OSError, pyarrow.ArrowInvalid) as error:
            unreadable[str(path)] = str(error)
        else:
            readable_files.append(str(path))
    if num_images < 2:
        raise QuickstartError(f"The {len(files)} parquet files hold {num_images} readable rows, but 2 are needed.")

    dataset = load_dataset("parquet", data_files=readable_files, split="train", streaming=True)
    check_image_column(dataset.features, image_column_name)
    # not decoded from here on: a broken image would end the stream
    dataset = dataset.select_columns(image_column_name).cast_column(image_column_name, Image(decode=False))
    if image_column_name != "image":
        dataset = dataset.rename_column(image_column_name, "image")
    # at least `MIN_HELD_OUT` images with near certainty: twice as many are expected
    share = min(0.5, max(HELD_OUT_SHARE, 2 * MIN_HELD_OUT / num_images))
    train = dataset.filter(is_held_out, fn_kwargs={"share": share, "wanted": False})
    held_out = dataset.filter(is_held_out, fn_kwargs={"share": share, "wanted": True})
    # with more than one file at a time, `datasets` sleeps for 5 seconds at the end of every epoch
    train = train.shuffle(seed=seed, buffer_size=1000, max_buffer_input_shards=1)
    return ImageData(train, list(held_out.take(MAX_HELD_OUT)), num_images, unreadable)


def check_image_column(features: Features, image_column_name: str):
    """Raises an error that names the columns there are, if the wanted one is missing or holds no images."""
    if image_column_name not in features:
        raise QuickstartError(
            f"There is no column {image_column_name!r} in the parquet files, only {', '.join(map(repr, features))}. "
            "Choose one with --image_column_name."
        )
    feature = features[image_column_name]
    is_struct = isinstance(feature, dict) and "bytes" in feature
    if not (isinstance(feature, Image) or is_struct or feature in (Value("binary"), Value("large_binary"))):
        raise QuickstartError(f"The column {image_column_name!r} holds no images, but {feature}.")


def is_held_out(example: dict, share: float, wanted: bool) -> bool:
    """
    Decides by the bytes of the image whether it is held out. Unlike a decision by position, this one is the same in
    every order of the stream and in every worker, and copies of an image end up on the same side.
    """
    image = example["image"] or {}
    content = image.get("bytes") or str(image.get("path")).encode()
    return (zlib.crc32(content) < share * 2**32) == wanted


def get_name(image: dict | None) -> str:
    """A name for a report: the path, or for an image without one the checksum of its bytes."""
    if not image:
        return "row without an image"
    return image["path"] or f"image with the checksum {zlib.crc32(image['bytes'] or b''):08x}"


def read_image(image: dict | None) -> PIL.Image.Image:
    """Reads an image upright and as RGB: greyscale, palette, transparent and 16-bit images as well."""
    if not image:
        raise ValueError("there is no image")
    with PIL.Image.open(io.BytesIO(image["bytes"]) if image["bytes"] is not None else image["path"]) as picture:
        pixels = to_channels_first_array(picture, do_convert_rgb=True)
    return PIL.Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))


def read_images(examples: list[dict], transform: Callable[[PIL.Image.Image], Any]) -> tuple[list, dict[str, str]]:
    """
    Reads and transforms one image after the other. Returns what can be read, and name and reason of what cannot.
    """
    images, unreadable = [], {}
    for example in examples:
        try:
            image = read_image(example["image"])
        except UNREADABLE_ERRORS as error:
            unreadable[get_name(example["image"])] = f"{type(error).__name__}: {error}"
        else:
            images.append(transform(image))
    return images, unreadable


def random_resized_crop(
    image: PIL.Image.Image, image_size: int, rng: np.random.Generator, min_scale: float
) -> PIL.Image.Image:
    """A crop of `min_scale` to all of the area and an aspect ratio of 3/4 to 4/3, resized (Szegedy et al., 2014)."""
    area = rng.uniform(min_scale, 1.0) * image.width * image.height
    aspect_ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(image.width, max(1, round(np.sqrt(area * aspect_ratio))))
    height = min(image.height, max(1, round(np.sqrt(area / aspect_ratio))))
    left, top = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
    box = (left, top, left + width, top + height)
    return image.resize((image_size, image_size), PIL.Image.Resampling.BICUBIC, box=box)


def make_batch(
    images: list[PIL.Image.Image],
    image_processor: GreenMimImageProcessorPil,
    config: GreenMimConfig,
    mask_seed: list[int],
) -> dict:
    """
    What the model takes: pixel values, one mask for each image, and the group plan of these masks. The plan is integer
    work on the CPU; made here, it runs in the workers of the loader, and the forward has nothing to wait for.
    """
    grid_size = (config.image_size // config.mask_unit_size,) * 2
    mask = sample_masks(len(images), grid_size, config.mask_ratio, seed=mask_seed)
    return {
        "pixel_values": image_processor(images, return_tensors="pt")["pixel_values"],
        "bool_masked_pos": torch.from_numpy(mask),
        "group_plan": make_group_plan(mask, grid_size, config.window_size, config.hidden_sizes),
    }


class MaskingCollator:
    """Decodes, augments and masks the images of a batch. Crops and masks are the same in every run with the same seed."""

    def __init__(
        self,
        image_processor: GreenMimImageProcessorPil,
        config: GreenMimConfig,
        seed: int,
        min_scale: float,
        flip: bool,
    ):
        self.image_processor = image_processor
        self.config = config
        self.seed = seed
        self.min_scale = min_scale
        self.flip = flip
        self.start_epoch(0)

    def start_epoch(self, epoch: int):
        """To be called before the loader starts its workers, which get copies of the collator."""
        self.epoch = epoch
        self.num_batches = 0

    def augment(self, image: PIL.Image.Image, rng: np.random.Generator) -> PIL.Image.Image:
        image = random_resized_crop(image, self.config.image_size, rng, self.min_scale)
        if self.flip and rng.random() < 0.5:
            image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
        return image

    def __call__(self, examples: list[dict]) -> dict:
        """Returns `inputs` (`None` if no image could be read), `num_images`, and `unreadable` (name -> reason)."""
        worker = torch.utils.data.get_worker_info()
        seed = [self.seed, self.epoch, worker.id if worker else 0, self.num_batches]
        self.num_batches += 1
        rng = np.random.default_rng(seed)
        images, unreadable = read_images(examples, transform=lambda image: self.augment(image, rng))
        inputs = make_batch(images, self.image_processor, self.config, mask_seed=[*seed, 1]) if images else None
        return {"inputs": inputs, "num_images": len(images), "unreadable": unreadable}
