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
"""PIL image processor class for GreenMIM."""

from typing import Any

import numpy as np
import PIL.Image
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    ImageInput,
    PILImageResampling,
    SizeDict,
)
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import TensorType

from .image_conversion_greenmim import (
    check_settings,
    check_spelling,
    flatten_images,
    sample_image_masks,
    to_channels_first_array,
    validate_channels,
    warn_of_scaled_images,
)


class GreenMimImageProcessorKwargs(ImagesKwargs, total=False):
    r"""
    do_mask (`bool`, *optional*, defaults to `self.do_mask`):
        Whether to draw a mask for every image and return the masks as `bool_masked_pos`.
    mask_ratio (`float`, *optional*, defaults to `self.mask_ratio`):
        Fraction of the mask units to hide, in the open interval (0, 1).
    mask_sampler (`str`, *optional*, defaults to `self.mask_sampler`):
        `"random"` hides units uniformly, `"block"` hides rectangles of them as in BEiT, `"uniform"` shows one of every
        2 x 2.
    mask_unit_size (`int`, *optional*, defaults to `self.mask_unit_size`):
        Height and width of a mask unit in pixels. It must match the model: 32 for a Swin of four stages.
    mask_seed (`int`, *optional*, defaults to `self.mask_seed`):
        Seed of the masks: each call with the same seed returns the same masks, in both backends. Without a seed, each
        call draws different masks.
    mask_per_sample (`bool`, *optional*, defaults to `self.mask_per_sample`):
        Whether every image gets its own mask, or all images of a call share one.
    secondary_mask_ratio (`float`, *optional*, defaults to `self.secondary_mask_ratio`):
        Fraction of the visible units that are also returned as `secondary_masked_pos`, for models with
        `config.secondary_mask_ratio`. With 0, none are returned.
    """

    do_mask: bool | None
    mask_ratio: float | None
    mask_sampler: str | None
    mask_unit_size: int | None
    mask_seed: int | None
    mask_per_sample: bool | None
    secondary_mask_ratio: float | None


class GreenMimImageProcessorPil(PilBackend):
    r"""
    Image processor for GreenMIM that needs only PIL and NumPy. Its pixels differ slightly from those of the
    torchvision backend, because the two libraries resize differently; the masks are the same.

    Args:
        do_resize (`bool`, *optional*, defaults to `True`):
            Whether to resize the image to `size`.
        size (`dict[str, int]`, *optional*, defaults to `{"height": 224, "width": 224}`):
            Size after resizing, or `{"shortest_edge": int}` to keep the aspect ratio.
        resample (`PILImageResampling`, *optional*, defaults to `PILImageResampling.BICUBIC`):
            Filter to resize with.
        do_center_crop (`bool`, *optional*, defaults to `False`):
            Whether to crop the center of the resized image.
        crop_size (`dict[str, int]`, *optional*, defaults to `{"height": 224, "width": 224}`):
            Size of the crop.
        do_rescale (`bool`, *optional*, defaults to `True`):
            Whether to multiply the values by `rescale_factor`.
        rescale_factor (`float`, *optional*, defaults to `1/255`):
            Factor of the rescaling. With `do_convert_rgb=False`, it must fit the image, such as `1/65535` for 16-bit
            images.
        do_normalize (`bool`, *optional*, defaults to `True`):
            Whether to subtract `image_mean` and divide by `image_std`.
        image_mean (`float` or `list[float]`, *optional*, defaults to `IMAGENET_DEFAULT_MEAN`):
            Mean of the rescaled values: one per channel, or one for all.
        image_std (`float` or `list[float]`, *optional*, defaults to `IMAGENET_DEFAULT_STD`):
            Standard deviation of the rescaled values: one per channel, or one for all.
        do_convert_rgb (`bool`, *optional*, defaults to `True`):
            Whether to convert to RGB: transparency is composited onto white, 16-bit integers are scaled to 8 bits,
            float arrays keep their values. With `False`, images keep their channels (any number) and their values.
        kwargs:
            The mask settings `do_mask` (`False`), `mask_ratio` (0.75), `mask_sampler` (`"random"`), `mask_unit_size`
            (32), `mask_seed` (`None`), `mask_per_sample` (`True`) and `secondary_mask_ratio` (0.0), see
            [`GreenMimImageProcessorKwargs`].

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_greenmim.image_processing_pil_greenmim import GreenMimImageProcessorPil

    >>> image = np.random.default_rng(0).integers(256, size=(300, 400, 3), dtype=np.uint8)
    >>> image_processor = GreenMimImageProcessorPil(do_mask=True, mask_seed=0)
    >>> inputs = image_processor(image, return_tensors="np")
    >>> inputs["pixel_values"].shape, inputs["bool_masked_pos"].shape
    ((1, 3, 224, 224), (1, 49))
    ```"""

    valid_kwargs = GreenMimImageProcessorKwargs
    model_input_names = ["pixel_values", "bool_masked_pos", "secondary_masked_pos"]

    resample = PILImageResampling.BICUBIC
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"height": 224, "width": 224}
    crop_size = {"height": 224, "width": 224}
    do_resize = True
    do_center_crop = False
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    # a saved processor also serves classification, where a mask would silently hide most of the image
    do_mask = False
    mask_ratio = 0.75
    mask_sampler = "random"
    mask_unit_size = 32
    mask_seed = None
    mask_per_sample = True
    secondary_mask_ratio = 0.0

    def __init__(self, **kwargs: Unpack[GreenMimImageProcessorKwargs]):
        check_spelling(kwargs, self.valid_kwargs.__annotations__)
        super().__init__(**kwargs)

    def _standardize_kwargs(self, **kwargs) -> dict:
        """Also check the settings: those of a new processor, and those of each call."""
        check_settings(kwargs)
        return super()._standardize_kwargs(**kwargs)

    def preprocess(self, images: ImageInput, **kwargs: Unpack[GreenMimImageProcessorKwargs]) -> BatchFeature:
        r"""
        Prepare an image or a batch of images for the model.

        Args:
            images (`ImageInput`):
                One image, a batch or a list of images: PIL images, NumPy arrays or torch tensors, channels first or
                last, of mixed sizes. Paths and URLs are read as 8-bit RGB.
            kwargs:
                Any setting of the processor, for this call. Also `input_data_format` (`"channels_first"` or
                `"channels_last"`) for arrays whose shape is ambiguous, and `return_tensors` (`"pt"`, `"np"` or none
                for lists).

        Returns:
            [`BatchFeature`] with `pixel_values` and, if `do_mask`, `bool_masked_pos` of shape
            `(batch_size, num_units)`, and with `secondary_mask_ratio` also `secondary_masked_pos` of the same shape.

        Raises:
            `TypeError`: if `images` holds anything but images.
            `ValueError`: if an image cannot be read or converted without guessing, if `image_mean` or `image_std` do
            not fit the channels, or, with `do_mask`, if the processed images differ in size or do not consist of whole
            mask units.
        """
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list:
        return self.fetch_images(flatten_images(images))

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        **kwargs: Unpack[ImagesKwargs],
    ) -> np.ndarray:
        """Convert an image to a channels-first array of `uint8` or `float32`."""
        return to_channels_first_array(image, do_convert_rgb, input_data_format)

    def resize(
        self,
        image: np.ndarray,
        size: SizeDict,
        resample: PILImageResampling | None = None,
        reducing_gap: int | None = None,
        **kwargs,
    ) -> np.ndarray:
        """Resize `uint8` images as transformers does, and other images channel by channel, with their own values."""
        # not with 4 channels: PIL would treat the last one as alpha and weight the others by it
        if image.dtype == np.uint8 and image.shape[0] in (1, 3):
            return super().resize(image, size, resample, reducing_gap, **kwargs)
        # an empty image determines the new size
        empty = np.zeros((1, *image.shape[-2:]), dtype=np.uint8)
        height, width = super().resize(empty, size, PILImageResampling.NEAREST).shape[-2:]
        channels = [
            PIL.Image.fromarray(channel).resize((width, height), resample, None, reducing_gap) for channel in image
        ]
        return np.stack([np.array(channel) for channel in channels])

    def _preprocess(
        self,
        images: list[np.ndarray],
        do_normalize: bool,
        image_mean: float | list[float] | None,
        image_std: float | list[float] | None,
        do_mask: bool,
        mask_ratio: float,
        mask_sampler: str,
        mask_unit_size: int,
        mask_seed: int | None,
        mask_per_sample: bool,
        secondary_mask_ratio: float,
        return_tensors: str | TensorType | None,
        **kwargs,
    ) -> BatchFeature:
        validate_channels(images, do_normalize, image_mean, image_std)
        warn_of_scaled_images(images, kwargs.get("do_rescale"), kwargs.get("rescale_factor"))
        data = super()._preprocess(
            images,
            do_normalize=do_normalize,
            image_mean=image_mean,
            image_std=image_std,
            return_tensors=None,
            **kwargs,
        )
        if do_mask:
            masks = sample_image_masks(
                data["pixel_values"],
                mask_ratio,
                mask_sampler,
                mask_unit_size,
                mask_seed,
                mask_per_sample,
                secondary_mask_ratio,
            )
            data.update({name: list(values) for name, values in masks.items()})
        return data.convert_to_tensors(return_tensors)


__all__ = ["GreenMimImageProcessorKwargs", "GreenMimImageProcessorPil"]
