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
"""Labelled images: opened with `datasets`, divided, and made into examples, with labels that are those of the model.

Images stay encoded until they are needed, so that one that cannot be read is named.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import datasets
import numpy as np
import torch
from datasets import ClassLabel, Image, Value
from torch.utils.data import IterableDataset
from transformers.utils import logging

from modeling_greenmim.training.command_line import UserError
from modeling_greenmim.training.errors import describe_error
from modeling_greenmim.training.image_decoding import read_image
from modeling_greenmim.training.image_files import read_row
from modeling_greenmim.training.labeled_datasets import (
    EpochDataset,
    check_column,
    count_rows,
    get_split_names,
    load_split,
)

from classification_arguments import DataArguments


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

# how files and folders of splits are named
SPLIT_PREFIXES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
SPLIT_FOLDERS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".npy")
# of parquet files that were not written by `datasets`
ENCODED_IMAGES = (Value("binary"), {"bytes": Value("binary"), "path": Value("string")})
NUM_FOLDER_SHARDS = 64  # of a folder that is streamed: so many workers may share it

# of an encoded image and seeds, the input of the model
Transform = Callable[[np.ndarray, Sequence[int]], np.ndarray]


@dataclass
class LabelledRows:
    """
    Rows of encoded images and labels.

    Attributes:
        rows (`datasets.Dataset` or `datasets.IterableDataset`):
            With the columns `image`, undecoded, and `label`, a `ClassLabel`.
        description (`str`):
            Where they come from, for messages.
        num_images (`int`, *optional*):
            How many, if that is known.
    """

    rows: datasets.Dataset | datasets.IterableDataset
    description: str
    num_images: int | None

    @property
    def label_names(self) -> list[str]:
        return self.rows.features["label"].names


def open_rows(args: DataArguments, seed: int) -> tuple[LabelledRows, LabelledRows]:
    """
    Opens the images to train on, and those to evaluate on.

    Args:
        args ([`DataArguments`]):
            Which.
        seed (`int`):
            Of the choice of images.

    Raises:
        [`UserError`]: if there are none, a column is missing, a label is missing, or a class has too few images.
    """
    train = _open_training(args)
    if len(train.label_names) < 2:
        raise UserError(
            f"{train.description} has one class, {_shorten(train.label_names)}. A classifier needs two: a folder of images for each "
            "class, or --label_column_name."
        )
    evaluation = _open_evaluation(args)
    if (
        evaluation is not None
        and evaluation.description == train.description
        and evaluation.num_images == train.num_images
    ):
        raise UserError(f"{train.description} is what is learned: give other images to evaluate on.")
    if evaluation is None:
        if args.streaming:
            raise UserError("Streamed images cannot be divided: give --eval_split_name or --validation_dir.")
        train, evaluation = split_rows(train, args.train_val_split, seed)
    check_same_labels(train, evaluation)
    if args.streaming:
        return train, _take_first(evaluation, args.max_eval_samples)
    return (
        choose_rows(train, args.max_train_samples, seed, "--max_train_samples"),
        choose_rows(evaluation, args.max_eval_samples, seed, "--max_eval_samples"),
    )


def _open_training(args: DataArguments) -> LabelledRows:
    if args.train_dir is not None:
        return _load_folder(args, args.train_dir, "train", "--train_dir")
    return _load_split(args, args.train_split_name)


def _open_evaluation(args: DataArguments) -> LabelledRows | None:
    if args.validation_dir is not None:
        folder = args.validation_dir
        if args.train_dir is not None and Path(folder).resolve() == Path(args.train_dir).resolve():
            folder = args.train_dir  # by the same name, if it is the same
        return _load_folder(args, folder, "validation", "--validation_dir")
    if args.eval_split_name is not None:
        return _load_split(args, args.eval_split_name)
    if args.dataset_name is not None and "validation" in get_split_names(args.dataset_name, args.dataset_config_name):
        return _load_split(args, "validation")
    return None


def _load_folder(args: DataArguments, folder: str, split: str, argument: str) -> LabelledRows:
    """A folder of parquet files, or of class folders."""
    if not Path(folder).is_dir():
        raise UserError(f"{argument} {folder} is not a folder.")
    files = sorted(str(path) for path in Path(folder).rglob("*.parquet"))
    if not files:
        rows = list_class_folders(Path(folder), argument)
        num_images = len(rows)
        if args.streaming:
            rows = rows.to_iterable_dataset(num_shards=min(num_images, NUM_FOLDER_SHARDS))
        return _prepare(rows, args, folder, num_images)
    chosen = _choose_files(files, split, argument, folder)
    description = folder if len(chosen) == len(files) else f"{folder}, files of {split}"
    try:
        rows = datasets.load_dataset("parquet", data_files=chosen, split="train", streaming=args.streaming)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"{argument} {folder} cannot be read ({type(error).__name__}: {error}).") from error
    return _prepare(rows, args, description, count_rows(chosen))


def _choose_files(files: Sequence[str], split: str, argument: str, folder: str) -> list[str]:
    """Of files that are named after splits, those of one; else all."""
    by_split = {name: [] for name in SPLIT_PREFIXES}
    for file in files:
        for name, prefixes in SPLIT_PREFIXES.items():
            if Path(file).name.lower().startswith(prefixes):
                by_split[name].append(file)
    named = [name for name, of_split in by_split.items() if of_split]
    if not named or (len(named) == 1 and len(by_split[named[0]]) == len(files)):
        return list(files)  # all of one split
    if not by_split[split]:
        raise UserError(
            f"{argument} {folder} has parquet files of {' and '.join(named)}, by their names, and none of {split}. For a data set with "
            f"splits, use --dataset_name {folder}, with --train_split_name and --eval_split_name."
        )
    return by_split[split]


def list_class_folders(folder: Path, argument: str) -> datasets.Dataset:
    """
    Lists the images of a folder with a folder for each class.

    Args:
        folder (`Path`):
            The folder. Names of classes are those of the folders in it, which may hold images at any depth.
        argument (`str`):
            What named it, for messages.

    Returns:
        `datasets.Dataset` with `image`, a path, and `label`, a class.

    Raises:
        [`UserError`]: if it holds something else.
    """
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_EXTENSIONS and path.is_file())
    classes = sorted({path.relative_to(folder).parts[0] for path in images if path.parent != folder})
    beside = [path for path in images if path.parent == folder]
    if not images:
        raise UserError(f"{argument} {folder} holds no images, in folders for their classes, and no parquet files.")
    if beside:
        raise UserError(
            f"{argument} {folder} has {len(beside)} images, such as {beside[0].name}, that are in no folder of a class: there is none "
            "of them to tell what they show."
        )
    if all(name.lower() in SPLIT_FOLDERS for name in classes):
        raise UserError(
            f"{argument} {folder} has folders of splits ({', '.join(classes)}), not of classes: give one of them as --train_dir, and "
            "one as --validation_dir."
        )
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    if empty := [name for name in folders if name not in classes]:
        logger.warning(f"{argument} {folder}: there are no images in {_shorten(empty)}, which will be no classes.")
    rows = {
        "image": [{"path": str(path), "bytes": None} for path in images],
        "label": [classes.index(path.relative_to(folder).parts[0]) for path in images],
    }
    features = datasets.Features({"image": Image(decode=False), "label": ClassLabel(names=classes)})
    return datasets.Dataset.from_dict(rows, features=features)


def _load_split(args: DataArguments, split: str) -> LabelledRows:
    rows, num_images = load_split(args.dataset_name, args.dataset_config_name, split, args.streaming)
    return _prepare(rows, args, f"{args.dataset_name}, split {split!r}", num_images)


def _prepare(rows, args: DataArguments, description: str, num_images: int | None) -> LabelledRows:
    """The two columns that are needed, by names of their own. `num_images` is that of a stream, where it is known."""
    features = rows.features
    if features is None:
        raise UserError(f"{description} does not tell its columns. Store it as parquet files.")
    for argument in ("image_column_name", "label_column_name"):
        check_column(features, getattr(args, argument), f"--{argument}", description)
    image, label = args.image_column_name, args.label_column_name
    if not isinstance(features[image], Image) and features[image] not in ENCODED_IMAGES:
        raise UserError(f"The column {image!r} of {description} holds no images, but {features[image]}.")
    rows = rows.select_columns([image, label]).cast_column(image, Image(decode=False))
    rows = rows.rename_columns({old: new for old, new in ((image, "image"), (label, "label")) if old != new})
    if isinstance(rows, datasets.IterableDataset):
        if not isinstance(rows.features["label"], ClassLabel):
            raise UserError(
                f"--streaming: the column {label!r} of {description} is no ClassLabel, so its classes are known only when all is "
                "read. Leave --streaming out, or store the classes with the data."
            )
        # by row groups, if they are parquet files: parts of even size, for many workers
        return LabelledRows(rows.reshard(), description, num_images)
    if len(rows) == 0:
        raise UserError(f"{description} holds no images.")
    return LabelledRows(_encode_labels(rows, description, label), description, len(rows))


def _encode_labels(rows: datasets.Dataset, description: str, column: str) -> datasets.Dataset:
    labels = rows.with_format(None)["label"][:]
    is_class_label = isinstance(rows.features["label"], ClassLabel)
    missing = [index for index, label in enumerate(labels) if label is None or (is_class_label and label < 0)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(labels)} images of {description} have no label in the column {column!r}, such as row "
            f"{missing[0]}. Leave them out."
        )
    if is_class_label:
        return rows
    if not isinstance(labels[0], str | int):
        raise UserError(
            f"The column {column!r} of {description} holds no classes, but {rows.features['label']}. Choose another one with "
            "--label_column_name."
        )
    return rows.class_encode_column("label")


def check_same_labels(train: LabelledRows, evaluation: LabelledRows):
    """Raises an error that names the labels to be evaluated that are not trained."""
    unknown = [name for name in evaluation.label_names if name not in train.label_names]
    if unknown:
        raise UserError(
            f"{evaluation.description} has labels that {train.description} has not: {_shorten(unknown)}. The model cannot learn them."
        )


def split_rows(rows: LabelledRows, share: float, seed: int) -> tuple[LabelledRows, LabelledRows]:
    """Divides rows, each class by itself: of each, there are some to train on and some to evaluate on."""
    _check_class_sizes(
        rows, 2, "one to train on and one to evaluate on; or give --validation_dir or --eval_split_name"
    )
    rng, labels = np.random.default_rng(seed), np.asarray(rows.rows.with_format(None)["label"][:])
    is_evaluated = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        is_evaluated[indices[: np.clip(round(share * len(indices)), 1, len(indices) - 1)]] = True
    logger.warning(
        f"{is_evaluated.sum()} of {len(labels)} images of {rows.description} are not trained on, but evaluated on "
        "(--train_val_split)."
    )
    train, evaluation = (rows.rows.select(np.flatnonzero(each)) for each in (~is_evaluated, is_evaluated))
    return tuple(LabelledRows(each, rows.description, len(each)) for each in (train, evaluation))


def choose_rows(rows: LabelledRows, number: int | None, seed: int, argument: str) -> LabelledRows:
    """A number of rows, the same share of each class; all, if there are not more."""
    if number is None or number >= rows.num_images:
        return rows
    num_classes = len(_count_labels(rows))
    if number < num_classes:
        raise UserError(
            f"{argument} {number} is fewer than the {num_classes} classes of {rows.description}: there would be none of some."
        )
    if rows.num_images - number < num_classes:
        raise UserError(
            f"{argument} {number} leaves out {rows.num_images - number} of {rows.num_images} images of {rows.description}, not the same "
            f"share of each of the {num_classes} classes. Leave {argument} out, or give at most {rows.num_images - num_classes}."
        )
    _check_class_sizes(rows, 2, f"for {argument} to take a share of each; or leave {argument} out")
    chosen = rows.rows.train_test_split(train_size=number, stratify_by_column="label", seed=seed)["train"]
    return LabelledRows(chosen, rows.description, len(chosen))


def _count_labels(rows: LabelledRows) -> Counter:
    return Counter(rows.rows.with_format(None)["label"][:])


def _check_class_sizes(rows: LabelledRows, smallest: int, purpose: str):
    small = [rows.label_names[label] for label, number in _count_labels(rows).items() if number < smallest]
    if small:
        raise UserError(
            f"Classes of {rows.description} with fewer than {smallest} images: {_shorten(sorted(small))}. Each needs {purpose}."
        )


def _take_first(rows: LabelledRows, number: int | None) -> LabelledRows:
    if number is None:
        return rows
    return LabelledRows(rows.rows.take(number), rows.description, min(number, rows.num_images or number))


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@dataclass
class ExampleMaker:
    """
    Makes examples for the model of rows.

    Args:
        transform (`Transform`):
            Makes the input of the model.
        num_channels (`int`):
            Channels of the model.
        label_ids (`list[int]`):
            Of each label of the rows, that of the model.
        description (`str`):
            Where the rows come from.
        seed (`int`):
            Of everything random.
    """

    transform: Transform
    num_channels: int
    label_ids: list[int]
    description: str
    seed: int

    def __call__(self, row: dict, index: int, epoch: int) -> dict:
        """
        Returns `pixel_values`, of shape `(num_channels, height, width)`, and `labels`, an integer.

        Raises:
            [`UserError`]: if the image cannot be read, or has no label.
        """
        try:
            content = read_row(row["image"], allow_external_files=True)
            pixels = read_image(content, self.num_channels)
        except Exception as error:
            name = row["image"]["path"] or f"Image {index}"
            raise UserError(
                f"{name} of {self.description} cannot be read ({describe_error(error)}). Mend it, or leave it out."
            ) from error
        if row["label"] is None or row["label"] < 0:
            raise UserError(f"Image {index} of {self.description} has no label. Leave it out.")
        pixel_values = self.transform(pixels, (self.seed, epoch, zlib.crc32(content)))
        return {"pixel_values": torch.from_numpy(pixel_values), "labels": self.label_ids[row["label"]]}


class LabelledImages(EpochDataset):
    """
    Examples of rows that can be read in any order. Crops and other changes depend on the seed, the epoch and the content of
    the image alone, so that a resumed run sees the same ones.

    Args:
        rows ([`LabelledRows`]):
            The rows.
        make_example ([`ExampleMaker`]):
            Makes an example of each.
    """

    def __init__(self, rows: LabelledRows, make_example: ExampleMaker):
        super().__init__(rows.rows)
        self.make_example = make_example

    def __getitem__(self, index: int) -> dict:
        return self.make_example(self.rows[index], index, int(self.epoch))


class StreamedImages(IterableDataset):
    """
    Examples of streamed rows, once and in their order.

    Args:
        rows ([`LabelledRows`]):
            The rows.
        make_example ([`ExampleMaker`]):
            Makes an example of each.
    """

    def __init__(self, rows: LabelledRows, make_example: ExampleMaker):
        self.rows = rows.rows
        self.make_example = make_example

    def __iter__(self) -> Iterator[dict]:
        for index, row in enumerate(self.rows):
            yield self.make_example(row, index, 0)


class EndlessStream(StreamedImages):
    """
    Examples of streamed rows, epoch after epoch, mixed by a buffer of `shuffle_buffer_size` images. Other arguments as for
    [`StreamedImages`].
    """

    def __init__(self, rows: LabelledRows, make_example: ExampleMaker, shuffle_buffer_size: int):
        super().__init__(rows, make_example)
        self.shuffle_buffer_size = shuffle_buffer_size

    def __iter__(self) -> Iterator[dict]:
        for epoch in count():
            seed = int(np.random.default_rng([self.make_example.seed, epoch]).integers(2**31))
            # one shard at a time: `datasets` sleeps for seconds at the end of several
            rows = self.rows.shuffle(seed, buffer_size=self.shuffle_buffer_size, max_buffer_input_shards=1)
            index = -1
            for index, row in enumerate(rows):
                yield self.make_example(row, index, epoch)
            if index < 0:
                return  # more workers than shards: this one has none


def collate(examples: Sequence[dict]) -> dict[str, torch.Tensor]:
    """A batch: `pixel_values` of shape `(batch_size, num_channels, height, width)` and `labels` of shape `(batch_size,)`."""
    return {
        "pixel_values": torch.stack([example["pixel_values"] for example in examples]),
        "labels": torch.tensor([example["labels"] for example in examples]),
    }
