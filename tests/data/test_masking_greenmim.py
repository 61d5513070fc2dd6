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
)


@pytest.mark.parametrize(
    ("num_units", "mask_ratio", "expected"),
    [(49, 0.75, 12), (196, 0.75, 49), (10, 0.9, 1), (100, 0.7, 30), (2, 0.01, 1), (2, 0.99, 1), (64, 0.999, 1)],
)
def test_number_of_visible_units(num_units, mask_ratio, expected):
    assert get_num_visible_units(num_units, mask_ratio) == expected


@settings(max_examples=100, deadline=None)
@given(
    sampler=st.sampled_from(sorted(MASK_SAMPLERS)),
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
    masks = sample_masks(4, (7, 7), 0.75, sampler, seed=0)
    assert len(np.unique(masks, axis=0)) == 4
    assert (sample_masks(4, (7, 7), 0.75, sampler, seed=1) != masks).any()
    assert (
        sample_masks(4, (7, 7), 0.75, sampler, seed=(0, 1)) != sample_masks(4, (7, 7), 0.75, sampler, seed=(0, 2))
    ).any()
    assert (sample_masks(4, (7, 7), 0.75, sampler) != sample_masks(4, (7, 7), 0.75, sampler)).any()


def test_random_masks_are_uniform():
    share_hidden = sample_masks(20_000, (3, 5), 0.6, "random", seed=0).mean(axis=0)
    # four standard deviations of a binomial share around 9 of 15
    np.testing.assert_allclose(share_hidden, 0.6, atol=4 * np.sqrt(0.6 * 0.4 / 20_000))


def test_block_masks_are_made_of_blocks():
    """Hidden units of a block mask have far more hidden neighbors than those of a random one."""

    def share_of_equal_neighbors(sampler):
        masks = sample_masks(200, (14, 14), 0.5, sampler, seed=0).reshape(-1, 14, 14)
        return (masks[:, 1:] == masks[:, :-1]).mean()

    assert share_of_equal_neighbors("random") < 0.55
    assert share_of_equal_neighbors("block") > 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
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
    with pytest.raises(ValueError, match="from 1 to 4, got 5, because each shows 12 of 49 units"):
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
