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
"""Optimizer parameter groups: weight decay for matrices only, and lower learning rates for lower layers."""

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from .validation_greenmim import check_number, describe


def get_decay_parameter_names(model: nn.Module) -> list[str]:
    """
    Names of the parameters with weight decay: the weights of linear layers and convolutions. Norms, biases, tokens and
    everything that encodes positions (embeddings, tables, MLPs and convolutions) have no weight decay.

    Args:
        model (`nn.Module`):
            Model to inspect.

    Example:

    ```python
    >>> from modeling_greenmim import GreenMimConfig, GreenMimModel
    >>> from modeling_greenmim.parameter_groups import get_decay_parameter_names

    >>> model = GreenMimModel(GreenMimConfig(embed_dim=24, depths=(2, 2), num_heads=(1, 2)))
    >>> get_decay_parameter_names(model)[:2]
    ['embeddings.patch_embeddings.projection.weight', 'encoder.layers.0.blocks.0.attention.q_proj.weight']
    ```"""
    return [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and "position" not in name
    ]


def get_layer_index(name: str, depths: Iterable[int]) -> int:
    """
    Layer index of a parameter of a Swin or GreenMIM model, for [`make_parameter_groups`]. The embeddings are layer 0.
    The blocks of all stages follow, one layer each; patch merging and position encoding belong to the block before
    them. Everything after the last block is one more layer.

    Args:
        name (`str`):
            Parameter name.
        depths (`Iterable[int]`):
            Number of blocks in each stage.
    """
    depths = list(depths)
    if re.search(r"(^|\.)embeddings\.", name):
        return 0
    if match := re.search(r"encoder\.layers\.(\d+)\.(?:blocks\.(\d+)|downsample|position_encoding)\.", name):
        stage, block = int(match[1]), match[2]
        if block is not None:
            return sum(depths[:stage]) + int(block) + 1
        return sum(depths[:stage]) + (1 if "position_encoding" in name else depths[stage])
    return sum(depths) + 1


def make_parameter_groups(
    model: nn.Module, learning_rate: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict]:
    """
    Create parameter groups for an optimizer such as `torch.optim.AdamW`.

    Args:
        model (`nn.Module`):
            A Swin or GreenMIM model, or a model with such a backbone.
        learning_rate (`float`):
            Learning rate of the last layer.
        weight_decay (`float`):
            Weight decay of the parameters that [`get_decay_parameter_names`] returns.
        layer_decay (`float`, *optional*, defaults to 1.0):
            Ratio of a layer's learning rate to the rate of the layer above it (BEiT,
            https://huggingface.co/papers/2106.08254, appendix; for Swin, SimMIM,
            https://huggingface.co/papers/2111.09886, section 4.1).

    Returns:
        `list[dict]`: groups with `params`, `lr` and `weight_decay`. Every trainable parameter is in exactly one group.
        The group with the highest learning rate comes first because the Trainer logs the rate of the first group.

    Raises:
        `ValueError`: if a number is out of range or the model is not a transformers model.

    Example:

    ```python
    >>> import torch
    >>> from modeling_greenmim import GreenMimConfig, GreenMimForImageClassification
    >>> from modeling_greenmim.parameter_groups import make_parameter_groups

    >>> model = GreenMimForImageClassification(GreenMimConfig(embed_dim=24, depths=(2, 2), num_heads=(1, 2)))
    >>> optimizer = torch.optim.AdamW(make_parameter_groups(model, 1e-3, 0.05, layer_decay=0.8))
    >>> sorted({round(group["lr"] / 1e-3, 4) for group in optimizer.param_groups})
    [0.3277, 0.4096, 0.512, 0.64, 0.8, 1.0]
    ```"""
    check_number("learning_rate", learning_rate, at_least=0)
    check_number("weight_decay", weight_decay, at_least=0)
    check_number("layer_decay", layer_decay, above=0, at_most=1)
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise ValueError(f"`model` must be a transformers model, got {describe(model)}.")
    decayed = set(get_decay_parameter_names(model))
    config: Any = model.config
    depths = getattr(config, "backbone_config", config).depths
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = layer_decay ** (sum(depths) + 1 - get_layer_index(name, depths))
            settings = (learning_rate * scale, weight_decay if name in decayed else 0.0)
            groups.setdefault(settings, []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate, "weight_decay": weight_decay}
        for (learning_rate, weight_decay), parameters in sorted(groups.items(), key=lambda item: -item[0][0])
    ]


__all__ = ["get_decay_parameter_names", "get_layer_index", "make_parameter_groups"]
