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
"""Clustering inside regions, as in Context Clusters (https://huggingface.co/papers/2303.01494, section 3).

Regions are windows with a side of `config.window_size` tokens, or the grid if that is smaller. A region has 2 x 2
centers, the means over its tokens in four cells. Cells share a row or a column if the side is odd. Each token chooses
the most similar center. Centers aggregate the values of their tokens, and dispatch the results to them.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .gathering_greenmim import gather_slots, scatter_slots
from .layout_greenmim import TokenLayout, get_grid_size
from .mixer_greenmim import GreenMimTokenMixer


NUM_CENTERS = 4
EMPTY_PLACE = -1


class ClusterRegions(NamedTuple):
    """Region plan, prepared for all layers of a stage. Images that share a plan use copies of it."""

    gather_index: torch.Tensor  # (all places,), token at each place, counted over the batch
    scatter_index: torch.Tensor  # (tokens of the batch,), place of each token
    is_empty: torch.Tensor  # (all places,), whether the place has no visible token
    pooling: torch.Tensor  # (regions, centers, places), weight of each place in each mean
    is_candidate: torch.Tensor  # (regions, 1, 1, centers), whether tokens can choose the center


class GreenMimContextCluster(GreenMimTokenMixer):
    """
    Clusters the tokens of each region, for each head. A token has the similarity `s = sigmoid(scale * cosine + bias)`
    to the center that it chooses. A center of value `v` aggregates `(v + sum(s_i * v_i)) / (1 + sum(s_i))` over its
    tokens, and each of them receives `s_i` times the result.

    Centers are means of visible tokens. A center without visible tokens cannot be chosen, and neither can a center
    with the same tokens as an earlier one.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        hidden_size = config.hidden_sizes[stage]
        self.head_dim = hidden_size // config.num_heads[stage]  # type: ignore[index]
        self.feature_proj = nn.Linear(hidden_size, hidden_size)
        self.value_proj = nn.Linear(hidden_size, hidden_size)
        self.output_proj = nn.Linear(hidden_size, hidden_size)
        self.similarity_scale = nn.Parameter(torch.ones(1))
        self.similarity_bias = nn.Parameter(torch.zeros(1))

    def init_weights(self, std: float):
        init.ones_(self.similarity_scale)
        init.zeros_(self.similarity_bias)

    @classmethod
    def make_plan(
        cls, layout: TokenLayout, config: GreenMimConfig, stage: int, group_shape: tuple[int | None, int] | None = None
    ) -> dict[str, np.ndarray]:
        num_masks = len(layout.rows)
        places, (num_regions, *sides) = _locate_tokens(
            layout.rows, layout.columns, layout.grid_size, config.window_size
        )
        num_places = num_regions * sides[0] * sides[1]
        scatter_index = (np.arange(num_masks)[:, None] * num_places + places).reshape(-1)
        gather_index = np.full(num_masks * num_places, EMPTY_PLACE)
        gather_index[scatter_index] = np.arange(scatter_index.size)
        gather_index = gather_index.reshape(num_masks * num_regions, *sides)
        return {"gather_index": gather_index.astype(np.int32), "scatter_index": scatter_index.astype(np.int32)}

    @classmethod
    def make_full_plan(
        cls,
        grid_size: tuple[int, int],
        config: GreenMimConfig,
        stage: int,
        device: torch.device | None = None,
        clip_windows: bool = True,
    ) -> dict[str, torch.Tensor]:
        height, width = grid_size
        cells = torch.arange(height * width, device=device)
        scatter_index, (num_regions, *sides) = _locate_tokens(
            cells // width, cells % width, grid_size, config.window_size
        )
        gather_index = torch.full((num_regions * sides[0] * sides[1],), EMPTY_PLACE, device=device)
        gather_index = gather_index.scatter(0, scatter_index, cells)
        return {"gather_index": gather_index.view(num_regions, *sides), "scatter_index": scatter_index}

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> ClusterRegions:
        gather_index, scatter_index = plan["gather_index"], plan["scatter_index"]
        is_empty = gather_index.flatten() == EMPTY_PLACE
        cells = _get_cells(gather_index.shape[1], gather_index.shape[2], gather_index.device)
        members = cells & ~is_empty.view(-1, 1, cells.shape[1])  # (regions, centers, places)
        is_candidate = members.any(dim=2)
        for center in range(1, NUM_CENTERS):
            is_known = (members[:, :center] == members[:, center : center + 1]).all(dim=2).any(dim=1)
            is_candidate[:, center] &= ~is_known
        pooling = members.to(hidden_states.dtype)
        pooling = pooling / pooling.sum(dim=2, keepdim=True).clamp(min=1)

        plan_tokens, plan_places = len(scatter_index), gather_index.numel()
        num_copies = hidden_states.shape[0] * hidden_states.shape[1] // plan_tokens
        copy = torch.arange(num_copies, device=gather_index.device)[:, None]
        return ClusterRegions(
            (gather_index.flatten().clamp(min=0) + copy * plan_tokens).flatten(),
            (scatter_index + copy * plan_places).flatten(),
            is_empty.repeat(num_copies),
            pooling,
            is_candidate[:, None, None],
        )

    def forward(
        self, hidden_states: torch.Tensor, prepared: ClusterRegions, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        channels, (num_regions, _, num_places) = hidden_states.shape[-1], prepared.pooling.shape
        indices = (prepared.gather_index, prepared.scatter_index, prepared.is_empty)
        features, values = (
            gather_slots(projection(hidden_states).flatten(0, 1), *indices).view(-1, num_regions, num_places, channels)
            for projection in (self.feature_proj, self.value_proj)
        )
        pooling = prepared.pooling.to(values.dtype)
        # (copies, regions, heads, places or centers, channels)
        features, values, center_features, center_values = (
            states.unflatten(-1, (-1, self.head_dim)).transpose(2, 3)
            for states in (features, values, pooling @ features, pooling @ values)
        )
        cosines = _normalize(features) @ _normalize(center_features).transpose(-1, -2)
        scores = self.similarity_scale * cosines + self.similarity_bias
        scores = scores.masked_fill(~prepared.is_candidate, -torch.inf)
        choice = nn.functional.one_hot(scores.argmax(dim=-1), NUM_CENTERS)
        choice = choice.masked_fill(prepared.is_empty.view(-1, num_regions, 1, num_places, 1), 0)
        similarities = (scores.sigmoid() * choice).to(values.dtype)
        totals = similarities.sum(dim=3)[..., None]
        centers = (center_values + similarities.transpose(-1, -2) @ values) / (1 + totals)
        mixed = (similarities @ centers).transpose(2, 3).reshape(-1, channels)
        return self.output_proj(scatter_slots(mixed, *indices).view(hidden_states.shape)), None


def _locate_tokens(rows, columns, grid_size: tuple[int, int], window_size: int):
    """
    Locate tokens (arrays or tensors of coordinates) among the places of all regions. Return their places, and the
    shape of all places: the number of regions, and the rows and columns of each.
    """
    height, width = (min(window_size, side) for side in grid_size)
    region_rows, region_columns = get_grid_size(grid_size, window_size)
    regions = rows // height * region_columns + columns // width
    return (regions * height + rows % height) * width + columns % width, (region_rows * region_columns, height, width)


def _get_cells(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Places that each center averages, as in adaptive average pooling to 2 x 2: `bool`, `(4, places)`."""
    rows, columns = (torch.arange(side, device=device) for side in (height, width))
    (top, bottom), (left, right) = (
        (places < (side + 1) // 2, places >= side // 2) for places, side in ((rows, height), (columns, width))
    )
    cells = [row[:, None] & column for row in (top, bottom) for column in (left, right)]
    return torch.stack(cells).flatten(1)


def _normalize(states: torch.Tensor) -> torch.Tensor:
    """Scale vectors to length 1. Vectors of length 0 stay 0, also in float16."""
    lengths = torch.linalg.vector_norm(
        states, dim=-1, keepdim=True, dtype=torch.promote_types(states.dtype, torch.float32)
    )
    return (states / lengths.masked_fill(lengths == 0, 1)).to(states.dtype)


__all__ = ["ClusterRegions", "GreenMimContextCluster"]
