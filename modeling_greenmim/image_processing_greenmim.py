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
"""Torchvision image processor class for GreenMIM."""

from typing import Any

import torch
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    ImageInput,
    PILImageResampling,
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
from .image_processing_pil_greenmim import GreenMimImageProcessorKwargs


class GreenMimImageProcessor(TorchvisionBackend):
    r"""
    Image processor for GreenMIM that works on torch tensors with torchvision, on a GPU with `device="cuda"`.
    Settings, inputs and masks are the same as in [`GreenMimImageProcessorPil`].

    Args:
        kwargs ([`GreenMimImageProcessorKwargs`], *optional*):
            The settings, see [`GreenMimImageProcessorPil`].

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim.image_processing_greenmim import GreenMimImageProcessor

    >>> image = torch.rand(13, 300, 400)
    >>> settings = {"do_convert_rgb": False, "do_rescale": False, "image_mean": 0.5, "image_std": 0.25}
    >>> image_processor = GreenMimImageProcessor(do_mask=True, mask_seed=0, **settings)
    >>> inputs = image_processor(image, return_tensors="pt")
    >>> inputs["pixel_values"].shape, inputs["bool_masked_pos"].shape
    (torch.Size([1, 13, 224, 224]), torch.Size([1, 49]))
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
        Prepare an image or a batch of images for the model. Arguments, result and errors are the same as in
        [`GreenMimImageProcessorPil.preprocess`].

        Args:
            images (`ImageInput`):
                One image, a batch or a list of images.
            kwargs ([`GreenMimImageProcessorKwargs`], *optional*):
                Any setting of the processor, for this call.

        Returns:
            [`BatchFeature`] with `pixel_values` and, if `do_mask`, `bool_masked_pos` of shape
            `(batch_size, num_units)`, and with `secondary_mask_ratio` also `secondary_masked_pos` of the same shape.
        """
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list:
        return self.fetch_images(flatten_images(images))

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        device: "str | torch.device | None" = None,
        **kwargs: Unpack[ImagesKwargs],
    ) -> torch.Tensor:
        """Convert an image to a channels-first tensor of `uint8` or `float32`."""
        if device is None and isinstance(image, torch.Tensor):
            device = image.device
        # the copy makes the array contiguous and writable, as `from_numpy` requires
        return torch.from_numpy(to_channels_first_array(image, do_convert_rgb, input_data_format).copy()).to(device)

    def _preprocess(
        self,
        images: list[torch.Tensor],
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
            device = images[0].device
            data.update({name: list(torch.from_numpy(values).to(device)) for name, values in masks.items()})
        return data.convert_to_tensors(return_tensors)


__all__ = ["GreenMimImageProcessor"]
