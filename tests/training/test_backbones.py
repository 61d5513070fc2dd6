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
"""Backbones of segmenters and detectors: GreenMIM or Swin, pre-trained or with random weights."""

import pytest
import torch
from transformers import SwinConfig, SwinModel, ViTConfig

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling
from modeling_greenmim.training.backbones import BackboneArguments, load_backbone
from modeling_greenmim.training.errors import UserError


ENCODER = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": (1, 1, 1),
    "num_heads": (1, 2, 4),
    "window_size": 4,
}
DECODER = {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbones")
    config = GreenMimConfig(**ENCODER, **DECODER)
    config.save_pretrained(folder / "config")
    GreenMimForMaskedImageModeling(config).save_pretrained(folder / "greenmim" / "model")
    SwinModel(SwinConfig(**ENCODER)).save_pretrained(folder / "swin")
    ViTConfig().save_pretrained(folder / "vit")
    return folder


@pytest.mark.parametrize("name", ["greenmim/model", "swin"])
@pytest.mark.parametrize("num_stages", [None, 2])
def test_backbones_return_feature_maps_of_the_last_stages(folder, name, num_stages):
    backbone = load_backbone(BackboneArguments(model_name_or_path=str(folder / name)), num_stages)
    feature_maps = backbone.model(torch.randn(1, 3, 75, 51)).feature_maps  # grids of 19 x 13, 10 x 7 and 5 x 4
    expected = [(8, 19, 13), (16, 10, 7), (32, 5, 4)][-(num_stages or 0) :]
    assert [tuple(feature_map.shape[1:]) for feature_map in feature_maps] == expected


def test_backbones_from_a_configuration_have_no_weights(folder):
    backbone = load_backbone(BackboneArguments(config_name=str(folder / "config"), drop_path_rate=0.3))
    assert backbone.model is None and backbone.config.drop_path_rate == 0.3
    assert list(backbone.config.out_features) == ["stage1", "stage2", "stage3"]


@pytest.mark.parametrize(("name", "is_greenmim"), [("greenmim/model", True), ("swin", False)])
def test_usage_registers_greenmim_only(folder, name, is_greenmim):
    backbone = load_backbone(BackboneArguments(model_name_or_path=str(folder / name)))
    assert ("import modeling_greenmim" in backbone.get_usage("object-detection")) == is_greenmim


@pytest.mark.parametrize(
    ("settings", "num_stages", "message"),
    [
        ({"config_name": "config"}, 4, "has 3 stages, and 4 feature maps are needed"),
        ({"config_name": "vit"}, None, "must be a GreenMIM or a Swin, got the model type 'vit'"),
        ({"model_name_or_path": "greenmim"}, None, "is the folder of a run: its model is .*greenmim/model"),
        ({"model_name_or_path": "nowhere"}, None, "nowhere"),
    ],
    ids=["too few stages", "other architecture", "folder of a run", "no folder"],
)
def test_backbones_that_cannot_be_used_are_refused(folder, settings, num_stages, message):
    settings = {name: str(folder / value) for name, value in settings.items()}
    with pytest.raises(UserError, match=message):
        load_backbone(BackboneArguments(**settings), num_stages)


def test_a_backbone_must_be_given():
    with pytest.raises(UserError, match="Give --model_name_or_path, or"):
        BackboneArguments()
