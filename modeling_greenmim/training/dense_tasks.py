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
"""What segmentation and detection share: their data, changes of an image together with what is in it, and their reports."""

import os
import zlib
from dataclasses import dataclass


os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else albumentations asks the network for its newest version

import albumentations
import datasets
import numpy as np

from .backbones import Backbone, BackboneArguments
from .command_line import UserError, argument, check_range, get_name
from .fine_tuning import FineTuningArguments
from .labeled_datasets import EpochDataset, check_column, load_split


USAGE = """
{imports}from transformers import pipeline

predict = pipeline("{task}", model="{{name}}")
predict("path/to/image.jpg")
"""


@dataclass
class DenseDataArguments:
    """What is learned, and what it is evaluated on."""

    dataset_name: str | None = argument("Data set on the Hub, or a local folder of one.")
    dataset_config_name: str | None = argument("Configuration of the data set on the Hub.")
    train_split_name: str = argument("Split to train on.", "train")
    eval_split_name: str = argument("Split to evaluate on.", "validation")
    image_column_name: str = argument("Column of the images.", "image")
    max_train_samples: int | None = argument("Train on the first so many images.")
    max_eval_samples: int | None = argument("Evaluate on the first so many images.")
    flip: bool = argument("Whether to flip half of the images.", True)
    min_scale: float = argument("In training, sizes are multiplied by a factor from this one ...", 0.75)
    max_scale: float = argument("... to this one.", 1.25)

    def __post_init__(self):
        if self.dataset_name is None:
            raise UserError("Give --dataset_name.")
        if self.train_split_name == self.eval_split_name:
            raise UserError(f"--eval_split_name {self.eval_split_name} is what is learned: give another one.")
        if not 0 < self.min_scale <= self.max_scale:
            raise UserError(
                f"--min_scale and --max_scale must be above 0 and in this order, but are {self.min_scale} and {self.max_scale}."
            )
        for name in ("max_train_samples", "max_eval_samples"):
            check_range(self, name, 1)


def open_split(
    args: DenseDataArguments, split: str, max_samples: int | None, columns: dict[str, str]
) -> tuple[datasets.Dataset, str]:
    """
    Opens a split.

    Args:
        args ([`DenseDataArguments`]):
            Which data set.
        split (`str`):
            The split.
        max_samples (`int`, *optional*):
            Take the first so many rows.
        columns (`dict[str, str]`):
            Argument that names a column -> the name that it gets. `image` is not decoded.

    Returns:
        `datasets.Dataset` with these columns, and where it comes from, for messages.

    Raises:
        [`UserError`]: if there is no such split or column, or no image in that of images.
    """
    rows, _ = load_split(args.dataset_name, args.dataset_config_name, split)
    description = f"{args.dataset_name}, split {split!r}"
    for name in columns:
        check_column(rows.features, getattr(args, name), f"--{name}", description)
    new_names = {getattr(args, name): new for name, new in columns.items()}
    rows = rows.select_columns(list(new_names))
    rows = rows.rename_columns({old: new for old, new in new_names.items() if old != new})
    rows = do_not_decode(rows, "image", args.image_column_name, description)
    return rows if max_samples is None else rows.select(range(min(max_samples, len(rows)))), description


def do_not_decode(rows: datasets.Dataset, column: str, name: str, description: str) -> datasets.Dataset:
    """Leaves images as they are stored, so that one that cannot be read is named; raises an error if the column holds none."""
    if not isinstance(rows.features[column], datasets.Image):
        raise UserError(f"The column {name!r} of {description} holds no images, but {rows.features[column]}.")
    return rows.cast_column(column, datasets.Image(decode=False))


class AugmentedDataset(EpochDataset):
    """
    Images that are changed at random, together with what is in them. The changes depend on the seed, the epoch and the content
    of the image alone, so that a resumed run sees the same ones.

    Args:
        rows (`datasets.Dataset`):
            The rows.
        transform (`albumentations.Compose`):
            The changes.
        seed (`int`):
            Seed of everything random.
    """

    def __init__(self, rows: datasets.Dataset, transform: albumentations.Compose, seed: int):
        super().__init__(rows)
        self.transform = transform
        self.seed = seed

    def augment(self, content: bytes, **targets) -> tuple[dict, int]:
        """
        Changes an image.

        Args:
            content (`bytes`):
                The image as it is stored.
            **targets:
                What albumentations calls so: `image`, and `mask` or `bboxes`.

        Returns:
            `dict` of the targets, and the seed of these changes.
        """
        seed = int(np.random.default_rng((self.seed, int(self.epoch), zlib.crc32(content))).integers(2**31))
        self.transform.set_random_seed(seed)
        return self.transform(**targets), seed


def describe_run(
    task: str,
    backbone: Backbone,
    data_args: DenseDataArguments,
    model_args: BackboneArguments,
    args: FineTuningArguments,
) -> dict:
    """What the reports of both tasks tell in the same words: attributes of a [`RunReport`]."""
    dataset = f"`{get_name(data_args.dataset_name)}`"
    chosen = ", which also chose the best of the evaluated models" if args.load_best_model_at_end else ""
    imports = "import modeling_greenmim  # registers the backbone\n" if backbone.is_greenmim else ""
    return {
        "task": task,
        "usage": USAGE.format(task=task, imports=imports),
        "dataset_name": dataset,
        "eval_description": f"{dataset}, split {data_args.eval_split_name!r}{chosen}",
        "origin": backbone.origin,
        "license": backbone.license,
        "settings": {
            name: value
            for name, value in {**vars(data_args), **vars(model_args)}.items()
            if not name.endswith(("_name", "_path", "_file", "_samples"))
        },
    }
