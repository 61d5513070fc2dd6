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
"""Image decoding and cropping: upright, with the model's channels."""

import io
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from torchvision.transforms import v2

from ..image_conversion_greenmim import to_channels_first_array, turn_upright
from .errors import describe_error, make_printable
from .image_files import EncodedImage


MAX_PIXELS = 50_000_000  # 0.75 GB during decoding
MODES_WITH_COLORS = ("RGB", "RGBA", "P", "LA", "CMYK", "YCbCr")


def read_image(content: bytes, num_channels: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Reads an image, or an array saved by NumPy, upright. Returns `uint8` or `float32` of shape `(num_channels, height,
    width)`. With 3 channels, images of any kind become RGB; with 1, they become gray. Raises exceptions of any type.
    """
    if not content:
        raise ValueError("it is empty")
    if content.startswith(b"\x93NUMPY"):
        pixels = to_channels_first_array(np.load(io.BytesIO(content), allow_pickle=False), num_channels == 3)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damage, which is reported if it matters
            with PIL.Image.open(io.BytesIO(content)) as image:
                if image.format == "EPS":
                    raise ValueError("it is an EPS file, a program that Ghostscript would run")
                width, height = image.size
                if width * height > max_pixels:
                    raise ValueError(f"it has {width} x {height} pixels, more than --max_pixels {max_pixels}")
                if num_channels == 1 and image.mode in MODES_WITH_COLORS:
                    image = turn_upright(image).convert("L")
                pixels = to_channels_first_array(image, do_convert_rgb=num_channels == 3)
    if len(pixels) != num_channels:
        raise ValueError(f"it has {len(pixels)} channels, but the model takes {num_channels}")
    return pixels


@dataclass
class RandomCrop:
    """
    Crops a random part of an image, resizes it, and flips it half of the time, like torchvision's `RandomResizedCrop`
    and `RandomHorizontalFlip`. These draw from torch's random state, and seeding it takes longer than cropping.
    """

    image_size: tuple[int, int]  # height and width
    min_scale: float = 0.2  # smallest fraction of the area
    flip: bool = True

    def __call__(self, pixels: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        rng = np.random.default_rng(seed)
        _, height, width = pixels.shape
        area = rng.uniform(self.min_scale, 1.0) * height * width
        aspect_ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        crop_height = min(height, max(1, round(np.sqrt(area / aspect_ratio))))
        crop_width = min(width, max(1, round(np.sqrt(area * aspect_ratio))))
        top, left = rng.integers(height - crop_height + 1), rng.integers(width - crop_width + 1)
        cropped = crop_and_resize(pixels, (top, left, crop_height, crop_width), self.image_size)
        return cropped[:, :, ::-1] if self.flip and rng.random() < 0.5 else cropped


@dataclass
class CenterCrop:
    """Crops the largest centered part with the aspect ratio of `image_size`, and resizes it. Nothing is random."""

    image_size: tuple[int, int]

    def __call__(self, pixels: np.ndarray, seed: Sequence[int] = ()) -> np.ndarray:
        sides = pixels.shape[1:]
        scale = min(side / size for side, size in zip(sides, self.image_size))
        crop = [max(1, round(scale * size)) for size in self.image_size]
        corner = [(side - part) // 2 for side, part in zip(sides, crop)]
        return crop_and_resize(pixels, (*corner, *crop), self.image_size)


def crop_and_resize(pixels: np.ndarray, box: Sequence[int], image_size: tuple[int, int]) -> np.ndarray:
    """Resizes the part of an image in `box`: top, left, height and width."""
    bicubic = v2.InterpolationMode.BICUBIC
    return v2.functional.resized_crop(torch.from_numpy(pixels), *box, list(image_size), bicubic).numpy()


@dataclass
class ExampleMaker:
    """Makes crops of encoded images. A crop depends only on the seed, the epoch and the image content."""

    crop: RandomCrop | CenterCrop
    num_channels: int
    seed: int
    max_pixels: int = MAX_PIXELS
    held_out: frozenset[int] = frozenset()  # CRC-32 of the contents of held-out images

    def __call__(self, image: EncodedImage, epoch: int) -> dict:
        """
        Returns `pixels`, of shape `(num_channels, height, width)`, or `None` if the image cannot be read or is held
        out; `mask_seed`; `epoch`; and `unreadable`, with name and reason if the image cannot be read.
        """
        example = {"pixels": None, "mask_seed": None, "epoch": epoch, "unreadable": {}}
        try:
            content = image.read()
            checksum = zlib.crc32(content)
            if checksum not in self.held_out:
                seed = (self.seed, epoch, checksum)
                pixels = self.crop(read_image(content, self.num_channels, self.max_pixels), (*seed, 0))
                example |= {"pixels": pixels, "mask_seed": (*seed, 1)}
        except Exception as error:  # decoders raise exceptions of any type on damaged images
            example["unreadable"] = {make_printable(image.name): describe_error(error)}
        return example
