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
"""Compare a GreenMIM model with its counterpart in a different library on the same images, stage by stage."""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_grid_size, get_stage_grids


TOLERANCE = 1e-4


ModuleType = TypeVar("ModuleType", bound=torch.nn.Module)


def get_comparable_size(config: GreenMimConfig) -> tuple[int, int]:
    """
    Image size of the model, or one whose last grid is as large as the window if the model's last grid is smaller.
    """
    grid = get_grid_size(config.image_height_and_width, config.patch_size)
    if min(get_stage_grids(grid, config.num_layers)[-1]) >= config.window_size:
        return config.image_height_and_width
    return (config.window_size * config.mask_unit_size,) * 2


def set_layer_norm_eps(model: ModuleType, eps: float) -> ModuleType:
    """Copy a model and set the epsilon of all its layer norms."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = eps
    return model


def make_test_images(config: GreenMimConfig, image_size: tuple[int, int]) -> torch.Tensor:
    """Create two images of noise on a gradient, `(2, num_channels, height, width)`, identical in every call."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, config.num_channels, *image_size, generator=generator)
    return 0.5 * noise + torch.linspace(-1, 1, image_size[1])


def compare_features(
    get_features: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    get_expected: Callable[[torch.Tensor], dict[str, torch.Tensor]],
    pixel_values: torch.Tensor,
) -> dict[str, float]:
    """
    Compute the largest difference of each feature, relative to its largest expected value if that is above 1.

    Args:
        get_features (`Callable`):
            Maps images to features by name.
        get_expected (`Callable`):
            Maps images to expected features with the same names.
        pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
            Images to compare on.

    Returns:
        `dict[str, float]`: differences by name.

    Raises:
        `ValueError`: if the features differ in number or shape.
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
    """Raise a `ValueError` that lists all differences if any is above [`TOLERANCE`] or NaN."""
    if all(difference <= TOLERANCE for difference in differences.values()):
        return
    listed = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
    raise ValueError(f"Cannot write the model because its features differ by more than {TOLERANCE:g}: {listed}.")


def describe_differences(differences: dict[str, float], reference: str) -> str:
    """Describe the differences between a model and its reference in one sentence for a card."""
    return (
        f"Largest feature difference on two test images, compared with {reference} in float32: "
        f"{max(differences.values()):.1e} (relative to the largest value if that is above 1)."
    )


__all__ = [
    "check_differences",
    "compare_features",
    "describe_differences",
    "get_comparable_size",
    "make_test_images",
    "set_layer_norm_eps",
]
