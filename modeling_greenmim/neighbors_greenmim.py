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
"""Neighbors: the tokens at given offsets from each token, for mixers that read a neighborhood.

A neighbor plan is an integer array of shape `(num_masks, num_tokens, num_dilations, kernel_size**2)`. It lists the
neighbors of each token in a neighborhood of `kernel_size` x `kernel_size` cells, row-major, that are `dilation` tokens
apart. An entry is the place of the neighbor among the tokens, or

- `HIDDEN_NEIGHBOR` if the neighbor is hidden, and so does not exist.
- `OUTSIDE_NEIGHBOR` if it is beyond the image border. Its meaning is up to the mixer; for most, it is padding.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .layout_greenmim import TokenLayout


HIDDEN_NEIGHBOR = -1
OUTSIDE_NEIGHBOR = -2


def find_neighbors(layout: TokenLayout, kernel_size: int, dilations: Sequence[int]) -> np.ndarray:
    """
    Find the neighbors of visible tokens.

    Args:
        layout ([`TokenLayout`]):
            Positions of the visible tokens.
        kernel_size (`int`):
            Side of the neighborhoods in tokens, odd.
        dilations (`Sequence[int]`):
            Distances between the cells of a neighborhood.

    Returns:
        `np.ndarray` of `int32` and shape `(num_masks, num_tokens, num_dilations, kernel_size**2)`.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_greenmim.layout_greenmim import TokenLayout
    >>> from modeling_greenmim.neighbors_greenmim import find_neighbors

    >>> # two visible tokens side by side, in the upper left corner of 3 x 3 tokens
    >>> layout = TokenLayout.from_visible_indices(np.array([[0, 1]]), unit_grid=(3, 3), unit_side=1)
    >>> find_neighbors(layout, kernel_size=3, dilations=[1])[0, 0, 0].tolist()  # of the first token
    [-2, -2, -2, -2, 0, 1, -2, -1, -1]
    ```"""
    row_offsets, column_offsets = (offsets.numpy() for offsets in _get_offsets(kernel_size, dilations))
    num_masks, num_tokens = layout.rows.shape
    margin = kernel_size // 2 * max(dilations)
    height, width = (side + 2 * margin for side in layout.grid_size)
    tokens = np.full((num_masks, height, width), OUTSIDE_NEIGHBOR, dtype=np.int32)
    tokens[:, margin : height - margin, margin : width - margin] = HIDDEN_NEIGHBOR
    masks = np.arange(num_masks)[:, None]
    rows, columns = layout.rows + margin, layout.columns + margin
    tokens[masks, rows, columns] = np.arange(num_tokens, dtype=np.int32)
    cells = (masks * height + rows) * width + columns
    return tokens.reshape(-1)[cells[:, :, None, None] + row_offsets * width + column_offsets]


def find_full_neighbors(
    grid_size: tuple[int, int], kernel_size: int, dilations: Sequence[int], device: torch.device | None = None
) -> torch.Tensor:
    """
    Find the neighbors of all tokens of a full image, row-major. No neighbor is hidden.

    Args:
        grid_size (`tuple[int, int]`):
            Rows and columns of tokens.
        kernel_size (`int`):
            Side of the neighborhoods in tokens, odd.
        dilations (`Sequence[int]`):
            Distances between the cells of a neighborhood.
        device (`torch.device`, *optional*):
            Device of the plan.

    Returns:
        `torch.Tensor` of `int64` and shape `(1, num_tokens, num_dilations, kernel_size**2)`.
    """
    height, width = grid_size
    row_offsets, column_offsets = _get_offsets(kernel_size, dilations, device)
    rows = torch.arange(height, device=device)[:, None, None, None] + row_offsets
    columns = torch.arange(width, device=device)[:, None, None] + column_offsets
    is_outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    return (rows * width + columns).masked_fill(is_outside, OUTSIDE_NEIGHBOR).flatten(0, 1)[None]


def get_neighbor_rows(neighbors: torch.Tensor, batch_size: int) -> torch.Tensor:
    """
    Row indices of neighbors among all heads of all tokens in a batch.

    Args:
        neighbors (`torch.Tensor` of integers and shape `(num_masks, num_tokens, num_heads, kernel_size**2)`):
            A neighbor plan, repeated so that each head has the neighbors of one dilation.
        batch_size (`int`):
            Number of images in the batch, which have their own masks or share one.

    Returns:
        `torch.Tensor` of integers and shape `(batch_size * num_tokens * num_heads, kernel_size**2)`, for
        [`gather_neighbors`].
    """
    _, num_tokens, num_heads, _ = neighbors.shape
    images, heads = (torch.arange(number, device=neighbors.device) for number in (batch_size, num_heads))
    rows = (images[:, None, None, None] * num_tokens + neighbors) * num_heads + heads[:, None]
    return torch.where(neighbors < 0, neighbors, rows).flatten(0, 2)


def gather_neighbors(states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """
    Copy the neighbors of each head of each token. Hidden and outside neighbors are zero.

    Args:
        states (`torch.Tensor` of shape `(batch_size * num_tokens * num_heads, channels)`):
            The tokens.
        rows (`torch.Tensor` of integers and shape `(batch_size * num_tokens * num_heads, kernel_size**2)`):
            Row indices of the neighbors, from [`get_neighbor_rows`].

    Returns:
        `torch.Tensor` of shape `(batch_size * num_tokens * num_heads, kernel_size**2, channels)`.
    """
    return _GatherNeighbors.apply(states, rows)


class _GatherNeighbors(torch.autograd.Function):
    """The gradient is a gather as well: where B is the right neighbor of A, A is the left neighbor of B."""

    @staticmethod
    def forward(ctx, states, rows):
        ctx.save_for_backward(rows)
        return _gather_rows(states, rows)

    @staticmethod
    def backward(ctx, grad_gathered):
        (rows,) = ctx.saved_tensors
        num_cells = rows.shape[1]
        opposite = rows.flip(1)
        cells = opposite * num_cells + torch.arange(num_cells, device=rows.device, dtype=rows.dtype)
        cells = torch.where(opposite < 0, opposite, cells)
        return _gather_rows(grad_gathered.flatten(0, 1), cells).sum(1), None


def _gather_rows(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Select rows of states, with zeros for negative indices."""
    gathered = states.index_select(0, index.clamp(min=0).flatten()).view(*index.shape, states.shape[1])
    return gathered.masked_fill_((index < 0)[..., None], 0)


def _get_offsets(
    kernel_size: int, dilations: Sequence[int], device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Row and column offsets from a token to the cells of its neighborhoods, `(num_dilations, kernel_size**2)` each.
    """
    steps = torch.arange(kernel_size, device=device) - kernel_size // 2
    axes = (steps.repeat_interleave(kernel_size), steps.repeat(kernel_size))
    rows, columns = (torch.stack([dilation * axis for dilation in dilations]) for axis in axes)
    return rows, columns


__all__ = [
    "HIDDEN_NEIGHBOR",
    "OUTSIDE_NEIGHBOR",
    "find_full_neighbors",
    "find_neighbors",
    "gather_neighbors",
    "get_neighbor_rows",
]
