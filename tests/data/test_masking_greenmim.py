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
"""Mask samplers: exact counts, seeds, shapes, and the distribution of the paper's sampler."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modeling_greenmim.masking_greenmim import (
    MASK_SAMPLERS,
    get_num_visible_units,
    sample_disjoint_masks,
    sample_masks,
    sample_secondary_masks,
)


# for any grid and ratio
ANY_SAMPLERS = ["random", "block"]


@pytest.mark.parametrize(
    ("num_units", "mask_ratio", "expected"),
    [(49, 0.75, 12), (196, 0.75, 49), (10, 0.9, 1), (100, 0.7, 30), (2, 0.01, 1), (2, 0.99, 1), (64, 0.999, 1)],
)
def test_number_of_visible_units(num_units, mask_ratio, expected):
    assert get_num_visible_units(num_units, mask_ratio) == expected


@settings(max_examples=100, deadline=None)
@given(
    sampler=st.sampled_from(ANY_SAMPLERS),
    grid_size=st.tuples(st.integers(1, 32), st.integers(2, 40)),
    mask_ratio=st.floats(0.05, 0.95),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 2**32),
    per_sample=st.booleans(),
)
def test_every_row_hides_the_exact_number(sampler, grid_size, mask_ratio, batch_size, seed, per_sample):
    masks = sample_masks(batch_size, grid_size, mask_ratio, sampler, seed, per_sample)
    num_units = grid_size[0] * grid_size[1]
    assert masks.dtype == bool and masks.shape == (batch_size, num_units)
    assert ((~masks).sum(axis=1) == get_num_visible_units(num_units, mask_ratio)).all()
    assert per_sample or (masks == masks[0]).all()
    np.testing.assert_array_equal(masks, sample_masks(batch_size, grid_size, mask_ratio, sampler, seed, per_sample))


@pytest.mark.parametrize("sampler", sorted(MASK_SAMPLERS))
def test_seeds_and_samples_differ(sampler):
    masks = sample_masks(4, (8, 8), 0.75, sampler, seed=0)
    assert len(np.unique(masks, axis=0)) == 4
    assert (sample_masks(4, (8, 8), 0.75, sampler, seed=1) != masks).any()
    assert (
        sample_masks(4, (8, 8), 0.75, sampler, seed=(0, 1)) != sample_masks(4, (8, 8), 0.75, sampler, seed=(0, 2))
    ).any()
    assert (sample_masks(4, (8, 8), 0.75, sampler) != sample_masks(4, (8, 8), 0.75, sampler)).any()


def test_random_masks_are_uniform():
    share_hidden = sample_masks(20_000, (3, 5), 0.6, "random", seed=0).mean(axis=0)
    # four standard deviations of a binomial fraction around 9 of 15
    np.testing.assert_allclose(share_hidden, 0.6, atol=4 * np.sqrt(0.6 * 0.4 / 20_000))


def test_block_masks_are_made_of_blocks():
    """Hidden units of a block mask have far more hidden neighbors than those of a random one."""

    def share_of_equal_neighbors(sampler):
        masks = sample_masks(200, (14, 14), 0.5, sampler, seed=0).reshape(-1, 14, 14)
        return (masks[:, 1:] == masks[:, :-1]).mean()

    assert share_of_equal_neighbors("random") < 0.55
    assert share_of_equal_neighbors("block") > 0.75


def count_corners(mask: np.ndarray, grid_size: tuple[int, int]) -> np.ndarray:
    """Count how often masks show the top left, top right, bottom left and bottom right of 2 x 2 units."""
    visible = ~mask.reshape(grid_size)
    return np.array([visible[row::2, column::2].sum() for row in (0, 1) for column in (0, 1)])


@settings(max_examples=100, deadline=None)
@given(
    half_grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_uniform_masks_show_one_of_every_2_x_2_and_each_corner_equally_often(half_grid, batch_size, seed):
    height, width = 2 * half_grid[0], 2 * half_grid[1]
    masks = sample_masks(batch_size, (height, width), 0.75, "uniform", seed)
    for mask in masks:
        blocks = mask.reshape(half_grid[0], 2, half_grid[1], 2)
        assert ((~blocks).sum(axis=(1, 3)) == 1).all()
        counts = count_corners(mask, (height, width))
        assert counts.max() - counts.min() <= (1 if counts.sum() % 4 else 0)
    np.testing.assert_array_equal(masks, sample_masks(batch_size, (height, width), 0.75, "uniform", seed))


def test_every_unit_is_as_likely_in_uniform_masks():
    share_visible = 1 - sample_masks(20_000, (6, 2), 0.75, "uniform", seed=0).mean(axis=0)
    np.testing.assert_allclose(share_visible, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 20_000))


@settings(max_examples=100, deadline=None)
@given(
    sampler=st.sampled_from(ANY_SAMPLERS),
    grid_size=st.tuples(st.integers(1, 12), st.integers(2, 12)),
    ratio=st.floats(0, 0.99),
    seed=st.one_of(st.integers(0, 2**32), st.tuples(st.integers(0, 99), st.integers(0, 99))),
)
def test_secondary_masks_are_an_exact_number_of_visible_units(sampler, grid_size, ratio, seed):
    masks = sample_masks(3, grid_size, 0.75, sampler, seed)
    secondary_masks = sample_secondary_masks(masks, ratio, seed)
    num_visible = (~masks[0]).sum()
    assert secondary_masks.dtype == bool and not (secondary_masks & masks).any()
    assert (secondary_masks.sum(axis=1) == int(num_visible * ratio + 1e-6)).all()
    assert secondary_masks.sum(axis=1).max() < num_visible
    np.testing.assert_array_equal(secondary_masks, sample_secondary_masks(masks, ratio, seed))


def test_visible_units_are_equally_likely_in_secondary_masks_of_the_same_seed():
    masks = sample_masks(20_000, (4, 4), 0.5, seed=0)
    secondary_masks = sample_secondary_masks(masks, 0.25, seed=0)
    share = secondary_masks.sum(axis=0) / (~masks).sum(axis=0)
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 10_000))


def test_a_bad_secondary_ratio_is_named():
    with pytest.raises(ValueError, match="secondary_mask_ratio.*at least 0 and below 1, got 1.0"):
        sample_secondary_masks(sample_masks(1, (4, 4), 0.75), 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "uniform"}, "must have even numbers .*, got 7 x 7. Use images with 8 x 8 mask units"),
        (
            {"sampler": "uniform", "grid_size": (8, 5)},
            "must have even numbers .*, got 8 x 5. Use images with 8 x 6 mask units",
        ),
        ({"sampler": "uniform", "grid_size": (4, 4), "mask_ratio": 0.6}, "hides 10 of 16. Set the mask ratio to 0.75"),
        ({"mask_ratio": 0.0}, "mask_ratio.*0.0"),
        ({"mask_ratio": 1.0}, "mask_ratio.*1.0"),
        ({"sampler": "checkerboard"}, "sampler.*random.*block.*checkerboard"),
        ({"grid_size": (1, 1)}, "at least 2 mask units"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_masks(**{"batch_size": 2, "grid_size": (7, 7), "mask_ratio": 0.75, **arguments})


@settings(max_examples=100, deadline=None)
@given(
    num_masks=st.integers(1, 6),
    grid_size=st.tuples(st.integers(1, 9), st.integers(2, 9)),
    mask_ratio=st.floats(0.5, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_disjoint_masks_show_no_unit_twice_and_equally_many_each(num_masks, grid_size, mask_ratio, seed):
    num_units = grid_size[0] * grid_size[1]
    num_visible = get_num_visible_units(num_units, mask_ratio)
    assume(num_masks * num_visible <= num_units)
    masks = sample_disjoint_masks(num_masks, grid_size, mask_ratio, seed)
    assert masks.shape == (num_masks, num_units)
    assert ((~masks).sum(axis=1) == num_visible).all() and ((~masks).sum(axis=0) <= 1).all()
    assert (masks[0] == sample_masks(1, grid_size, mask_ratio, seed=seed)[0]).all()


def test_more_disjoint_masks_than_an_image_has_units_for_are_refused():
    with pytest.raises(ValueError, match="from 1 to 4, got 5, because each mask shows 12 of 49 units"):
        sample_disjoint_masks(5, (7, 7), 0.75)


def test_the_mask_ratio_that_is_named_as_remedy_is_enough():
    for num_masks in range(2, 50):
        with pytest.raises(ValueError, match="must be 1, got") as caught:
            sample_disjoint_masks(num_masks, (7, 7), 0.25)
        ratio = float(str(caught.value).rpartition(" ")[2].rstrip("."))
        assert len(sample_disjoint_masks(num_masks, (7, 7), ratio)) == num_masks


def test_no_mask_ratio_is_named_where_none_is_high_enough():
    with pytest.raises(ValueError, match=r"Use fewer masks\.$"):
        sample_disjoint_masks(50, (7, 7), 0.25)
