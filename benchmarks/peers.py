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
"""Models to compare: each has a name, a module and inputs for its next training step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn
from transformers import (
    HieraConfig,
    HieraForPreTraining,
    SwinConfig,
    SwinForMaskedImageModeling,
    SwinModel,
    Swinv2Config,
    Swinv2ForMaskedImageModeling,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)

from modeling_greenmim import (
    GreenMimConfig,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
    sample_masks,
)
from modeling_greenmim.planning_greenmim import measure_group_shapes, move_plan


SWIN_SIZES = {
    "tiny": {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "window_size": 7},
    "small": {"embed_dim": 96, "depths": (2, 2, 18, 2), "num_heads": (3, 6, 12, 24), "window_size": 7},
    "base": {"embed_dim": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32), "window_size": 7},
    "large": {"embed_dim": 192, "depths": (2, 2, 18, 2), "num_heads": (6, 12, 24, 48), "window_size": 14},
}
# As in the Twins paper: Twins-SVT-small is compared with Swin-tiny, base with small, large with base
TWINS_SIZES = {
    "tiny": {"embed_dim": 64, "depths": (2, 2, 10, 4), "num_heads": (2, 4, 8, 16), "window_size": 7},
    "small": SWIN_SIZES["small"],
    "base": SWIN_SIZES["base"],
}
PCPVT_DEPTHS = {"tiny": (3, 4, 6, 3), "small": (3, 4, 18, 3), "base": (3, 8, 27, 3)}
HIERA_SIZES = {
    "tiny": {"embed_dim": 96, "depths": (1, 2, 7, 2)},
    "small": {"embed_dim": 96, "depths": (1, 2, 11, 2)},
    "base": {"embed_dim": 96, "depths": (2, 3, 16, 3)},
    "large": {"embed_dim": 144, "num_heads": (2, 4, 8, 16), "depths": (2, 6, 36, 4)},
}
VIT_SIZES = {
    "tiny": {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768},
    "small": {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
    "base": {},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}

# Settings of the other encoder families
SWIN_V2 = {
    "attention_similarity": "cosine",
    "position_bias": "continuous",
    "norm_placement": "after",
    "merging_norm_placement": "after",
}
TWINS = {
    "position_bias": "none",
    "conditional_position_encoding": True,
    "merging_norm_placement": "after",
    "merging_bias": True,
}
TWINS_SVT = {**TWINS, "token_mixers": [["window", "spatial_reduction"]] * 4}
TWINS_PCPVT = {
    **TWINS,
    "token_mixers": [["spatial_reduction"]] * 4,
    "embed_dim": 64,
    "hidden_sizes": (64, 128, 320, 512),
    "num_heads": (1, 2, 5, 8),
    "mlp_ratio": (8.0, 8.0, 4.0, 4.0),
}
# As in LocalMIM, early stages, which have many cells, get narrow decoders
ALL_STAGES = {
    "decoder_stages": [1, 2, 3, 4],
    "decoder_hidden_size": [64, 128, 256, 256],
    "decoder_num_attention_heads": [2, 4, 8, 8],
    "decoder_intermediate_size": [256, 512, 1024, 1024],
}
# Objectives: targets of the decoders, their stages and their attention
OBJECTIVES = {
    "hog": {"reconstruction_target": "hog"},
    "all_stages": ALL_STAGES,
    "hog_all_stages": ALL_STAGES | {"reconstruction_target": "hog"},
    "cross": {"decoder_attention": "cross"},
    "cross_quarter": {"decoder_attention": "cross", "decoder_hidden_ratio": 0.25},
    "cross_all_stages": ALL_STAGES | {"decoder_attention": "cross"},
}


@dataclass
class Setting:
    """
    Settings shared by all models of a comparison. `mask_ratio` applies to GreenMIM; Hiera and ViT-MAE keep their own
    defaults. `window_size` defaults to the value of the model size. With `static_plans`, all GreenMIM plans have the
    same shapes.
    """

    model_size: str = "tiny"
    image_size: int = 224
    batch_size: int = 8
    attn_implementation: str = "sdpa"
    mask_ratio: float = 0.75
    per_sample: bool = False
    device: str = "cpu"
    window_size: int | None = None
    static_plans: bool = False

    def get_swin_size(self) -> dict:
        size = SWIN_SIZES[self.model_size]
        return size if self.window_size is None else {**size, "window_size": self.window_size}


@dataclass
class Peer:
    """A model, and a function that makes the inputs of a step, including masks and plan, on the device."""

    module: nn.Module
    make_inputs: Callable[[int], dict]
    get_loss: Callable[[object], torch.Tensor] = lambda outputs: outputs.loss


def make_pixel_values(setting: Setting) -> torch.Tensor:
    shape = (setting.batch_size, 3, setting.image_size, setting.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(setting.device)


def make_unit_mask(setting: Setting, step: int) -> torch.Tensor:
    grid = (setting.image_size // 32,) * 2
    masks = sample_masks(setting.batch_size, grid, setting.mask_ratio, seed=step, per_sample=setting.per_sample)
    return torch.from_numpy(masks)


def make_greenmim(setting: Setting, **fields) -> Peer:
    """
    GreenMIM, by default with the paper's architecture and objective. Every step has a new mask, and its plan is made
    in the timed step, not in a loader worker.
    """
    settings = {"image_size": setting.image_size, "attn_implementation": setting.attn_implementation}
    config = GreenMimConfig(**{**setting.get_swin_size(), **settings, **fields})
    pixel_values, shapes = make_pixel_values(setting), None
    if setting.static_plans:
        shapes = measure_group_shapes(config, setting.batch_size, setting.mask_ratio)

    def make_inputs(step: int) -> dict:
        mask = make_unit_mask(setting, step)
        plan = move_plan(make_plan(mask, config, group_shapes=shapes), setting.device)
        return {"pixel_values": pixel_values, "bool_masked_pos": mask.to(setting.device), "plan": plan}

    return Peer(GreenMimForMaskedImageModeling(config), make_inputs)


def make_greenmim_shared_mask(setting: Setting) -> Peer:
    """GreenMIM with one mask for all images of a batch."""
    return make_greenmim(replace(setting, per_sample=False))


def make_greenmim_twins_svt(setting: Setting) -> Peer:
    """GreenMIM with a Twins-SVT."""
    return make_greenmim(setting, **TWINS_SVT, **TWINS_SIZES[setting.model_size])


def make_greenmim_twins_pcpvt(setting: Setting) -> Peer:
    """GreenMIM with a Twins-PCPVT, which has no windows."""
    return make_greenmim(setting, **TWINS_PCPVT, depths=PCPVT_DEPTHS[setting.model_size])


def make_patch_mask(setting: Setting, step: int) -> torch.Tensor:
    """Expand the unit mask to patches of 4 pixels."""
    grid = setting.image_size // 32
    mask = make_unit_mask(setting, step).view(-1, grid, grid)
    return mask.repeat_interleave(8, 1).repeat_interleave(8, 2).flatten(1).to(setting.device)


def make_simmim(setting: Setting, config_class=SwinConfig, model_class=SwinForMaskedImageModeling) -> Peer:
    """SimMIM on transformers' Swin: the full grid, mask tokens included. No drop path, like GreenMIM."""
    config = config_class(
        **setting.get_swin_size(),
        image_size=setting.image_size,
        drop_path_rate=0.0,
        attn_implementation=setting.attn_implementation,
    )
    pixel_values = make_pixel_values(setting)

    def make_inputs(step: int) -> dict:
        return {"pixel_values": pixel_values, "bool_masked_pos": make_patch_mask(setting, step)}

    return Peer(model_class(config), make_inputs)


def make_simmim_swin_v2(setting: Setting) -> Peer:
    """SimMIM on transformers' Swin V2, which has only eager attention."""
    return make_simmim(replace(setting, attn_implementation="eager"), Swinv2Config, Swinv2ForMaskedImageModeling)


class TwinsForMaskedImageModeling(nn.Module):
    """SimMIM on timm's Twins: mask tokens instead of hidden patches, and a linear pixel decoder."""

    def __init__(self, image_size: int, embed_dim: int, depths: tuple, num_heads: tuple, window_size: int):
        super().__init__()
        from timm.models.twins import Twins  # only this row needs timm

        widths = [embed_dim * 2**stage for stage in range(len(depths))]
        options = {"wss": [window_size] * len(depths), "num_classes": 0, "global_pool": ""}
        self.encoder = Twins(image_size, embed_dims=widths, num_heads=num_heads, depths=depths, **options)
        self.mask_token = nn.Parameter(torch.zeros(embed_dim))
        self.decoder = nn.Linear(widths[-1], 3 * 32**2)
        self.encoder.patch_embeds[0].register_forward_hook(self.hide_patches)

    def hide_patches(self, module, args, output):
        tokens, size = output
        return torch.where(self.bool_masked_pos[..., None], self.mask_token.to(tokens.dtype), tokens), size

    def forward(self, pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor) -> torch.Tensor:
        self.bool_masked_pos = bool_masked_pos
        pixels = self.decoder(self.encoder(pixel_values)).transpose(1, 2)
        height, width = (side // 32 for side in pixel_values.shape[-2:])
        pixels = nn.functional.pixel_shuffle(pixels.unflatten(-1, (height, width)), 32)
        hidden = bool_masked_pos.view(-1, 1, 8 * height, 8 * width).repeat_interleave(4, 2).repeat_interleave(4, 3)
        return ((pixels - pixel_values).abs() * hidden).sum() / hidden.sum() / 3


def make_simmim_twins_svt(setting: Setting) -> Peer:
    """SimMIM on timm's Twins-SVT. Its attention is always fused, regardless of `attn_implementation`."""
    pixel_values = make_pixel_values(setting)

    def make_inputs(step: int) -> dict:
        mask = make_patch_mask(setting, step).expand(setting.batch_size, -1)
        return {"pixel_values": pixel_values, "bool_masked_pos": mask}

    model = TwinsForMaskedImageModeling(setting.image_size, **TWINS_SIZES[setting.model_size])
    return Peer(model, make_inputs, lambda loss: loss)


def make_hiera(setting: Setting) -> Peer:
    config = HieraConfig(
        **HIERA_SIZES[setting.model_size],
        image_size=(setting.image_size, setting.image_size),
        decoder_hidden_size=512,
        decoder_depth=8,
        decoder_num_heads=16,
    )
    pixel_values = make_pixel_values(setting)
    return Peer(HieraForPreTraining(config), lambda step: {"pixel_values": pixel_values})


def make_vit_mae(setting: Setting) -> Peer:
    config = ViTMAEConfig(
        **VIT_SIZES[setting.model_size],
        image_size=setting.image_size,
        attn_implementation=setting.attn_implementation,
    )
    pixel_values = make_pixel_values(setting)
    return Peer(ViTMAEForPreTraining(config), lambda step: {"pixel_values": pixel_values})


def make_swin_full(setting: Setting) -> Peer:
    """transformers' Swin encoder on full images, with the mean of its output as the loss."""
    config = SwinConfig(
        **setting.get_swin_size(),
        image_size=setting.image_size,
        drop_path_rate=0.0,
        attn_implementation=setting.attn_implementation,
    )
    pixel_values = make_pixel_values(setting)
    return Peer(SwinModel(config), lambda step: {"pixel_values": pixel_values}, lambda out: out.pooler_output.mean())


def make_greenmim_full(setting: Setting) -> Peer:
    """GreenMIM's encoder on full images, with the mean of its output as the loss."""
    config = GreenMimConfig(
        **setting.get_swin_size(),
        image_size=setting.image_size,
        attn_implementation=setting.attn_implementation,
    )
    pixel_values = make_pixel_values(setting)
    return Peer(
        GreenMimModel(config), lambda step: {"pixel_values": pixel_values}, lambda out: out.pooler_output.mean()
    )


PEERS = {
    "greenmim": make_greenmim,
    "greenmim_shared_mask": make_greenmim_shared_mask,
    **{f"greenmim_{name}": partial(make_greenmim, **objective) for name, objective in OBJECTIVES.items()},
    "greenmim_swin_v2": partial(make_greenmim, **SWIN_V2),
    "greenmim_twins_svt": make_greenmim_twins_svt,
    "greenmim_twins_pcpvt": make_greenmim_twins_pcpvt,
    "simmim": make_simmim,
    "simmim_swin_v2": make_simmim_swin_v2,
    "simmim_twins_svt": make_simmim_twins_svt,
    "hiera": make_hiera,
    "vit_mae": make_vit_mae,
    "greenmim_full": make_greenmim_full,
    "swin_full": make_swin_full,
}
