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
"""Neighbor plans, and the gradient of their gather."""

import numpy as np
import pytest
import torch

from modeling_greenmim import sample_masks
from modeling_greenmim.layout_greenmim import TokenLayout
from modeling_greenmim.neighbors_greenmim import (
    HIDDEN_NEIGHBOR,
    OUTSIDE_NEIGHBOR,
    find_full_neighbors,
    find_neighbors,
    gather_neighbors,
    get_neighbor_rows,
)


KERNELS = pytest.mark.parametrize(("kernel_size", "dilations"), [(3, (1, 2, 3)), (5, (1,)), (1, (4,))])


def make_layout(mask_ratio: float = 0.6) -> TokenLayout:
    masks = sample_masks(3, (4, 5), mask_ratio, seed=0)
    return TokenLayout.from_visible_indices(np.nonzero(~masks)[1].reshape(3, -1), (4, 5), unit_side=2)


@KERNELS
def test_neighbors_are_the_tokens_at_their_offsets(kernel_size, dilations):
    layout = make_layout()
    neighbors = find_neighbors(layout, kernel_size, dilations)
    assert neighbors.shape == (*layout.rows.shape, len(dilations), kernel_size**2)
    for (image, token, scale, cell), neighbor in np.ndenumerate(neighbors):
        row_step, column_step = (step - kernel_size // 2 for step in divmod(cell, kernel_size))
        row = layout.rows[image, token] + dilations[scale] * row_step
        column = layout.columns[image, token] + dilations[scale] * column_step
        found = np.flatnonzero((layout.rows[image] == row) & (layout.columns[image] == column))
        is_inside = 0 <= row < 8 and 0 <= column < 10
        assert neighbor == (found[0] if len(found) else HIDDEN_NEIGHBOR if is_inside else OUTSIDE_NEIGHBOR)


@KERNELS
def test_neighbors_of_a_full_image_are_those_of_a_mask_that_hides_nothing(kernel_size, dilations):
    units = np.arange(20)[None]
    layout = TokenLayout.from_visible_indices(units, (4, 5), unit_side=1)  # row-major, as units are single tokens
    expected = find_neighbors(layout, kernel_size, dilations)
    assert find_full_neighbors((4, 5), kernel_size, dilations).tolist() == expected.tolist()


def test_rows_count_the_heads_of_all_images():
    neighbors = torch.tensor([[[[1, -1], [0, -2]], [[0, 1], [1, 0]]]])  # of 2 heads of 2 tokens
    # token, then head, inside an image; two images share the plan
    expected = [[2, -1], [1, -2], [0, 2], [3, 1], [6, -1], [5, -2], [4, 6], [7, 5]]
    assert get_neighbor_rows(neighbors, batch_size=2).tolist() == expected


def test_gathered_neighbors_and_their_gradient():
    neighbors = torch.from_numpy(find_neighbors(make_layout(), 3, [2])[0, :, 0])
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(len(neighbors), 2, dtype=torch.float64, generator=generator, requires_grad=True)
    expected = torch.stack([states[row] if row >= 0 else torch.zeros(2) for row in neighbors.flatten()])
    assert torch.equal(gather_neighbors(states, neighbors).flatten(0, 1), expected)
    torch.autograd.gradcheck(gather_neighbors, (states, neighbors))
