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

The windows of a partly visible image hold any number of tokens. They are packed as a whole into groups of equal size, and
inside a group a token attends to its own window only: GreenMIM's Group Window Attention
(https://huggingface.co/papers/2205.13515, section 3.2). For `T` tokens in `G` groups of `S` slots, a plan holds:

| key              | shape    | value                                                                  |
|------------------|----------|------------------------------------------------------------------------|
| `gather_index`   | `(S, G)` | token in each slot; 0 for an empty slot                                |
| `scatter_index`  | `(T,)`   | slot of each token, counted row-major over `(S, G)`                    |
| `set_index`      | `(S, G)` | window of the token in each slot; -1 for an empty slot                 |
| `position_index` | `(S, G)` | `row * (2 * window_size - 1) + column` of the token in its window      |
| `is_padding`     | `(S, G)` | only where a full image is padded: whether the slot holds padding      |

`T` tells how a plan is used. Either all images share a mask: `T` counts the tokens of one image, and all images follow copies
of the plan. Or each image has its own mask: `T` counts the tokens of the batch, and a group may hold windows of several images.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import TokenLayout, get_grid_size, units_to_patches, view_units
from .mixer_greenmim import GreenMimAttention, GreenMimTokenMixer
from .packing_greenmim import EMPTY_SET
from .position_bias_greenmim import (
    GreenMimRelativePositionBias,
    get_relative_position_index,
    get_window_positions,
)


# added to the scores of tokens of different windows: finite in every dtype, and its exponential is zero in all of them
MASKED_SCORE = -3.0e4


class WindowGroups(NamedTuple):
    """A plan of windows, ready for all layers of a stage: expanded to `num_copies` copies and to all pairs of slots."""

    shape: tuple[int, int, int]  # (copies, slots, groups)
    gather_index: torch.Tensor  # (copies * slots * groups,), token in each slot, counted over the whole batch
    scatter_index: torch.Tensor  # (tokens of the batch,), slot of each token, counted over (copies, slots, groups)
    relative_position_index: torch.Tensor  # (groups, slots, slots), row of the bias table; the last one masks
    has_padding: bool  # whether slots refer to a token after the last, which is zero


class GreenMimWindowAttention(GreenMimAttention, GreenMimTokenMixer):
    """Attention inside windows, with a relative position bias."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, config.hidden_sizes[stage], config.num_heads[stage])
        self.relative_position_bias = GreenMimRelativePositionBias(self.num_heads, config.window_size)

    @classmethod
    def get_shift_size(cls, grid_size: tuple[int, int], window_size: int, clip_windows: bool = True) -> int:
        """Number of tokens by which windows are shifted in a grid, along both axes."""
        return 0

    @classmethod
    def make_plan(
        cls, layout: TokenLayout, config: GreenMimConfig, stage: int, pack_tokens: Callable[..., dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        window_size = config.window_size
        # shifted windows are those of a grid that starts `window_size - shift` tokens before the image, so no roll is
        # needed; for regular windows this only changes their numbers
        start = window_size - cls.get_shift_size(layout.grid_size, window_size)
        row_windows, window_rows = np.divmod(layout.rows + start, window_size)
        column_windows, window_columns = np.divmod(layout.columns + start, window_size)
        windows_per_side = [(side - 1 + window_size) // window_size + 2 for side in layout.grid_size]
        image_windows = np.arange(len(layout.rows))[:, None] * windows_per_side[0] + row_windows
        windows = (image_windows * windows_per_side[1] + column_windows).reshape(-1)
        positions = get_window_positions(window_rows, window_columns, window_size).reshape(-1)

        plan = pack_tokens(windows, config.hidden_sizes[stage])
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
        # the groups of a full image are its windows; as in Swin, the last row and column of windows are completed by
        # padding, which takes part in the attention (see `SwinLayer.maybe_pad` in transformers)
        (height, width), window_size = grid_size, config.window_size
        shift = cls.get_shift_size(grid_size, window_size, clip_windows)
        rows, columns = (
            _partition_axis(
                length, window_size, min(window_size, length) if clip_windows else window_size, shift, device
            )
            for length in grid_size
        )
        (row_slots, row_groups), (column_slots, column_groups) = rows.place.shape, columns.place.shape

        def combine(row_values: torch.Tensor, column_values: torch.Tensor) -> torch.Tensor:
            """Sums the value of the row and that of the column of every slot, `(slots, groups)`."""
            sums = row_values[:, None, :, None] + column_values[None, :, None, :]
            return sums.reshape(row_slots * column_slots, row_groups * column_groups)

        position_rows, position_columns = (
            torch.arange(axis.place.shape[0], device=device)[:, None].expand_as(axis.place) for axis in (rows, columns)
        )
        slot = rows.slot[:, None] * column_slots + columns.slot
        group = rows.group[:, None] * column_groups + columns.group
        plan = {
            "gather_index": combine(rows.place * width, columns.place),
            "scatter_index": (slot * (row_groups * column_groups) + group).flatten(),
            "set_index": combine(rows.window * (width + 2 * window_size), columns.window),
            "position_index": combine(get_window_positions(position_rows, 0, window_size), position_columns),
        }
        if plan["gather_index"].numel() > height * width:
            plan["is_padding"] = combine(rows.place >= height, columns.place >= width)
        return plan

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> WindowGroups:
        gather_index, scatter_index = plan["gather_index"], plan["scatter_index"]
        window, position = plan["set_index"].t(), plan["position_index"].t()  # (groups, slots)
        index = get_relative_position_index(position, config.window_size)
        index = torch.where(window[:, :, None] == window[:, None, :], index, (2 * config.window_size - 1) ** 2)
        index = index.long()  # the gradient of a look-up by int32 is 20 times slower on a CPU

        (num_slots, num_groups), plan_tokens = gather_index.shape, scatter_index.shape[0]
        num_tokens = hidden_states.shape[0] * hidden_states.shape[1]
        num_copies = num_tokens // plan_tokens
        copy = torch.arange(num_copies, device=gather_index.device)[:, None]
        copied_gather_index = gather_index.flatten() + copy * plan_tokens
        if "is_padding" in plan:
            copied_gather_index = copied_gather_index.masked_fill(plan["is_padding"].flatten(), num_tokens)
        copied_scatter_index = scatter_index + copy * gather_index.numel()
        shape = (num_copies, num_slots, num_groups)
        return WindowGroups(
            shape, copied_gather_index.flatten(), copied_scatter_index.flatten(), index, "is_padding" in plan
        )

    def forward(
        self, hidden_states: torch.Tensor, prepared: WindowGroups, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        num_copies, num_slots, _ = prepared.shape
        tokens = hidden_states.flatten(0, 1)
        if prepared.has_padding:
            tokens = nn.functional.pad(tokens, (0, 0, 0, 1))

        # groups are further heads
        slots = tokens.index_select(0, prepared.gather_index)
        query, key, value = (
            projection(slots).view(num_copies, num_slots, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # (copies, groups * heads, slots, head_dim)
        attention_mask = look_up_bias(self.relative_position_bias(), prepared.relative_position_index)
        attn_output, attn_weights = self.attend(query, key, value, attention_mask, **kwargs)
        attn_output = attn_output.view(-1, hidden_states.shape[-1]).index_select(0, prepared.scatter_index)
        return self.o_proj(attn_output.view(hidden_states.shape)), attn_weights


class GreenMimShiftedWindowAttention(GreenMimWindowAttention):
    """Attention inside windows that are shifted by half a window; where one window covers a side of the grid, by none."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, stage)
        if config.window_size < 2:
            raise ValueError(
                f"`window_size` must be at least 2 for the token mixer 'shifted_window', got {config.window_size}. Set "
                "`token_mixers` to 'window' in every stage, or choose larger windows."
            )

    @classmethod
    def get_shift_size(cls, grid_size: tuple[int, int], window_size: int, clip_windows: bool = True) -> int:
        return 0 if clip_windows and min(grid_size) <= window_size else window_size // 2


class GreenMimMaskUnitAttention(GreenMimAttention, GreenMimTokenMixer):
    """
    Attention inside mask units. The visible tokens of a unit lie side by side, so that there is no plan for a mask. The
    relative position bias has the size of a unit, whatever the windows; in the last stage, where a unit is one token, there is
    none. Where a full image is not made of whole units, there are tokens missing in the last ones.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, config.hidden_sizes[stage], config.num_heads[stage])
        side = config.get_unit_side(stage)
        self.relative_position_bias = GreenMimRelativePositionBias(self.num_heads, side) if side > 1 else None

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
        rows, columns = (side * length for length in get_grid_size(grid_size, side))  # completed to whole units
        cells = torch.arange(rows * columns, device=device).view(1, 1, rows, columns)
        cells = units_to_patches(view_units(cells, side), patch_size=1).reshape(
            -1, side**2
        )  # unit by unit, in Z-order
        cell_rows, cell_columns = cells // columns, cells % columns
        is_missing = (cell_rows >= height) | (cell_columns >= width)
        place = cells.new_empty(rows * columns).scatter(
            0, cells.flatten(), torch.arange(rows * columns, device=device)
        )
        plan = {
            "gather_index": (cell_rows * width + cell_columns).masked_fill(is_missing, 0),
            "scatter_index": place.view(rows, columns)[:height, :width].flatten(),
        }
        return plan | {"is_missing": is_missing} if rows * columns > height * width else plan

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> dict[str, torch.Tensor]:
        side = config.get_unit_side(stage)
        place = torch.arange(side**2, device=hidden_states.device).view(1, side, side)
        place = units_to_patches(place, 1).flatten()  # of the tokens in Z-order, counted row-major
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
        if "is_missing" in prepared:
            is_missing = prepared["is_missing"][:, None, None].repeat(batch_size, 1, 1, 1)
            missing_score = hidden_states.new_zeros(is_missing.shape).masked_fill(is_missing, MASKED_SCORE)
            attention_mask = missing_score if attention_mask is None else attention_mask + missing_score
        units = hidden_states.reshape(-1, len(index), channels)
        attn_output, attn_weights = super().forward(units, attention_mask, **kwargs)
        attn_output = attn_output.view(batch_size, -1, channels)
        if "scatter_index" in prepared:
            attn_output = attn_output[:, prepared["scatter_index"]]
        return attn_output, attn_weights


def look_up_bias(biases: torch.Tensor, relative_position_index: torch.Tensor) -> torch.Tensor:
    """
    Bias of each pair of slots, and the mask between windows, in one look-up.

    Args:
        biases (`torch.Tensor` of shape `(num_offsets, num_heads)`):
            Position bias of each offset.
        relative_position_index (`torch.Tensor` of `int64` and shape `(groups, slots, slots)`):
            Offset of each pair; `num_offsets` for a pair of different windows.

    Returns:
        `torch.Tensor` of shape `(1, groups * num_heads, slots, slots)`.
    """
    num_groups, num_slots, _ = relative_position_index.shape
    biases = nn.functional.pad(biases, (0, 0, 0, 1), value=MASKED_SCORE)
    # every group looks into a copy of its own: gradients then meet inside a group only, not all in one table
    copies = biases.t().repeat(1, num_groups)  # (heads, groups * rows)
    first_rows = torch.arange(num_groups, device=biases.device)[:, None, None] * biases.shape[0]
    bias = copies.index_select(1, (relative_position_index + first_rows).flatten())
    bias = bias.view(-1, num_groups, num_slots, num_slots).transpose(0, 1)
    return bias.reshape(1, -1, num_slots, num_slots)


class _AxisPartition(NamedTuple):
    """One axis of a grid, completed by padding to whole windows, in the order of Swin's cyclic shift."""

    place: torch.Tensor  # (slots, groups), place along the axis; padding comes after the last
    window: torch.Tensor  # (slots, groups), window of this place: the shift brings two of them into the last group
    slot: torch.Tensor  # (length,), slot of each place that is not padding
    group: torch.Tensor  # (length,), group of each place that is not padding


def _partition_axis(
    length: int, window_size: int, side: int, shift: int, device: torch.device | None
) -> _AxisPartition:
    padded_length = -(-length // side) * side
    place = (torch.arange(padded_length, device=device) + shift) % padded_length
    place = place.view(-1, side).t()
    rolled = (torch.arange(length, device=device) - shift) % padded_length
    return _AxisPartition(place, (place + window_size - shift) // window_size, rolled % side, rolled // side)


__all__ = [
    "GreenMimMaskUnitAttention",
    "GreenMimShiftedWindowAttention",
    "GreenMimWindowAttention",
    "WindowGroups",
    "look_up_bias",
]
