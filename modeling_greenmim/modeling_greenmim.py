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
"""PyTorch GreenMIM model: a Swin Transformer that encodes the visible part of an image alone, and its pre-training."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.backbone_utils import BackboneMixin, filter_output_hidden_states
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_greenmim import GreenMimConfig
from .grouping_greenmim import check_group_plan, get_stage_grids, make_dense_plan, make_group_plan
from .mask_units_greenmim import cut_units, get_unit_statistics, reduce_mask_to_units
from .masking_greenmim import get_unit_grid
from .outputs_greenmim import (
    GreenMimForMaskedImageModelingOutput,
    GreenMimImageClassifierOutput,
    GreenMimModelOutput,
)
from .positions_greenmim import (
    get_2d_sincos_position_embeddings,
    get_position_converters,
    interpolate_position_embeddings,
)


# added to the scores of tokens of different windows: finite in every dtype, and its exponential is zero in all of them
MASKED_SCORE = -3.0e4


def refuse_mask(kwargs: dict, purpose: str):
    """Raises a `ValueError` if a mask is among the keywords of a model that always sees whole images."""
    for name in ("bool_masked_pos", "group_plan"):
        if kwargs.get(name) is not None:
            raise ValueError(
                f"`{name}` is not for {purpose}, which sees whole images. Leave it out; if it comes from the image "
                "processor, load that with `AutoImageProcessor.from_pretrained(..., do_mask=False)`."
            )


def check_pixel_values(pixel_values: torch.Tensor, config: GreenMimConfig):
    """Raises a `ValueError` if the pixel values do not fit the model."""
    if pixel_values.ndim != 4:
        raise ValueError(
            "`pixel_values` must have the shape (batch_size, num_channels, height, width), but has "
            f"{tuple(pixel_values.shape)}."
        )
    if pixel_values.shape[1] != config.num_channels:
        raise ValueError(
            f"`pixel_values` has {pixel_values.shape[1]} channels, but the model is configured for "
            f"`num_channels={config.num_channels}`."
        )


def get_patch_grid(pixel_values: torch.Tensor, patch_size: int) -> tuple[int, int]:
    """Rows and columns of patches in whole images, the last of which may be completed by padding."""
    height, width = pixel_values.shape[-2:]
    return -(-height // patch_size), -(-width // patch_size)


def to_feature_map(hidden_states: torch.Tensor, grid_size: tuple[int, int]) -> torch.Tensor:
    """`(batch_size, rows * columns, channels)`, row-major, to `(batch_size, channels, rows, columns)`."""
    return hidden_states.transpose(1, 2).unflatten(2, grid_size)


class GreenMimPatchEmbeddings(nn.Module):
    """Turns pixel values into patch embeddings, of the whole image or of its visible mask units."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        self.patch_size = config.patch_size
        self.mask_unit_size = config.mask_unit_size
        self.projection = nn.Conv2d(
            config.num_channels, config.embed_dim, kernel_size=config.patch_size, stride=config.patch_size
        )

    def get_visible_strip(self, pixel_values: torch.Tensor, visible_indices: torch.Tensor) -> torch.Tensor:
        """The visible patches, side by side in a strip of pixels: `(batch_size, channels, patch, patches * patch)`."""
        units = pixel_values.unflatten(3, (-1, self.mask_unit_size)).unflatten(2, (-1, self.mask_unit_size))
        units = units.permute(0, 2, 4, 1, 3, 5)  # (batch_size, rows, columns, channels, unit, unit)
        batch_indices = torch.arange(units.shape[0], device=units.device)[:, None]
        units = units[batch_indices, visible_indices // units.shape[2], visible_indices % units.shape[2]]
        patches = cut_units(units, self.patch_size)  # (batch_size, visible, patches, channels, patch, patch)
        return patches.permute(0, 3, 4, 1, 2, 5).flatten(3)

    def forward(self, pixel_values: torch.Tensor, visible_indices: torch.Tensor | None = None) -> torch.Tensor:
        if visible_indices is None:
            height, width = pixel_values.shape[-2:]
            pixel_values = nn.functional.pad(pixel_values, (0, -width % self.patch_size, 0, -height % self.patch_size))
        else:
            pixel_values = self.get_visible_strip(pixel_values, visible_indices)
        return self.projection(pixel_values).flatten(2).transpose(1, 2)


class GreenMimEmbeddings(nn.Module):
    """Patch embeddings, normalized, with optional absolute position embeddings."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        image_size = config.image_height_and_width
        self.patch_size = config.patch_size
        self.num_merges = config.num_layers - 1
        self.position_grid = (image_size[0] // config.patch_size, image_size[1] // config.patch_size)
        self.patch_embeddings = GreenMimPatchEmbeddings(config)
        self.position_embeddings = None
        if config.use_absolute_embeddings:
            num_patches = self.position_grid[0] * self.position_grid[1]
            self.position_embeddings = nn.Parameter(torch.zeros(1, num_patches, config.embed_dim))
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def get_position_embeddings(
        self, grid_size: tuple[int, int], visible_indices: torch.Tensor | None, interpolate_pos_encoding: bool
    ) -> torch.Tensor:
        """Position embeddings of all patches, `(1, patches, channels)`, or of the visible ones, `(batch_size, ...)`."""
        positions = self.position_embeddings  # (1, patches, channels)
        if grid_size != self.position_grid:
            if not interpolate_pos_encoding:
                raise ValueError(
                    f"The absolute position embeddings are for {self.position_grid[0]} x {self.position_grid[1]} patches, "
                    f"but the images have {grid_size[0]} x {grid_size[1]}. Pass `interpolate_pos_encoding=True` to "
                    "interpolate them."
                )
            positions = interpolate_position_embeddings(positions, self.position_grid, grid_size)
        if visible_indices is None:
            return positions
        side = 2**self.num_merges
        units = (
            to_feature_map(positions, grid_size)[0]
            .unflatten(2, (-1, side))
            .unflatten(1, (-1, side))
            .permute(1, 3, 0, 2, 4)
        )
        positions = cut_units(units, patch_size=1).flatten(3)  # (rows, columns, patches of a unit, channels)
        return positions.flatten(0, 1)[visible_indices].flatten(1, 2)

    def forward(
        self,
        pixel_values: torch.Tensor,
        visible_indices: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> torch.Tensor:
        embeddings = self.norm(self.patch_embeddings(pixel_values, visible_indices))
        if self.position_embeddings is not None:
            grid_size = get_patch_grid(pixel_values, self.patch_size)
            embeddings = embeddings + self.get_position_embeddings(
                grid_size, visible_indices, interpolate_pos_encoding
            )
        return self.dropout(embeddings)


class GreenMimPatchMerging(nn.Module):
    """Merges 2 x 2 tokens into one with twice the channels."""

    def __init__(self, config: GreenMimConfig, hidden_size: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * hidden_size, eps=config.layer_norm_eps)
        self.reduction = nn.Linear(4 * hidden_size, 2 * hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, grid_size: tuple[int, int] | None = None) -> torch.Tensor:
        """Tokens of a whole grid, given as `grid_size`, are row-major; those of visible units lie side by side already."""
        batch_size, _, channels = hidden_states.shape
        if grid_size is not None:
            height, width = grid_size
            hidden_states = hidden_states.view(batch_size, height, width, channels)
            hidden_states = nn.functional.pad(hidden_states, (0, 0, 0, width % 2, 0, height % 2))
            hidden_states = hidden_states.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5)
        hidden_states = hidden_states.reshape(batch_size, -1, 4 * channels)
        return self.reduction(self.norm(hidden_states))


class GreenMimDropPath(nn.Module):
    """Stochastic depth per sample for residual branches (https://arxiv.org/abs/1603.09382)."""

    def __init__(self, drop_prob: float = 0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return hidden_states
        keep_prob = 1.0 - self.drop_prob
        keep = hidden_states.new_empty(hidden_states.shape[0], *(1,) * (hidden_states.ndim - 1)).bernoulli_(keep_prob)
        return hidden_states * keep / keep_prob

    def extra_repr(self) -> str:
        return f"p={self.drop_prob}"


class GreenMimWindowGroups(NamedTuple):
    """
    One stage's part of a group plan, for one kind of windows, ready for the attention of its layers.

    A plan is followed once or many times, its `pools`: eight images that share a mask are eight pools of one image each;
    eight images with masks of their own are one pool of eight.
    """

    shape: tuple[int, int, int]  # (pools, slots, groups)
    slot_token: torch.Tensor  # (pools * slots * groups,), token in each slot, counted over the whole batch
    token_slot: torch.Tensor  # (tokens of the batch,), slot of each token, counted over (pools, slots, groups)
    relative_position_index: torch.Tensor  # (groups, slots, slots), row of the bias table; the last one masks
    has_padding: bool  # whether slots refer to a token after the last, which is zero

    @classmethod
    def from_plan(
        cls, plan: dict[str, torch.Tensor], prefix: str, window_size: int, num_tokens: int
    ) -> "GreenMimWindowGroups":
        """Expands the windows and positions of the slots to an index of every pair, and a plan to all its pools."""
        slot_token, token_slot = plan[f"{prefix}_slot_token"], plan[f"{prefix}_token_slot"]
        window, position = plan[f"{prefix}_slot_window"].t(), plan[f"{prefix}_slot_position"].t()  # (groups, slots)
        # (row_i - row_j + w - 1) * (2 * w - 1) + (column_i - column_j + w - 1), see Swin's relative_position_index
        index = position[:, :, None] - position[:, None, :] + 2 * window_size * (window_size - 1)
        index = torch.where(window[:, :, None] == window[:, None, :], index, (2 * window_size - 1) ** 2)
        index = index.long()  # the gradient of a look-up by int32 is 20 times slower on a CPU

        (num_slots, num_groups), pool_tokens = slot_token.shape, token_slot.shape[0]
        num_pools = num_tokens // pool_tokens
        pool = torch.arange(num_pools, device=slot_token.device)[:, None]
        pooled_slot_token = slot_token.flatten() + pool * pool_tokens
        # in the plan of a mask, empty slots refer to token 0, whatever it holds: nothing attends to them
        has_padding = "visible_indices" not in plan and slot_token.numel() > pool_tokens
        if has_padding:
            pooled_slot_token = pooled_slot_token.masked_fill(slot_token.flatten() == pool_tokens, num_tokens)
        pooled_token_slot = token_slot + pool * slot_token.numel()
        shape = (num_pools, num_slots, num_groups)
        return cls(shape, pooled_slot_token.flatten(), pooled_token_slot.flatten(), index, has_padding)


class GreenMimRelativePositionBias(nn.Module):
    """Learned bias for each offset between two tokens of a window, and the mask between windows, in one look-up."""

    def __init__(self, num_heads: int, window_size: int):
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))

    def forward(self, relative_position_index: torch.Tensor) -> torch.Tensor:
        num_groups, num_slots, _ = relative_position_index.shape
        table = nn.functional.pad(self.relative_position_bias_table, (0, 0, 0, 1), value=MASKED_SCORE)
        # every group looks into a copy of its own: gradients then meet inside a group only, not all in one table
        tables = table.t().repeat(1, num_groups)  # (heads, groups * rows)
        first_rows = torch.arange(num_groups, device=table.device)[:, None, None] * table.shape[0]
        bias = tables.index_select(1, (relative_position_index + first_rows).flatten())
        bias = bias.view(-1, num_groups, num_slots, num_slots).transpose(0, 1)
        return bias.reshape(1, -1, num_slots, num_slots)  # (1, groups * heads, slots, slots)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Unpack[TransformersKwargs],
) -> tuple[torch.Tensor, torch.Tensor]:
    attn_weights = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        attn_weights += attention_mask
    attn_weights = nn.functional.softmax(attn_weights, dim=-1)
    attn_weights = nn.functional.dropout(attn_weights, p=dropout, training=module.training)

    attn_output = torch.matmul(attn_weights, value)
    attn_output = attn_output.transpose(1, 2).contiguous()

    return attn_output, attn_weights


class GreenMimAttention(nn.Module):
    """Multi-head attention among all tokens."""

    def __init__(self, config: GreenMimConfig, hidden_size: int, num_heads: int):
        super().__init__()
        self.config = config
        self.num_heads = num_heads
        self.head_dim = hidden_size // num_heads
        self.attention_dropout = config.attention_probs_dropout_prob
        self.scaling = self.head_dim**-0.5
        self.is_causal = False

        self.q_proj = nn.Linear(hidden_size, hidden_size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(hidden_size, hidden_size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(hidden_size, hidden_size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(hidden_size, hidden_size)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`(batch_size, heads, tokens, head_dim)` to `(batch_size, tokens, heads, head_dim)`, and attention weights."""
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        if attention_mask is not None:
            attention_mask = attention_mask.to(query.dtype)
        return attention_interface(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )

    def forward(
        self, hidden_states: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        query, key, value = (
            projection(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attn_output, attn_weights = self.attend(query, key, value, **kwargs)
        return self.o_proj(attn_output.flatten(2)), attn_weights


class GreenMimWindowAttention(GreenMimAttention):
    """GreenMIM's Group Window Attention: attention inside the windows that a plan has packed into groups."""

    def __init__(self, config: GreenMimConfig, hidden_size: int, num_heads: int):
        super().__init__(config, hidden_size, num_heads)
        self.relative_position_bias = GreenMimRelativePositionBias(num_heads, config.window_size)

    def forward(
        self, hidden_states: torch.Tensor, groups: GreenMimWindowGroups, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        num_pools, num_slots, num_groups = groups.shape
        tokens = hidden_states.flatten(0, 1)
        if groups.has_padding:
            tokens = nn.functional.pad(tokens, (0, 0, 0, 1))

        # groups are further heads
        slots = tokens.index_select(0, groups.slot_token)
        query, key, value = (
            projection(slots).view(num_pools, num_slots, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # (pools, groups * heads, slots, head_dim)
        attention_bias = self.relative_position_bias(groups.relative_position_index)
        attn_output, attn_weights = self.attend(query, key, value, attention_bias, **kwargs)
        attn_output = attn_output.view(-1, hidden_states.shape[-1]).index_select(0, groups.token_slot)

        # only where they are asked for: a reentrant checkpoint needs a gradient for every output
        if attn_weights is not None and kwargs.get("output_attentions", self.config.output_attentions):
            attn_weights = attn_weights.unflatten(1, (num_groups, self.num_heads)).flatten(0, 1)
        else:
            attn_weights = None
        return self.o_proj(attn_output.view(hidden_states.shape)), attn_weights


class GreenMimMLP(nn.Module):
    def __init__(self, config: GreenMimConfig, hidden_size: int, intermediate_size: int):
        super().__init__()
        self.activation_fn = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class GreenMimLayer(GradientCheckpointingLayer):
    """A layer of the encoder."""

    def __init__(self, config: GreenMimConfig, hidden_size: int, num_heads: int, drop_path_rate: float):
        super().__init__()
        self.attention = GreenMimWindowAttention(config, hidden_size, num_heads)
        self.layernorm_before = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.mlp = GreenMimMLP(config, hidden_size, int(config.mlp_ratio * hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        # on both branches, as in Swin; the one in transformers drops the attention alone
        self.drop_path = GreenMimDropPath(drop_path_rate)

    def forward(
        self, hidden_states: torch.Tensor, groups: GreenMimWindowGroups, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        residual = hidden_states
        hidden_states, attn_weights = self.attention(self.layernorm_before(hidden_states), groups, **kwargs)
        hidden_states = residual + self.drop_path(self.dropout(hidden_states))

        residual = hidden_states
        hidden_states = self.mlp(self.layernorm_after(hidden_states))
        hidden_states = residual + self.drop_path(self.dropout(hidden_states))

        return hidden_states, attn_weights


class GreenMimStage(nn.Module):
    """Layers on one resolution, and the merging that leads to the next."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        self.window_size = config.window_size
        self.name = config.stage_names[stage + 1]
        hidden_size, num_layers, first_layer = (
            config.hidden_sizes[stage],
            sum(config.depths),
            sum(config.depths[:stage]),
        )
        self.blocks = nn.ModuleList(
            [
                GreenMimLayer(
                    config,
                    hidden_size,
                    config.num_heads[stage],
                    drop_path_rate=config.drop_path_rate * (first_layer + layer) / max(num_layers - 1, 1),
                )
                for layer in range(config.depths[stage])
            ]
        )
        is_last = stage == config.num_layers - 1
        self.downsample = None if is_last else GreenMimPatchMerging(config, hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        group_plan: dict[str, torch.Tensor],
        grid_size: tuple[int, int] | None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """
        Returns the hidden states after the merging, attention weights, and the hidden states before the merging.
        `grid_size` is that of the tokens of a whole image, or `None` for those of visible units.
        """
        num_tokens = hidden_states.shape[0] * hidden_states.shape[1]
        kinds = [
            GreenMimWindowGroups.from_plan(group_plan, f"{self.name}_{kind}", self.window_size, num_tokens)
            for kind in ("regular", "shifted")[: len(self.blocks)]  # a single layer never shifts
            if f"{self.name}_{kind}_slot_token" in group_plan
        ]

        attn_weights = None
        for layer, block in enumerate(self.blocks):
            hidden_states, attn_weights = block(hidden_states, kinds[layer % len(kinds)], **kwargs)

        before_merging = hidden_states
        if self.downsample is not None:
            hidden_states = self.downsample(hidden_states, grid_size)
        return hidden_states, attn_weights, before_merging


class GreenMimEncoder(nn.Module):
    """The stages, one after the other."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        self.layers = nn.ModuleList([GreenMimStage(config, stage) for stage in range(config.num_layers)])

    def forward(
        self,
        hidden_states: torch.Tensor,
        group_plan: dict[str, torch.Tensor],
        stage_grids: Sequence[tuple[int, int] | None],
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Returns what goes into each stage, and what comes out of its layers, before the merging."""
        stage_inputs, stage_outputs = [], []
        for stage, grid_size in zip(self.layers, stage_grids):
            stage_inputs.append(hidden_states)
            hidden_states, _, before_merging = stage(hidden_states, group_plan, grid_size, **kwargs)
            stage_outputs.append(before_merging)
        return stage_inputs, stage_outputs


class GreenMimDecoderLayer(GradientCheckpointingLayer):
    """A layer of the decoder: every mask unit attends to every other."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        hidden_size = config.decoder_hidden_size
        self.attention = GreenMimAttention(config, hidden_size, config.decoder_num_attention_heads)
        self.layernorm_before = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.mlp = GreenMimMLP(config, hidden_size, config.decoder_intermediate_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        attn_output, _ = self.attention(self.layernorm_before(hidden_states))
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

    def forward(
        self,
        hidden_states: torch.Tensor,
        visible_indices: torch.Tensor | None,
        grid_size: tuple[int, int],
    ) -> torch.Tensor:
        hidden_states = self.decoder_embed(hidden_states)
        batch_size, _, channels = hidden_states.shape
        if visible_indices is not None:
            # every visible latent at its own unit, mask tokens elsewhere
            units = self.mask_token.to(hidden_states.dtype).expand(batch_size, grid_size[0] * grid_size[1], -1)
            hidden_states = units.scatter(1, visible_indices[:, :, None].expand(-1, -1, channels), hidden_states)
        positions = get_2d_sincos_position_embeddings(grid_size, channels, device=hidden_states.device)
        hidden_states = hidden_states + positions.to(hidden_states.dtype)
        for layer in self.decoder_layers:
            hidden_states = layer(hidden_states)
        return self.decoder_pred(self.decoder_norm(hidden_states))


class GreenMimPreTrainedModel(PreTrainedModel):
    """
    An abstract class to handle weights initialization and a simple interface for downloading and loading pretrained models.
    """

    config: GreenMimConfig
    base_model_prefix = "greenmim"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["GreenMimLayer"]
    _supports_sdpa = True
    _supports_flash_attn = False
    _supports_flex_attn = False
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {
        "hidden_states": OutputRecorder(GreenMimStage, index=0),
        "attentions": OutputRecorder(GreenMimStage, index=1),
    }
    _input_embed_layer = "patch_embeddings"

    def __init__(self, config: GreenMimConfig, *inputs, **kwargs):
        config.validate()  # again: `from_pretrained` sets keywords after the configuration was made
        super().__init__(config, *inputs, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """
        Initialize the weights. Each rule names the class that owns the tensor: for code outside of transformers, modules
        without tensors of their own are passed over.
        """
        super()._init_weights(module)
        if isinstance(module, GreenMimEmbeddings) and module.position_embeddings is not None:
            init.trunc_normal_(module.position_embeddings, std=self.config.initializer_range)
        elif isinstance(module, GreenMimRelativePositionBias):
            init.trunc_normal_(module.relative_position_bias_table, std=self.config.initializer_range)
        elif isinstance(module, GreenMimDecoder):
            init.normal_(module.mask_token, std=self.config.initializer_range)


class GreenMimModel(GreenMimPreTrainedModel):
    r"""
    A Swin Transformer that returns raw hidden states: of the whole image, or, given a mask, of its visible part alone, at
    the cost of the visible part.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        add_pooling_layer (`bool`, *optional*, defaults to `True`):
            Whether to return the mean of the last hidden state.
    """

    # this model is also loaded from checkpoints of models built on it
    _keys_to_ignore_on_load_unexpected = [r"^decoder\.", r"^classifier\.", r"^hidden_states_norms\."]

    def __init__(self, config: GreenMimConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.num_features = config.hidden_size
        self.embeddings = GreenMimEmbeddings(config)
        self.encoder = GreenMimEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = nn.AdaptiveAvgPool1d(1) if add_pooling_layer else None

        # Initialize weights and apply final processing
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        bool_masked_pos: torch.BoolTensor | None = None,
        group_plan: dict[str, torch.Tensor] | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> GreenMimModelOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values. With a mask, height and width must be multiples of `config.mask_unit_size`.
            bool_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_units)` or `(batch_size, num_patches)`, *optional*):
                Mask over the mask units, row-major, `True` where a unit is hidden; or over the patches, if it is constant
                inside every unit. Every row hides the same number of units. Without a mask, this is a Swin Transformer.
            group_plan (`dict[str, torch.Tensor]`, *optional*):
                The plan that [`make_group_plan`] makes of this mask. If it is given, nothing in the forward waits for the
                device; if not, it is made here.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                Whether to interpolate absolute position embeddings to the size of the images.

        Returns:
            [`GreenMimModelOutput`]

        Raises:
            `ValueError`: if the pixel values, the mask and the plan do not fit the model or each other.

        Example:

        ```python
        >>> import torch
        >>> from modeling_greenmim import GreenMimConfig, GreenMimModel, sample_masks

        >>> config = GreenMimConfig(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))
        >>> model = GreenMimModel(config).eval()
        >>> pixel_values = torch.randn(2, 3, 224, 224)
        >>> model(pixel_values).last_hidden_state.shape
        torch.Size([2, 49, 192])

        >>> mask = torch.from_numpy(sample_masks(batch_size=2, grid_size=(7, 7), mask_ratio=0.75, seed=0))
        >>> model(pixel_values, bool_masked_pos=mask).last_hidden_state.shape
        torch.Size([2, 12, 192])
        ```"""
        check_pixel_values(pixel_values, self.config)
        visible_indices, stage_grids = None, [None] * self.config.num_layers
        if bool_masked_pos is None:
            if group_plan is not None:
                raise ValueError("`group_plan` was given without the `bool_masked_pos` that it was made of.")
            stage_grids = get_stage_grids(get_patch_grid(pixel_values, self.config.patch_size), self.config.num_layers)
            group_plan = make_dense_plan(stage_grids, self.config.window_size, device=pixel_values.device)
        else:
            unit_grid = get_unit_grid(pixel_values.shape[-2:], self.config.mask_unit_size)
            patches_per_side = self.config.mask_unit_size // self.config.patch_size
            window_size, hidden_sizes = self.config.window_size, self.config.hidden_sizes
            if group_plan is None and isinstance(bool_masked_pos, torch.Tensor):
                bool_masked_pos = bool_masked_pos.cpu()  # to plan on the host: the one place that waits for the device
            unit_mask = reduce_mask_to_units(bool_masked_pos, unit_grid, patches_per_side)
            if len(unit_mask) != len(pixel_values):
                raise ValueError(f"`bool_masked_pos` has {len(unit_mask)} masks for {len(pixel_values)} images.")
            if group_plan is None:
                group_plan = make_group_plan(unit_mask, unit_grid, window_size, hidden_sizes)
                group_plan = {name: tensor.to(pixel_values.device) for name, tensor in group_plan.items()}
            else:
                check_group_plan(group_plan, unit_mask, unit_grid, window_size, len(hidden_sizes))
            visible_indices = group_plan["visible_indices"].expand(pixel_values.shape[0], -1)

        hidden_states = self.embeddings(pixel_values, visible_indices, interpolate_pos_encoding)
        stage_inputs, stage_outputs = self.encoder(hidden_states, group_plan, stage_grids, **kwargs)
        hidden_states = self.layernorm(stage_outputs[-1])
        pooled_output = None
        if self.pooler is not None:
            pooled_output = self.pooler(hidden_states.transpose(1, 2)).flatten(1)

        reshaped_hidden_states = None
        # the recorder of hidden states leaves this keyword to us
        output_hidden_states = kwargs.get("output_hidden_states", self.config.output_hidden_states)
        if output_hidden_states and bool_masked_pos is None:
            all_hidden_states = [*stage_inputs, stage_outputs[-1]]
            reshaped_hidden_states = tuple(map(to_feature_map, all_hidden_states, [*stage_grids, stage_grids[-1]]))

        return GreenMimModelOutput(
            last_hidden_state=hidden_states,
            pooler_output=pooled_output,
            reshaped_hidden_states=reshaped_hidden_states,
            visible_indices=visible_indices,
        )


class GreenMimForImageClassification(GreenMimPreTrainedModel):
    r"""
    GreenMim Model with an image classification head on top: a linear layer on the mean of the last hidden state, as Swin's.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model. `num_labels` is the number of classes.
    """

    # this model is also loaded from checkpoints of pre-training
    _keys_to_ignore_on_load_unexpected = [r"^decoder\."]

    def __init__(self, config: GreenMimConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.greenmim = GreenMimModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels) if config.num_labels > 0 else nn.Identity()

        # Initialize weights and apply final processing
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        labels: torch.LongTensor | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> GreenMimImageClassifierOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values, of any size.
            labels (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
                Classes, in `[0, ..., config.num_labels - 1]`, for a cross-entropy loss; if `config.num_labels == 1`, values
                for a mean squared error; if they are floats of shape `(batch_size, num_labels)`, independent binary ones.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                Whether to interpolate absolute position embeddings to the size of the images.

        Returns:
            [`GreenMimImageClassifierOutput`]

        Raises:
            `ValueError`: if the pixel values do not fit the model, a mask is given, or the labels are boolean.

        Example:

        ```python
        >>> import torch
        >>> from modeling_greenmim import GreenMimConfig, GreenMimForImageClassification

        >>> config = GreenMimConfig(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), num_labels=10)
        >>> model = GreenMimForImageClassification(config)
        >>> outputs = model(torch.randn(2, 3, 224, 224), labels=torch.tensor([3, 7]))
        >>> outputs.loss.backward()
        >>> outputs.logits.shape
        torch.Size([2, 10])
        ```"""
        refuse_mask(kwargs, "image classification")
        if labels is not None and labels.dtype == torch.bool:
            raise ValueError("`labels` is boolean. If it is a mask: image classification sees whole images.")
        outputs: GreenMimModelOutput = self.greenmim(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs
        )
        logits = self.classifier(outputs.pooler_output)

        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config, **kwargs)

        return GreenMimImageClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            reshaped_hidden_states=outputs.reshaped_hidden_states,
        )


class GreenMimBackbone(BackboneMixin, GreenMimPreTrainedModel):
    r"""
    GreenMim backbone, to be used with frameworks like UperNet and DETR: feature maps of the stages that
    `config.out_features` names, before their merging, each with a layer normalization of its own. As in
    transformers' `SwinBackbone`, windows shift at every resolution, also where one of them covers the grid.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
    """

    # this model is also loaded from checkpoints of pre-training and classification
    _keys_to_ignore_on_load_unexpected = [r"^decoder\.", r"^classifier\.", r"(^|\.)layernorm\."]
    # its hidden states are the feature maps of all stages, so that they are not recorded on the way
    _can_record_outputs = {"attentions": OutputRecorder(GreenMimStage, index=1)}

    def __init__(self, config: GreenMimConfig):
        super().__init__(config)
        self.num_features = [config.embed_dim, *config.hidden_sizes]
        self.embeddings = GreenMimEmbeddings(config)
        self.encoder = GreenMimEncoder(config)
        self.hidden_states_norms = nn.ModuleDict(
            {
                stage: nn.LayerNorm(num_channels, eps=config.layer_norm_eps)
                for stage, num_channels in zip(self.out_features, self.channels)
            }
        )

        # Initialize weights and apply final processing
        self.post_init()

    @can_return_tuple
    @filter_output_hidden_states
    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        interpolate_pos_encoding: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BackboneOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values, of any size.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `True`):
                Whether to interpolate absolute position embeddings to the size of the images. Frameworks do not pass it.

        Returns:
            [`~transformers.modeling_outputs.BackboneOutput`]: its `feature_maps` have the shape `(batch_size, channels,
            height / stride, width / stride)`, rounded up, with a stride of `config.patch_size` in the first stage, and of
            twice that of the stage before in any other.

        Raises:
            `ValueError`: if the pixel values do not fit the model, or a mask is given.

        Example:

        ```python
        >>> import torch
        >>> from modeling_greenmim import GreenMimBackbone, GreenMimConfig

        >>> config = GreenMimConfig(
        ...     embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), out_features=["stage2", "stage4"]
        ... )
        >>> model = GreenMimBackbone(config)
        >>> [tuple(feature_map.shape) for feature_map in model(torch.randn(1, 3, 240, 320)).feature_maps]
        [(1, 48, 30, 40), (1, 192, 8, 10)]
        ```"""
        refuse_mask(kwargs, "a backbone")
        check_pixel_values(pixel_values, self.config)
        stage_grids = get_stage_grids(get_patch_grid(pixel_values, self.config.patch_size), self.config.num_layers)
        group_plan = make_dense_plan(
            stage_grids, self.config.window_size, always_partition=True, device=pixel_values.device
        )

        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        _, stage_outputs = self.encoder(hidden_states, group_plan, stage_grids, **kwargs)
        all_hidden_states, grids = [hidden_states, *stage_outputs], [stage_grids[0], *stage_grids]

        feature_maps = []
        for stage, hidden_states, grid_size in zip(self.stage_names, all_hidden_states, grids):
            if stage in self.out_features:
                feature_maps.append(to_feature_map(self.hidden_states_norms[stage](hidden_states), grid_size))

        return BackboneOutput(
            feature_maps=tuple(feature_maps),
            hidden_states=tuple(map(to_feature_map, all_hidden_states, grids)),
        )


class GreenMimForMaskedImageModeling(GreenMimPreTrainedModel):
    r"""
    GreenMim Model with the decoder on top that pre-trains it: it predicts the pixels of the hidden mask units from the
    visible ones, as proposed in [Green Hierarchical Vision Transformer for Masked Image
    Modeling](https://huggingface.co/papers/2205.13515).

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
    """

    def __init__(self, config: GreenMimConfig):
        super().__init__(config)
        self.greenmim = GreenMimModel(config, add_pooling_layer=False)
        self.decoder = GreenMimDecoder(config)

        # Initialize weights and apply final processing
        self.post_init()

    def patchify(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """
        Cuts images into mask units.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_units, mask_unit_size**2 * num_channels)`, units row-major, and
            (row, column, channel) inside a unit.

        Raises:
            `ValueError`: if the images are not made of whole mask units.
        """
        unit = self.config.mask_unit_size
        get_unit_grid(pixel_values.shape[-2:], unit)
        units = pixel_values.unflatten(3, (-1, unit)).unflatten(2, (-1, unit))
        return units.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)

    def unpatchify(self, logits: torch.Tensor, image_size: tuple[int, int] | None = None) -> torch.Tensor:
        """
        Puts mask units together to images: the inverse of [`~GreenMimForMaskedImageModeling.patchify`].

        Args:
            logits (`torch.Tensor` of shape `(batch_size, num_units, mask_unit_size**2 * num_channels)`):
                Pixels of every mask unit.
            image_size (`tuple[int, int]`, *optional*):
                Height and width of the images in pixels. `config.image_size` by default.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_channels, height, width)`.

        Raises:
            `ValueError`: if the units are not those of images of this size.
        """
        unit = self.config.mask_unit_size
        rows, columns = get_unit_grid(image_size or self.config.image_height_and_width, unit)
        expected_shape = (rows * columns, unit**2 * self.config.num_channels)
        if logits.shape[1:] != expected_shape:
            raise ValueError(
                f"Images of {rows * unit} x {columns * unit} pixels have the units (batch_size, {expected_shape[0]}, "
                f"{expected_shape[1]}), but `logits` has the shape {tuple(logits.shape)}. Pass their `image_size`."
            )
        units = logits.unflatten(2, (unit, unit, self.config.num_channels)).unflatten(1, (rows, columns))
        return units.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)

    def reconstruct(self, pixel_values: torch.Tensor, outputs: GreenMimForMaskedImageModelingOutput) -> torch.Tensor:
        """
        Pictures of what the model predicts: hidden units from the prediction, visible ones from the images.

        With `config.norm_pix_loss`, the model predicts every unit up to its mean and variance. These are then taken from
        the image itself, hidden units included: the pictures show more than the model knows. Say so where you show them.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                The images that the model has seen.
            outputs ([`GreenMimForMaskedImageModelingOutput`]):
                What the model returned for them, with a mask.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_channels, height, width)`, normalized like the images.

        Raises:
            `ValueError`: if the outputs are those of a call without a mask.
        """
        if outputs.mask is None:
            raise ValueError("There is nothing to reconstruct: the outputs are those of a call without a mask.")
        units = self.patchify(pixel_values)
        prediction = outputs.logits.to(units.dtype)
        if self.config.norm_pix_loss:
            mean, std = get_unit_statistics(units)
            prediction = prediction * std + mean
        units = torch.where(outputs.mask[:, :, None], prediction, units)
        return self.unpatchify(units, image_size=tuple(pixel_values.shape[-2:]))

    def get_reconstruction_loss(
        self, pixel_values: torch.Tensor, logits: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Mean squared error on the hidden units, in float32 or more (as in MAE)."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        target = self.patchify(pixel_values).to(dtype)
        if self.config.norm_pix_loss:
            mean, std = get_unit_statistics(target)
            target = (target - mean) / std
        unit_loss = (logits.to(dtype) - target).square().mean(dim=-1)
        return (unit_loss * mask).sum() / mask.sum()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        bool_masked_pos: torch.BoolTensor | None = None,
        group_plan: dict[str, torch.Tensor] | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> GreenMimForMaskedImageModelingOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values. With a mask, height and width must be multiples of `config.mask_unit_size`.
            bool_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_units)` or `(batch_size, num_patches)`, *optional*):
                See [`GreenMimModel.forward`]. Without a mask there is no loss.
            group_plan (`dict[str, torch.Tensor]`, *optional*):
                See [`GreenMimModel.forward`].
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                See [`GreenMimModel.forward`].

        Returns:
            [`GreenMimForMaskedImageModelingOutput`]

        Raises:
            `ValueError`: if the pixel values, the mask and the plan do not fit the model or each other.

        Example:

        ```python
        >>> import torch
        >>> from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, sample_masks

        >>> config = GreenMimConfig(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))
        >>> model = GreenMimForMaskedImageModeling(config)
        >>> pixel_values = torch.randn(2, 3, 224, 224)
        >>> mask = torch.from_numpy(sample_masks(batch_size=2, grid_size=(7, 7), mask_ratio=0.75, seed=0))
        >>> outputs = model(pixel_values, bool_masked_pos=mask)
        >>> outputs.loss.backward()
        >>> outputs.logits.shape
        torch.Size([2, 49, 3072])

        >>> model.reconstruct(pixel_values, outputs).shape
        torch.Size([2, 3, 224, 224])
        ```"""
        outputs: GreenMimModelOutput = self.greenmim(
            pixel_values, bool_masked_pos, group_plan, interpolate_pos_encoding, **kwargs
        )
        # without a mask, an image may end in the middle of a unit, as it may for Swin
        grid_size = get_patch_grid(pixel_values, self.config.mask_unit_size)
        logits = self.decoder(outputs.last_hidden_state, outputs.visible_indices, grid_size)

        loss = mask = None
        if outputs.visible_indices is not None:
            mask = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
            mask = mask.scatter(1, outputs.visible_indices, False)
            loss = self.get_reconstruction_loss(pixel_values, logits, mask)

        return GreenMimForMaskedImageModelingOutput(
            loss=loss,
            logits=logits,
            mask=mask,
            visible_indices=outputs.visible_indices,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            reshaped_hidden_states=outputs.reshaped_hidden_states,
        )


# a checkpoint made for other windows loads; a model repository brings this file along, hence `overwrite`
register_checkpoint_conversion_mapping(GreenMimConfig.model_type, get_position_converters(), overwrite=True)

__all__ = [
    "GreenMimBackbone",
    "GreenMimForImageClassification",
    "GreenMimForMaskedImageModeling",
    "GreenMimModel",
    "GreenMimPreTrainedModel",
]
