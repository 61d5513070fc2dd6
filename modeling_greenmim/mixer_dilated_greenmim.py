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
"""Multi-scale dilated attention, as in DilateFormer (https://huggingface.co/papers/2302.01791, section 3).

The heads of a layer are divided among three dilations: each token attends to the 3 x 3 tokens around it that are 1, 2
or 3 tokens apart.
"""

from typing import NamedTuple

import numpy as np
import torch
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .group_bias_greenmim import MASKED_SCORE
from .layout_greenmim import TokenLayout
from .mixer_greenmim import GreenMimAttention, GreenMimTokenMixer
from .neighbors_greenmim import (
    HIDDEN_NEIGHBOR,
    find_full_neighbors,
    find_neighbors,
    gather_neighbors,
    get_neighbor_rows,
)


KERNEL_SIZE = 3
DILATIONS = (1, 2, 3)


class DilatedNeighbors(NamedTuple):
    """Neighbor plan, prepared for all layers of a stage. Each head of a token has its own neighbors."""

    rows: torch.Tensor  # (batch_size * num_tokens * num_heads, 9), from `get_neighbor_rows`
    attention_mask: torch.Tensor  # (num_masks, num_tokens * num_heads, 1, 9)


class GreenMimDilatedAttention(GreenMimAttention, GreenMimTokenMixer):
    """
    Attention of each token to its 3 x 3 neighbors, at a dilation of 1 for the first third of the heads, 2 for the
    second and 3 for the last. Hidden neighbors are removed from the softmax. As in DilateFormer, neighbors beyond the
    image border take part in the softmax with a key and a value of zero. There is no position bias.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        num_heads = config.num_heads[stage]  # type: ignore[index]
        if num_heads % len(DILATIONS) != 0:
            raise ValueError(
                f"`num_heads` must be divisible by {len(DILATIONS)}, the number of dilations, in stages with the "
                f"token mixer 'dilated', got {num_heads} in stage {stage + 1}."
            )
        super().__init__(config, config.hidden_sizes[stage], num_heads, config.attention_similarity)

    @classmethod
    def make_plan(
        cls, layout: TokenLayout, config: GreenMimConfig, stage: int, group_shape: tuple[int | None, int] | None = None
    ) -> dict[str, np.ndarray]:
        return {"neighbors": find_neighbors(layout, KERNEL_SIZE, DILATIONS)}

    @classmethod
    def make_full_plan(
        cls,
        grid_size: tuple[int, int],
        config: GreenMimConfig,
        stage: int,
        device: torch.device | None = None,
        clip_windows: bool = True,
    ) -> dict[str, torch.Tensor]:
        return {"neighbors": find_full_neighbors(grid_size, KERNEL_SIZE, DILATIONS, device)}

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> DilatedNeighbors:
        num_heads = config.num_heads[stage]  # type: ignore[index]
        neighbors = plan["neighbors"].repeat_interleave(num_heads // len(DILATIONS), dim=2)
        scores = hidden_states.new_zeros(neighbors.shape).masked_fill(neighbors == HIDDEN_NEIGHBOR, MASKED_SCORE)
        rows = get_neighbor_rows(neighbors, hidden_states.shape[0])
        return DilatedNeighbors(rows, scores.flatten(1, 2)[:, :, None])

    def forward(
        self, hidden_states: torch.Tensor, prepared: DilatedNeighbors, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        # each head of a token is a row, and the heads of all tokens are the heads of the attention
        query, key, value = (states.reshape(-1, self.head_dim) for states in self.project(hidden_states))
        states = (query[:, None], gather_neighbors(key, prepared.rows), gather_neighbors(value, prepared.rows))
        query, key, value = (tensor.unflatten(0, (hidden_states.shape[0], -1)) for tensor in states)
        attn_output, attn_weights = self.attend(query, key, value, prepared.attention_mask, **kwargs)
        return self.o_proj(attn_output.reshape(hidden_states.shape)), attn_weights


__all__ = ["DilatedNeighbors", "GreenMimDilatedAttention"]
