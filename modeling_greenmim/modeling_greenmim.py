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
"""PyTorch GreenMIM model: a hierarchical vision transformer that encodes only visible patches, and pre-training."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.backbone_utils import BackboneMixin, filter_output_hidden_states
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput, ModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.swin.modeling_swin import SwinDropPath, SwinImageClassifierOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_greenmim import GreenMimConfig
from .embeddings_greenmim import GreenMimEmbeddings, make_patch_merging, to_feature_map
from .input_checks_greenmim import check_architecture, check_config, check_inputs, check_no_mask, warn_of_raw_pixels
from .layout_greenmim import (
    check_images,
    check_secondary_mask,
    get_grid_size,
    get_hidden_pixels,
    get_stage_grids,
    images_to_units,
    units_to_images,
)
from .mixer_greenmim import GreenMimMLP
from .normalization_greenmim import LAYER_NORMS
from .planning_greenmim import check_plan, get_token_mixer, make_full_plan, make_plan, make_token_mixer, move_plan
from .position_bias_greenmim import get_position_converters
from .position_encoding_greenmim import GreenMimConditionalPositionEncoding
from .reconstruction_greenmim import (
    DECODERS,
    ReconstructionTarget,
    choose_hidden_units,
    get_reconstruction_target,
)
from .teacher_greenmim import GreenMimTeacherProjection, check_teacher_features
from .validation_greenmim import check_choice, describe


# weights that exist only in pre-training
_PRETRAINING_MODULES = [
    r"^decoder\.",
    r"^stage_decoders\.",
    r"^teacher_projection\.",
    r"(^|\.)embeddings\.mask_token$",
]


@dataclass
class GreenMimModelOutput(ModelOutput):
    """
    Outputs of [`GreenMimModel`].

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`):
            Normalized output of the last stage. Without a mask, its tokens are the cells of the last grid, row-major;
            with a mask, the visible mask units, in the order of `visible_indices`.
        pooler_output (`torch.FloatTensor` of shape `(batch_size, hidden_size)`, *optional*, returned when `add_pooling_layer=True`):
            Mean of the last hidden state over its tokens.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            Output of the embeddings and of each stage, `(batch_size, sequence_length, channels)`: row-major without a
            mask, in the order described in `layout_greenmim.py` with a mask.
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            Attention weights of the last layer of each stage, `(groups, num_heads, group_size, group_size)` for
            windows. Only eager attention returns them, and only for stages whose last token mixer has them.
        reshaped_hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True` and there is no mask):
            The hidden states as feature maps, `(batch_size, channels, height, width)`.
        visible_indices (`torch.LongTensor` of shape `(batch_size, num_visible_units)`, *optional*, returned when there is a mask):
            Indices of the visible mask units, row-major and ascending.
        stage_hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `config.decoder_stages` has earlier stages than the last):
            Hidden states of these earlier stages, for their decoders.
    """

    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    reshaped_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    visible_indices: torch.LongTensor | None = None
    stage_hidden_states: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class GreenMimForMaskedImageModelingOutput(ModelOutput):
    """
    Outputs of [`GreenMimForMaskedImageModeling`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when there is a mask):
            Mean of `image_losses`.
        image_losses (`torch.FloatTensor` of shape `(batch_size,)`, *optional*, returned when there is a mask):
            Loss of each image, in float32 (float64 if the model is): the weighted sum of the reconstruction losses and
            the teacher loss.
        reconstruction_losses (`tuple(torch.FloatTensor)`, *optional*, returned when there is a mask):
            Mean squared error of each decoder over the cells of the hidden units, of shape `()`, in the order of
            `config.decoder_stages`.
        teacher_loss (`torch.FloatTensor` of shape `()`, *optional*, returned when there are teacher features):
            1 minus the cosine similarity of the predicted and the given features.
        logits (`torch.FloatTensor` of shape `(batch_size, num_cells, size)`, *optional*, returned when there is a decoder):
            Prediction of the first decoder in `config.decoder_stages` for each cell, row-major. In the last stage, the
            cells are the mask units. For pixels, the size is `cell_size**2 * num_channels`, in the order (row, column,
            channel) inside a cell. In training, predictions that the loss does not need are 0.
        mask (`torch.FloatTensor` of shape `(batch_size, num_units)`, *optional*, returned when there is a mask):
            Mask over the mask units: 1 for hidden units, 0 for visible ones.
        visible_indices (`torch.LongTensor` of shape `(batch_size, num_visible_units)`, *optional*, returned when there is a mask):
            Indices of the visible mask units, row-major and ascending.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            See [`GreenMimModelOutput`].
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            See [`GreenMimModelOutput`].
        reshaped_hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True` and there is no mask):
            See [`GreenMimModelOutput`].
    """

    loss: torch.FloatTensor | None = None
    image_losses: torch.FloatTensor | None = None
    reconstruction_losses: tuple[torch.FloatTensor, ...] | None = None
    teacher_loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    mask: torch.FloatTensor | None = None
    visible_indices: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    reshaped_hidden_states: tuple[torch.FloatTensor, ...] | None = None


class GreenMimLayer(GradientCheckpointingLayer):
    """Encoder layer: `SwinLayer` with any token mixer, and stochastic depth on both branches, as in the Swin paper."""

    def __init__(self, config: GreenMimConfig, stage: int, token_mixer: str, drop_path_rate: float):
        super().__init__()
        hidden_size = config.hidden_sizes[stage]
        self.attention = make_token_mixer(token_mixer, config, stage)
        norm_class = LAYER_NORMS[config.norm_type]
        self.layernorm_before = norm_class(hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = norm_class(hidden_size, eps=config.layer_norm_eps)
        self.mlp = GreenMimMLP(config, hidden_size, int(config.mlp_ratios[stage] * hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.drop_path = SwinDropPath(drop_path_rate)

    def mix(
        self, hidden_states: torch.Tensor, prepared: Any, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mix tokens. A mixer that returns only a tensor is rejected: unpacked, its images would be the outputs."""
        outputs = self.attention(hidden_states, prepared, **kwargs)
        if not isinstance(outputs, tuple) or len(outputs) != 2:
            raise TypeError(
                f"`forward` of the token mixer {type(self.attention).__name__} must return a tuple of the mixed tokens "
                f"and the attention weights, or None instead of the weights, got {describe(outputs)}."
            )
        return outputs

    def forward(
        self, hidden_states: torch.Tensor, prepared: Any, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        residual = hidden_states
        hidden_states, attn_weights = self.mix(self.layernorm_before(hidden_states), prepared, **kwargs)
        hidden_states = residual + self.drop_path(self.dropout(hidden_states))

        residual = hidden_states
        hidden_states = self.mlp(self.layernorm_after(hidden_states))
        hidden_states = residual + self.drop_path(self.dropout(hidden_states))

        return hidden_states, attn_weights


class GreenMimPostNormLayer(GreenMimLayer):
    """Encoder layer with each norm at the end of its branch, as in `Swinv2Layer`."""

    def forward(
        self, hidden_states: torch.Tensor, prepared: Any, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        residual = hidden_states
        hidden_states, attn_weights = self.mix(hidden_states, prepared, **kwargs)
        hidden_states = residual + self.drop_path(self.layernorm_before(self.dropout(hidden_states)))

        residual = hidden_states
        hidden_states = self.mlp(hidden_states)
        hidden_states = residual + self.drop_path(self.layernorm_after(self.dropout(hidden_states)))

        return hidden_states, attn_weights


LAYERS = {"before": GreenMimLayer, "after": GreenMimPostNormLayer}


class GreenMimStage(nn.Module):
    """Layers at one resolution, with a position encoding after the first one, and the patch merging that follows."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        self.config = config
        self.stage = stage
        for name in config.token_mixers[stage]:
            get_token_mixer(name)  # also check names that no layer uses
        self.token_mixers = config.get_layer_mixers(stage)
        first_layer, num_layers = sum(config.depths[:stage]), sum(config.depths)
        self.blocks = nn.ModuleList(
            LAYERS[config.norm_placement](
                config, stage, name, config.drop_path_rate * (first_layer + layer) / max(num_layers - 1, 1)
            )
            for layer, name in enumerate(self.token_mixers)
        )
        self.position_encoding = None
        if config.conditional_position_encoding:
            self.position_encoding = GreenMimConditionalPositionEncoding(config, stage)
        is_last = stage == config.num_layers - 1
        self.downsample = None if is_last else make_patch_merging(config, stage)

    def forward(
        self,
        hidden_states: torch.Tensor,
        plan: dict[str, dict[str, torch.Tensor]],
        grid_size: tuple[int, int],
        visible_indices: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """
        Return the hidden states after the merging, the attention weights, and the hidden states before the merging.
        `grid_size` describes the full image, even if only the tokens of visible units are given.
        """
        prepared = {
            name: get_token_mixer(name).prepare(mixer_plan, hidden_states, self.config, self.stage)
            for name, mixer_plan in plan.items()
        }
        attn_weights = None
        for layer, (name, block) in enumerate(zip(self.token_mixers, self.blocks)):
            hidden_states, attn_weights = block(hidden_states, prepared[name], **kwargs)
            if layer == 0 and self.position_encoding is not None:
                hidden_states = self.position_encoding(hidden_states, grid_size, visible_indices)

        before_merging = hidden_states
        if self.downsample is not None:
            hidden_states = self.downsample(hidden_states, grid_size, visible_indices)
        return hidden_states, attn_weights, before_merging


class GreenMimEncoder(nn.Module):
    """All stages in sequence."""

    def __init__(self, config: GreenMimConfig):
        super().__init__()
        self.layers = nn.ModuleList([GreenMimStage(config, stage) for stage in range(config.num_layers)])
        self.stage_names = config.stage_names[1:]

    def forward(
        self,
        hidden_states: torch.Tensor,
        plan: dict,
        stage_grids: Sequence[tuple[int, int]],
        visible_indices: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the input of each stage, and the output of its layers before the merging."""
        stage_inputs, stage_outputs = [], []
        for name, stage, grid_size in zip(self.stage_names, self.layers, stage_grids):
            stage_inputs.append(hidden_states)
            hidden_states, _, before_merging = stage(hidden_states, plan[name], grid_size, visible_indices, **kwargs)
            stage_outputs.append(before_merging)
        return stage_inputs, stage_outputs


class GreenMimPreTrainedModel(PreTrainedModel):
    """
    An abstract class to handle weights initialization and a simple interface for downloading and loading pretrained
    models.
    """

    config: GreenMimConfig
    base_model_prefix = "greenmim"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["GreenMimLayer", "GreenMimPostNormLayer"]
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
        check_config(config)
        config.validate()  # again: `from_pretrained` sets keywords after it has created the configuration
        super().__init__(config, *inputs, **kwargs)
        self.architecture = copy.deepcopy(config.get_architecture())

    def save_pretrained(self, *args, **kwargs):
        check_architecture(self.architecture, self.config)
        super().save_pretrained(*args, **kwargs)

    def get_correct_attn_implementation(self, requested_attention: str | None, is_init_check: bool = False) -> str:
        """Also reject attention implementations that cannot modulate scores."""
        if self.config.score_modulation is None:
            return super().get_correct_attn_implementation(requested_attention, is_init_check)
        if requested_attention not in (None, "eager"):
            raise ValueError(
                f"Cannot use `attn_implementation={requested_attention!r}` with "
                f"`score_modulation={self.config.score_modulation!r}` because it multiplies the scores, and fused "
                "attention can only add to them. Pass `attn_implementation='eager'`."
            )
        return "eager"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """
        Initialize the weights. A GreenMIM module that owns parameters initializes them in `init_weights`, because
        transformers skips external modules without parameters of their own.
        """
        super()._init_weights(module)
        if not isinstance(module, PreTrainedModel) and hasattr(module, "init_weights"):
            module.init_weights(self.config.initializer_range)


class GreenMimModel(GreenMimPreTrainedModel):
    r"""
    Hierarchical vision transformer that returns raw hidden states: of the full image or, given a mask, of only its
    visible part, at the cost of that part.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        add_pooling_layer (`bool`, *optional*, defaults to `True`):
            Whether to return the mean of the last hidden state.
        use_mask_token (`bool`, *optional*, defaults to `False`):
            Whether to create a mask token for `secondary_masked_pos`, if `config.secondary_mask_ratio` is above 0.
    """

    # this model is also loaded from checkpoints of models built on it
    _keys_to_ignore_on_load_unexpected = [*_PRETRAINING_MODULES, r"^classifier\.", r"^hidden_states_norms\."]

    def __init__(self, config: GreenMimConfig, add_pooling_layer: bool = True, use_mask_token: bool = False):
        super().__init__(config)
        self.num_features = config.hidden_size
        self.embeddings = GreenMimEmbeddings(config, use_mask_token=use_mask_token)
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
        plan: dict | None = None,
        interpolate_pos_encoding: bool = False,
        secondary_masked_pos: torch.BoolTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> GreenMimModelOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values. With a mask, height and width must be multiples of `config.mask_unit_size`.
            bool_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_units)` or `(batch_size, num_patches)`, *optional*):
                Mask over the mask units, row-major, `True` for hidden units; or over the patches, if it is constant
                inside every unit. Every row hides the same number of units. Without a mask, the model sees full
                images.
            plan (`dict`, *optional*):
                Plan of this mask, from [`make_plan`]. With a plan, the forward pass never waits for the device. By
                default, the plan is made here.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                Whether to interpolate absolute position embeddings to the size of the images.
            secondary_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_units)`, *optional*):
                Mask over the mask units, row-major, `True` for visible units whose tokens the mask token replaces, see
                [`~masking_greenmim.sample_secondary_masks`]. By default, no token is replaced.

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
        check_architecture(self.architecture, self.config)
        check_inputs(pixel_values, self.config, kwargs)
        height, width = pixel_values.shape[-2:]
        image_size, visible_indices = (height, width), None
        stage_grids = get_stage_grids(get_grid_size(image_size, self.config.patch_size), self.config.num_layers)
        if bool_masked_pos is None:
            if plan is not None:
                raise ValueError(
                    "Cannot use `plan` because `bool_masked_pos`, which it was made for, is missing. Pass both."
                )
            plan = make_full_plan(stage_grids, self.config, device=pixel_values.device)
        else:
            warn_of_raw_pixels(pixel_values)
            if plan is None:
                # on the host: the only place that waits for the device
                plan = move_plan(make_plan(bool_masked_pos, self.config, image_size), pixel_values.device)
            else:
                check_plan(plan, bool_masked_pos, self.config, image_size)
            if len(bool_masked_pos) != len(pixel_values):
                raise ValueError(
                    f"`bool_masked_pos` must have one mask for each of the {len(pixel_values)} images, got "
                    f"{len(bool_masked_pos)} masks."
                )
            visible_indices = plan["visible_indices"].expand(len(pixel_values), -1)
        if secondary_masked_pos is not None:
            if visible_indices is None or self.embeddings.mask_token is None:
                raise ValueError(
                    "Cannot replace the units of `secondary_masked_pos` because `bool_masked_pos` is missing, or the "
                    "model has no mask token. Pass `bool_masked_pos`, and use a model with "
                    "`config.secondary_mask_ratio` above 0. A plain encoder also needs `use_mask_token=True`."
                )
            unit_grid = get_grid_size(image_size, self.config.mask_unit_size)
            check_secondary_mask(secondary_masked_pos, visible_indices, unit_grid[0] * unit_grid[1])

        hidden_states = self.embeddings(pixel_values, visible_indices, interpolate_pos_encoding, secondary_masked_pos)
        stage_inputs, stage_outputs = self.encoder(hidden_states, plan, stage_grids, visible_indices, **kwargs)
        hidden_states = self.layernorm(stage_outputs[-1])
        pooled_output = None
        if self.pooler is not None:
            pooled_output = self.pooler(hidden_states.transpose(1, 2)).flatten(1)

        earlier_stages = [stage for stage in self.config.decoder_stages if stage < self.config.num_layers]
        reshaped_hidden_states = None
        # the recorder of hidden states does not handle this keyword
        output_hidden_states = kwargs.get("output_hidden_states", self.config.output_hidden_states)
        if output_hidden_states and bool_masked_pos is None:
            all_hidden_states = [*stage_inputs, stage_outputs[-1]]
            reshaped_hidden_states = tuple(map(to_feature_map, all_hidden_states, [*stage_grids, stage_grids[-1]]))

        return GreenMimModelOutput(
            last_hidden_state=hidden_states,
            pooler_output=pooled_output,
            reshaped_hidden_states=reshaped_hidden_states,
            visible_indices=visible_indices,
            stage_hidden_states=tuple(stage_inputs[stage] for stage in earlier_stages) or None,
        )


class GreenMimForImageClassification(GreenMimPreTrainedModel):
    r"""
    GreenMim Model with an image classification head on top: a linear layer on the mean of the last hidden state, as in
    Swin.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model. `num_labels` is the number of classes.
    """

    # this model is also loaded from pre-training checkpoints
    _keys_to_ignore_on_load_unexpected = _PRETRAINING_MODULES

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
    ) -> SwinImageClassifierOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values, of any size.
            labels (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
                Classes in `[0, ..., config.num_labels - 1]`, for a cross-entropy loss; values for a mean squared
                error, if `config.num_labels == 1`; or independent binary labels, if they are floats of shape
                `(batch_size, num_labels)`.
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                Whether to interpolate absolute position embeddings to the size of the images.

        Returns:
            [`~transformers.models.swin.modeling_swin.SwinImageClassifierOutput`]

        Raises:
            `ValueError`: if the pixel values do not fit the model, a mask is given, or the labels are not numbers.

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
        check_no_mask(kwargs, "an image classifier")
        if labels is not None and (not isinstance(labels, torch.Tensor) or labels.dtype == torch.bool):
            raise ValueError(
                f"`labels` must be a tensor of numbers, got {describe(labels)}. Do not pass a mask: image "
                "classification sees full images."
            )
        outputs: GreenMimModelOutput = self.greenmim(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs
        )
        logits = self.classifier(outputs.pooler_output)

        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config, **kwargs)

        return SwinImageClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            reshaped_hidden_states=outputs.reshaped_hidden_states,
        )


class GreenMimBackbone(BackboneMixin, GreenMimPreTrainedModel):
    r"""
    GreenMim backbone, to be used with frameworks like UperNet and DETR. It returns feature maps of the stages in
    `config.out_features`, before their merging, each with its own layer normalization. As in transformers'
    `SwinBackbone`, windows shift at every resolution, even if one window covers the grid. With
    `config.norm_placement="after"`, it works like `Swinv2Backbone` instead: feature maps have no extra norm, and a
    window that covers the grid does not shift.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
    """

    # this model is also loaded from pre-training and classification checkpoints
    _keys_to_ignore_on_load_unexpected = [*_PRETRAINING_MODULES, r"^classifier\.", r"(^|\.)layernorm\."]
    # hidden states are not recorded, because they are the feature maps of all stages
    _can_record_outputs = {"attentions": OutputRecorder(GreenMimStage, index=1)}

    def __init__(self, config: GreenMimConfig):
        super().__init__(config)
        self.num_features = [config.embed_dim, *config.hidden_sizes]
        self.embeddings = GreenMimEmbeddings(config)
        self.encoder = GreenMimEncoder(config)
        self.hidden_states_norms = None
        if config.norm_placement == "before":
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
                Whether to interpolate absolute position embeddings to the size of the images. Frameworks do not pass
                this argument.

        Returns:
            [`~transformers.modeling_outputs.BackboneOutput`]: its `feature_maps` have the shape
            `(batch_size, channels, height / stride, width / stride)`, rounded up. The stride is `config.patch_size` in
            the first stage and doubles in each later stage.

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
        check_no_mask(kwargs, "a backbone")
        check_architecture(self.architecture, self.config)
        check_inputs(pixel_values, self.config, kwargs)
        patch_grid = get_grid_size(pixel_values.shape[-2:], self.config.patch_size)
        stage_grids = get_stage_grids(patch_grid, self.config.num_layers)
        clip_windows = self.config.norm_placement == "after"
        plan = make_full_plan(stage_grids, self.config, device=pixel_values.device, clip_windows=clip_windows)

        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        _, stage_outputs = self.encoder(hidden_states, plan, stage_grids, **kwargs)
        all_hidden_states, grids = [hidden_states, *stage_outputs], [stage_grids[0], *stage_grids]

        feature_maps = []
        for stage, hidden_states, grid_size in zip(self.stage_names, all_hidden_states, grids):
            if stage in self.out_features:
                if self.hidden_states_norms is not None:
                    advice = "Pass different `out_features` to `from_pretrained`."
                    check_choice("config.out_features", stage, self.hidden_states_norms, advice)
                    hidden_states = self.hidden_states_norms[stage](hidden_states)
                feature_maps.append(to_feature_map(hidden_states, grid_size))

        return BackboneOutput(
            feature_maps=tuple(feature_maps),
            hidden_states=tuple(map(to_feature_map, all_hidden_states, grids)),
        )


class GreenMimForMaskedImageModeling(GreenMimPreTrainedModel):
    r"""
    GreenMim Model with a decoder on top for pre-training: it predicts the pixels of the hidden mask units from the
    visible ones, as proposed in [Green Hierarchical Vision Transformer for Masked Image
    Modeling](https://huggingface.co/papers/2205.13515). The configuration can add decoders of earlier stages, select
    targets other than pixels, and add the prediction of a teacher's features.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
    """

    def __init__(self, config: GreenMimConfig):
        super().__init__(config)
        self.greenmim = GreenMimModel(config, add_pooling_layer=False, use_mask_token=True)
        self.decoder = self.stage_decoders = self.teacher_projection = None
        if config.reconstruction_weight > 0:
            decoder_class = DECODERS[config.decoder_attention]
            earlier_stages = [stage for stage in config.decoder_stages if stage < config.num_layers]
            if earlier_stages:
                self.stage_decoders = nn.ModuleDict(
                    {f"stage{stage}": decoder_class(config, stage) for stage in earlier_stages}
                )
            if config.num_layers in config.decoder_stages:
                self.decoder = decoder_class(config)
        if config.teacher_hidden_size is not None:
            self.teacher_projection = GreenMimTeacherProjection(config.hidden_size, config.teacher_hidden_size)

        # Initialize weights and apply final processing
        self.post_init()

    @property
    def reconstruction_target(self) -> ReconstructionTarget:
        """Prediction target of the decoders."""
        return get_reconstruction_target(self.config.reconstruction_target)

    def get_decoders(self) -> dict[int, nn.Module]:
        """The decoders by stage, counted from 1, in ascending order."""
        decoders: dict[int, nn.Module] = {}
        if self.stage_decoders is not None:
            decoders |= {int(name.removeprefix("stage")): decoder for name, decoder in self.stage_decoders.items()}
        if self.decoder is not None:
            decoders[self.config.num_layers] = self.decoder
        return decoders

    def mask_pixels(self, pixel_values: torch.Tensor, mask: torch.Tensor, value: float = 0.0) -> torch.Tensor:
        """
        Hide the masked pixels of images, to show what the encoder sees.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values.
            mask (`torch.Tensor` of shape `(batch_size, num_units)`):
                Mask over the mask units, `True` or 1 for hidden units, such as `outputs.mask`.
            value (`float`, *optional*, defaults to 0.0):
                Value of hidden pixels. 0 is the mean of normalized images.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_channels, height, width)`.
        """
        check_images("pixel_values", pixel_values)
        is_hidden = get_hidden_pixels(mask, pixel_values.shape[-2:], self.config.mask_unit_size)
        return pixel_values.masked_fill(is_hidden, value)

    def reconstruct(self, pixel_values: torch.Tensor, outputs: GreenMimForMaskedImageModelingOutput) -> torch.Tensor:
        """
        Reconstruct images: hidden units come from the prediction, visible units from the images.

        A model with the target `"normalized_pixels"` predicts every cell only up to its mean and variance. These are
        then taken from the image itself, even for hidden units, so the result shows more than the model knows. Say so
        wherever you show it.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Input images of the model.
            outputs ([`GreenMimForMaskedImageModelingOutput`]):
                Outputs of the model for these images and a mask.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_channels, height, width)`, normalized like the images.

        Raises:
            `ValueError`: if the outputs come from a call without a mask, or the model does not predict pixels.
        """
        if outputs.mask is None:
            raise ValueError(
                "Cannot reconstruct images because the outputs have no mask. Pass outputs of a call with "
                "`bool_masked_pos`."
            )
        to_pixels = self.reconstruction_target.to_pixels
        if outputs.logits is None or to_pixels is None:
            target = self.config.reconstruction_target
            raise ValueError(
                f"Cannot reconstruct images because the model does not predict pixels (its target is {target!r})."
            )
        cell_size = self.config.get_cell_size(self.config.decoder_stages[0])
        cells = images_to_units(pixel_values, cell_size)
        prediction = to_pixels(outputs.logits.to(cells.dtype), cells)
        prediction = units_to_images(prediction, tuple(pixel_values.shape[-2:]), cell_size)
        is_hidden = get_hidden_pixels(outputs.mask, pixel_values.shape[-2:], self.config.mask_unit_size)
        return torch.where(is_hidden, prediction, pixel_values)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.FloatTensor,
        bool_masked_pos: torch.BoolTensor | None = None,
        plan: dict | None = None,
        interpolate_pos_encoding: bool = False,
        teacher_features: torch.FloatTensor | None = None,
        secondary_masked_pos: torch.BoolTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> GreenMimForMaskedImageModelingOutput:
        r"""
        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Pixel values. With a mask, height and width must be multiples of `config.mask_unit_size`.
            bool_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_units)` or `(batch_size, num_patches)`, *optional*):
                See [`GreenMimModel.forward`]. Without a mask, there is no loss.
            plan (`dict`, *optional*):
                See [`GreenMimModel.forward`].
            interpolate_pos_encoding (`bool`, *optional*, defaults to `False`):
                See [`GreenMimModel.forward`].
            teacher_features (`torch.FloatTensor` of shape `(batch_size, teacher_hidden_size)`, *optional*):
                Features of the full images from a frozen teacher. The model predicts them by a linear projection of
                the last hidden state, averaged over the visible tokens. 1 minus the cosine similarity is added to the
                loss, as in GFM (arXiv 2302.04476). Training a model with `config.teacher_hidden_size` requires them.
            secondary_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_units)`, *optional*):
                See [`GreenMimModel.forward`]. The loss covers the hidden units, with or without it.

        Returns:
            [`GreenMimForMaskedImageModelingOutput`]

        Raises:
            `ValueError`: if the pixel values, the mask, the plan and the teacher features do not fit the model or each
            other.

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
            pixel_values, bool_masked_pos, plan, interpolate_pos_encoding, secondary_masked_pos, **kwargs
        )
        check_teacher_features(teacher_features, self.config, len(pixel_values), self.training)
        # without a mask, an image may end inside a unit, as in Swin
        unit_grid = get_grid_size(pixel_values.shape[-2:], self.config.mask_unit_size)
        mask = predicted_units = None
        if outputs.visible_indices is not None:
            num_units, (batch_size, num_visible) = unit_grid[0] * unit_grid[1], outputs.visible_indices.shape
            mask = torch.ones(batch_size, num_units, device=pixel_values.device)
            mask = mask.scatter(1, outputs.visible_indices, 0.0)
            if self.training:  # the loss needs no predictions for other units
                predicted_units = choose_hidden_units(mask, num_units - num_visible, self.config.decoder_hidden_ratio)

        logits, reconstruction_losses, weighted_losses = None, [], []
        all_hidden_states = [*(outputs.stage_hidden_states or ()), outputs.last_hidden_state]
        for (stage, decoder), hidden_states in zip(self.get_decoders().items(), all_hidden_states):
            stage_logits, losses = decoder.predict(
                hidden_states, pixel_values, outputs.visible_indices, predicted_units
            )
            logits = stage_logits if logits is None else logits
            if losses is not None:
                weight = self.config.get_decoder_setting("decoder_loss_weights", stage)
                reconstruction_losses.append(losses.mean())
                weighted_losses.append(self.config.reconstruction_weight * weight * losses)
        teacher_loss = None
        if teacher_features is not None:
            losses = self.teacher_projection.get_losses(outputs.last_hidden_state, teacher_features)
            teacher_loss = losses.mean()
            weighted_losses.append(self.config.teacher_loss_weight * losses)
        image_losses = sum(weighted_losses) if weighted_losses else None

        return GreenMimForMaskedImageModelingOutput(
            loss=image_losses.mean() if weighted_losses else None,
            image_losses=image_losses,
            reconstruction_losses=tuple(reconstruction_losses) or None,
            teacher_loss=teacher_loss,
            logits=logits,
            mask=mask,
            visible_indices=outputs.visible_indices,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            reshaped_hidden_states=outputs.reshaped_hidden_states,
        )


# loads checkpoints with other window sizes; `overwrite`, because a model repository has its own copy of this file
register_checkpoint_conversion_mapping(GreenMimConfig.model_type, get_position_converters(), overwrite=True)

__all__ = [
    "GreenMimBackbone",
    "GreenMimForImageClassification",
    "GreenMimForMaskedImageModeling",
    "GreenMimForMaskedImageModelingOutput",
    "GreenMimModel",
    "GreenMimModelOutput",
    "GreenMimPreTrainedModel",
]
