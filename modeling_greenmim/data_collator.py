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
"""Collates images into batches with masks and group plans, in the workers of a data loader."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .configuration_greenmim import GreenMimConfig
from .grouping_greenmim import make_group_plan
from .masking_greenmim import get_unit_grid, sample_masks


@dataclass
class GreenMimDataCollator:
    """
    Data collator that stacks images, draws their masks and plans their groups, so that nothing is left to plan in the
    training step. Made for `torch.utils.data.DataLoader(..., collate_fn=collator)` and for the Trainer
    (`data_collator=collator`, with `remove_unused_columns=False`, and `label_names=["bool_masked_pos"]` for an evaluation
    loss). The masks of an image processor (`do_mask=True`) are for looking at single images.

    A plan belongs to its batch as a whole: it can be pinned and moved, but not split over devices
    (`torch.nn.DataParallel`), nor concatenated (Accelerate's dispatching loader). With several devices, give each process a
    loader of its own.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model that is trained.
        mask_ratio (`float`, *optional*):
            Share of the mask units to hide. `config.mask_ratio` by default.
        mask_sampler (`str`, *optional*, defaults to `"random"`):
            `"random"` or `"block"`, see [`sample_masks`].
        per_sample (`bool`, *optional*, defaults to `True`):
            Whether every image gets a mask of its own, or all of a batch share one.
        group_size (`int`, *optional*):
            Slots in a group, see [`make_group_plan`]. By default it is searched.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim import GreenMimConfig, GreenMimDataCollator

    >>> collator = GreenMimDataCollator(GreenMimConfig())
    >>> batch = collator([{"pixel_values": torch.randn(3, 224, 224), "mask_seed": index} for index in range(4)])
    >>> batch["pixel_values"].shape, batch["bool_masked_pos"].shape, len(batch["group_plan"]) > 0
    (torch.Size([4, 3, 224, 224]), torch.Size([4, 49]), True)
    ```"""

    config: GreenMimConfig
    mask_ratio: float | None = None
    mask_sampler: str = "random"
    per_sample: bool = True
    group_size: int | None = None

    def __call__(self, examples: Sequence[dict]) -> dict:
        """
        Args:
            examples (sequence of `dict`):
                Each with `pixel_values`, of shape `(num_channels, height, width)`, and, for masks that can be drawn again,
                `mask_seed`, an `int` or a sequence of them: that of the epoch and of the image, say. Without one, the mask
                is another one each time. Images of a batch that share a mask take the seed of the first.

        Returns:
            `dict` with `pixel_values`, `bool_masked_pos` and `group_plan`, the arguments of
            [`GreenMimForMaskedImageModeling`].

        Raises:
            `ValueError`: if the images differ in size, or are not made of whole mask units.
        """
        images = [torch.as_tensor(np.asarray(example["pixel_values"])) for example in examples]
        shapes = sorted({tuple(image.shape) for image in images})
        if len(shapes) > 1:
            raise ValueError(
                f"The images of a batch must have one shape, but these have {shapes}: resize or crop them."
            )
        grid_size = get_unit_grid(shapes[0][-2:], self.config.mask_unit_size)
        mask_ratio = self.config.mask_ratio if self.mask_ratio is None else self.mask_ratio
        masks = [
            sample_masks(1, grid_size, mask_ratio, self.mask_sampler, seed=example.get("mask_seed"))
            for example in (examples if self.per_sample else examples[:1])
        ]
        bool_masked_pos = np.broadcast_to(np.concatenate(masks), (len(images), grid_size[0] * grid_size[1]))
        group_plan = make_group_plan(
            bool_masked_pos, grid_size, self.config.window_size, self.config.hidden_sizes, group_size=self.group_size
        )
        return {
            "pixel_values": torch.stack(images),
            "bool_masked_pos": torch.from_numpy(bool_masked_pos.copy()),
            "group_plan": group_plan,
        }


__all__ = ["GreenMimDataCollator"]
