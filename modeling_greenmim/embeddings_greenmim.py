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
"""Embeddings of pixels as tokens of the first stage, and merging of tokens between stages."""

import torch
from torch import nn
from transformers import initialization as init

from .configuration_greenmim import GreenMimConfig
from .gathering_greenmim import select_tokens
from .layout_greenmim import get_grid_size, get_hidden_pixels, units_to_patches, view_units
from .overlapping_greenmim import GreenMimOverlappingPatchEmbeddings, GreenMimOverlappingPatchMerging
from .position_bias_greenmim import interpolate_position_embeddings


def to_feature_map(hidden_states: torch.Tensor, grid_size: tuple[int, int]) -> torch.Tensor:
    """
    Reshape row-major tokens, `(batch_size, rows * columns, channels)`, to `(batch_size, channels, rows, columns)`.
    """
    return hidden_states.transpose(1, 2).unflatten(2, grid_size)


class GreenMimPatchEmbeddings(nn.Module):
    """Turns pixel values into patch embeddings, of the full image or of its visible mask units."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        self.patch_size = config.patch_size
        self.mask_unit_size = config.mask_unit_size
        self.projection = nn.Conv2d(
            config.num_channels, config.embed_dim, kernel_size=config.patch_size, stride=config.patch_size
        )

    def get_visible_strip(self, pixel_values: torch.Tensor, visible_indices: torch.Tensor) -> torch.Tensor:
        """Join the visible patches in one strip of pixels: `(batch_size, channels, patch, patches * patch)`."""
        units = view_units(pixel_values, self.mask_unit_size)
        batch_indices = torch.arange(units.shape[0], device=units.device)[:, None]
        units = units[batch_indices, visible_indices // units.shape[2], visible_indices % units.shape[2]]
        patches = units_to_patches(units, self.patch_size)  # (batch_size, visible, patches, channels, patch, patch)
        return patches.permute(0, 3, 4, 1, 2, 5).flatten(3)

    def forward(self, pixel_values: torch.Tensor, visible_indices: torch.Tensor | None = None) -> torch.Tensor:
        if visible_indices is None:
            height, width = pixel_values.shape[-2:]
            pixel_values = nn.functional.pad(pixel_values, (0, -width % self.patch_size, 0, -height % self.patch_size))
        else:
            pixel_values = self.get_visible_strip(pixel_values, visible_indices)
        return self.projection(pixel_values).flatten(2).transpose(1, 2)


class GreenMimEmbeddings(nn.Module):
    """
    Normalized patch embeddings, with optional absolute position embeddings. In pre-training with
    `config.secondary_mask_ratio`, a mask token replaces the patches of some units.
    """

    def __init__(self, config: GreenMimConfig, use_mask_token: bool = False):
        super().__init__()
        image_size = config.image_height_and_width
        self.patch_size = config.patch_size
        self.mask_unit_size = config.mask_unit_size
        self.unit_side = config.get_unit_side(0)
        self.position_grid = (image_size[0] // config.patch_size, image_size[1] // config.patch_size)
        is_overlapping = config.patch_kernel_size is not None
        embeddings_class = GreenMimOverlappingPatchEmbeddings if is_overlapping else GreenMimPatchEmbeddings
        self.patch_embeddings = embeddings_class(config)
        self.position_embeddings = None
        if config.use_absolute_embeddings:
            num_patches = self.position_grid[0] * self.position_grid[1]
            self.position_embeddings = nn.Parameter(torch.zeros(1, num_patches, config.embed_dim))
        self.mask_token = None
        if use_mask_token and config.secondary_mask_ratio > 0:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.norm = nn.Identity()
        if config.embedding_norm:
            self.norm = nn.LayerNorm(config.embed_dim, eps=config.get_embedding_norm_eps())
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def init_weights(self, std: float):
        for parameter in (self.position_embeddings, self.mask_token):
            if parameter is not None:
                init.trunc_normal_(parameter, std=std)

    def embed_with_mask_token(
        self, pixel_values: torch.Tensor, visible_indices: torch.Tensor, secondary_masked_pos: torch.Tensor
    ) -> torch.Tensor:
        """Embed the patches of the visible units, with the mask token for the units in `secondary_masked_pos`."""
        # also hidden from overlapping patches of other units
        is_replaced = get_hidden_pixels(secondary_masked_pos, pixel_values.shape[-2:], self.mask_unit_size)
        embeddings = self.patch_embeddings(pixel_values.masked_fill(is_replaced, 0), visible_indices)
        is_replaced = secondary_masked_pos.gather(1, visible_indices).repeat_interleave(self.unit_side**2, dim=1)
        return torch.where(is_replaced[:, :, None], self.mask_token.to(embeddings.dtype), embeddings)

    def get_position_embeddings(
        self, grid_size: tuple[int, int], visible_indices: torch.Tensor | None, interpolate_pos_encoding: bool
    ) -> torch.Tensor:
        """
        Position embeddings of all patches, `(1, patches, channels)`, or of the visible ones, `(batch_size, ...)`.
        """
        positions = self.position_embeddings  # (1, patches, channels)
        if grid_size != self.position_grid:
            if not interpolate_pos_encoding:
                raise ValueError(
                    f"Images must have {self.position_grid[0]} x {self.position_grid[1]} patches to match the "
                    f"absolute position embeddings, got {grid_size[0]} x {grid_size[1]}. Pass "
                    "`interpolate_pos_encoding=True` to interpolate them."
                )
            positions = interpolate_position_embeddings(positions, self.position_grid, grid_size)
        if visible_indices is None:
            return positions
        units = view_units(to_feature_map(positions, grid_size), self.unit_side)[0]
        positions = units_to_patches(units, patch_size=1).flatten(3)  # (rows, columns, patches of a unit, channels)
        # expanded, although equal for all images: the gradient is then one sum over the batch, in a fixed order
        positions = positions.flatten(0, 1).flatten(1).expand(len(visible_indices), -1, -1)
        return select_tokens(positions, visible_indices).unflatten(2, (self.unit_side**2, -1)).flatten(1, 2)

    def forward(
        self,
        pixel_values: torch.Tensor,
        visible_indices: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        secondary_masked_pos: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if secondary_masked_pos is None:
            embeddings = self.patch_embeddings(pixel_values, visible_indices)
        else:
            embeddings = self.embed_with_mask_token(pixel_values, visible_indices, secondary_masked_pos)
        embeddings = self.norm(embeddings)
        if self.position_embeddings is not None:
            grid_size = get_grid_size(pixel_values.shape[-2:], self.patch_size)
            embeddings = embeddings + self.get_position_embeddings(
                grid_size, visible_indices, interpolate_pos_encoding
            )
        return self.dropout(embeddings)


class GreenMimPatchMerging(nn.Module):
    """
    Merges 2 x 2 tokens into one token of the next stage, as in `SwinPatchMerging`. With the norm after the projection,
    it is `Swinv2PatchMerging`; with an additional bias, the strided convolution of Twins.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        merged_size, next_size = 4 * config.hidden_sizes[stage], config.hidden_sizes[stage + 1]
        self.reduction = nn.Linear(merged_size, next_size, bias=config.merging_bias)
        self.is_norm_first = config.merging_norm_placement == "before"
        self.norm = nn.LayerNorm(merged_size if self.is_norm_first else next_size, eps=config.get_embedding_norm_eps())

    def forward(
        self, hidden_states: torch.Tensor, grid_size: tuple[int, int], visible_indices: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Merge row-major tokens of a full grid, or tokens of visible units, where those that merge are already adjacent.
        `grid_size` describes the full image in either case.
        """
        batch_size, _, channels = hidden_states.shape
        if visible_indices is None:
            height, width = grid_size
            hidden_states = hidden_states.view(batch_size, height, width, channels)
            hidden_states = nn.functional.pad(hidden_states, (0, 0, 0, width % 2, 0, height % 2))
            hidden_states = hidden_states.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5)
        hidden_states = hidden_states.reshape(batch_size, -1, 4 * channels)
        if self.is_norm_first:
            return self.reduction(self.norm(hidden_states))
        return self.norm(self.reduction(hidden_states))


class GreenMimMeanPatchMerging(nn.Module):
    """
    Merges 2 x 2 tokens into their mean, without weights. At the border of an odd grid, it averages the existing
    tokens.
    """

    def forward(
        self, hidden_states: torch.Tensor, grid_size: tuple[int, int], visible_indices: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See [`GreenMimPatchMerging.forward`]."""
        if visible_indices is not None:
            return hidden_states.unflatten(1, (-1, 4)).mean(dim=2)
        maps = nn.functional.avg_pool2d(to_feature_map(hidden_states, grid_size), 2, ceil_mode=True)
        return maps.flatten(2).transpose(1, 2)


def make_patch_merging(config: GreenMimConfig, stage: int) -> nn.Module:
    """Make the module that merges the tokens of a stage, counted from 0, into those of the next."""
    if config.merging == "mean":
        return GreenMimMeanPatchMerging()
    if config.merging_kernel_size is not None:
        return GreenMimOverlappingPatchMerging(config, stage)
    return GreenMimPatchMerging(config, stage)


__all__ = [
    "GreenMimEmbeddings",
    "GreenMimMeanPatchMerging",
    "GreenMimPatchEmbeddings",
    "GreenMimPatchMerging",
    "make_patch_merging",
    "to_feature_map",
]
