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
"""Examples from labeled images, decoded and augmented together with their labels, by index or from a stream."""

import zlib
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing.sharedctypes import RawValue

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset
from torchvision import tv_tensors
from transformers import BaseImageProcessor

from .errors import UserError, describe_error
from .image_decoding import read_image
from .image_files import read_row
from .labeled_datasets import LabeledRows


def preprocess(pixels: torch.Tensor, image_processor: BaseImageProcessor, **kwargs) -> torch.Tensor:
    """
    Applies an image processor, with settings such as `do_resize=False`, to a decoded image, `uint8` or `float32` of
    shape `(num_channels, height, width)`. Returns the model input, `float32` with the same channels.
    """
    kwargs |= {"do_convert_rgb": False, "input_data_format": "channels_first", "return_tensors": "pt"}
    return image_processor(pixels.numpy(), **kwargs)["pixel_values"][0]


class LabeledImages(Dataset):
    """
    Images, with the model's number of channels, and their labels. A `transform` changes a sample, with torch's random
    numbers, as in `torchvision.transforms.v2`. These depend only on the seed, the epoch and the image content, so that
    a resumed run repeats them. A subclass reads the labels and makes examples.
    """

    def __init__(
        self, rows: LabeledRows, transform: Callable[[dict], dict] | None = None, num_channels: int = 3, seed: int = 0
    ):
        self.rows, self.description = rows.rows, rows.description
        self.transform, self.num_channels, self.seed = transform, num_channels, seed
        self.epoch = RawValue("q", 0)  # shared with workers that persist across epochs

    def read_label(self, label, height: int, width: int) -> dict:
        """Returns the entries of a sample other than `image`. Raises a [`UserError`] if they are invalid."""
        raise NotImplementedError

    def make_example(self, sample: dict, index: int) -> dict:
        """Makes model inputs from a sample."""
        raise NotImplementedError

    def set_epoch(self, epoch: int):
        self.epoch.value = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return self.make_example(self.load_sample(index), index)

    def load_sample(self, index: int) -> dict:
        return self.read_sample(self.rows[index], index, self.epoch.value)

    def read_sample(self, row: dict, index: int, epoch: int) -> dict:
        """
        Returns `image`, a `tv_tensors.Image` of shape `(num_channels, height, width)`, and the entries of `read_label`,
        augmented. Raises a [`UserError`] if the image or its label cannot be read or used.
        """
        name = f"{(row['image'] or {}).get('path') or f'Image {index}'} of {self.description}"
        try:
            content = read_row(row["image"], allow_external_files=True)
            image = tv_tensors.Image(np.ascontiguousarray(read_image(content, self.num_channels)))
            sample = {"image": image, **self.read_label(row["label"], *image.shape[1:])}
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        except Exception as error:  # decoders raise exceptions of any type on damaged images
            message = f"{name} or its label cannot be read ({describe_error(error)}). Fix or remove it."
            raise UserError(message) from error
        if self.transform is None:
            return sample
        seed = np.random.default_rng((self.seed, epoch, zlib.crc32(content))).integers(2**63)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(seed))  # `torch.manual_seed` would also seed the accelerators
            return self.transform(sample)


class ClassifiedImages(LabeledImages):
    """Images and their classes. Takes the arguments of [`LabeledImages`], and the model's class id of each name."""

    def __init__(self, rows: LabeledRows, label2id: dict[str, int], **kwargs):
        super().__init__(rows, **kwargs)
        self.label_ids = [label2id[name] for name in rows.label_names]

    def read_label(self, label: int | None, height: int, width: int) -> dict[str, int]:
        if label is None or label < 0:
            raise UserError("it has no label. Remove it.")
        return {"label": self.label_ids[label]}

    def make_example(self, sample: dict, index: int) -> dict:
        return {"pixel_values": sample["image"], "labels": sample["label"]}


class StreamedImages(IterableDataset):
    """Examples from streamed rows, once and in order."""

    def __init__(self, images: LabeledImages):
        self.images = images

    def __iter__(self) -> Iterator[dict]:
        return self.make_examples(self.images.rows, epoch=0)

    def make_examples(self, rows, epoch: int) -> Iterator[dict]:
        for index, row in enumerate(rows):
            yield self.images.make_example(self.images.read_sample(row, index, epoch), index)


class EndlessStream(StreamedImages):
    """Examples from streamed rows, epoch after epoch, shuffled in a buffer of `shuffle_buffer_size` images."""

    def __init__(self, images: LabeledImages, shuffle_buffer_size: int):
        super().__init__(images)
        self.shuffle_buffer_size = shuffle_buffer_size

    def __iter__(self) -> Iterator[dict]:
        for epoch in count():
            seed = int(np.random.default_rng((self.images.seed, epoch)).integers(2**31))
            # one shard at a time: `datasets` sleeps for seconds at the end of several
            rows = self.images.rows.shuffle(seed, buffer_size=self.shuffle_buffer_size, max_buffer_input_shards=1)
            examples = self.make_examples(rows, epoch)
            if (first := next(examples, None)) is None:
                return  # more workers than shards: this one has none
            yield first
            yield from examples
