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
"""Seeded samplers of masks over the mask units of an image.

A mask unit is the square of pixels that becomes one token of the last stage (32 x 32 for a Swin of four stages). All
samplers hide an exact number of units, so that every image of a batch keeps the same number of visible tokens. They
use only NumPy: both image processors and the data collators share them, and the same seed gives the same mask
everywhere.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .validation_greenmim import check_choice, check_count, check_flag, check_height_and_width, check_number, describe


def get_unit_grid(image_size: Sequence[int], mask_unit_size: int) -> tuple[int, int]:
    """
    Rows and columns of mask units in an image.

    Args:
        image_size (`tuple[int, int]`):
            Height and width of the image in pixels.
        mask_unit_size (`int`):
            Side of a mask unit in pixels.

    Raises:
        `ValueError`: if a size is not positive, or the image does not consist of whole units. The message names the
        nearest valid sizes.

    Example:

    ```python
    >>> from modeling_greenmim.masking_greenmim import get_unit_grid

    >>> get_unit_grid((224, 448), mask_unit_size=32)
    (7, 14)
    ```"""
    check_height_and_width("image_size", image_size, "pixels")
    check_count("mask_unit_size", mask_unit_size)
    height, width = image_size
    if height % mask_unit_size or width % mask_unit_size:
        fitting = []
        for length in image_size:
            below = length // mask_unit_size * mask_unit_size
            above = below + mask_unit_size if length % mask_unit_size else below
            fitting.append(" or ".join(str(side) for side in sorted({below, above}) if side > 0))
        raise ValueError(
            f"Images must consist of whole mask units of {mask_unit_size} x {mask_unit_size} pixels, got {height} x "
            f"{width} pixels. Resize or crop them to the nearest valid size: a height of {fitting[0]}, a width of "
            f"{fitting[1]}."
        )
    return height // mask_unit_size, width // mask_unit_size


def get_num_visible_units(num_units: int, mask_ratio: float) -> int:
    """
    Number of mask units that stay visible: `num_units * (1 - mask_ratio)`, rounded down. At least one unit is visible,
    and at least one is hidden.

    Args:
        num_units (`int`):
            Number of mask units of an image.
        mask_ratio (`float`):
            Fraction of the units to hide, in the open interval (0, 1).

    Raises:
        `ValueError`: if `mask_ratio` is not in (0, 1), or if the image has fewer than two units.

    Example:

    ```python
    >>> from modeling_greenmim.masking_greenmim import get_num_visible_units

    >>> get_num_visible_units(49, mask_ratio=0.75)
    12
    ```"""
    check_count("num_units", num_units, at_least=0)
    check_number("mask_ratio", mask_ratio, above=0, below=1)
    if num_units < 2:
        raise ValueError(
            f"An image must have at least 2 mask units, to hide one and show one, got {num_units}. Use a larger image."
        )
    # without the small number, rounding errors in products such as 10 * (1 - 0.9) would cost a unit
    return min(num_units - 1, max(1, int(num_units * (1.0 - mask_ratio) + 1e-6)))


def _make_generator(seed: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"`seed` must be an integer of at least 0, or a sequence of such integers, got {describe(seed)}."
        ) from None


def _sample_random_mask(rng: np.random.Generator, grid_size: tuple[int, int], num_masked: int) -> np.ndarray:
    """Draw uniformly from all masks with `num_masked` hidden units (as in GreenMIM and MAE)."""
    mask = np.zeros(grid_size[0] * grid_size[1], dtype=bool)
    mask[rng.permutation(mask.size)[:num_masked]] = True
    return mask


def _sample_block_mask(rng: np.random.Generator, grid_size: tuple[int, int], num_masked: int) -> np.ndarray:
    """Hide rectangles until enough units are hidden (BEiT, algorithm 1), and trim the last one to the exact number."""
    height, width = grid_size
    mask = np.zeros((height, width), dtype=bool)
    # BEiT draws blocks of at least 16 of 196 patches, with an aspect ratio between 0.3 and 1 / 0.3
    smallest_area = max(1.0, 16 / 196 * height * width)
    while (num_missing := num_masked - int(mask.sum())) > 0:
        area = rng.uniform(smallest_area, max(smallest_area, num_missing))
        aspect_ratio = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
        block_height = min(height, max(1, round(np.sqrt(area * aspect_ratio))))
        block_width = min(width, max(1, round(np.sqrt(area / aspect_ratio))))
        # place the block where it covers at least one unit that is still visible
        row, column = np.argwhere(~mask)[rng.integers((~mask).sum())]
        top = rng.integers(max(0, row - block_height + 1), min(row, height - block_height) + 1)
        left = rng.integers(max(0, column - block_width + 1), min(column, width - block_width) + 1)
        block = np.zeros_like(mask)
        block[top : top + block_height, left : left + block_width] = True
        newly_hidden = np.flatnonzero(block & ~mask)
        mask.flat[rng.permutation(newly_hidden)[:num_missing]] = True
    return mask.reshape(-1)


def _sample_uniform_mask(rng: np.random.Generator, grid_size: tuple[int, int], num_masked: int) -> np.ndarray:
    """Show one of every 2 x 2 units, each of the four corners equally often (UM-MAE, uniform sampling)."""
    height, width = grid_size
    if height % 2 or width % 2:
        raise ValueError(
            f"The mask sampler 'uniform' must have even numbers of rows and columns of mask units, got {height} x "
            f"{width}. Use images with {height + height % 2} x {width + width % 2} mask units, or a different sampler."
        )
    num_blocks = height * width // 4
    if num_masked != 3 * num_blocks:
        raise ValueError(
            "The mask sampler 'uniform' must hide three of every four mask units, got a mask ratio that hides "
            f"{num_masked} of {height * width}. Set the mask ratio to 0.75, or use a different sampler."
        )
    # if the number of blocks is not a multiple of four, chance decides which corners appear once more
    corners = rng.permutation(rng.permutation(4)[np.arange(num_blocks) % 4])
    rows, columns = np.divmod(np.arange(num_blocks), width // 2)
    mask = np.ones(grid_size, dtype=bool)
    mask[2 * rows + corners // 2, 2 * columns + corners % 2] = False
    return mask.reshape(-1)


MASK_SAMPLERS = {"random": _sample_random_mask, "block": _sample_block_mask, "uniform": _sample_uniform_mask}


def sample_masks(
    batch_size: int,
    grid_size: tuple[int, int],
    mask_ratio: float,
    sampler: str = "random",
    seed: int | Sequence[int] | None = None,
    per_sample: bool = True,
) -> np.ndarray:
    """
    Draw the masks of a batch.

    Args:
        batch_size (`int`):
            Number of masks.
        grid_size (`tuple[int, int]`):
            Rows and columns of mask units in an image.
        mask_ratio (`float`):
            Fraction of the units to hide, in the open interval (0, 1). See [`get_num_visible_units`].
        sampler (`str`, *optional*, defaults to `"random"`):
            `"random"` hides units uniformly (the paper's choice), `"block"` hides rectangles as in BEiT, `"uniform"`
            shows one of every 2 x 2 units as in UM-MAE (https://huggingface.co/papers/2205.10063), which needs an even
            grid and a ratio of 0.75.
        seed (`int` or a sequence of `int`, *optional*):
            Seed for `numpy.random.default_rng`. Without a seed, every call draws different masks.
        per_sample (`bool`, *optional*, defaults to `True`):
            Whether every image gets its own mask, or all images share one.

    Returns:
        `np.ndarray` of `bool` and shape `(batch_size, num_units)`, row-major, `True` for hidden units. Every row hides
        the same number of units.

    Raises:
        `ValueError`: if the sampler is unknown, the ratio is not in (0, 1), a number is not positive, the seed is
        invalid, the grid has fewer than two units, or the sampler does not fit the grid and the ratio.

    Example:

    ```python
    >>> from modeling_greenmim.masking_greenmim import sample_masks

    >>> masks = sample_masks(batch_size=2, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> masks.shape, masks.sum(axis=1).tolist()
    ((2, 49), [37, 37])
    ```"""
    check_count("batch_size", batch_size)
    check_height_and_width("grid_size", grid_size, "mask units")
    check_choice("sampler", sampler, MASK_SAMPLERS)
    check_flag("per_sample", per_sample)
    num_units = grid_size[0] * grid_size[1]
    num_masked = num_units - get_num_visible_units(num_units, mask_ratio)
    rng = _make_generator(seed)
    num_draws = batch_size if per_sample else 1
    masks = np.stack([MASK_SAMPLERS[sampler](rng, grid_size, num_masked) for _ in range(num_draws)])
    return np.repeat(masks, batch_size // num_draws, axis=0)


def sample_disjoint_masks(
    num_masks: int, grid_size: tuple[int, int], mask_ratio: float, seed: int | Sequence[int] | None = None
) -> np.ndarray:
    """
    Draw masks of one image that show different units: no unit is visible in two masks.

    Args:
        num_masks (`int`):
            Number of masks.
        grid_size (`tuple[int, int]`):
            Rows and columns of mask units in an image.
        mask_ratio (`float`):
            Fraction of the units that each mask hides. See [`get_num_visible_units`].
        seed (`int` or a sequence of `int`, *optional*):
            Seed of the draw. The first mask is the mask that [`sample_masks`] draws with the same seed.

    Returns:
        `np.ndarray` of `bool` and shape `(num_masks, num_units)`, `True` for hidden units.

    Raises:
        `ValueError`: if all masks together would show more units than the image has.

    Example:

    ```python
    >>> from modeling_greenmim.masking_greenmim import sample_disjoint_masks

    >>> masks = sample_disjoint_masks(4, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> (~masks).sum(axis=0).max()
    np.int64(1)
    ```"""
    check_height_and_width("grid_size", grid_size, "mask units")
    check_count("num_masks", num_masks)
    num_units = grid_size[0] * grid_size[1]
    num_visible = get_num_visible_units(num_units, mask_ratio)
    if num_masks * num_visible > num_units:
        most, remedy = num_units // num_visible, "Use fewer masks"
        if num_masks <= num_units:
            remedy += f", or raise the mask ratio to at least {math.ceil(1000 * (1 - 1 / num_masks)) / 1000}"
        raise ValueError(
            f"The number of masks per image must be {f'from 1 to {most}' if most > 1 else 1}, got {num_masks}, "
            f"because each mask shows {num_visible} of {num_units} units, and no two masks show the same unit. "
            f"{remedy}."
        )
    # the last units of the permutation are those that a random mask shows
    order = _make_generator(seed).permutation(num_units)[::-1]
    masks = np.ones((num_masks, num_units), dtype=bool)
    for number, mask in enumerate(masks):
        mask[order[number * num_visible : (number + 1) * num_visible]] = False
    return masks


def sample_secondary_masks(
    masks: np.ndarray, secondary_mask_ratio: float, seed: int | Sequence[int] | None = None
) -> np.ndarray:
    """
    Draw the visible units whose tokens a model replaces with a learned token, as in the secondary masking of UM-MAE
    (https://huggingface.co/papers/2205.10063).

    Args:
        masks (`np.ndarray` of `bool` and shape `(batch_size, num_units)`):
            Masks, `True` for hidden units, each with the same number of hidden units.
        secondary_mask_ratio (`float`):
            Fraction of the visible units to replace, at least 0 and below 1. Their number is rounded down.
        seed (`int` or a sequence of `int`, *optional*):
            Seed of the draw, which may be the seed of the masks. Without a seed, every call draws different units.

    Returns:
        `np.ndarray` of `bool` and shape `(batch_size, num_units)`, `True` for replaced visible units.

    Raises:
        `ValueError`: if the ratio is negative, or 1 or more, or the masks or the seed are invalid.

    Example:

    ```python
    >>> from modeling_greenmim.masking_greenmim import sample_masks, sample_secondary_masks

    >>> masks = sample_masks(batch_size=2, grid_size=(8, 8), mask_ratio=0.75, seed=0)
    >>> secondary_masks = sample_secondary_masks(masks, secondary_mask_ratio=0.25, seed=0)
    >>> secondary_masks.sum(axis=1).tolist(), (secondary_masks & masks).any()
    ([4, 4], np.False_)
    ```"""
    check_number("secondary_mask_ratio", secondary_mask_ratio, at_least=0, below=1)
    is_mask = isinstance(masks, np.ndarray) and masks.dtype == bool and masks.ndim == 2 and len(masks) > 0
    if not is_mask or (masks.sum(axis=1) != masks[0].sum()).any():
        raise ValueError(
            "`masks` must be a boolean array of shape (batch_size, num_units) that hides the same number of units in "
            f"each row, got {describe(masks)}."
        )
    visible_indices = np.nonzero(~masks)[1].reshape(len(masks), -1)
    num_replaced = int(visible_indices.shape[1] * secondary_mask_ratio + 1e-6)
    # a child seed, because the same seed also draws the masks
    rng = _make_generator(seed).spawn(1)[0]
    secondary_masks = np.zeros_like(masks)
    replaced = rng.permuted(visible_indices, axis=1)[:, :num_replaced]
    np.put_along_axis(secondary_masks, replaced, True, axis=1)
    return secondary_masks


__all__ = [
    "MASK_SAMPLERS",
    "get_num_visible_units",
    "get_unit_grid",
    "sample_disjoint_masks",
    "sample_masks",
    "sample_secondary_masks",
]
