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
"""Position biases that attention adds for the offset between two tokens, and interpolation of learned positions.

A model that was pre-trained with windows of 7 at 224 pixels loads with `from_pretrained(path, window_size=12,
image_size=384)`: every table is bicubically interpolated from 13 x 13 to 23 x 23 offsets, as is usual for Swin
(https://huggingface.co/papers/2103.14030, section 3.2).
"""

import math
import weakref

import torch
from torch import nn
from transformers import initialization as init
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.utils import logging

from .configuration_greenmim import GreenMimConfig


logger = logging.get_logger(f"transformers.{__name__}")  # follows transformers' verbosity

_warned_models: weakref.WeakSet = weakref.WeakSet()  # one warning per model, not one per table


class GreenMimRelativePositionBias(nn.Module):
    """
    Learned bias for each offset between two tokens of a square window, as in Swin.

    Args:
        num_heads (`int`):
            Number of attention heads.
        window_size (`int`):
            Side of the windows in tokens.
    """

    def __init__(self, num_heads: int, window_size: int):
        super().__init__()
        self.window_size = window_size
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))

    def init_weights(self, std: float):
        init.trunc_normal_(self.relative_position_bias_table, std=std)

    def forward(self) -> torch.Tensor:
        """Biases of all offsets, row-major, `((2 * window_size - 1)**2, num_heads)`."""
        return self.relative_position_bias_table


class GreenMimContinuousPositionBias(nn.Module):
    """
    Bias for each offset between two tokens of a square window, computed by an MLP from the logarithm of the offset, as
    in Swin V2 (https://huggingface.co/papers/2111.09883, section 3.3). Biases lie between 0 and 16, for windows of any
    size.

    Args:
        num_heads (`int`):
            Number of attention heads.
        window_size (`int`):
            Side of the windows in tokens.
        bias_window_size (`int`):
            Window side that normalizes the offsets, which is the side that the weights were trained with.
    """

    HIDDEN_SIZE = 512
    LARGEST_BIAS = 16.0

    def __init__(self, num_heads: int, window_size: int, bias_window_size: int):
        super().__init__()
        self.window_size = window_size
        self.bias_window_size = bias_window_size
        self.fc1 = nn.Linear(2, self.HIDDEN_SIZE)
        self.fc2 = nn.Linear(self.HIDDEN_SIZE, num_heads, bias=False)

    def forward(self) -> torch.Tensor:
        """Biases of all offsets, row-major, `((2 * window_size - 1)**2, num_heads)`."""
        weight = self.fc1.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        offsets = torch.arange(1 - self.window_size, self.window_size, device=weight.device, dtype=dtype)
        offsets = 8 * offsets / max(self.bias_window_size - 1, 1)
        offsets = offsets.sign() * (offsets.abs() + 1).log2() / 3
        offsets = torch.cartesian_prod(offsets, offsets).to(weight.dtype)
        return self.LARGEST_BIAS * self.fc2(nn.functional.relu(self.fc1(offsets))).sigmoid()


def make_position_bias(config: GreenMimConfig, stage: int, window_size: int) -> nn.Module | None:
    """Make the configured position bias of one layer, for windows with a side of `window_size` tokens."""
    num_heads = config.num_heads[stage]
    if config.position_bias == "none":
        return None
    if config.position_bias == "continuous":
        return GreenMimContinuousPositionBias(num_heads, window_size, config.get_bias_window_size(stage, window_size))
    return GreenMimRelativePositionBias(num_heads, window_size)


def get_relative_position_index(positions: torch.Tensor, window_size: int) -> torch.Tensor:
    """
    Offset between each pair of tokens, as a row of the biases: Swin's `relative_position_index`.

    Args:
        positions (`torch.Tensor` of integers and shape `(..., num_tokens)`):
            `row * (2 * window_size - 1) + column` of each token in its window, from [`get_window_positions`].
        window_size (`int`):
            Side of the windows in tokens.

    Returns:
        `torch.Tensor` of integers and shape `(..., num_tokens, num_tokens)`.
    """
    # (row_i - row_j + window_size - 1) * (2 * window_size - 1) + (column_i - column_j + window_size - 1)
    return positions[..., :, None] - positions[..., None, :] + 2 * window_size * (window_size - 1)


def get_window_positions(rows, columns, window_size: int):
    """
    Encode rows and columns of tokens in their window (arrays or tensors) as numbers whose differences are offsets.
    """
    return rows * (2 * window_size - 1) + columns


def interpolate_relative_position_bias_table(table: torch.Tensor, window_size: int) -> torch.Tensor:
    """
    Interpolate a relative position bias table to a different window size.

    Args:
        table (`torch.Tensor` of shape `((2 * old_window_size - 1)**2, num_heads)`):
            The table, offsets row-major.
        window_size (`int`):
            Side of the new windows in tokens.

    Returns:
        `torch.Tensor` of shape `((2 * window_size - 1)**2, num_heads)` and the dtype of the table.

    Raises:
        `ValueError`: if the table does not belong to square windows.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim.position_bias_greenmim import interpolate_relative_position_bias_table

    >>> interpolate_relative_position_bias_table(torch.randn(13 * 13, 3), window_size=12).shape
    torch.Size([529, 3])
    ```"""
    old_side, side = math.isqrt(table.shape[0]), 2 * window_size - 1
    if old_side**2 != table.shape[0] or old_side % 2 == 0:
        raise ValueError(
            f"A relative position bias table must have (2 * window_size - 1)**2 rows, got {table.shape[0]}. Only "
            "tables of square windows can be interpolated."
        )
    table = interpolate_position_embeddings(table[None], (old_side, old_side), (side, side))
    return table[0]


def interpolate_position_embeddings(
    position_embeddings: torch.Tensor, old_grid: tuple[int, int], grid: tuple[int, int]
) -> torch.Tensor:
    """
    Interpolate absolute position embeddings to a different grid of patches.

    Args:
        position_embeddings (`torch.Tensor` of shape `(1, old_rows * old_columns, channels)`):
            The embeddings, row-major.
        old_grid (`tuple[int, int]`):
            Rows and columns of patches in the old grid.
        grid (`tuple[int, int]`):
            Rows and columns of patches in the new grid.

    Returns:
        `torch.Tensor` of shape `(1, rows * columns, channels)` and the dtype of the embeddings.
    """
    dtype = torch.promote_types(position_embeddings.dtype, torch.float32)
    maps = position_embeddings.to(dtype).transpose(1, 2).unflatten(2, old_grid)
    maps = nn.functional.interpolate(maps, size=grid, mode="bicubic", align_corners=False)
    return maps.flatten(2).transpose(1, 2).to(position_embeddings.dtype).contiguous()


class InterpolateRelativePositionBias(ConversionOps):
    """Interpolates a checkpoint's table to the window size of the model that loads it, with a warning."""

    @torch.no_grad()
    def convert(self, input_dict, source_patterns, target_patterns, *, full_layer_name, model, **kwargs):
        (table,) = input_dict.values()
        table = table[0] if isinstance(table, list) else table
        num_rows = model.get_parameter(full_layer_name).shape[0]
        if table.shape[0] != num_rows:
            window_size = _get_window_size(num_rows)
            if model not in _warned_models:
                _warned_models.add(model)
                logger.warning(
                    f"The checkpoint has windows of {_get_window_size(table.shape[0])}, but this model has windows of "
                    f"{window_size}. The relative position bias tables are interpolated."
                )
            table = interpolate_relative_position_bias_table(table, window_size)
        return {target_patterns[0]: table}

    @property
    def reverse_op(self) -> ConversionOps:
        return self  # tables are saved as they are


def get_position_converters() -> list[WeightConverter]:
    """Conversions that transformers applies to the bias tables of a checkpoint while loading it."""
    name = "relative_position_bias_table"
    return [WeightConverter(name, name, operations=[InterpolateRelativePositionBias()])]


def _get_window_size(num_rows: int) -> int:
    """Window size of a table of `(2 * window_size - 1)**2` rows."""
    return (math.isqrt(num_rows) + 1) // 2


__all__ = [
    "GreenMimContinuousPositionBias",
    "GreenMimRelativePositionBias",
    "get_position_converters",
    "get_relative_position_index",
    "get_window_positions",
    "interpolate_position_embeddings",
    "interpolate_relative_position_bias_table",
    "make_position_bias",
]
