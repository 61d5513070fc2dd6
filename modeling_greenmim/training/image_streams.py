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
"""Images streamed by `datasets`: Hub datasets, tars, URLs, and, with `--streaming`, parquet files.

A stream is read shard by shard, each from start to end. It resumes exactly, from the state of a `StatefulDataLoader`,
but only with the same number of processes and workers, which divide its shards.
"""

import glob
import itertools
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow.parquet
from torch.utils.data import IterableDataset, get_worker_info
from transformers.utils import logging

from .errors import UserError, describe_error, make_unreadable_error
from .image_decoding import ExampleMaker
from .image_files import EncodedImage, GroupedImages, RowSettings, choose_columns, get_kind, is_address


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

MAX_EMPTY_EPOCHS = 10  # of one worker, which gets different shards in each epoch


class ImageStream(GroupedImages):
    """
    A stream of images: a Hub dataset, given by name, or files, given by `parquet` or `webdataset` and their paths or
    URLs. The columns of tars are the extensions of their members, such as `jpg`.
    """

    def __init__(self, path, files=(), config_name=None, split="train", rows=None):
        self.unreadable, self.checksums = {}, {"name": f"{path} {config_name} {split}"}
        numbers = self.open_files(files, count_images, path) if files else {}
        self.files = list(numbers)
        names = [file if is_address(file) else glob.escape(file) for file in numbers]
        try:
            dataset = datasets.load_dataset(path, config_name, data_files=names or None, split=split, streaming=True)
            if path == "parquet":
                dataset = dataset.reshard()  # by row groups, so that many workers can share a few large files
        except Exception as error:  # of many types, from damaged tars, URLs that do not respond, ...
            source = files[0] if files else f"--dataset_name {path}, split {split!r}"
            raise UserError(f"Cannot stream {source} ({describe_error(error)}).") from error
        if dataset.features is None:
            raise UserError("Cannot stream the data because its columns are unknown. Store it as parquet files.")
        infos = dataset.info.splits or {}
        self.num_images = infos[split].num_examples if split in infos else None
        if files and None not in numbers.values():
            self.num_images = sum(numbers.values())
        self.rows = choose_columns(dataset.features, rows or RowSettings())
        if dataset.info.builder_name == "imagefolder":  # the builder, not the data, names the files
            self.rows = self.rows._replace(allow_external_files=True)
        self.dataset = dataset.select_columns(self.rows.columns).decode(False)
        self.num_groups = self.dataset.num_shards

    def read_shard(self, shard: int, start: int = 0) -> Iterator[EncodedImage]:
        """
        Yields the images of a shard from row `start` on. If the shard is damaged or unreachable, a single unreadable
        image, whose row is `None`, stands for the rest.
        """
        images = self.dataset.shard(self.num_groups, shard).skip(start)
        name = self.files[shard] if len(self.files) == self.num_groups else f"shard {shard}"
        try:
            # not `iter(images)`, which would divide the shard among the workers of a loader
            for row, columns in enumerate(images.iter(batch_size=1), start):
                example = {column: values[0] for column, values in columns.items()}
                yield self.rows.make_image(example, f"image {row} of {name}", (shard, row))
        except Exception as error:
            yield EncodedImage(name, error, place=(shard, None))

    def sample_group(self, group: int, rng: np.random.Generator) -> Iterator[EncodedImage]:
        return self.read_shard(group)  # from its start: skipping images would still read them


def count_images(file: str) -> int | None:
    """Number of images in a parquet file or a tar; `None` for a URL."""
    if is_address(file):
        return None
    if get_kind(file) == "parquet":
        return pyarrow.parquet.read_metadata(file).num_rows
    with tarfile.open(file, "r:") as tar:
        return sum(member.isfile() and get_kind(member.name) == "image" for member in tar)


@dataclass
class StreamedMicroBatches(IterableDataset):
    """
    Micro-batches from a stream, epoch after epoch, without held-out images. If the shards cannot be divided among the
    processes, every process reads all of them and keeps its part.
    """

    images: ImageStream
    batch_size: int
    make_example: ExampleMaker
    collator: Callable
    rank: int = 0
    world_size: int = 1
    shuffle_buffer_size: int = 1  # with 2 or more, a resumed run does not see exactly the same images

    def __post_init__(self):
        # what this worker has read in the epoch: whole shards, rows of the next shard, and images in total
        self.state = {"epoch": 0, "num_shards": 0, "num_rows": 0, "num_images": 0}
        self.is_divided = self.images.num_groups % self.world_size == 0
        if not self.is_divided and self.rank == 0:
            logger.warning(
                f"{self.images.num_groups} shards cannot be divided among {self.world_size} processes, so each reads "
                "all of them. To read each once, use a multiple of that number of files (for parquet, row groups)."
            )

    def __iter__(self) -> Iterator[dict]:
        examples = self._iterate_examples()
        while batch := list(itertools.islice(examples, self.batch_size)):
            yield self.collator(batch)

    def _iterate_examples(self) -> Iterator[dict]:
        num_empty_epochs, unreadable = 0, {}
        while num_empty_epochs < MAX_EMPTY_EPOCHS:
            epoch, is_empty, unreadable = self.state["epoch"], self.state["num_images"] == 0, {}
            rng = np.random.default_rng([self.make_example.seed, epoch])
            for image in shuffle(self._iterate_epoch(rng), self.shuffle_buffer_size, rng):
                example = self.make_example(image, epoch)
                unreadable |= example["unreadable"]
                if example["pixels"] is not None or example["unreadable"]:  # not held out
                    is_empty = is_empty and example["pixels"] is None
                    yield example
            num_empty_epochs = num_empty_epochs + 1 if is_empty else 0
            self.state = {"epoch": epoch + 1, "num_shards": 0, "num_rows": 0, "num_images": 0}
        if unreadable:  # for example, because the connection is lost
            raise make_unreadable_error(unreadable)
        # otherwise, there are more workers than shards, or all images are held out: the other workers continue

    def _iterate_epoch(self, rng: np.random.Generator) -> Iterator[EncodedImage]:
        """Yields the remaining images of this worker in the epoch."""
        state, shards = self.state, rng.permutation(self.images.num_groups).tolist()
        shards = shards[self.rank :: self.world_size] if self.is_divided else shards
        if worker := get_worker_info():
            shards = shards[worker.id :: worker.num_workers]
        for number in range(state["num_shards"], len(shards)):
            for image in self.images.read_shard(shards[number], state["num_rows"]):
                row = image.place[1]
                state["num_shards"], state["num_rows"] = (number + 1, 0) if row is None else (number, row + 1)
                state["num_images"] += 1
                if self.is_divided or state["num_images"] % self.world_size == self.rank:
                    yield image
            state["num_shards"], state["num_rows"] = number + 1, 0

    def state_dict(self) -> dict:
        return dict(self.state)

    def load_state_dict(self, state_dict: dict):
        self.state = dict(state_dict)


def shuffle(images: Iterator, buffer_size: int, rng: np.random.Generator) -> Iterator:
    """Draws each image from a buffer of `buffer_size`. A buffer of 1 keeps the order and delays nothing."""
    buffer = []
    for image in images:
        buffer.append(image)
        if len(buffer) >= buffer_size:
            yield buffer.pop(rng.integers(len(buffer)))
    yield from (buffer[index] for index in rng.permutation(len(buffer)))
