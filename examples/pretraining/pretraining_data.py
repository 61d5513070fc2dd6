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
import multiprocessing
import os
import signal
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from modeling_greenmim import GreenMimConfig, GreenMimDataCollator, GreenMimImageProcessorPil
from modeling_greenmim.planning_greenmim import get_fill

from example_command import UserError
from example_images import UNREADABLE_ERRORS, RandomCrop, crop_center, describe_error, read_image
from pretraining_sources import ImageSource


FEW_UNREADABLE = 10  # so many images may be unreadable, whatever their share


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
                    raise UserError(f"None of {len(unreadable)} images can be read, such as {_first(unreadable)}.")
                return  # more workers than shards, or all held out: this one has no image, in no epoch
            self.epoch += 1

    def _check_unreadable(self, name: str, reason: str):
        num_unreadable = len(self.unreadable_names)
        if num_unreadable > max(FEW_UNREADABLE, self.max_unreadable * self.num_read):
            raise UserError(
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
            "fill": get_fill(inputs["plan"]),
            "unreadable": {name: reason for example in examples for name, reason in example["unreadable"].items()},
        }


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


def _first(unreadable: dict[str, str]) -> str:
    name, reason = next(iter(unreadable.items()))
    return f"{name} ({reason})"
