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
"""Plain Vision Transformers of transformers and timm, read without their class token, and their weights in a hierarchy."""

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


# patterns of the names of weights, and what they are in a model of ours with one stage; others keep their names
_WEIGHT_NAMES = {
    r"^layers\.": "encoder.layers.0.blocks.",  # of transformers
    r"^patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",  # and of timm
    r"^pos_embed$": "embeddings.position_embeddings",
    r"^blocks\.": "encoder.layers.0.blocks.",
    r"\.norm1\.": ".layernorm_before.",
    r"\.norm2\.": ".layernorm_after.",
    r"\.attn\.proj\.": ".attention.o_proj.",
    r"\.attn\.([qkv])\.": r".attention.\1_proj.",
    r"^norm\.": "layernorm.",
}
# not of the encoder: the class token, heads and what comes before them
_DROPPED = re.compile(r"^(embeddings\.cls_token|cls_token|head|fc_norm|attn_pool)(\.|$)")


class PlainViT(NamedTuple):
    """
    A plain ViT.

    Args:
        settings (`dict`):
            Fields of [`GreenMimConfig`] that a model with its layers in one stage has.
        weights (`dict[str, torch.Tensor]`):
            Its weights under the names of such a model.
        encode (`Callable`):
            Computes the last hidden state of images without the class token, by its own modules.
        dtype (`torch.dtype`):
            That of the weights on disk.
        image_processor_settings (`dict`):
            Settings of its image processor.
    """

    settings: dict
    weights: dict[str, torch.Tensor]
    encode: Callable[[torch.Tensor], torch.Tensor]
    dtype: torch.dtype
    image_processor_settings: dict


def load_plain_vit(checkpoint_path: str | Path) -> PlainViT:
    """
    Loads a ViT in float32.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder, or name on the Hub, of a ViT or ViT-MAE of transformers, or of a ViT of timm, which then must be installed.

    Raises:
        `ValueError`: if there is no such model.
    """
    try:
        settings, _ = PreTrainedConfig.get_config_dict(checkpoint_path)
        is_timm = settings.get("model_type") == "timm_wrapper"  # what transformers makes of a folder of timm
        config = None if is_timm else AutoConfig.from_pretrained(checkpoint_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{checkpoint_path} is not the folder of a model, nor one on the Hub. ({error})") from error
    if config is None:
        return _read_timm(checkpoint_path)
    if not isinstance(config, (ViTConfig, ViTMAEConfig)):
        raise ValueError(
            f"{checkpoint_path} must hold a ViT or ViT-MAE, got a model of type {config.model_type!r}. A Swin is converted by "
            "`python -m modeling_greenmim.convert_swin_to_greenmim`."
        )
    return _read_transformers(checkpoint_path, config)


def _read_transformers(checkpoint_path: str | Path, config: PreTrainedConfig) -> PlainViT:
    dtype = config.dtype or torch.float32  # before loading, which changes it
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
        raise ValueError(f"{checkpoint_path} must hold a VisionTransformer of timm, got a {type(vit).__name__}.")
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
    """The weights of an encoder under our names."""
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
    Configuration of a hierarchy with the layers of a ViT: of constant width, with tokens that merge by their mean. Stages with a finer
    grid than the ViT's have windows, the others global attention.
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
    Loads the weights of a ViT into an encoder. A smaller patch gets the embedding that the ViT computes for the patch enlarged to its
    own size, each pixel to a square; position embeddings are interpolated.

    Args:
        encoder ([`GreenMimModel`]):
            An encoder with the configuration of [`make_hierarchy_config`].
        vit ([`PlainViT`]):
            The ViT.

    Raises:
        `ValueError`: if the ViT has other weights than the encoder has places for.
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
        weights[positions] = weights[positions][:, -old_grid[0] * old_grid[1] :]  # without that of the class token
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
            f"Cannot convert the ViT because {len(wrong)} of its weights are missing, unknown or of a different shape: "
            f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}. It must be a ViT with learned positions, a last norm, and "
            "neither scales nor norms inside of its branches."
        )
    encoder.load_state_dict(weights)


__all__ = ["PlainViT", "load_plain_vit", "load_vit_weights", "make_hierarchy_config"]
