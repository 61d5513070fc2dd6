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
"""Classification and backbone: equal to transformers' Swin with the same weights; their outputs and gradients."""

import math

import pytest
import torch
from transformers import (
    AutoModel,
    SwinBackbone,
    SwinConfig,
    SwinForImageClassification,
)

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    sample_masks,
)
from tests.helpers.tiny_models import make_config, make_inputs, randomize


STAGES = ["stem", "stage1", "stage2", "stage3"]


@pytest.mark.parametrize("image_size", [(64, 64), (75, 58), (32, 32), (32, 64)])
def test_classification_equals_swin(image_size):
    settings = {"image_size": 64, "patch_size": 2, "embed_dim": 16, "depths": (2, 2, 2), "num_heads": (1, 2, 4)}
    swin = randomize(SwinForImageClassification(SwinConfig(**settings, window_size=4, num_labels=5)), std=0.1)
    model = GreenMimForImageClassification(GreenMimConfig(**settings, window_size=4, num_labels=5)).eval()
    model.load_state_dict({name.replace("swin.", "greenmim."): tensor for name, tensor in swin.state_dict().items()})
    pixel_values, labels = torch.randn(3, 3, *image_size), torch.tensor([0, 4, 2])
    with torch.no_grad():
        expected = swin(pixel_values, labels=labels, output_hidden_states=True)
        actual = model(pixel_values, labels=labels, output_hidden_states=True)
    for name in ("loss", "logits", "hidden_states", "reshaped_hidden_states"):
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("out_features", [STAGES, ["stage2"], ["stem", "stage3"]])
@pytest.mark.parametrize(
    "image_size", [(64, 64), (75, 58), (32, 32), (32, 64), (24, 40)]
)  # the last grids: one window
def test_backbone_equals_swin(out_features, image_size):
    settings = {
        "image_size": 64,
        "patch_size": 2,
        "embed_dim": 16,
        "depths": (2, 2, 2),
        "num_heads": (1, 2, 4),
        "window_size": 4,
        "out_features": out_features,
    }
    swin = randomize(SwinBackbone(SwinConfig(**settings)), std=0.1)
    model = GreenMimBackbone(GreenMimConfig(**settings)).eval()
    weights = {name.removeprefix("swin."): tensor for name, tensor in swin.state_dict().items()}
    model.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("layernorm.")})
    pixel_values = torch.randn(2, 3, *image_size)
    with torch.no_grad():
        expected = swin(pixel_values, output_hidden_states=True)
        actual = model(pixel_values, output_hidden_states=True)
    assert len(actual.feature_maps) == len(model.channels) == len(out_features)
    for name in ("feature_maps", "hidden_states"):
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=2e-5)
    assert model(pixel_values).hidden_states is None


@pytest.mark.parametrize("model_class", [GreenMimForImageClassification, GreenMimBackbone])
def test_heads_for_full_images_raise_on_a_mask(model_class):
    model = model_class(make_config())
    pixel_values, mask, _ = make_inputs(model.config)
    with pytest.raises(ValueError, match="Cannot pass `bool_masked_pos` .*do_mask=False"):
        model(pixel_values, bool_masked_pos=mask)
    with pytest.raises(ValueError, match="Cannot pass `plan` to"):
        model(pixel_values, plan={})
    assert model(pixel_values, bool_masked_pos=None) is not None


def test_a_mask_as_labels_raises():
    model = GreenMimForImageClassification(make_config())
    pixel_values, mask, _ = make_inputs(model.config)
    with pytest.raises(ValueError, match="labels.*got Tensor of torch.bool"):
        model(pixel_values, mask)


@pytest.mark.parametrize("image_size", [(64, 96), (61, 67)])
def test_heads_interpolate_absolute_positions(image_size):
    """A backbone always does, because frameworks pass no keywords; a classifier does on request."""
    settings = {"use_absolute_embeddings": True, "out_features": ["stage1"], "num_labels": 2}
    backbone = randomize(GreenMimBackbone(make_config(**settings)))
    classifier = randomize(GreenMimForImageClassification(make_config(**settings)))
    pixel_values = torch.randn(1, 3, *image_size)
    grid = tuple(-(-side // 2) for side in image_size)
    assert backbone(pixel_values).feature_maps[0].shape == (1, 16, *grid)
    with pytest.raises(ValueError, match=f"32 x 32 patches.*{grid[0]} x {grid[1]}.*interpolate_pos_encoding=True"):
        classifier(pixel_values)
    assert classifier(pixel_values, interpolate_pos_encoding=True).logits.shape == (1, 2)


@pytest.mark.parametrize("num_channels", [1, 4, 13])
def test_models_take_images_of_any_number_of_channels(num_channels):
    config = make_config(num_channels=num_channels, num_labels=2, out_features=["stage1"])
    pixel_values, mask, _ = make_inputs(config)
    assert pixel_values.shape[1] == num_channels
    assert GreenMimForImageClassification(config)(pixel_values).logits.shape == (2, 2)
    assert GreenMimBackbone(config)(pixel_values).feature_maps[0].shape == (2, 16, 32, 32)
    pretraining = GreenMimForMaskedImageModeling(config)
    outputs = pretraining(pixel_values, mask)
    assert outputs.loss.isfinite()
    assert pretraining.reconstruct(pixel_values, outputs).shape == pixel_values.shape


def test_masks_of_a_larger_model_match_its_grid():
    """The unit grid follows the input image, not the configuration's image size."""
    config = make_config()
    model = GreenMimModel(config)
    mask = torch.from_numpy(sample_masks(1, (12, 20), 0.75, seed=0))
    outputs = model(torch.randn(1, 3, 96, 160), bool_masked_pos=mask)
    assert outputs.last_hidden_state.shape == (1, math.floor(240 * 0.25), 64)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("from_config", [False, True])
def test_hidden_states_and_attentions_are_recorded(masked, from_config):
    config = make_config(attn_implementation="eager")
    keywords = {"output_hidden_states": True, "output_attentions": True}
    if from_config:
        config.output_hidden_states, config.output_attentions, keywords = True, True, {}
    model = GreenMimForMaskedImageModeling(config).eval()
    pixel_values, mask, _ = make_inputs(config)
    outputs = model(pixel_values, mask if masked else None, **keywords)
    assert len(outputs.hidden_states) == 4 and len(outputs.attentions) == 3
    assert (outputs.reshaped_hidden_states is None) == masked


@pytest.mark.parametrize("attn_implementation", ["flash_attention_2", "flex_attention"])
def test_attention_without_a_bias_raises(attn_implementation):
    with pytest.raises((ValueError, ImportError), match="[Ff]lash|[Ff]lex"):
        AutoModel.from_config(make_config(), attn_implementation=attn_implementation)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("model_class", [GreenMimForImageClassification, GreenMimBackbone])
def test_gradient_checkpointing_keeps_gradients_of_heads(model_class, use_reentrant):
    torch.manual_seed(0)
    model = model_class(make_config(out_features=["stage1", "stage3"], num_labels=2)).train()
    pixel_values = torch.randn(2, 3, 64, 64)

    def get_gradients():
        model.zero_grad()
        outputs = model(pixel_values)
        tensors = outputs.feature_maps if model_class is GreenMimBackbone else [outputs.logits]
        sum(tensor.square().mean() for tensor in tensors).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    expected = get_gradients()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    torch.testing.assert_close(get_gradients(), expected)


def test_every_parameter_of_a_backbone_is_used():
    """If the last stage is requested, no parameter stays unused that distributed training would wait for."""
    model = GreenMimBackbone(make_config(out_features=["stem", "stage3"]))
    sum(feature_map.square().mean() for feature_map in model(torch.randn(1, 3, 64, 64)).feature_maps).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
