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
"""Labeled images: opened with `datasets`, and divided into images to train on and images to evaluate on.

Images stay encoded until they are needed, so that an error names the image. Class folders are listed here: `datasets` takes names for
patterns, and a file `train_01.png` for a split.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

import datasets
import pyarrow.parquet
from datasets import ClassLabel, Features, Image, Value
from datasets.data_files import SPLIT_KEYWORDS
from transformers.hf_argparser import HfArg
from transformers.utils import logging

from .command_line import check_range
from .errors import UserError
from .image_files import get_kind, list_files


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

# of parquet files that were not written by `datasets`
ENCODED_IMAGES = (Value("binary"), {"bytes": Value("binary"), "path": Value("string")})
NUM_FOLDER_SHARDS = 64  # of a streamed folder: as many workers can share it
LOADING_ERRORS = (OSError, ValueError, datasets.exceptions.DatasetsError)


@dataclass
class LabeledDataArguments:
    """Which images to train on, and which to evaluate on."""

    dataset_name: str | None = HfArg(default=None, help="Data set on the Hub, or a local folder of one.")
    dataset_config_name: str | None = HfArg(default=None, help="Configuration of the data set on the Hub.")
    train_dir: str | None = HfArg(
        default=None, help="Folder with a folder of images for each class, or with parquet files."
    )
    validation_dir: str | None = HfArg(default=None, help="Images to evaluate on, like --train_dir.")
    train_split_name: str = HfArg(default="train", help="Split of --dataset_name to train on.")
    eval_split_name: str | None = HfArg(
        default=None, help="Split of --dataset_name to evaluate on. By default 'validation', if there is one."
    )
    train_val_split: float = HfArg(
        default=0.15, help="Fraction of the training images of each class to evaluate on, if there are no others."
    )
    max_train_samples: int | None = HfArg(
        default=None, help="Train on this many images, the same fraction of each class, chosen by --seed."
    )
    max_eval_samples: int | None = HfArg(
        default=None,
        help="Evaluate on this many images, the same fraction of each class; with --streaming, on the first ones.",
    )
    image_column_name: str = HfArg(default="image", help="Column of the images.")
    label_column_name: str = HfArg(default="label", help="Column of the labels.")
    streaming: bool = HfArg(
        default=False, help="Read the images while training, and store nothing. Labels must be a ClassLabel."
    )

    def __post_init__(self):
        if (self.dataset_name is None) == (self.train_dir is None):
            raise UserError("Give either --dataset_name or --train_dir.")
        if self.eval_split_name is not None and (self.validation_dir or self.train_dir):
            raise UserError(
                "--eval_split_name is a split of --dataset_name: omit it, or omit --train_dir and --validation_dir."
            )
        if not 0 < self.train_val_split < 1:
            raise UserError(f"--train_val_split must be above 0 and below 1, got {self.train_val_split}.")
        if self.streaming and self.max_train_samples is not None:
            raise UserError(
                "--max_train_samples needs to know all images, and --streaming does not: omit one, or give --max_steps."
            )
        for name in ("max_train_samples", "max_eval_samples"):
            check_range(self, name, 1)


@dataclass
class LabeledRows:
    """
    Rows of encoded images and labels.

    Attributes:
        rows (`datasets.Dataset` or `datasets.IterableDataset`):
            With the columns `image`, not decoded, and `label`, a `ClassLabel`.
        description (`str`):
            Where they come from, for messages.
        num_images (`int`, *optional*):
            Number of images, if it is known.
    """

    rows: datasets.Dataset | datasets.IterableDataset
    description: str
    num_images: int | None

    @property
    def label_names(self) -> list[str]:
        return self.rows.features["label"].names


class EpochDataset:
    """
    A data set whose rows change from epoch to epoch, at random.

    Args:
        rows (`datasets.Dataset`):
            The rows.
    """

    def __init__(self, rows: datasets.Dataset):
        self.rows = rows
        self.shared_epoch = RawValue("q", 0)  # also for workers that stay from epoch to epoch

    @property
    def epoch(self) -> int:
        return self.shared_epoch.value

    def set_epoch(self, epoch: int):
        self.shared_epoch.value = epoch

    def __len__(self) -> int:
        return len(self.rows)


def open_labeled_images(args: LabeledDataArguments, seed: int) -> tuple[LabeledRows, LabeledRows]:
    """
    Opens the images to train on, and those to evaluate on.

    Args:
        args ([`LabeledDataArguments`]):
            Which images.
        seed (`int`):
            Seed of the choice of images.

    Raises:
        [`UserError`]: if there are none, a column or a label is missing, or a class has too few images.
    """
    if args.train_dir is not None:
        train = open_folder(args, args.train_dir, "train", "--train_dir")
    else:
        train = open_split(args, args.train_split_name)
    if len(train.label_names) < 2:
        raise UserError(
            f"{train.description} has one class, {_shorten(train.label_names)}, and a classifier needs two. Give a folder of images for "
            "each class, or --label_column_name."
        )
    if evaluation := _open_evaluation(args):
        if (evaluation.description, evaluation.num_images) == (train.description, train.num_images):
            raise UserError(f"{train.description} is what is trained on: give other images to evaluate on.")
    elif args.streaming:
        raise UserError("Streamed images cannot be divided: give --eval_split_name or --validation_dir.")
    else:
        number = max(round(args.train_val_split * train.num_images), len(train.label_names))
        logger.warning(f"{number} images of {train.description} are held out to evaluate on (--train_val_split).")
        train, evaluation = divide_rows(train, train.num_images - number, seed, "--train_val_split")
    if unknown := [name for name in evaluation.label_names if name not in train.label_names]:
        raise UserError(
            f"{evaluation.description} has labels that {train.description} does not have: {_shorten(unknown)}. The model cannot "
            "learn them."
        )
    if args.max_train_samples is not None and args.max_train_samples < train.num_images:
        train, _ = divide_rows(train, args.max_train_samples, seed, "--max_train_samples")
    if args.max_eval_samples is not None and args.streaming:
        number = min(args.max_eval_samples, evaluation.num_images or args.max_eval_samples)
        evaluation = LabeledRows(evaluation.rows.take(number), evaluation.description, number)
    elif args.max_eval_samples is not None and args.max_eval_samples < evaluation.num_images:
        evaluation, _ = divide_rows(evaluation, args.max_eval_samples, seed, "--max_eval_samples")
    return train, evaluation


def _open_evaluation(args: LabeledDataArguments) -> LabeledRows | None:
    if folder := args.validation_dir:
        if args.train_dir and Path(folder).resolve() == Path(args.train_dir).resolve():
            folder = args.train_dir  # by the same name, if it is the same
        return open_folder(args, folder, "validation", "--validation_dir")
    split = args.eval_split_name
    if split is None and args.dataset_name is not None:
        names = get_split_names(args.dataset_name, args.dataset_config_name)
        split = "validation" if "validation" in names else None
    return None if split is None else open_split(args, split)


def divide_rows(rows: LabeledRows, number: int, seed: int, argument: str) -> tuple[LabeledRows, LabeledRows]:
    """Chooses a number of rows, the same fraction of each class. Returns them, and the others."""
    counts = Counter(rows.rows.with_format(None)["label"][:])
    if small := sorted(rows.label_names[label] for label, count in counts.items() if count < 2):
        raise UserError(
            f"Cannot divide {rows.description} for {argument}, because classes have fewer than 2 images: {_shorten(small)}. Add images, "
            f"remove the classes, or omit {argument} and give --validation_dir or --eval_split_name."
        )
    try:
        parts = rows.rows.train_test_split(train_size=number, stratify_by_column="label", seed=seed)
    except ValueError as error:
        raise UserError(
            f"Cannot take {number} of {rows.num_images} images of {rows.description} for {argument}, the same fraction of each "
            f"class ({error})."
        ) from error
    return tuple(LabeledRows(part, rows.description, len(part)) for part in (parts["train"], parts["test"]))


def open_folder(args: LabeledDataArguments, folder: str, split: str, argument: str) -> LabeledRows:
    """
    Opens a folder of parquet files, or of a folder for each class.

    Args:
        args ([`LabeledDataArguments`]):
            How to read it.
        folder (`str`):
            The folder.
        split (`str`):
            Of parquet files that are named after splits, those of this split are chosen.
        argument (`str`):
            Argument that names it, for messages.

    Raises:
        [`UserError`]: if it is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{argument} must be a folder, got {folder}.")
    files, problems = list_files(folder)
    for name, reason in problems.items():
        logger.warning(f"{argument} {folder}: {name} is omitted ({reason}).")
    parquet_files = sorted(file for file in files if get_kind(file) == "parquet")
    if not parquet_files:
        images = sorted(file for file in files if get_kind(file) == "image")
        rows = list_class_folders(images, Path(folder), argument)
        num_images = len(rows)
        if args.streaming:
            rows = rows.to_iterable_dataset(num_shards=min(num_images, NUM_FOLDER_SHARDS))
        return _prepare(rows, args, folder, num_images)
    chosen = _choose_files(parquet_files, split, argument, folder)
    description = folder if len(chosen) == len(parquet_files) else f"{folder}, files of {split}"
    try:
        patterns = [escape(str(Path(file).absolute())) for file in chosen]
        rows = datasets.load_dataset("parquet", data_files=patterns, split="train", streaming=args.streaming)
    except LOADING_ERRORS as error:
        raise UserError(f"{argument} {folder} cannot be read ({type(error).__name__}: {error}).") from error
    return _prepare(rows, args, description, count_rows(chosen))


def _choose_files(files: Sequence[str], split: str, argument: str, folder: str) -> list[str]:
    """Of files that are named after splits, those of one split; otherwise all."""
    splits = []
    for file in files:
        name = Path(file).name.lower()
        splits.append(next((str(key) for key, words in SPLIT_KEYWORDS.items() if name.startswith(tuple(words))), ""))
    if len(set(splits)) == 1:
        return list(files)
    if split not in splits:
        raise UserError(
            f"{argument} {folder} has parquet files of {' and '.join(sorted(filter(None, set(splits))))}, by their names, and none of "
            f"{split}. For a data set with splits, use --dataset_name {folder}, with --train_split_name and --eval_split_name."
        )
    return [file for file, name in zip(files, splits) if name == split]


def list_class_folders(images: Sequence[str], folder: Path, argument: str) -> datasets.Dataset:
    """Rows of `image`, a path, and `label`, the folder in `folder` that holds it at any depth."""
    parts = [Path(image).relative_to(folder).parts for image in images]
    classes = sorted({path[0] for path in parts if len(path) > 1})
    if not images:
        raise UserError(f"{argument} {folder} has neither images in folders for their classes, nor parquet files.")
    if unlabeled := [path[0] for path in parts if len(path) == 1]:
        raise UserError(
            f"{argument} {folder} has {len(unlabeled)} images, such as {unlabeled[0]}, that are not in a class folder, so they "
            "have no label."
        )
    if all(name.lower() in sum(SPLIT_KEYWORDS.values(), []) for name in classes):
        raise UserError(
            f"{argument} {folder} has folders of splits ({', '.join(classes)}), not of classes: give one of them as --train_dir, "
            "and one as --validation_dir."
        )
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    if empty := [name for name in folders if name not in classes]:
        logger.warning(f"{argument} {folder}: there are no images in {_shorten(empty)}, so these are not classes.")
    rows = {
        "image": [{"path": image, "bytes": None} for image in images],
        "label": [classes.index(path[0]) for path in parts],
    }
    return datasets.Dataset.from_dict(
        rows, features=Features({"image": Image(decode=False), "label": ClassLabel(names=classes)})
    )


def get_split_names(dataset_name: str, config_name: str | None) -> list[str]:
    """
    Returns the names of the splits of a data set.

    Raises:
        [`UserError`]: if it cannot be read.
    """
    try:
        return datasets.get_dataset_split_names(_get_path(dataset_name), config_name)
    except LOADING_ERRORS as error:
        raise _make_error(dataset_name, error) from error


def load_split(dataset_name: str, config_name: str | None, split: str, streaming: bool = False):
    """
    Loads a split of a data set.

    Args:
        dataset_name (`str`):
            A folder, or a name on the Hub.
        config_name (`str`, *optional*):
            Configuration of the data set on the Hub.
        split (`str`):
            The split.
        streaming (`bool`, *optional*, defaults to `False`):
            Whether to read it when it is used.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`, and the number of rows, `None` if it is not known.

    Raises:
        [`UserError`]: if there is no such split, or it cannot be read.
    """
    if split not in (names := get_split_names(dataset_name, config_name)):
        raise UserError(f"--dataset_name {dataset_name} has no split {split!r}, only {', '.join(map(repr, names))}.")
    path = _get_path(dataset_name)
    try:
        rows = datasets.load_dataset(path, config_name, split=split, streaming=streaming)
        if not streaming:
            return rows, len(rows)
        builder = datasets.load_dataset_builder(path, config_name)
    except LOADING_ERRORS as error:
        raise _make_error(dataset_name, error) from error
    if builder.info.splits and split in builder.info.splits:
        return rows, builder.info.splits[split].num_examples
    return rows, count_rows((builder.config.data_files or {}).get(split, []))


def open_split(args: LabeledDataArguments, split: str) -> LabeledRows:
    """See [`load_split`]."""
    rows, num_images = load_split(args.dataset_name, args.dataset_config_name, split, args.streaming)
    return _prepare(rows, args, f"{args.dataset_name}, split {split!r}", num_images)


def count_rows(files: Sequence[str]) -> int | None:
    """Counts the rows of parquet files on this machine; `None` for others."""
    if not files or not all(file.endswith(".parquet") and Path(file).is_file() for file in files):
        return None
    return sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)


def check_column(features: Features, name: str, argument: str, description: str):
    """Raises an error that names the columns, if one is not among them."""
    if name not in features:
        raise UserError(
            f"There is no column {name!r} in {description}, only {', '.join(map(repr, features))}. Choose one with {argument}."
        )


def _prepare(rows, args: LabeledDataArguments, description: str, num_images: int | None) -> LabeledRows:
    """Only the two columns that are needed, as `image` and `label`."""
    if rows.features is None:
        raise UserError(f"The columns of {description} are not known before it is read. Store it as parquet files.")
    image, label = args.image_column_name, args.label_column_name
    check_column(rows.features, image, "--image_column_name", description)
    check_column(rows.features, label, "--label_column_name", description)
    if not isinstance(rows.features[image], Image) and rows.features[image] not in ENCODED_IMAGES:
        raise UserError(f"The column {image!r} of {description} holds no images, but {rows.features[image]}.")
    rows = rows.select_columns([image, label]).cast_column(image, Image(decode=False))
    rows = rows.rename_columns({old: new for old, new in ((image, "image"), (label, "label")) if old != new})
    if isinstance(rows, datasets.Dataset):
        if len(rows) == 0:
            raise UserError(f"{description} holds no images.")
        return LabeledRows(_encode_labels(rows, description, label), description, len(rows))
    if not isinstance(rows.features["label"], ClassLabel):
        raise UserError(
            f"--streaming: the column {label!r} of {description} is not a ClassLabel, so its classes are known only after reading "
            "everything. Omit --streaming, or store the classes with the data."
        )
    # by row groups, if they are parquet files: parts of even size, for many workers
    return LabeledRows(rows.reshard(), description, num_images)


def _encode_labels(rows: datasets.Dataset, description: str, column: str) -> datasets.Dataset:
    """Rows with a `ClassLabel`. Raises an error if labels are missing."""
    labels = rows.with_format(None)["label"][:]
    is_class_label = isinstance(rows.features["label"], ClassLabel)
    if missing := [i for i, label in enumerate(labels) if label is None or (is_class_label and label < 0)]:
        raise UserError(
            f"{len(missing)} of {len(labels)} images of {description} have no label in the column {column!r}, such as row "
            f"{missing[0]}. Remove them."
        )
    if is_class_label:
        return rows
    if not isinstance(labels[0], str | int):
        raise UserError(
            f"The column {column!r} of {description} holds no classes, but {rows.features['label']}. Choose one with "
            "--label_column_name."
        )
    return rows.class_encode_column("label")


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _get_path(dataset_name: str) -> str:
    """A folder in a form that is not taken for the name of a builder, such as `parquet`."""
    return str(Path(dataset_name).absolute()) if Path(dataset_name).is_dir() else dataset_name


def _make_error(dataset_name: str, error: Exception) -> UserError:
    return UserError(
        f"--dataset_name {dataset_name}: neither a folder, nor a data set on the Hub that can be read "
        f"({type(error).__name__}: {error})."
    )
