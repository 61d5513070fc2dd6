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
from collections.abc import Sequence
from dataclasses import dataclass

import albumentations
import datasets
import numpy as np
import PIL.Image
import torch
from torch.utils.data import Dataset
from transformers import BaseImageProcessor

from modeling_greenmim.training.command_line import UserError, argument, check_range
from modeling_greenmim.training.dense_tasks import AugmentedDataset, DenseDataArguments, do_not_decode, open_split
from modeling_greenmim.training.errors import describe_error
from modeling_greenmim.training.image_decoding import read_image
from modeling_greenmim.training.image_files import read_row


IGNORED = 255  # label of pixels that do not count


@dataclass
class DataArguments(DenseDataArguments):
    """What is learned, and what it is evaluated on."""

    label_column_name: str = argument("Column of the pictures of classes.", "annotation")
    id2label_file: str | None = argument("JSON file with a name for each class: a list, or a dictionary of numbers.")
    do_reduce_labels: bool = argument(
        "0 is no class, as in ADE20K: it is ignored, and 1 becomes the first class.", False
    )
    crop_size: int = argument("Side of the crops that are trained on, in pixels.", 512)
    min_scale: float = argument("Images are resized by a factor from this one ...", 0.5)
    max_scale: float = argument("... to this one before they are cropped.", 2.0)

    def __post_init__(self):
        super().__post_init__()
        if self.id2label_file is None:
            raise UserError("Give --id2label_file: a JSON file with a name for each class.")
        check_range(self, "crop_size", 1)


def open_rows(args: DataArguments, split: str, max_samples: int | None) -> datasets.Dataset:
    """
    Opens a split: rows with `image` and `annotation`, not decoded.

    Raises:
        [`UserError`]: if there is no such split or column.
    """
    columns = {"image_column_name": "image", "label_column_name": "annotation"}
    rows, description = open_split(args, split, max_samples, columns)
    return do_not_decode(rows, "annotation", args.label_column_name, description)


def open_splits(args: DataArguments) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The rows to train on, and those to evaluate on."""
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

    def __call__(self, row: dict, index: int) -> tuple[np.ndarray, np.ndarray, bytes]:
        """
        Returns pixels of shape `(height, width, 3)`, classes of shape `(height, width)`, both `uint8`, and the image as it is stored.

        Raises:
            [`UserError`]: if one cannot be read, they differ in size, or there is a class that is not known.
        """
        name = row["image"]["path"] or f"Image {index}"
        try:
            content, annotation = (
                read_row(row[column], allow_external_files=True) for column in ("image", "annotation")
            )
            pixels = np.moveaxis(read_image(content, 3), 0, -1)
            labels = np.asarray(PIL.Image.open(io.BytesIO(annotation)))
        except Exception as error:
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
        return np.ascontiguousarray(pixels), labels.astype(np.uint8), content


class TrainingPairs(AugmentedDataset):
    """
    Random crops of resized images, and their classes.

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
        size = args.crop_size
        changes = [
            albumentations.RandomScale((args.min_scale - 1, args.max_scale - 1), p=1.0),
            albumentations.PadIfNeeded(size, size, position="random", fill=0, fill_mask=IGNORED),
            albumentations.RandomCrop(size, size),
            albumentations.HorizontalFlip(p=0.5 if args.flip else 0.0),
            albumentations.ColorJitter(p=0.5),
        ]
        super().__init__(rows, albumentations.Compose(changes), seed)
        self.reader = reader
        self.image_processor = image_processor

    def __getitem__(self, index: int) -> dict:
        pixels, labels, content = self.reader(self.rows[index], index)
        changed, _ = self.augment(content, image=pixels, mask=labels)
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
