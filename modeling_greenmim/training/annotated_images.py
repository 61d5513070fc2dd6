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
"""Images with annotations, such as classes of pixels or boxes: opened with `datasets`, and augmented together."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from torchvision import tv_tensors
from transformers import BaseImageProcessor
from transformers.hf_argparser import HfArg

from .command_line import check_range, get_name
from .errors import UserError, describe_error
from .image_decoding import read_image
from .image_files import read_row
from .labeled_datasets import EpochDataset, check_column, load_split


SOURCES = ("_name", "_path", "_file", "_samples")  # ends of arguments that choose images and weights


@dataclass
class AnnotatedDataArguments:
    """Arguments of the images to train and evaluate on."""

    dataset_name: str | None = HfArg(default=None, help="Dataset on the Hub, or a local folder.")
    dataset_config_name: str | None = HfArg(default=None, help="Configuration of the dataset on the Hub.")
    train_split_name: str = HfArg(default="train", help="Split to train on.")
    eval_split_name: str = HfArg(default="validation", help="Split to evaluate on.")
    image_column_name: str = HfArg(default="image", help="Column of the images.")
    max_train_samples: int | None = HfArg(default=None, help="Number of images to train on, the first ones.")
    max_eval_samples: int | None = HfArg(default=None, help="Number of images to evaluate on, the first ones.")
    flip: bool = HfArg(default=True, help="Whether to flip half of the images in training.")
    min_scale: float = HfArg(default=0.75, help="Smallest factor of sizes in training.")
    max_scale: float = HfArg(default=1.25, help="Largest factor of sizes in training.")

    def __post_init__(self):
        if self.dataset_name is None:
            raise UserError("Give --dataset_name.")
        if self.train_split_name == self.eval_split_name:
            raise UserError(
                f"--eval_split_name must differ from --train_split_name, got {self.eval_split_name} twice."
            )
        if not 0 < self.min_scale <= self.max_scale:
            raise UserError(
                f"--min_scale must be above 0 and at most --max_scale, got {self.min_scale} and {self.max_scale}."
            )
        for name in ("max_train_samples", "max_eval_samples"):
            check_range(self, name, 1)


def describe_data(args: AnnotatedDataArguments, model_args: object, load_best_model_at_end: bool) -> dict:
    """Returns what a [`FineTuningReport`] says about the data, and the settings of data and model."""
    name = f"`{get_name(args.dataset_name)}`"
    chose_best = ", which also chose the best of the evaluated models" if load_best_model_at_end else ""
    settings = vars(args) | vars(model_args)
    return {
        "dataset_name": name,
        "eval_description": f"{name}, split {args.eval_split_name!r}{chose_best}",
        "settings": {key: value for key, value in settings.items() if not key.endswith(SOURCES)},
    }


def open_splits(args: AnnotatedDataArguments, annotation_argument: str) -> list[tuple[datasets.Dataset, str]]:
    """
    Opens the split to train on, and the split to evaluate on.

    Args:
        args ([`AnnotatedDataArguments`]):
            The dataset.
        annotation_argument (`str`):
            Name of the argument with the column of the annotations.

    Returns:
        `list` with a pair for each split: `datasets.Dataset` with the columns `image` and `annotation`, in which images stay encoded;
        and the name of the split, for error messages.

    Raises:
        [`UserError`]: if there is no such split or column, or the column of the images holds something else.
    """
    splits = []
    for split, max_samples in (
        (args.train_split_name, args.max_train_samples),
        (args.eval_split_name, args.max_eval_samples),
    ):
        rows, _ = load_split(args.dataset_name, args.dataset_config_name, split)
        name = f"{args.dataset_name}, split {split!r}"
        for argument in ("image_column_name", annotation_argument):
            check_column(rows.features, getattr(args, argument), f"--{argument}", name)
        check_image_column(rows.features[args.image_column_name], args.image_column_name, name)
        columns = {args.image_column_name: "image", getattr(args, annotation_argument): "annotation"}
        rows = rows.select_columns(list(columns)).rename_columns(columns)
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))  # errors of decoding name the image
        splits.append((rows.take(min(max_samples or len(rows), len(rows))), name))
    return splits


def check_image_column(feature: object, column: str, split: str):
    """Raises a [`UserError`] if a column of a split, whose type is `feature`, holds no images."""
    if not isinstance(feature, datasets.Image):
        raise UserError(f"The column {column!r} of {split} must hold images, got {feature}.")


def read_label_names(path: str) -> list[str]:
    """
    Reads names of classes from a JSON file: a list, or a dictionary with the keys 0, 1, ...

    Raises:
        [`UserError`]: if the file holds something else.
    """
    try:
        content = json.loads(Path(path).read_text())
        names = dict(enumerate(content)) if isinstance(content, list) else {int(k): v for k, v in content.items()}
        if not names or sorted(names) != list(range(len(names))):
            raise ValueError(f"its numbers must be 0, 1, ..., got {sorted(names)}")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"--id2label_file {path} holds no names of classes: {error}") from error
    return [str(names[number]) for number in range(len(names))]


class AnnotatedImages(EpochDataset):
    """
    Images with annotations, which are augmented together. Augmentations depend on the seed, the epoch and the content of the image
    only, so that a resumed run repeats them. A subclass reads the annotations.

    Args:
        rows (`datasets.Dataset`):
            From [`open_splits`].
        split (`str`):
            Name of the split, for error messages.
        num_labels (`int`):
            Number of classes.
        image_processor (`BaseImageProcessor`):
            Makes images into inputs of the model.
        transform (`Callable`, *optional*):
            Changes a sample, with random numbers of torch. By default, samples are not changed.
        seed (`int`, *optional*, defaults to 0):
            Seed of the augmentations.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        split: str,
        num_labels: int,
        image_processor: BaseImageProcessor,
        transform: Callable[[dict], dict] | None = None,
        seed: int = 0,
    ):
        super().__init__(rows)
        self.split = split
        self.num_labels = num_labels
        self.image_processor = image_processor
        self.transform = transform
        self.seed = seed

    def read_annotation(self, annotation, height: int, width: int) -> dict:
        """Returns the entries of a sample next to `image`. A [`UserError`] says what is wrong with them."""
        raise NotImplementedError

    def load_sample(self, index: int) -> dict:
        """
        Returns `image`, a `tv_tensors.Image` of shape `(3, height, width)`, and the entries of `read_annotation`, augmented.

        Raises:
            [`UserError`]: if the image or its annotation cannot be read or used.
        """
        row = self.rows[index]
        name = f"{(row['image'] or {}).get('path') or f'Image {index}'} of {self.split}"
        try:
            content = read_row(row["image"], allow_external_files=True)
            image = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(read_image(content, 3))))
            sample = {"image": image, **self.read_annotation(row["annotation"], *image.shape[1:])}
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        except Exception as error:  # decoders of damaged images raise what they like
            raise UserError(
                f"{name} or its annotation cannot be read ({describe_error(error)}). Fix or remove it."
            ) from error
        if self.transform is None:
            return sample
        (seed,) = np.random.SeedSequence((self.seed, int(self.epoch), zlib.crc32(content))).generate_state(1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(seed))  # `torch.manual_seed` would also change the state of GPUs
            return self.transform(sample)

    def make_pixel_values(self, image: tv_tensors.Image) -> torch.Tensor:
        """Applies the image processor to one image."""
        inputs = self.image_processor(image.numpy(), input_data_format="channels_first", return_tensors="pt")
        return inputs["pixel_values"][0]
