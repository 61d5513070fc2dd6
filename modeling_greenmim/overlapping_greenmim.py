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
"""Overlapping patches and merging: convolutions with kernels larger than their stride, as in T2T-ViT and PVTv2.

Hidden pixels and tokens contribute zero, like those outside the image. Only visible units are computed: each is cut
out of the grid together with the border that the kernels reach.
"""

import torch
from torch import nn

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_grid_size, get_hidden_pixels, get_visible_cells, units_to_patches


def _pad_borders(convolution: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
    """
    Pad maps with zeros to center the kernels on their strides. An odd number puts the extra zero at the top and left.
    """
    overlap = convolution.kernel_size[0] - convolution.stride[0]
    before, after = (overlap + 1) // 2, overlap // 2
    return nn.functional.pad(maps, (before, after, before, after))


def convolve_map(convolution: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
    """
    Convolve full maps, padded with zeros to whole strides.

    Args:
        convolution (`nn.Conv2d`):
            A convolution without padding.
        maps (`torch.Tensor` of shape `(batch_size, channels, height, width)`):
            Pixels or tokens.

    Returns:
        `torch.Tensor` of shape `(batch_size, rows * columns, out_channels)`, row-major.
    """
    stride, (height, width) = convolution.stride[0], maps.shape[-2:]
    maps = nn.functional.pad(maps, (0, -width % stride, 0, -height % stride))
    return convolution(_pad_borders(convolution, maps)).flatten(2).transpose(1, 2)


def convolve_units(
    convolution: nn.Conv2d, maps: torch.Tensor, unit_size: int, visible_indices: torch.Tensor
) -> torch.Tensor:
    """
    Convolve only the visible units.

    Args:
        convolution (`nn.Conv2d`):
            A convolution without padding.
        maps (`torch.Tensor` of shape `(batch_size, channels, height, width)`):
            Pixels or tokens of whole units, zero for hidden ones.
        unit_size (`int`):
            Side of a mask unit in the maps.
        visible_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_visible_units)`):
            The visible mask units.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_tokens, out_channels)`: tokens of visible units in Z-order.
    """
    side = unit_size + convolution.kernel_size[0] - convolution.stride[0]
    units = _pad_borders(convolution, maps).unfold(2, side, unit_size).unfold(3, side, unit_size)
    units_per_row = units.shape[3]
    batch_indices = torch.arange(len(units), device=units.device)[:, None]
    units = units.permute(0, 2, 3, 1, 4, 5)  # (batch_size, rows, columns, channels, side, side), without a copy
    units = units[batch_indices, visible_indices // units_per_row, visible_indices % units_per_row]
    tokens = units_to_patches(convolution(units.flatten(0, 1)), patch_size=1).flatten(2)
    return tokens.unflatten(0, visible_indices.shape).flatten(1, 2)


class GreenMimOverlappingPatchEmbeddings(nn.Module):
    """Turns pixel values into embeddings of overlapping patches, of the full image or of its visible mask units."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        self.mask_unit_size = config.mask_unit_size
        self.projection = nn.Conv2d(
            config.num_channels,
            config.embed_dim,
            kernel_size=config.patch_kernel_size,  # type: ignore[arg-type]
            stride=config.patch_size,
        )

    def forward(self, pixel_values: torch.Tensor, visible_indices: torch.Tensor | None = None) -> torch.Tensor:
        if visible_indices is None:
            return convolve_map(self.projection, pixel_values)
        height, width = pixel_values.shape[-2:]
        rows, columns = get_grid_size((height, width), self.mask_unit_size)
        mask = torch.ones(len(pixel_values), rows * columns, dtype=torch.bool, device=pixel_values.device)
        mask = mask.scatter(1, visible_indices, False)
        pixel_values = pixel_values.masked_fill(get_hidden_pixels(mask, (height, width), self.mask_unit_size), 0)
        return convolve_units(self.projection, pixel_values, self.mask_unit_size, visible_indices)


class GreenMimOverlappingPatchMerging(nn.Module):
    """
    Merges tokens into those of the next stage by a strided convolution, with a norm of each token before or after it.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        hidden_size, next_size = config.hidden_sizes[stage], config.hidden_sizes[stage + 1]
        self.unit_side = config.get_unit_side(stage)
        self.reduction = nn.Conv2d(
            hidden_size,
            next_size,
            kernel_size=config.merging_kernel_size,  # type: ignore[arg-type]
            stride=2,
            bias=config.merging_bias,
        )
        self.is_norm_first = config.merging_norm_placement == "before"
        self.norm = nn.LayerNorm(hidden_size if self.is_norm_first else next_size, eps=config.get_embedding_norm_eps())

    def forward(
        self, hidden_states: torch.Tensor, grid_size: tuple[int, int], visible_indices: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_tokens, channels)`):
                Tokens: those of visible units in Z-order, or all tokens of a full image, row-major.
            grid_size (`tuple[int, int]`):
                Rows and columns of tokens of the full image.
            visible_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_visible_units)`, *optional*):
                The visible mask units. `None` for full images.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_merged, next_channels)`: tokens of the next stage, in the same
            order.
        """
        if self.is_norm_first:
            hidden_states = self.norm(hidden_states)
        if visible_indices is None:
            hidden_states = convolve_map(self.reduction, hidden_states.transpose(1, 2).unflatten(2, grid_size))
        else:
            batch_size, _, channels = hidden_states.shape
            cells = get_visible_cells(visible_indices, grid_size, self.unit_side)
            tokens = hidden_states.new_zeros(batch_size, grid_size[0] * grid_size[1], channels)
            tokens = tokens.scatter(1, cells[:, :, None].expand(-1, -1, channels), hidden_states)
            tokens = tokens.transpose(1, 2).unflatten(2, grid_size)
            hidden_states = convolve_units(self.reduction, tokens, self.unit_side, visible_indices)
        return hidden_states if self.is_norm_first else self.norm(hidden_states)


__all__ = [
    "GreenMimOverlappingPatchEmbeddings",
    "GreenMimOverlappingPatchMerging",
    "convolve_map",
    "convolve_units",
]
