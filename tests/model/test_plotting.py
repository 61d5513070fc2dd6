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
"""Figures show the groups of the plan."""

import subprocess
import sys

import numpy as np
import pytest

from modeling_greenmim import GreenMimConfig, make_plan, sample_masks


pytest.importorskip("matplotlib")

from modeling_greenmim.plotting import HIDDEN_COLOR, draw_groups, draw_loss_curve, get_group_layout


GRID = (5, 6)  # mask units
WINDOW_SIZE = 4


def make_config(num_stages: int = 3, grid_size=GRID, window_size: int = WINDOW_SIZE, **settings) -> GreenMimConfig:
    image_size = [length * 2 ** (num_stages - 1) for length in grid_size]
    arguments = {"embed_dim": 96, "depths": (2,) * num_stages, "num_heads": 1, "window_size": window_size, **settings}
    return GreenMimConfig(patch_size=1, image_size=image_size, **arguments)


def plan_random_masks(batch_size: int = 1):
    mask = sample_masks(batch_size=batch_size, grid_size=GRID, mask_ratio=0.6, seed=3)
    return mask, make_plan(mask, make_config())


@pytest.mark.parametrize(
    ("stage", "token_mixer"), [(1, "window"), (1, "shifted_window"), (2, "shifted_window"), (3, "window")]
)
def test_a_layout_is_that_of_the_mask(stage, token_mixer):
    """The visible tokens and their windows follow from only the mask."""
    mask, plan = plan_random_masks()
    layout = get_group_layout(plan, make_config(), stage, token_mixer)
    tokens_per_side = 2 ** (3 - stage)
    visible = np.kron(~mask.reshape(GRID), np.ones((tokens_per_side, tokens_per_side), dtype=bool))
    assert layout.grid_size == visible.shape
    assert sorted(zip(layout.rows, layout.columns)) == sorted(map(tuple, np.argwhere(visible)))
    assert layout.shift == (2 if token_mixer == "shifted_window" else 0)
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
    config = make_config(num_stages=1, grid_size=(8, 4))
    plan = make_plan(np.arange(32)[None] < 16, config, group_shapes={"stage1": {"window": (None, 16)}})
    assert get_group_layout(plan, config).cost_fraction == pytest.approx(0.5)


@pytest.mark.parametrize("with_image", [False, True])
def test_pictures_of_groups(tmp_path, with_image):
    _, plan = plan_random_masks()
    layout = get_group_layout(plan, make_config(), 2)
    figure = draw_groups(layout, np.random.default_rng(0).random((40, 48, 3)) if with_image else None)
    figure.savefig(tmp_path / "groups.png")
    where, packed = figure.axes
    tokens = where.images[-1].get_array()
    is_hidden = (tokens[..., :3] == HIDDEN_COLOR).all(axis=-1)
    assert (~is_hidden).sum() == len(layout.rows)
    # one color for each window, in the image as in the groups
    colors = {tuple(tokens[row, column, :3]) for row, column in zip(layout.rows, layout.columns)}
    slots = packed.images[0].get_array().reshape(-1, 3)
    assert colors == {tuple(slot) for slot in slots} - {(1.0, 1.0, 1.0)} and len(colors) == layout.windows.max() + 1
    assert f"{len(colors)} windows in {len(layout.slot_windows)} groups" in packed.get_title()


@pytest.mark.parametrize("token_mixer", ["window", "shifted_window"])
def test_lines_are_where_windows_end(token_mixer):
    """With an odd window, so that the shift differs from the rest of the window."""
    config = make_config(num_stages=2, grid_size=(4, 4), window_size=3)
    layout = get_group_layout(make_plan(np.arange(16)[None] < 1, config), config, 1, token_mixer)
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


def test_a_plan_of_several_masks_is_not_drawn():
    _, plan = plan_random_masks(batch_size=2)
    with pytest.raises(ValueError, match="must be for one mask, got one for 2"):
        get_group_layout(plan, make_config())


def test_a_stage_that_is_not_there_is_not_drawn():
    with pytest.raises(ValueError, match="`stage` must be an integer of at least 1 and at most 3, got 4"):
        get_group_layout(plan_random_masks()[1], make_config(), 4)


def test_a_mixer_without_groups_is_not_drawn():
    config = make_config(token_mixers=["window", "mask_unit", "global"])
    plan = make_plan(sample_masks(1, GRID, 0.6, seed=3), config)
    assert get_group_layout(plan, config, 1, "window").groups.size
    with pytest.raises(
        ValueError, match=r"a subclass of GreenMimWindowAttention in stage 2 of this plan \(none\), got 'mask_unit'"
    ):
        get_group_layout(plan, config, 2, "mask_unit")


@pytest.mark.slow
def test_a_base_install_imports_the_module_and_says_what_drawing_needs():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from modeling_greenmim.plotting import draw_loss_curve\n"
        "try:\n    draw_loss_curve([], 'pixels')\nexcept ImportError as error:\n    print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install matplotlib" in result.stdout


def test_loss_curve(tmp_path):
    history = [{"step": 0, "eval_loss": 1.0}, {"step": 5, "loss": 0.9}, {"step": 10, "loss": 0.8, "eval_loss": 0.85}]
    figure = draw_loss_curve(history, reconstruction_target="normalized_pixels")
    figure.savefig(tmp_path / "curve.png")
    (axes,) = figure.axes
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == {
        "training batches": [[5, 0.9], [10, 0.8]],
        "held-out images": [[0, 1.0], [10, 0.85]],
    }


@pytest.mark.filterwarnings("error")
def test_a_loss_curve_without_a_record_is_empty():
    assert not draw_loss_curve([], reconstruction_target="normalized_pixels").axes[0].get_lines()
