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
"""Token gathers whose gradient is also a gather.

PyTorch's gradients of `index_select` and `gather` add into zeros, on a GPU by atomics in no fixed order. The indices
of plans name each token once, so the gradient is a gather by the inverse index, which is deterministic and needs no
zeros.
"""

import torch


class _GatherSlots(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens, gather_index, scatter_index, is_padding):
        ctx.save_for_backward(scatter_index)
        slots = tokens.index_select(0, gather_index)
        return slots if is_padding is None else slots.masked_fill_(is_padding[:, None], 0)

    @staticmethod
    def backward(ctx, grad_slots):
        (scatter_index,) = ctx.saved_tensors
        return grad_slots.index_select(0, scatter_index), None, None, None


class _ScatterSlots(torch.autograd.Function):
    @staticmethod
    def forward(ctx, slots, gather_index, scatter_index, is_empty):
        ctx.save_for_backward(gather_index, is_empty)
        return slots.index_select(0, scatter_index)

    @staticmethod
    def backward(ctx, grad_tokens):
        gather_index, is_empty = ctx.saved_tensors
        return grad_tokens.index_select(0, gather_index).masked_fill_(is_empty[:, None], 0), None, None, None


class _SelectTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens, index):
        ctx.save_for_backward(index)
        ctx.num_tokens = tokens.shape[1]
        return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))

    @staticmethod
    def backward(ctx, grad_selected):
        (index,) = ctx.saved_tensors
        batch_size, _, channels = grad_selected.shape
        grad_tokens = grad_selected.new_zeros(batch_size, ctx.num_tokens, channels)
        return grad_tokens.scatter(1, index[:, :, None].expand(-1, -1, channels), grad_selected), None


def gather_slots(
    tokens: torch.Tensor,
    gather_index: torch.Tensor,
    scatter_index: torch.Tensor,
    is_padding: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Copy tokens into slots.

    Args:
        tokens (`torch.Tensor` of shape `(num_tokens, channels)`):
            The tokens.
        gather_index (`torch.Tensor` of integers and shape `(num_slots,)`):
            Token in each slot. An empty slot may name any token: gradients of empty slots are dropped.
        scatter_index (`torch.Tensor` of integers and shape `(num_tokens,)`):
            Slot of each token.
        is_padding (`torch.Tensor` of `bool` and shape `(num_slots,)`, *optional*):
            Whether a slot is zero, regardless of the token that it names.

    Returns:
        `torch.Tensor` of shape `(num_slots, channels)`.
    """
    return _GatherSlots.apply(tokens, gather_index, scatter_index, is_padding)


def scatter_slots(
    slots: torch.Tensor, gather_index: torch.Tensor, scatter_index: torch.Tensor, is_empty: torch.Tensor
) -> torch.Tensor:
    """
    Copy slots back to tokens. This is the inverse of [`gather_slots`].

    Args:
        slots (`torch.Tensor` of shape `(num_slots, channels)`):
            The slots.
        gather_index (`torch.Tensor` of integers and shape `(num_slots,)`):
            Token in each slot.
        scatter_index (`torch.Tensor` of integers and shape `(num_tokens,)`):
            Slot of each token.
        is_empty (`torch.Tensor` of `bool` and shape `(num_slots,)`):
            Whether a slot is empty, so that its gradient is zero.

    Returns:
        `torch.Tensor` of shape `(num_tokens, channels)`.
    """
    return _ScatterSlots.apply(slots, gather_index, scatter_index, is_empty)


def select_tokens(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """
    Select tokens of each image.

    Args:
        tokens (`torch.Tensor` of shape `(batch_size, num_tokens, channels)`):
            The tokens.
        index (`torch.Tensor` of `int64` and shape `(batch_size, num_selected)`):
            The tokens to select, each at most once.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_selected, channels)`.
    """
    return _SelectTokens.apply(tokens, index)


__all__ = ["gather_slots", "scatter_slots", "select_tokens"]
