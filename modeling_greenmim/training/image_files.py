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
"""Where the images are: files, or rows of parquet files. Both are groups of images that are read by number.

A file is a group of one image, a row group of a parquet file a group of all its rows. Folders are listed here: `datasets` takes names
for patterns, and neither ends where links form a loop nor reports what it cannot list. Parquet files are read by pyarrow, row group by
row group: `datasets.load_dataset` would copy all of them first, and refuse all of them for one damaged block.
"""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import NamedTuple
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
KINDS = {"parquet": (".parquet",), "webdataset": (".tar",), "image": IMAGE_EXTENSIONS}
SAMPLED_GROUPS = 10
CHECKED_SIZES = 10_000  # on a network disk, asking for the sizes of millions of files would take hours
NO_FILE = "it is a dangling link, or no file"


class EncodedImage(NamedTuple):
    """An image that has not been decoded. Its place is its group and row, or the shard of a stream and its number there."""

    name: str
    read: Callable[[], bytes]
    label: int | str | None = None
    place: tuple[int, int | None] | None = None


class RowSettings(NamedTuple):
    """How images are read from rows."""

    image_column_name: str | None = None  # `image`, or the only one that holds images
    label_column_name: str | None = None
    allow_external_files: bool = (
        False  # whether to open files and addresses that rows name instead of holding an image
    )

    def make_image(self, row: dict, name: str, place: tuple[int, int]) -> EncodedImage:
        image = row[self.image_column_name]
        if isinstance(image, dict) and image["path"]:
            name = f"{name} ({image['path']})"
        read = partial(read_row, image, self.allow_external_files)
        return EncodedImage(make_printable(name), read, row.get(self.label_column_name), place)


class GroupedImages:
    """
    Images that are read by number.

    Attributes:
        group_sizes (`np.ndarray` of shape `(num_groups,)`):
            Number of images in each group.
        checksums (`dict[str, int]`):
            Change with the names of the files, and with their contents: a run is not resumed on others.
        unreadable (`dict[str, str]`):
            Files and folders that cannot even be opened, and why.
    """

    @property
    def num_images(self) -> int:
        return int(self.group_sizes.sum())

    def sample(self, number: int, seed: int) -> Iterator[EncodedImage]:
        """At most this many images from all over the data, the same in every process, from few groups."""
        rng = np.random.default_rng(seed)
        num_per_group = -(-number // min(len(self.group_sizes), SAMPLED_GROUPS))
        for group in map(int, rng.permutation(len(self.group_sizes))):
            for row in map(int, rng.permutation(self.group_sizes[group])[: min(num_per_group, number)]):
                yield self.get_image(group, row)
                number -= 1
            if number <= 0:
                return


class ImageFiles(GroupedImages):
    """Image files, given by their paths. The label of an image is the name of its folder."""

    def __init__(self, files: Sequence[str], unreadable: dict[str, str] | None = None):
        # workers share an array without copying it path by path; paths need not be UTF-8
        self.paths = pyarrow.array(map(os.fsencode, files), pyarrow.large_binary())
        self.group_sizes = np.ones(len(files), dtype=np.int64)
        self.checksums = get_checksums(files)
        self.unreadable = unreadable or {}

    def get_image(self, group: int, row: int) -> EncodedImage:
        path = os.fsdecode(self.paths[group].as_py())
        label = os.path.basename(os.path.dirname(path))
        return EncodedImage(make_printable(path), partial(read_file, path), label, (group, row))


class ParquetImages(GroupedImages):
    """
    Rows of parquet files, given by their paths. A row group that cannot be read is as many images that cannot be read. Raises a
    [`UserError`] if no file can be read, or none has the columns.
    """

    num_cached_groups = 1

    def __init__(self, files: Sequence[str], rows: RowSettings | None = None, unreadable: dict | None = None):
        self.rows, self.unreadable = rows or RowSettings(), dict(unreadable or {})
        self.groups, self.cache, sizes = [], {}, []
        for file in files:
            try:
                metadata = pyarrow.parquet.read_metadata(file)
                if not metadata.num_rows:
                    raise ValueError("it holds no images")
                features = datasets.Features.from_arrow_schema(metadata.schema.to_arrow_schema())
                self.rows = choose_columns(features, self.rows)  # of the first file, for all
            except Exception as error:
                self.unreadable[make_printable(file)] = describe_error(error)
                continue
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            self.groups += [(file, number) for number in range(len(groups))]
            sizes += [(group.num_rows, group.total_byte_size) for group in groups]
        if not self.groups:
            raise make_unreadable_error(self.unreadable, "parquet files")
        self.group_sizes = np.array([num_rows for num_rows, _ in sizes], dtype=np.int64)
        self.checksums = get_checksums(files, sizes)

    def get_image(self, group: int, row: int) -> EncodedImage:
        file, number = self.groups[group]
        if group not in self.cache:
            while len(self.cache) >= self.num_cached_groups:  # before the next one takes memory
                del self.cache[next(iter(self.cache))]
            self.cache[group] = self._read_group(file, number)
        name, place = f"{file}, row {row} of row group {number}", (group, row)
        try:
            if isinstance(table := self.cache[group], Exception):
                raise table
            return self.rows.make_image(*table.slice(row, 1).to_pylist(), name, place)
        except Exception as error:
            return make_damaged_image(name, error, place)

    def _read_group(self, file: str, number: int) -> pyarrow.Table | Exception:
        """A row group; or why it cannot be read, so that it is not read again for each row."""
        try:
            with pyarrow.parquet.ParquetFile(file) as parquet:
                columns = list(filter(None, self.rows[:2]))
                # without threads, which a forked worker does not have
                return parquet.read_row_group(number, columns=columns, use_threads=False)
        except Exception as error:
            return error


def read_file(path: str) -> bytes:
    if not os.path.isfile(path):  # a pipe or a device might never end
        raise ValueError(NO_FILE)
    with open(path, "rb", buffering=0) as file:
        return file.read()


def read_row(image: dict | bytes | None, allow_external_files: bool = False) -> bytes:
    """
    Reads an image that is not decoded, as `datasets` stores it: its content, or `bytes` and `path`. A null row is empty.

    Raises:
        `ValueError`: if the row names a file, and that is not allowed, see [`RowSettings`].
    """
    image = {"bytes": image} if isinstance(image, bytes) else image or {}
    content, path = image.get("bytes"), image.get("path")
    if content is not None or not path:
        return content or b""
    if not allow_external_files:
        raise ValueError(f"its row names a file ({path}): if you trust the data, --allow_external_files opens it")
    with xopen(path, "rb") as file:
        return file.read()


def make_damaged_image(name: str, error: Exception, place: tuple[int, int | None]) -> EncodedImage:
    """An image that cannot be read, because its row group or shard cannot be."""

    def read():
        raise error

    return EncodedImage(make_printable(name), read, place=place)


def list_files(folder: str) -> tuple[list[str], dict[str, str]]:
    """
    Lists the files of a folder, at any depth, also behind links; a folder that several paths lead to only once. Returns their paths;
    and path and reason of what may hold images and is neither a file nor a folder that can be listed. Whether an image is a file is
    seen when it is read: on a network disk, to ask for each of millions takes long.
    """
    files, problems, seen = [], {}, set()

    def add_problem(error: OSError):
        problems[make_printable(error.filename)] = describe_error(error)

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=add_problem):
        status = os.stat(parent)
        if (folder_id := (status.st_dev, status.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(folder_id)
        folders.sort()
        for name in names:
            path = os.path.join(parent, name)
            if (get_kind(name) in ("image", None) and "." in name) or os.path.isfile(path):
                files.append(path)
            else:
                problems[make_printable(path)] = NO_FILE
    return sorted(files), problems


def find_images(names: Sequence[str], argument: str, split: str = "train") -> tuple[str, list[str], dict[str, str]]:
    """
    Finds images.

    Args:
        names (`Sequence[str]`):
            Folders, files, addresses, or patterns. A name is a pattern only if there is no such file.
        argument (`str`):
            What named them, for messages.
        split (`str`, *optional*, defaults to `"train"`):
            Of parquet files and tars in folders, those whose names begin with it are chosen, if there are any.

    Returns:
        `tuple` of the kind (the first of `KINDS` that is in the folders), the paths, and what cannot be opened.

    Raises:
        [`UserError`]: if there are none, or files of several kinds are named.
    """
    named, listed, problems = [], [], {}
    for name in names:
        if is_address(name) or os.path.isfile(name):
            named.append(name)
        elif os.path.isdir(name):
            files, problems_of_folder = list_files(name)
            listed += files
            problems |= problems_of_folder
        elif matches := sorted(filter(os.path.isfile, glob(name, recursive=True))):
            named += matches
        else:
            raise UserError(f"{argument} {name} is neither a folder nor a file.")
    kinds = set(map(get_kind, named or listed))
    kind = next((kind for kind in KINDS if kind in kinds), None)
    if kind is None or (named and (len(kinds) > 1 or (kind == "image" and any(map(is_address, named))))):
        extensions = ", ".join(sorted({get_extension(file) or "no extension" for file in named + listed})) or "nothing"
        raise UserError(
            f"{argument} must name parquet files, tars (not compressed) or image files on this machine ({', '.join(IMAGE_EXTENSIONS)}), "
            f"and only one of these kinds, got {make_printable(names[0])} with {extensions}."
        )
    found = [file for file in listed if get_kind(file) == kind]
    chosen = [file for file in found if kind != "image" and Path(file).name.startswith(split)] or found
    if len(chosen) < len(listed) and os.environ.get("RANK", "0") == "0":
        examples = [make_printable(Path(file).name) for file in (chosen[0], min(set(listed) - set(chosen)))]
        logger.warning(
            f"{argument} {names[0]}: reading {len(chosen)} of {len(listed)} files, such as {examples[0]}; not, for instance, {examples[1]}."
        )
    return kind, list(dict.fromkeys(named + chosen)), problems


def choose_columns(features: datasets.Features, rows: RowSettings) -> RowSettings:
    """Settings with the column of the images. Raises a [`UserError`] if a column is not there, or holds no images."""
    names = ", ".join(map(repr, features))
    image_columns = [name for name, feature in features.items() if _holds_images(feature)]
    only_column = "image" if "image" in features or len(image_columns) != 1 else image_columns[0]
    column = rows.image_column_name or only_column
    if column not in features:
        raise UserError(f"There is no column {column!r}, only {names}. Choose one with --image_column_name.")
    if column not in image_columns:
        raise UserError(f"The column {column!r} holds no images, but {features[column]}.")
    if rows.label_column_name not in (None, *features):
        raise UserError(f"There is no column {rows.label_column_name!r} for --label_column_name, only {names}.")
    return rows._replace(image_column_name=column)


def _holds_images(feature) -> bool:
    is_struct = isinstance(feature, dict) and "bytes" in feature
    return (
        is_struct
        or isinstance(feature, datasets.Image)
        or getattr(feature, "dtype", None) in ("binary", "large_binary")
    )


def get_checksums(files: Sequence[str], num_images: Sequence = ()) -> dict[str, int]:
    """Change with the names of the files (not with the folder that holds them all), their sizes, and numbers of images."""
    # signatures of addresses expire
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
    """Whether it is an address, such as `https://...` or `hf://...`."""
    return "://" in name


def get_extension(file: str) -> str:
    return os.path.splitext(urlsplit(file).path if is_address(file) else file)[1].lower()


def get_kind(file: str) -> str | None:
    """What a file is by its extension."""
    return next((kind for kind, extensions in KINDS.items() if get_extension(file) in extensions), None)
