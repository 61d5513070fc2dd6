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
"""The data of pre-training: encoded images -> an endless stream of crops -> batches with masks and group plans.

Every process reads a stream of its own, in the workers of its loader, and no stream ever ends: in every epoch, the streams of
all processes and workers together hold each image once, and those with fewer images just begin their next epoch earlier. So
nothing is dropped, nothing is seen twice, and no process waits for another one's last batch.

Crops and masks depend on the seed, the epoch and the content of the image alone: an image gets the same ones with any number
of processes and workers.
"""

import atexit
import io
import multiprocessing
import os
import signal
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch.utils.data import IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers.utils import is_torchvision_available

from modeling_greenmim import GreenMimConfig, GreenMimDataCollator, GreenMimImageProcessorPil
from modeling_greenmim.image_conversion_greenmim import to_channels_first_array

from pretraining_sources import ImageSource, PretrainingError


# what PIL, NumPy and the conversion raise for files that are no image, cut off, too large, or of an unknown kind
UNREADABLE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, PIL.Image.DecompressionBombError)
FEW_UNREADABLE = 10  # so many images may be unreadable, whatever their share


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
        cropped = resize_box(pixels, (left, top, left + crop_width, top + crop_height), self.image_size)
        return cropped[:, :, ::-1] if self.flip and rng.random() < 0.5 else cropped


def crop_center(pixels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The largest part in the middle that has the aspect ratio of `image_size`, resized to it."""
    _, height, width = pixels.shape
    scale = min(height / image_size[0], width / image_size[1])
    left, top = (width - scale * image_size[1]) / 2, (height - scale * image_size[0]) / 2
    return resize_box(pixels, (left, top, width - left, height - top), image_size)


def resize_box(pixels: np.ndarray, box: tuple[float, float, float, float], image_size: tuple[int, int]) -> np.ndarray:
    """Resizes a part (left, top, right, bottom) of `(num_channels, height, width)` to `(num_channels, *image_size)`."""
    # channel by channel: PIL has no images of any number of channels, and weighs four by the last
    channels = [
        PIL.Image.fromarray(channel).resize(image_size[::-1], PIL.Image.Resampling.BICUBIC, box=box)
        for channel in pixels
    ]
    return np.stack([np.asarray(channel) for channel in channels])


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
        held_out (`frozenset[int]`, *optional*):
            CRC-32 of the contents of images to leave out. Unlike a choice by position, this one is the same in every order, and
            copies of an image end up on the same side.
    """

    def __init__(
        self,
        source: ImageSource,
        crop: RandomCrop,
        num_channels: int,
        seed: int,
        max_unreadable: float = 0.05,
        held_out: frozenset[int] = frozenset(),
    ):
        self.source = source
        self.crop = crop
        self.num_channels = num_channels
        self.seed = seed
        self.max_unreadable = max_unreadable
        self.held_out = held_out
        self.epoch = self.num_read = 0
        self.unreadable_names: set[str] = set()  # an image is counted once, not in every epoch
        self.is_resumed = False

    def __iter__(self) -> Iterator[dict]:
        """
        Examples with `pixels`, of shape `(num_channels, height, width)`, `mask_seed`, `epoch`, and `unreadable`: name and
        reason of the images that were dropped since the example before.
        """
        unreadable = {}
        while True:
            is_whole_epoch, self.is_resumed = not self.is_resumed, False
            num_crops = 0
            for image in self.source.iterate(self.epoch):
                try:
                    content = image.read()
                    checksum = zlib.crc32(content)
                    if checksum in self.held_out:
                        continue
                    seed = (self.seed, self.epoch, checksum)
                    pixels = self.crop(read_image(content, self.num_channels), (*seed, 0))
                except UNREADABLE_ERRORS as error:
                    unreadable[image.name] = describe_error(error)
                    self.num_read += 1
                    if image.name not in self.unreadable_names:
                        self.unreadable_names.add(image.name)
                        self._check_unreadable(image.name, unreadable[image.name])
                    continue
                self.num_read += 1
                num_crops += 1
                yield {"pixels": pixels, "mask_seed": (*seed, 1), "epoch": self.epoch, "unreadable": unreadable}
                unreadable = {}
            if num_crops == 0 and is_whole_epoch:
                if unreadable:
                    raise PretrainingError(
                        f"None of {len(unreadable)} images can be read, such as {_first(unreadable)}."
                    )
                return  # more workers than shards, or all held out: this one has no image, in no epoch
            self.epoch += 1

    def _check_unreadable(self, name: str, reason: str):
        num_unreadable = len(self.unreadable_names)
        if num_unreadable > max(FEW_UNREADABLE, self.max_unreadable * self.num_read):
            raise PretrainingError(
                f"{num_unreadable} of {self.num_read} images cannot be read, more than --max_unreadable "
                f"{self.max_unreadable:g} allows. The last one is {name} ({reason})."
            )

    def state_dict(self) -> dict:
        return {
            "epoch": self.epoch,
            "num_read": self.num_read,
            "unreadable_names": sorted(self.unreadable_names),
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state_dict: dict):
        self.epoch, self.num_read = state_dict["epoch"], state_dict["num_read"]
        self.unreadable_names = set(state_dict["unreadable_names"])
        self.source.load_state_dict(state_dict["source"])
        self.is_resumed = True


@dataclass
class HeldOutImages:
    """
    Images that are never trained on, with the masks that they have in every evaluation.

    Attributes:
        examples (`list[dict]`):
            What a [`PretrainingCollator`] takes.
        labels (`list`):
            Their labels, `None` where there are none.
        checksums (`frozenset[int]`):
            CRC-32 of their contents.
        unreadable (`dict[str, str]`):
            Images that could not be read, and why.
    """

    examples: list[dict]
    labels: list
    checksums: frozenset[int]
    unreadable: dict[str, str]

    def iterate_batches(self, collator: "PretrainingCollator", batch_size: int) -> Iterator[dict]:
        """Arguments of the model, for one batch after the other."""
        for start in range(0, len(self.examples), batch_size):
            yield collator(self.examples[start : start + batch_size])["inputs"]


def read_held_out_images(
    source: ImageSource, number: int, image_size: tuple[int, int], num_channels: int, seed: int
) -> HeldOutImages:
    """Reads at most so many images from all over a source, and crops them in the middle."""
    examples, labels, checksums, unreadable = [], [], set(), {}
    for image in source.sample(number):
        try:
            content = image.read()
            pixels = crop_center(read_image(content, num_channels), image_size)
        except UNREADABLE_ERRORS as error:
            unreadable[image.name] = describe_error(error)
            continue
        checksum = zlib.crc32(content)
        checksums.add(checksum)
        labels.append(image.label)
        examples.append({"pixels": pixels, "mask_seed": (seed, 0, checksum, 1), "epoch": 0, "unreadable": {}})
    return HeldOutImages(examples, labels, frozenset(checksums), unreadable)


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
        """
        Returns `inputs`, the `checksums` of their contents, the `epochs` they are of, the `fill` of the groups (share of slots
        that hold a token), and `unreadable` images: name and reason.
        """
        pixel_values = self.image_processor(
            [example["pixels"] for example in examples],
            do_resize=False,
            do_center_crop=False,
            do_convert_rgb=False,
            input_data_format="channels_first",
        )["pixel_values"]
        inputs = self.collator(
            [
                {"pixel_values": pixels, "mask_seed": example["mask_seed"]}
                for pixels, example in zip(pixel_values, examples)
            ]
        )
        return {
            "inputs": inputs,
            "checksums": [example["mask_seed"][2] for example in examples],
            "epochs": [example["epoch"] for example in examples],
            "fill": get_fill(inputs["group_plan"]),
            "unreadable": {name: reason for example in examples for name, reason in example["unreadable"].items()},
        }


def get_fill(group_plan: dict[str, torch.Tensor]) -> float:
    """Share of the slots of a plan that hold a token."""
    num_tokens = sum(tensor.numel() for name, tensor in group_plan.items() if name.endswith("token_slot"))
    return num_tokens / sum(tensor.numel() for name, tensor in group_plan.items() if name.endswith("slot_token"))


def make_collator(
    config: GreenMimConfig, image_processor: GreenMimImageProcessorPil, **settings
) -> PretrainingCollator:
    """The collator of a model; `settings` are those of [`GreenMimDataCollator`]."""
    return PretrainingCollator(image_processor, GreenMimDataCollator(config, **settings))


def make_loader(
    crops: EndlessCrops, batch_size: int, collator: PretrainingCollator, num_workers: int, pin_memory: bool = False
) -> StatefulDataLoader:
    """A loader with a state. It is not to be prepared by Accelerate: each process reads its own part already."""
    closing = multiprocessing.Event()
    # before `multiprocessing` terminates the workers that are left, and waits for them
    atexit.register(closing.set)
    warnings.filterwarnings("ignore", message="'set_vital' is deprecated")  # torchdata's own
    return StatefulDataLoader(
        crops,
        batch_size=batch_size,
        collate_fn=collator,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=partial(_ignore_signals, closing),
        generator=torch.Generator(),  # else it would draw from that of the training, once more when resumed
    )


def _ignore_signals(closing, worker_id: int):
    """Ctrl-C and SIGTERM reach workers too, which are still needed until the state is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if closing.is_set() else None)


def describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _first(unreadable: dict[str, str]) -> str:
    name, reason = next(iter(unreadable.items()))
    return f"{name} ({reason})"
