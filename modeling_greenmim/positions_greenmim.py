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
"""Positions: the fixed ones of the decoder, and learned tables, interpolated to another window or image size.

A model that was pre-trained with windows of 7 at 224 pixels loads with `from_pretrained(path, window_size=12,
image_size=384)`: every relative position bias table is interpolated from 13 x 13 to 23 x 23 offsets, bicubically, as it is
usual for Swin (https://huggingface.co/papers/2103.14030, section 3.2).
"""

import math
import weakref

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.utils import logging


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

_announced = weakref.WeakSet()  # models for which it was said that their tables are interpolated


def get_2d_sincos_position_embeddings(
    grid_size: tuple[int, int], hidden_size: int, device: torch.device | None = None
) -> torch.Tensor:
    """
    Fixed position embeddings as in MAE: the first half of the channels encodes the column, the second half the row, each as
    sines, then cosines.

    Args:
        grid_size (`tuple[int, int]`):
            Rows and columns.
        hidden_size (`int`):
            Number of channels, a multiple of 4.
        device (`torch.device`, *optional*):
            Where to make them.

    Returns:
        `torch.Tensor` of `float32` and shape `(rows * columns, hidden_size)`, row-major.
    """
    frequencies = 10000.0 ** (-torch.arange(hidden_size // 4, device=device, dtype=torch.float32) * 4 / hidden_size)
    angles = [torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequencies for length in grid_size]
    rows, columns = (torch.cat([angle.sin(), angle.cos()], dim=-1) for angle in angles)
    rows = rows[:, None, :].expand(-1, grid_size[1], -1)
    columns = columns[None, :, :].expand(grid_size[0], -1, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1)


def interpolate_relative_position_bias_table(table: torch.Tensor, window_size: int) -> torch.Tensor:
    """
    Interpolates a relative position bias table to another window size.

    Args:
        table (`torch.Tensor` of shape `((2 * old_window_size - 1)**2, num_heads)`):
            The table, offsets row-major.
        window_size (`int`):
            Side of the new windows in tokens.

    Returns:
        `torch.Tensor` of shape `((2 * window_size - 1)**2, num_heads)` and the dtype of the table.

    Raises:
        `ValueError`: if the table is not one of square windows.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim.positions_greenmim import interpolate_relative_position_bias_table

    >>> interpolate_relative_position_bias_table(torch.randn(13 * 13, 3), window_size=12).shape
    torch.Size([529, 3])
    ```"""
    old_side, side = math.isqrt(table.shape[0]), 2 * window_size - 1
    if old_side**2 != table.shape[0] or old_side % 2 == 0:
        raise ValueError(
            f"A relative position bias table has (2 * window_size - 1)**2 rows, but this one has {table.shape[0]}."
        )
    table = interpolate_position_embeddings(table[None], (old_side, old_side), (side, side))
    return table[0]


def interpolate_position_embeddings(
    position_embeddings: torch.Tensor, old_grid: tuple[int, int], grid: tuple[int, int]
) -> torch.Tensor:
    """
    Interpolates absolute position embeddings to another grid of patches.

    Args:
        position_embeddings (`torch.Tensor` of shape `(1, old_rows * old_columns, channels)`):
            The embeddings, row-major.
        old_grid (`tuple[int, int]`):
            Their rows and columns.
        grid (`tuple[int, int]`):
            New rows and columns.

    Returns:
        `torch.Tensor` of shape `(1, rows * columns, channels)` and the dtype of the embeddings.
    """
    dtype = torch.promote_types(position_embeddings.dtype, torch.float32)
    maps = position_embeddings.to(dtype).transpose(1, 2).unflatten(2, old_grid)
    maps = nn.functional.interpolate(maps, size=grid, mode="bicubic", align_corners=False)
    return maps.flatten(2).transpose(1, 2).to(position_embeddings.dtype).contiguous()


class InterpolateRelativePositionBias(ConversionOps):
    """Fits a table of the checkpoint to the window size of the model that it is loaded into, and says so."""

    @torch.no_grad()
    def convert(self, input_dict, source_patterns, target_patterns, *, full_layer_name, model, **kwargs):
        (table,) = input_dict.values()
        table = table[0] if isinstance(table, list) else table
        num_rows = model.get_parameter(full_layer_name).shape[0]
        if table.shape[0] != num_rows:
            window_size = _get_window_size(num_rows)
            if model not in _announced:
                _announced.add(model)
                logger.warning(
                    f"The checkpoint was made for windows of {_get_window_size(table.shape[0])}: its relative position bias "
                    f"tables are interpolated to windows of {window_size}."
                )
            table = interpolate_relative_position_bias_table(table, window_size)
        return {target_patterns[0]: table}

    @property
    def reverse_op(self) -> ConversionOps:
        return self  # a model's own tables are saved as they are


def get_position_converters() -> list[WeightConverter]:
    """What transformers applies to the relative position bias tables of a checkpoint when it loads one."""
    name = "relative_position_bias_table"
    return [WeightConverter(name, name, operations=[InterpolateRelativePositionBias()])]


def _get_window_size(num_rows: int) -> int:
    """Window size of a table of `(2 * window_size - 1)**2` rows."""
    return (math.isqrt(num_rows) + 1) // 2


__all__ = [
    "get_2d_sincos_position_embeddings",
    "get_position_converters",
    "interpolate_position_embeddings",
    "interpolate_relative_position_bias_table",
]
