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
"""Token mixers: their interface, and the attention and MLP that layers share.

A token mixer is one class in one file. It does two things: it plans for a mask (`make_plan`: NumPy, in data loader
workers), and it mixes the tokens of a layer (`forward`: torch). A full image is a mask that hides nothing; its plan
depends only on shapes (`make_full_plan`: torch, on the device).

    layout ──make_plan──▶ plan ──prepare──▶ prepared ──forward──▶ mixed tokens
             once per mask       once per stage        once per layer

For a mixer, a hidden token does not exist: it enters no softmax, no sum and no count. `planning_greenmim.py` registers
the mixers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import TokenLayout
from .validation_greenmim import check_choice


# the grid of fused attention on a GPU is (blocks of queries, heads, batch), and CUDA limits its second dimension
MAX_HEADS = 65_535


def get_compute_dtype(hidden_states: torch.Tensor) -> torch.dtype:
    """Dtype of matrix products with these hidden states, which autocast may lower."""
    device_type = hidden_states.device.type
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return hidden_states.dtype


class GreenMimTokenMixer(nn.Module):
    """
    Base class of token mixers, which mix the tokens of one layer. A subclass is created as `MyMixer(config, stage)`,
    with the [`GreenMimConfig`] of the model and the index of the stage, from 0. It raises a `ValueError` if the
    configuration does not fit. It implements `forward` and the class methods that it needs. By default, there is no
    plan, and `forward` gets an empty dictionary.

    A subclass with `make_plan` also needs `make_full_plan`. A module that owns parameters initializes them in a method
    `init_weights(std: float)`; linear layers and norms do not need one. If `GreenMimAttention` is also a base class, name
    it first.
    """

    def __init__(self, config: GreenMimConfig | None = None, stage: int | None = None):
        super().__init__()

    @classmethod
    def make_plan(
        cls, layout: TokenLayout, config: GreenMimConfig, stage: int, group_shape: tuple[int | None, int] | None = None
    ) -> dict[str, np.ndarray]:
        """
        Plan the mixing of visible tokens, once per mask.

        Args:
            layout ([`TokenLayout`]):
                Positions of the stage's visible tokens. If all images of a batch share a mask, the layout and the plan
                describe one image.
            config ([`GreenMimConfig`]):
                Configuration of the model.
            stage (`int`):
                Index of the stage, from 0.
            group_shape (`tuple[int | None, int]`, *optional*):
                Number and size of the groups, see [`~packing_greenmim.pack_tokens`]. Mixers without groups ignore it.

        Returns:
            `dict[str, np.ndarray]`: arrays of at least one dimension.
        """
        return {}

    @classmethod
    def make_full_plan(
        cls,
        grid_size: tuple[int, int],
        config: GreenMimConfig,
        stage: int,
        device: torch.device | None = None,
        clip_windows: bool = True,
    ) -> dict[str, torch.Tensor]:
        """
        Plan the mixing of all tokens of a full image, row-major. Only shapes are known.

        Args:
            grid_size (`tuple[int, int]`):
                Rows and columns of tokens in the stage.
            config ([`GreenMimConfig`]):
                Configuration of the model.
            stage (`int`):
                Index of the stage, from 0.
            device (`torch.device`, *optional*):
                Device of the plan.
            clip_windows (`bool`, *optional*, defaults to `True`):
                Whether a window that is larger than the grid shrinks to it and is not shifted, as in transformers'
                `SwinModel`; windows of `SwinBackbone` keep their size and shift. Mixers without windows ignore it.

        Returns:
            `dict[str, torch.Tensor]`
        """
        return {}

    @classmethod
    def prepare(
        cls, plan: dict[str, torch.Tensor], hidden_states: torch.Tensor, config: GreenMimConfig, stage: int
    ) -> Any:
        """
        Prepare the values that all layers of a stage share, once per forward pass.

        Args:
            plan (`dict[str, torch.Tensor]`):
                Plan of this mixer and stage, from `make_plan` or `make_full_plan`.
            hidden_states (`torch.Tensor` of shape `(batch_size, num_tokens, channels)`):
                Input of the stage. Only its shape, dtype and device matter.
            config ([`GreenMimConfig`]):
                Configuration of the model.
            stage (`int`):
                Index of the stage, from 0.

        Returns:
            The second argument of `forward`. By default, the plan.
        """
        return plan

    def forward(
        self, hidden_states: torch.Tensor, prepared: Any, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_tokens, channels)`):
                Tokens: those of visible units in Z-order, or all tokens of a full image, row-major.
            prepared:
                Result of `prepare`.

        Returns:
            `tuple` of the mixed tokens, in the shape and order of the input, and the attention weights, of any shape, or
            `None`.
        """
        raise TypeError(f"{type(self).__name__} must implement `forward(hidden_states, prepared, **kwargs)`.")


def eager_attention_forward(
    module: "GreenMimAttention",
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    score_modulation: torch.Tensor | None = None,
    **kwargs: Unpack[TransformersKwargs],
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Swin's eager attention. Weights are returned with `module.num_heads` heads, even if groups act as additional heads.
    Scores are multiplied by `score_modulation` before `attention_mask` is added.
    """
    attn_weights = torch.matmul(query * scaling, key.transpose(2, 3))
    if score_modulation is not None:
        attn_weights = attn_weights * score_modulation
    if attention_mask is not None:
        attn_weights += attention_mask
    shape = attn_weights.shape
    attn_weights = nn.functional.softmax(attn_weights, dim=-1).view(-1, module.num_heads, *shape[2:])
    dropped = nn.functional.dropout(attn_weights, p=dropout, training=module.training)

    attn_output = torch.matmul(dropped.view(shape), value)
    attn_output = attn_output.transpose(1, 2).contiguous()

    return attn_output, attn_weights


class GreenMimCosineSimilarity(nn.Module):
    """
    Turns the dot products of queries and keys into cosines, multiplied by a learned scale for each head of at most
    100, as in Swin V2 (https://huggingface.co/papers/2111.09883, section 3.3).
    """

    def __init__(self, num_heads: int):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(10)))

    def init_weights(self, std: float):
        init.constant_(self.logit_scale, math.log(10))

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale queries and keys of shape `(..., channels)`, all heads side by side."""
        scale = self.logit_scale[..., 0].clamp(max=math.log(100)).exp()
        return self._set_length(query, scale), self._set_length(key, torch.ones_like(scale))

    def _set_length(self, states: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        heads = states.unflatten(-1, (len(length), -1))
        dtype = torch.promote_types(states.dtype, torch.float32)
        lengths = torch.linalg.vector_norm(heads, dim=-1, keepdim=True, dtype=dtype)
        # the key of padding is 0 and stays 0; division by a tiny number would make its gradient overflow in float16
        return (heads * (length / lengths.masked_fill(lengths == 0, 1))).flatten(-2).to(states.dtype)


class GreenMimAttention(nn.Module):
    """
    Multi-head attention.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        hidden_size (`int`):
            Number of channels.
        num_heads (`int`):
            Number of heads.
        similarity (`str`, *optional*, defaults to `"dot_product"`):
            See `attention_similarity` of [`GreenMimConfig`].
    """

    def __init__(self, config: GreenMimConfig, hidden_size: int, num_heads: int, similarity: str = "dot_product"):
        super().__init__()
        self.config = config
        self.num_heads = num_heads
        self.head_dim = hidden_size // num_heads
        self.attention_dropout = config.attention_probs_dropout_prob
        self.is_causal = False
        self.scaling = self.head_dim**-0.5
        self.similarity = None
        if similarity == "cosine":
            self.scaling, self.similarity = 1.0, GreenMimCosineSimilarity(num_heads)

        self.q_proj = nn.Linear(hidden_size, hidden_size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(hidden_size, hidden_size, bias=config.qkv_bias and self.similarity is None)
        self.v_proj = nn.Linear(hidden_size, hidden_size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(hidden_size, hidden_size)

    def project(self, hidden_states: torch.Tensor) -> Sequence[torch.Tensor]:
        """
        Compute queries, keys and values, each in the shape of the hidden states. On a GPU, one product computes all
        three if the projections are plain linear layers. On a CPU, where that is slower, there are three products.
        """
        projections = (self.q_proj, self.k_proj, self.v_proj)
        if hidden_states.device.type != "cpu" and all(map(is_plain_linear, projections)):
            query, key, value = self.project_at_once(hidden_states)
        else:
            query, key, value = (projection(hidden_states) for projection in projections)
        if self.similarity is not None:
            query, key = self.similarity(query, key)
        return query, key, value

    def project_at_once(self, hidden_states: torch.Tensor) -> Sequence[torch.Tensor]:
        """Compute queries, keys and values in one product with the weights of all three projections."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([projection.weight for projection in projections])
        bias = None
        if self.q_proj.bias is not None:
            key_bias = torch.zeros_like(self.q_proj.bias) if self.k_proj.bias is None else self.k_proj.bias
            bias = torch.cat([self.q_proj.bias, key_bias, self.v_proj.bias])
        return nn.functional.linear(hidden_states, weight, bias).chunk(3, dim=-1)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Attend, from `(batch_size, heads, tokens, head_dim)` to `(batch_size, tokens, heads, head_dim)`. Attention
        weights are also returned if they are requested. `attention_mask` is added to the scores.
        """
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        if attention_mask is not None:
            attention_mask = attention_mask.to(query.dtype)
        settings = {"dropout": self.attention_dropout if self.training else 0.0, "scaling": self.scaling, **kwargs}
        # only eager attention accepts a modulation, and it has no limit
        num_launches = 1 if "score_modulation" in kwargs else -(-query.shape[1] // MAX_HEADS)
        if num_launches == 1:
            attn_output, attn_weights = attention_interface(self, query, key, value, attention_mask, **settings)
        else:
            num_heads = -(-query.shape[1] // (num_launches * self.num_heads)) * self.num_heads  # whole groups
            parts = [tensor.split(num_heads, dim=1) for tensor in (query, key, value)]
            masks = [None] * len(parts[0]) if attention_mask is None else attention_mask.split(num_heads, dim=1)
            results = [attention_interface(self, *part, **settings) for part in zip(*parts, masks)]
            attn_output = torch.cat([output for output, _ in results], dim=2)
            all_weights = [weights for _, weights in results]
            attn_weights = None if all_weights[0] is None else torch.cat(all_weights)
        # a reentrant checkpoint needs a gradient for every output, so weights are only returned on request
        if not kwargs.get("output_attentions", self.config.output_attentions):
            attn_weights = None
        return attn_output, attn_weights

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        query_states: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Let the tokens of `query_states`, by default all of `hidden_states`, attend to those of `hidden_states`."""
        if query_states is None:
            projected = self.project(hidden_states)
        else:
            query, key = self.q_proj(query_states), self.k_proj(hidden_states)
            if self.similarity is not None:
                query, key = self.similarity(query, key)
            projected = (query, key, self.v_proj(hidden_states))
        query, key, value = (states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for states in projected)
        attn_output, attn_weights = self.attend(query, key, value, attention_mask, **kwargs)
        return self.o_proj(attn_output.flatten(2)), attn_weights


def is_plain_linear(module: nn.Module) -> bool:
    """Whether the weights fully define a linear layer: it is not wrapped (LoRA), quantized, hooked or offloaded."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module) is nn.Linear and not any(hooks) and "forward" not in vars(module)


class GreenMimMLP(nn.Module):
    """`SwinMLP`, with any number of hidden channels."""

    def __init__(self, config: GreenMimConfig, hidden_size: int, intermediate_size: int):
        super().__init__()
        check_choice("hidden_act", config.hidden_act, ACT2FN)
        self.activation_fn = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


__all__ = ["GreenMimAttention", "GreenMimMLP", "GreenMimTokenMixer", "eager_attention_forward"]
