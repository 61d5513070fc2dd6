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
"""Position tables of a checkpoint, interpolated while they are loaded into a model of another window or image size.

A model that was pre-trained with windows of 7 at 224 pixels loads with `from_pretrained(path, window_size=12,
image_size=384)`: every relative position bias table is interpolated from 13 x 13 to 23 x 23 offsets, bicubically, as it is
usual for Swin (https://huggingface.co/papers/2103.14030, section 4.1: "bi-cubic interpolation" for fine-tuning with another
window size), and absolute position embeddings, if there are any, from the old grid of patches to the new one.
"""

import math

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.utils import logging


logger = logging.get_logger(__name__)


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
    >>> from modeling_greenmim.position_interpolation_greenmim import interpolate_relative_position_bias_table

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
    return maps.flatten(2).transpose(1, 2).to(position_embeddings.dtype)


class InterpolateRelativePositionBias(ConversionOps):
    """Fits a table of the checkpoint to the window size of the model that it is loaded into."""

    @torch.no_grad()
    def convert(self, input_dict, source_patterns, target_patterns, *, full_layer_name, model, **kwargs):
        table = _get_only_tensor(input_dict)
        shape = model.get_parameter(full_layer_name).shape
        if table.shape[0] != shape[0] and table.shape[1:] == shape[1:]:  # the loader reports other differences
            window_size = (math.isqrt(shape[0]) + 1) // 2
            logger.warning_once(
                f"The checkpoint was made for windows of {(math.isqrt(table.shape[0]) + 1) // 2}: its relative position "
                f"bias tables are interpolated to windows of {window_size}."
            )
            table = interpolate_relative_position_bias_table(table, window_size)
        return {target_patterns[0]: table}

    @property
    def reverse_op(self) -> ConversionOps:
        return KeepAsItIs()


class InterpolatePositionEmbeddings(ConversionOps):
    """Fits absolute position embeddings of the checkpoint to the image size of the model that they are loaded into."""

    @torch.no_grad()
    def convert(self, input_dict, source_patterns, target_patterns, *, full_layer_name, model, **kwargs):
        embeddings = _get_only_tensor(input_dict)
        shape = model.get_parameter(full_layer_name).shape
        if embeddings.shape[1] != shape[1] and embeddings.shape[2:] == shape[2:]:
            grid = model.get_submodule(full_layer_name.rpartition(".")[0]).position_grid
            # the old grid is that of a square image, or of one of the same proportions
            scale = math.sqrt(embeddings.shape[1] / shape[1])
            old_grids = [(math.isqrt(embeddings.shape[1]),) * 2, (round(grid[0] * scale), round(grid[1] * scale))]
            old_grids = [old_grid for old_grid in old_grids if old_grid[0] * old_grid[1] == embeddings.shape[1]]
            if not old_grids:
                raise ValueError(
                    f"The checkpoint's absolute position embeddings are for {embeddings.shape[1]} patches, which are "
                    f"neither a square nor of the proportions of the model's {grid[0]} x {grid[1]}. Load it at its own "
                    "`image_size` and pass `interpolate_pos_encoding=True` to its forward."
                )
            logger.warning_once(
                f"The checkpoint was made for {old_grids[0][0]} x {old_grids[0][1]} patches: its absolute position "
                f"embeddings are interpolated to {grid[0]} x {grid[1]}."
            )
            embeddings = interpolate_position_embeddings(embeddings, old_grids[0], grid)
        return {target_patterns[0]: embeddings}

    @property
    def reverse_op(self) -> ConversionOps:
        return KeepAsItIs()


class KeepAsItIs(ConversionOps):
    """What was interpolated is saved as it is."""

    def convert(self, input_dict, source_patterns, target_patterns, **kwargs):
        return {target_patterns[0]: _get_only_tensor(input_dict)}

    @property
    def reverse_op(self) -> ConversionOps:
        return self


def _get_only_tensor(input_dict: dict) -> torch.Tensor:
    (tensor,) = input_dict.values()
    return tensor[0] if isinstance(tensor, list) else tensor


def get_position_converters() -> list[WeightConverter]:
    """What transformers applies to the position tables of a checkpoint when it loads one."""
    return [
        WeightConverter(name, name, operations=[operation])
        for name, operation in {
            "relative_position_bias_table": InterpolateRelativePositionBias(),
            "embeddings.position_embeddings": InterpolatePositionEmbeddings(),
        }.items()
    ]


__all__ = [
    "get_position_converters",
    "interpolate_position_embeddings",
    "interpolate_relative_position_bias_table",
]
