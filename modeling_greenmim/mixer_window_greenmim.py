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
"""Attention inside windows: `"window"` and `"shifted_window"` as in Swin, and `"mask_unit"` as in Hiera.

The windows of a partly visible image contain any number of tokens. Whole windows are packed into groups of equal size,
and inside a group, a token attends only to its own window: GreenMIM's Group Window Attention
(https://huggingface.co/papers/2205.13515, section 3.2). For `T` tokens in `G` groups of `S` slots, a plan holds:

| key              | shape    | value                                                                  |
|------------------|----------|------------------------------------------------------------------------|
| `gather_index`   | `(G, S)` | token in each slot; 0 for an empty slot                                |
| `scatter_index`  | `(T,)`   | slot of each token, counted row-major over `(G, S)`                    |
| `set_index`      | `(G, S)` | window of the token in each slot; -1 for an empty slot                 |
| `position_index` | `(G, S)` | `row * (2 * window_size - 1) + column` of the token in its window      |
| `is_padding`     | `(G, S)` | only if a full image is padded: whether the slot contains padding       |

`T` determines how a plan is used. If all images share a mask, `T` counts the tokens of one image, and all images use
copies of the plan. If each image has its own mask, `T` counts the tokens of the batch, and a group may contain windows
of several images.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .gathering_greenmim import gather_slots, scatter_slots
from .group_bias_greenmim import MASKED_SCORE, PairIndex, look_up_bias, make_pair_index
from .layout_greenmim import TokenLayout, get_grid_size, get_unit_cells, units_to_patches
from .mixer_greenmim import GreenMimAttention, GreenMimTokenMixer, get_compute_dtype
from .packing_greenmim import EMPTY_SET, pack_tokens
from .position_bias_greenmim import (
    get_relative_position_index,
    get_window_positions,
    make_position_bias,
)


class WindowGroups(NamedTuple):
    """
    Window plan, prepared for all layers of a stage. A single copy of a plan is laid out as (groups, slots), and the
    groups are the batch of the attention. Several copies are laid out as (copies, slots, groups), and the groups are
    additional heads, so that all copies share one bias.
    """

    num_copies: int
    gather_index: torch.Tensor  # (all slots,), token in each slot, counted over the batch
    scatter_index: torch.Tensor  # (tokens of the batch,), slot of each token
    is_empty: torch.Tensor  # (all slots,), whether the slot is empty
    pairs: PairIndex
    has_padding: bool  # whether empty slots take part in the attention, as zeros


class GreenMimWindowAttention(GreenMimAttention, GreenMimTokenMixer):
    """Attention inside windows, with a relative position bias unless the configuration disables it."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, config.hidden_sizes[stage], config.num_heads[stage], config.attention_similarity)  # type: ignore[index]
        self.relative_position_bias = make_position_bias(config, stage, config.window_size)

    @classmethod
    def get_shift_size(cls, grid_size: tuple[int, int], window_size: int, clip_windows: bool = True) -> int:
        """Number of tokens by which windows are shifted in a grid, along both axes."""
        return 0

    @classmethod
    def make_plan(
        cls, layout: TokenLayout, config: GreenMimConfig, stage: int, group_shape: tuple[int | None, int] | None = None
    ) -> dict[str, np.ndarray]:
        window_size = config.window_size
        # shifted windows belong to a grid that starts `window_size - shift` tokens before the image, so no roll is
        # needed; for regular windows, this only changes their numbers
        start = window_size - cls.get_shift_size(layout.grid_size, window_size)
        row_windows, window_rows = np.divmod(layout.rows + start, window_size)
        column_windows, window_columns = np.divmod(layout.columns + start, window_size)
        windows_per_side = [(side - 1 + window_size) // window_size + 2 for side in layout.grid_size]
        image_windows = np.arange(len(layout.rows))[:, None] * windows_per_side[0] + row_windows
        windows = (image_windows * windows_per_side[1] + column_windows).reshape(-1)
        positions = get_window_positions(window_rows, window_columns, window_size).reshape(-1)

        plan = pack_tokens(windows, config.hidden_sizes[stage], group_shape)
        position_index = np.where(plan["set_index"] == EMPTY_SET, 0, positions[plan["gather_index"]])
        return {**plan, "position_index": position_index.astype(np.int32)}

    @classmethod
    def make_full_plan(
        cls,
        grid_size: tuple[int, int],
        config: GreenMimConfig,
        stage: int,
        device: torch.device | None = None,
        clip_windows: bool = True,
    ) -> dict[str, torch.Tensor]:
        window_size = config.window_size
        shift = cls.get_shift_size(grid_size, window_size, clip_windows)
        rows, columns = grid_size
        sides = (min(window_size, rows), min(window_size, columns)) if clip_windows else (window_size, window_size)
        partition = _partition_grid if torch.compiler.is_compiling() else _partition_grid_once
        return partition((rows, columns), window_size, sides, shift, device)

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> WindowGroups:
        gather_index, scatter_index = plan["gather_index"], plan["scatter_index"]
        is_empty = plan["is_padding"] if "is_padding" in plan else plan["set_index"] == EMPTY_SET
        num_tokens, plan_tokens = hidden_states.shape[0] * hidden_states.shape[1], scatter_index.shape[0]
        num_copies, (num_groups, num_slots) = num_tokens // plan_tokens, gather_index.shape
        pairs = make_pair_index(
            plan["set_index"], plan["position_index"], config.window_size, get_compute_dtype(hidden_states)
        )
        if num_copies > 1:
            copy = torch.arange(num_copies, device=gather_index.device)[:, None]
            gather_index = gather_index.t().flatten() + copy * plan_tokens
            scatter_index = scatter_index % num_slots * num_groups + scatter_index // num_slots
            scatter_index = (scatter_index + copy * is_empty.numel()).flatten()
            is_empty = is_empty.t().flatten().repeat(num_copies)
        has_padding = "is_padding" in plan
        return WindowGroups(num_copies, gather_index.flatten(), scatter_index, is_empty.flatten(), pairs, has_padding)

    def forward(
        self, hidden_states: torch.Tensor, prepared: WindowGroups, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        num_groups, num_slots = prepared.pairs.shape
        num_copies, dtype = prepared.num_copies, get_compute_dtype(hidden_states)
        tokens = hidden_states.flatten(0, 1).to(dtype)  # cast before copying
        is_padding = prepared.is_empty if prepared.has_padding else None
        slots = gather_slots(tokens, prepared.gather_index, prepared.scatter_index, is_padding)
        if self.relative_position_bias is not None:
            biases = self.relative_position_bias()
        else:  # only the mask between windows remains, which all heads share unless groups are additional heads
            num_heads = 1 if num_copies == 1 else self.num_heads
            biases = tokens.new_zeros((2 * self.config.window_size - 1) ** 2, num_heads)
        attention_mask = look_up_bias(biases, prepared.pairs, dtype)
        if num_copies == 1:
            shape = (num_groups, num_slots, self.num_heads, self.head_dim)
        else:
            shape = (num_copies, num_slots, num_groups * self.num_heads, self.head_dim)
            attention_mask = attention_mask.reshape(1, -1, num_slots, attention_mask.shape[-1])
        query, key, value = (projected.reshape(shape).transpose(1, 2) for projected in self.project(slots))
        attn_output, attn_weights = self.attend(query, key, value, attention_mask, **kwargs)
        attn_output = scatter_slots(
            attn_output.reshape(-1, hidden_states.shape[-1]),
            prepared.gather_index,
            prepared.scatter_index,
            prepared.is_empty,
        )
        return self.o_proj(attn_output.view(hidden_states.shape)), attn_weights


class GreenMimShiftedWindowAttention(GreenMimWindowAttention):
    """
    Attention inside windows that are shifted by half a window, or not at all if one window covers a side of the grid.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, stage)
        if config.window_size < 2:
            raise ValueError(
                f"`window_size` must be at least 2 for the token mixer 'shifted_window', got {config.window_size}. "
                "Set `token_mixers` to 'window' in every stage, or use larger windows."
            )

    @classmethod
    def get_shift_size(cls, grid_size: tuple[int, int], window_size: int, clip_windows: bool = True) -> int:
        return 0 if clip_windows and min(grid_size) <= window_size else window_size // 2


class GreenMimMaskUnitAttention(GreenMimAttention, GreenMimTokenMixer):
    """
    Attention inside mask units. The visible tokens of a unit are adjacent, so masks need no plan. The relative
    position bias has the size of a unit, whatever the window size. The last stage, where a unit is one token, has no
    bias. If a full image does not consist of whole units, tokens are missing in the last units.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, config.hidden_sizes[stage], config.num_heads[stage], config.attention_similarity)  # type: ignore[index]
        side = config.get_unit_side(stage)
        self.relative_position_bias = make_position_bias(config, stage, side) if side > 1 else None

    @classmethod
    def make_full_plan(
        cls,
        grid_size: tuple[int, int],
        config: GreenMimConfig,
        stage: int,
        device: torch.device | None = None,
        clip_windows: bool = True,
    ) -> dict[str, torch.Tensor]:
        (height, width), side = grid_size, config.get_unit_side(stage)
        rows, columns = (side * length for length in get_grid_size(grid_size, side))  # rounded up to whole units
        cell_rows, cell_columns = get_unit_cells(grid_size, side, device)
        is_padding = (cell_rows >= height) | (cell_columns >= width)
        cells = (cell_rows * columns + cell_columns).flatten()
        place = torch.empty_like(cells).scatter(0, cells, torch.arange(rows * columns, device=device))
        plan = {
            "gather_index": (cell_rows * width + cell_columns).masked_fill(is_padding, 0),
            "scatter_index": place.view(rows, columns)[:height, :width].flatten(),
        }
        return plan | {"is_padding": is_padding} if rows * columns > height * width else plan

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> dict[str, torch.Tensor]:
        side = config.get_unit_side(stage)
        place = torch.arange(side**2, device=hidden_states.device).view(1, side, side)
        place = units_to_patches(place, 1).flatten()  # row-major place of each token in Z-order
        positions = get_window_positions(place // side, place % side, side)
        return {**plan, "relative_position_index": get_relative_position_index(positions, side)}

    def forward(
        self, hidden_states: torch.Tensor, prepared: dict[str, torch.Tensor], **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        batch_size, _, channels = hidden_states.shape
        index = prepared["relative_position_index"]
        if "gather_index" in prepared:
            hidden_states = hidden_states[:, prepared["gather_index"].flatten()]
        attention_mask = None
        if self.relative_position_bias is not None:
            attention_mask = (
                self.relative_position_bias()[index.flatten()].view(*index.shape, -1).permute(2, 0, 1)[None]
            )
        if "is_padding" in prepared:
            is_padding = prepared["is_padding"][:, None, None].repeat(batch_size, 1, 1, 1)
            padding_score = hidden_states.new_zeros(is_padding.shape).masked_fill(is_padding, MASKED_SCORE)
            attention_mask = padding_score if attention_mask is None else attention_mask + padding_score
        units = hidden_states.reshape(-1, len(index), channels)
        attn_output, attn_weights = super().forward(units, attention_mask, **kwargs)
        attn_output = attn_output.view(batch_size, -1, channels)
        if "scatter_index" in prepared:
            attn_output = attn_output[:, prepared["scatter_index"]]
        return attn_output, attn_weights


class _AxisPartition(NamedTuple):
    """One axis of a grid, padded to whole windows, in the order of Swin's cyclic shift."""

    place: torch.Tensor  # (groups, slots), place along the axis; padding comes after the last
    window: torch.Tensor  # (groups, slots), window of this place: the shift puts two windows into the last group
    slot: torch.Tensor  # (length,), slot of each place that is not padding
    group: torch.Tensor  # (length,), group of each place that is not padding


def _partition_axis(
    length: int, window_size: int, side: int, shift: int, device: torch.device | None
) -> _AxisPartition:
    padded_length = -(-length // side) * side
    place = (torch.arange(padded_length, device=device) + shift) % padded_length
    place = place.view(-1, side)
    rolled = (torch.arange(length, device=device) - shift) % padded_length
    return _AxisPartition(place, (place + window_size - shift) // window_size, rolled % side, rolled // side)


@torch.inference_mode(False)  # a cached plan must also work in training if its first use is an evaluation
def _partition_grid(
    grid_size: tuple[int, int], window_size: int, sides: tuple[int, int], shift: int, device: torch.device | None
) -> dict[str, torch.Tensor]:
    """
    Plan of a full image, whose groups are its windows. As in Swin, padding completes the last row and column of
    windows and takes part in the attention (see `SwinLayer.maybe_pad` in transformers).
    """
    height, width = grid_size
    rows, columns = (
        _partition_axis(length, window_size, side, shift, device) for length, side in zip(grid_size, sides)
    )
    (row_groups, row_slots), (column_groups, column_slots) = rows.place.shape, columns.place.shape

    def combine(row_values: torch.Tensor, column_values: torch.Tensor) -> torch.Tensor:
        """Sum the row value and the column value of every slot, `(groups, slots)`."""
        sums = row_values[:, None, :, None] + column_values[None, :, None, :]
        return sums.reshape(row_groups * column_groups, row_slots * column_slots)

    position_rows, position_columns = (
        torch.arange(axis.place.shape[1], device=device).expand_as(axis.place) for axis in (rows, columns)
    )
    slot = rows.slot[:, None] * column_slots + columns.slot
    group = rows.group[:, None] * column_groups + columns.group
    is_padding = combine(rows.place >= height, columns.place >= width)
    plan = {
        "gather_index": combine(rows.place * width, columns.place).masked_fill(is_padding, 0),
        "scatter_index": (group * (row_slots * column_slots) + slot).flatten(),
        "set_index": combine(rows.window * (width + 2 * window_size), columns.window),
        "position_index": combine(get_window_positions(position_rows, 0, window_size), position_columns),
    }
    return {**plan, "is_padding": is_padding} if is_padding.numel() > height * width else plan


_partition_grid_once = functools.lru_cache(maxsize=128)(_partition_grid)

__all__ = [
    "GreenMimMaskUnitAttention",
    "GreenMimShiftedWindowAttention",
    "GreenMimWindowAttention",
    "WindowGroups",
]
