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
"""Weight decay and learning rates by layer, for GreenMIM and transformers' Swin."""

import pytest
from transformers import (
    SwinConfig,
    SwinForImageClassification,
    SwinForMaskedImageModeling,
    Swinv2Config,
    Swinv2ForImageClassification,
)

from modeling_greenmim import GreenMimConfig, GreenMimForImageClassification, GreenMimForMaskedImageModeling
from modeling_greenmim.parameter_groups import get_decay_parameter_names, get_layer_index, make_parameter_groups
from tests.helpers.tiny_models import FAMILIES


SETTINGS = {"embed_dim": 12, "depths": (2, 1, 3), "num_heads": (1, 2, 3), "image_size": 64, "window_size": 4}
MODELS = [
    GreenMimForMaskedImageModeling(GreenMimConfig(**SETTINGS, use_absolute_embeddings=True)),
    *(GreenMimForImageClassification(GreenMimConfig(**SETTINGS, **family)) for family in FAMILIES.values()),
    SwinForImageClassification(SwinConfig(**SETTINGS, use_absolute_embeddings=True)),
    SwinForMaskedImageModeling(SwinConfig(**SETTINGS, encoder_stride=16)),
    Swinv2ForImageClassification(Swinv2Config(**SETTINGS)),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_matrices_decay_and_nothing_else(model):
    decayed = set(get_decay_parameter_names(model))
    for name, parameter in model.named_parameters():
        kinds = ("norm", "bias", "token", "position_embeddings", "position_encoding", "logit_scale")
        assert (name in decayed) == (parameter.ndim > 1 and not any(kind in name for kind in kinds)), name


@pytest.mark.parametrize("layer_decay", [1.0, 0.7])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_every_parameter_is_in_one_group(model, layer_decay):
    groups = make_parameter_groups(model, 1e-3, 0.05, layer_decay)
    parameters = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(parameters) == sorted(map(id, model.parameters()))
    assert {group["weight_decay"] for group in groups} == {0.0, 0.05}
    rates = sorted({group["lr"] for group in groups}, reverse=True)
    expected = [1e-3 * layer_decay**layer for layer in range(8)] if layer_decay < 1 else [1e-3]
    assert rates == pytest.approx(expected)


def test_frozen_parameters_are_left_out():
    model = GreenMimForImageClassification(GreenMimConfig(**SETTINGS))
    model.greenmim.requires_grad_(False)
    groups = make_parameter_groups(model, 1e-3, 0.05)
    assert {id(parameter) for group in groups for parameter in group["params"]} == set(
        map(id, model.classifier.parameters())
    )


def test_layers_of_a_hierarchy():
    expected = {
        "greenmim.embeddings.patch_embeddings.projection.weight": 0,
        "swin.embeddings.norm.bias": 0,
        "greenmim.encoder.layers.0.blocks.0.attention.q_proj.weight": 1,
        "greenmim.encoder.layers.0.blocks.1.mlp.fc1.weight": 2,
        "greenmim.encoder.layers.0.position_encoding.convolution.weight": 1,
        "greenmim.encoder.layers.0.blocks.1.attention.reduction.weight": 2,
        "greenmim.encoder.layers.0.blocks.1.attention.norm.weight": 2,
        "greenmim.encoder.layers.0.downsample.reduction.weight": 2,
        "greenmim.encoder.layers.1.blocks.0.mlp.fc1.weight": 3,
        "greenmim.encoder.layers.1.downsample.norm.weight": 3,
        "greenmim.encoder.layers.2.position_encoding.convolution.bias": 4,
        "swin.encoder.layers.2.blocks.2.layernorm_after.weight": 6,
        "greenmim.layernorm.weight": 7,
        "classifier.weight": 7,
        "decoder.decoder_layers.0.mlp.fc1.weight": 7,
    }
    assert {name: get_layer_index(name, SETTINGS["depths"]) for name in expected} == expected
    assert expected.keys() <= {name for model in MODELS for name, _ in model.named_parameters()}
