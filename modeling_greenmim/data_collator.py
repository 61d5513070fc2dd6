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
"""Data collator that makes batches with masks and plans in data loader workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .configuration_greenmim import GreenMimConfig
from .input_checks_greenmim import check_config, warn_of_raw_pixels
from .masking_greenmim import (
    MASK_SAMPLERS,
    get_unit_grid,
    sample_disjoint_masks,
    sample_masks,
    sample_secondary_masks,
)
from .planning_greenmim import make_plan, measure_group_shapes
from .validation_greenmim import check_choice, check_count, check_flag, check_number, describe, find_meant_name


@dataclass
class GreenMimDataCollator:
    """
    Data collator that stacks images, draws their masks and plans the token mixers, so that nothing is left to plan in
    the training step. Use it with `torch.utils.data.DataLoader(..., collate_fn=collator)` or with the Trainer
    (`data_collator=collator`, with `remove_unused_columns=False`, and `label_names=["bool_masked_pos"]` for an
    evaluation loss). The masks of an image processor (`do_mask=True`) are for inspecting single images.

    A plan belongs to its whole batch. It can be pinned and moved, but neither split over devices
    (`torch.nn.DataParallel`) nor sliced (Accelerate's dispatcher of iterable datasets, even with one process): the
    model rejects such a plan. Pass `DataLoaderConfiguration(dispatch_batches=False)` to Accelerate, or
    `accelerator_config={"dispatch_batches": False}` to the Trainer, and give every process its own loader.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the trained model.
        mask_ratio (`float`, *optional*):
            Fraction of the mask units to hide. `config.mask_ratio` by default.
        mask_sampler (`str`, *optional*, defaults to `"random"`):
            `"random"`, `"block"` or `"uniform"`, see [`sample_masks`].
        per_sample (`bool`, *optional*, defaults to `True`):
            Whether every image gets its own mask, or all images of a batch share one.
        masks_per_image (`int`, *optional*, defaults to 1):
            Number of masks per image. No two masks of an image show the same unit. Above 1, repeat the images on the
            device before you pass them to the model: `pixel_values.repeat_interleave(masks_per_image, dim=0)`.
        static_shapes (`bool`, *optional*, defaults to `False`):
            Whether the plans of all batches get the same shapes, for compiled models and CUDA graphs. This costs about
            1% more computation in the attention at a batch size of 64 or 256, and more at small batch sizes.
            Measuring the shapes takes seconds in each worker, at its first batch, see [`measure_group_shapes`]. A
            batch that does not fit gets its own shapes.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim import GreenMimConfig, GreenMimDataCollator

    >>> collator = GreenMimDataCollator(GreenMimConfig())
    >>> batch = collator([{"pixel_values": torch.randn(3, 224, 224), "mask_seed": index} for index in range(4)])
    >>> batch["pixel_values"].shape, batch["bool_masked_pos"].shape, list(batch["plan"]["stage1"])
    (torch.Size([4, 3, 224, 224]), torch.Size([4, 49]), ['window', 'shifted_window'])
    ```"""

    config: GreenMimConfig
    mask_ratio: float | None = None
    mask_sampler: str = "random"
    per_sample: bool = True
    masks_per_image: int = 1
    static_shapes: bool = False

    def __post_init__(self):
        check_config(self.config)
        if self.mask_ratio is not None:
            check_number("mask_ratio", self.mask_ratio, above=0, below=1)
        check_choice("mask_sampler", self.mask_sampler, MASK_SAMPLERS)
        check_count("masks_per_image", self.masks_per_image)
        for name in ("per_sample", "static_shapes"):
            check_flag(name, getattr(self, name))
        if self.static_shapes and not self.per_sample:
            raise ValueError(
                "Cannot use `static_shapes=True` with `per_sample=False` because the windows of one mask vary too "
                "much for groups of one shape. Pass `per_sample=True`."
            )
        if self.masks_per_image > 1 and (not self.per_sample or self.mask_sampler != "random"):
            raise ValueError(
                "`masks_per_image` must be 1 unless `per_sample=True` and `mask_sampler='random'`, got "
                f"{self.masks_per_image} with `per_sample={self.per_sample}` and `mask_sampler={self.mask_sampler!r}`."
            )
        self._group_shapes: dict[tuple, dict] = {}  # by batch and image size

    def __call__(self, examples: Sequence[dict]) -> dict:
        """
        Args:
            examples (sequence of `dict`):
                Examples with `pixel_values` of shape `(num_channels, height, width)` and, for reproducible masks, a
                `mask_seed`: an `int` or a sequence of `int`, such as the epoch and the index of the image. Without a
                seed, the mask is different each time. Images of a batch that share a mask use the seed of the first.
                Other entries, such as labels, are not returned, because pre-training does not need them.

        Returns:
            `dict` with `pixel_values`, `bool_masked_pos` and `plan`, and with `config.secondary_mask_ratio` also
            `secondary_masked_pos`, the arguments of [`GreenMimForMaskedImageModeling`]. The masks of an image are
            adjacent.

        Raises:
            `ValueError`: if there is no image, an image does not have three dimensions, or the images differ in size
            or do not consist of whole mask units.
        """
        _check_entries(examples)
        images = [torch.as_tensor(np.asarray(example["pixel_values"])) for example in examples]
        shapes = sorted({tuple(image.shape) for image in images})
        if len(shapes) > 1:
            raise ValueError(f"The images of a batch must have the same shape, got {shapes}. Resize or crop them.")
        if len(shapes[0]) != 3 or 0 in shapes[0]:
            raise ValueError(
                "`pixel_values` of an example must have the shape (num_channels, height, width), with no dimension "
                f"of 0, got {shapes[0]}. Pass single images, such as entry `[0]` of the image processor's result: the "
                "collator makes the batches."
            )
        grid_size = get_unit_grid(shapes[0][-2:], self.config.mask_unit_size)
        mask_ratio = self.config.mask_ratio if self.mask_ratio is None else self.mask_ratio
        seeds = [example.get("mask_seed") for example in (examples if self.per_sample else examples[:1])]
        if self.masks_per_image > 1:
            masks = [sample_disjoint_masks(self.masks_per_image, grid_size, mask_ratio, seed) for seed in seeds]
        else:
            masks = [sample_masks(1, grid_size, mask_ratio, self.mask_sampler, seed) for seed in seeds]
        num_repeats = len(images) // len(masks)
        bool_masked_pos = torch.from_numpy(np.concatenate(masks).repeat(num_repeats, axis=0))
        num_masks = len(bool_masked_pos)
        height, width = shapes[0][-2:]
        image_size, group_shapes = (height, width), None
        if self.static_shapes:
            if (num_masks, image_size) not in self._group_shapes:
                self._group_shapes[num_masks, image_size] = measure_group_shapes(
                    self.config, num_masks, mask_ratio, self.mask_sampler, image_size
                )
            group_shapes = self._group_shapes[num_masks, image_size]
        pixel_values = torch.stack(images)
        warn_of_raw_pixels(pixel_values)
        # `pixel_values` comes first: libraries read the batch size from the first entry
        batch = {
            "pixel_values": pixel_values,
            "bool_masked_pos": bool_masked_pos,
            "plan": make_plan(bool_masked_pos, self.config, image_size, group_shapes),
        }
        if self.config.secondary_mask_ratio > 0:
            secondary_masks = [
                sample_secondary_masks(image_masks, self.config.secondary_mask_ratio, seed)
                for image_masks, seed in zip(masks, seeds)
            ]
            batch["secondary_masked_pos"] = torch.from_numpy(
                np.concatenate(secondary_masks).repeat(num_repeats, axis=0)
            )
        return batch


def _check_entries(examples: Sequence[dict]):
    if not isinstance(examples, Sequence) or len(examples) == 0:
        raise ValueError(f"`examples` must be a list of at least one example, got {describe(examples)}.")
    for example in examples:
        names = sorted(example) if isinstance(example, Mapping) else []
        if "pixel_values" not in names:
            raise ValueError(
                "Each of the `examples` must be a dictionary with `pixel_values` and, optionally, a `mask_seed`, got "
                f"{names or type(example).__name__}. With the Trainer, pass `remove_unused_columns=False`."
            )
        for name in set(names) - {"pixel_values", "mask_seed"}:
            if match := find_meant_name(name, ("pixel_values", "mask_seed")):
                raise ValueError(f"The collator does not take `{name}`. Did you mean `{match}`?")


__all__ = ["GreenMimDataCollator"]
