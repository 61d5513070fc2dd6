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
"""Pictures, with matplotlib: masked images and their reconstructions, losses over a training, and how visible windows are packed
into groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .grouping_greenmim import EMPTY_SLOT_WINDOW, get_group_cost, get_shift_size, get_token_coordinates


HIDDEN_COLOUR = (0.82, 0.82, 0.82)


def draw_loss_curve(history: Sequence[dict], norm_pix_loss: bool) -> Figure:
    """
    Draws the losses over the steps.

    Args:
        history (`Sequence[dict]`):
            Records with `step`, and `loss`, of training batches, or `eval_loss`, of the held-out images.
        norm_pix_loss (`bool`):
            Whether they are losses of pixels normalized by unit.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, style in {
        "loss": {"color": "tab:blue", "alpha": 0.5, "label": "training batches"},
        "eval_loss": {"color": "tab:red", "marker": "o", "label": "held-out images"},
    }.items():
        points = [(record["step"], record[name]) for record in history if name in record]
        if points:
            axes.plot(*zip(*points), **style)
    pixels = "pixels normalized by unit" if norm_pix_loss else "normalized pixel values"
    axes.set(xlabel="training step", ylabel=f"mean squared error on hidden units\n({pixels})", yscale="log")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return figure


def draw_reconstructions(rows: dict[str, torch.Tensor], note: str) -> Figure:
    """
    Draws a grid of images, one row for each kind and one column for each image.

    Args:
        rows (`dict[str, torch.Tensor]`):
            Title -> images, `(num_images, num_channels, height, width)`, values from 0 to 1. Of more than three channels, the
            first three are shown; of two, the first.
        note (`str`):
            What a reader has to know in order not to be misled, written below the images.
    """
    num_images = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.4 * num_images + 0.5, 1.4 * len(rows) + 0.7), layout="constrained")
    grid = figure.subplots(len(rows), num_images, squeeze=False)
    for axes_of_row, (title, images) in zip(grid, rows.items()):
        axes_of_row[0].set_ylabel(title)
        for axes, image in zip(axes_of_row, images):
            shown = image[: 3 if len(image) >= 3 else 1].clamp(0, 1).float().numpy()
            axes.imshow(np.moveaxis(shown, 0, -1), cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    figure.supxlabel(note, fontsize=9, wrap=True)
    return figure


@dataclass
class GroupLayout:
    """
    Where the visible tokens of an image are, and which group and window each of them is in, in one stage.

    Attributes:
        grid_size (`tuple[int, int]`):
            Rows and columns of tokens of the whole image.
        window_size, shift (`int`):
            Side of the windows in tokens, and by how many tokens they are shifted.
        rows, columns, groups, windows (`np.ndarray` of shape `(num_tokens,)`):
            Of each visible token. Windows are numbered in the order of their numbers in the plan, from 0.
        slot_windows (`np.ndarray` of shape `(num_groups, group_size)`):
            Window of each slot, -1 for an empty one.
        hidden_size (`int`):
            Channels of the stage.
    """

    grid_size: tuple[int, int]
    window_size: int
    shift: int
    rows: np.ndarray
    columns: np.ndarray
    groups: np.ndarray
    windows: np.ndarray
    slot_windows: np.ndarray
    hidden_size: int

    @property
    def fill(self) -> float:
        """Share of the slots that hold a token."""
        return float((self.slot_windows >= 0).mean())

    @property
    def cost_share(self) -> float:
        """Multiply-adds of the attention, as a share of those of all windows of the whole image."""
        num_groups, group_size = self.slot_windows.shape
        window_tokens = self.window_size**2
        num_windows = np.prod([-(-side // self.window_size) for side in self.grid_size])
        return (
            num_groups
            * get_group_cost(group_size, self.hidden_size)
            / (num_windows * get_group_cost(window_tokens, self.hidden_size))
        )


def get_group_layout(
    group_plan: dict[str, torch.Tensor], hidden_sizes: Sequence[int], stage: int = 1, kind: str = "regular"
) -> GroupLayout:
    """
    Reads from a plan where the tokens of a stage are.

    Args:
        group_plan (`dict[str, torch.Tensor]`):
            From [`make_group_plan`], for one mask.
        hidden_sizes (`Sequence[int]`):
            Channels of each stage.
        stage (`int`, *optional*, defaults to 1):
            Number of the stage, from 1.
        kind (`str`, *optional*, defaults to `"regular"`):
            `"regular"` or `"shifted"` windows.

    Returns:
        [`GroupLayout`]

    Raises:
        `ValueError`: if the plan is of several masks, or has no such stage or kind.

    Example:

    ```python
    >>> from modeling_greenmim import make_group_plan, sample_masks
    >>> from modeling_greenmim.plotting import get_group_layout

    >>> mask = sample_masks(batch_size=1, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> plan = make_group_plan(mask, grid_size=(7, 7), window_size=7, hidden_sizes=(96, 192, 384, 768))
    >>> layout = get_group_layout(plan, (96, 192, 384, 768), stage=2)
    >>> layout.grid_size, len(layout.rows)  # 12 visible units of 4 x 4 tokens
    ((28, 28), 192)
    ```"""
    name = f"stage{stage}_{kind}"
    if f"{name}_token_slot" not in group_plan:
        kinds = sorted({key.rpartition("_token_slot")[0] for key in group_plan if key.endswith("_token_slot")})
        raise ValueError(f"The plan has no {kind!r} windows in stage {stage}, only {', '.join(kinds)}.")
    if len(group_plan["visible_indices"]) != 1:
        raise ValueError(
            f"The plan is of {len(group_plan['visible_indices'])} masks, and one can be drawn: make a plan of that one."
        )
    unit_rows, unit_columns, window_size = group_plan["made_for"].tolist()
    tokens_per_side = 2 ** (len(hidden_sizes) - stage)
    rows, columns = get_token_coordinates(group_plan["visible_indices"].numpy(), unit_columns, tokens_per_side)
    slot_windows = group_plan[f"{name}_slot_window"].numpy()
    token_slot = group_plan[f"{name}_token_slot"].numpy()
    numbers = np.unique(slot_windows[slot_windows != EMPTY_SLOT_WINDOW])
    renumbered = np.where(slot_windows == EMPTY_SLOT_WINDOW, -1, np.searchsorted(numbers, slot_windows))
    grid_size = (unit_rows * tokens_per_side, unit_columns * tokens_per_side)
    return GroupLayout(
        grid_size=grid_size,
        window_size=window_size,
        shift=get_shift_size(grid_size, window_size) if kind == "shifted" else 0,
        rows=rows[0],
        columns=columns[0],
        groups=token_slot % slot_windows.shape[1],
        windows=renumbered.reshape(-1)[token_slot],
        slot_windows=renumbered.T,
        hidden_size=hidden_sizes[stage - 1],
    )


def draw_groups(layout: GroupLayout, image: np.ndarray | None = None) -> Figure:
    """
    Draws how visible windows are packed into groups: on the left where they are in the image, on the right the groups, a row each.
    A group has a colour, its windows have shades of it; what is white holds no token.

    Args:
        layout ([`GroupLayout`]):
            From [`get_group_layout`].
        image (`np.ndarray` of shape `(height, width, 3)`, *optional*):
            The image, with values from 0 to 1, to be seen through the colours.

    Returns:
        `Figure`

    Example:

    ```python
    >>> from modeling_greenmim import make_group_plan, sample_masks
    >>> from modeling_greenmim.plotting import draw_groups, get_group_layout

    >>> mask = sample_masks(batch_size=1, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> plan = make_group_plan(mask, grid_size=(7, 7), window_size=7, hidden_sizes=(96, 192, 384, 768))
    >>> figure = draw_groups(get_group_layout(plan, (96, 192, 384, 768), stage=3, kind="shifted"))
    >>> figure.savefig("groups.png")  # doctest: +SKIP
    ```"""
    figure = Figure(figsize=(11, 5), layout="constrained")
    where, packed = figure.subplots(1, 2, width_ratios=(1, 1.2))
    colours = _get_colours(layout.slot_windows)
    _draw_tokens(where, layout, colours, image)
    _draw_slots(packed, layout, colours)
    num_groups, group_size = layout.slot_windows.shape
    kind = f"windows shifted by {layout.shift}" if layout.shift else "regular windows"
    where.set_title(f"{len(layout.rows)} of {np.prod(layout.grid_size)} tokens, {kind}", fontsize=10)
    packed.set_title(
        f"{len(colours)} windows in {num_groups} groups of {group_size} slots, {100 * layout.fill:.0f} % filled;\n"
        f"attention costs {100 * layout.cost_share:.0f} % of that over the whole image",
        fontsize=10,
    )
    return figure


def _get_colours(slot_windows: np.ndarray) -> np.ndarray:
    """A colour for each window: the hue is that of its group. Of shape `(num_windows, 3)`."""
    colours = np.zeros((slot_windows.max() + 1, 3))
    for group, windows in enumerate(slot_windows):
        windows = [window for window in dict.fromkeys(windows.tolist()) if window >= 0]
        for number, window in enumerate(windows):
            shade = number / max(1, len(windows) - 1)
            colours[window] = hsv_to_rgb(((0.6 + 0.382 * group) % 1.0, 0.85 - 0.5 * shade, 0.7 + 0.3 * shade))
    return colours


def _draw_tokens(axes: Axes, layout: GroupLayout, colours: np.ndarray, image: np.ndarray | None):
    rows, columns = layout.grid_size
    picture = np.full((rows, columns, 4), (*HIDDEN_COLOUR, 1.0))
    opacity = 1.0 if image is None else 0.55
    picture[layout.rows, layout.columns] = np.concatenate(
        [colours[layout.windows], np.full((len(layout.rows), 1), opacity)], axis=1
    )
    extent = (0, columns, rows, 0)
    if image is not None:
        axes.imshow(image, extent=extent)
    axes.imshow(picture, extent=extent, interpolation="nearest")
    for side, draw_line in ((columns, axes.axvline), (rows, axes.axhline)):
        for position in range(layout.shift, side, layout.window_size):
            draw_line(position, color="black", linewidth=0.8)
    axes.set(xticks=[], yticks=[], xlim=(0, columns), ylim=(rows, 0))


def _draw_slots(axes: Axes, layout: GroupLayout, colours: np.ndarray):
    num_groups, group_size = layout.slot_windows.shape
    picture = np.ones((num_groups, group_size, 3))
    is_filled = layout.slot_windows >= 0
    picture[is_filled] = colours[layout.slot_windows[is_filled]]
    axes.imshow(picture, extent=(0, group_size, num_groups, 0), aspect="auto", interpolation="nearest")
    for group, windows in enumerate(layout.slot_windows):
        edges = np.flatnonzero(np.diff(windows)) + 1
        axes.vlines(edges, group, group + 1, color="black", linewidth=0.8)
        axes.add_patch(Rectangle((0, group), group_size, 1, fill=False, linewidth=1.2))
    axes.set(xlabel="slot", ylabel="group", yticks=[], xlim=(0, group_size), ylim=(num_groups, 0))


__all__ = ["GroupLayout", "draw_groups", "draw_loss_curve", "draw_reconstructions", "get_group_layout"]
