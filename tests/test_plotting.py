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
"""Pictures: that they show what the plan says."""

import numpy as np
import pytest

from modeling_greenmim import make_group_plan, sample_masks


pytest.importorskip("matplotlib")

from modeling_greenmim.plotting import HIDDEN_COLOUR, draw_groups, draw_loss_curve, get_group_layout  # noqa: E402


HIDDEN_SIZES = (96, 192, 384)
GRID = (5, 6)  # mask units
WINDOW_SIZE = 4


def make_plan(batch_size: int = 1):
    mask = sample_masks(batch_size=batch_size, grid_size=GRID, mask_ratio=0.6, seed=3)
    return mask, make_group_plan(mask, GRID, WINDOW_SIZE, HIDDEN_SIZES)


@pytest.mark.parametrize(("stage", "kind"), [(1, "regular"), (1, "shifted"), (2, "shifted"), (3, "regular")])
def test_a_layout_is_that_of_the_mask(stage, kind):
    """Against the mask alone: which tokens are visible, and which of them share a window."""
    mask, plan = make_plan()
    layout = get_group_layout(plan, HIDDEN_SIZES, stage, kind)
    tokens_per_side = 2 ** (3 - stage)
    visible = np.kron(~mask.reshape(GRID), np.ones((tokens_per_side, tokens_per_side), dtype=bool))
    assert layout.grid_size == visible.shape
    assert sorted(zip(layout.rows, layout.columns)) == sorted(map(tuple, np.argwhere(visible)))
    assert layout.shift == (2 if kind == "shifted" else 0)
    corners = [
        ((row + WINDOW_SIZE - layout.shift) // WINDOW_SIZE, (column + WINDOW_SIZE - layout.shift) // WINDOW_SIZE)
        for row, column in zip(layout.rows, layout.columns)
    ]
    assert len(set(corners)) == len(set(layout.windows)) == len(set(zip(corners, layout.windows)))
    group_of_window = dict(zip(layout.windows, layout.groups))
    assert all(group_of_window[window] == group for window, group in zip(layout.windows, layout.groups))
    for group, windows in enumerate(layout.slot_windows):
        assert all(group_of_window[window] == group for window in windows if window >= 0)
    counts = np.bincount(layout.windows)
    assert np.array_equal(np.bincount(layout.slot_windows[layout.slot_windows >= 0]), counts)
    assert layout.fill == pytest.approx(counts.sum() / layout.slot_windows.size)


def test_cost_where_one_of_two_windows_is_hidden():
    plan = make_group_plan(np.arange(32)[None] < 16, (8, 4), 4, (96,), group_size=16)
    assert get_group_layout(plan, (96,)).cost_share == pytest.approx(0.5)


@pytest.mark.parametrize("with_image", [False, True])
def test_pictures_of_groups(tmp_path, with_image):
    _, plan = make_plan()
    layout = get_group_layout(plan, HIDDEN_SIZES, 2)
    figure = draw_groups(layout, np.random.default_rng(0).random((40, 48, 3)) if with_image else None)
    figure.savefig(tmp_path / "groups.png")
    where, packed = figure.axes
    tokens = where.images[-1].get_array()
    is_hidden = (tokens[..., :3] == HIDDEN_COLOUR).all(axis=-1)
    assert (~is_hidden).sum() == len(layout.rows)
    # one colour for each window, in the image as in the groups
    colours = {tuple(tokens[row, column, :3]) for row, column in zip(layout.rows, layout.columns)}
    slots = packed.images[0].get_array().reshape(-1, 3)
    assert colours == {tuple(slot) for slot in slots} - {(1.0, 1.0, 1.0)} and len(colours) == layout.windows.max() + 1
    assert f"{len(colours)} windows in {len(layout.slot_windows)} groups" in packed.get_title()


@pytest.mark.parametrize("kind", ["regular", "shifted"])
def test_lines_are_where_windows_end(kind):
    """With an odd window, so that a shift and what is left of the window are not the same."""
    plan = make_group_plan(np.arange(16)[None] < 1, (4, 4), 3, (96, 192))
    layout = get_group_layout(plan, (96, 192), 1, kind)
    lines = draw_groups(layout).axes[0].lines
    columns = sorted({line.get_xdata()[0] for line in lines if list(line.get_ydata()) == [0, 1]})
    rows = sorted({line.get_ydata()[0] for line in lines if list(line.get_xdata()) == [0, 1]})
    cells = set(
        zip(
            layout.windows,
            np.searchsorted(rows, layout.rows, "right"),
            np.searchsorted(columns, layout.columns, "right"),
        )
    )
    assert len(cells) == len({cell[0] for cell in cells}) == len({cell[1:] for cell in cells})


def test_what_cannot_be_drawn():
    _, plan = make_plan(batch_size=2)
    with pytest.raises(ValueError, match="of 2 masks, and one can be drawn"):
        get_group_layout(plan, HIDDEN_SIZES)
    _, plan = make_plan()
    with pytest.raises(ValueError, match="no 'shifted' windows in stage 4.*stage1_regular"):
        get_group_layout(plan, HIDDEN_SIZES, 4, "shifted")


def test_loss_curve(tmp_path):
    history = [{"step": 0, "eval_loss": 1.0}, {"step": 5, "loss": 0.9}, {"step": 10, "loss": 0.8, "eval_loss": 0.85}]
    figure = draw_loss_curve(history, norm_pix_loss=True)
    figure.savefig(tmp_path / "curve.png")
    (axes,) = figure.axes
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == {
        "training batches": [[5, 0.9], [10, 0.8]],
        "held-out images": [[0, 1.0], [10, 0.85]],
    }
