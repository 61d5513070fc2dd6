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
"""Where the images of pre-training come from: files, parquet files and tars on disk, or a data set on the Hub.

Images stay encoded here. They are decoded in the workers of the loader (see `pretraining_data.py`), so that one broken image
cannot end a stream.
"""

import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple, Protocol

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
from datasets.distributed import split_dataset_by_node
from torch.utils.data import get_worker_info
from transformers.utils import logging

from example_command import UserError
from example_images import read_content


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".npy")
BUILDERS = {".parquet": "parquet", ".tar": "webdataset"}
NUM_SAMPLED_SHARDS = 10


class EncodedImage(NamedTuple):
    """An image that has not been decoded."""

    name: str
    read: Callable[[], bytes]
    label: int | str | None = None


class ImageSource(Protocol):
    """
    Encoded images of one process, in the part of the worker that asks.

    Attributes:
        num_images (`int`, *optional*):
            Number of images over all processes, where it is known.
        fingerprint (`int`):
            A number that changes with the files: a run is not resumed on others.
        unreadable (`dict[str, str]`):
            Files that could not even be opened, and why.
    """

    num_images: int | None
    fingerprint: int
    unreadable: dict[str, str]

    def iterate(self, epoch: int) -> Iterator[EncodedImage]:
        """The images of an epoch, from the first, or from where `load_state_dict` has put it."""

    def sample(self, number: int) -> Iterator[EncodedImage]:
        """At most so many images from all over the data, the same in every process."""

    def state_dict(self) -> dict:
        """Where it is in this epoch."""

    def load_state_dict(self, state_dict: dict):
        """Goes there, for the next `iterate`."""


class ImageFiles:
    """
    Image files, in another order in every epoch. The label of an image is the name of its folder.

    Args:
        files (`Sequence[str]`):
            Paths.
        seed (`int`):
            Seed of the orders.
        rank (`int`, *optional*, defaults to 0):
            This process, of `world_size`.
        world_size (`int`, *optional*, defaults to 1):
            Number of processes.
    """

    def __init__(self, files: Sequence[str], seed: int, rank: int = 0, world_size: int = 1):
        # an array, which workers share without copying it object by object
        self.files = np.array(files, dtype=np.str_)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.num_images = len(self.files)
        self.fingerprint = make_fingerprint(files)
        self.unreadable = {}
        self.position = 0

    def iterate(self, epoch: int) -> Iterator[EncodedImage]:
        worker = get_worker_info()
        worker_id, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.files))
        order = order[self.rank * num_workers + worker_id :: self.world_size * num_workers]
        while self.position < len(order):
            index = order[self.position]
            self.position += 1
            yield self._get_image(index)
        self.position = 0

    def sample(self, number: int) -> Iterator[EncodedImage]:
        rng = np.random.default_rng(self.seed)
        for index in rng.permutation(len(self.files))[:number]:
            yield self._get_image(index)

    def _get_image(self, index: int) -> EncodedImage:
        path = Path(self.files[index])
        return EncodedImage(str(path), path.read_bytes, path.parent.name)

    def state_dict(self) -> dict:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict):
        self.position = state_dict["position"]


class ImageStream:
    """
    A stream of `datasets`, of parquet or tar files, on disk or on the Hub. Its shards come in another order in every epoch;
    a buffer mixes their images too, but then a resumed run does not go on with exactly the same ones.

    Args:
        dataset (`datasets.IterableDataset`):
            The stream, with images that are not decoded.
        image_column_name (`str`):
            Column of the images.
        seed (`int`):
            Seed of the orders.
        rank (`int`, *optional*, defaults to 0):
            This process, of `world_size`.
        world_size (`int`, *optional*, defaults to 1):
            Number of processes. Where shards cannot be divided by it, every process reads all of them, and keeps its part.
        shuffle_buffer_size (`int`, *optional*, defaults to 1):
            Number of images in the buffer. 1 is none.
        label_column_name (`str`, *optional*):
            Column of the labels.
        num_images (`int`, *optional*):
            Number of images, where it is known.
        fingerprint (`int`, *optional*, defaults to 0):
            See [`ImageSource`].
        unreadable (`dict[str, str]`, *optional*):
            See [`ImageSource`].
    """

    def __init__(
        self,
        dataset: datasets.IterableDataset,
        image_column_name: str,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle_buffer_size: int = 1,
        label_column_name: str | None = None,
        num_images: int | None = None,
        fingerprint: int = 0,
        unreadable: dict[str, str] | None = None,
    ):
        self.dataset = dataset
        self.image_column_name = image_column_name
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle_buffer_size = shuffle_buffer_size
        self.label_column_name = label_column_name
        self.num_images = num_images
        self.fingerprint = fingerprint
        self.unreadable = unreadable or {}
        self.epoch_dataset = self.resume_from = None

    def iterate(self, epoch: int) -> Iterator[EncodedImage]:
        # a seed for each epoch, not `set_epoch`, which all workers share; and one shard at a time: a state of several cannot be
        # restored, and `datasets` sleeps at their end
        dataset = self.dataset.shuffle(
            seed=int(np.random.default_rng([self.seed, epoch]).integers(2**31)),
            buffer_size=self.shuffle_buffer_size,
            max_buffer_input_shards=1,
        )
        self.epoch_dataset = split_dataset_by_node(dataset, self.rank, self.world_size)
        if self.resume_from is not None:
            self.epoch_dataset.load_state_dict(self.resume_from)
            self.resume_from = None
        try:
            for example in self.epoch_dataset:
                yield self._get_image(example)
        except (OSError, EOFError, tarfile.TarError, pyarrow.ArrowException, zlib.error) as error:
            raise UserError(
                f"A file of images is damaged, or cannot be reached ({type(error).__name__}: {error}). Mend it, or leave it out, and "
                "start again: the order of the images follows from their files."
            ) from error

    def sample(self, number: int) -> Iterator[EncodedImage]:
        """The first images of some of the shards: it opens few files, and does not end up with one class of sorted data."""
        num_shards = self.dataset.num_shards
        share = -(-number // min(num_shards, NUM_SAMPLED_SHARDS))
        for index in np.random.default_rng(self.seed).permutation(num_shards):
            shard = self.dataset.shard(num_shards, int(index)).take(min(share, number))
            for example in shard:
                yield self._get_image(example)
                number -= 1
            if number <= 0:
                return

    def _get_image(self, example: dict) -> EncodedImage:
        image = example.get(self.image_column_name) or {}
        image = {"bytes": image, "path": None} if isinstance(image, bytes) else image
        content, path = image.get("bytes"), image.get("path")
        label = example[self.label_column_name] if self.label_column_name else None
        if content is None and path:  # rows that name files in place of their content
            return EncodedImage(path, lambda: read_content({"bytes": None, "path": path}), label)
        content = content or b""
        return EncodedImage(path or f"image with the checksum {zlib.crc32(content):08x}", lambda: content, label)

    def state_dict(self) -> dict | None:
        return self.resume_from if self.epoch_dataset is None else self.epoch_dataset.state_dict()

    def load_state_dict(self, state_dict: dict | None):
        self.resume_from = state_dict


@dataclass
class ImageReader:
    """
    Opens data for one process.

    Args:
        seed (`int`):
            Seed of the orders.
        rank (`int`, *optional*, defaults to 0):
            This process, of `world_size`.
        world_size (`int`, *optional*, defaults to 1):
            Number of processes.
        shuffle_buffer_size (`int`, *optional*, defaults to 1):
            See [`ImageStream`].
        image_column_name (`str`, *optional*):
            Column of the images. By default `image`, or the only one that holds images.
        label_column_name (`str`, *optional*):
            Column of the labels.
    """

    seed: int
    rank: int = 0
    world_size: int = 1
    shuffle_buffer_size: int = 1
    image_column_name: str | None = None
    label_column_name: str | None = None

    def open_folder(self, folder: str | Path, argument: str = "--train_dir", split: str = "train") -> ImageSource:
        """
        Opens a folder: parquet files, else tars, else images, at any depth. Of parquet files and tars, those whose names begin
        with the split, if there are any.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{argument} {folder} is not a folder.")
        files = sorted(
            os.path.join(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names
        )
        for extensions in ((".parquet",), (".tar",), IMAGE_EXTENSIONS):
            if found := [file for file in files if file.lower().endswith(extensions)]:
                chosen = found
                if extensions != IMAGE_EXTENSIONS:  # of a data set with several splits, those of one
                    chosen = [file for file in found if Path(file).name.startswith(split)] or found
                if len(chosen) < len(files) and self.rank == 0:
                    left_out = Path(sorted(set(files) - set(chosen))[0]).name
                    logger.warning(
                        f"{argument} {folder}: reading {len(chosen)} of {len(files)} files, those that end in "
                        f"{', '.join(sorted({Path(file).suffix for file in chosen}))}, such as {Path(chosen[0]).name}; not, for instance, "
                        f"{left_out}."
                    )
                return self.open_files(chosen, argument)
        raise UserError(
            f"{argument} {folder} holds no parquet file, no tar and no image, among {len(files)} files. Images end in "
            f"{', '.join(IMAGE_EXTENSIONS)}."
        )

    def open_files(self, patterns: Sequence[str], argument: str = "--data_files") -> ImageSource:
        """Opens files of one kind: paths or patterns, or addresses (`https://`, `hf://`) of parquet files and tars."""
        files = []
        for pattern in patterns:
            matches = (
                [pattern] if "://" in pattern or not has_magic(pattern) else sorted(glob(pattern, recursive=True))
            )
            files += [match for match in matches if "://" in match or Path(match).is_file()]
            if not matches or files[-1:] != matches[-1:]:
                raise UserError(f"{argument} {pattern} is no file.")
        extensions = {Path(file).suffix.lower() for file in files}
        if extensions <= set(IMAGE_EXTENSIONS) and not any("://" in file for file in files):
            return ImageFiles(files, self.seed, self.rank, self.world_size)
        if len(extensions) != 1 or (extension := extensions.pop()) not in BUILDERS:
            raise UserError(
                f"{argument} must name parquet files, or tars, or images on disk, and only one of these kinds, but the files "
                f"end in {', '.join(sorted(extensions)) or extension}."
            )
        return self._open_shards(files, BUILDERS[extension], argument)

    def open_dataset(self, name: str, config_name: str | None = None, split: str = "train") -> ImageSource:
        """Opens a data set on the Hub, or a local folder of one."""
        if Path(name).is_dir():
            return self.open_folder(name, "--dataset_name", split)
        try:
            dataset = datasets.load_dataset(name, config_name, split=split, streaming=True)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise UserError(
                f"--dataset_name {name}, split {split!r}: neither a folder, nor a data set on the Hub that can be read. "
                f"({type(error).__name__}: {error})"
            ) from error
        infos = dataset.info.splits or {}
        num_images = infos[split].num_examples if split in infos else None
        return self._make_stream(dataset, num_images, zlib.crc32(f"{name} {config_name} {split}".encode()), {})

    def _open_shards(self, files: Sequence[str], builder: str, argument: str) -> ImageStream:
        num_images, unreadable = None, {}
        if not any("://" in file for file in files):
            numbers, unreadable = count_images(files, get_num_rows if builder == "parquet" else get_num_members)
            files, num_images = list(numbers), sum(numbers.values())
            if not files:
                file, reason = next(iter(unreadable.items()))
                raise UserError(f"{argument}: none of the {builder} files can be read, such as {file} ({reason}).")
        try:
            dataset = datasets.load_dataset(builder, data_files=list(files), split="train", streaming=True)
        except Exception as error:  # of many kinds: what a damaged tar or an address that does not answer comes to
            raise UserError(
                f"{argument}: the {builder} files cannot be opened, such as {files[0]} ({type(error).__name__}: {error})."
            ) from error
        if builder == "parquet":
            dataset = dataset.reshard()  # by row groups: few large files can be divided among many workers
        return self._make_stream(dataset, num_images, make_fingerprint(files), unreadable)

    def _make_stream(
        self, dataset: datasets.IterableDataset, num_images: int | None, fingerprint: int, unreadable: dict[str, str]
    ) -> ImageStream:
        if dataset.features is None:
            raise UserError("The data do not tell their columns. Store them as parquet files.")
        column = self._find_image_column(dataset.features)
        if self.label_column_name is not None and self.label_column_name not in dataset.features:
            raise UserError(
                f"There is no column {self.label_column_name!r} for --label_column_name, only {', '.join(map(repr, dataset.features))}."
            )
        columns = [column] + ([self.label_column_name] if self.label_column_name else [])
        dataset = dataset.select_columns(columns).decode(False)
        if dataset.num_shards % self.world_size and self.rank == 0:
            logger.warning(
                f"{dataset.num_shards} shards cannot be divided among {self.world_size} processes: each of them reads everything, "
                "and keeps its part. Files (of parquet, row groups) that are a multiple of the processes are read once."
            )
        return ImageStream(
            dataset,
            column,
            self.seed,
            self.rank,
            self.world_size,
            self.shuffle_buffer_size,
            self.label_column_name,
            num_images,
            fingerprint,
            unreadable,
        )

    def _find_image_column(self, features: datasets.Features) -> str:
        names = [name for name, feature in features.items() if _holds_images(feature)]
        wanted = self.image_column_name or ("image" if "image" in features or len(names) != 1 else names[0])
        if wanted not in features:
            raise UserError(
                f"There is no column {wanted!r} in the data, only {', '.join(map(repr, features))}. "
                "Choose one with --image_column_name."
            )
        if wanted not in names:
            raise UserError(f"The column {wanted!r} holds no images, but {features[wanted]}.")
        return wanted


def make_fingerprint(files: Sequence[str]) -> int:
    """A number that changes with the names of the files, but not with the folder that holds them all."""
    names = files
    if not any("://" in file for file in files):
        paths = [os.path.abspath(file) for file in files]
        folder = os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0])
        names = [os.path.relpath(path, folder) for path in paths]
    return zlib.crc32("\n".join(names).encode())


def count_images(files: Sequence[str], get_number: Callable[[str], int]) -> tuple[dict[str, int], dict[str, str]]:
    """Images in each file that can be opened and holds any, and why the others cannot be read."""
    numbers, unreadable = {}, {}
    for file in files:
        try:
            number = get_number(file)
        except (OSError, pyarrow.ArrowInvalid, tarfile.TarError, EOFError) as error:
            unreadable[file] = f"{type(error).__name__}: {error}"
        else:
            if number:
                numbers[file] = number
            else:
                unreadable[file] = "it holds no images"
    return numbers, unreadable


def get_num_rows(file: str) -> int:
    """Rows of a parquet file."""
    return pyarrow.parquet.read_metadata(file).num_rows


def get_num_members(file: str) -> int:
    """Images in a tar, by their extensions."""
    with tarfile.open(file, "r:") as tar:
        return sum(member.isfile() and member.name.lower().endswith(IMAGE_EXTENSIONS) for member in tar)


def _holds_images(feature) -> bool:
    is_struct = isinstance(feature, dict) and "bytes" in feature
    binary = (datasets.Value("binary"), datasets.Value("large_binary"))
    return isinstance(feature, datasets.Image) or is_struct or feature in binary
