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
"""Attention to spatially reduced keys and values, as in PVT and, next to windows, in Twins.

Both reduce the tokens of a stage by a convolution. Its kernel and stride are 8, 4, 2 and 1 tokens in stages with
strides of 4, 8, 16 and 32 pixels, so each reduced token covers one mask unit at every stage. Visible tokens are
ordered by unit, so the convolution is a reshape and a linear layer.
"""

import torch
from torch import nn
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_unit_cells
from .mixer_greenmim import GreenMimAttention, GreenMimTokenMixer


class GreenMimSpatialReductionAttention(GreenMimAttention, GreenMimTokenMixer):
    """
    Attention of all tokens of an image to one key and value per mask unit. A linear layer over the tokens of the unit
    in Z-order and a norm reduce the unit to one token. In the last stage, where a unit is one token, this is global
    attention. Masks need no plan, and there is no position bias. If a full image does not consist of whole units,
    zeros complete the last units.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        hidden_size, unit_side = config.hidden_sizes[stage], config.get_unit_side(stage)
        super().__init__(config, hidden_size, config.num_heads[stage], config.attention_similarity)  # type: ignore[index]
        self.tokens_per_unit = unit_side**2
        self.has_reduction = unit_side > 1
        if self.has_reduction:
            self.reduction = nn.Linear(self.tokens_per_unit * hidden_size, hidden_size)
            self.norm = nn.LayerNorm(hidden_size, eps=config.get_embedding_norm_eps())

    @classmethod
    def make_full_plan(
        cls,
        grid_size: tuple[int, int],
        config: GreenMimConfig,
        stage: int,
        device: torch.device | None = None,
        clip_windows: bool = True,
    ) -> dict[str, torch.Tensor]:
        (height, width), unit_side = grid_size, config.get_unit_side(stage)
        if unit_side == 1:
            return {}
        rows, columns = get_unit_cells(grid_size, unit_side, device)
        is_padding = (rows >= height) | (columns >= width)
        plan = {"gather_index": (rows * width + columns).masked_fill(is_padding, 0).flatten()}
        return plan | {"is_padding": is_padding.flatten()} if is_padding.numel() > height * width else plan

    def reduce(self, hidden_states: torch.Tensor, prepared: dict[str, torch.Tensor]) -> torch.Tensor:
        """Reduce `(batch_size, num_tokens, channels)` to `(batch_size, num_units, channels)`."""
        batch_size, _, channels = hidden_states.shape
        if "gather_index" in prepared:
            hidden_states = hidden_states[:, prepared["gather_index"]]
        if "is_padding" in prepared:
            hidden_states = hidden_states.masked_fill(prepared["is_padding"][:, None], 0)
        units = hidden_states.reshape(batch_size, -1, self.tokens_per_unit * channels)
        return self.norm(self.reduction(units))

    def forward(
        self, hidden_states: torch.Tensor, prepared: dict[str, torch.Tensor], **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if not self.has_reduction:
            return super().forward(hidden_states, **kwargs)
        return super().forward(self.reduce(hidden_states, prepared), query_states=hidden_states, **kwargs)


__all__ = ["GreenMimSpatialReductionAttention"]
