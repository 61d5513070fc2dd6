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
"""
A leak test for any backbone that encodes the visible part of an image: no hidden pixel may change a bit of the
outputs.

A module that reads beyond a mask unit, such as a convolution with overlapping kernels or a statistic over the full
image, leaks hidden pixels during pre-training. The loss then falls by copying.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from .validation_greenmim import describe


class Leak(NamedTuple):
    """
    A hidden mask unit whose pixels change the outputs.

    Args:
        image (`int`):
            Index of the image in the batch.
        row, column (`int`):
            Row and column of the unit in the grid of mask units.
        largest_change (`float`):
            Largest absolute change of an output.
    """

    image: int
    row: int
    column: int
    largest_change: float


def find_leaks(
    encode: Callable[[torch.Tensor, torch.Tensor], Any],
    pixel_values: torch.Tensor,
    bool_masked_pos: torch.Tensor,
    seed: int = 0,
) -> list[Leak]:
    """
    Find the hidden mask units whose pixels change the outputs of a model, compared bit for bit.

    A model without a leak is called four times. A model with a leak is also called at least once for each hidden unit.

    Args:
        encode (`Callable`):
            Model in evaluation mode, or function. It is called as `encode(pixel_values, bool_masked_pos)` and returns
            a tensor or any nesting of dictionaries, lists and tuples of tensors. The outputs must depend on visible
            pixels only. Pass an encoder such as [`GreenMimModel`], or `model.greenmim` of a model with a loss, whose
            targets are hidden pixels.
        pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
            Images to test with.
        bool_masked_pos (`torch.Tensor` of `bool` and shape `(batch_size, num_units)`):
            Mask over square units in row-major order. `True` hides a unit.
        seed (`int`, *optional*, defaults to 0):
            Seed of the noise added to the pixels.

    Returns:
        `list[Leak]`: the leaking units of each image, or an empty list if there is no leak.

    Raises:
        `ValueError`: if the mask does not fit the images, or the test would be meaningless because two calls with the
        same inputs return different outputs, the outputs contain a `loss`, or they do not depend on visible pixels
        either.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim import GreenMimConfig, GreenMimModel, sample_masks
    >>> from modeling_greenmim.leak_detection import find_leaks

    >>> kernels = {"patch_kernel_size": 7, "merging_kernel_size": 3}
    >>> config = GreenMimConfig(embed_dim=24, depths=(1, 1), num_heads=(1, 2), **kernels)
    >>> model = GreenMimModel(config).eval()
    >>> mask = torch.from_numpy(sample_masks(batch_size=2, grid_size=(8, 8), mask_ratio=0.75, seed=0))
    >>> find_leaks(model, torch.randn(2, 3, 64, 64), mask)
    []
    ```"""
    unit_size = _get_unit_size(pixel_values, bool_masked_pos)
    rows, columns = (side // unit_size for side in pixel_values.shape[-2:])
    noise = torch.randn(pixel_values.shape, generator=torch.Generator().manual_seed(seed)).to(pixel_values)

    @torch.no_grad()
    def get_outputs(changed_units: torch.Tensor) -> list[torch.Tensor]:
        is_changed = changed_units.view(-1, 1, rows, columns)
        is_changed = is_changed.repeat_interleave(unit_size, 2).repeat_interleave(unit_size, 3)
        outputs = encode(torch.where(is_changed, pixel_values + noise, pixel_values), bool_masked_pos)
        if isinstance(outputs, Mapping) and outputs.get("loss") is not None:
            raise ValueError(
                "Cannot find leaks because the outputs contain a `loss`, which reads hidden pixels as its targets. Pass "
                "the encoder, such as `model.greenmim`, or a function that omits the loss."
            )
        return list(_iterate_tensors(outputs))

    nothing = torch.zeros_like(bool_masked_pos)
    expected = get_outputs(nothing)
    if not _are_equal(get_outputs(nothing), expected):
        raise ValueError("Cannot find leaks because the model is not deterministic. Call `model.eval()` first.")
    if _are_equal(get_outputs(~bool_masked_pos), expected):
        raise ValueError("Cannot find leaks because visible pixels do not change the outputs either.")
    if _are_equal(get_outputs(bool_masked_pos), expected):
        return []

    leaks = []
    for unit in range(rows * columns):
        changed_units = nothing.clone()
        changed_units[:, unit] = bool_masked_pos[:, unit]
        images = changed_units[:, unit].nonzero().flatten().tolist()
        if not images or _are_equal(get_outputs(changed_units), expected):
            continue
        for image in images:
            changed_units = nothing.clone()
            changed_units[image, unit] = True
            outputs = get_outputs(changed_units)
            if not _are_equal(outputs, expected):
                changes = [(a.double() - b.double()).abs().max().item() for a, b in zip(outputs, expected)]
                leaks.append(Leak(image, unit // columns, unit % columns, max(changes)))
    return sorted(leaks)


def _get_unit_size(pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor) -> int:
    """Side of a mask's square units, in pixels."""
    height, width = pixel_values.shape[-2:]
    if not isinstance(bool_masked_pos, torch.Tensor):
        raise ValueError(
            f"`bool_masked_pos` must be a torch tensor, got {describe(bool_masked_pos)}. Use `torch.as_tensor`."
        )
    has_shape = (
        bool_masked_pos.ndim == 2 and len(bool_masked_pos) == len(pixel_values) and bool_masked_pos.shape[1] > 0
    )
    if bool_masked_pos.dtype == torch.bool and has_shape:
        unit_size = round((height * width / bool_masked_pos.shape[1]) ** 0.5)
        is_divided = unit_size > 0 and height % unit_size == 0 and width % unit_size == 0
        if is_divided and (height // unit_size) * (width // unit_size) == bool_masked_pos.shape[1]:
            return unit_size
    raise ValueError(
        f"`bool_masked_pos` must be boolean, with one row for each of the {len(pixel_values)} images and one entry "
        f"for each square unit of {height} x {width} pixels, got {bool_masked_pos.dtype} of shape "
        f"{tuple(bool_masked_pos.shape)}."
    )


def _iterate_tensors(outputs: Any):
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, (Mapping, list, tuple)):
        for value in outputs.values() if isinstance(outputs, Mapping) else outputs:
            yield from _iterate_tensors(value)


def _are_equal(outputs: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return len(outputs) == len(expected) and all(map(torch.equal, outputs, expected))


__all__ = ["Leak", "find_leaks"]
