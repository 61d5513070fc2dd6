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
"""Image files, and rows of parquet files. Both form groups of images that are read by number.

A file is a group of one image; a row group of a parquet file is a group of its rows. Folders are listed here and row
groups are read by pyarrow, because `datasets` takes names for patterns, does not stop at cyclic links, does not report
what it cannot list, copies parquet files before it reads them, and rejects all of them for one damaged block.
"""

import itertools
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
from datasets.utils.file_utils import xopen
from transformers.utils import logging

from .errors import UserError, describe_error, make_printable, make_unreadable_error


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".ppm", ".pgm", ".npy")
KINDS = {".parquet": "parquet", ".tar": "webdataset", **dict.fromkeys(IMAGE_EXTENSIONS, "image")}
SAMPLED_GROUPS = 10
CHECKED_SIZES = 10_000  # on a network disk, getting the sizes of millions of files would take hours
NO_FILE = "it is a dangling link, or not a regular file"


class EncodedImage(NamedTuple):
    """An image that has not been decoded."""

    name: str
    content: dict | bytes | Exception | None  # see `read_row`; or the error of its row group or shard
    label: int | str | None = None
    place: tuple[int, int | None] | None = None  # group and row
    allow_external_files: bool = False

    def read(self) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return read_row(self.content, self.allow_external_files)


class RowSettings(NamedTuple):
    """How to read images from rows."""

    image_column_name: str | None = None  # by default, the only image column, or `image`
    label_column_name: str | None = None
    allow_external_files: bool = False  # files that rows name instead of holding an image

    @property
    def columns(self) -> list[str]:
        return list(filter(None, (self.image_column_name, self.label_column_name)))

    def make_image(self, row: dict, name: str, place: tuple[int, int]) -> EncodedImage:
        image = row[self.image_column_name]
        if isinstance(image, dict) and image["path"]:
            name = f"{name} ({image['path']})"
        return EncodedImage(name, image, row.get(self.label_column_name), place, self.allow_external_files)


class GroupedImages:
    """Images in groups: files, row groups, or the shards of a stream."""

    num_groups: int
    num_images: int | None  # `None` for some streams
    checksums: dict[str, int | str]  # a run resumes only with the same ones
    unreadable: dict[str, str]  # files and folders that cannot be opened, and why

    def open_files(self, files: Sequence[str], list_images: Callable[[str], Any], kind: str) -> dict[str, Any]:
        """Returns the result of `list_images` for each file. Raises a [`UserError`] if it fails for all files."""
        opened, self.unreadable = {}, {}
        for file in files:
            try:
                images = list_images(file)
                if images in (0, []):
                    raise ValueError("it holds no images")
                opened[file] = images
            except Exception as error:
                self.unreadable[make_printable(file)] = describe_error(error)
        if not opened:
            raise make_unreadable_error(self.unreadable, f"{kind} files")
        self.checksums = get_checksums(list(opened), list(opened.values()))
        return opened

    def sample(self, number: int, seed: int) -> Iterator[EncodedImage]:
        """Yields up to `number` images from a few groups across the data, the same in every process."""
        rng = np.random.default_rng(seed)
        num_per_group = -(-number // min(self.num_groups, SAMPLED_GROUPS))
        groups = rng.permutation(self.num_groups).tolist()
        samples = (itertools.islice(self.sample_group(group, rng), num_per_group) for group in groups)
        return itertools.islice(itertools.chain.from_iterable(samples), number)

    def sample_group(self, group: int, rng: np.random.Generator) -> Iterator[EncodedImage]:
        """All images of a group, shuffled where that costs nothing."""
        return (self.get_image(group, row) for row in rng.permutation(self.group_sizes[group]).tolist())


class ImageFiles(GroupedImages):
    """Image files, given by path. The label of an image is the name of its folder."""

    def __init__(self, files: Sequence[str]):
        # workers share an array without copying it path by path; paths need not be UTF-8
        self.paths = pyarrow.array(map(os.fsencode, files), pyarrow.large_binary())
        self.num_groups = self.num_images = len(files)
        self.group_sizes = np.ones(len(files), dtype=np.int64)
        self.checksums, self.unreadable = get_checksums(files), {}

    def get_image(self, group: int, row: int) -> EncodedImage:
        path = os.fsdecode(self.paths[group].as_py())
        label = os.path.basename(os.path.dirname(path))
        return EncodedImage(path, {"path": path}, label, (group, row), allow_external_files=True)


class ParquetImages(GroupedImages):
    """Rows of parquet files, given by path. If a row group cannot be read, each of its rows is an unreadable image."""

    num_cached_groups = 1

    def __init__(self, files: Sequence[str], rows: RowSettings | None = None):
        self.rows, self.cache = rows or RowSettings(), {}
        groups_of_files = self.open_files(files, self._list_groups, "parquet")
        self.groups = [(file, *group) for file, groups in groups_of_files.items() for group in groups]
        self.group_sizes = np.array([num_rows for _, _, num_rows, _ in self.groups], dtype=np.int64)
        self.num_groups, self.num_images = len(self.groups), int(self.group_sizes.sum())

    def _list_groups(self, file: str) -> list[tuple[int, int, int]]:
        """Index, number of rows, and bytes of each row group."""
        metadata = pyarrow.parquet.read_metadata(file)
        features = datasets.Features.from_arrow_schema(metadata.schema.to_arrow_schema())
        self.rows = choose_columns(features, self.rows)  # those of the first file apply to all
        groups = enumerate(map(metadata.row_group, range(metadata.num_row_groups)))
        return [(number, group.num_rows, group.total_byte_size) for number, group in groups if group.num_rows]

    def get_image(self, group: int, row: int) -> EncodedImage:
        file, number, _, _ = self.groups[group]
        if group not in self.cache:
            while len(self.cache) >= self.num_cached_groups:  # before the next one is loaded
                del self.cache[next(iter(self.cache))]
            self.cache[group] = self._read_group(file, number)
        name, place = f"{file}, row {row} of row group {number}", (group, row)
        try:
            if isinstance(table := self.cache[group], Exception):
                raise table
            return self.rows.make_image(table.slice(row, 1).to_pylist()[0], name, place)
        except Exception as error:
            return EncodedImage(name, error, place=place)

    def _read_group(self, file: str, number: int) -> pyarrow.Table | Exception:
        """A row group, or the error in reading it: both are cached, so that no row reads it again."""
        try:
            with pyarrow.parquet.ParquetFile(file) as parquet:
                # without threads, which a forked worker lacks
                return parquet.read_row_group(number, columns=self.rows.columns, use_threads=False)
        except Exception as error:
            return error


def read_row(image: dict | bytes | None, allow_external_files: bool = False) -> bytes:
    """
    Reads an encoded image as `datasets` stores it: its content, or `bytes` and `path`. A null row is empty. Raises a
    `ValueError` if the image is in an external file that is not allowed or not a regular file.
    """
    image = {"bytes": image} if isinstance(image, bytes) else image or {}
    content, path = image.get("bytes"), image.get("path")
    if content is not None or not path:
        return content or b""
    if not allow_external_files:
        raise ValueError(f"its row names a file ({path}). If you trust the data, pass --allow_external_files")
    if not is_address(path) and not os.path.isfile(path):  # a pipe or a device might never end
        raise ValueError(NO_FILE)
    with xopen(path, "rb") if is_address(path) else open(path, "rb", buffering=0) as file:
        return file.read()


def list_files(folder: str) -> tuple[list[str], dict[str, str]]:
    """
    Lists the files of a folder at any depth, also behind links. A folder that several paths lead to is listed once.
    Returns the paths, and path and reason of entries that may hold images but are not files or cannot be listed.
    Whether an image is a file is only checked when it is read: checking millions is slow on a network disk.
    """
    files, problems, errors, seen = [], {}, [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=errors.append):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in names:
            path = os.path.join(parent, name)
            if (get_kind(name) in ("image", None) and "." in name) or os.path.isfile(path):
                files.append(path)
            else:
                problems[make_printable(path)] = NO_FILE
    problems |= {make_printable(error.filename): describe_error(error) for error in errors}
    return sorted(files), problems


def find_images(names: Sequence[str], argument: str, split: str = "train") -> tuple[str, list[str], dict[str, str]]:
    """
    Finds images by folders, files, URLs or patterns; a name is a pattern only if there is no such file. Returns the
    kind (in folders, the first of `KINDS`), the paths, and the files and folders that cannot be opened. Of the parquet
    files and tars in folders, only those whose names start with the split are returned, if there are any.
    """
    named, listed, problems = [], [], {}
    for name in names:
        if is_address(name) or os.path.isfile(name):
            named.append(name)
        elif os.path.isdir(name):
            files, unlisted = list_files(name)
            listed += files
            problems |= unlisted
        elif matches := sorted(filter(os.path.isfile, glob(name, recursive=True))):
            named += matches
        else:
            raise UserError(f"{argument} {name} is neither a folder nor a file.")
    kinds = set(map(get_kind, named or listed))
    kind = next((kind for kind in KINDS.values() if kind in kinds), None)
    if kind is None or (named and (len(kinds) > 1 or (kind == "image" and any(map(is_address, named))))):
        found = {get_extension(file) or "no extension" for file in named + listed} or {"no images"}
        raise UserError(
            f"{argument} {make_printable(names[0])} contains {', '.join(sorted(found))}. Pass local image files "
            f"({', '.join(IMAGE_EXTENSIONS)}), parquet files or uncompressed tars, and only one of these kinds."
        )
    found = [file for file in listed if get_kind(file) == kind]
    chosen = [file for file in found if kind != "image" and os.path.basename(file).startswith(split)] or found
    if len(chosen) < len(listed) and os.environ.get("RANK", "0") == "0":
        other = make_printable(min(set(listed) - set(chosen)))
        logger.warning(f"{argument}: reading {len(chosen)} of {len(listed)} files; skipping {other}, for example.")
    return kind, list(dict.fromkeys(named + chosen)), problems


def choose_columns(features: datasets.Features, rows: RowSettings) -> RowSettings:
    """Fills in the image column. Raises a [`UserError`] if a column is missing, or does not hold images."""
    names = ", ".join(map(repr, features))
    image_columns = [name for name, feature in features.items() if holds_images(feature)]
    column = rows.image_column_name or (image_columns[0] if len(image_columns) == 1 else "image")
    if column not in features:
        raise UserError(f"There is no column {column!r}, only {names}. Choose one with --image_column_name.")
    if column not in image_columns:
        raise UserError(f"The column {column!r} must hold images, got {features[column]}.")
    if rows.label_column_name not in (None, *features):
        raise UserError(f"There is no column {rows.label_column_name!r} for --label_column_name, only {names}.")
    return rows._replace(image_column_name=column)


def holds_images(feature) -> bool:
    """Whether a column of this type holds images, encoded or not."""
    if isinstance(feature, dict):  # a struct
        return "bytes" in feature
    return getattr(feature, "dtype", None) in ("binary", "large_binary", datasets.Image.dtype)


def get_checksums(files: Sequence[str], num_images: Sequence = ()) -> dict[str, int]:
    """Checksums of the file names (without their common folder), and of the file sizes and numbers of images."""
    # without the signatures of URLs, which expire
    names = [urlsplit(file)._replace(query="").geturl() if is_address(file) else file for file in files]
    folder = os.path.dirname(os.path.commonprefix(names))
    names = [name.removeprefix(folder).removeprefix("/") for name in names]
    checked = files[:: -(-len(files) // CHECKED_SIZES)]
    sizes = [os.path.getsize(file) if os.path.exists(file) else None for file in checked]
    return {
        "files (checksum of names)": zlib.crc32("\n".join(names).encode(errors="surrogateescape")),
        "files (checksum of sizes)": zlib.crc32(repr((sizes, num_images)).encode()),
    }


def is_address(name: str) -> bool:
    return "://" in name


def get_extension(file: str) -> str:
    return os.path.splitext(urlsplit(file).path if is_address(file) else file)[1].lower()


def get_kind(file: str) -> str | None:
    return KINDS.get(get_extension(file))
