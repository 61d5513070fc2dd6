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
"""Convert settings between timm's Swins and GreenMIM."""

from pathlib import Path
from typing import Any

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_grid_size, get_stage_grids
from .swin_families import FAMILIES, get_family
from .timm_folders import TIMM_INTERPOLATIONS, load_timm_model


def load_timm_swin(checkpoint_path: str | Path) -> Any:
    """Load a timm Swin, see [`load_timm_model`]. Raises a `ValueError` if it is a different model."""
    model = load_timm_model(checkpoint_path)
    if type(model).__name__ not in [family.timm_class for family in FAMILIES]:
        raise ValueError(f"{checkpoint_path} must contain a timm Swin or Swin V2, got a {type(model).__name__}.")
    return model


def read_timm_config(model: Any) -> GreenMimConfig:
    """Convert a timm Swin's settings to a GreenMIM configuration. Raises a `ValueError` if that is impossible."""
    family = next(family for family in FAMILIES if family.timm_class == type(model).__name__)
    stages = [list(stage.blocks) for stage in model.layers]
    first = stages[0][0]
    window_size = max(max(blocks[0].window_size) for blocks in stages)
    settings = dict(family.settings)
    if family.has_window_sizes:
        window_sizes = [blocks[0].attn.pretrained_window_size[0] for blocks in stages]
        settings["pretrained_window_sizes"] = window_sizes if any(window_sizes) else None
    has_bias = first.attn.qkv.bias is not None or getattr(first.attn, "q_bias", None) is not None
    config = GreenMimConfig(
        **settings,
        image_size=list(model.patch_embed.img_size),
        patch_size=model.patch_embed.patch_size[0],
        num_channels=model.patch_embed.proj.in_channels,
        embed_dim=model.patch_embed.proj.out_channels,
        depths=[len(blocks) for blocks in stages],
        num_heads=[blocks[0].attn.num_heads for blocks in stages],
        window_size=window_size,
        mlp_ratio=first.mlp.fc1.out_features / first.mlp.fc1.in_features,
        qkv_bias=has_bias,
        layer_norm_eps=model.norm.eps,
    )
    grids = get_stage_grids(get_grid_size(config.image_height_and_width, config.patch_size), config.num_layers)
    for stage, (blocks, grid) in enumerate(zip(stages, grids), start=1):
        if tuple(blocks[0].window_size) != tuple(min(window_size, side) for side in grid):
            raise ValueError(
                f"The Swin's windows must be {window_size}, or the grid's size, in all stages, got "
                f"{tuple(blocks[0].window_size)} in stage {stage}."
            )
    check_for_timm(config)
    return config


def read_timm_image_processor_settings(model: Any) -> dict:
    """Settings of a transformers image processor that prepares images as timm does for a model."""
    settings, (height, width) = model.pretrained_cfg, model.patch_embed.img_size
    interpolations = {name: number for number, name in TIMM_INTERPOLATIONS.items()}
    return {
        "size": {"shortest_edge": int(min(height, width) / settings["crop_pct"])},
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "resample": interpolations.get(settings["interpolation"], 3),
        "image_mean": list(settings["mean"]),
        "image_std": list(settings["std"]),
    }


def check_for_timm(config: GreenMimConfig):
    """Raise a `ValueError` for settings that timm's Swins do not support or handle differently."""
    if config.use_absolute_embeddings or config.hidden_act != "gelu":
        raise ValueError(
            "For timm's Swins, `use_absolute_embeddings` must be `False` and `hidden_act` must be 'gelu', got "
            f"`{config.use_absolute_embeddings}` and {config.hidden_act!r}. Publish the model with its own code instead: "
            "`python -m modeling_greenmim.publish`."
        )
    if any(side % config.patch_size for side in config.image_height_and_width):
        raise ValueError(
            f"The sides of `image_size` must be multiples of {config.patch_size} because timm crops incomplete "
            f"patches, while transformers and this model pad them, got {config.image_height_and_width}. Set a "
            "different `image_size` in config.json."
        )
    grid = tuple(side // config.patch_size for side in config.image_height_and_width)
    for stage, stage_grid in enumerate(get_stage_grids(grid, config.num_layers), start=1):
        if min(stage_grid) <= config.window_size < max(stage_grid):
            raise ValueError(
                f"Cannot use timm's Swin because in stage {stage} only one side of the grid ({stage_grid[0]} x "
                f"{stage_grid[1]}) is longer than the window ({config.window_size}): timm shifts windows along that "
                "side, while transformers and this model do not. Set a different `image_size` than "
                f"{config.image_height_and_width} in config.json."
            )
        if config.position_bias == "continuous" and min(stage_grid) < min(config.window_size, max(stage_grid)):
            raise ValueError(
                f"Cannot use timm's Swin because in stage {stage} windows of {config.window_size} are clipped to a "
                f"grid that is not square ({stage_grid[0]} x {stage_grid[1]}): timm normalizes the offsets of each "
                f"side separately. Set a different `image_size` than {config.image_height_and_width} in config.json."
            )
        num_padding = [-side % config.window_size for side in stage_grid]
        if min(stage_grid) > config.window_size and any(
            2 * number not in (0, config.window_size) for number in num_padding
        ):
            raise ValueError(
                f"Cannot use timm's Swin because in stage {stage} windows of {config.window_size} do not divide the "
                f"grid ({stage_grid[0]} x {stage_grid[1]}): timm pads the last windows after the shift, transformers "
                f"and this model before it. Set a different `image_size` than {config.image_height_and_width} in "
                "config.json."
            )


def make_timm_arguments(config: GreenMimConfig) -> dict:
    """Arguments that give timm's Swin the architecture of an encoder."""
    window_sizes = {"pretrained_window_sizes": config.pretrained_window_sizes or [0] * config.num_layers}
    return {
        "img_size": list(config.image_height_and_width),
        "patch_size": config.patch_size,
        "in_chans": config.num_channels,
        "embed_dim": config.embed_dim,
        "depths": list(config.depths),
        "num_heads": list(config.num_heads),
        "window_size": config.window_size,
        "mlp_ratio": config.mlp_ratios[0],
        "qkv_bias": config.qkv_bias,
        **(window_sizes if get_family(config).has_window_sizes else {}),
    }


__all__ = [
    "check_for_timm",
    "load_timm_swin",
    "make_timm_arguments",
    "read_timm_config",
    "read_timm_image_processor_settings",
]
