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
"""Images and pictures of classes: opened with `datasets`, changed together by albumentations, made into examples."""

import io
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for its newest version

import albumentations
import datasets
import numpy as np
import PIL.Image
import torch
from torch.utils.data import Dataset
from transformers import BaseImageProcessor

from example_command import UserError, argument, check_range
from example_datasets import check_column, get_split_names, load_split
from example_images import UNREADABLE_ERRORS, describe_error, read_image


IGNORED = 255  # label of pixels that do not count


@dataclass
class DataArguments:
    """What is learned, and what it is evaluated on."""

    dataset_name: str | None = argument("Data set on the Hub, or a local folder of one.")
    dataset_config_name: str | None = argument("Configuration of the data set on the Hub.")
    train_split_name: str = argument("Split to train on.", "train")
    eval_split_name: str = argument("Split to evaluate on.", "validation")
    image_column_name: str = argument("Column of the images.", "image")
    label_column_name: str = argument("Column of the pictures of classes.", "annotation")
    id2label_file: str | None = argument("JSON file with a name for each class: a list, or a dictionary of numbers.")
    do_reduce_labels: bool = argument(
        "0 is no class, as in ADE20K: it is ignored, and 1 becomes the first class.", False
    )
    max_train_samples: int | None = argument("Train on the first so many images.")
    max_eval_samples: int | None = argument("Evaluate on the first so many images.")
    crop_size: int = argument("Side of the crops that are trained on, in pixels.", 512)
    min_scale: float = argument("Images are resized by a factor between this one ...", 0.5)
    max_scale: float = argument("... and this one before they are cropped.", 2.0)
    flip: bool = argument("Whether to flip half of the images.", True)

    def __post_init__(self):
        if self.dataset_name is None:
            raise UserError("Give --dataset_name.")
        if self.id2label_file is None:
            raise UserError("Give --id2label_file: a JSON file with a name for each class.")
        check_range(self, "crop_size", 1)
        if not 0 < self.min_scale <= self.max_scale:
            raise UserError(
                f"--min_scale and --max_scale must be above 0 and in this order, but are {self.min_scale} and {self.max_scale}."
            )
        for name in ("max_train_samples", "max_eval_samples"):
            check_range(self, name, 1)


def open_rows(args: DataArguments, split: str, max_samples: int | None) -> datasets.Dataset:
    """
    Opens a split: rows with `image` and `annotation`, not decoded.

    Raises:
        [`UserError`]: if there is no such split or column.
    """
    rows, _ = load_split(args.dataset_name, args.dataset_config_name, split)
    description = f"{args.dataset_name}, split {split!r}"
    for name in ("image_column_name", "label_column_name"):
        column = getattr(args, name)
        check_column(rows.features, column, f"--{name}", description)
        if not isinstance(rows.features[column], datasets.Image):
            raise UserError(f"The column {column!r} of {description} holds no images, but {rows.features[column]}.")
    columns = {args.image_column_name: "image", args.label_column_name: "annotation"}
    rows = rows.select_columns(list(columns)).rename_columns({old: new for old, new in columns.items() if old != new})
    for column in columns.values():
        rows = rows.cast_column(column, datasets.Image(decode=False))
    return rows if max_samples is None else rows.select(range(min(max_samples, len(rows))))


def open_splits(args: DataArguments) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The rows to train on, and those to evaluate on."""
    if args.train_split_name == args.eval_split_name:
        raise UserError(f"--eval_split_name {args.eval_split_name} is what is learned: give another one.")
    get_split_names(args.dataset_name, args.dataset_config_name)  # raises, if there is no such data set
    return (
        open_rows(args, args.train_split_name, args.max_train_samples),
        open_rows(args, args.eval_split_name, args.max_eval_samples),
    )


@dataclass
class PairReader:
    """
    Reads an image and its classes.

    Args:
        num_labels (`int`):
            Number of classes.
        do_reduce_labels (`bool`):
            Whether 0 is no class.
        description (`str`):
            Where the rows come from, for messages.
    """

    num_labels: int
    do_reduce_labels: bool
    description: str

    def __call__(self, row: dict, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        """
        Returns pixels of shape `(height, width, 3)`, classes of shape `(height, width)`, both `uint8`, and a checksum of the image.

        Raises:
            [`UserError`]: if one cannot be read, they differ in size, or there is a class that is not known.
        """
        name = row["image"]["path"] or f"Image {index}"
        try:
            content, annotation = (_get_content(row[column]) for column in ("image", "annotation"))
            pixels = np.moveaxis(read_image(content, 3), 0, -1)
            labels = np.asarray(PIL.Image.open(io.BytesIO(annotation)))
        except UNREADABLE_ERRORS as error:
            raise UserError(
                f"{name} of {self.description}, or its annotation, cannot be read ({describe_error(error)}). Mend it, or leave it out."
            ) from error
        if labels.shape != pixels.shape[:2]:
            raise UserError(
                f"{name} of {self.description} has {pixels.shape[0]} x {pixels.shape[1]} pixels, and its annotation "
                f"{' x '.join(map(str, labels.shape))}: one class for each pixel is needed."
            )
        if self.do_reduce_labels:
            labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1)
        unknown = np.setdiff1d(labels, [*range(self.num_labels), IGNORED])
        if len(unknown):
            raise UserError(
                f"The annotation of {name} of {self.description} has the class {unknown[0]}, and there are {self.num_labels} classes in "
                f"--id2label_file (from 0; {IGNORED} is ignored). Is --do_reduce_labels right?"
            )
        return np.ascontiguousarray(pixels), labels.astype(np.uint8), zlib.crc32(content)


def _get_content(image: dict) -> bytes:
    return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()


class TrainingPairs(Dataset):
    """
    Random crops of resized images, and their classes. They depend on the seed, the epoch and the image alone, so that a resumed
    run sees the same ones.

    Args:
        rows (`datasets.Dataset`):
            From [`open_rows`].
        reader ([`PairReader`]):
            Reads them.
        image_processor (`BaseImageProcessor`):
            Scales and normalizes.
        args ([`DataArguments`]):
            Sizes.
        seed (`int`):
            Seed of everything random.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        reader: PairReader,
        image_processor: BaseImageProcessor,
        args: DataArguments,
        seed: int,
    ):
        self.rows = rows
        self.reader = reader
        self.image_processor = image_processor
        self.seed = seed
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # with workers that stay from epoch to epoch
        size = args.crop_size
        self.transform = albumentations.Compose(
            [
                albumentations.RandomScale((args.min_scale - 1, args.max_scale - 1), p=1.0),
                albumentations.PadIfNeeded(size, size, position="random", fill=0, fill_mask=IGNORED),
                albumentations.RandomCrop(size, size),
                albumentations.HorizontalFlip(p=0.5 if args.flip else 0.0),
                albumentations.ColorJitter(p=0.5),
            ]
        )

    def set_epoch(self, epoch: int):
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        pixels, labels, checksum = self.reader(self.rows[index], index)
        self.transform.set_random_seed(
            int(np.random.default_rng((self.seed, int(self.epoch), checksum)).integers(2**31))
        )
        changed = self.transform(image=pixels, mask=labels)
        return make_example(self.image_processor, changed["image"], changed["mask"])


class EvaluationPairs(Dataset):
    """
    Images as they are, of any size, and their classes.

    Args:
        rows (`datasets.Dataset`):
            From [`open_rows`].
        reader ([`PairReader`]):
            Reads them.
        image_processor (`BaseImageProcessor`):
            Scales and normalizes.
    """

    def __init__(self, rows: datasets.Dataset, reader: PairReader, image_processor: BaseImageProcessor):
        self.rows = rows
        self.reader = reader
        self.image_processor = image_processor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        pixels, labels, _ = self.reader(self.rows[index], index)
        return make_example(self.image_processor, pixels, labels)


def make_example(
    image_processor: BaseImageProcessor, pixels: np.ndarray, labels: np.ndarray
) -> dict[str, torch.Tensor]:
    """`pixel_values` of shape `(3, height, width)`, and `labels` of shape `(height, width)`."""
    pixel_values = image_processor(pixels, input_data_format="channels_last", return_tensors="pt")["pixel_values"][0]
    return {"pixel_values": pixel_values, "labels": torch.from_numpy(labels.astype(np.int64))}


def collate(examples: Sequence[dict]) -> dict[str, torch.Tensor]:
    """A batch of examples of one size."""
    return {name: torch.stack([example[name] for example in examples]) for name in ("pixel_values", "labels")}
