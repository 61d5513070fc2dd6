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
"""Plans: which tokens attend to each other, against Swin's own rules."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_greenmim import GreenMimConfig, make_plan
from modeling_greenmim.layout_greenmim import get_stage_grids
from modeling_greenmim.masking_greenmim import sample_masks
from modeling_greenmim.packing_greenmim import EMPTY_SET, pack_sets
from modeling_greenmim.planning_greenmim import get_fill, get_token_mixer, make_full_plan
from tests.helpers.brute_force import label_axis


PATCH_SIZE = 2


def make_swin_config(window_size, num_stages):
    return GreenMimConfig(
        embed_dim=96, depths=(2,) * num_stages, num_heads=1, window_size=window_size, patch_size=PATCH_SIZE
    )


def plan_units(mask, config, unit_grid, **kwargs):
    image_size = tuple(length * config.mask_unit_size for length in unit_grid)
    return make_plan(mask, config, image_size, **kwargs)


def fix_group_size(group_size):
    shapes = {"window": (None, group_size), "shifted_window": (None, group_size)}
    return {f"stage{stage}": shapes for stage in range(1, 5)}


def group_cost(num_groups: int, group_size: int, hidden_size: int) -> int:
    """Multiply-adds of projections and attention, as GreenMIM counts them."""
    return num_groups * (4 * group_size * hidden_size**2 + 2 * group_size**2 * hidden_size)


def check_indices(mixer_plan, num_tokens):
    """
    Check that every token is in exactly one slot and that slots and tokens refer to each other. Returns the empty
    slots.
    """
    gather_index, scatter_index = mixer_plan["gather_index"].flatten(), mixer_plan["scatter_index"]
    assert scatter_index.shape == (num_tokens,)
    assert scatter_index.unique().numel() == num_tokens
    assert torch.equal(gather_index[scatter_index], torch.arange(num_tokens, dtype=gather_index.dtype))
    return torch.ones(gather_index.shape, dtype=torch.bool).index_fill(0, scatter_index.long(), False)


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
def test_plans_of_any_mask(grid_size, window_size, num_stages, mask_ratio, batch_size, per_sample, seed):
    mask = sample_masks(batch_size, grid_size, mask_ratio, seed=seed, per_sample=per_sample)
    config = make_swin_config(window_size, num_stages)
    plan = plan_units(mask, config, grid_size)
    num_masks = 1 if (mask == mask[0]).all() else batch_size
    visible = torch.from_numpy(~mask[:num_masks]).nonzero()[:, 1].view(num_masks, -1)
    assert torch.equal(plan["visible_indices"], visible)
    assert set(plan) == {"visible_indices", "geometry", *(f"stage{stage}" for stage in range(1, num_stages + 1))}

    for stage, hidden_size in enumerate(config.hidden_sizes, start=1):
        side = 2 ** (num_stages - stage)
        assert list(plan[f"stage{stage}"]) == ["window", "shifted_window"]
        for mixer_plan in plan[f"stage{stage}"].values():
            is_empty = check_indices(mixer_plan, num_masks * visible.shape[1] * side**2)
            windows = mixer_plan["set_index"].flatten()
            assert ((windows == EMPTY_SET) == is_empty).all()

            # every window is whole in its group: windows and groups determine each other's tokens
            num_groups, group_size = mixer_plan["gather_index"].shape
            group = torch.arange(num_groups).repeat_interleave(group_size)
            pairs = torch.stack([windows, group])[:, ~is_empty].unique(dim=1)
            assert pairs[0].unique().numel() == pairs.shape[1]

            # cost at most as much as groups of the largest window's size, without a search
            counts = torch.unique(windows[~is_empty], return_counts=True)[1].numpy()
            unsearched = pack_sets(counts, counts.max())[2]
            assert group_cost(num_groups, group_size, hidden_size) <= group_cost(
                unsearched, int(counts.max()), hidden_size
            )


@pytest.mark.parametrize(("grid_size", "window_size"), [((7, 7), 7), ((3, 4), 4), ((2, 5), 3), ((5, 2), 14)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_windows_and_positions_are_those_of_swin(grid_size, window_size, per_sample):
    """
    Tokens share a window if and only if they do after Swin's roll, cut and labels; positions give their true offset.
    """
    mask = sample_masks(2, grid_size, 0.5, seed=0, per_sample=per_sample)
    plan = plan_units(mask, make_swin_config(window_size, num_stages=3), grid_size)
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
        shift = window_size // 2 if min(height, width) > window_size else 0
        for token_mixer, mixer_shift in (("window", 0), ("shifted_window", shift)):
            row_label = label_axis(height, min(window_size, height), mixer_shift)[row]
            column_label = label_axis(width, min(window_size, width), mixer_shift)[column]
            same = torch.stack([image, row_label, column_label], dim=-1)
            same = (same[:, None] == same).all(dim=-1)

            mixer_plan = plan[f"stage{stage}"][token_mixer]
            scatter_index = mixer_plan["scatter_index"]
            window = mixer_plan["set_index"].flatten()[scatter_index]
            assert torch.equal(window[:, None] == window, same)
            position = mixer_plan["position_index"].flatten()[scatter_index]
            offset = (row[:, None] - row) * (2 * window_size - 1) + column[:, None] - column
            assert torch.equal((position[:, None] - position)[same], offset[same].to(position.dtype))


@pytest.mark.parametrize("grid_size", [(56, 56), (75, 57), (6, 30), (5, 5), (1, 9)])
@pytest.mark.parametrize("window_size", [4, 7])
@pytest.mark.parametrize("token_mixer", ["window", "shifted_window"])
def test_groups_of_full_images_are_windows(grid_size, window_size, token_mixer):
    config = make_swin_config(window_size, num_stages=3)
    plan = make_full_plan(get_stage_grids(grid_size, 3), config)
    for stage in (1, 2, 3):
        mixer_plan, num_tokens = plan[f"stage{stage}"][token_mixer], grid_size[0] * grid_size[1]
        is_empty = check_indices(mixer_plan, num_tokens)
        assert torch.equal(
            mixer_plan.get("is_padding", torch.zeros(len(is_empty), dtype=torch.bool)).flatten(), is_empty
        )
        assert mixer_plan["gather_index"].shape[1] == np.prod(np.minimum(window_size, grid_size))
        grid_size = ((grid_size[0] + 1) // 2, (grid_size[1] + 1) // 2)


def test_fill_of_groups_that_are_packed_over_a_batch():
    """Packing 64 images together leaves less than 2.5% of the slots empty, as documented."""
    mask = sample_masks(64, (7, 7), 0.75, seed=0)
    plan = make_plan(mask, GreenMimConfig(), group_shapes=fix_group_size(49))
    for stage in ("stage1", "stage2", "stage3"):
        for mixer_plan in plan[stage].values():
            assert mixer_plan["scatter_index"].numel() / mixer_plan["gather_index"].numel() > 0.975
    num_slots = sum(p["gather_index"].numel() for s in range(1, 5) for p in plan[f"stage{s}"].values())
    num_tokens = sum(p["scatter_index"].numel() for s in range(1, 5) for p in plan[f"stage{s}"].values())
    assert get_fill(plan) == num_tokens / num_slots


def test_fill_of_a_plan_without_groups_is_one():
    config = GreenMimConfig(token_mixers=["mask_unit", "mask_unit", "global", "global"])
    assert get_fill(make_plan(sample_masks(2, (7, 7), 0.75, seed=0), config)) == 1.0


def test_group_size_can_be_fixed():
    plan = make_plan(sample_masks(2, (7, 7), 0.75, seed=0), GreenMimConfig(), group_shapes=fix_group_size(64))
    sizes = {
        mixer_plan["gather_index"].shape[1] for stage in range(1, 5) for mixer_plan in plan[f"stage{stage}"].values()
    }
    assert sizes == {64}


def test_an_image_size_may_be_one_number():
    mask = sample_masks(1, (3, 3), 0.5, seed=0)
    assert (
        make_plan(mask, GreenMimConfig(), 96)["geometry"].shape
        == make_plan(mask, GreenMimConfig(), (96, 96))["geometry"].shape
    )


def test_only_the_mixers_that_layers_have_are_planned():
    config = GreenMimConfig(
        depths=(1, 2, 1, 3), token_mixers=[["window", "shifted_window"]] * 3 + [["global", "window"]]
    )
    plan = make_plan(sample_masks(2, (7, 7), 0.75, seed=0), config)
    planned = [list(plan[stage]) for stage in config.stage_names[1:]]
    assert planned == [["window"], ["window", "shifted_window"], ["window"], ["global", "window"]]


def test_an_unknown_mixer_is_named_with_the_known_ones():
    with pytest.raises(
        ValueError, match="'window', 'shifted_window', 'mask_unit'.*'global'.*got 'windw'.*registers it"
    ):
        get_token_mixer("windw")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 49)), "boolean.*float64"),
        (np.zeros(49, dtype=bool), r"batch_size, 49.*\(49,\)"),
        (np.zeros((2, 50), dtype=bool), r"7 x 7 mask units.*\(2, 50\)"),
        (np.zeros((0, 49), dtype=bool), r"at least one row, got \(0, 49\)"),
        (np.zeros((2, 49), dtype=bool), "hides nothing"),
        (np.ones((2, 49), dtype=bool), "hides everything"),
        (np.stack([np.arange(49) < 10, np.arange(49) < 11]), "same number of units.*from 10 to 11 of 49"),
    ],
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(ValueError, match=message):
        make_plan(mask, GreenMimConfig())
