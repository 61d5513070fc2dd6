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
"""Position bias of groups: expands one bias per offset to one per pair of slots, with the mask between windows.

The forward pass is a lookup. The gradient is a sum over all pairs of slots with the same offset. On a CPU, every group
reads its own copy of the biases, and gradients add up inside the group. On a GPU, this would use atomics, in no fixed
order. There, products with one-hot positions sum the gradients of all groups by the window positions of both tokens,
and a gather sums these by offset. The result is the same, and deterministic.
"""

import functools
from typing import NamedTuple

import torch
from torch import nn

from .packing_greenmim import EMPTY_SET
from .position_bias_greenmim import get_relative_position_index


# added to the scores of tokens in different windows: finite in every dtype, with an exponential of zero in all
MASKED_SCORE = -3.0e4


class PairIndex(NamedTuple):
    """Offset of each pair of slots, for all layers of a stage."""

    shape: tuple[int, int]  # (groups, slots)
    # on a CPU (groups * slots * slots,), rows of the copies of all groups; else (groups, slots, padded slots), rows of
    # one table
    index: torch.Tensor  # type: ignore[assignment]
    # on a GPU, (groups, slots, window_size**2): position of each slot's token in its window
    one_hot: torch.Tensor | None
    # on a GPU, (offsets, window_size**2): pairs of positions with each offset, filled up with the index after the last
    # pair
    pairs_of_offset: torch.Tensor | None


def make_pair_index(
    set_index: torch.Tensor, position_index: torch.Tensor, window_size: int, dtype: torch.dtype
) -> PairIndex:
    """
    Prepare the bias lookup of a stage.

    Args:
        set_index (`torch.Tensor` of integers and shape `(groups, slots)`):
            Window of the token in each slot, -1 for an empty slot.
        position_index (`torch.Tensor` of integers and shape `(groups, slots)`):
            `row * (2 * window_size - 1) + column` of the token in its window.
        window_size (`int`):
            Side of the windows in tokens.
        dtype (`torch.dtype`):
            Dtype of the attention.

    Returns:
        [`PairIndex`]
    """
    index = get_relative_position_index(position_index, window_size)
    index = torch.where(set_index[:, :, None] == set_index[:, None, :], index, (2 * window_size - 1) ** 2)
    if index.device.type == "cpu":
        return make_copied_pairs(index, window_size)
    return make_one_hot_pairs(index, set_index, position_index, window_size, dtype)


def make_copied_pairs(index: torch.Tensor, window_size: int) -> PairIndex:
    """Make the pair index for a CPU from the offset of each pair, `(groups, slots, slots)`."""
    num_groups, num_slots, _ = index.shape
    first_rows = torch.arange(num_groups, device=index.device)[:, None, None] * ((2 * window_size - 1) ** 2 + 1)
    # int64: the gradient of a lookup by int32 is 20 times slower on a CPU
    return PairIndex((num_groups, num_slots), (index.long() + first_rows).flatten(), None, None)


def make_one_hot_pairs(
    index: torch.Tensor, set_index: torch.Tensor, position_index: torch.Tensor, window_size: int, dtype: torch.dtype
) -> PairIndex:
    """Make the pair index for a GPU from the offset of each pair, `(groups, slots, slots)`."""
    num_groups, num_slots, _ = index.shape
    # fused attention on a GPU reads rows that are aligned to 8 elements
    index = nn.functional.pad(index.int(), (0, -num_slots % 8), value=(2 * window_size - 1) ** 2)
    rows, columns = position_index // (2 * window_size - 1), position_index % (2 * window_size - 1)
    places = torch.arange(window_size**2, device=index.device, dtype=rows.dtype)
    one_hot = ((rows * window_size + columns)[:, :, None] == places).to(dtype)
    one_hot = one_hot.masked_fill((set_index == EMPTY_SET)[:, :, None], 0)
    return PairIndex((num_groups, num_slots), index, one_hot, _get_pairs_of_offset(window_size, index.device))


def look_up_bias(
    biases: torch.Tensor, pairs: PairIndex, dtype: torch.dtype, masked_value: float = MASKED_SCORE
) -> torch.Tensor:
    """
    Look up the bias of each pair of slots. By default, pairs of different windows get a large negative number.

    Args:
        biases (`torch.Tensor` of shape `(num_offsets, num_heads)`):
            Position bias of each offset.
        pairs ([`PairIndex`]):
            Result of [`make_pair_index`].
        dtype (`torch.dtype`):
            Dtype of the result.
        masked_value (`float`, *optional*, defaults to -3e4):
            Value for pairs of different windows.

    Returns:
        `torch.Tensor` of shape `(groups, num_heads, slots, slots)`.
    """
    if pairs.one_hot is not None:
        return _LookUpBias.apply(biases, *pairs[1:], dtype, masked_value)
    num_groups, num_slots = pairs.shape
    biases = nn.functional.pad(biases, (0, 0, 0, 1), value=masked_value)
    # every group reads its own copy: gradients then add up inside a group, not all in one table
    copies = biases.t().repeat(1, num_groups)  # (heads, groups * rows)
    bias = copies.index_select(1, pairs.index).view(-1, num_groups, num_slots, num_slots)
    return bias.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format)


class _LookUpBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx, biases, index, one_hot, pairs_of_offset, dtype, masked_value):
        ctx.save_for_backward(one_hot, pairs_of_offset)
        ctx.dtype = biases.dtype
        rows = nn.functional.pad(biases.t().to(dtype), (0, 1), value=masked_value)
        bias = rows.index_select(1, index.flatten()).view(-1, *index.shape).transpose(0, 1)
        return bias[..., : index.shape[1]]

    @staticmethod
    def backward(ctx, grad_bias):
        one_hot, pairs_of_offset = ctx.saved_tensors
        num_groups, num_heads, num_slots, _ = grad_bias.shape
        num_places = one_hot.shape[2]
        one_hot = one_hot.to(grad_bias.dtype)
        # sum over the second slot of each pair, (groups, heads, slots, places), then over the first one and all groups
        sums = torch.bmm(grad_bias.reshape(num_groups, num_heads * num_slots, num_slots), one_hot)
        sums = sums.view(num_groups, num_heads, num_slots, num_places).transpose(1, 2)
        sums = one_hot.flatten(0, 1).t() @ sums.reshape(num_groups * num_slots, num_heads * num_places)
        sums = sums.view(num_places, num_heads, num_places).transpose(0, 1).reshape(num_heads, num_places**2)
        sums = nn.functional.pad(sums.to(ctx.dtype), (0, 1))
        gradient = sums.index_select(1, pairs_of_offset.flatten()).view(num_heads, -1, num_places).sum(dim=2)
        return gradient.t(), None, None, None, None, None


def _get_pairs_of_offset(window_size: int, device: torch.device) -> torch.Tensor:
    """Pairs of positions in a window with each offset, as `first * window_size**2 + second`."""
    if torch.compiler.is_compiling():
        return _make_pairs_of_offset(window_size, device)
    return _cached_pairs_of_offset(window_size, device)


def _make_pairs_of_offset(window_size: int, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # must also work in training if the first use is an evaluation
        offsets = torch.arange(1 - window_size, window_size, device=device)
        places = torch.arange(window_size, device=device)
        first = offsets[:, None] + places  # (offsets, places) along one axis
        is_inside = (first >= 0) & (first < window_size)
        # (row offset, column offset, row, column)
        first = first[:, None, :, None] * window_size + first[None, :, None, :]
        second = (places[:, None] * window_size + places)[None, None]
        is_inside = is_inside[:, None, :, None] & is_inside[None, :, None, :]
        pairs = torch.where(is_inside, first * window_size**2 + second, window_size**4)
        return pairs.view((2 * window_size - 1) ** 2, window_size**2)


_cached_pairs_of_offset = functools.lru_cache(maxsize=16)(_make_pairs_of_offset)

__all__ = [
    "MASKED_SCORE",
    "PairIndex",
    "look_up_bias",
    "make_copied_pairs",
    "make_one_hot_pairs",
    "make_pair_index",
]
