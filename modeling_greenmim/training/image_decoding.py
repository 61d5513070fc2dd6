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
"""How images are decoded and cropped: upright, in the channels of the model."""

import io
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from transformers.utils import is_torchvision_available

from ..image_conversion_greenmim import to_channels_first_array, turn_upright
from .image_files import EncodedImage, describe_error


MAX_PIXELS = 50_000_000  # 0.75 GB while it is decoded
GRAY_FROM_MODES = ("RGB", "RGBA", "P", "LA", "CMYK", "YCbCr")


def read_image(content: bytes, num_channels: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """
    Reads an image, or an array saved by NumPy, upright.

    Args:
        content (`bytes`):
            Content of the file.
        num_channels (`int`):
            Channels of the model. For 3, images of any kind become RGB; for 1, they become gray.
        max_pixels (`int`, *optional*, defaults to 50 million):
            Height times width that is still decoded.

    Returns:
        `np.ndarray` of `uint8` or `float32` and shape `(num_channels, height, width)`.

    Raises:
        `Exception`: of any type, if it is no such image. Decoders of damaged files raise what they like.
    """
    if not content:
        raise ValueError("there is no content")
    if content.startswith(b"\x93NUMPY"):
        pixels = to_channels_first_array(np.load(io.BytesIO(content), allow_pickle=False), num_channels == 3)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damage, which is reported if it matters
            with PIL.Image.open(io.BytesIO(content)) as image:
                if image.format == "EPS":
                    raise ValueError("it is EPS, a program that Ghostscript would run")
                if image.width * image.height > max_pixels:
                    raise ValueError(
                        f"it has {image.width} x {image.height} pixels, more than --max_pixels {max_pixels}"
                    )
                if num_channels == 1 and image.mode in GRAY_FROM_MODES:
                    image = turn_upright(image).convert("L")
                pixels = to_channels_first_array(image, do_convert_rgb=num_channels == 3)
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
            Smallest fraction of the area; the largest is all of it. The aspect ratio is between 3/4 and 4/3.
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
            # not `torch.manual_seed`, which also seeds the devices
            torch.default_generator.manual_seed(int(np.random.default_rng(seed).integers(2**63)))
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


@dataclass
class CenterCrop:
    """The largest part in the middle that has the aspect ratio of `image_size`, resized to it."""

    image_size: tuple[int, int]

    def __call__(self, pixels: np.ndarray, seed: Sequence[int] = ()) -> np.ndarray:
        _, height, width = pixels.shape
        scale = min(height / self.image_size[0], width / self.image_size[1])
        left, top = (width - scale * self.image_size[1]) / 2, (height - scale * self.image_size[0]) / 2
        return resize_box(pixels, (left, top, width - left, height - top), self.image_size)


def resize_box(pixels: np.ndarray, box: tuple[float, float, float, float], image_size: tuple[int, int]) -> np.ndarray:
    """Resizes a part (left, top, right, bottom) of `(num_channels, height, width)` to `(num_channels, *image_size)`."""
    # channel by channel: PIL has no images of any number of channels, and weighs four by the last
    channels = [
        PIL.Image.fromarray(channel).resize(image_size[::-1], PIL.Image.Resampling.BICUBIC, box=box)
        for channel in pixels
    ]
    return np.stack([np.asarray(channel) for channel in channels])


@dataclass
class ExampleMaker:
    """
    Makes crops of encoded images. A crop depends on the seed, the epoch and the content of the image only.

    Args:
        crop ([`RandomCrop`] or [`CenterCrop`]):
            Crops an image.
        num_channels (`int`):
            See [`read_image`].
        seed (`int`):
            Seed of crops and masks.
        max_pixels (`int`, *optional*, defaults to 50 million):
            See [`read_image`].
        held_out (`frozenset[int]`, *optional*):
            CRC-32 of the contents of images that are not trained on.
    """

    crop: RandomCrop | CenterCrop
    num_channels: int
    seed: int
    max_pixels: int = MAX_PIXELS
    held_out: frozenset[int] = frozenset()

    def __call__(self, image: EncodedImage, epoch: int) -> dict:
        """
        Returns `pixels`, of shape `(num_channels, height, width)`, or `None` if the image cannot be read or is held out;
        `mask_seed`, `epoch`, and `unreadable`: name and reason, if it cannot be read.
        """
        example = {"pixels": None, "mask_seed": None, "epoch": epoch, "unreadable": {}}
        try:
            content = image.read()
            checksum = zlib.crc32(content)
            if checksum not in self.held_out:
                seed = (self.seed, epoch, checksum)
                pixels = self.crop(read_image(content, self.num_channels, self.max_pixels), (*seed, 0))
                example |= {"pixels": pixels, "mask_seed": (*seed, 1)}
        except Exception as error:  # decoders of damaged images raise what they like
            example["unreadable"] = {image.name: describe_error(error)}
        return example
