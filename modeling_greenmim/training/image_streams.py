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
"""Images that are streamed by `datasets`: data sets on the Hub, tars, addresses, and with `--streaming` also parquet files.

A stream is read from one end to the other. It is resumed exactly, by the state of a `StatefulDataLoader`, but only with the same
number of processes and workers, among which its shards are divided.
"""

import glob
import itertools
import logging
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import datasets
import numpy as np
import pyarrow.parquet
from datasets.distributed import split_dataset_by_node
from torch.utils.data import IterableDataset, get_worker_info
from transformers.utils import logging as transformers_logging

from .errors import UserError, describe_error, make_printable, make_unreadable_error
from .image_decoding import ExampleMaker
from .image_files import (
    SAMPLED_GROUPS,
    EncodedImage,
    RowSettings,
    choose_columns,
    get_checksums,
    get_kind,
    is_address,
    read_row,
)


logger = transformers_logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity


class ImageStream:
    """
    A stream of images.

    Args:
        path (`str`):
            Name of a data set on the Hub, or for `files` `parquet` or `webdataset`.
        files (`Sequence[str]`, *optional*):
            Paths or addresses.
        config_name, split (`str`, *optional*):
            Of the data set on the Hub.
        rows ([`RowSettings`], *optional*):
            How to read images. The columns of tars are the extensions of their members, such as `jpg`.
        unreadable (`dict[str, str]`, *optional*):
            See [`GroupedImages`].

    Attributes:
        dataset (`datasets.IterableDataset`):
            The stream, with images that are not decoded.
        num_images (`int`, *optional*):
            Number of images, where it is known.
        checksums (`dict[str, int]`), unreadable (`dict[str, str]`):
            See [`GroupedImages`].

    Raises:
        [`UserError`]: if it cannot be opened.
    """

    def __init__(self, path, files=(), config_name=None, split="train", rows=None, unreadable=None):
        numbers, self.unreadable = {}, dict(unreadable or {})
        for file in files:
            try:
                numbers[file] = None if is_address(file) else count_images(file)
            except Exception as error:
                self.unreadable[make_printable(file)] = describe_error(error)
        if files and not numbers:
            raise make_unreadable_error(self.unreadable, f"{path} files")
        names = [file if is_address(file) else glob.escape(file) for file in numbers]
        try:
            dataset = datasets.load_dataset(path, config_name, data_files=names or None, split=split, streaming=True)
            if path == "parquet":
                dataset = dataset.reshard()  # by row groups: few large files can be divided among many workers
        except Exception as error:  # of many types: what a damaged tar or an address that does not answer leads to
            source = files[0] if files else f"--dataset_name {path}, split {split!r}"
            raise UserError(f"Cannot stream {source} ({describe_error(error)}).") from error
        if dataset.features is None:
            raise UserError("Cannot stream data that do not tell their columns. Store them as parquet files.")
        if files:
            self.num_images = None if None in numbers.values() else sum(numbers.values())
            self.checksums = get_checksums(list(numbers), list(numbers.values()))
        else:
            infos = dataset.info.splits or {}
            self.num_images = infos[split].num_examples if split in infos else None
            self.checksums = {"name": f"{path} {config_name} {split}"}
        self.rows = choose_columns(dataset.features, rows or RowSettings())
        if dataset.info.builder_name == "imagefolder":  # which, not the data, gives the names of files
            self.rows = self.rows._replace(allow_external_files=True)
        self.dataset = dataset.select_columns(list(filter(None, self.rows[:2]))).decode(False)

    def get_image(self, example: dict) -> EncodedImage:
        """The image of an example. Without path and content, its name is empty."""
        image = example.get(self.rows.image_column_name) or {}
        image = {"bytes": image} if isinstance(image, bytes) else image
        name = image.get("path") or ""
        if not name and image.get("bytes"):
            name = f"image with the checksum {zlib.crc32(image['bytes']):08x}"
        read = partial(read_row, image, self.rows.allow_external_files)
        return EncodedImage(make_printable(name), read, example.get(self.rows.label_column_name))

    def sample(self, number: int, seed: int) -> Iterator[EncodedImage]:
        """The first images of some of the shards: few files are opened, and sorted data do not give one class."""
        num_shards = self.dataset.num_shards
        num_per_shard = -(-number // min(num_shards, SAMPLED_GROUPS))
        for index in map(int, np.random.default_rng(seed).permutation(num_shards)):
            try:
                for example in self.dataset.shard(num_shards, index).take(min(num_per_shard, number)):
                    yield self.get_image(example)
                    number -= 1
            except Exception as error:
                self.unreadable[f"shard {index}"] = describe_error(error)
            if number <= 0:
                return


def count_images(file: str) -> int:
    """Images in a parquet file or a tar. Raises an error if there are none."""
    if get_kind(file) == "parquet":
        number = pyarrow.parquet.read_metadata(file).num_rows
    else:
        with tarfile.open(file, "r:") as tar:
            number = sum(member.isfile() and get_kind(member.name) == "image" for member in tar)
    if not number:
        raise ValueError("it holds no images")
    return number


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """`datasets` warns on each resume that the content of the buffer is lost, also where there is no buffer."""
    return "shuffle buffer" not in record.getMessage()


@dataclass
class StreamedMicroBatches(IterableDataset):
    """
    Micro-batches from a stream, epoch after epoch. Images that cannot be read or are held out are dropped.

    Args:
        images ([`ImageStream`]):
            The images.
        batch_size (`int`):
            Number of images in a micro-batch.
        make_example ([`ExampleMaker`]):
            Crops an image.
        collator ([`PretrainingCollator`]):
            Makes a micro-batch of crops.
        rank, world_size (`int`, *optional*, defaults to 0 and 1):
            This process, and the number of processes. Where shards cannot be divided by it, every process reads all of them, and
            keeps its part.
        shuffle_buffer_size (`int`, *optional*, defaults to 1):
            Number of images to shuffle at a time. From 2 on, a resumed run does not continue with exactly the same images.
    """

    images: ImageStream
    batch_size: int
    make_example: ExampleMaker
    collator: Callable
    rank: int = 0
    world_size: int = 1
    shuffle_buffer_size: int = 1

    def __post_init__(self):
        self.epoch = self.num_nameless = 0
        self.epoch_dataset = self.resume_from = None
        num_shards = self.images.dataset.num_shards
        if num_shards % self.world_size and self.rank == 0:
            logger.warning(
                f"{num_shards} shards cannot be divided among {self.world_size} processes: each of them reads everything, and keeps its "
                "part. Files (of parquet, row groups) that are a multiple of the processes are read once."
            )

    def __iter__(self) -> Iterator[dict]:
        """See [`PretrainingCollator`]."""
        if self.shuffle_buffer_size == 1:
            logging.getLogger("datasets.iterable_dataset").addFilter(_is_no_false_alarm)
        examples = self._iterate_examples()
        while batch := list(itertools.islice(examples, self.batch_size)):
            yield self.collator(batch)

    def _iterate_examples(self) -> Iterator[dict]:
        """See [`ExampleMaker`]; with all images that could not be read since the example before."""
        unreadable = {}
        while True:
            is_whole_epoch, num_examples = self.resume_from is None, 0
            for image in self._iterate_epoch():
                if not image.name:
                    if self.epoch > 0:  # it has been counted
                        continue
                    self.num_nameless += 1
                    worker = getattr(get_worker_info(), "id", 0)
                    name = f"image {self.num_nameless} without content, of worker {worker} of process {self.rank}"
                    image = image._replace(name=name)
                example = self.make_example(image, self.epoch)
                unreadable |= example["unreadable"]
                if example["pixels"] is not None:
                    yield {**example, "unreadable": unreadable}
                    unreadable, num_examples = {}, num_examples + 1
            if num_examples == 0 and is_whole_epoch:
                if unreadable:
                    raise make_unreadable_error(unreadable)
                return  # more workers than shards, or all held out: this worker has no image, in any epoch
            self.epoch += 1

    def _iterate_epoch(self) -> Iterator[EncodedImage]:
        # a seed for each epoch, not `set_epoch`, which all workers share; and one shard at a time: a state of several cannot be
        # restored, and `datasets` sleeps at their end
        dataset = self.images.dataset.shuffle(
            seed=int(np.random.default_rng([self.make_example.seed, self.epoch]).integers(2**31)),
            buffer_size=self.shuffle_buffer_size,
            max_buffer_input_shards=1,
        )
        self.epoch_dataset = split_dataset_by_node(dataset, self.rank, self.world_size)
        if self.resume_from is not None:
            self.epoch_dataset.load_state_dict(self.resume_from)
            self.resume_from = None
        try:
            yield from map(self.images.get_image, self.epoch_dataset)
        except Exception as error:
            raise UserError(
                f"Cannot continue because a streamed file is damaged or cannot be reached ({describe_error(error)}). Fix or remove "
                "it, and start again. Of parquet files on this machine, damaged parts are skipped without --streaming."
            ) from error

    def state_dict(self) -> dict:
        state = self.resume_from if self.epoch_dataset is None else self.epoch_dataset.state_dict()
        return {"epoch": self.epoch, "num_nameless": self.num_nameless, "stream": state}

    def load_state_dict(self, state_dict: dict):
        self.epoch, self.num_nameless = state_dict["epoch"], state_dict["num_nameless"]
        self.resume_from = state_dict["stream"]
