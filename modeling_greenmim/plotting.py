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
"""
Draw masked images and their reconstructions, loss curves, and the packing of visible windows into groups. Needs
matplotlib.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .configuration_greenmim import GreenMimConfig
from .input_checks_greenmim import check_config
from .layout_greenmim import TokenLayout
from .mixer_window_greenmim import GreenMimWindowAttention
from .packing_greenmim import EMPTY_SET, get_group_cost
from .planning_greenmim import get_token_mixer
from .validation_greenmim import check_count, describe


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIDDEN_COLOR = (0.82, 0.82, 0.82)


def draw_loss_curve(history: Sequence[dict], reconstruction_target: str) -> "Figure":
    """
    Draw training and evaluation losses over the training steps.

    Args:
        history (`Sequence[dict]`):
            Records with `step` and either `loss` (training batches) or `eval_loss` (held-out images).
        reconstruction_target (`str`):
            Reconstruction target, as in [`GreenMimConfig`].
    """
    if not isinstance(history, Sequence) or not all(isinstance(record, dict) for record in history):
        raise ValueError(f"`history` must be a list of dictionaries, got {describe(history)}.")
    if not isinstance(reconstruction_target, str):
        raise ValueError(f"`reconstruction_target` must be a string, got {describe(reconstruction_target)}.")
    figure = _make_figure(figsize=(7, 4))
    axes = figure.subplots()
    styles: dict[str, dict] = {
        "loss": {"color": "tab:blue", "alpha": 0.5, "label": "training batches"},
        "eval_loss": {"color": "tab:red", "marker": "o", "label": "held-out images"},
    }
    for name, style in styles.items():
        points = [(record["step"], record[name]) for record in history if name in record]
        if points:
            axes.plot(*zip(*points), **style)
    target = {"pixels": "normalized pixel values", "normalized_pixels": "pixels normalized by unit"}
    label = f"loss on hidden units\n({target.get(reconstruction_target, reconstruction_target)})"
    axes.set(xlabel="training step", ylabel=label, yscale="log")
    axes.grid(which="both", alpha=0.3)
    if axes.get_lines():  # a run without records has none
        axes.legend()
    return figure


def draw_images(rows: dict[str, Sequence[torch.Tensor] | torch.Tensor], note: str) -> "Figure":
    """
    Draw a grid of images with one titled row per key of `rows` and one column per image.

    Args:
        rows (`dict[str, Sequence[torch.Tensor]]`):
            Maps titles to images of shape `(num_channels, height, width)`, or to one tensor of them, with values from
            0 to 1. With more than three channels, the first three are shown; with two, the first.
        note (`str`):
            Caption below the images, such as a note on how to read them.
    """
    has_rows = isinstance(rows, dict) and all(isinstance(row, (torch.Tensor, list, tuple)) for row in rows.values())
    drawn = [image for row in rows.values() for image in row] if has_rows else []
    if not drawn or not all(isinstance(image, torch.Tensor) and image.ndim == 3 for image in drawn):
        raise ValueError(
            "`rows` must be a dictionary of titles and images of shape (num_channels, height, width), got "
            f"{describe(rows)}."
        )
    num_images = len(next(iter(rows.values())))
    figure = _make_figure(figsize=(1.4 * num_images + 0.5, 1.4 * len(rows) + 0.7))
    grid = figure.subplots(len(rows), num_images, squeeze=False)
    for row_axes, (title, images) in zip(grid, rows.items()):
        row_axes[0].set_ylabel(title)
        for axes, image in zip(row_axes, images):
            shown = image[: 3 if len(image) >= 3 else 1].clamp(0, 1).float().numpy()
            axes.imshow(np.moveaxis(shown, 0, -1), cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    figure.supxlabel(note, fontsize=9, wrap=True)
    return figure


@dataclass
class GroupLayout:
    """
    Position, group and window of each visible token of an image in one stage.

    Attributes:
        grid_size (`tuple[int, int]`):
            Rows and columns of tokens of the full image.
        window_size, shift (`int`):
            Window side and shift, in tokens.
        rows, columns, groups, windows (`np.ndarray` of shape `(num_tokens,)`):
            Row, column, group and window of each visible token. Windows are numbered from 0 in plan order.
        slot_windows (`np.ndarray` of shape `(num_groups, group_size)`):
            Window of each slot, or -1 for an empty slot.
        hidden_size (`int`):
            Number of channels of the stage.
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
        """Fraction of the slots that hold a token."""
        return float((self.slot_windows >= 0).mean())

    @property
    def cost_fraction(self) -> float:
        """Attention multiply-adds, as a fraction of attention over all windows of the full image."""
        num_groups, group_size = self.slot_windows.shape
        window_tokens = self.window_size**2
        num_windows = np.prod([-(-side // self.window_size) for side in self.grid_size])
        return (
            num_groups
            * get_group_cost(group_size, self.hidden_size)
            / (num_windows * get_group_cost(window_tokens, self.hidden_size))
        )


def get_group_layout(plan: dict, config: GreenMimConfig, stage: int = 1, token_mixer: str = "window") -> GroupLayout:
    """
    Read the token layout of a stage from a plan.

    Args:
        plan (`dict`):
            Plan for one mask, from [`make_plan`].
        config ([`GreenMimConfig`]):
            Configuration used to make the plan.
        stage (`int`, *optional*, defaults to 1):
            Stage number, starting at 1.
        token_mixer (`str`, *optional*, defaults to `"window"`):
            Name of a token mixer in this stage: `"window"`, `"shifted_window"`, or a custom subclass of
            [`~mixer_window_greenmim.GreenMimWindowAttention`]. Windows of other mixers cannot be drawn.

    Returns:
        [`GroupLayout`]

    Raises:
        `ValueError`: if the plan is for several masks, or this stage has no windows for this token mixer.

    Example:

    ```python
    >>> from modeling_greenmim import GreenMimConfig, make_plan, sample_masks
    >>> from modeling_greenmim.plotting import get_group_layout

    >>> config = GreenMimConfig()
    >>> mask = sample_masks(batch_size=1, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> layout = get_group_layout(make_plan(mask, config), config, stage=2)
    >>> layout.grid_size, len(layout.rows)  # 12 visible units of 4 x 4 tokens
    ((28, 28), 192)
    ```"""
    check_config(config)
    check_count("stage", stage, at_most=config.num_layers)
    if not isinstance(plan, dict) or config.stage_names[stage] not in plan:
        raise ValueError(f"`plan` must be made by `make_plan` for this configuration, got {describe(plan)}.")
    stage_plan = plan[config.stage_names[stage]]
    drawable = [name for name in stage_plan if issubclass(get_token_mixer(name), GreenMimWindowAttention)]
    if not isinstance(token_mixer, str) or token_mixer not in drawable:
        raise ValueError(
            "`token_mixer` must be 'window', 'shifted_window' or a subclass of GreenMimWindowAttention in stage "
            f"{stage} of this plan ({', '.join(drawable) or 'none'}), got {describe(token_mixer)}."
        )
    if len(plan["visible_indices"]) != 1:
        raise ValueError(
            f"`plan` must be for one mask, got one for {len(plan['visible_indices'])}. Plan one of the masks."
        )
    unit_grid = tuple(plan["geometry"].shape[1:3])
    layout = TokenLayout.from_visible_indices(
        plan["visible_indices"].numpy(), unit_grid, config.get_unit_side(stage - 1)
    )
    slot_windows = stage_plan[token_mixer]["set_index"].numpy()
    slots = stage_plan[token_mixer]["scatter_index"].numpy()
    mixer: Any = get_token_mixer(token_mixer)
    numbers = np.unique(slot_windows[slot_windows != EMPTY_SET])
    renumbered = np.where(slot_windows == EMPTY_SET, -1, np.searchsorted(numbers, slot_windows))
    return GroupLayout(
        grid_size=layout.grid_size,
        window_size=config.window_size,
        shift=mixer.get_shift_size(layout.grid_size, config.window_size),
        rows=layout.rows[0],
        columns=layout.columns[0],
        groups=slots // slot_windows.shape[1],
        windows=renumbered.reshape(-1)[slots],
        slot_windows=renumbered,
        hidden_size=config.hidden_sizes[stage - 1],
    )


def draw_groups(layout: GroupLayout, image: np.ndarray | None = None) -> "Figure":
    """
    Draw how visible windows are packed into groups. The left plot shows the windows in the image, the right plot one
    row per group. Each group has a color, and its windows have shades of that color. White slots are empty.

    Args:
        layout ([`GroupLayout`]):
            Layout from [`get_group_layout`].
        image (`np.ndarray` of shape `(height, width, 3)`, *optional*):
            Image with values from 0 to 1, drawn under the colors.

    Returns:
        `Figure`

    Example:

    ```python
    >>> from modeling_greenmim import GreenMimConfig, make_plan, sample_masks
    >>> from modeling_greenmim.plotting import draw_groups, get_group_layout

    >>> config = GreenMimConfig()
    >>> mask = sample_masks(batch_size=1, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> figure = draw_groups(get_group_layout(make_plan(mask, config), config, stage=3, token_mixer="shifted_window"))
    >>> figure.savefig("groups.png")  # doctest: +SKIP
    ```"""
    figure = _make_figure(figsize=(11, 5))
    image_axes, group_axes = figure.subplots(1, 2, width_ratios=(1, 1.2))
    colors = _get_colors(layout.slot_windows)
    _draw_tokens(image_axes, layout, colors, image)
    _draw_slots(group_axes, layout, colors)
    num_groups, group_size = layout.slot_windows.shape
    windows = f"windows shifted by {layout.shift}" if layout.shift else "regular windows"
    image_axes.set_title(f"{len(layout.rows)} of {np.prod(layout.grid_size)} tokens, {windows}", fontsize=10)
    group_axes.set_title(
        f"{len(colors)} windows in {num_groups} groups of {group_size} slots, {100 * layout.fill:.0f}% filled;\n"
        f"attention costs {100 * layout.cost_fraction:.0f}% of full-image attention",
        fontsize=10,
    )
    return figure


def _make_figure(figsize: tuple[float, float]) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Cannot draw because matplotlib is not installed. Install it with `pip install matplotlib`."
        ) from error
    return Figure(figsize=figsize, layout="constrained")


def _get_colors(slot_windows: np.ndarray) -> np.ndarray:
    """Window colors of shape `(num_windows, 3)`. Windows of a group share its hue."""
    from matplotlib.colors import hsv_to_rgb

    colors = np.zeros((slot_windows.max() + 1, 3))
    for group, windows in enumerate(slot_windows):
        windows = [window for window in dict.fromkeys(windows.tolist()) if window >= 0]
        for number, window in enumerate(windows):
            shade = number / max(1, len(windows) - 1)
            colors[window] = hsv_to_rgb(((0.6 + 0.382 * group) % 1.0, 0.85 - 0.5 * shade, 0.7 + 0.3 * shade))
    return colors


def _draw_tokens(axes: "Axes", layout: GroupLayout, colors: np.ndarray, image: np.ndarray | None):
    rows, columns = layout.grid_size
    picture = np.full((rows, columns, 4), (*HIDDEN_COLOR, 1.0))
    opacity = 1.0 if image is None else 0.55
    picture[layout.rows, layout.columns] = np.concatenate(
        [colors[layout.windows], np.full((len(layout.rows), 1), opacity)], axis=1
    )
    extent = (0, columns, rows, 0)
    if image is not None:
        axes.imshow(image, extent=extent)
    axes.imshow(picture, extent=extent, interpolation="nearest")
    for side, draw_line in ((columns, axes.axvline), (rows, axes.axhline)):
        for position in range(layout.shift, side, layout.window_size):
            draw_line(position, color="black", linewidth=0.8)
    axes.set(xticks=[], yticks=[], xlim=(0, columns), ylim=(rows, 0))


def _draw_slots(axes: "Axes", layout: GroupLayout, colors: np.ndarray):
    from matplotlib.patches import Rectangle

    num_groups, group_size = layout.slot_windows.shape
    picture = np.ones((num_groups, group_size, 3))
    is_filled = layout.slot_windows >= 0
    picture[is_filled] = colors[layout.slot_windows[is_filled]]
    axes.imshow(picture, extent=(0, group_size, num_groups, 0), aspect="auto", interpolation="nearest")
    for group, windows in enumerate(layout.slot_windows):
        edges = np.flatnonzero(np.diff(windows)) + 1
        axes.vlines(edges, group, group + 1, color="black", linewidth=0.8)
        axes.add_patch(Rectangle((0, group), group_size, 1, fill=False, linewidth=1.2))
    axes.set(xlabel="slot", ylabel="group", yticks=[], xlim=(0, group_size), ylim=(num_groups, 0))


__all__ = ["GroupLayout", "draw_groups", "draw_loss_curve", "draw_images", "get_group_layout"]
