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
"""Images and boxes: opened with `datasets`, changed together by albumentations, made into examples."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import albumentations
import datasets
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import BaseImageProcessor

from modeling_greenmim.training.command_line import UserError, argument, check_range
from modeling_greenmim.training.dense_tasks import AugmentedDataset, DenseDataArguments, open_split
from modeling_greenmim.training.errors import describe_error
from modeling_greenmim.training.image_decoding import read_image
from modeling_greenmim.training.image_files import read_row


SIZE_MULTIPLE = 32  # of the sides of batches
BOX_FORMAT = "left, top, width and height in pixels"


@dataclass
class DataArguments(DenseDataArguments):
    """What is learned, and what it is evaluated on."""

    objects_column_name: str = argument(
        f"Column of the objects, with 'category' and 'bbox' ({BOX_FORMAT}).", "objects"
    )
    id2label_file: str | None = argument(
        "JSON file with a name for each category, a list, where the data set does not bring them."
    )
    image_size: int = argument("Side that images are resized to, in pixels.", 640)
    min_scale: float = argument("In training, batches have sides from this part of --image_size ...", 0.75)
    max_scale: float = argument("... to this one.", 1.25)

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "image_size", SIZE_MULTIPLE)


@dataclass
class AnnotatedImages:
    """
    Rows of images and objects.

    Attributes:
        rows (`datasets.Dataset`):
            With `image`, not decoded, and `objects`.
        label_names (`list[str]`):
            Names of the categories.
        description (`str`):
            Where they come from, for messages.
    """

    rows: datasets.Dataset
    label_names: list[str]
    description: str

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, bytes]:
        """
        Returns pixels of shape `(height, width, 3)` and `uint8`, boxes of shape `(num_objects, 4)`, categories of shape
        `(num_objects,)`, and the image as it is stored.

        Raises:
            [`UserError`]: if the image cannot be read, or a box or a category cannot be right.
        """
        row = self.rows[index]
        name = f"{row['image']['path'] or f'Image {index}'} of {self.description}"
        try:
            content = read_row(row["image"], allow_external_files=True)
            pixels = np.ascontiguousarray(np.moveaxis(read_image(content, 3), 0, -1))
        except Exception as error:
            raise UserError(f"{name} cannot be read ({describe_error(error)}). Mend it, or leave it out.") from error
        boxes = np.asarray(row["objects"]["bbox"], dtype=np.float64).reshape(-1, 4)
        categories = np.asarray(row["objects"]["category"], dtype=np.int64)
        self._check(boxes, categories, pixels.shape[:2], name)
        return pixels, boxes, categories, content

    def _check(self, boxes: np.ndarray, categories: np.ndarray, size: tuple[int, int], name: str):
        if len(boxes) != len(categories):
            raise UserError(f"{name} has {len(boxes)} boxes and {len(categories)} categories.")
        unknown = categories[(categories < 0) | (categories >= len(self.label_names))]
        if len(unknown):
            raise UserError(f"{name} has the category {unknown[0]}, and there are {len(self.label_names)}, from 0.")
        height, width = size
        right, bottom = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
        wrong = (boxes.min(axis=1, initial=0) < -1) | (boxes[:, 2:].min(axis=1, initial=1) <= 0) if len(boxes) else []
        wrong = np.flatnonzero(wrong | (right > width + 1) | (bottom > height + 1)) if len(boxes) else []
        if len(wrong):
            raise UserError(
                f"{name} has {width} x {height} pixels, and a box {boxes[wrong[0]].tolist()}, which is not in it: boxes are {BOX_FORMAT}."
            )


def open_images(args: DataArguments, split: str, max_samples: int | None) -> AnnotatedImages:
    """
    Opens a split.

    Raises:
        [`UserError`]: if there is no such split or column, or it holds something else.
    """
    columns = {"image_column_name": "image", "objects_column_name": "objects"}
    rows, description = open_split(args, split, max_samples, columns)
    feature = rows.features["objects"]
    if not isinstance(feature, dict) or not {"bbox", "category"} <= feature.keys():
        raise UserError(
            f"The column {args.objects_column_name!r} of {description} holds no 'bbox' and 'category', but {feature}."
        )
    return AnnotatedImages(rows, _get_label_names(args, feature["category"], description), description)


def _get_label_names(args: DataArguments, feature, description: str) -> list[str]:
    if args.id2label_file is not None:
        try:
            names = json.loads(Path(args.id2label_file).read_text())
            if not isinstance(names, list) or not names:
                raise ValueError("it is no list of names")
        except (OSError, ValueError) as error:
            raise UserError(f"--id2label_file {args.id2label_file} cannot be used: {error}.") from error
        return [str(name) for name in names]
    feature = getattr(feature, "feature", feature)
    if not isinstance(feature, datasets.ClassLabel):
        raise UserError(f"{description} does not name its categories: give --id2label_file.")
    return feature.names


class TrainingImages(AugmentedDataset):
    """
    Changed images and their boxes.

    Args:
        images ([`AnnotatedImages`]):
            The images.
        image_processor (`BaseImageProcessor`):
            Resizes, scales and normalizes.
        flip (`bool`):
            Whether to flip half of the images.
        seed (`int`):
            Seed of everything random.
    """

    def __init__(self, images: AnnotatedImages, image_processor: BaseImageProcessor, flip: bool, seed: int):
        changes = [
            albumentations.BBoxSafeRandomCrop(p=0.5),
            albumentations.HorizontalFlip(p=0.5 if flip else 0.0),
            albumentations.ColorJitter(p=0.5),
        ]
        boxes = albumentations.BboxParams("coco", label_fields=["category"], clip=True, min_area=1)
        super().__init__(images.rows, albumentations.Compose(changes, bbox_params=boxes), seed)
        self.images = images
        self.image_processor = image_processor

    def __getitem__(self, index: int) -> dict:
        pixels, boxes, categories, content = self.images.read(index)
        changed, seed = self.augment(content, image=pixels, bboxes=boxes, category=categories)
        boxes = np.asarray(changed["bboxes"], dtype=np.float64).reshape(-1, 4)
        categories = np.asarray(changed["category"], dtype=np.int64)
        return {**make_example(self.image_processor, changed["image"], boxes, categories), "seed": seed}


class EvaluationImages(Dataset):
    """
    Images as they are, with their boxes.

    Args:
        images ([`AnnotatedImages`]):
            The images.
        image_processor (`BaseImageProcessor`):
            Resizes, scales and normalizes.
    """

    def __init__(self, images: AnnotatedImages, image_processor: BaseImageProcessor):
        self.images = images
        self.image_processor = image_processor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        pixels, boxes, categories, _ = self.images.read(index)
        example = make_example(self.image_processor, pixels, boxes, categories)
        return {**example, "original_size": torch.tensor(pixels.shape[:2]), "index": torch.tensor(index)}


def make_example(
    image_processor: BaseImageProcessor, pixels: np.ndarray, boxes: np.ndarray, categories: np.ndarray
) -> dict:
    """
    `pixel_values` of shape `(3, image_size, image_size)`, and `labels`: `class_labels` of shape `(num_objects,)`, and `boxes` of
    shape `(num_objects, 4)`, center, width and height, as shares of the image.
    """
    height, width = pixels.shape[:2]
    pixel_values = image_processor(pixels, input_data_format="channels_last", return_tensors="pt")["pixel_values"][0]
    relative = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1) / [width, height, width, height]
    labels = {"class_labels": torch.from_numpy(categories), "boxes": torch.from_numpy(relative.astype(np.float32))}
    return {"pixel_values": pixel_values, "labels": labels}


@dataclass
class TrainingCollator:
    """
    Makes a batch, of another size each time.

    Args:
        args ([`DataArguments`]):
            With the sizes.
    """

    args: DataArguments

    def __call__(self, examples: Sequence[dict]) -> dict:
        args = self.args
        smallest, largest = (
            max(1, round(scale * args.image_size / SIZE_MULTIPLE)) for scale in (args.min_scale, args.max_scale)
        )
        rng = np.random.default_rng([example["seed"] for example in examples])
        side = SIZE_MULTIPLE * int(rng.integers(smallest, largest + 1))
        pixel_values = torch.stack([example["pixel_values"] for example in examples])
        pixel_values = nn.functional.interpolate(pixel_values, (side, side), mode="bilinear", antialias=True)
        return {"pixel_values": pixel_values, "labels": [example["labels"] for example in examples]}


def collate_for_evaluation(examples: Sequence[dict]) -> dict:
    """A batch, with the sizes of the images and their numbers."""
    batch = {
        name: torch.stack([example[name] for example in examples])
        for name in ("pixel_values", "original_size", "index")
    }
    return {**batch, "labels": [example["labels"] for example in examples]}
