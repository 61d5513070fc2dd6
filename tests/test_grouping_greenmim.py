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
"""Group plans: every token in exactly one slot, no group over its size, packing against greedy subset sum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_greenmim.grouping_greenmim import (
    EMPTY_SLOT_WINDOW,
    get_shift_size,
    get_stage_grids,
    make_dense_plan,
    make_group_plan,
    pack_windows,
)
from modeling_greenmim.masking_greenmim import sample_masks

from .brute_force import label_axis


def greedy_subset_sum(window_tokens: list[int], group_size: int) -> int:
    """The published packing, plainly: fill one group after another with the subset of windows of the largest sum."""
    remaining, num_groups = list(window_tokens), 0
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


def group_cost(num_groups: int, group_size: int, hidden_size: int) -> int:
    """Multiply-adds of projections and attention, as GreenMIM counts them."""
    return num_groups * (4 * group_size * hidden_size**2 + 2 * group_size**2 * hidden_size)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_packing(data):
    largest = data.draw(st.integers(1, 256))
    window_tokens = np.array(data.draw(st.lists(st.integers(1, largest), min_size=1, max_size=120)))
    group_size = data.draw(st.integers(int(window_tokens.max()), 2 * largest))
    window_group, window_start, num_groups = pack_windows(window_tokens, group_size)

    assert sorted(set(window_group.tolist())) == list(range(num_groups))
    used = np.zeros((num_groups, group_size), dtype=int)
    for group, start, tokens in zip(window_group, window_start, window_tokens):
        used[group, start : start + tokens] += 1
        assert start + tokens <= group_size
    assert used.max() == 1 and used.sum() == window_tokens.sum()
    assert num_groups <= 1.02 * greedy_subset_sum(window_tokens.tolist(), group_size) + 1


def check_layout(plan, prefix, num_tokens):
    """Every token sits in exactly one slot, and slots and tokens refer to each other."""
    slot_token, token_slot = plan[f"{prefix}_slot_token"].flatten(), plan[f"{prefix}_token_slot"]
    slot_window = plan[f"{prefix}_slot_window"].flatten()
    assert token_slot.shape == (num_tokens,)
    assert token_slot.unique().numel() == num_tokens
    assert torch.equal(slot_token[token_slot], torch.arange(num_tokens, dtype=slot_token.dtype))
    is_empty = torch.ones(slot_token.shape, dtype=torch.bool).index_fill(0, token_slot.long(), False)
    return slot_token, slot_window, is_empty


@settings(max_examples=40, deadline=None)
@given(
    grid_size=st.tuples(st.integers(1, 32), st.integers(2, 40)),
    window_size=st.integers(2, 16),
    num_stages=st.integers(1, 3),
    mask_ratio=st.floats(0.05, 0.95),
    batch_size=st.integers(1, 16),
    per_sample=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_plans(grid_size, window_size, num_stages, mask_ratio, batch_size, per_sample, seed):
    mask = sample_masks(batch_size, grid_size, mask_ratio, seed=seed, per_sample=per_sample)
    hidden_sizes = [96 * 2**stage for stage in range(num_stages)]
    plan = make_group_plan(mask, grid_size, window_size, hidden_sizes)
    num_masks = 1 if (mask == mask[0]).all() else batch_size
    assert torch.equal(
        plan["visible_indices"], torch.from_numpy(~mask[:num_masks]).nonzero()[:, 1].view(num_masks, -1)
    )
    num_visible = plan["visible_indices"].shape[1]

    for stage, hidden_size in enumerate(hidden_sizes, start=1):
        side = 2 ** (num_stages - stage)
        stage_grid = (grid_size[0] * side, grid_size[1] * side)
        shift = get_shift_size(stage_grid, window_size)
        assert (f"stage{stage}_shifted_slot_token" in plan) == (shift > 0)
        for kind in ("regular", "shifted") if shift else ("regular",):
            prefix = f"stage{stage}_{kind}"
            _, slot_window, is_empty = check_layout(plan, prefix, num_masks * num_visible * side**2)
            assert ((slot_window == EMPTY_SLOT_WINDOW) == is_empty).all()

            # every window is whole in its group: windows and groups determine each other's tokens
            group_size, num_groups = plan[f"{prefix}_slot_token"].shape
            group = torch.arange(num_groups).expand(group_size, -1).flatten()
            pairs = torch.stack([slot_window, group])[:, ~is_empty].unique(dim=1)
            assert pairs[0].unique().numel() == pairs.shape[1]

            # cost at most that of the group size that is not searched for, the largest window
            counts = torch.unique(slot_window[~is_empty], return_counts=True)[1].numpy()
            unsearched = pack_windows(counts, counts.max())[2]
            assert group_cost(num_groups, group_size, hidden_size) <= group_cost(
                unsearched, int(counts.max()), hidden_size
            )


@pytest.mark.parametrize(("grid_size", "window_size"), [((7, 7), 7), ((3, 4), 4), ((2, 5), 3), ((5, 2), 14)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_windows_and_positions_are_those_of_swin(grid_size, window_size, per_sample):
    """Tokens share a window if and only if Swin's roll, cut and labels say so; positions give their true offset."""
    mask = sample_masks(2, grid_size, 0.5, seed=0, per_sample=per_sample)
    plan = make_group_plan(mask, grid_size, window_size, (96, 192, 384))
    visible = plan["visible_indices"]
    for stage in (1, 2, 3):
        side = 2 ** (3 - stage)
        height, width = grid_size[0] * side, grid_size[1] * side
        # coordinates of the tokens, unit by unit and, inside a unit, quarter by quarter: down, then right
        row, column = visible // grid_size[1], visible % grid_size[1]
        for _ in range(3 - stage):
            row = torch.stack([2 * row, 2 * row + 1, 2 * row, 2 * row + 1], dim=-1).flatten(1)
            column = torch.stack([2 * column, 2 * column, 2 * column + 1, 2 * column + 1], dim=-1).flatten(1)
        image = torch.arange(len(row))[:, None].expand_as(row).flatten()
        row, column = row.flatten(), column.flatten()
        shift = get_shift_size((height, width), window_size)
        for kind, kind_shift in (("regular", 0), ("shifted", shift)) if shift else (("regular", 0),):
            row_label = label_axis(height, min(window_size, height), kind_shift)[row]
            column_label = label_axis(width, min(window_size, width), kind_shift)[column]
            same = torch.stack([image, row_label, column_label], dim=-1)
            same = (same[:, None] == same).all(dim=-1)

            prefix = f"stage{stage}_{kind}"
            token_slot = plan[f"{prefix}_token_slot"]
            window = plan[f"{prefix}_slot_window"].flatten()[token_slot]
            assert torch.equal(window[:, None] == window, same)
            position = plan[f"{prefix}_slot_position"].flatten()[token_slot]
            offset = (row[:, None] - row) * (2 * window_size - 1) + column[:, None] - column
            assert torch.equal((position[:, None] - position)[same], offset[same].to(position.dtype))


@pytest.mark.parametrize("grid_size", [(56, 56), (75, 57), (6, 30), (5, 5), (1, 9)])
@pytest.mark.parametrize("window_size", [4, 7])
def test_dense_plans(grid_size, window_size):
    plan = make_dense_plan(get_stage_grids(grid_size, 3), window_size)
    for stage in (1, 2, 3):
        for kind in ("regular", "shifted"):
            if f"stage{stage}_{kind}_slot_token" not in plan:
                assert kind == "shifted" and get_shift_size(grid_size, window_size) == 0
                continue
            num_tokens = grid_size[0] * grid_size[1]
            slot_token, _, is_empty = check_layout(plan, f"stage{stage}_{kind}", num_tokens)
            assert (slot_token[is_empty] == num_tokens).all()
            assert plan[f"stage{stage}_{kind}_slot_token"].shape[0] == np.prod(np.minimum(window_size, grid_size))
        grid_size = ((grid_size[0] + 1) // 2, (grid_size[1] + 1) // 2)


def test_fill_of_pooled_groups():
    """The figures of the design: packing 64 images together leaves less than 2 % of the slots empty."""
    mask = sample_masks(64, (7, 7), 0.75, seed=0)
    plan = make_group_plan(mask, (7, 7), 7, (96, 192, 384, 768), group_size=49)
    for stage in (1, 2, 3):
        for kind in ("regular", "shifted"):
            slots, tokens = (plan[f"stage{stage}_{kind}_{name}"].numel() for name in ("slot_token", "token_slot"))
            assert tokens / slots > 0.975


def test_group_size_can_be_fixed():
    mask = sample_masks(2, (7, 7), 0.75, seed=0)
    plan = make_group_plan(mask, (7, 7), 7, (96, 192, 384, 768), group_size=64)
    assert {tensor.shape[0] for name, tensor in plan.items() if name.endswith("slot_window")} == {64}
    with pytest.raises(ValueError, match="group_size=8.*too small.*visible tokens"):
        make_group_plan(mask, (7, 7), 7, (96, 192, 384, 768), group_size=8)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 49)), "boolean.*float64"),
        (np.zeros(49, dtype=bool), r"batch_size, 49.*\(49,\)"),
        (np.zeros((2, 50), dtype=bool), r"7 x 7 mask units.*\(2, 50\)"),
        (np.zeros((2, 49), dtype=bool), "hides nothing"),
        (np.ones((2, 49), dtype=bool), "hides everything"),
        (np.stack([np.arange(49) < 10, np.arange(49) < 11]), "same number of units.*from 10 to 11 of 49"),
    ],
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(ValueError, match=message):
        make_group_plan(mask, (7, 7), 7, (96, 192))
