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
"""Reconstruction: the decoder that predicts the pixels of mask units, and what normalizes its targets."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_greenmim import GreenMimConfig
from .gathering_greenmim import select_tokens
from .mixer_greenmim import GreenMimAttention, GreenMimMLP


def get_unit_statistics(units: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Mean and standard deviation of the pixels of each mask unit, as MAE normalizes them: Bessel's correction, and 1e-6 added
    to the variance.

    Args:
        units (`torch.Tensor` of shape `(batch_size, num_units, num_pixels)`):
            Pixels of every unit.

    Returns:
        `tuple` of two `torch.Tensor` of shape `(batch_size, num_units, 1)`.
    """
    return units.mean(dim=-1, keepdim=True), (units.var(dim=-1, keepdim=True) + 1.0e-6).sqrt()


def get_2d_sincos_position_embeddings(
    grid_size: tuple[int, int], hidden_size: int, device: torch.device | None = None
) -> torch.Tensor:
    """
    Fixed position embeddings, as in MAE. The first half of the channels encodes the column, the second half the row, each as
    sines, then cosines.

    Args:
        grid_size (`tuple[int, int]`):
            Rows and columns.
        hidden_size (`int`):
            Number of channels, a multiple of 4.
        device (`torch.device`, *optional*):
            Where to make them.

    Returns:
        `torch.Tensor` of `float32` and shape `(rows * columns, hidden_size)`, row-major.
    """
    frequencies = 10000.0 ** (-torch.arange(hidden_size // 4, device=device, dtype=torch.float32) * 4 / hidden_size)
    angles = [torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequencies for length in grid_size]
    rows, columns = (torch.cat([angle.sin(), angle.cos()], dim=-1) for angle in angles)
    rows = rows[:, None, :].expand(-1, grid_size[1], -1)
    columns = columns[None, :, :].expand(grid_size[0], -1, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1)


class GreenMimDecoderLayer(GradientCheckpointingLayer):
    """A layer of the decoder: every mask unit attends to every other."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        hidden_size = config.decoder_hidden_size
        self.attention = GreenMimAttention(config, hidden_size, config.decoder_num_attention_heads)
        self.layernorm_before = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.mlp = GreenMimMLP(config, hidden_size, config.decoder_intermediate_size)

    def forward(self, hidden_states: torch.Tensor, query_indices: torch.Tensor | None = None) -> torch.Tensor:
        """Computes all units, or, given `query_indices`, only those, which attend to all."""
        normed_states, query_states = self.layernorm_before(hidden_states), None
        if query_indices is not None:
            hidden_states = select_tokens(hidden_states, query_indices)
            query_states = select_tokens(normed_states, query_indices)
        attn_output, _ = self.attention(normed_states, query_states=query_states)
        hidden_states = hidden_states + attn_output
        return hidden_states + self.mlp(self.layernorm_after(hidden_states))


class GreenMimDecoder(nn.Module):
    """Predicts the pixels of every mask unit from the visible ones, as in MAE."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        hidden_size = config.decoder_hidden_size
        self.decoder_embed = nn.Linear(config.hidden_size, hidden_size)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
        self.decoder_layers = nn.ModuleList(
            [GreenMimDecoderLayer(config) for _ in range(config.decoder_num_hidden_layers)]
        )
        self.decoder_norm = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.decoder_pred = nn.Linear(hidden_size, config.mask_unit_size**2 * config.num_channels)

    def init_weights(self, std: float):
        init.normal_(self.mask_token, std=std)

    def forward(
        self,
        hidden_states: torch.Tensor,
        visible_indices: torch.Tensor | None,
        grid_size: tuple[int, int],
        predicted_indices: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_visible, hidden_size)`):
                Encoded units: the visible ones, or, without `visible_indices`, all.
            visible_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_visible)`, *optional*):
                The visible mask units.
            grid_size (`tuple[int, int]`):
                Rows and columns of mask units.
            predicted_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_predicted)`, *optional*):
                The units to predict, all by default. The last layer computes no others.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_predicted, mask_unit_size**2 * num_channels)`.
        """
        hidden_states = self.decoder_embed(hidden_states)
        batch_size, _, channels = hidden_states.shape
        if visible_indices is not None:
            # every visible latent at its own unit, mask tokens elsewhere
            units = self.mask_token.to(hidden_states.dtype).expand(batch_size, grid_size[0] * grid_size[1], -1)
            hidden_states = units.scatter(1, visible_indices[:, :, None].expand(-1, -1, channels), hidden_states)
        positions = get_2d_sincos_position_embeddings(grid_size, channels, device=hidden_states.device)
        hidden_states = hidden_states + positions.to(hidden_states.dtype)
        for layer in self.decoder_layers[:-1]:
            hidden_states = layer(hidden_states)
        for layer in self.decoder_layers[-1:]:
            hidden_states = layer(hidden_states, predicted_indices)
        if predicted_indices is not None and len(self.decoder_layers) == 0:
            hidden_states = select_tokens(hidden_states, predicted_indices)
        return self.decoder_pred(self.decoder_norm(hidden_states))


__all__ = ["GreenMimDecoder", "get_2d_sincos_position_embeddings", "get_unit_statistics"]
