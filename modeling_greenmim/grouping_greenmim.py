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
"""Group plans: which visible tokens attend to each other, as integers.

The scheme is the "Group Window Attention" with "Optimal Grouping" of GreenMIM (https://huggingface.co/papers/2205.13515).

A window of a partly visible image holds any number of tokens. To run attention on tensors of one shape, whole windows are
packed into groups of equal size; inside a group, a token attends to the tokens of its own window only. A *group plan*
says where every token goes. It is a flat dictionary of integer tensors, so that it can be made in the workers of a data
loader, pinned, and moved to a device. For stage `i` (from 1) and for `kind` in `regular` and `shifted` (absent where the
stage does not shift), with `T` tokens in `G` groups of `S` slots:

| key                            | shape    | value                                                                       |
|--------------------------------|----------|-----------------------------------------------------------------------------|
| `stage{i}_{kind}_slot_token`   | `(S, G)` | token in this slot; 0 for an empty one, `T` for one that holds dense padding |
| `stage{i}_{kind}_slot_window`  | `(S, G)` | window of this slot's token, -1 for an empty one                             |
| `stage{i}_{kind}_slot_position`| `(S, G)` | `row * (2 * window_size - 1) + column` of the token inside its window        |
| `stage{i}_{kind}_token_slot`   | `(T,)`   | slot of this token, counted row-major over `(S, G)`                          |

The plan of a mask also has `visible_indices`, `(1, V)` or `(batch_size, V)`, the visible units in ascending order, and
`made_for`, `(3,)`, the rows and columns of mask units and the window size that it was made for.
A plan serves in one of two ways, told by `T`: either every image has the same mask, then `T` counts the tokens of one image
and all images follow the same plan; or every image has its own, then `T` counts the tokens of the whole batch, and a group
may hold windows of different images.

Visible tokens are ordered by unit, and inside a unit so that the four tokens that merge into one lie side by side, in the
order in which Swin concatenates them. Dense tokens are row-major.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch


# empty slots share a window of their own: no token attends to them, and their softmax is finite
EMPTY_SLOT_WINDOW = -1


def get_shift_size(grid_size: tuple[int, int], window_size: int) -> int:
    """Shift of the shifted windows: half a window, or none where one window covers the smaller side of the grid."""
    return 0 if min(grid_size) <= window_size else window_size // 2


def make_group_plan(
    bool_masked_pos: np.ndarray | torch.Tensor,
    grid_size: tuple[int, int],
    window_size: int,
    hidden_sizes: Sequence[int],
    group_size: int | None = None,
) -> dict[str, torch.Tensor]:
    """
    Plans group window attention for the visible tokens of a mask, for every stage and for both kinds of windows.

    Args:
        bool_masked_pos (`np.ndarray` or `torch.Tensor` of `bool` and shape `(batch_size, num_units)`):
            Mask over the mask units, row-major, `True` where a unit is hidden.
        grid_size (`tuple[int, int]`):
            Rows and columns of mask units in an image.
        window_size (`int`):
            Side of the attention windows in tokens.
        hidden_sizes (`Sequence[int]`):
            Number of channels of each stage. Their number is the number of stages.
        group_size (`int`, *optional*):
            Number of slots in a group, for every stage. By default the size that costs least is searched for each stage.

    Returns:
        `dict[str, torch.Tensor]`: the group plan described at the top of this file, on the CPU.

    Raises:
        `ValueError`: if the mask is not boolean, has the wrong number of units, hides everything or nothing, or hides
        another number of units in another row; or if `group_size` is smaller than the largest window.

    Example:

    ```python
    >>> from modeling_greenmim.grouping_greenmim import make_group_plan
    >>> from modeling_greenmim.masking_greenmim import sample_masks

    >>> mask = sample_masks(batch_size=8, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> plan = make_group_plan(mask, grid_size=(7, 7), window_size=7, hidden_sizes=(96, 192, 384, 768))
    >>> plan["stage1_regular_token_slot"].shape  # 8 images, 12 visible units, 64 tokens a unit
    torch.Size([6144])
    ```"""
    visible_indices = _get_visible_indices(np.asarray(bool_masked_pos), grid_size)
    if (visible_indices == visible_indices[0]).all():
        visible_indices = visible_indices[:1]
    plan = {
        "visible_indices": torch.from_numpy(visible_indices),
        "made_for": torch.tensor([*grid_size, window_size], dtype=torch.int32),
    }
    for stage, hidden_size in enumerate(hidden_sizes, start=1):
        tokens_per_side = 2 ** (len(hidden_sizes) - stage)
        stage_grid = (grid_size[0] * tokens_per_side, grid_size[1] * tokens_per_side)
        rows, columns = get_token_coordinates(visible_indices, grid_size[1], tokens_per_side)
        for kind, shift in _get_kinds(stage_grid, window_size):
            layout = _pack_tokens(rows, columns, stage_grid, window_size, shift, hidden_size, group_size)
            plan |= {f"stage{stage}_{kind}_{name}": torch.from_numpy(array) for name, array in layout.items()}
    return plan


def get_stage_grids(grid_size: tuple[int, int], num_stages: int) -> list[tuple[int, int]]:
    """Rows and columns of tokens of a whole image in each stage: from one to the next they are halved, rounded up."""
    return [(-(-grid_size[0] // 2**stage), -(-grid_size[1] // 2**stage)) for stage in range(num_stages)]


def make_dense_plan(
    stage_grids: Sequence[tuple[int, int]],
    window_size: int,
    always_partition: bool = False,
    device: torch.device | None = None,
) -> dict[str, torch.Tensor]:
    """
    The plan of an image without a mask: its groups are the windows themselves. It depends on shapes alone and is made on
    the device. Like Swin, it completes the last row and column of windows with padding, which takes part in the attention
    (see `SwinLayer.maybe_pad` in transformers).

    Args:
        stage_grids (`Sequence[tuple[int, int]]`):
            Rows and columns of tokens in each stage.
        window_size (`int`):
            Side of the attention windows in tokens.
        always_partition (`bool`, *optional*, defaults to `False`):
            Whether windows keep their size and their shift in a grid that is no larger than they are, as in transformers'
            `SwinBackbone`. Otherwise, as in `SwinModel`, there is no shift then, and a side of the grid that is shorter than
            the window is one short window.
        device (`torch.device`, *optional*):
            Where to make it.

    Returns:
        `dict[str, torch.Tensor]`: the group plan described at the top of this file, for row-major tokens.
    """
    plan = {}
    for stage, grid_size in enumerate(stage_grids, start=1):
        sides = (window_size,) * 2 if always_partition else tuple(min(window_size, length) for length in grid_size)
        kinds = (
            [("regular", 0), ("shifted", window_size // 2)] if always_partition else _get_kinds(grid_size, window_size)
        )
        for kind, shift in kinds:
            layout = _partition_grid(grid_size, window_size, sides, shift, device)
            plan |= {f"stage{stage}_{kind}_{name}": tensor for name, tensor in layout.items()}
    return plan


def check_group_plan(
    group_plan: dict[str, torch.Tensor],
    bool_masked_pos: torch.Tensor,
    grid_size: tuple[int, int],
    window_size: int,
    num_stages: int,
):
    """
    Checks that a plan was made for a mask, image size and model. Values are compared on the CPU alone: on another device,
    nothing here waits for it.

    Args:
        group_plan (`dict[str, torch.Tensor]`):
            A plan made by [`make_group_plan`].
        bool_masked_pos (`torch.Tensor` of `bool` and shape `(batch_size, num_units)`):
            The mask that it should be for.
        grid_size (`tuple[int, int]`):
            Rows and columns of mask units in an image.
        window_size (`int`):
            Side of the attention windows in tokens.
        num_stages (`int`):
            Number of stages of the model.

    Raises:
        `ValueError`: if it was made for something else.
    """
    advice = "Make the plan of this very mask, with `make_group_plan`."
    batch_size = bool_masked_pos.shape[0]
    is_complete = "visible_indices" in group_plan and f"stage{num_stages}_regular_token_slot" in group_plan
    if not is_complete or f"stage{num_stages + 1}_regular_token_slot" in group_plan:
        raise ValueError(f"`group_plan` is not one for {num_stages} stages. {advice}")
    visible_indices = group_plan["visible_indices"]
    if visible_indices.shape[0] not in (1, batch_size):
        raise ValueError(
            f"`group_plan` was made for {visible_indices.shape[0]} masks, but the batch has {batch_size}. {advice}"
        )
    if bool_masked_pos.device.type != "cpu" or torch.compiler.is_compiling():
        return
    made_for, wanted = tuple(group_plan["made_for"].tolist()), (*grid_size, window_size)
    if made_for != wanted:
        raise ValueError(
            f"`group_plan` was made for {made_for[0]} x {made_for[1]} mask units and windows of {made_for[2]}, but these "
            f"are {wanted[0]} x {wanted[1]} units and windows of {wanted[2]}. {advice}"
        )
    planned_mask = torch.ones_like(bool_masked_pos).scatter(1, visible_indices.cpu().expand(batch_size, -1), False)
    if not torch.equal(bool_masked_pos, planned_mask):
        raise ValueError(f"`group_plan` was made for another mask than `bool_masked_pos`. {advice}")


def pack_windows(window_tokens: np.ndarray, group_size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """
    Packs windows into groups: as long as there are windows left, the largest one opens a group, and a subset-sum search
    over the others fills it as far as possible (the "Optimal Grouping" of GreenMIM). Windows with equally many tokens are
    interchangeable, so that a group, once found, is repeated as often as there are windows for it: the time depends on
    the number of different window sizes, hardly on the number of windows.

    Args:
        window_tokens (`np.ndarray` of integers and shape `(num_windows,)`):
            Number of tokens in each window, at least 1.
        group_size (`int`):
            Number of slots in a group.

    Returns:
        `tuple` of the group of each window, its first slot in this group (both `np.ndarray` of shape `(num_windows,)`),
        and the number of groups.

    Raises:
        `ValueError`: if a window has more tokens than a group has slots.
    """
    largest = int(window_tokens.max())
    if largest > group_size:
        raise ValueError(
            f"`group_size={group_size}` is too small: a window has {largest} visible tokens and must fit into one group."
        )
    counts = np.bincount(window_tokens, minlength=largest + 1).tolist()
    by_size = np.split(np.argsort(window_tokens, kind="stable"), np.cumsum(counts)[:-1])
    taken = [0] * len(counts)
    window_group, window_start = np.empty((2, window_tokens.size), dtype=np.int64)
    num_groups = 0
    for contents, repeats in _fill_groups(counts, int(group_size)):
        groups, start = num_groups + np.arange(repeats)[:, None], 0
        for size, number in contents.items():
            windows = by_size[size][taken[size] : taken[size] + number * repeats].reshape(repeats, number)
            window_group[windows] = groups
            window_start[windows] = start + size * np.arange(number)
            taken[size] += number * repeats
            start += size * number
        num_groups += repeats
    return window_group, window_start, num_groups


def _get_visible_indices(bool_masked_pos: np.ndarray, grid_size: tuple[int, int]) -> np.ndarray:
    """Checks a mask and returns the visible units, `(batch_size, visible)`, ascending."""
    num_units = grid_size[0] * grid_size[1]
    if bool_masked_pos.dtype != bool:
        raise ValueError(f"`bool_masked_pos` must be boolean, but its dtype is {bool_masked_pos.dtype}.")
    if bool_masked_pos.ndim != 2 or bool_masked_pos.shape[1] != num_units:
        raise ValueError(
            f"`bool_masked_pos` must have the shape (batch_size, {num_units}), for {grid_size[0]} x {grid_size[1]} mask "
            f"units, but has {tuple(bool_masked_pos.shape)}."
        )
    num_visible = num_units - bool_masked_pos.sum(axis=1)
    if (num_visible != num_visible[0]).any():
        raise ValueError(
            "Every row of `bool_masked_pos` must hide the same number of units, but they hide from "
            f"{num_units - num_visible.max()} to {num_units - num_visible.min()} of {num_units}."
        )
    if num_visible[0] in (0, num_units):
        raise ValueError(
            f"`bool_masked_pos` hides {'everything' if num_visible[0] == 0 else 'nothing'}. It must hide at least one of "
            f"the {num_units} units and leave at least one visible; to encode whole images, pass no mask."
        )
    return np.nonzero(~bool_masked_pos)[1].reshape(bool_masked_pos.shape[0], -1)


def get_token_coordinates(
    visible_indices: np.ndarray, grid_width: int, tokens_per_side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every visible token in the grid of its stage, each `(masks, visible * tokens_per_side**2)`."""
    rows, columns = visible_indices // grid_width, visible_indices % grid_width
    while tokens_per_side > 1:
        # Swin merges in the order row 0 column 0, row 1 column 0, row 0 column 1, row 1 column 1
        rows = (2 * rows[..., None] + np.array([0, 1, 0, 1])).reshape(len(rows), -1)
        columns = (2 * columns[..., None] + np.array([0, 0, 1, 1])).reshape(len(columns), -1)
        tokens_per_side //= 2
    return rows, columns


def _get_kinds(grid_size: tuple[int, int], window_size: int) -> list[tuple[str, int]]:
    """The kinds of windows of a stage, with their shift."""
    shift = get_shift_size(grid_size, window_size)
    return [("regular", 0)] + ([("shifted", shift)] if shift > 0 else [])


def _pack_tokens(
    rows: np.ndarray,
    columns: np.ndarray,
    grid_size: tuple[int, int],
    window_size: int,
    shift: int,
    hidden_size: int,
    group_size: int | None,
) -> dict[str, np.ndarray]:
    """Assigns every token to its window, packs the windows into groups and numbers the slots."""
    # shifted windows are those of a grid that starts `window_size - shift` tokens before the image, so that no roll is
    # needed; both kinds get this offset, which only changes the names of the regular windows
    row_windows, window_rows = np.divmod(rows + window_size - shift, window_size)
    column_windows, window_columns = np.divmod(columns + window_size - shift, window_size)
    windows_per_side = [(side - 1 + window_size) // window_size + 2 for side in grid_size]
    image_windows = np.arange(len(rows))[:, None] * windows_per_side[0] + row_windows
    windows = (image_windows * windows_per_side[1] + column_windows).reshape(-1)
    positions = (window_rows * (2 * window_size - 1) + window_columns).reshape(-1)

    tokens_by_window = np.argsort(windows, kind="stable")
    window_tokens = np.bincount(windows)
    window_tokens = window_tokens[window_tokens > 0]
    if group_size is None:
        group_size = _search_group_size(window_tokens, hidden_size)
    window_group, window_start, num_groups = pack_windows(window_tokens, group_size)

    # the tokens of a window take consecutive slots of its group
    first_tokens = np.cumsum(window_tokens) - window_tokens
    slots = np.repeat(window_start - first_tokens, window_tokens) + np.arange(windows.size)
    slots = slots * num_groups + np.repeat(window_group, window_tokens)

    layout = {
        "slot_token": np.zeros(group_size * num_groups, dtype=np.int32),
        "slot_window": np.full(group_size * num_groups, EMPTY_SLOT_WINDOW, dtype=np.int32),
        "slot_position": np.zeros(group_size * num_groups, dtype=np.int32),
    }
    layout["slot_token"][slots] = tokens_by_window
    layout["slot_window"][slots] = windows[tokens_by_window]
    layout["slot_position"][slots] = positions[tokens_by_window]
    layout = {name: array.reshape(group_size, num_groups) for name, array in layout.items()}
    token_slot = np.empty(windows.size, dtype=np.int32)
    token_slot[tokens_by_window] = slots
    return layout | {"token_slot": token_slot}


class _AxisPartition(NamedTuple):
    """One axis of a grid, completed by padding to whole windows, in the order of Swin's cyclic shift."""

    place: torch.Tensor  # (slots, groups), place along the axis; padding comes after the last
    window: torch.Tensor  # (slots, groups), window of this place: the shift brings two of them into the last group
    slot: torch.Tensor  # (length,), slot of each place that is no padding
    group: torch.Tensor  # (length,), its group


def _partition_axis(
    length: int, window_size: int, side: int, shift: int, device: torch.device | None
) -> _AxisPartition:
    padded_length = -(-length // side) * side
    place = (torch.arange(padded_length, device=device) + shift) % padded_length
    place = place.view(-1, side).t()
    rolled = (torch.arange(length, device=device) - shift) % padded_length
    return _AxisPartition(place, (place + window_size - shift) // window_size, rolled % side, rolled // side)


def _partition_grid(
    grid_size: tuple[int, int], window_size: int, sides: tuple[int, int], shift: int, device: torch.device | None
) -> dict[str, torch.Tensor]:
    """Partitions a whole grid into windows: groups of `sides[0] * sides[1]` slots, some of which may hold padding."""
    height, width = grid_size
    rows, columns = (
        _partition_axis(length, window_size, side, shift, device) for length, side in zip(grid_size, sides)
    )
    (row_slots, row_groups), (column_slots, column_groups) = rows.place.shape, columns.place.shape

    def combine(of_rows: torch.Tensor, of_columns: torch.Tensor) -> torch.Tensor:
        """A sum for each slot, `(slots, groups)`, of what holds for its row and for its column."""
        sums = of_rows[:, None, :, None] + of_columns[None, :, None, :]
        return sums.reshape(row_slots * column_slots, row_groups * column_groups)

    is_padding = combine(rows.place >= height, columns.place >= width)
    token = combine(rows.place * width, columns.place)
    position = combine(
        torch.arange(row_slots, device=device)[:, None].expand_as(rows.place) * (2 * window_size - 1),
        torch.arange(column_slots, device=device)[:, None].expand_as(columns.place),
    )
    slot = rows.slot[:, None] * column_slots + columns.slot
    group = rows.group[:, None] * column_groups + columns.group
    return {
        "slot_token": token.masked_fill(is_padding, height * width),
        "slot_window": combine(rows.window * (width + 2 * window_size), columns.window),
        "slot_position": position,
        "token_slot": (slot * (row_groups * column_groups) + group).flatten(),
    }


def _search_group_size(window_tokens: np.ndarray, hidden_size: int) -> int:
    """The group size whose groups cost least: that of the largest window, or a multiple of 8 above it."""
    num_tokens = int(window_tokens.sum())
    counts = np.bincount(window_tokens).tolist()
    best_size = group_size = len(counts) - 1
    best_cost = None
    # more slots only pay by filling better, so nothing is left to find once full groups would cost as much
    while best_cost is None or (num_tokens / group_size) * get_group_cost(group_size, hidden_size) < best_cost:
        num_groups = sum(repeats for _, repeats in _fill_groups(counts, group_size))
        cost = num_groups * get_group_cost(group_size, hidden_size)
        if best_cost is None or cost < best_cost:
            best_size, best_cost = group_size, cost
        group_size = (group_size // 8 + 1) * 8
    return best_size


def get_group_cost(group_size: int, hidden_size: int) -> int:
    """Multiply-adds that one group costs: its queries, keys and values, scores, and weighted sum (the paper's section 3.3)."""
    return 3 * group_size * hidden_size**2 + 2 * group_size**2 * hidden_size


def _fill_groups(counts: list[int], group_size: int) -> list[tuple[dict[int, int], int]]:
    """Fills groups from `counts[size]` windows of each size: `(contents as {size: number}, repeats)` for each filling."""
    counts, fillings = list(counts), []
    sizes = [size for size in range(len(counts) - 1, 0, -1) if counts[size] > 0]
    while sizes:
        largest = sizes[0]
        counts[largest] -= 1
        contents = _search_subset(sizes, counts, group_size - largest)
        counts[largest] += 1
        contents[largest] = contents.get(largest, 0) + 1
        repeats = min(counts[size] // number for size, number in contents.items())
        for size, number in contents.items():
            counts[size] -= number * repeats
        fillings.append((contents, repeats))
        sizes = [size for size in sizes if counts[size] > 0]
    return fillings


def _search_subset(sizes: list[int], counts: list[int], capacity: int) -> dict[int, int]:
    """
    The windows that fill `capacity` slots best, as `{size: number}`: subset sum with bounded numbers. Bit `n` of `reached`
    tells whether `n` slots can be filled; large windows come first, and are preferred where there is a choice.
    """
    reached, within_capacity = 1, (1 << (capacity + 1)) - 1
    steps = []
    for size in sizes:
        left, number = min(counts[size], capacity // size), 1
        while left > 0:  # any number up to `left` is a sum of some of these parts
            part = min(number, left)
            steps.append((size, part, reached))
            reached |= (reached << (size * part)) & within_capacity
            left, number = left - part, 2 * number
        if reached >> capacity:
            break
    filled = reached.bit_length() - 1
    contents = {}
    for size, part, reached_before in reversed(steps):
        if not (reached_before >> filled) & 1:
            contents[size] = contents.get(size, 0) + part
            filled -= size * part
    return contents


__all__ = [
    "check_group_plan",
    "get_shift_size",
    "get_stage_grids",
    "make_dense_plan",
    "make_group_plan",
    "pack_windows",
]
