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
"""Labeled images, opened with `datasets`, and divided into training and evaluation images.

Images stay encoded until they are needed, so that an error names the image. Class folders are listed here, because
`datasets` takes names for patterns, and a file `train_01.png` for a split.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import ClassVar

import datasets
import pyarrow.parquet
from datasets import ClassLabel, Features, Image
from datasets.data_files import SPLIT_KEYWORDS
from datasets.exceptions import DatasetsError
from transformers.hf_argparser import HfArg
from transformers.utils import logging

from .command_line import check_range, get_name
from .errors import UserError, explain_loading
from .image_files import NO_FILE, get_kind, holds_images, list_files


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

NUM_FOLDER_SHARDS = 64  # of a streamed folder: at most this many workers can share it
# suffixes of arguments that choose images and weights
SOURCES = ("_name", "_path", "_file", "_samples", "_dir", "_split")


@dataclass
class DatasetArguments:
    """Images to train and evaluate on."""

    label_argument: ClassVar[str] = "label_column_name"  # the argument that names the column of labels or annotations
    streaming: ClassVar[bool] = False
    train_dir: ClassVar[str | None] = None
    validation_dir: ClassVar[str | None] = None

    dataset_name: str | None = HfArg(default=None, help="Dataset on the Hub, or a local folder.")
    dataset_config_name: str | None = HfArg(default=None, help="Configuration of the dataset on the Hub.")
    train_split_name: str = HfArg(default="train", help="Split of --dataset_name to train on.")
    eval_split_name: str | None = HfArg(default=None, help="Split to evaluate on. By default, 'validation', if any.")
    image_column_name: str = HfArg(default="image", help="Column of the images.")
    max_train_samples: int | None = HfArg(
        default=None, help="Number to train on: the same fraction of each class; without classes, the first ones."
    )
    max_eval_samples: int | None = HfArg(default=None, help="Number of images to evaluate on, chosen likewise.")

    def __post_init__(self):
        for name in ("max_train_samples", "max_eval_samples"):
            check_range(self, name, 1)


@dataclass
class LabeledDataArguments(DatasetArguments):
    """Labeled images to train and evaluate on."""

    train_dir: str | None = HfArg(default=None, help="Folder with a folder per class, or with parquet files.")
    validation_dir: str | None = HfArg(default=None, help="Folder to evaluate on, with the layout of --train_dir.")
    train_val_split: float = HfArg(default=0.15, help="Fraction of each class to hold out, if nothing else is given.")
    label_column_name: str = HfArg(default="label", help="Column of the labels.")
    streaming: bool = HfArg(default=False, help="Stream images and store none. Labels must be a ClassLabel.")
    shuffle_buffer_size: int = HfArg(default=1000, help="Number of images to shuffle at a time with --streaming.")

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "shuffle_buffer_size", 1)
        if (self.dataset_name is None) == (self.train_dir is None):
            raise UserError("Pass either --dataset_name or --train_dir.")
        if self.eval_split_name is not None and (self.validation_dir or self.train_dir):
            raise UserError("--eval_split_name is a split of --dataset_name. Omit it, or omit the folders.")
        if not 0 < self.train_val_split < 1:
            raise UserError(f"--train_val_split must be above 0 and below 1, got {self.train_val_split}.")
        if self.streaming and self.max_train_samples is not None:
            raise UserError("--max_train_samples needs to know all images. Omit --streaming, or pass --max_steps.")


@dataclass
class AnnotatedDataArguments(DatasetArguments):
    """Images with masks or boxes to train and evaluate on, and their augmentation."""

    eval_split_name: str = HfArg(default="validation", help="Split to evaluate on.")
    id2label_file: str | None = HfArg(default=None, help="JSON file of class names: a list or a dictionary.")
    flip: bool = HfArg(default=True, help="Flip half of the training images horizontally.")
    min_scale: float = HfArg(default=0.75, help="Smallest factor by which to resize in training.")
    max_scale: float = HfArg(default=1.25, help="Largest factor by which to resize in training.")

    def __post_init__(self):
        super().__post_init__()
        if self.dataset_name is None:
            raise UserError("Pass --dataset_name.")
        if self.train_split_name == self.eval_split_name:
            raise UserError(
                f"--eval_split_name must differ from --train_split_name, got {self.eval_split_name} twice."
            )
        if not 0 < self.min_scale <= self.max_scale:
            scales = f"{self.min_scale} and {self.max_scale}"
            raise UserError(f"--min_scale must be above 0 and at most --max_scale, got {scales}.")


@dataclass
class LabeledRows:
    """Rows of `image`, still encoded, and `label`, a `ClassLabel` or the annotation of the image."""

    rows: datasets.Dataset | datasets.IterableDataset
    description: str  # of their source, for messages
    num_images: int | None  # `None` if unknown

    @property
    def label_names(self) -> list[str]:
        return self.rows.features["label"].names

    def take(self, number: int | None) -> "LabeledRows":
        """The first rows, by default all."""
        if number is None:
            return self
        number = min(number, self.num_images or number)
        return replace(self, rows=self.rows.take(number), num_images=number)


def open_labeled_images(args: LabeledDataArguments, seed: int) -> tuple[LabeledRows, LabeledRows]:
    """
    Opens the training and evaluation images; `seed` determines the choice. Raises a [`UserError`] if there are none, a
    column or a label is missing, or a class has too few images.
    """
    if args.train_dir is not None:
        train = _open_folder(args, args.train_dir, "train", "--train_dir")
    else:
        train = open_split(args, args.train_split_name)
    train = _encode_labels(train, args.label_column_name)
    if len(train.label_names) < 2:
        raise UserError(f"{train.description} has only one class, {_shorten(train.label_names)}. Use at least two.")
    if evaluation := _open_evaluation(args):
        if evaluation.description == train.description:
            raise UserError(f"Cannot evaluate on the training images, {train.description}. Pass other images.")
        evaluation = _encode_labels(evaluation, args.label_column_name)
    elif args.streaming:
        raise UserError("Cannot divide streamed images. Pass --eval_split_name or --validation_dir.")
    else:
        number = max(round(args.train_val_split * train.num_images), len(train.label_names))
        logger.warning(f"Holding out {number} images of {train.description} for evaluation (--train_val_split).")
        train, evaluation = divide_rows(train, train.num_images - number, seed, "--train_val_split")
    if unknown := [name for name in evaluation.label_names if name not in train.label_names]:
        raise UserError(
            f"{evaluation.description} has labels that {train.description} does not have: {_shorten(unknown)}. "
            "The model cannot learn them."
        )
    if args.streaming:
        return train, evaluation.take(args.max_eval_samples)
    if args.max_train_samples is not None and args.max_train_samples < train.num_images:
        train, _ = divide_rows(train, args.max_train_samples, seed, "--max_train_samples")
    if args.max_eval_samples is not None and args.max_eval_samples < evaluation.num_images:
        evaluation, _ = divide_rows(evaluation, args.max_eval_samples, seed, "--max_eval_samples")
    return train, evaluation


def open_annotated_images(args: AnnotatedDataArguments) -> tuple[LabeledRows, LabeledRows]:
    """Opens the training and evaluation splits, see [`open_split`]."""
    train, evaluation = open_split(args, args.train_split_name), open_split(args, args.eval_split_name)
    return train.take(args.max_train_samples), evaluation.take(args.max_eval_samples)


def _open_evaluation(args: LabeledDataArguments) -> LabeledRows | None:
    if folder := args.validation_dir:
        if args.train_dir and Path(folder).resolve() == Path(args.train_dir).resolve():
            folder = args.train_dir  # the same folder gets the same name
        return _open_folder(args, folder, "validation", "--validation_dir")
    if args.eval_split_name is None and (args.train_dir or "validation" not in _get_split_names(args)):
        return None
    return open_split(args, args.eval_split_name or "validation")


def divide_rows(rows: LabeledRows, number: int, seed: int, argument: str) -> tuple[LabeledRows, LabeledRows]:
    """Chooses `number` rows, the same fraction of each class. Returns the chosen and the other rows."""
    counts = Counter(rows.rows.with_format(None)["label"][:])
    if small := sorted(rows.label_names[label] for label, count in counts.items() if count < 2):
        raise UserError(
            f"Cannot divide {rows.description} for {argument} because some classes have fewer than 2 images: "
            f"{_shorten(small)}. Remove them, or omit {argument} and pass --validation_dir or --eval_split_name."
        )
    try:
        parts = rows.rows.train_test_split(train_size=number, stratify_by_column="label", seed=seed)
    except ValueError as error:
        images = f"{number} of {rows.num_images} images of {rows.description}"
        raise UserError(f"Cannot take {images} for {argument} in equal fractions per class ({error}).") from error
    return tuple(replace(rows, rows=part, num_images=len(part)) for part in (parts["train"], parts["test"]))


def _open_folder(args: LabeledDataArguments, folder: str, split: str, argument: str) -> LabeledRows:
    """Opens a folder of parquet files (of one split, if they are named after splits), or of class folders."""
    if not Path(folder).is_dir():
        raise UserError(f"{argument} must be a folder, got {folder}.")
    files, problems = list_files(folder)
    problems |= {file: NO_FILE for file in files if not Path(file).is_file()}
    for name, reason in problems.items():
        logger.warning(f"{argument} {folder}: {name} is omitted ({reason}).")
    parquet_files = [file for file in files if get_kind(file) == "parquet"]
    if not parquet_files:
        images = [file for file in files if get_kind(file) == "image" and file not in problems]
        rows = _list_class_folders(images, Path(folder), argument)
        num_shards = min(len(images), NUM_FOLDER_SHARDS)
        streamed = rows.to_iterable_dataset(num_shards) if args.streaming else rows
        return _choose_columns(args, streamed, folder, len(images))
    chosen = _choose_files(parquet_files, split, f"{argument} {folder}")
    description = folder if len(chosen) == len(parquet_files) else f"{folder}, files of {split}"
    patterns = [escape(str(Path(file).absolute())) for file in chosen]
    with explain_loading(f"{argument} {folder}", DatasetsError):
        rows = datasets.load_dataset("parquet", data_files=patterns, split="train", streaming=args.streaming)
        return _choose_columns(args, rows, description, _count_rows(chosen))


def _choose_files(files: list[str], split: str, source: str) -> list[str]:
    """Files of one split, if files are named after splits; otherwise all."""
    splits = []
    for file in files:
        name = Path(file).name.lower()
        splits.append(next((str(key) for key, words in SPLIT_KEYWORDS.items() if name.startswith(tuple(words))), ""))
    if len(set(splits)) == 1:
        return files
    if split not in splits:
        found = " and ".join(sorted(set(splits) - {""}))
        raise UserError(
            f"{source} has parquet files named after the splits {found}, but none of {split}. Pass the folder as "
            "--dataset_name, with --train_split_name and --eval_split_name."
        )
    return [file for file, name in zip(files, splits) if name == split]


def _list_class_folders(images: list[str], folder: Path, argument: str) -> datasets.Dataset:
    """Rows of `image`, a path, and `label`, the subfolder of `folder` that holds it at any depth."""
    parts = [Path(image).relative_to(folder).parts for image in images]
    classes = sorted({path[0] for path in parts if len(path) > 1})
    if not images:
        raise UserError(f"{argument} {folder} has neither class folders with images nor parquet files.")
    if unlabeled := [path[0] for path in parts if len(path) == 1]:
        number = f"{len(unlabeled)} images, such as {unlabeled[0]}"
        raise UserError(f"{argument} {folder} has {number}, outside of class folders, so they have no label.")
    if all(name.lower() in sum(SPLIT_KEYWORDS.values(), []) for name in classes):
        splits = f"folders of splits ({', '.join(classes)})"
        raise UserError(
            f"{argument} {folder} has {splits}, not of classes. Pass two as --train_dir and --validation_dir."
        )
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    if empty := [name for name in folders if name not in classes]:
        logger.warning(f"{argument} {folder}: no images in {_shorten(empty)}, so these folders are not classes.")
    rows = {"image": images, "label": [path[0] for path in parts]}
    return datasets.Dataset.from_dict(
        rows, Features({"image": Image(decode=False), "label": ClassLabel(names=classes)})
    )


def open_split(args: DatasetArguments, split: str) -> LabeledRows:
    """Opens a split of `--dataset_name`. Raises a [`UserError`] if it or a column is missing, or cannot be read."""
    if split not in (names := _get_split_names(args)):
        raise UserError(
            f"--dataset_name {args.dataset_name} has no split {split!r}, only {', '.join(map(repr, names))}."
        )
    source = (_get_path(args.dataset_name), args.dataset_config_name)
    with explain_loading(f"--dataset_name {args.dataset_name}", DatasetsError):
        rows = datasets.load_dataset(*source, split=split, streaming=args.streaming)
        if not args.streaming:
            num_images = len(rows)
        elif rows.info.splits and split in rows.info.splits:
            num_images = rows.info.splits[split].num_examples
        else:
            data_files = datasets.load_dataset_builder(*source).config.data_files or {}
            num_images = _count_rows(data_files.get(split, []))
        return _choose_columns(args, rows, f"{args.dataset_name}, split {split!r}", num_images)


def _get_split_names(args: DatasetArguments) -> list[str]:
    with explain_loading(f"--dataset_name {args.dataset_name}", DatasetsError):
        return datasets.get_dataset_split_names(_get_path(args.dataset_name), args.dataset_config_name)


def _get_path(dataset_name: str) -> str:
    """Makes the path of a folder absolute, so that it is not taken for a builder name, such as `parquet`."""
    return str(Path(dataset_name).absolute()) if Path(dataset_name).is_dir() else dataset_name


def _count_rows(files: Sequence[str]) -> int | None:
    """Number of rows in local parquet files; `None` for other files."""
    if not files or not all(file.endswith(".parquet") and Path(file).is_file() for file in files):
        return None
    return sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)


def _choose_columns(args: DatasetArguments, rows, description: str, num_images: int | None) -> LabeledRows:
    """Keeps the two needed columns, as `image` and `label`."""
    features = rows.features
    if features is None:
        raise UserError(f"The columns of {description} are unknown until it is read. Store it as parquet files.")
    if num_images == 0:
        raise UserError(f"{description} holds no images.")
    columns = {}
    for name, argument in (("image", "image_column_name"), ("label", args.label_argument)):
        columns[name] = column = getattr(args, argument)
        if column not in features:
            there = ", ".join(map(repr, features))
            raise UserError(
                f"There is no column {column!r} in {description}, only {there}. Choose one with --{argument}."
            )
    check_images(features[columns["image"]], columns["image"], description)
    rows = rows.select_columns(list(columns.values()))
    for name, column in columns.items():
        if holds_images(features[column]):
            rows = rows.cast_column(column, Image(decode=False))
        if name != column:
            rows = rows.rename_column(column, name)
    return LabeledRows(rows, description, num_images)


def check_images(feature: object, column: str, description: str):
    """Raises a [`UserError`] if a column of type `feature` does not hold images."""
    if not holds_images(feature):
        raise UserError(f"The column {column!r} of {description} must hold images, got {feature}.")


def _encode_labels(rows: LabeledRows, column: str) -> LabeledRows:
    """Encodes labels as a `ClassLabel`. Raises a [`UserError`] if labels are missing."""
    feature, name = rows.rows.features["label"], f"the column {column!r} of {rows.description}"
    is_class_label = isinstance(feature, ClassLabel)
    if isinstance(rows.rows, datasets.IterableDataset):
        if not is_class_label:
            raise UserError(f"--streaming: {name} is not a ClassLabel, so its classes are unknown. Omit --streaming.")
        # parquet files are divided by row groups: parts of even size for many workers
        return replace(rows, rows=rows.rows.reshard())
    labels = rows.rows.with_format(None)["label"][:]
    if missing := [i for i, label in enumerate(labels) if label is None or (is_class_label and label < 0)]:
        images = f"{len(missing)} of {len(labels)} images of {rows.description}"
        raise UserError(f"{images} have no label in the column {column!r}, such as row {missing[0]}. Remove them.")
    if is_class_label:
        return rows
    if not isinstance(labels[0], str | int):
        raise UserError(f"--label_column_name: {name} must hold classes, got {feature}.")
    return replace(rows, rows=rows.rows.class_encode_column("label"))


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def read_label_names(path: str) -> list[str]:
    """Reads class names from a JSON file: a list, or a dictionary with the keys 0, 1, ..."""
    try:
        content = json.loads(Path(path).read_text())
        names = dict(enumerate(content)) if isinstance(content, list) else {int(k): v for k, v in content.items()}
        if not names or sorted(names) != list(range(len(names))):
            raise ValueError(f"its numbers must be 0, 1, ..., got {sorted(names)}")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"--id2label_file {path} contains no valid class names: {error}") from error
    return [str(names[number]) for number in range(len(names))]


def describe_data(args: DatasetArguments, others: Sequence[object], load_best_model_at_end: bool) -> dict:
    """Returns the data and settings for a report, without names or paths on this machine."""
    dataset_name = f"`{get_name(args.dataset_name or args.train_dir)}`"
    if args.validation_dir is not None:
        evaluation = f"`{get_name(args.validation_dir)}`"
    elif args.eval_split_name is not None:
        evaluation = f"{dataset_name}, split {args.eval_split_name!r}"
    else:
        evaluation = f"{dataset_name} that were held out of this fine-tuning"
    chose_best = ", which were also used to choose the best of the evaluated models" if load_best_model_at_end else ""
    settings = {name: value for arguments in (args, *others) for name, value in vars(arguments).items()}
    return {
        "dataset_name": dataset_name,
        "eval_description": f"{evaluation}{chose_best}",
        "settings": {name: value for name, value in settings.items() if not name.endswith(SOURCES)},
    }
