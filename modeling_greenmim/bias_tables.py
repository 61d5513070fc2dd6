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
Cut and center relative position bias tables. Some implementations store only the offsets that fit into a small grid.
"""

import math

import torch


def cut_table(table: torch.Tensor, grid_size: tuple[int, int]) -> torch.Tensor:
    """
    Cut out the center of a relative position bias table: the offsets that occur in windows no larger than a grid.

    Args:
        table (`torch.Tensor` of shape `((2 * window_size - 1)**2, num_heads)`):
            Table of the full window.
        grid_size (`tuple[int, int]`):
            Token rows and columns of the grid.

    Returns:
        `torch.Tensor` of shape `((2 * window_height - 1) * (2 * window_width - 1), num_heads)`.
    """
    side = math.isqrt(table.shape[0])
    rows, columns = (
        slice(side // 2 - window + 1, side // 2 + window)
        for window in (min((side + 1) // 2, length) for length in grid_size)
    )
    return table.unflatten(0, (side, side))[rows, columns].flatten(0, 1)


def center_table(table: torch.Tensor, window_size: int, grid_size: tuple[int, int] | None = None) -> torch.Tensor:
    """
    Center the table of a small window in the table of a large one; the inverse of [`cut_table`]. The surrounding
    offsets, which do not occur in the grid, get a bias of 0.

    Args:
        table (`torch.Tensor` of shape `((2 * window_height - 1) * (2 * window_width - 1), num_heads)`):
            Table of the small window.
        window_size (`int`):
            Side of the large window.
        grid_size (`tuple[int, int]`, *optional*):
            Token rows and columns of the grid that the table was cut for. By default, the table is square.

    Returns:
        `torch.Tensor` of shape `((2 * window_size - 1)**2, num_heads)`.
    """
    side = 2 * window_size - 1
    height, width = (
        (math.isqrt(table.shape[0]),) * 2
        if grid_size is None
        else (2 * min(window_size, length) - 1 for length in grid_size)
    )
    large = table.new_zeros(side, side, table.shape[1])
    top, left = (side - height) // 2, (side - width) // 2
    large[top : top + height, left : left + width] = table.view(height, width, -1)
    return large.flatten(0, 1)


__all__ = ["center_table", "cut_table"]
