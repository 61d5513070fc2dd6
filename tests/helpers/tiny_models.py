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
"""Models with a few thousand weights, and images and masks for them."""

import pytest
import torch
from torch import nn

from modeling_greenmim import GreenMimConfig, sample_masks


# settings of a three-stage model of each family; Twins is Twins-SVT
FAMILIES = {
    "swin": {},
    "swin_v2": {
        "attention_similarity": "cosine",
        "position_bias": "continuous",
        "norm_placement": "after",
        "merging_norm_placement": "after",
    },
    "twins": {
        "token_mixers": [["window", "spatial_reduction"]] * 3,
        "position_bias": "none",
        "conditional_position_encoding": True,
        "merging_norm_placement": "after",
        "merging_bias": True,
        "layer_norm_eps": 1e-6,
        "embedding_norm_eps": 1e-5,
    },
}
# parameters of tests that take equally long for every family
FAMILY_ROWS = [name if name == "swin" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]


def make_config(**kwargs) -> GreenMimConfig:
    settings = {
        "image_size": 64,
        "patch_size": 2,
        "embed_dim": 16,
        "depths": (2, 2, 2),
        "num_heads": (1, 2, 4),
        "window_size": 4,
        "decoder_hidden_size": 32,
        "decoder_num_attention_heads": 4,
        "decoder_intermediate_size": 64,
    }
    return GreenMimConfig(**{**settings, **kwargs})


def randomize(model: nn.Module, std: float = 0.3) -> nn.Module:
    """Set weights far from the initial ones, so that biases, bias tables and norms all affect the outputs."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std, generator=generator)
    return model.eval()


def make_inputs(config, batch_size=2, image_size=None, mask_ratio=0.6, per_sample=True, sampler="random"):
    image_size = image_size or (config.image_size,) * 2
    grid = tuple(side // config.mask_unit_size for side in image_size)
    generator = torch.Generator().manual_seed(1)
    pixel_values = torch.randn(batch_size, config.num_channels, *image_size, generator=generator)
    mask = sample_masks(batch_size, grid, mask_ratio, sampler, seed=2, per_sample=per_sample)
    return pixel_values, torch.from_numpy(mask), grid
