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
"""Reconstruction: prediction targets, and the decoders that predict them from visible tokens."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_greenmim import GreenMimConfig
from .gathering_greenmim import select_tokens
from .layout_greenmim import get_grid_size, images_to_units, units_to_patches
from .mixer_greenmim import GreenMimAttention, GreenMimMLP


HOG_NUM_BINS = 18  # as in LocalMIM with Swin; half a turn covers all orientations


def get_cell_statistics(cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Mean and standard deviation of each cell's pixels, as MAE normalizes them: with Bessel's correction, and 1e-6 added
    to the variance.

    Args:
        cells (`torch.Tensor` of shape `(batch_size, num_cells, num_pixels)`):
            Pixels of every cell.

    Returns:
        `tuple` of two `torch.Tensor` of shape `(batch_size, num_cells, 1)`.
    """
    return cells.mean(dim=-1, keepdim=True), (cells.var(dim=-1, keepdim=True) + 1.0e-6).sqrt()


def get_normalized_pixels(images: torch.Tensor, cell_size: int) -> torch.Tensor:
    """
    Pixels of each cell, normalized by their mean and variance. Arguments and result are as in [`images_to_units`].
    """
    cells = images_to_units(images, cell_size)
    mean, std = get_cell_statistics(cells)
    return (cells - mean) / std


def get_hog(images: torch.Tensor, cell_size: int) -> torch.Tensor:
    """
    Histograms of oriented gradients of each color channel, as LocalMIM (arXiv 2303.05251) predicts them. Gradients
    come from Sobel filters with reflected borders. Every pixel adds its magnitude to the bin of its orientation, and
    shares none of it with the next bin. Each histogram is divided by its Euclidean norm.

    Args:
        images (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
            Pixel values.
        cell_size (`int`):
            Side of a cell in pixels.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_cells, num_channels * HOG_NUM_BINS)`, cells row-major.

    Raises:
        `ValueError`: if the images do not consist of whole cells.
    """
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    smoothed = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    across = smoothed[..., :-2] - smoothed[..., 2:]
    smoothed = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    down = smoothed[:, :, :-2] - smoothed[:, :, 2:]
    # from -HOG_NUM_BINS to HOG_NUM_BINS: opposite directions have the same orientation
    bins = (torch.atan2(across, down) * (HOG_NUM_BINS / math.pi)).floor()
    bins = torch.where(bins < 0, bins + HOG_NUM_BINS, bins).where(bins < HOG_NUM_BINS, 0.0)
    magnitudes = (across.square() + down.square()).sqrt()

    def get_cells(pixels: torch.Tensor) -> torch.Tensor:
        cells = images_to_units(pixels, cell_size)  # (row, column, channel) inside a cell
        return cells.unflatten(2, (cell_size**2, -1)).transpose(2, 3)

    get_histograms = scatter_histograms if images.device.type == "cpu" else sum_histograms
    histograms = get_histograms(get_cells(bins).long(), get_cells(magnitudes), HOG_NUM_BINS)
    return nn.functional.normalize(histograms, dim=-1).flatten(2)


def scatter_histograms(bins: torch.Tensor, values: torch.Tensor, num_bins: int) -> torch.Tensor:
    """Sum the values of each bin: two tensors of shape `(..., num_values)` to one of shape `(..., num_bins)`."""
    return values.new_zeros(*values.shape[:-1], num_bins).scatter_add_(-1, bins, values)


def sum_histograms(bins: torch.Tensor, values: torch.Tensor, num_bins: int) -> torch.Tensor:
    """Sum like `scatter_histograms`, but bin by bin: slower on a CPU, but every sum on a GPU has a fixed order."""
    return torch.stack([(values * (bins == number)).sum(dim=-1) for number in range(num_bins)], dim=-1)


@dataclass(frozen=True)
class ReconstructionTarget:
    """
    Prediction target of the decoders.

    Attributes:
        make (`Callable`):
            Maps images of shape `(batch_size, num_channels, height, width)` and the side of a cell in pixels to the
            target of every cell, of shape `(batch_size, num_cells, size)`, row-major.
        get_size (`Callable`):
            Maps the side of a cell in pixels and the number of image channels to the number of values per cell.
        to_pixels (`Callable`, *optional*):
            Maps a prediction and the true pixels of each cell, `(batch_size, num_cells, cell_size**2 * num_channels)`,
            to the predicted pixels. `None` if the prediction does not determine them.
    """

    make: Callable[[torch.Tensor, int], torch.Tensor]
    get_size: Callable[[int, int], int]
    to_pixels: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None


def _count_pixels(cell_size: int, num_channels: int) -> int:
    return cell_size**2 * num_channels


def _count_bins(cell_size: int, num_channels: int) -> int:
    return HOG_NUM_BINS * num_channels


def _denormalize(prediction: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    mean, std = get_cell_statistics(cells)
    return prediction * std + mean


RECONSTRUCTION_TARGETS = {
    "pixels": ReconstructionTarget(images_to_units, _count_pixels, lambda prediction, cells: prediction),
    "normalized_pixels": ReconstructionTarget(get_normalized_pixels, _count_pixels, _denormalize),
    "hog": ReconstructionTarget(get_hog, _count_bins),
}


def get_reconstruction_target(name: str) -> ReconstructionTarget:
    """
    Look up a target in `RECONSTRUCTION_TARGETS`.

    Raises:
        `ValueError`: if the name is not registered.
    """
    if name not in RECONSTRUCTION_TARGETS:
        raise ValueError(
            f"`reconstruction_target` must be one of {sorted(RECONSTRUCTION_TARGETS)}, got {name!r}. Add custom "
            "targets to `RECONSTRUCTION_TARGETS` before you create the model."
        )
    return RECONSTRUCTION_TARGETS[name]


def get_2d_sincos_position_embeddings(
    grid_size: tuple[int, int], hidden_size: int, device: torch.device | None = None
) -> torch.Tensor:
    """
    Fixed position embeddings, as in MAE. The first half of the channels encodes the column, the second half the row.
    Each half contains sines, then cosines.

    Args:
        grid_size (`tuple[int, int]`):
            Rows and columns.
        hidden_size (`int`):
            Number of channels, a multiple of 4.
        device (`torch.device`, *optional*):
            Device of the embeddings.

    Returns:
        `torch.Tensor` of `float32` and shape `(rows * columns, hidden_size)`, row-major.
    """
    frequencies = 10000.0 ** (-torch.arange(hidden_size // 4, device=device, dtype=torch.float32) * 4 / hidden_size)
    angles = [torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequencies for length in grid_size]
    rows, columns = (torch.cat([angle.sin(), angle.cos()], dim=-1) for angle in angles)
    rows = rows[:, None, :].expand(-1, grid_size[1], -1)
    columns = columns[None, :, :].expand(grid_size[0], -1, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1)


def get_cell_indices(unit_indices: torch.Tensor, unit_grid: tuple[int, int], unit_side: int) -> torch.Tensor:
    """
    Row-major indices of the cells of mask units, in the order of visible tokens: by unit and, inside a unit, in
    Z-order.

    Args:
        unit_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_units)`):
            Row-major indices of the mask units.
        unit_grid (`tuple[int, int]`):
            Rows and columns of mask units.
        unit_side (`int`):
            Cells along a side of a unit.

    Returns:
        `torch.Tensor` of `int64` and shape `(batch_size, num_units * unit_side**2)`.
    """
    if unit_side == 1:
        return unit_indices
    rows, columns = unit_indices // unit_grid[1], unit_indices % unit_grid[1]
    first_cells = (rows * unit_grid[1] * unit_side + columns) * unit_side
    cells = torch.arange(unit_side, device=unit_indices.device)
    offsets = cells[:, None] * (unit_grid[1] * unit_side) + cells
    offsets = units_to_patches(offsets[None], patch_size=1).flatten()
    return (first_cells[:, :, None] + offsets).flatten(1)


def choose_hidden_units(mask: torch.Tensor, num_hidden: int, ratio: float) -> torch.Tensor:
    """
    Choose the hidden units that training predicts.

    Args:
        mask (`torch.Tensor` of shape `(batch_size, num_units)`):
            1 for hidden units, 0 for visible ones.
        num_hidden (`int`):
            Number of hidden units of each image.
        ratio (`float`):
            Fraction of the hidden units to choose at random. With 1, all are chosen, in ascending order.

    Returns:
        `torch.Tensor` of `int64` and shape `(batch_size, max(1, round(ratio * num_hidden)))`.
    """
    if ratio < 1.0:
        mask = mask * (1.0 + torch.rand_like(mask))
    return mask.argsort(dim=1, descending=True, stable=True)[:, : max(1, round(ratio * num_hidden))]


class GreenMimDecoderLayer(GradientCheckpointingLayer):
    """Decoder layer: tokens attend to each other or to the tokens of a context, and pass through an MLP."""

    def __init__(self, config: GreenMimConfig, hidden_size: int, num_attention_heads: int, intermediate_size: int):
        super().__init__()
        self.attention = GreenMimAttention(config, hidden_size, num_attention_heads)
        self.layernorm_before = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.mlp = GreenMimMLP(config, hidden_size, intermediate_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        context: torch.Tensor | None = None,
        query_indices: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_tokens, hidden_size)`):
                The tokens.
            context (`torch.Tensor` of shape `(batch_size, num_context_tokens, hidden_size)`, *optional*):
                Normalized tokens to attend to. By default, the tokens themselves.
            query_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_queries)`, *optional*):
                Tokens to compute, by default all. The other tokens are only attended to.
        """
        normed_states, query_states = self.layernorm_before(hidden_states), None
        if query_indices is not None:
            hidden_states = select_tokens(hidden_states, query_indices)
            query_states = select_tokens(normed_states, query_indices)
        if context is not None:
            normed_states, query_states = context, normed_states
        attn_output, _ = self.attention(normed_states, query_states=query_states)
        hidden_states = hidden_states + attn_output
        return hidden_states + self.mlp(self.layernorm_after(hidden_states))


class GreenMimDecoder(nn.Module):
    """
    Predicts the target of every cell from the tokens of the visible cells, as in MAE: mask tokens take the places of
    the hidden cells, and all tokens attend to each other.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        stage (`int`, *optional*):
            Stage whose tokens are decoded, counted from 1, after its merging. By default the last stage, whose tokens
            the model has already normalized.
    """

    def __init__(self, config: GreenMimConfig, stage: int | None = None):
        super().__init__()
        self.config = config
        self.stage = stage = config.num_layers if stage is None else stage
        hidden_size = config.get_decoder_setting("decoder_hidden_size", stage)
        self.layernorm: nn.Module = nn.Identity()
        if stage < config.num_layers:
            self.layernorm = nn.LayerNorm(config.hidden_sizes[stage], eps=config.layer_norm_eps)
        self.decoder_embed = nn.Linear(config.hidden_sizes[min(stage, config.num_layers - 1)], hidden_size)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
        self.decoder_layers = nn.ModuleList(
            GreenMimDecoderLayer(
                config,
                hidden_size,
                config.get_decoder_setting("decoder_num_attention_heads", stage),
                config.get_decoder_setting("decoder_intermediate_size", stage),
            )
            for _ in range(config.get_decoder_setting("decoder_num_hidden_layers", stage))
        )
        self.decoder_norm = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        target = get_reconstruction_target(config.reconstruction_target)
        self.decoder_pred = nn.Linear(hidden_size, target.get_size(config.get_cell_size(stage), config.num_channels))

    def init_weights(self, std: float):
        init.normal_(self.mask_token, std=std)

    def forward(
        self,
        hidden_states: torch.Tensor,
        visible_cells: torch.Tensor | None,
        grid_size: tuple[int, int],
        predicted_cells: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_visible, hidden_size)`):
                Encoded cells: the visible ones or, without `visible_cells`, all, row-major.
            visible_cells (`torch.Tensor` of `int64` and shape `(batch_size, num_visible)`, *optional*):
                Row-major indices of the visible cells in the grid.
            grid_size (`tuple[int, int]`):
                Rows and columns of cells.
            predicted_cells (`torch.Tensor` of `int64` and shape `(batch_size, num_predicted)`, *optional*):
                Cells to predict, by default all. The last layer computes no other cells.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_predicted, size)`: the predicted target of each cell.
        """
        hidden_states = self.decoder_embed(self.layernorm(hidden_states))
        positions = get_2d_sincos_position_embeddings(grid_size, hidden_states.shape[2], device=hidden_states.device)
        positions = positions.to(hidden_states.dtype)
        hidden_states = self.decode(hidden_states, positions, visible_cells, predicted_cells)
        return self.decoder_pred(self.decoder_norm(hidden_states))

    def decode(
        self,
        hidden_states: torch.Tensor,
        positions: torch.Tensor,
        visible_cells: torch.Tensor | None,
        predicted_cells: torch.Tensor | None,
    ) -> torch.Tensor:
        """
        Decode embedded cells to the hidden states of the predicted ones. `positions` are those of all cells,
        `(num_cells, channels)`.
        """
        if visible_cells is not None:
            # every visible token at its own cell, mask tokens elsewhere
            batch_size, _, channels = hidden_states.shape
            cells = self.mask_token.to(hidden_states.dtype).expand(batch_size, len(positions), -1)
            hidden_states = cells.scatter(1, visible_cells[:, :, None].expand(-1, -1, channels), hidden_states)
        hidden_states = hidden_states + positions
        for layer in self.decoder_layers[:-1]:
            hidden_states = layer(hidden_states)
        for layer in self.decoder_layers[-1:]:
            hidden_states = layer(hidden_states, query_indices=predicted_cells)
        if predicted_cells is not None and len(self.decoder_layers) == 0:
            hidden_states = select_tokens(hidden_states, predicted_cells)
        return hidden_states

    def predict(
        self,
        hidden_states: torch.Tensor,
        pixel_values: torch.Tensor,
        visible_units: torch.Tensor | None,
        predicted_units: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Predict cells, and compare them with the images.

        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_visible, hidden_size)`):
                Output of the stage: for the visible tokens, in the order of the encoder, or, without `visible_units`,
                for all.
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                The images.
            visible_units (`torch.Tensor` of `int64` and shape `(batch_size, num_visible_units)`, *optional*):
                Indices of the visible mask units.
            predicted_units (`torch.Tensor` of `int64` and shape `(batch_size, num_predicted_units)`, *optional*):
                Indices of the hidden units to predict. By default, all units are predicted, and the hidden ones
                compared.

        Returns:
            `tuple` of the logits of all cells, `(batch_size, num_cells, size)`, which are 0 for cells that are not
            predicted, and, with `visible_units`, the mean squared error of each image, `(batch_size,)`, in at least
            float32.
        """
        cell_size, unit_size = self.config.get_cell_size(self.stage), self.config.mask_unit_size
        grid_size = get_grid_size(pixel_values.shape[-2:], cell_size)
        if visible_units is None:
            return self(hidden_states, None, grid_size), None
        unit_grid, unit_side = get_grid_size(pixel_values.shape[-2:], unit_size), unit_size // cell_size
        visible_cells = get_cell_indices(visible_units, unit_grid, unit_side)
        target = pixel_values.to(torch.promote_types(hidden_states.dtype, torch.float32))
        target = get_reconstruction_target(self.config.reconstruction_target).make(target, cell_size)
        if predicted_units is None:
            logits = self(hidden_states, visible_cells, grid_size)
            losses = (logits.to(target.dtype) - target).square().mean(dim=-1)
            is_hidden = torch.ones_like(losses).scatter(1, visible_cells, 0.0)
            return logits, (losses * is_hidden).sum(dim=1) / is_hidden.sum(dim=1)
        predicted_cells = get_cell_indices(predicted_units, unit_grid, unit_side)
        logits = self(hidden_states, visible_cells, grid_size, predicted_cells)
        indices = predicted_cells[:, :, None].expand_as(logits)
        losses = (logits.to(target.dtype) - target.gather(1, indices)).square().mean(dim=(1, 2))
        all_logits = logits.new_zeros(len(target), target.shape[1], logits.shape[2])
        return all_logits.scatter(1, indices, logits), losses


class GreenMimCrossAttentionDecoder(GreenMimDecoder):
    """
    Predicts the target of cells from the tokens of the visible cells, as in CrossMAE (arXiv 2401.14391): a mask token
    at each predicted cell attends only to the visible tokens. The cost grows with the number of predicted cells, not
    with the square of the number of all cells.
    """

    def decode(
        self,
        hidden_states: torch.Tensor,
        positions: torch.Tensor,
        visible_cells: torch.Tensor | None,
        predicted_cells: torch.Tensor | None,
    ) -> torch.Tensor:
        context = hidden_states + (positions if visible_cells is None else positions[visible_cells])
        queries = (
            positions.expand(len(hidden_states), -1, -1) if predicted_cells is None else positions[predicted_cells]
        )
        queries = queries + self.mask_token.to(hidden_states.dtype)
        for layer in self.decoder_layers:
            queries = layer(queries, context)
        return queries


DECODERS = {"self": GreenMimDecoder, "cross": GreenMimCrossAttentionDecoder}

__all__ = [
    "DECODERS",
    "RECONSTRUCTION_TARGETS",
    "GreenMimCrossAttentionDecoder",
    "GreenMimDecoder",
    "ReconstructionTarget",
    "choose_hidden_units",
    "get_2d_sincos_position_embeddings",
    "get_cell_indices",
    "get_cell_statistics",
    "get_hog",
    "get_normalized_pixels",
    "get_reconstruction_target",
]
