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
"""Gathers whose gradient is a gather: values and gradients against PyTorch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_greenmim.gathering_greenmim import gather_slots, scatter_slots, select_tokens


def make_indices(num_tokens: int, num_empty: int, seed: int):
    """Assign each token to a random slot; some slots stay empty."""
    scatter_index = torch.randperm(num_tokens + num_empty, generator=torch.Generator().manual_seed(seed))[:num_tokens]
    gather_index = torch.zeros(num_tokens + num_empty, dtype=torch.long)
    gather_index[scatter_index] = torch.arange(num_tokens)
    is_empty = torch.ones(num_tokens + num_empty, dtype=torch.bool).index_fill(0, scatter_index, False)
    return gather_index, scatter_index, is_empty


@settings(max_examples=30, deadline=None)
@given(num_tokens=st.integers(1, 30), num_empty=st.integers(0, 10), seed=st.integers(0, 1000))
def test_there_and_back_is_the_identity_with_its_gradient(num_tokens, num_empty, seed):
    gather_index, scatter_index, is_empty = make_indices(num_tokens, num_empty, seed)
    tokens = torch.randn(num_tokens, 3, dtype=torch.float64, requires_grad=True)
    slots = gather_slots(tokens, gather_index, scatter_index)
    assert torch.equal(slots, tokens[gather_index])
    returned = scatter_slots(slots, gather_index, scatter_index, is_empty)
    assert torch.equal(returned, tokens)
    weights = torch.randn(num_tokens, 3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((returned * weights).sum(), tokens)
    assert torch.equal(gradient, weights)


def test_gradients_of_empty_slots_are_zero_on_the_way_back():
    gather_index, scatter_index, is_empty = make_indices(6, 3, seed=0)
    slots = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 2, dtype=torch.float64)
    expected = torch.autograd.grad((slots[scatter_index] * weights).sum(), slots)
    actual = torch.autograd.grad((scatter_slots(slots, gather_index, scatter_index, is_empty) * weights).sum(), slots)
    assert torch.equal(actual[0], expected[0]) and (actual[0][is_empty] == 0).all()


def test_padding_is_zero_and_takes_no_gradient():
    gather_index, scatter_index, is_empty = make_indices(5, 4, seed=1)
    tokens = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    slots = gather_slots(tokens, gather_index, scatter_index, is_empty)
    assert (slots[is_empty] == 0).all()
    (gradient,) = torch.autograd.grad((slots * torch.arange(9.0)[:, None]).sum(), tokens)
    assert torch.equal(gradient, scatter_index.double()[:, None].expand(-1, 2))


def test_selected_tokens_and_their_gradient_are_those_of_gather():
    tokens = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    index = torch.stack([torch.randperm(7, generator=torch.Generator().manual_seed(seed))[:5] for seed in range(3)])
    weights = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = tokens.gather(1, index[:, :, None].expand(-1, -1, 4))
    actual = select_tokens(tokens, index)
    assert torch.equal(actual, expected)
    gradients = [torch.autograd.grad((selected * weights).sum(), tokens)[0] for selected in (actual, expected)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("function", [gather_slots, select_tokens])
def test_second_derivatives_exist(function):
    tokens = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    if function is select_tokens:
        inputs, arguments = tokens, (torch.tensor([[0, 2], [3, 1]]),)
    else:
        gather_index, scatter_index, _ = make_indices(8, 0, seed=0)
        inputs, arguments = tokens.flatten(0, 1).detach().requires_grad_(), (gather_index, scatter_index)
    assert torch.autograd.gradgradcheck(lambda inputs: function(inputs, *arguments).sin(), inputs)
