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
"""Group biases: the CPU and GPU lookups against a pair-by-pair reference."""

import pytest
import torch

from modeling_greenmim import GreenMimConfig, make_plan, sample_masks
from modeling_greenmim.group_bias_greenmim import (
    MASKED_SCORE,
    look_up_bias,
    make_copied_pairs,
    make_one_hot_pairs,
    make_pair_index,
)
from modeling_greenmim.position_bias_greenmim import get_relative_position_index


def get_groups(window_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows and positions for the slots of some groups, with empty slots."""
    config = GreenMimConfig(image_size=32, patch_size=2, depths=(2, 2), num_heads=1, window_size=window_size)
    shapes = {"stage1": {"shifted_window": (None, window_size**2)}}
    plan = make_plan(sample_masks(3, (8, 8), 0.6, seed=1), config, group_shapes=shapes)
    mixer_plan = plan["stage1"]["shifted_window"]
    assert (mixer_plan["set_index"] < 0).any()
    return mixer_plan["set_index"], mixer_plan["position_index"]


def make_pairs(kind: str, sets: torch.Tensor, positions: torch.Tensor, window_size: int):
    index = get_relative_position_index(positions, window_size)
    index = torch.where(sets[:, :, None] == sets[:, None, :], index, (2 * window_size - 1) ** 2)
    if kind == "copies":
        return make_copied_pairs(index, window_size)
    return make_one_hot_pairs(index, sets, positions, window_size, torch.float64)


@pytest.mark.parametrize("kind", ["copies", "one-hot"])
@pytest.mark.parametrize("window_size", [3, 5])
def test_the_bias_of_each_pair_is_that_of_its_offset(kind, window_size):
    sets, positions = get_groups(window_size)
    side = 2 * window_size - 1
    biases = torch.randn(side**2, 2, dtype=torch.float64)
    bias = look_up_bias(biases, make_pairs(kind, sets, positions, window_size), torch.float64)
    assert bias.shape == (len(sets), 2, sets.shape[1], sets.shape[1])
    for group in range(len(sets)):
        for first in range(sets.shape[1]):
            for second in range(sets.shape[1]):
                if sets[group, first] != sets[group, second]:
                    expected = torch.full((2,), MASKED_SCORE, dtype=torch.float64)
                else:
                    (row, column), (other_row, other_column) = (
                        divmod(int(positions[group, slot]), side) for slot in (first, second)
                    )
                    offset = (row - other_row + window_size - 1) * side + column - other_column + window_size - 1
                    expected = biases[offset]
                assert torch.equal(bias[group, :, first, second], expected)


@pytest.mark.parametrize("kind", ["copies", "one-hot"])
def test_pairs_of_different_windows_have_the_masked_value(kind):
    sets, positions = get_groups(3)
    factors = look_up_bias(torch.ones(25, 2), make_pairs(kind, sets, positions, 3), torch.float64, masked_value=0.5)
    expected = torch.where(sets[:, :, None] == sets[:, None, :], 1.0, 0.5)
    assert torch.equal(factors, expected[:, None].expand_as(factors).double())


@pytest.mark.parametrize("window_size", [3, 5, 7])
def test_both_look_ups_have_the_same_gradient(window_size):
    """If slots are empty or windows differ, attention has no gradient, and the lookups need not agree."""
    sets, positions = get_groups(window_size)
    biases = torch.randn((2 * window_size - 1) ** 2, 2, dtype=torch.float64, requires_grad=True)
    has_gradient = ((sets[:, :, None] == sets[:, None, :]) & (sets >= 0)[:, :, None])[:, None]
    weights = torch.randn(len(sets), 2, *sets.shape[1:] * 2, dtype=torch.float64) * has_gradient
    gradients = [
        torch.autograd.grad(
            (look_up_bias(biases, make_pairs(kind, sets, positions, window_size), torch.float64) * weights).sum(),
            biases,
        )[0]
        for kind in ("copies", "one-hot")
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    assert gradients[0].abs().sum() > 0


def test_rows_for_a_gpu_are_aligned_to_eight_elements():
    sets, positions = get_groups(5)
    bias = look_up_bias(torch.randn(81, 3), make_pairs("one-hot", sets, positions, 5), torch.bfloat16)
    assert (
        bias.dtype == torch.bfloat16 and bias.stride(-1) == 1 and all(stride % 8 == 0 for stride in bias.stride()[:-1])
    )


@pytest.mark.parametrize(("device", "has_one_hot"), [("cpu", False), ("meta", True)])
def test_the_device_decides(device, has_one_hot):
    sets, positions = (tensor.to(device) for tensor in get_groups(3))
    assert (make_pair_index(sets, positions, 3, torch.float32).one_hot is not None) == has_one_hot
