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
"""What the Space does, without its page: images in, masked images, reconstructions, numbers and pictures out."""

import os


# before PyTorch is loaded: its threads sleep while they wait, and do not slow each other down on a shared machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import statistics
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from matplotlib.figure import Figure

from modeling_greenmim import (
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessorPil,
    make_plan,
    sample_masks,
)
from modeling_greenmim.checkpoint_folders import load_checkpoint
from modeling_greenmim.masking_greenmim import get_unit_grid
from modeling_greenmim.plotting import GroupLayout, draw_groups, get_group_layout


FOLDER = Path(__file__).resolve().parent
MAX_PIXELS = 40_000_000
SHOWN_SIDE = 384  # of pictures, in pixels
NUM_TIMINGS = 3
MAX_TIMED_IMAGES = 32  # as in training: with one small image, it is the overhead that is timed
TIMING_SECONDS = 0.4  # what the timing of full images may take of an answer, about: of a large model, fewer are timed
HIDDEN_GRAY = 210


class UnreadableImageError(ValueError):
    """What a visitor can mend: shown as a message."""


@dataclass
class Result:
    """
    What is shown of an image and a mask.

    Attributes:
        original, masked, predicted, pasted (`np.ndarray` of shape `(height, width, 3)` and `uint8`):
            The image as the model gets it; what the encoder sees; what the decoder predicts for all units; and the image with the
            hidden units as predicted.
        num_visible_tokens, num_tokens (`int`):
            Tokens of the first stage that were computed, and those of the full image.
        visible_ms, full_ms (`float`):
            Time of the encoder on the visible units, with its plan, and on the full image, in milliseconds, for
            `num_timed_images` images at a time; medians.
        num_timed_images (`int`):
            As many as can be timed without keeping a visitor waiting.
        loss (`float`):
            On the hidden units.
    """

    original: np.ndarray
    masked: np.ndarray
    predicted: np.ndarray
    pasted: np.ndarray
    num_visible_tokens: int
    num_tokens: int
    visible_ms: float
    full_ms: float
    num_timed_images: int
    loss: float


def find_model() -> str:
    """
    Name of the model: `MODEL_ID`, or the folder `model` beside this file, or the one of the repository.

    Raises:
        `ValueError`: if there is none of them.
    """
    if name := os.environ.get("MODEL_ID"):
        return name
    for folder in (FOLDER / "model", FOLDER.parent / "cifar10" / "pretrained"):
        if (folder / "config.json").is_file():
            return str(folder)
    raise ValueError(
        "There is no model to show: set the environment variable MODEL_ID to a folder, or to a name on the Hub."
    )


def open_image(path: str) -> PIL.Image.Image:
    """
    Opens an upload.

    Raises:
        [`UnreadableImageError`]: if it is no image, or too large.
    """
    try:
        with PIL.Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(
                    f"This image has {image.width} x {image.height} pixels, and {MAX_PIXELS // 1_000_000} million are the limit."
                )
            return PIL.ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise UnreadableImageError("This file is no image that can be read.") from error


class Demonstration:
    """
    A model, ready to be shown.

    Args:
        name (`str`):
            Folder of a pre-trained GreenMIM model, or its name on the Hub.

    Raises:
        `OSError` or `ValueError`: if there is no such model, or it was not pre-trained as a GreenMIM model.
    """

    def __init__(self, name: str):
        self.name = name
        # first, as it says best what is wrong with a name
        self.image_processor = GreenMimImageProcessorPil.from_pretrained(name, do_mask=False)
        self.model = load_checkpoint(GreenMimForMaskedImageModeling, name, dtype=torch.float32)
        self.config = self.model.config
        self.grid_size = get_unit_grid(self.config.image_height_and_width, self.config.mask_unit_size)

    @cached_property
    def num_units(self) -> int:
        return self.grid_size[0] * self.grid_size[1]

    @cached_property
    def num_timed_images(self) -> int:
        """How many images at a time are timed, by what one of them takes."""
        pixel_values = torch.zeros(1, self.config.num_channels, *self.config.image_height_and_width)
        with torch.inference_mode():
            seconds = _time(lambda: self.model.greenmim(pixel_values)) / 1000
        num_images = int(TIMING_SECONDS / ((1 + NUM_TIMINGS) * seconds))
        return min(max(num_images, 1), MAX_TIMED_IMAGES)

    def draw_mask(self, mask_ratio: float, sampler: str, seed: int) -> np.ndarray:
        """A mask of shape `(num_units,)`, `True` where a unit is hidden."""
        return sample_masks(1, self.grid_size, mask_ratio, sampler, seed=seed)[0]

    def toggle_unit(self, mask: np.ndarray, x: float, y: float) -> np.ndarray:
        """
        The mask with another unit hidden, or shown.

        Args:
            mask (`np.ndarray` of shape `(num_units,)`):
                The mask. One unit stays visible, and one hidden.
            x, y (`float`):
                Where in the image, from 0 to 1.
        """
        row, column = (min(int(position * side), side - 1) for position, side in zip((y, x), self.grid_size))
        changed = mask.copy()
        changed[row * self.grid_size[1] + column] ^= True
        return mask if changed.all() or not changed.any() else changed

    @torch.inference_mode()
    def reconstruct(self, image: PIL.Image.Image, mask: np.ndarray) -> Result:
        """Masks an image, encodes what is visible, and predicts the rest; and times the encoder, now, on this machine."""
        pixel_values = self._process(image)
        masks = torch.from_numpy(mask[None])
        outputs = self.model(pixel_values, bool_masked_pos=masks)
        pasted = self.model.reconstruct(pixel_values, outputs)
        outputs.mask.fill_(1.0)
        predicted = self.model.reconstruct(pixel_values, outputs)
        is_hidden = self.model.mask_pixels(torch.zeros_like(pixel_values), masks, value=1.0)[0].bool().numpy()
        original = self._to_pixels(pixel_values)
        encoder, batch = self.model.greenmim, pixel_values.expand(self.num_timed_images, -1, -1, -1)
        tokens_per_unit = (self.config.mask_unit_size // self.config.patch_size) ** 2
        return Result(
            original=original,
            masked=np.where(np.moveaxis(is_hidden, 0, -1), HIDDEN_GRAY, original).astype(np.uint8),
            predicted=self._to_pixels(predicted),
            pasted=self._to_pixels(pasted),
            num_visible_tokens=int((~mask).sum()) * tokens_per_unit,
            num_tokens=self.num_units * tokens_per_unit,
            visible_ms=_time(lambda: encoder(batch, bool_masked_pos=masks.expand(len(batch), -1))),
            full_ms=_time(lambda: encoder(batch)),
            num_timed_images=len(batch),
            loss=float(outputs.loss),
        )

    def draw_groups(
        self, image: PIL.Image.Image, mask: np.ndarray, stage: int, token_mixer: str
    ) -> tuple[Figure, GroupLayout]:
        """Draws how the visible windows of a mask are packed into groups. On a phone, titles are too small: there are none."""
        layout = get_group_layout(make_plan(mask[None], self.config), self.config, stage, token_mixer)
        figure = draw_groups(layout, self._to_pixels(self._process(image)) / 255)
        figure.set_size_inches(7, 3.2)
        for axes in figure.axes:
            axes.set_title("")
        return figure, layout

    def _process(self, image: PIL.Image.Image) -> torch.Tensor:
        square = PIL.ImageOps.fit(image, self.config.image_height_and_width[::-1], PIL.Image.Resampling.BICUBIC)
        return self.image_processor(square, return_tensors="pt")["pixel_values"]

    def _to_pixels(self, pixel_values: torch.Tensor) -> np.ndarray:
        mean, std = (
            torch.tensor(getattr(self.image_processor, name)).view(-1, 1, 1) for name in ("image_mean", "image_std")
        )
        pixels = (255 * (pixel_values[0] * std + mean)).round().clamp(0, 255)
        return np.moveaxis(pixels.numpy().astype(np.uint8), 0, -1)


def enlarge(pixels: np.ndarray) -> PIL.Image.Image:
    """A picture that is large enough to be looked at, with its pixels as they are."""
    image = PIL.Image.fromarray(pixels)
    factor = max(1, SHOWN_SIDE // max(image.size))
    return image.resize((factor * image.width, factor * image.height), PIL.Image.Resampling.NEAREST)


def _time(function) -> float:
    """Median time of calls in milliseconds, after one that does not count."""
    function()
    times = []
    for _ in range(NUM_TIMINGS):
        start = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
