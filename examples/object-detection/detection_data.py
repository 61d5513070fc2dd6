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
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for its newest version

import albumentations
import datasets
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import BaseImageProcessor

from example_command import UserError, argument, check_range
from example_datasets import check_column, load_split
from example_images import UNREADABLE_ERRORS, describe_error, read_image


SIZE_MULTIPLE = 32  # of the sides of batches
BOX_FORMAT = "left, top, width and height in pixels"


@dataclass
class DataArguments:
    """What is learned, and what it is evaluated on."""

    dataset_name: str | None = argument("Data set on the Hub, or a local folder of one.")
    dataset_config_name: str | None = argument("Configuration of the data set on the Hub.")
    train_split_name: str = argument("Split to train on.", "train")
    eval_split_name: str = argument("Split to evaluate on.", "validation")
    image_column_name: str = argument("Column of the images.", "image")
    objects_column_name: str = argument(
        f"Column of the objects, with 'category' and 'bbox' ({BOX_FORMAT}).", "objects"
    )
    id2label_file: str | None = argument(
        "JSON file with a name for each category, a list, where the data set does not bring them."
    )
    max_train_samples: int | None = argument("Train on the first so many images.")
    max_eval_samples: int | None = argument("Evaluate on the first so many images.")
    image_size: int = argument("Side that images are resized to, in pixels.", 640)
    min_scale: float = argument("In training, batches have sides between this part of --image_size ...", 0.75)
    max_scale: float = argument("... and this one.", 1.25)
    flip: bool = argument("Whether to flip half of the images.", True)

    def __post_init__(self):
        if self.dataset_name is None:
            raise UserError("Give --dataset_name.")
        check_range(self, "image_size", SIZE_MULTIPLE)
        if not 0 < self.min_scale <= self.max_scale:
            raise UserError(
                f"--min_scale and --max_scale must be above 0 and in this order, but are {self.min_scale} and {self.max_scale}."
            )
        for name in ("max_train_samples", "max_eval_samples"):
            check_range(self, name, 1)


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

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """
        Returns pixels of shape `(height, width, 3)` and `uint8`, boxes of shape `(num_objects, 4)`, categories of shape
        `(num_objects,)`, and a checksum of the image.

        Raises:
            [`UserError`]: if the image cannot be read, or a box or a category cannot be right.
        """
        row = self.rows[index]
        name = f"{row['image']['path'] or f'Image {index}'} of {self.description}"
        try:
            content = row["image"]["bytes"]
            content = Path(row["image"]["path"]).read_bytes() if content is None else content
            pixels = np.ascontiguousarray(np.moveaxis(read_image(content, 3), 0, -1))
        except UNREADABLE_ERRORS as error:
            raise UserError(f"{name} cannot be read ({describe_error(error)}). Mend it, or leave it out.") from error
        boxes = np.asarray(row["objects"]["bbox"], dtype=np.float64).reshape(-1, 4)
        categories = np.asarray(row["objects"]["category"], dtype=np.int64)
        self._check(boxes, categories, pixels.shape[:2], name)
        return pixels, boxes, categories, zlib.crc32(content)

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
    rows, _ = load_split(args.dataset_name, args.dataset_config_name, split)
    description = f"{args.dataset_name}, split {split!r}"
    for name in ("image_column_name", "objects_column_name"):
        check_column(rows.features, getattr(args, name), f"--{name}", description)
    image, objects = args.image_column_name, args.objects_column_name
    if not isinstance(rows.features[image], datasets.Image):
        raise UserError(f"The column {image!r} of {description} holds no images, but {rows.features[image]}.")
    feature = rows.features[objects]
    if not isinstance(feature, dict) or not {"bbox", "category"} <= feature.keys():
        raise UserError(f"The column {objects!r} of {description} holds no 'bbox' and 'category', but {feature}.")
    label_names = _get_label_names(args, feature["category"], description)
    rows = rows.select_columns([image, objects]).cast_column(image, datasets.Image(decode=False))
    rows = rows.rename_columns({old: new for old, new in ((image, "image"), (objects, "objects")) if old != new})
    if max_samples is not None:
        rows = rows.select(range(min(max_samples, len(rows))))
    return AnnotatedImages(rows, label_names, description)


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


class TrainingImages(Dataset):
    """
    Changed images and their boxes. They depend on the seed, the epoch and the image alone, so that a resumed run sees the same.

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
        self.images = images
        self.image_processor = image_processor
        self.seed = seed
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # with workers that stay from epoch to epoch
        self.transform = albumentations.Compose(
            [
                albumentations.BBoxSafeRandomCrop(p=0.5),
                albumentations.HorizontalFlip(p=0.5 if flip else 0.0),
                albumentations.ColorJitter(p=0.5),
            ],
            bbox_params=albumentations.BboxParams("coco", label_fields=["category"], clip=True, min_area=1),
        )

    def set_epoch(self, epoch: int):
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        pixels, boxes, categories, checksum = self.images.read(index)
        seed = int(np.random.default_rng((self.seed, int(self.epoch), checksum)).integers(2**31))
        self.transform.set_random_seed(seed)
        changed = self.transform(image=pixels, bboxes=boxes, category=categories)
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
