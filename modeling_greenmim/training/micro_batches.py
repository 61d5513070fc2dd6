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
"""Micro-batches: images -> crops -> model inputs, in the loader's workers.

The number of a micro-batch determines its images ([`ImageOrder`]), so the loader state is one number, and any number
of processes and workers can resume. An image that cannot be read, or is a copy of a held-out one, leaves its place
empty: the micro-batch keeps its shape, repeats a different image there, and gives it the weight 0.
"""

import atexit
import copy
import math
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers.utils import ModelOutput

from ..configuration_greenmim import GreenMimConfig
from ..data_collator import GreenMimDataCollator
from ..frozen_teacher import Teacher
from ..image_processing_pil_greenmim import GreenMimImageProcessorPil
from ..planning_greenmim import get_fill
from .image_decoding import ExampleMaker
from .image_files import GroupedImages
from .image_order import ImageOrder
from .image_streams import StreamedMicroBatches
from .stop_signals import STOP_SIGNALS


class PretrainingCollator:
    """
    Makes a micro-batch from crops. The image processor rescales and normalizes them; a [`GreenMimDataCollator`] with
    these settings draws their masks and plans the groups.
    """

    def __init__(self, config: GreenMimConfig, image_processor: GreenMimImageProcessorPil, **settings):
        self.image_processor = image_processor
        self.collator = GreenMimDataCollator(config, **settings)
        pixels = np.zeros((config.num_channels, *config.image_height_and_width), dtype=np.uint8)
        self.blank = {"pixels": pixels, "mask_seed": (0,)}

    def __call__(self, examples: Sequence[dict]) -> dict:
        """
        Collates crops (see [`ExampleMaker`]). Returns `inputs` (see [`prepare_inputs`]); `image_weights`, one for each
        mask, 0 for an empty place, or `None` without empty places; `epochs` and `checksums` of the images; `fill`, the
        fraction of group slots that hold a token; and `unreadable`, names and reasons.
        """
        readable = [example for example in examples if example["pixels"] is not None]
        stand_in = readable[0] if readable else self.blank
        filled = [stand_in if example["pixels"] is None else example for example in examples]
        settings = {"do_resize": False, "do_center_crop": False, "do_convert_rgb": False}
        settings["input_data_format"] = "channels_first"
        images = self.image_processor([example["pixels"] for example in filled], **settings)["pixel_values"]
        inputs = self.collator([{**example, "pixel_values": image} for example, image in zip(filled, images)])
        weights = torch.tensor([float(example["pixels"] is not None) for example in examples])
        return {
            "inputs": inputs,
            "image_weights": None if weights.all() else weights.repeat_interleave(self.collator.masks_per_image),
            "epochs": [example["epoch"] for example in examples],
            "checksums": [example["mask_seed"][2] for example in readable],
            "fill": get_fill(inputs["plan"]),
            "unreadable": {name: reason for example in examples for name, reason in example["unreadable"].items()},
        }

    @cached_property
    def with_one_mask(self) -> "PretrainingCollator":
        """The collator for evaluations, where each image has one mask."""
        if self.collator.masks_per_image == 1:
            return self
        collator = copy.copy(self)
        collator.collator = replace(self.collator, masks_per_image=1)
        return collator


def prepare_inputs(inputs: dict, accelerator: Accelerator, teacher: Teacher | None) -> dict:
    """
    Moves inputs to the model's device, and repeats images for their masks. The teacher, on the same device, sees each
    image once, in the precision of the training.
    """
    inputs = send_to_device(inputs, accelerator.device, non_blocking=True)
    images, num_masks = inputs["pixel_values"], len(inputs["bool_masked_pos"])
    repeat = partial(torch.repeat_interleave, repeats=num_masks // len(images), dim=0)
    inputs = {**inputs, "pixel_values": repeat(images)}
    if teacher is not None:
        with accelerator.autocast():
            inputs["teacher_features"] = repeat(teacher(images))
    return inputs


def seed_micro_batch(seed: int, number: int):
    """Seeds dropout and drop path by the micro-batch number, so that no random state needs to be saved."""
    torch.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]))


def get_weighted_loss(outputs: ModelOutput, image_weights: torch.Tensor | None) -> torch.Tensor:
    """
    Loss of a micro-batch with empty places: the sum over its images, divided by its number of places. All images of a
    step thus have the same weight, whichever micro-batch they are in. If all places are empty, the loss is 0, but
    still depends on every parameter.
    """
    if image_weights is None:
        return outputs.loss
    return (outputs.image_losses * image_weights.to(outputs.image_losses.device)).mean()


@dataclass
class MicroBatches(Dataset):
    """Micro-batches of `batch_size` images, indexed by number."""

    images: GroupedImages
    batch_size: int
    make_example: ExampleMaker
    collator: PretrainingCollator
    order: ImageOrder

    def __getitem__(self, number: int) -> dict:
        places = map(self.order.locate, range(number * self.batch_size, (number + 1) * self.batch_size))
        get_image = self.images.get_image
        return self.collator([self.make_example(get_image(group, row), epoch) for epoch, group, row in places])


@dataclass
class HeldOutImages:
    """Images that are never trained on, with the same masks in every evaluation."""

    examples: list[dict] = field(default_factory=list)  # see `ExampleMaker`
    labels: list = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)  # see `EncodedImage`
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def checksums(self) -> frozenset[int]:
        """CRC-32 of the image contents."""
        return frozenset(example["mask_seed"][2] for example in self.examples)

    def iterate_batches(self, collator: PretrainingCollator, batch_size: int) -> Iterator[dict]:
        """Yields the inputs of each batch, see [`prepare_inputs`]."""
        for start in range(0, len(self.examples), batch_size):
            yield collator.with_one_mask(self.examples[start : start + batch_size])["inputs"]


def read_held_out_images(images: GroupedImages, number: int, make_example: ExampleMaker) -> HeldOutImages:
    """Reads at most `number` images from across the data."""
    held_out = HeldOutImages()
    for image in images.sample(number, make_example.seed):
        example = make_example(image, epoch=0)
        held_out.unreadable |= example["unreadable"]
        if example["pixels"] is not None:
            held_out.examples.append(example)
            held_out.labels.append(image.label)
            held_out.places.append(image.place)
    return held_out


def make_loader(micro_batches: Dataset, numbers: range, num_workers: int = 0, pin_memory: bool = False) -> DataLoader:
    """
    Makes the loader of one process, a `StatefulDataLoader` for a stream. Accelerate must not prepare it, because each
    process already reads its own part: `numbers`, whose step is the number of processes.
    """
    is_closing = multiprocessing.Event()
    # runs before `multiprocessing` terminates the remaining workers and waits for them
    atexit.register(is_closing.set)
    settings = {"batch_size": None, "num_workers": num_workers, "pin_memory": pin_memory}
    settings["worker_init_fn"] = partial(_ignore_signals, is_closing)
    settings["generator"] = torch.Generator()  # otherwise it would draw from the training's, once more when resumed
    if isinstance(micro_batches, StreamedMicroBatches):
        warnings.filterwarnings("ignore", message="'set_vital' is deprecated")  # torchdata's own
        return StatefulDataLoader(micro_batches, **settings)
    num_lanes = micro_batches.order.num_lanes  # each worker reads some of them
    micro_batches.images.num_cached_groups = num_lanes // math.gcd(num_lanes, numbers.step * max(1, num_workers))
    return DataLoader(micro_batches, sampler=numbers, **settings)


def _ignore_signals(is_closing, worker_id: int):
    """Ignores stop signals, which also reach workers: these are needed until the state is saved."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if is_closing.is_set() else None)
