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
"""What the models put out."""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import ModelOutput


@dataclass
class GreenMimModelOutput(ModelOutput):
    """
    GreenMim model's outputs.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`):
            Output of the last stage, normalized. Without a mask, its tokens are the cells of the last grid, row-major; with
            one, the visible mask units, in the order of `visible_indices`.
        pooler_output (`torch.FloatTensor` of shape `(batch_size, hidden_size)`, *optional*, returned when `add_pooling_layer=True`):
            Mean of the last hidden state over its tokens.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            Output of the embeddings and of each stage, `(batch_size, sequence_length, channels)`. Row-major without a mask,
            in the order described in `grouping_greenmim.py` with one.
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            Attention weights of the last layer of each stage, `(groups, num_heads, group_size, group_size)`. Only the eager
            attention returns them.
        reshaped_hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True` and there is no mask):
            The hidden states as feature maps, `(batch_size, channels, height, width)`.
        visible_indices (`torch.LongTensor` of shape `(batch_size, num_visible_units)`, *optional*, returned when there is a mask):
            The visible mask units, row-major and ascending.
    """

    last_hidden_state: torch.FloatTensor | None = None
    pooler_output: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    reshaped_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    visible_indices: torch.LongTensor | None = None


@dataclass
class GreenMimForMaskedImageModelingOutput(ModelOutput):
    """
    GreenMim masked image modeling's outputs.

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when there is a mask):
            Mean squared error over the pixels of the hidden units, in float32 (float64 if the model is).
        logits (`torch.FloatTensor` of shape `(batch_size, num_units, mask_unit_size**2 * num_channels)`):
            Predicted pixels of every mask unit, (row, column, channel) inside a unit; normalized by unit if
            `config.norm_pix_loss`.
        mask (`torch.BoolTensor` of shape `(batch_size, num_units)`, *optional*, returned when there is a mask):
            The mask over the mask units, `True` where a unit is hidden.
        visible_indices (`torch.LongTensor` of shape `(batch_size, num_visible_units)`, *optional*, returned when there is a mask):
            The visible mask units, row-major and ascending.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            See [`GreenMimModelOutput`].
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            See [`GreenMimModelOutput`].
        reshaped_hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True` and there is no mask):
            See [`GreenMimModelOutput`].
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    mask: torch.BoolTensor | None = None
    visible_indices: torch.LongTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    reshaped_hidden_states: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class GreenMimImageClassifierOutput(ModelOutput):
    """
    GreenMim image classification's outputs.

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when `labels` is provided):
            Classification loss, or regression loss if `config.num_labels == 1`.
        logits (`torch.FloatTensor` of shape `(batch_size, config.num_labels)`):
            Scores of the classes, before the softmax.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            See [`GreenMimModelOutput`].
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            See [`GreenMimModelOutput`].
        reshaped_hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            See [`GreenMimModelOutput`].
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    reshaped_hidden_states: tuple[torch.FloatTensor, ...] | None = None


__all__ = ["GreenMimForMaskedImageModelingOutput", "GreenMimImageClassifierOutput", "GreenMimModelOutput"]
