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
"""Checks of model inputs. They read values only on the CPU, to avoid device synchronization."""

import warnings
from typing import Any

import torch
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .validation_greenmim import check_keywords, describe


# the arguments of all models, and those that frameworks pass to any model
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
    """Raise a `ValueError` unless `config` is a [`GreenMimConfig`], from this package or a model repository."""
    if not hasattr(config, "get_architecture"):
        raise ValueError(
            f"`config` must be a `GreenMimConfig`, got {type(config).__name__}. Convert a Swin Transformer with "
            "`modeling_greenmim.convert_swin_to_greenmim`."
        )


def check_architecture(architecture: dict, config: GreenMimConfig):
    """
    Raise a `ValueError` if a configuration no longer has the architecture that its model was built with: the change
    would have no effect, or a wrong one. `architecture` comes from [`GreenMimConfig.get_architecture`].
    """
    if architecture == (current := config.get_architecture()):
        return
    name = next(name for name in {**architecture, **current} if architecture.get(name) != current.get(name))
    field = name.removeprefix("_")
    raise ValueError(
        f"`config.{field}` must stay {architecture.get(name)!r}, the value that the model was built with, got "
        f"{current.get(name)!r}. Restore it. For a model with the new value, pass `{field}` to `from_pretrained` or "
        "to a new configuration."
    )


def check_inputs(pixel_values: torch.Tensor, config: GreenMimConfig, keywords: dict):
    """Raise a `ValueError` if the pixel values do not fit the model, or a keyword is unknown."""
    check_keywords(keywords, KEYWORDS, "The model")
    if not isinstance(pixel_values, torch.Tensor) or not pixel_values.is_floating_point():
        raise ValueError(
            f"`pixel_values` must be a floating-point tensor, got {describe(pixel_values)}. Rescale and normalize "
            "images with the model's image processor and `return_tensors='pt'`."
        )
    shape = tuple(pixel_values.shape)
    if len(shape) != 4 or 0 in shape:
        raise ValueError(
            "`pixel_values` must have the shape (batch_size, num_channels, height, width), with no dimension of 0, "
            f"got {shape}."
        )
    if shape[1] != config.num_channels:
        raise ValueError(
            f"`pixel_values` must have {config.num_channels} channels (`config.num_channels`), got {shape[1]}."
        )


def warn_of_raw_pixels(pixel_values: torch.Tensor):
    """
    Warn, on the CPU, if the pixels for pre-training were not normalized. The loss does not reveal this if it
    normalizes the pixels of each cell.
    """
    can_read = pixel_values.device.type == "cpu" and not torch.compiler.is_compiling()
    if can_read and (largest := pixel_values.detach().amax()) > LARGEST_NORMALIZED_VALUE:
        warnings.warn(
            f"`pixel_values` reach {largest:.3g}, which suggests that they are not normalized. Rescale and normalize "
            "images with the model's image processor.",
            stacklevel=2,
        )


def check_no_mask(keywords: dict, purpose: str):
    """Raise a `ValueError` if a model that always sees full images is given a mask."""
    for name in ("bool_masked_pos", "plan", "secondary_masked_pos"):
        if keywords.get(name) is not None:
            raise ValueError(
                f"Cannot pass `{name}` to {purpose} because it sees full images. Omit it; if it comes from the image "
                "processor, load the processor with `AutoImageProcessor.from_pretrained(..., do_mask=False)`."
            )


__all__ = ["check_architecture", "check_config", "check_inputs", "check_no_mask", "warn_of_raw_pixels"]
