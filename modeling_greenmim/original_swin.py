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
"""Checkpoint format of microsoft/Swin-Transformer, which SimMIM, LocalMIM, SPViT and mmdetection also read."""

import re
from pathlib import Path
from typing import Any

import torch

from .configuration_greenmim import GreenMimConfig
from .layout_greenmim import get_grid_size, get_stage_grids
from .modeling_greenmim import GreenMimForImageClassification, GreenMimModel
from .swin_families import get_family
from .timm_swin import check_for_timm, make_timm_arguments
from .timm_weights import make_timm_state_dict


def check_for_original(config: GreenMimConfig):
    """
    Raise a `ValueError` if the original Swin, or timm's, which is used to compare features, cannot run the model.
    """
    check_for_timm(config)
    grid = get_grid_size(config.image_height_and_width, config.patch_size)
    for stage, stage_grid in enumerate(get_stage_grids(grid, config.num_layers), start=1):
        window_size = min(config.window_size, *stage_grid)
        if any(side % window_size for side in stage_grid):
            raise ValueError(
                f"Cannot write the original format because the original Swin does not pad windows: in stage {stage}, "
                f"windows of {window_size} do not divide the grid ({stage_grid[0]} x {stage_grid[1]}). Set a "
                f"different `image_size` than {config.image_height_and_width} in config.json."
            )


def make_original_state_dict(model: GreenMimModel | GreenMimForImageClassification) -> dict[str, torch.Tensor]:
    """
    Rename the weights of a model to the names of the original Swin or Swin V2. They equal timm's names except for
    patch merging, which ends the previous stage, and the classifier.

    Args:
        model ([`GreenMimModel`] or [`GreenMimForImageClassification`]):
            Model to convert.

    Returns:
        `dict[str, torch.Tensor]`: weights with the original names.
    """
    encoder = model if isinstance(model, GreenMimModel) else model.greenmim
    weights = {
        re.sub(r"(\d+)\.downsample", lambda match: f"{int(match[1]) - 1}.downsample", name): tensor.contiguous()
        for name, tensor in make_timm_state_dict(encoder).items()
    }
    if isinstance(model, GreenMimForImageClassification):
        weights |= {f"head.{name}": tensor for name, tensor in model.classifier.state_dict().items()}
    return weights


def load_original_in_timm(path: Path, model: GreenMimModel | GreenMimForImageClassification) -> Any:
    """Load a file in the original format into timm's Swin. timm renames the weights itself."""
    import timm

    config = model.config
    num_classes = config.num_labels if isinstance(model, GreenMimForImageClassification) else 0
    source = {
        "file": str(path),
        "num_classes": num_classes,
        "input_size": (config.num_channels, *config.image_height_and_width),
    }
    return timm.create_model(
        get_family(config).timm_model,
        pretrained=True,
        pretrained_cfg_overlay=source,
        num_classes=num_classes,
        **make_timm_arguments(config),
    ).eval()


__all__ = ["check_for_original", "load_original_in_timm", "make_original_state_dict"]
