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
"""Shared steps of both image processors: images to channels-first NumPy arrays, and masks of a processed batch.

The processors of transformers accept arrays of 1, 3 or 4 channels. Masked pre-training also uses multispectral,
16-bit and float images, so this module converts images for both backends: to `uint8`, or to `float32` with the
image's own range of values.
"""

import re
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import PIL.Image
from transformers.image_utils import ChannelDimension, SizeDict, is_pil_image, is_valid_image
from transformers.utils import is_torch_tensor

from .masking_greenmim import MASK_SAMPLERS, get_unit_grid, sample_masks, sample_secondary_masks
from .validation_greenmim import (
    check_choice,
    check_count,
    check_flag,
    check_height_and_width,
    check_number,
    find_meant_name,
)


EXIF_ORIENTATION = 274
TRANSPOSITIONS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


def flatten_images(images: Any) -> list:
    """
    Flatten one image, a batch or any nesting of lists of them into one list. Arrays with two dimensions are grayscale
    images, arrays with four are batches, strings (paths, URLs) are kept.

    Raises:
        `TypeError`: if an entry is not an image.
        `ValueError`: if there is no image at all, or a string names none.
    """
    if isinstance(images, (list, tuple)):
        flat_images = [image for entry in images for image in flatten_images(entry)]
    elif isinstance(images, str):
        # no path, and nothing that base64 could decode to an image
        if not re.search("[A-Za-z0-9]", images):
            raise ValueError(f"`images` must be paths or URLs of images where they are strings, got {images!r}.")
        flat_images = [images]
    elif not is_valid_image(images):
        raise TypeError(
            f"`images` must be PIL images, NumPy arrays or torch tensors, or lists of them, got {type(images)}."
        )
    else:
        flat_images = list(images) if getattr(images, "ndim", None) == 4 else [images]
    if not flat_images:
        raise ValueError("`images` must contain at least one image, got an empty list.")
    return flat_images


def infer_channel_dimension(shape: tuple[int, int, int]) -> ChannelDimension:
    """
    Infer whether the channels are the first or the last axis. As in transformers, an axis of length 1, 3 or 4 holds
    the channels; any other number of channels must be smaller than the height and the width.

    Args:
        shape (`tuple[int, int, int]`):
            Shape of the image.

    Raises:
        `ValueError`: if the shape can be read both ways.

    Example:

    ```python
    >>> from modeling_greenmim.image_conversion_greenmim import infer_channel_dimension

    >>> infer_channel_dimension((64, 48, 13)).value
    'channels_last'
    ```"""
    first, middle, last = shape
    first_is_common, last_is_common = first in (1, 3, 4), last in (1, 3, 4)
    if first_is_common != last_is_common:
        return ChannelDimension.FIRST if first_is_common else ChannelDimension.LAST
    if first < min(middle, last):
        return ChannelDimension.FIRST
    if last < min(first, middle):
        return ChannelDimension.LAST
    raise ValueError(
        f"Cannot infer the channel axis because the image shape {tuple(shape)} is ambiguous. Pass "
        '`input_data_format="channels_first"` or `input_data_format="channels_last"`.'
    )


def turn_upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """
    Rotate or flip an image as its EXIF orientation specifies. Unlike `PIL.ImageOps.exif_transpose`, this reads only
    that tag, so damage elsewhere in the EXIF data does not matter.

    Args:
        image (`PIL.Image.Image`):
            The image.

    Returns:
        `PIL.Image.Image`: the upright image, without its metadata if it was turned.
    """
    image.load()  # this already turns TIFF images
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # damaged data raises errors of many types
        return image
    # a damaged value may be of any type
    if not isinstance(orientation, int) or orientation not in TRANSPOSITIONS:
        return image
    image = image.transpose(TRANSPOSITIONS[orientation])
    image.info = {name: value for name, value in image.info.items() if name == "transparency"}
    return image


def _pil_to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _to_8_bit(image: np.ndarray, name: str) -> np.ndarray:
    """Convert integers of any type to `uint8`. 16-bit values are scaled, so that white stays white."""
    if image.dtype == np.uint8:
        return image
    lowest, highest = image.min(), image.max()
    if lowest < 0 or highest > 65535:
        raise ValueError(
            f"Cannot convert {name} with values from {lowest} to {highest} to RGB because its white is unknown. Pass "
            "`do_convert_rgb=False` and a `rescale_factor` that fits the values."
        )
    if highest > 255 or image.dtype.type is np.uint16:
        image = np.round(image / 257)  # 65535 = 255 * 257
    return image.astype(np.uint8)


def _array_to_rgb(image: np.ndarray, name: str) -> np.ndarray:
    num_channels = image.shape[0]
    if num_channels not in (1, 3, 4):
        raise ValueError(
            f"Cannot convert {name} with {num_channels} channels to RGB because RGB needs 1 (gray), 3 (RGB) or 4 "
            "(RGBA) channels. Pass `do_convert_rgb=False` to keep all channels, with one `image_mean` and "
            "`image_std` per channel."
        )
    if image.dtype.kind != "f":
        image = _to_8_bit(image, name)
    if num_channels == 1:
        return np.repeat(image, 3, axis=0)
    if num_channels == 3:
        return image
    if image.dtype == np.uint8:
        return np.moveaxis(np.array(_pil_to_rgb(PIL.Image.fromarray(np.moveaxis(image, 0, -1)))), -1, 0)
    if image.min() < 0.0 or image.max() > 1.0:
        raise ValueError(
            f"Cannot convert {name} with 4 channels to RGB because RGBA values must lie in [0, 1], got values in "
            f"[{image.min()}, {image.max()}]. Pass `do_convert_rgb=False` if the image is not RGBA."
        )
    return image[:3] * image[3:] + (1.0 - image[3:])


def to_channels_first_array(
    image: Any,
    do_convert_rgb: bool | None = None,
    input_data_format: str | ChannelDimension | None = None,
) -> np.ndarray:
    """
    Convert an image to a NumPy array of shape `(num_channels, height, width)`.

    Args:
        image (`PIL.Image.Image`, `np.ndarray` or `torch.Tensor`):
            The image. PIL images are turned upright as their EXIF orientation specifies.
        do_convert_rgb (`bool`, *optional*):
            Whether to convert to RGB. Transparency is composited onto white, integers become 8-bit (16-bit values are
            scaled), float arrays keep their values.
        input_data_format (`str` or `ChannelDimension`, *optional*):
            Position of the channels in an array. By default, it is inferred from the shape.

    Returns:
        `np.ndarray` of `uint8`, or of `float32` and the image's own range of values.

    Raises:
        `ValueError`: if the array is not an image or holds NaN or infinity, if its layout is ambiguous, or if it
        cannot be converted to RGB without guessing.

    Example:

    ```python
    >>> import PIL.Image
    >>> from modeling_greenmim.image_conversion_greenmim import to_channels_first_array

    >>> image = PIL.Image.new("I;16", (4, 2), 65535)
    >>> to_channels_first_array(image).max(), to_channels_first_array(image, do_convert_rgb=True).shape
    (np.float32(65535.0), (3, 2, 4))
    ```"""
    if is_pil_image(image):
        name = f"a PIL image of mode {image.mode!r}"
        if do_convert_rgb and image.mode == "F":
            raise ValueError(
                f"Cannot convert {name} to RGB because its white is unknown. Pass `do_convert_rgb=False` and a "
                "`rescale_factor` that fits the values."
            )
        if not do_convert_rgb and image.mode in ("P", "PA"):
            raise ValueError(
                f"Cannot use the values of {name} because they are indices, not colors. Pass `do_convert_rgb=True`."
            )
        image = turn_upright(image)
        # PIL would clip modes of more than 8 bits, so these are converted as arrays
        if do_convert_rgb and not image.mode.startswith("I"):
            image = _pil_to_rgb(image)
        image = np.array(image)
        input_data_format = ChannelDimension.LAST
    else:
        if is_torch_tensor(image):
            image = image.detach().cpu()
            image = (image.float() if image.is_floating_point() else image).numpy()  # NumPy has no bfloat16
        name = f"an array of type {image.dtype}"

    if image.ndim not in (2, 3) or image.size == 0 or image.dtype.kind not in "biuf":
        raise ValueError(f"An image must contain numbers in 2 or 3 dimensions, got {name} and shape {image.shape}.")
    if image.ndim == 2:
        image = image[None]
    elif ChannelDimension(input_data_format or infer_channel_dimension(image.shape)) == ChannelDimension.LAST:
        image = np.moveaxis(image, -1, 0)

    if image.dtype == bool:
        image = image.astype(np.uint8) * 255  # as PIL does for its mode "1"
    if do_convert_rgb:
        image = _array_to_rgb(image, name)
    if image.dtype != np.uint8:
        image = image.astype(np.float32)
        if not np.isfinite(image).all():
            raise ValueError(
                f"An image must contain finite float32 values, got {name} with NaN, infinity or larger values. "
                "Replace them."
            )
    return image


def check_spelling(names: Collection[str], known: Collection[str]):
    """
    Raise a `ValueError` if an unknown setting of a processor resembles a known one, or is the end of its name.
    transformers turns any keyword into an attribute, so a misspelled one would have no effect.
    """
    for name in names:
        if name in known:
            continue
        match = find_meant_name(name, known) or next((other for other in known if other.endswith(f"_{name}")), None)
        if match:
            raise ValueError(f"Unknown setting `{name}`. Did you mean `{match}`?")


def check_settings(settings: dict):
    """Raise a `ValueError` if a setting of a processor, or of one call, is invalid. `None` means the default."""
    for name, value in settings.items():
        if value is None:
            continue
        if name == "mask_ratio":
            check_number(name, value, above=0, below=1)
        elif name == "secondary_mask_ratio":
            check_number(name, value, at_least=0, below=1)
        elif name == "mask_sampler":
            check_choice(name, value, MASK_SAMPLERS)
        elif name == "mask_unit_size":
            check_count(name, value)
        elif name == "mask_seed":
            check_count(name, value, at_least=0)
        elif name.startswith("do_") or name == "mask_per_sample":
            check_flag(name, value)
        elif name == "rescale_factor":
            check_number(name, value, above=0)
        elif name in ("image_mean", "image_std"):
            limit = None if name == "image_mean" else 0
            for number in value if isinstance(value, (list, tuple)) else [value]:
                check_number(name, number, above=limit)
        elif name in ("size", "crop_size"):
            if isinstance(value, (list, tuple)):
                check_height_and_width(name, value, "pixels")
            else:
                lengths = dict(value).values() if isinstance(value, (dict, SizeDict)) else [value]
                for length in lengths:
                    if length is not None:
                        check_count(name, length)


def warn_of_scaled_images(images: list, do_rescale: bool | None, rescale_factor: float | None):
    """Warn if rescaling would make images with values from 0 to 1 nearly black."""
    if not do_rescale or rescale_factor is None or rescale_factor > 0.5:
        return
    if any("float" in str(image.dtype) and image.min() >= 0 and 0 < image.max() <= 1 for image in images):
        warnings.warn(
            f"Float images with values from 0 to 1 are multiplied by `rescale_factor={rescale_factor:.3g}`, which "
            "makes them nearly black. Pass `do_rescale=False`.",
            stacklevel=2,
        )


def validate_channels(
    images: list,
    do_normalize: bool | None,
    image_mean: float | Collection[float] | None,
    image_std: float | Collection[float] | None,
) -> None:
    """
    Check that channels-first images have the same number of channels, and that the normalization statistics fit it.

    Raises:
        `ValueError`: if the numbers of channels differ, or if there is not one value per channel.
    """
    num_channels = sorted({image.shape[0] for image in images})
    if len(num_channels) > 1:
        raise ValueError(
            f"The images of a batch must have the same number of channels, got {num_channels}. Process them "
            "separately, or pass `do_convert_rgb=True`."
        )
    if not do_normalize:
        return
    for name, values in (("image_mean", image_mean), ("image_std", image_std)):
        if isinstance(values, Collection) and len(values) != num_channels[0]:
            raise ValueError(
                f"`{name}` must have one value for each of the {num_channels[0]} channels, got {len(values)} values. "
                "Pass one value per channel, one float for all, or `do_normalize=False`."
            )


def sample_image_masks(
    images: list,
    mask_ratio: float,
    mask_sampler: str,
    mask_unit_size: int,
    mask_seed: int | None,
    mask_per_sample: bool,
    secondary_mask_ratio: float,
) -> dict[str, np.ndarray]:
    """
    Draw masks for processed images, see [`sample_masks`] and [`sample_secondary_masks`].

    Args:
        images (`list`):
            Channels-first images.
        mask_ratio, mask_sampler, mask_unit_size, mask_seed, mask_per_sample, secondary_mask_ratio:
            See [`GreenMimImageProcessorKwargs`].

    Returns:
        `dict[str, np.ndarray]`: `bool_masked_pos` and, if `secondary_mask_ratio` is not 0, `secondary_masked_pos`, of
        `bool` and shape `(batch_size, num_units)`.

    Raises:
        `ValueError`: if the images differ in size, or do not consist of whole mask units.
    """
    sizes = sorted({tuple(image.shape[-2:]) for image in images})
    if len(sizes) > 1:
        raise ValueError(
            f"Images must have the same size to draw masks, got the sizes {sizes} (height, width) after processing. "
            'Use `size={"height": ..., "width": ...}`, or `do_center_crop=True`.'
        )
    grid_size = get_unit_grid(sizes[0], mask_unit_size)
    num_repeats = 1 if mask_per_sample else len(images)
    masks = sample_masks(len(images) // num_repeats, grid_size, mask_ratio, mask_sampler, mask_seed)
    draws = {"bool_masked_pos": masks}
    if secondary_mask_ratio != 0:
        draws["secondary_masked_pos"] = sample_secondary_masks(masks, secondary_mask_ratio, mask_seed)
    return {name: np.repeat(values, num_repeats, axis=0) for name, values in draws.items()}


__all__ = [
    "check_settings",
    "check_spelling",
    "flatten_images",
    "infer_channel_dimension",
    "sample_image_masks",
    "to_channels_first_array",
    "validate_channels",
    "warn_of_scaled_images",
]
