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
"""Splits of data sets on the Hub, or in folders, with errors that say what is wrong; and data sets that know their epoch."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow.parquet
import torch
from torch.utils.data import Dataset

from .command_line import UserError


class EpochDataset(Dataset):
    """
    Rows that are changed at random, in another way in each epoch.

    Args:
        rows (`datasets.Dataset`):
            The rows.

    Attributes:
        epoch (`torch.Tensor`):
            A number, the same in all workers.
    """

    def __init__(self, rows: datasets.Dataset):
        self.rows = rows
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # with workers that stay from epoch to epoch

    def set_epoch(self, epoch: int):
        self.epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.rows)


def get_split_names(dataset_name: str, config_name: str | None) -> list[str]:
    """
    Names of the splits of a data set.

    Raises:
        [`UserError`]: if it cannot be read.
    """
    try:
        return datasets.get_dataset_split_names(_get_path(dataset_name), config_name)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
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
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise _make_error(dataset_name, error) from error
    splits = builder.info.splits or {}
    files = (builder.config.data_files or {}).get(split, [])
    return rows, splits[split].num_examples if split in splits else count_rows(list(files))


def count_rows(files: Sequence[str]) -> int | None:
    """Rows of parquet files on this machine; `None` for others."""
    if not files or not all(file.endswith(".parquet") and Path(file).is_file() for file in files):
        return None
    return sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)


def check_column(features: datasets.Features, name: str, argument: str, description: str):
    """Raises an error that names the columns there are, if one is not among them."""
    if name not in features:
        raise UserError(
            f"There is no column {name!r} in {description}, only {', '.join(map(repr, features))}. Choose one with {argument}."
        )


def _get_path(dataset_name: str) -> str:
    """A folder in a form that is not taken for the name of a builder, such as `parquet`."""
    return str(Path(dataset_name).absolute()) if Path(dataset_name).is_dir() else dataset_name


def _make_error(dataset_name: str, error: Exception) -> UserError:
    return UserError(
        f"--dataset_name {dataset_name}: neither a folder, nor a data set on the Hub that can be read "
        f"({type(error).__name__}: {error})."
    )
