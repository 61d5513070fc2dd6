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
"""Configurations of timm's Twins, and conversion of their weights to and from GreenMIM."""

from collections.abc import Mapping

import torch

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_unit_cells, units_to_patches
from .modeling_greenmim import GreenMimModel


# Settings that all Twins share
TWINS_SETTINGS = {
    "position_bias": "none",
    "conditional_position_encoding": True,
    "merging_norm_placement": "after",
    "merging_bias": True,
    "layer_norm_eps": 1e-6,
    "embedding_norm_eps": 1e-5,
}
TOKEN_MIXERS_OF_SVT = ["window", "spatial_reduction"]
TOKEN_MIXERS_OF_PCPVT = ["spatial_reduction"]


def _make_settings(embed_dim, depths, num_heads, token_mixers, hidden_sizes=None, mlp_ratio=4.0) -> dict:
    return {
        **TWINS_SETTINGS,
        "embed_dim": embed_dim,
        "depths": depths,
        "num_heads": num_heads,
        "token_mixers": [token_mixers] * 4,
        "hidden_sizes": hidden_sizes,
        "mlp_ratio": mlp_ratio,
    }


_PYRAMID = {"hidden_sizes": [64, 128, 320, 512], "mlp_ratio": [8.0, 8.0, 4.0, 4.0]}
# GreenMimConfig keywords by timm model name
TWINS_MODELS = {
    "twins_svt_small": _make_settings(64, [2, 2, 10, 4], [2, 4, 8, 16], TOKEN_MIXERS_OF_SVT),
    "twins_svt_base": _make_settings(96, [2, 2, 18, 2], [3, 6, 12, 24], TOKEN_MIXERS_OF_SVT),
    "twins_svt_large": _make_settings(128, [2, 2, 18, 2], [4, 8, 16, 32], TOKEN_MIXERS_OF_SVT),
    "twins_pcpvt_small": _make_settings(64, [3, 4, 6, 3], [1, 2, 5, 8], TOKEN_MIXERS_OF_PCPVT, **_PYRAMID),
    "twins_pcpvt_base": _make_settings(64, [3, 4, 18, 3], [1, 2, 5, 8], TOKEN_MIXERS_OF_PCPVT, **_PYRAMID),
    "twins_pcpvt_large": _make_settings(64, [3, 8, 27, 3], [1, 2, 5, 8], TOKEN_MIXERS_OF_PCPVT, **_PYRAMID),
}


def get_module_names(config: GreenMimConfig) -> dict[str, list[str]]:
    """
    Map the parameter modules of timm's Twins to those of [`GreenMimModel`].

    Args:
        config ([`GreenMimConfig`]):
            Configuration of a Twins.

    Returns:
        `dict[str, list[str]]`: for each timm module, the [`GreenMimModel`] modules that hold its rows.
    """
    names = {
        "patch_embeds.0.proj": ["embeddings.patch_embeddings.projection"],
        "patch_embeds.0.norm": ["embeddings.norm"],
        "norm": ["layernorm"],
    }
    for stage in range(config.num_layers):
        ours = f"encoder.layers.{stage}"
        if stage < config.num_layers - 1:
            names[f"patch_embeds.{stage + 1}.proj"] = [f"{ours}.downsample.reduction"]
            names[f"patch_embeds.{stage + 1}.norm"] = [f"{ours}.downsample.norm"]
        names[f"pos_block.{stage}.proj.0"] = [f"{ours}.position_encoding.convolution"]
        for layer, mixer in enumerate(config.get_layer_mixers(stage)):
            block, attention = f"blocks.{stage}.{layer}", f"{ours}.blocks.{layer}.attention"
            query, key, value = (f"{attention}.{name}_proj" for name in "qkv")
            if mixer == "window":
                names[f"{block}.attn.qkv"] = [query, key, value]
            else:
                names[f"{block}.attn.q"] = [query]
                names[f"{block}.attn.kv"] = [key, value]
                if config.get_unit_side(stage) > 1:
                    names[f"{block}.attn.sr"] = [f"{attention}.reduction"]
                    names[f"{block}.attn.norm"] = [f"{attention}.norm"]
            names[f"{block}.attn.proj"] = [f"{attention}.o_proj"]
            names[f"{block}.norm1"] = [f"{ours}.blocks.{layer}.layernorm_before"]
            names[f"{block}.norm2"] = [f"{ours}.blocks.{layer}.layernorm_after"]
            names |= {f"{block}.mlp.{name}": [f"{ours}.blocks.{layer}.mlp.{name}"] for name in ("fc1", "fc2")}
    return names


def make_timm_state_dict(encoder: GreenMimModel) -> dict[str, torch.Tensor]:
    """
    Convert the weights of a Twins to timm: queries, keys and values in one matrix, and linear layers over the tokens
    of a mask unit, or over merging tokens, as convolution kernels.

    Args:
        encoder ([`GreenMimModel`]):
            Encoder to convert.

    Returns:
        `dict[str, torch.Tensor]`: weights with timm's names.
    """
    ours, weights = encoder.state_dict(), {}
    for name, modules in get_module_names(encoder.config).items():
        weight = torch.cat([ours[f"{module}.weight"] for module in modules])
        if modules[0].endswith(".reduction"):
            stage = int(modules[0].split(".")[2])
            weight = to_kernel(weight, num_channels=encoder.config.hidden_sizes[stage])
        weights[f"{name}.weight"] = weight
        # timm's projections always have a bias
        no_bias = weight.new_zeros(len(weight) // len(modules))
        weights[f"{name}.bias"] = torch.cat([ours.get(f"{module}.bias", no_bias) for module in modules])
    return weights


def make_encoder_state_dict(weights: Mapping[str, torch.Tensor], encoder: GreenMimModel) -> dict[str, torch.Tensor]:
    """
    Convert weights from timm; the inverse of [`make_timm_state_dict`].

    Args:
        weights (`Mapping[str, torch.Tensor]`):
            Weights of a timm Twins.
        encoder ([`GreenMimModel`]):
            Encoder with the same architecture.

    Returns:
        `dict[str, torch.Tensor]`: weights of [`GreenMimModel`].

    Raises:
        `ValueError`: if, apart from a classifier, the weights do not match the encoder's in name or shape.
    """
    expected = make_timm_state_dict(encoder)
    given = {name: tensor for name, tensor in weights.items() if not name.startswith("head.")}
    wrong = sorted(
        name
        for name in expected.keys() | given.keys()
        if name not in expected or name not in given or expected[name].shape != given[name].shape
    )
    if wrong:
        raise ValueError(
            f"{len(wrong)} of the {len(given)} weights are missing, unknown or of a different shape: "
            f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}."
        )
    ours: dict[str, torch.Tensor] = {}
    for name, modules in get_module_names(encoder.config).items():
        weight = weights[f"{name}.weight"]
        if modules[0].endswith(".reduction"):
            weight = to_linear(weight)
        for kind, tensor in (("weight", weight), ("bias", weights[f"{name}.bias"])):
            ours |= {f"{module}.{kind}": part for module, part in zip(modules, tensor.chunk(len(modules)))}
    return ours


def to_kernel(weight: torch.Tensor, num_channels: int) -> torch.Tensor:
    """Convert `(out, side**2 * num_channels)`, tokens in Z-order, to a kernel `(out, num_channels, side, side)`."""
    tokens = weight.unflatten(1, (-1, num_channels)).transpose(1, 2)
    side = round(tokens.shape[2] ** 0.5)
    (rows,), (columns,) = get_unit_cells((side, side), side)
    kernel = weight.new_empty(len(weight), num_channels, side, side)
    kernel[:, :, rows, columns] = tokens
    return kernel


def to_linear(kernel: torch.Tensor) -> torch.Tensor:
    """Convert a kernel to a linear weight; the inverse of [`to_kernel`]."""
    return units_to_patches(kernel, patch_size=1).flatten(1)


__all__ = [
    "TOKEN_MIXERS_OF_PCPVT",
    "TOKEN_MIXERS_OF_SVT",
    "TWINS_MODELS",
    "TWINS_SETTINGS",
    "get_module_names",
    "make_encoder_state_dict",
    "make_timm_state_dict",
    "to_kernel",
    "to_linear",
]
