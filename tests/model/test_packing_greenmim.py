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
"""Packing sets of tokens into groups of equal size."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_greenmim import packing_greenmim
from modeling_greenmim.packing_greenmim import EMPTY_SET, pack_sets, pack_tokens


def greedy_subset_sum(set_sizes: list[int], group_size: int) -> int:
    """A plain version of the published packing: fill one group at a time with the subset of the largest sum."""
    remaining, num_groups = list(set_sizes), 0
    while remaining:
        best = {0: ()}
        for index, size in enumerate(remaining):
            for total, subset in list(best.items()):
                if total + size <= group_size and total + size not in best:
                    best[total + size] = (*subset, index)
        chosen = set(best[max(best)])
        remaining = [size for index, size in enumerate(remaining) if index not in chosen]
        num_groups += 1
    return num_groups


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_set_is_whole_in_one_group(data):
    largest = data.draw(st.integers(1, 256))
    set_sizes = np.array(data.draw(st.lists(st.integers(1, largest), min_size=1, max_size=120)))
    group_size = data.draw(st.integers(int(set_sizes.max()), 2 * largest))
    set_group, set_start, num_groups = pack_sets(set_sizes, group_size)

    assert sorted(set(set_group.tolist())) == list(range(num_groups))
    used = np.zeros((num_groups, group_size), dtype=int)
    for group, start, tokens in zip(set_group, set_start, set_sizes):
        used[group, start : start + tokens] += 1
        assert start + tokens <= group_size
    assert used.max() == 1 and used.sum() == set_sizes.sum()
    assert num_groups <= 1.02 * greedy_subset_sum(set_sizes.tolist(), group_size) + 1


@settings(max_examples=100, deadline=None)
@given(
    token_sets=st.lists(st.integers(0, 40), min_size=1, max_size=200),
    hidden_size=st.sampled_from([8, 96, 768]),
    data=st.data(),
)
def test_gather_and_scatter_are_inverse(token_sets, hidden_size, data):
    token_sets = np.array(token_sets)
    largest = int(np.bincount(token_sets).max())
    group_size = data.draw(st.none() | st.integers(largest, 2 * largest))
    plan = pack_tokens(token_sets, hidden_size, group_size and (None, group_size))
    gather, scatter, sets = (plan[name] for name in ("gather_index", "scatter_index", "set_index"))
    assert len(set(scatter.tolist())) == len(token_sets)
    assert (gather.flatten()[scatter] == np.arange(len(token_sets))).all()
    assert (sets.flatten()[scatter] == token_sets).all()
    is_empty = np.ones(gather.size, dtype=bool)
    is_empty[scatter] = False
    assert ((sets.flatten() == EMPTY_SET) == is_empty).all() and (gather.flatten()[is_empty] == 0).all()
    assert group_size is None or gather.shape[1] == group_size


def test_a_fixed_shape_is_kept_where_the_tokens_fit():
    groups = pack_tokens(np.array([0, 0, 0, 1, 2, 2]), hidden_size=8, group_shape=(4, 5))
    assert groups["gather_index"].shape == groups["set_index"].shape == (4, 5)
    assert (groups["set_index"] != EMPTY_SET).sum() == 6


@pytest.mark.parametrize(
    ("group_shape", "expected"),
    [((2, 3), (2, 8)), ((5, 2), (5, 8)), ((None, 2), (2, 8)), ((None, 3), (3, 3))],
    ids=["too few groups", "too small groups", "too small, any number", "any number"],
)
def test_groups_into_which_the_tokens_do_not_fit_become_larger(group_shape, expected):
    groups = pack_tokens(np.array([0, 0, 0, 1, 1, 1, 2, 2, 2]), 8, group_shape)
    assert groups["gather_index"].shape == expected
    assert (groups["set_index"] != EMPTY_SET).sum() == 9


def test_a_set_that_is_larger_than_a_group_is_refused():
    with pytest.raises(ValueError, match="`group_size` must be at least 3.*got 2"):
        pack_sets(np.array([3, 1]), group_size=2)


def test_packing_imports_neither_torch_nor_anything_about_images():
    tree = ast.parse(Path(packing_greenmim.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert modules == {"numpy", "validation_greenmim"}
