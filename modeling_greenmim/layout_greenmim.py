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
"""Token layout: images, mask units and patches, their order, and their coordinates in the grid of every stage.

A mask unit is the square of pixels that becomes one token of the last stage; it is hidden or visible as a whole.
Visible tokens are ordered by unit and, inside a unit, in Z-order: the four tokens that merge into one lie side by
side, in the order in which Swin concatenates them (row 0 column 0, row 1 column 0, row 0 column 1, row 1 column 1).
The tokens of a full image, which has no mask, are row-major.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .masking_greenmim import get_unit_grid
from .validation_greenmim import check_count, check_height_and_width, describe


def get_grid_size(image_size: Sequence[int], cell_size: int) -> tuple[int, int]:
    """
    Rows and columns of square cells (patches or mask units) in an image, including incomplete cells at the border.
    """
    height, width = image_size
    return -(-height // cell_size), -(-width // cell_size)


def get_stage_grids(grid_size: tuple[int, int], num_stages: int) -> list[tuple[int, int]]:
    """Rows and columns of a full image's tokens in each stage. Each stage halves them, rounded up."""
    return [get_grid_size(grid_size, 2**stage) for stage in range(num_stages)]


def check_images(name: str, images: torch.Tensor):
    """Raise a `ValueError` unless `images` is a tensor of images."""
    if not isinstance(images, torch.Tensor) or images.ndim != 4:
        raise ValueError(
            f"`{name}` must be a tensor of shape (batch_size, num_channels, height, width), got {describe(images)}."
        )


def view_units(images: torch.Tensor, unit_size: int) -> torch.Tensor:
    """
    View `(batch_size, channels, height, width)` as `(batch_size, rows, columns, channels, unit_size, unit_size)`,
    without a copy.
    """
    units = images.unflatten(3, (-1, unit_size)).unflatten(2, (-1, unit_size))
    return units.permute(0, 2, 4, 1, 3, 5)


def images_to_units(images: torch.Tensor, unit_size: int) -> torch.Tensor:
    """
    Cut images into mask units.

    Args:
        images (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
            Pixel values.
        unit_size (`int`):
            Side of a unit in pixels.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_units, unit_size**2 * num_channels)`: units in row-major order,
        pixels in the order (row, column, channel) inside a unit.

    Raises:
        `ValueError`: if the images do not consist of whole units.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim.layout_greenmim import images_to_units, units_to_images

    >>> images = torch.randn(2, 3, 64, 96)
    >>> units = images_to_units(images, unit_size=32)
    >>> units.shape
    torch.Size([2, 6, 3072])

    >>> torch.equal(units_to_images(units, image_size=(64, 96), unit_size=32), images)
    True
    ```"""
    check_images("images", images)
    get_unit_grid(images.shape[-2:], unit_size)
    return view_units(images, unit_size).permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2)


def units_to_images(units: torch.Tensor, image_size: tuple[int, int], unit_size: int) -> torch.Tensor:
    """
    Assemble images from mask units. This is the inverse of [`images_to_units`].

    Args:
        units (`torch.Tensor` of shape `(batch_size, num_units, unit_size**2 * num_channels)`):
            Pixels of every unit.
        image_size (`tuple[int, int]`):
            Height and width of the images in pixels.
        unit_size (`int`):
            Side of a unit in pixels.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_channels, height, width)`.

    Raises:
        `ValueError`: if images of this size have a different number of units.
    """
    rows, columns = get_unit_grid(image_size, unit_size)
    if units.shape[1] != rows * columns:
        raise ValueError(
            f"`units` must contain {rows * columns} units of {unit_size} x {unit_size} pixels for images of "
            f"{image_size[0]} x {image_size[1]} pixels, got {units.shape[1]} units. Pass the `image_size` of the "
            "images they were cut from."
        )
    units = units.unflatten(2, (unit_size, unit_size, -1)).unflatten(1, (rows, columns))
    return units.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def get_hidden_pixels(mask: torch.Tensor, image_size: tuple[int, int], unit_size: int) -> torch.Tensor:
    """
    Expand a mask over mask units, `(batch_size, num_units)`, to pixels: `bool`, `(batch_size, 1, height, width)`.
    """
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        raise ValueError(f"`mask` must be a tensor of shape (batch_size, num_units), got {describe(mask)}.")
    height, width = image_size
    return units_to_images(mask.bool()[:, :, None].expand(-1, -1, unit_size**2), (height, width), unit_size)


def units_to_patches(units: torch.Tensor, patch_size: int) -> torch.Tensor:
    """
    Cut mask units into patches in Z-order.

    Args:
        units (`torch.Tensor` of shape `(..., channels, unit_size, unit_size)`):
            Pixels or positions of units. `unit_size / patch_size` is a power of two.
        patch_size (`int`):
            Side of a patch.

    Returns:
        `torch.Tensor` of shape `(..., patches, channels, patch_size, patch_size)`.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim.layout_greenmim import units_to_patches

    >>> units_to_patches(torch.arange(16).view(1, 4, 4), patch_size=1).flatten().tolist()
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


def get_unit_cells(
    grid_size: tuple[int, int], unit_side: int, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Coordinates of a full image's tokens, ordered by mask unit and, inside a unit, in Z-order.

    Args:
        grid_size (`tuple[int, int]`):
            Rows and columns of tokens. The last units may extend beyond the grid.
        unit_side (`int`):
            Tokens along a side of a unit.
        device (`torch.device`, *optional*):
            Device of the coordinates.

    Returns:
        `tuple` of rows and columns, each a `torch.Tensor` of `int64` and shape `(num_units, unit_side**2)`.
    """
    height, width = (unit_side * length for length in get_grid_size(grid_size, unit_side))
    cells = torch.arange(height * width, device=device).view(1, 1, height, width)
    cells = units_to_patches(view_units(cells, unit_side), patch_size=1).reshape(-1, unit_side**2)
    return cells // width, cells % width


def get_visible_cells(visible_indices: torch.Tensor, grid_size: tuple[int, int], unit_side: int) -> torch.Tensor:
    """
    Positions of visible tokens in the grid of their stage.

    Args:
        visible_indices (`torch.Tensor` of integers and shape `(batch_size, num_visible_units)`):
            The visible mask units.
        grid_size (`tuple[int, int]`):
            Rows and columns of tokens of the full image, which consists of whole units.
        unit_side (`int`):
            Tokens along a side of a unit.

    Returns:
        `torch.Tensor` of integers and shape `(batch_size, num_tokens)`: `row * columns + column` of each token, in
        token order.
    """
    rows, columns = get_unit_cells((unit_side, unit_side), unit_side, visible_indices.device)  # of one unit
    units_per_row = grid_size[1] // unit_side
    rows = visible_indices[:, :, None] // units_per_row * unit_side + rows
    columns = visible_indices[:, :, None] % units_per_row * unit_side + columns
    return (rows * grid_size[1] + columns).flatten(1)


def get_unit_mask(
    bool_masked_pos: np.ndarray | torch.Tensor, unit_grid: tuple[int, int], patches_per_side: int
) -> torch.Tensor:
    """
    Check a mask, and reduce a mask over patches to the mask units. Values are read only on the CPU, to avoid device
    synchronization.

    Args:
        bool_masked_pos (`np.ndarray` or `torch.Tensor` of `bool` and shape `(batch_size, num_units)` or `(batch_size, num_patches)`):
            The mask, row-major, `True` for hidden units or patches.
        unit_grid (`tuple[int, int]`):
            Rows and columns of mask units in an image.
        patches_per_side (`int`):
            Patches along a side of a unit.

    Returns:
        `torch.Tensor` of `bool` and shape `(batch_size, num_units)`.

    Raises:
        `ValueError`: if the mask is not boolean, has a wrong shape, cuts a unit, hides everything or nothing, or hides
        a different number of units in each row.
    """
    check_height_and_width("unit_grid", unit_grid, "mask units")
    check_count("patches_per_side", patches_per_side)
    if not isinstance(bool_masked_pos, (torch.Tensor, np.ndarray, list, tuple)):
        raise ValueError(f"`bool_masked_pos` must be a boolean tensor or array, got {describe(bool_masked_pos)}.")
    mask = torch.as_tensor(bool_masked_pos)
    rows, columns = unit_grid
    num_units, num_patches = rows * columns, rows * columns * patches_per_side**2
    if mask.dtype != torch.bool:
        raise ValueError(
            f"`bool_masked_pos` must be boolean, got {mask.dtype}. Pass `bool_masked_pos.bool()`, where True "
            "hides a unit."
        )
    if mask.ndim != 2 or mask.shape[1] not in (num_units, num_patches) or len(mask) == 0:
        raise ValueError(
            f"`bool_masked_pos` must have the shape (batch_size, {num_units}) for {rows} x {columns} mask units, or "
            f"(batch_size, {num_patches}) for their patches, with at least one row, got {tuple(mask.shape)}. Draw the "
            "mask for the model's `mask_unit_size` and image size."
        )
    can_read = mask.device.type == "cpu" and not torch.compiler.is_compiling()
    if mask.shape[1] != num_units:
        patches = mask.unflatten(1, (rows, patches_per_side, columns, patches_per_side)).transpose(2, 3)
        patches = patches.flatten(3).flatten(1, 2)  # (batch_size, units, patches of a unit)
        if can_read and (patches != patches[:, :, :1]).any():
            raise ValueError(
                f"`bool_masked_pos` must hide all {patches_per_side} x {patches_per_side} patches of a mask unit or "
                "none, got a mask that cuts mask units. Draw it over the units with `sample_masks`."
            )
        mask = patches[:, :, 0]
    if can_read:
        _check_counts(mask)
    return mask


def _check_counts(unit_mask: torch.Tensor):
    num_units = unit_mask.shape[1]
    num_hidden = unit_mask.sum(dim=1)
    fewest, most = (int(number) for number in torch.aminmax(num_hidden))
    if fewest != most:
        raise ValueError(
            "Every row of `bool_masked_pos` must hide the same number of units, got rows that hide from "
            f"{fewest} to {most} of {num_units}. Draw the masks with `sample_masks`."
        )
    if fewest in (0, num_units):
        raise ValueError(
            f"`bool_masked_pos` must hide at least one of the {num_units} units and leave at least one visible, got a "
            f"mask that hides {'everything' if fewest else 'nothing'}. To encode full images, pass no mask."
        )


def check_secondary_mask(secondary_masked_pos: torch.Tensor, visible_indices: torch.Tensor, num_units: int):
    """
    Check the mask of visible units whose tokens are replaced. Values are read only on the CPU.

    Args:
        secondary_masked_pos (`torch.Tensor` of `bool` and shape `(batch_size, num_units)`):
            The mask, row-major, `True` for replaced visible units.
        visible_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_visible_units)`):
            The visible mask units.
        num_units (`int`):
            Number of mask units of an image.

    Raises:
        `ValueError`: if the mask is not boolean, has a different shape, or replaces a hidden unit.
    """
    expected = (len(visible_indices), num_units)
    is_tensor = isinstance(secondary_masked_pos, torch.Tensor)
    if not is_tensor or secondary_masked_pos.dtype != torch.bool or secondary_masked_pos.shape != expected:
        raise ValueError(
            f"`secondary_masked_pos` must be a boolean tensor of shape {expected} over the mask units, got "
            f"{describe(secondary_masked_pos)}."
        )
    if secondary_masked_pos.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if secondary_masked_pos.sum() != secondary_masked_pos.gather(1, visible_indices).sum():
        raise ValueError(
            "`secondary_masked_pos` must be True only for visible units, got True for hidden ones. Draw it from "
            "`bool_masked_pos` with `sample_secondary_masks`."
        )


@dataclass(frozen=True)
class TokenLayout:
    """
    Positions of the visible tokens in one stage.

    Attributes:
        grid_size (`tuple[int, int]`):
            Rows and columns of tokens of the full image in this stage.
        unit_side (`int`):
            Tokens along a side of a mask unit in this stage.
        rows, columns (`np.ndarray` of integers and shape `(num_masks, num_tokens)`):
            Coordinates of each visible token in the grid, in token order.
    """

    grid_size: tuple[int, int]
    unit_side: int
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def from_visible_indices(
        cls, visible_indices: np.ndarray, unit_grid: tuple[int, int], unit_side: int
    ) -> "TokenLayout":
        """
        Args:
            visible_indices (`np.ndarray` of integers and shape `(num_masks, num_visible)`):
                The visible mask units, row-major and ascending.
            unit_grid (`tuple[int, int]`):
                Rows and columns of mask units in an image.
            unit_side (`int`):
                Tokens along a side of a unit, a power of two.
        """
        rows, columns = np.divmod(visible_indices, unit_grid[1])
        side = 1
        while side < unit_side:
            rows = (2 * rows[..., None] + np.array([0, 1, 0, 1])).reshape(len(rows), -1)
            columns = (2 * columns[..., None] + np.array([0, 0, 1, 1])).reshape(len(columns), -1)
            side *= 2
        return cls((unit_grid[0] * unit_side, unit_grid[1] * unit_side), unit_side, rows, columns)


__all__ = [
    "TokenLayout",
    "check_images",
    "check_secondary_mask",
    "get_grid_size",
    "get_hidden_pixels",
    "get_stage_grids",
    "get_unit_cells",
    "get_unit_mask",
    "get_visible_cells",
    "images_to_units",
    "units_to_images",
    "units_to_patches",
    "view_units",
]
