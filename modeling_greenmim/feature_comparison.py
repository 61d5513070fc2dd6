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
"""Compare a GreenMIM model with its counterpart in another library, on the same image, stage by stage."""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_grid_size, get_stage_grids


TOLERANCE = 1e-4


ModuleType = TypeVar("ModuleType", bound=torch.nn.Module)


def get_comparable_size(config: GreenMimConfig) -> tuple[int, int]:
    """The image size of the model, or, where a stage's grid is smaller than the window, one that has no such stage."""
    grid = get_grid_size(config.image_height_and_width, config.patch_size)
    if min(get_stage_grids(grid, config.num_layers)[-1]) >= config.window_size:
        return config.image_height_and_width
    return (config.window_size * config.mask_unit_size,) * 2


def set_layer_norm_eps(model: ModuleType, eps: float) -> ModuleType:
    """Copy of a model with a different epsilon in all its norms."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = eps
    return model


def make_test_images(config: GreenMimConfig, image_size: tuple[int, int]) -> torch.Tensor:
    """Two images of noise on a gradient, `(2, num_channels, height, width)`, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, config.num_channels, *image_size, generator=generator)
    return 0.5 * noise + torch.linspace(-1, 1, image_size[1])


def compare_features(
    get_features: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    get_expected: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    pixel_values: torch.Tensor,
) -> dict[str, float]:
    """
    Largest difference of each feature, relative to its largest expected value where that is above 1.

    Args:
        get_features (`Callable`):
            Returns the features of images by name.
        get_expected (`Callable`):
            Returns the expected features by the same names.
        pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
            The images.

    Returns:
        `dict[str, float]`: differences by name.

    Raises:
        `ValueError`: if features differ in number or shape.
    """
    with torch.no_grad():
        actual, expected = get_features(pixel_values), get_expected(pixel_values)
    shapes = [{name: tuple(tensor.shape) for name, tensor in features.items()} for features in (actual, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"The converted model must return features of the shapes {shapes[1]}, got {shapes[0]}.")
    return {
        name: ((actual[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1.0)).item()
        for name, tensor in expected.items()
    }


def check_differences(differences: dict[str, float]):
    """Raises a `ValueError` that lists all differences if one is above [`TOLERANCE`], or is not a number."""
    if all(difference <= TOLERANCE for difference in differences.values()):
        return
    listed = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    raise ValueError(f"The converted model's features differ by more than {TOLERANCE:g}: {listed}.")


def describe_differences(differences: dict[str, float], reference: str) -> str:
    """One sentence on the differences of a model from its reference, for a card."""
    return (
        f"The features of two test images, compared with those of {reference}, in float32: largest difference "
        f"{max(differences.values()):.1e} (relative to the largest value, where that is above 1)."
    )


__all__ = [
    "check_differences",
    "compare_features",
    "describe_differences",
    "get_comparable_size",
    "make_test_images",
    "set_layer_norm_eps",
]
