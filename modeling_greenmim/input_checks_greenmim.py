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
"""Checks of what a model is called with. They read values on the CPU only, so that nothing waits for a device."""

import warnings
from typing import Any

import torch
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .validation_greenmim import check_keywords, describe


# what the forwards of all models take, and what frameworks pass to any model
KEYWORDS = frozenset(
    {
        *TransformersKwargs.__annotations__,
        "pixel_values",
        "bool_masked_pos",
        "secondary_masked_pos",
        "plan",
        "interpolate_pos_encoding",
        "teacher_features",
        "return_dict",
        "use_cache",
    }
)
# normalized pixels are within a few standard deviations; pixels from 0 to 255 are not
LARGEST_NORMALIZED_VALUE = 100.0


def check_config(config: Any):
    """Raises a `ValueError` if a configuration is no [`GreenMimConfig`], of this package or of a model repository."""
    if not hasattr(config, "get_architecture"):
        raise ValueError(
            f"`config` must be a `GreenMimConfig`, got {type(config).__name__}. Convert the weights of a Swin Transformer "
            "with `modeling_greenmim.convert_swin_to_greenmim`."
        )


def check_architecture(architecture: dict, config: GreenMimConfig):
    """
    Raises a `ValueError` if the architecture of a model, from [`GreenMimConfig.get_architecture`], is no longer that of its
    configuration: the change would have no effect, or a wrong one.
    """
    if architecture == (current := config.get_architecture()):
        return
    name = next(name for name in {**architecture, **current} if architecture.get(name) != current.get(name))
    field = name.removeprefix("_")
    raise ValueError(
        f"`config.{field}` must stay {architecture.get(name)!r}, with which the model was made, got {current.get(name)!r}. "
        f"Set it back, and pass `{field}` to `from_pretrained` or to a new configuration for a model with this value."
    )


def check_inputs(pixel_values: torch.Tensor, config: GreenMimConfig, keywords: dict):
    """Raises a `ValueError` if the pixel values of a forward do not fit the model, or a further keyword is unknown."""
    check_keywords(keywords, KEYWORDS, "The model")
    if not isinstance(pixel_values, torch.Tensor) or not pixel_values.is_floating_point():
        raise ValueError(
            f"`pixel_values` must be a tensor of floating-point numbers, got {describe(pixel_values)}. Rescale and "
            "normalize images with the image processor of the model, and pass `return_tensors='pt'`."
        )
    shape = tuple(pixel_values.shape)
    if len(shape) != 4 or 0 in shape:
        raise ValueError(
            "`pixel_values` must have the shape (batch_size, num_channels, height, width), with at least one image of "
            f"one pixel, got {shape}."
        )
    if shape[1] != config.num_channels:
        raise ValueError(
            f"`pixel_values` has {shape[1]} channels, but the model is configured for `num_channels={config.num_channels}`."
        )


def warn_of_raw_pixels(pixel_values: torch.Tensor):
    """
    Warns, on the CPU, of pixels for pre-training that were not normalized: the loss of pixels normalized by cell does not
    show it.
    """
    can_read = pixel_values.device.type == "cpu" and not torch.compiler.is_compiling()
    if can_read and (largest := pixel_values.detach().amax()) > LARGEST_NORMALIZED_VALUE:
        warnings.warn(
            f"`pixel_values` go up to {largest:.3g}, as if they were not normalized. Rescale and normalize images with the "
            "image processor of the model.",
            stacklevel=2,
        )


def check_no_mask(keywords: dict, purpose: str):
    """Raises a `ValueError` if a mask is among the keywords of a model that always sees full images."""
    for name in ("bool_masked_pos", "plan", "secondary_masked_pos"):
        if keywords.get(name) is not None:
            raise ValueError(
                f"`{name}` is not for {purpose}, which sees full images. Omit it; if it comes from the image processor, "
                "load that with `AutoImageProcessor.from_pretrained(..., do_mask=False)`."
            )


__all__ = ["check_architecture", "check_config", "check_inputs", "check_no_mask", "warn_of_raw_pixels"]
