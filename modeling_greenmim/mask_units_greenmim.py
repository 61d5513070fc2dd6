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
"""Mask units as tensors: the squares of pixels that are hidden or shown as a whole, each one token of the last stage."""

import torch


def cut_units(units: torch.Tensor, patch_size: int) -> torch.Tensor:
    """
    Cuts mask units into patches, in an order in which the four that merge into one lie side by side at every level, as Swin
    concatenates them: row 0 column 0, row 1 column 0, row 0 column 1, row 1 column 1.

    Args:
        units (`torch.Tensor` of shape `(..., channels, unit, unit)`):
            Pixels, or positions, of units. `unit / patch_size` is a power of two.
        patch_size (`int`):
            Side of a patch.

    Returns:
        `torch.Tensor` of shape `(..., patches, channels, patch_size, patch_size)`.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim.mask_units_greenmim import cut_units

    >>> cut_units(torch.arange(16).view(1, 4, 4), patch_size=1).flatten().tolist()
    [0, 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15]
    ```"""
    num_leading = units.ndim - 3
    levels = (units.shape[-1] // patch_size).bit_length() - 1
    bits = (2,) * levels
    # (..., channels, row bits, row in the patch, column bits, column in the patch), the coarsest bit first
    units = units.unflatten(-1, (*bits, patch_size)).unflatten(num_leading + 1, (*bits, patch_size))
    channel_axis, row_axis, column_axis = num_leading, num_leading + 1, num_leading + 2 + levels
    order = [axis + level for level in range(levels) for axis in (column_axis, row_axis)]
    units = units.permute(*range(num_leading), *order, channel_axis, row_axis + levels, column_axis + levels)
    return units.flatten(num_leading, num_leading + 2 * levels - 1) if levels else units.unsqueeze(num_leading)


def get_unit_statistics(units: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Mean and standard deviation of the pixels of each mask unit, as MAE normalizes them: Bessel's correction, and 1e-6 added
    to the variance.

    Args:
        units (`torch.Tensor` of shape `(batch_size, num_units, num_pixels)`):
            Pixels of every unit.

    Returns:
        `tuple` of two `torch.Tensor` of shape `(batch_size, num_units, 1)`.
    """
    return units.mean(dim=-1, keepdim=True), (units.var(dim=-1, keepdim=True) + 1.0e-6).sqrt()


def reduce_mask_to_units(
    bool_masked_pos: torch.Tensor, grid_size: tuple[int, int], patches_per_side: int
) -> torch.Tensor:
    """
    Reduces a mask over patches to the mask units; a mask over units is returned as it is.

    Args:
        bool_masked_pos (`torch.Tensor` of `bool` and shape `(batch_size, num_patches)` or `(batch_size, num_units)`):
            The mask, row-major.
        grid_size (`tuple[int, int]`):
            Rows and columns of mask units in an image.
        patches_per_side (`int`):
            Patches along a side of a unit.

    Returns:
        `torch.Tensor` of `bool` and shape `(batch_size, num_units)`.

    Raises:
        `ValueError`: if the mask is not boolean, has another shape, or cuts a unit. The last is looked at on the CPU alone:
        on another device, nothing here waits for it.
    """
    rows, columns = grid_size
    num_units, num_patches = rows * columns, rows * columns * patches_per_side**2
    if not isinstance(bool_masked_pos, torch.Tensor):
        raise ValueError(
            f"`bool_masked_pos` must be a torch.Tensor, but is a {type(bool_masked_pos)}. `torch.from_numpy` makes one of "
            "what `sample_masks` returns."
        )
    if bool_masked_pos.dtype != torch.bool:
        raise ValueError(
            f"`bool_masked_pos` must be boolean, but its dtype is {bool_masked_pos.dtype}. Pass `bool_masked_pos.bool()`, "
            "where True hides a unit."
        )
    if bool_masked_pos.ndim != 2 or bool_masked_pos.shape[1] not in (num_units, num_patches):
        raise ValueError(
            f"`bool_masked_pos` must have the shape (batch_size, {num_units}), for {rows} x {columns} mask units, or "
            f"(batch_size, {num_patches}), for their patches, but has {tuple(bool_masked_pos.shape)}. The `mask_unit_size` "
            "of the image processor must be that of the model."
        )
    if bool_masked_pos.shape[1] == num_units:
        return bool_masked_pos
    patches = bool_masked_pos.unflatten(1, (rows, patches_per_side, columns, patches_per_side)).transpose(2, 3)
    patches = patches.flatten(3).flatten(1, 2)  # (batch_size, units, patches of a unit)
    can_look = patches.device.type == "cpu" and not torch.compiler.is_compiling()
    if can_look and (patches != patches[:, :, :1]).any():
        raise ValueError(
            f"`bool_masked_pos` cuts mask units: all {patches_per_side} x {patches_per_side} patches of a unit must be "
            "hidden, or none."
        )
    return patches[:, :, 0]


__all__ = ["cut_units", "get_unit_statistics", "reduce_mask_to_units"]
