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
"""Packing of token sets of any size into groups of equal size, and the cost of a group.

Attention runs on tensors of one shape, but the windows of a partly visible image contain any number of tokens. Whole
sets (such as windows) are packed into groups of equal size; inside a group, a token attends only to its own set. This
is the "Optimal Grouping" of GreenMIM (https://huggingface.co/papers/2205.13515, section 3.3). This module works on
integers and knows nothing of images.
"""

import numpy as np

from .validation_greenmim import check_count, describe


# empty slots form a separate set: no token attends to them, and their softmax is finite
EMPTY_SET = -1
# one fixed size may serve stages with many tokens and stages with few
LARGEST_UNUSED_SIZE = 1024


def pack_tokens(
    token_sets: np.ndarray, hidden_size: int, group_shape: tuple[int | None, int] | None = None
) -> dict[str, np.ndarray]:
    """
    Pack tokens into groups, without splitting a set of tokens.

    Args:
        token_sets (`np.ndarray` of integers and shape `(num_tokens,)`):
            Number of the set that each token belongs to, at least 0.
        hidden_size (`int`):
            Number of channels of a token, which determines the cost of a group.
        group_shape (`tuple[int | None, int]`, *optional*):
            Number of groups, and number of slots per group. With `None` as the number, there are as many groups as
            needed. If the tokens do not fit, the size becomes the next multiple of 8 that fits them. By default, the
            size with the lowest cost is searched.

    Returns:
        `dict[str, np.ndarray]` of `int32`, for `num_groups` groups of `group_size` slots:

        - `gather_index`, `(num_groups, group_size)`: token in each slot, 0 for an empty slot.
        - `scatter_index`, `(num_tokens,)`: slot of each token, counted row-major over `(num_groups, group_size)`.
        - `set_index`, `(num_groups, group_size)`: set of the token in each slot, -1 for an empty slot.

    Raises:
        `ValueError`: if there is no token, or a group would be larger than all tokens.

    Example:

    ```python
    >>> import numpy as np
    >>> from modeling_greenmim.packing_greenmim import pack_tokens

    >>> groups = pack_tokens(np.array([0, 0, 0, 1, 2, 2]), hidden_size=16, group_shape=(None, 3))
    >>> groups["set_index"].tolist()  # two groups of three slots
    [[0, 0, 0], [1, 2, 2]]
    ```"""
    check_count("hidden_size", hidden_size)
    is_integer = isinstance(token_sets, np.ndarray) and token_sets.dtype.kind in "iu"
    if not is_integer or token_sets.ndim != 1 or token_sets.size == 0 or token_sets.min() < 0:
        raise ValueError(
            "`token_sets` must be a non-empty one-dimensional array of integers of at least 0, got "
            f"{describe(token_sets)}."
        )
    _check_group_shape(group_shape, token_sets.size)
    tokens_by_set = np.argsort(token_sets, kind="stable")
    set_sizes = np.bincount(token_sets)
    set_sizes = set_sizes[set_sizes > 0]
    if group_shape is None:
        group_shape = (None, search_group_size(set_sizes, hidden_size))
    max_groups, group_size = group_shape
    while True:
        if set_sizes.max() <= group_size:
            set_group, set_start, num_groups = pack_sets(set_sizes, group_size)
            if max_groups is None or num_groups <= max_groups:
                break
        group_size = (group_size // 8 + 1) * 8
    num_groups = max_groups or num_groups  # some may stay empty

    # the tokens of a set take consecutive slots of its group
    first_tokens = np.cumsum(set_sizes) - set_sizes
    slots = np.repeat(set_start - first_tokens, set_sizes) + np.arange(token_sets.size)
    slots += group_size * np.repeat(set_group, set_sizes)

    gather_index = np.zeros(group_size * num_groups, dtype=np.int32)
    gather_index[slots] = tokens_by_set
    set_index = np.full(group_size * num_groups, EMPTY_SET, dtype=np.int32)
    set_index[slots] = token_sets[tokens_by_set]
    scatter_index = np.empty(token_sets.size, dtype=np.int32)
    scatter_index[tokens_by_set] = slots
    return {
        "gather_index": gather_index.reshape(num_groups, group_size),
        "scatter_index": scatter_index,
        "set_index": set_index.reshape(num_groups, group_size),
    }


def _check_group_shape(group_shape: tuple[int | None, int] | None, num_tokens: int):
    if group_shape is None:
        return
    if not isinstance(group_shape, (list, tuple)) or len(group_shape) != 2:
        raise ValueError(
            "`group_shape` must be the number of groups, or None, and the size of a group, such as (24, 49), got "
            f"{describe(group_shape)}."
        )
    if group_shape[0] is not None:
        check_count("group_shape[0]", group_shape[0])
    # a group larger than all tokens is useless, and the cost of a group grows with the square of its size
    check_count("group_shape[1]", group_shape[1], at_most=max((num_tokens // 8 + 1) * 8, LARGEST_UNUSED_SIZE))


def pack_sets(set_sizes: np.ndarray, group_size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """
    Pack sets into groups. The largest remaining set opens a group, and a subset-sum search over the others fills it as
    far as possible. Sets of the same size are interchangeable, so each filling is repeated as often as the remaining
    sets allow: the time depends on the number of different sizes, and hardly on the number of sets.

    Args:
        set_sizes (`np.ndarray` of integers and shape `(num_sets,)`):
            Number of tokens in each set, at least 1.
        group_size (`int`):
            Number of slots in a group.

    Returns:
        `tuple` of the group of each set, its first slot in this group (both `np.ndarray` of shape `(num_sets,)`),
        and the number of groups.

    Raises:
        `ValueError`: if a set has more tokens than a group has slots.
    """
    largest = int(set_sizes.max())
    if largest > group_size:
        raise ValueError(
            f"`group_size` must be at least {largest}, the number of visible tokens in the largest set (such as a "
            f"window), got {group_size}."
        )
    counts = np.bincount(set_sizes, minlength=largest + 1).tolist()
    by_size = np.split(np.argsort(set_sizes, kind="stable"), np.cumsum(counts)[:-1])
    taken = [0] * len(counts)
    set_group, set_start = np.empty((2, set_sizes.size), dtype=np.int64)
    num_groups = 0
    for contents, repeats in _fill_groups(counts, int(group_size)):
        groups, start = num_groups + np.arange(repeats)[:, None], 0
        for size, number in contents.items():
            sets = by_size[size][taken[size] : taken[size] + number * repeats].reshape(repeats, number)
            set_group[sets] = groups
            set_start[sets] = start + size * np.arange(number)
            taken[size] += number * repeats
            start += size * number
        num_groups += repeats
    return set_group, set_start, num_groups


def search_group_size(set_sizes: np.ndarray, hidden_size: int) -> int:
    """Group size with the lowest total cost: the size of the largest set, or a multiple of 8 above it."""
    num_tokens = int(set_sizes.sum())
    counts = np.bincount(set_sizes).tolist()
    best_size = group_size = len(counts) - 1
    best_cost = None
    # larger groups only pay off by filling better, so the search ends once even full groups would cost as much
    while best_cost is None or (num_tokens / group_size) * get_group_cost(group_size, hidden_size) < best_cost:
        num_groups = sum(repeats for _, repeats in _fill_groups(counts, group_size))
        cost = num_groups * get_group_cost(group_size, hidden_size)
        if best_cost is None or cost < best_cost:
            best_size, best_cost = group_size, cost
        group_size = (group_size // 8 + 1) * 8
    return best_size


def search_static_shape(draws: list[np.ndarray], hidden_size: int) -> tuple[int, int]:
    """
    Number and size of the cheapest groups that fit all draws, with a little room.

    Args:
        draws (`list[np.ndarray]`):
            Set sizes of each draw.
        hidden_size (`int`):
            Number of channels of a token.

    Returns:
        `tuple[int, int]`: number of groups, and number of slots per group.
    """
    largest = max(int(set_sizes.max()) for set_sizes in draws)
    num_tokens = max(int(set_sizes.sum()) for set_sizes in draws)
    counts = [np.bincount(set_sizes, minlength=largest + 1).tolist() for set_sizes in draws]
    best_shape, best_cost = (0, 0), float("inf")
    group_size = largest
    while (num_tokens / group_size) * get_group_cost(group_size, hidden_size) < best_cost:
        needed = max(sum(repeats for _, repeats in _fill_groups(count, group_size)) for count in counts)
        num_groups = needed + needed // 400  # room for draws that pack slightly worse
        cost = num_groups * get_group_cost(group_size, hidden_size)
        if cost < best_cost:
            best_shape, best_cost = (num_groups, group_size), cost
        group_size = (group_size // 8 + 1) * 8
    return best_shape


def get_group_cost(group_size: int, hidden_size: int) -> int:
    """Multiply-adds of one group: queries, keys and values, scores, and weighted sum (GreenMIM, section 3.3)."""
    return 3 * group_size * hidden_size**2 + 2 * group_size**2 * hidden_size


def _fill_groups(counts: list[int], group_size: int) -> list[tuple[dict[int, int], int]]:
    """Fill groups from `counts[size]` sets of each size: `(contents as {size: number}, repeats)` for each filling."""
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
    The sets that best fill `capacity` slots, as `{size: number}`: subset sum with bounded numbers. Bit `n` of
    `reached` indicates whether `n` slots can be filled. Large sets come first and are preferred.
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
    contents: dict[int, int] = {}
    for size, part, reached_before in reversed(steps):
        if not (reached_before >> filled) & 1:
            contents[size] = contents.get(size, 0) + part
            filled -= size * part
    return contents


__all__ = ["EMPTY_SET", "get_group_cost", "pack_sets", "pack_tokens", "search_group_size", "search_static_shape"]
