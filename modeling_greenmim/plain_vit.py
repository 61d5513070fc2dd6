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
"""
Read plain Vision Transformers from transformers and timm without their class token, and load them into a hierarchy.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, PreTrainedConfig, ViTConfig, ViTMAEConfig, ViTMAEModel, ViTModel

from .checkpoint_folders import load_checkpoint, read_image_processor_settings
from .configuration_greenmim import GreenMimConfig
from .modeling_greenmim import GreenMimModel
from .position_bias_greenmim import interpolate_position_embeddings
from .timm_folders import load_timm_model
from .timm_swin import read_timm_image_processor_settings


# Patterns of weight names, and their replacements in a one-stage GreenMIM model. Other names stay the same.
_WEIGHT_NAMES = {
    r"^layers\.": "encoder.layers.0.blocks.",  # transformers
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",  # and timm
    r"^pos_embed$": "embeddings.position_embeddings",
    r"^blocks\.": "encoder.layers.0.blocks.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.attn\.proj\.": ".attention.o_proj.",
    r"\.attn\.([qkv])\.": r".attention.\1_proj.",
    r"^norm\.": "layernorm.",
}
# Not part of the encoder: the class token, heads and modules that feed the heads
_DROPPED = re.compile(r"^(embeddings\.cls_token|cls_token|head|fc_norm|attn_pool)(\.|$)")


class PlainViT(NamedTuple):
    """
    A plain ViT, read from transformers or timm.

    Args:
        settings (`dict`):
            [`GreenMimConfig`] fields of a model with all of its layers in one stage.
        weights (`dict[str, torch.Tensor]`):
            Weights with the names of such a model.
        encode (`Callable`):
            Computes the last hidden state of images without the class token, with the ViT's own modules.
        dtype (`torch.dtype`):
            Data type of the weights on disk.
        image_processor_settings (`dict`):
            Settings of the ViT's image processor.
    """

    settings: dict
    weights: dict[str, torch.Tensor]
    encode: Callable[[torch.Tensor], torch.Tensor]
    dtype: torch.dtype
    image_processor_settings: dict


def load_plain_vit(checkpoint_path: str | Path) -> PlainViT:
    """
    Load a ViT in float32.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder, or name on the Hub, of a ViT or ViT-MAE from transformers or a ViT from timm. A timm model requires
            timm.

    Raises:
        `ValueError`: if the model cannot be loaded or is not such a ViT.
    """
    try:
        settings, _ = PreTrainedConfig.get_config_dict(checkpoint_path)
        is_timm = settings.get("model_type") == "timm_wrapper"  # the type that transformers gives to timm folders
        config = None if is_timm else AutoConfig.from_pretrained(checkpoint_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{checkpoint_path} is not a model folder or a model on the Hub. ({error})") from error
    if config is None:
        return _read_timm(checkpoint_path)
    if not isinstance(config, (ViTConfig, ViTMAEConfig)):
        raise ValueError(
            f"{checkpoint_path} must contain a ViT or ViT-MAE, got a model of type {config.model_type!r}. Convert a "
            "Swin with `python -m modeling_greenmim.convert_swin_to_greenmim`."
        )
    return _read_transformers(checkpoint_path, config)


def _read_transformers(checkpoint_path: str | Path, config: PreTrainedConfig) -> PlainViT:
    dtype = config.dtype or torch.float32  # read before loading, which changes it
    arguments: dict = {"config": config, "dtype": torch.float32}
    if isinstance(config, ViTMAEConfig):
        vit: Any = load_checkpoint(ViTMAEModel, checkpoint_path, **arguments)
    else:
        vit = load_checkpoint(ViTModel, checkpoint_path, add_pooling_layer=False, **arguments)

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        embeddings = vit.embeddings
        hidden_states = embeddings.patch_embeddings(pixel_values) + embeddings.position_embeddings[:, 1:]
        for layer in vit.layers:
            hidden_states = layer(hidden_states)
        return vit.layernorm(hidden_states)

    settings = {
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_channels": config.num_channels,
        "embed_dim": config.hidden_size,
        "depths": [config.num_hidden_layers],
        "num_heads": config.num_attention_heads,
        "mlp_ratio": config.intermediate_size / config.hidden_size,
        "qkv_bias": config.qkv_bias,
        "hidden_act": config.hidden_act,
        "hidden_dropout_prob": config.hidden_dropout_prob,
        "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        "layer_norm_eps": config.layer_norm_eps,
    }
    return PlainViT(settings, _rename(vit.state_dict()), encode, dtype, read_image_processor_settings(checkpoint_path))


def _read_timm(checkpoint_path: str | Path) -> PlainViT:
    vit = load_timm_model(checkpoint_path)
    if type(vit).__name__ != "VisionTransformer":
        raise ValueError(f"{checkpoint_path} must contain a timm VisionTransformer, got a {type(vit).__name__}.")
    dtype, vit = next(vit.parameters()).dtype, vit.float()
    attention, mlp = vit.blocks[0].attn, vit.blocks[0].mlp

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        hidden_states = vit.patch_embed(pixel_values).flatten(1, -2)
        return vit.norm(vit.blocks(hidden_states + vit.pos_embed[:, -hidden_states.shape[1] :]))

    settings = {
        "image_size": list(vit.patch_embed.img_size),
        "patch_size": vit.patch_embed.patch_size[0],
        "num_channels": vit.patch_embed.proj.in_channels,
        "embed_dim": vit.embed_dim,
        "depths": [len(vit.blocks)],
        "num_heads": attention.num_heads,
        "mlp_ratio": mlp.fc1.out_features / mlp.fc1.in_features,
        "qkv_bias": attention.qkv.bias is not None,
        "layer_norm_eps": vit.blocks[0].norm1.eps,
    }
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in vit.state_dict().items():
        if ".attn.qkv." in name:
            weights |= {name.replace("qkv", key): part.clone() for key, part in zip("qkv", tensor.chunk(3))}
        else:
            weights[name] = tensor
    return PlainViT(settings, _rename(weights), encode, dtype, read_timm_image_processor_settings(vit))


def _rename(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename encoder weights to GreenMIM's names."""
    renamed = {}
    for name, tensor in weights.items():
        if _DROPPED.match(name):
            continue
        for pattern, replacement in _WEIGHT_NAMES.items():
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def make_hierarchy_config(vit: PlainViT, depths: list[int], patch_size: int, window_size: int) -> GreenMimConfig:
    """
    Configure a hierarchy with the layers of a ViT. Its width is constant, and tokens merge by their mean. Stages with
    a finer grid than the ViT's use windows; the others use global attention.
    """
    num_fine = (vit.settings["patch_size"] // patch_size).bit_length() - 1
    mixers = [["window", "shifted_window"] if stage < num_fine else ["global"] for stage in range(len(depths))]
    return GreenMimConfig(
        **{**vit.settings, "depths": depths, "patch_size": patch_size},
        hidden_sizes=vit.settings["embed_dim"],
        token_mixers=mixers,
        window_size=window_size,
        position_bias="none",
        merging="mean",
        use_absolute_embeddings=True,
        embedding_norm=False,
    )


def load_vit_weights(encoder: GreenMimModel, vit: PlainViT):
    """
    Load the weights of a ViT into an encoder. If patches are smaller than the ViT's, a patch gets the embedding that
    the ViT computes for that patch enlarged to the ViT's patch size, each pixel to a square. Position embeddings are
    interpolated.

    Args:
        encoder ([`GreenMimModel`]):
            Encoder with a configuration from [`make_hierarchy_config`].
        vit ([`PlainViT`]):
            ViT to copy the weights from.

    Raises:
        `ValueError`: if the weights of the ViT and the encoder do not match.
    """
    config = encoder.config
    places = [(stage, layer) for stage, depth in enumerate(config.depths) for layer in range(depth)]

    def get_name(name: str) -> str:
        match = re.match(r"encoder\.layers\.0\.blocks\.(\d+)\.(.*)", name)
        if match is None or int(match[1]) >= len(places):
            return name
        stage, layer = places[int(match[1])]
        return f"encoder.layers.{stage}.blocks.{layer}.{match[2]}"

    weights = {get_name(name): tensor for name, tensor in vit.weights.items()}
    kernel, positions = "embeddings.patch_embeddings.projection.weight", "embeddings.position_embeddings"
    if kernel in weights:
        cells = (config.patch_size, vit.settings["patch_size"] // config.patch_size)
        weights[kernel] = weights[kernel].unflatten(3, cells).unflatten(2, cells).sum(dim=(3, 5))
    if positions in weights:
        old_grid, grid = (
            tuple(side // patch_size for side in config.image_height_and_width)
            for patch_size in (vit.settings["patch_size"], config.patch_size)
        )
        weights[positions] = weights[positions][:, -old_grid[0] * old_grid[1] :]  # without the class token's embedding
        if grid != old_grid:
            weights[positions] = interpolate_position_embeddings(weights[positions], old_grid, grid)
    expected = encoder.state_dict()
    wrong = sorted(
        name
        for name in expected.keys() | weights.keys()
        if name not in expected or name not in weights or expected[name].shape != weights[name].shape
    )
    if wrong:
        raise ValueError(
            f"Cannot convert the ViT because {len(wrong)} of its weights are missing, unknown or of a different "
            f"shape: {', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}. Use a ViT with learned positions and "
            "a last norm, and without scales or norms inside its branches."
        )
    encoder.load_state_dict(weights)


__all__ = ["PlainViT", "load_plain_vit", "load_vit_weights", "make_hierarchy_config"]
