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
"""Examples of labeled images for a model: decoded, changed at random, and with the labels of the model."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch.utils.data import IterableDataset
from transformers import BaseImageProcessor

from .errors import UserError, describe_error
from .image_decoding import read_image
from .image_files import read_row
from .labeled_datasets import EpochDataset, LabeledRows


def preprocess(pixels: torch.Tensor, image_processor: BaseImageProcessor, **kwargs) -> torch.Tensor:
    """
    Applies an image processor to an image that is decoded already.

    Args:
        pixels (`torch.Tensor` of `uint8` or `float32` and shape `(num_channels, height, width)`):
            The image.
        image_processor (`BaseImageProcessor`):
            The image processor.
        **kwargs:
            Settings of the image processor, such as `do_resize=False`.

    Returns:
        `torch.Tensor` of `float32` and shape `(num_channels, height, width)`: the input of the model.
    """
    kwargs |= {"do_convert_rgb": False, "input_data_format": "channels_first", "return_tensors": "pt"}
    return image_processor(pixels.numpy(), **kwargs)["pixel_values"][0]


@dataclass
class LabeledExampleMaker:
    """
    Makes examples of rows. The random changes of an image depend on the seed, the epoch and its content only, so a resumed run
    sees the same ones.

    Args:
        transform (`Callable`):
            Makes the input of the model from a tensor of `uint8` or `float32` and shape `(num_channels, height, width)`. Its random
            numbers must be those of torch, as in `torchvision.transforms.v2`.
        num_channels (`int`):
            Number of channels of the model.
        label_ids (`list[int]`):
            Label of the model for each label of the rows.
        description (`str`):
            Where the rows come from, for messages.
        seed (`int`):
            Seed of the changes.
    """

    transform: Callable[[torch.Tensor], torch.Tensor]
    num_channels: int
    label_ids: list[int]
    description: str
    seed: int

    def __call__(self, row: dict, index: int, epoch: int) -> dict:
        """
        Returns `pixel_values`, the output of the transform, and `labels`, an integer.

        Raises:
            [`UserError`]: if the image cannot be read, or has no label.
        """
        try:
            content = read_row(row["image"], allow_external_files=True)
            pixels = torch.from_numpy(read_image(content, self.num_channels))
        except Exception as error:  # decoders of damaged images raise what they like
            name = row["image"]["path"] if row["image"] and row["image"]["path"] else f"Image {index}"
            raise UserError(
                f"{name} of {self.description} cannot be read ({describe_error(error)}). Fix or remove it."
            ) from error
        if row["label"] is None or row["label"] < 0:
            raise UserError(f"Image {index} of {self.description} has no label. Remove it.")
        seed = np.random.default_rng((self.seed, epoch, zlib.crc32(content))).integers(2**63)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(seed))  # `torch.manual_seed` would also seed the accelerators
            pixel_values = self.transform(pixels)
        return {"pixel_values": pixel_values, "labels": self.label_ids[row["label"]]}


class LabeledImages(EpochDataset):
    """
    Examples of rows that are read by number.

    Args:
        rows ([`LabeledRows`]):
            The rows.
        make_example ([`LabeledExampleMaker`]):
            Makes an example of each row.
    """

    def __init__(self, rows: LabeledRows, make_example: LabeledExampleMaker):
        super().__init__(rows.rows)
        self.make_example = make_example

    def __getitem__(self, index: int) -> dict:
        return self.make_example(self.rows[index], index, self.epoch)


class StreamedImages(IterableDataset):
    """Examples of streamed rows, once and in their order. Arguments are those of [`LabeledImages`]."""

    def __init__(self, rows: LabeledRows, make_example: LabeledExampleMaker):
        self.rows = rows.rows
        self.make_example = make_example

    def __iter__(self) -> Iterator[dict]:
        for index, row in enumerate(self.rows):
            yield self.make_example(row, index, 0)


class EndlessStream(StreamedImages):
    """
    Examples of streamed rows, epoch after epoch, mixed by a buffer.

    Args:
        rows, make_example:
            See [`LabeledImages`].
        shuffle_buffer_size (`int`):
            Number of images in the buffer.
    """

    def __init__(self, rows: LabeledRows, make_example: LabeledExampleMaker, shuffle_buffer_size: int):
        super().__init__(rows, make_example)
        self.shuffle_buffer_size = shuffle_buffer_size

    def __iter__(self) -> Iterator[dict]:
        for epoch in count():
            seed = int(np.random.default_rng((self.make_example.seed, epoch)).integers(2**31))
            # one shard at a time: `datasets` sleeps for seconds at the end of several
            rows = self.rows.shuffle(seed, buffer_size=self.shuffle_buffer_size, max_buffer_input_shards=1)
            index = -1
            for index, row in enumerate(rows):
                yield self.make_example(row, index, epoch)
            if index < 0:
                return  # more workers than shards: this one has none
