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
"""The data of pre-training: images on disk or on the Hub -> an endless stream of crops -> batches with masks and group plans.

Every process reads a stream of its own, in the workers of its loader, and no stream ever ends: in every epoch, the streams of
all processes and workers together hold each image once, and those with fewer images just begin their next epoch earlier. So
nothing is dropped, nothing is seen twice, and no process waits for another one's last batch.

Crops and masks depend on the seed, the epoch and the content of the image alone: an image gets the same ones with any number
of processes and workers.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import datasets
import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import IterableDataset, get_worker_info
from transformers.utils import is_torchvision_available

from modeling_greenmim import GreenMimConfig, GreenMimDataCollator, GreenMimImageProcessorPil
from modeling_greenmim.image_conversion_greenmim import to_channels_first_array


IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".npy")
# what PIL, NumPy and the conversion raise for files that are no image, cut off, too large, or of an unknown kind
UNREADABLE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, PIL.Image.DecompressionBombError)
FEW_UNREADABLE = 10  # so many images may be unreadable, whatever their share


class PretrainingError(Exception):
    """What the user can mend: shown as one line, without a traceback."""


class ImageSource(Protocol):
    """Encoded images of one process, in the part of the worker that asks: a name, and a function that reads the content."""

    def iterate(self, epoch: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """The images of an epoch, from the first, or from where `load_state_dict` has put it."""

    def state_dict(self) -> dict:
        """Where it is in this epoch."""

    def load_state_dict(self, state_dict: dict):
        """Goes there, for the next `iterate`."""


class ImageFiles:
    """
    Image files, in another order in every epoch.

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
        self.files = np.array(
            files, dtype=np.str_
        )  # an array, which workers share without copying it object by object
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.position = 0

    def iterate(self, epoch: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
        worker = get_worker_info()
        worker_id, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.files))
        order = order[self.rank * num_workers + worker_id :: self.world_size * num_workers]
        while self.position < len(order):
            path = Path(self.files[order[self.position]])
            self.position += 1
            yield str(path), path.read_bytes
        self.position = 0

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
    """

    def __init__(
        self,
        dataset: datasets.IterableDataset,
        image_column_name: str,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle_buffer_size: int = 1,
    ):
        self.dataset = dataset
        self.image_column_name = image_column_name
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle_buffer_size = shuffle_buffer_size
        self.epoch_dataset = self.resume_from = None

    def iterate(self, epoch: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
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
        for example in self.epoch_dataset:
            image = example[self.image_column_name] or {}
            content = image if isinstance(image, bytes) else image.get("bytes") or b""
            name = None if isinstance(image, bytes) else image.get("path")
            yield name or f"image with the checksum {zlib.crc32(content):08x}", lambda content=content: content

    def state_dict(self) -> dict | None:
        return self.resume_from if self.epoch_dataset is None else self.epoch_dataset.state_dict()

    def load_state_dict(self, state_dict: dict | None):
        self.resume_from = state_dict


def read_image(content: bytes, num_channels: int) -> np.ndarray:
    """
    Reads an image, or an array saved by NumPy, upright.

    Args:
        content (`bytes`):
            Content of the file.
        num_channels (`int`):
            Channels of the model. For 3, images of any kind become RGB; for 1, they become grey.

    Returns:
        `np.ndarray` of `uint8` or `float32` and shape `(num_channels, height, width)`.

    Raises:
        Any of `UNREADABLE_ERRORS`, if it is no such image.
    """
    if not content:
        raise ValueError("there is no content")
    if content.startswith(b"\x93NUMPY"):
        pixels = to_channels_first_array(np.load(io.BytesIO(content), allow_pickle=False), num_channels == 3)
    else:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            if num_channels == 1 and picture.mode in ("RGB", "RGBA", "P", "LA", "CMYK", "YCbCr"):
                picture = PIL.ImageOps.exif_transpose(picture).convert("L")
            pixels = to_channels_first_array(picture, do_convert_rgb=num_channels == 3)
    if len(pixels) != num_channels:
        raise ValueError(f"it has {len(pixels)} channels, the model takes {num_channels}")
    return pixels


@dataclass
class RandomCrop:
    """
    A random part of an image, resized, and flipped half of the time: torchvision's `RandomResizedCrop` and
    `RandomHorizontalFlip` where torchvision is installed, else the same with PIL.

    Args:
        image_size (`tuple[int, int]`):
            Height and width of the crops in pixels.
        min_scale (`float`, *optional*, defaults to 0.2):
            Smallest part of the area; the largest is all of it. The aspect ratio is between 3/4 and 4/3.
        flip (`bool`, *optional*, defaults to `True`):
            Whether to flip.
    """

    image_size: tuple[int, int]
    min_scale: float = 0.2
    flip: bool = True

    def __call__(self, pixels: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        """`(num_channels, height, width)` to the same with the height and width of the crops."""
        if is_torchvision_available():
            return self._crop_with_torchvision(pixels, seed)
        return self._crop_with_pil(pixels, np.random.default_rng(seed))

    def _crop_with_torchvision(self, pixels: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        from torchvision.transforms import v2

        transform = v2.Compose(
            [
                v2.RandomResizedCrop(
                    self.image_size, (self.min_scale, 1.0), interpolation=v2.InterpolationMode.BICUBIC, antialias=True
                ),
                v2.RandomHorizontalFlip(0.5 if self.flip else 0.0),
            ]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng(seed).integers(2**63)))
            return transform(torch.from_numpy(pixels.copy())).numpy()

    def _crop_with_pil(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _, height, width = pixels.shape
        area = rng.uniform(self.min_scale, 1.0) * width * height
        aspect_ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        crop_width = min(width, max(1, round(np.sqrt(area * aspect_ratio))))
        crop_height = min(height, max(1, round(np.sqrt(area / aspect_ratio))))
        left, top = rng.integers(width - crop_width + 1), rng.integers(height - crop_height + 1)
        box = (left, top, left + crop_width, top + crop_height)
        # channel by channel: PIL has no images of any number of channels, and weighs four by the last
        channels = [
            PIL.Image.fromarray(channel).resize(self.image_size[::-1], PIL.Image.Resampling.BICUBIC, box=box)
            for channel in pixels
        ]
        cropped = np.stack([np.asarray(channel) for channel in channels])
        return cropped[:, :, ::-1] if self.flip and rng.random() < 0.5 else cropped


class EndlessCrops(IterableDataset):
    """
    Crops of the images of a source, epoch after epoch. It has a state, from which `StatefulDataLoader` goes on exactly.

    Args:
        source ([`ImageSource`]):
            The images.
        crop ([`RandomCrop`]):
            What is made of each.
        num_channels (`int`):
            Channels of the model.
        seed (`int`):
            Seed of crops and masks.
        max_unreadable (`float`, *optional*, defaults to 0.05):
            Share of images that may be unreadable. They are dropped and reported; if there are more, in one worker, it stops.
        held_out_share (`float`, *optional*, defaults to 0.0):
            Share of images that are left out, see [`is_held_out`].
    """

    def __init__(
        self,
        source: ImageSource,
        crop: RandomCrop,
        num_channels: int,
        seed: int,
        max_unreadable: float = 0.05,
        held_out_share: float = 0.0,
    ):
        self.source = source
        self.crop = crop
        self.num_channels = num_channels
        self.seed = seed
        self.max_unreadable = max_unreadable
        self.held_out_share = held_out_share
        self.epoch = self.num_read = self.num_unreadable = 0
        self.is_resumed = False

    def __iter__(self) -> Iterator[dict]:
        """
        Examples with `pixels`, of shape `(num_channels, height, width)`, `mask_seed`, `epoch`, and `unreadable`: name and
        reason of the images that were dropped since the example before.
        """
        unreadable = {}
        while True:
            is_whole_epoch, self.is_resumed = not self.is_resumed, False
            num_images = 0
            for name, read_content in self.source.iterate(self.epoch):
                num_images += 1
                try:
                    content = read_content()
                    checksum = zlib.crc32(content)
                    if is_held_out(checksum, self.held_out_share):
                        continue
                    self.num_read += 1
                    seed = (self.seed, self.epoch, checksum)
                    pixels = self.crop(read_image(content, self.num_channels), (*seed, 0))
                except UNREADABLE_ERRORS as error:
                    unreadable[name] = f"{type(error).__name__}: {error}"
                    self.num_unreadable += 1
                    self._check_unreadable(name, unreadable[name])
                    continue
                yield {"pixels": pixels, "mask_seed": (*seed, 1), "epoch": self.epoch, "unreadable": unreadable}
                unreadable = {}
            if num_images == 0 and is_whole_epoch:
                return  # more workers than shards: this one has none, in no epoch
            if self.num_unreadable >= self.num_read:
                raise PretrainingError(f"None of {num_images} images can be read or trained on, such as {unreadable}.")
            self.epoch += 1

    def _check_unreadable(self, name: str, reason: str):
        if self.num_unreadable > max(FEW_UNREADABLE, self.max_unreadable * self.num_read):
            raise PretrainingError(
                f"{self.num_unreadable} of {self.num_read} images cannot be read, more than --max_unreadable "
                f"{self.max_unreadable:g} allows. The last one is {name} ({reason})."
            )

    def state_dict(self) -> dict:
        return {
            "epoch": self.epoch,
            "num_read": self.num_read,
            "num_unreadable": self.num_unreadable,
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state_dict: dict):
        self.epoch, self.num_read = state_dict["epoch"], state_dict["num_read"]
        self.num_unreadable = state_dict["num_unreadable"]
        self.source.load_state_dict(state_dict["source"])
        self.is_resumed = True


def is_held_out(checksum: int, share: float) -> bool:
    """
    Decides by the CRC-32 of an image's content whether it is held out. Unlike a decision by position, this one is the same in
    every order, and copies of an image end up on the same side.
    """
    return checksum < share * 2**32


@dataclass
class PretrainingCollator:
    """
    Makes the arguments of [`GreenMimForMaskedImageModeling`] of crops, and tells what was dropped.

    Args:
        image_processor ([`GreenMimImageProcessorPil`]):
            Rescales and normalizes.
        collator ([`GreenMimDataCollator`]):
            Draws the masks and plans the groups.
    """

    image_processor: GreenMimImageProcessorPil
    collator: GreenMimDataCollator

    def __call__(self, examples: Sequence[dict]) -> dict:
        """Returns `inputs`, the `epoch` of the first example, and `unreadable` images: name and reason."""
        pixel_values = self.image_processor(
            [example["pixels"] for example in examples],
            do_resize=False,
            do_center_crop=False,
            do_convert_rgb=False,
            input_data_format="channels_first",
        )["pixel_values"]
        return {
            "inputs": self.collator(
                [
                    {"pixel_values": pixels, "mask_seed": example["mask_seed"]}
                    for pixels, example in zip(pixel_values, examples)
                ]
            ),
            "epoch": examples[0]["epoch"],
            "unreadable": {name: reason for example in examples for name, reason in example["unreadable"].items()},
        }


def make_collator(
    config: GreenMimConfig, image_processor: GreenMimImageProcessorPil, **settings
) -> PretrainingCollator:
    """The collator of a model; `settings` are those of [`GreenMimDataCollator`]."""
    return PretrainingCollator(image_processor, GreenMimDataCollator(config, **settings))
