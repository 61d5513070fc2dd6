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
"""Convert weights between timm's Swins and GreenMIM: names, and shapes where they differ."""

import re

import torch

from .bias_tables import center_table, cut_table
from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_grid_size, get_stage_grids
from .modeling_greenmim import GreenMimModel
from .swin_families import get_family


# Patterns in GreenMIM's weight names and their replacements in timm. Each family adds its own.
_WEIGHT_NAMES = {
    r"^embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"^embeddings\.norm\.": "patch_embed.norm.",
    r"^encoder\.layers\.": "layers.",
    r"\.attention\.o_proj\.": ".attn.proj.",
    r"\.layernorm_before\.": ".norm1.",
    r"\.layernorm_after\.": ".norm2.",
    r"^layernorm\.": "norm.",
}


def _get_names(encoder: GreenMimModel) -> dict[str, list[str]]:
    """For each timm weight, the names of the GreenMIM weights that are concatenated to form it, in order."""
    names: dict[str, list[str]] = {}
    for name in encoder.state_dict():
        timm_name = name
        for pattern, replacement in {**_WEIGHT_NAMES, **get_family(encoder.config).timm_weight_names}.items():
            timm_name = re.sub(pattern, replacement, timm_name)
        # In timm, merging is at the start of the next stage
        timm_name = re.sub(r"(\d+)\.downsample", lambda match: f"{int(match[1]) + 1}.downsample", timm_name)
        names.setdefault(timm_name, []).append(name)
    return names


def _get_table_grid(name: str, config: GreenMimConfig) -> tuple[int, int] | None:
    """Grid of the stage that a relative position bias table belongs to, or `None` for other weights."""
    if not name.endswith("relative_position_bias_table"):
        return None
    grid = get_grid_size(config.image_height_and_width, config.patch_size)
    return get_stage_grids(grid, config.num_layers)[int(name.split(".")[1])]


def make_timm_state_dict(encoder: GreenMimModel) -> dict[str, torch.Tensor]:
    """
    Convert an encoder's weights to timm's Swin or Swin V2: queries, keys and values in one matrix, merging at the
    start of the next stage, and tables no larger than the windows that fit into a stage's grid.

    Args:
        encoder ([`GreenMimModel`]):
            Encoder to convert.

    Returns:
        `dict[str, torch.Tensor]`: weights with timm's names.
    """
    ours, weights = encoder.state_dict(), {}
    for timm_name, names in _get_names(encoder).items():
        tensor = torch.cat([ours[name] for name in names]) if len(names) > 1 else ours[names[0]]
        grid = _get_table_grid(timm_name, encoder.config)
        weights[timm_name] = tensor if grid is None else cut_table(tensor, grid)
    return weights


def load_timm_weights(encoder: GreenMimModel, weights: dict[str, torch.Tensor]):
    """
    Load the weights of a timm Swin into an encoder; the inverse of [`make_timm_state_dict`].

    Args:
        encoder ([`GreenMimModel`]):
            Encoder to load into.
        weights (`dict[str, torch.Tensor]`):
            Weights with timm's names.
    """
    ours: dict[str, torch.Tensor] = {}
    for timm_name, names in _get_names(encoder).items():
        tensor, grid = weights[timm_name], _get_table_grid(timm_name, encoder.config)
        if grid is not None:
            tensor = center_table(tensor, encoder.config.window_size, grid)
        ours.update(zip(names, tensor.chunk(len(names))))
    encoder.load_state_dict(ours)


__all__ = ["load_timm_weights", "make_timm_state_dict"]
