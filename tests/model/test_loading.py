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
Checkpoints load into different architectures, with different window and image sizes and settings, and on different
devices.
"""

import json

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
)
from transformers.utils import logging

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
)
from modeling_greenmim.position_bias_greenmim import interpolate_relative_position_bias_table
from tests.helpers.tiny_models import make_config, make_inputs, randomize


@pytest.fixture
def warnings_of_transformers(monkeypatch):
    """Capture the warnings of transformers and of this package's logger."""
    messages = []
    for name in ("warning", "error"):
        monkeypatch.setattr(
            logging.logging.Logger, name, lambda self, message, *args, **kwargs: messages.append(str(message))
        )
    return messages


def test_every_model_starts_from_pretraining(tmp_path, warnings_of_transformers):
    """Encoder weights are always loaded, and only new weights are reported."""
    pretrained = randomize(GreenMimForMaskedImageModeling(make_config()))
    pretrained.save_pretrained(tmp_path / "mim")
    encoder = AutoModel.from_pretrained(tmp_path / "mim")
    assert warnings_of_transformers == []
    encoder.save_pretrained(tmp_path / "encoder")
    for folder in ("mim", "encoder"):
        classifier, loaded = AutoModelForImageClassification.from_pretrained(
            tmp_path / folder, num_labels=7, output_loading_info=True
        )
        assert (
            set(loaded["missing_keys"]) == {"classifier.weight", "classifier.bias"} and not loaded["unexpected_keys"]
        )
        backbone, loaded = GreenMimBackbone.from_pretrained(
            tmp_path / folder, out_features=["stage3"], output_loading_info=True
        )
        assert {name.split(".")[0] for name in loaded["missing_keys"]} == {"hidden_states_norms"}
        assert not loaded["unexpected_keys"]
        for name, parameter in pretrained.greenmim.named_parameters():
            assert torch.equal(classifier.greenmim.get_parameter(name), parameter)
            if not name.startswith("layernorm."):
                assert torch.equal(backbone.get_parameter(name), parameter)


def test_a_backbone_starts_from_a_classifier(tmp_path):
    classifier = randomize(GreenMimForImageClassification(make_config(num_labels=4)))
    classifier.save_pretrained(tmp_path)
    backbone, loaded = GreenMimBackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert not loaded["unexpected_keys"]
    table = "encoder.layers.1.blocks.1.attention.relative_position_bias.relative_position_bias_table"
    assert torch.equal(backbone.get_parameter(table), classifier.greenmim.get_parameter(table))
    backbone.save_pretrained(tmp_path / "backbone")
    again = GreenMimBackbone.from_pretrained(tmp_path / "backbone")
    assert all(torch.equal(first, second) for first, second in zip(backbone.parameters(), again.parameters()))


def test_a_table_is_interpolated_by_offset():
    """
    A table that is linear in the offsets stays linear; the offset of a token to itself, at the center, keeps its
    value.
    """
    offsets = torch.arange(-6.0, 7.0)
    table = torch.stack([offsets[:, None] + 0 * offsets, 0 * offsets[:, None] + 3 * offsets], dim=-1).flatten(0, 1)
    larger = interpolate_relative_position_bias_table(table, 12).view(23, 23, 2)
    steps = torch.arange(-11.0, 12.0) * 13 / 23
    inner = slice(2, -2)  # bicubic interpolation repeats the border
    # a bicubic filter keeps lines up to a twentieth of a step
    torch.testing.assert_close(larger[inner, 11, 0], steps[inner], rtol=0, atol=0.05)
    torch.testing.assert_close(larger[11, inner, 1], 3 * steps[inner], rtol=0, atol=0.15)
    torch.testing.assert_close(larger[11, 11], torch.zeros(2), rtol=0, atol=1e-5)
    assert torch.equal(interpolate_relative_position_bias_table(table, 7), table)
    with pytest.raises(ValueError, match=r"\(2 \* window_size - 1\)\*\*2 rows.*170"):
        interpolate_relative_position_bias_table(torch.zeros(170, 3), 12)


def interpolate_by_hand(table):
    maps = table.float().t().reshape(1, -1, 13, 13)
    return nn.functional.interpolate(maps, size=(23, 23), mode="bicubic").reshape(-1, 529).t().to(table.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("auto", [False, True])
def test_a_checkpoint_loads_at_a_different_window_and_image_size(tmp_path, warnings_of_transformers, auto, dtype):
    """From window 7 at 224 pixels to window 12 at 384, as is common for Swin."""
    settings = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 1, 2, 2)}
    pretrained = randomize(GreenMimForMaskedImageModeling(GreenMimConfig(**settings)), std=0.1).to(dtype)
    pretrained.save_pretrained(tmp_path / "pretrained", max_shard_size="50KB")
    model_class = AutoModelForImageClassification if auto else GreenMimForImageClassification
    for _ in range(2):  # reported at every loading
        warnings_of_transformers.clear()
        model = model_class.from_pretrained(tmp_path / "pretrained", window_size=12, image_size=384).eval()
        (said,) = [message for message in warnings_of_transformers if "interpolated" in message]
        assert "windows of 7" in said and "windows of 12" in said
    assert model.dtype == dtype
    for name, parameter in pretrained.greenmim.named_parameters():
        is_table = name.endswith("relative_position_bias_table")
        expected = interpolate_by_hand(parameter) if is_table else parameter
        loaded = model.greenmim.get_parameter(name)
        assert loaded.is_contiguous()
        torch.testing.assert_close(loaded, expected, rtol=0, atol=1e-6, msg=name)

    pixel_values = torch.randn(1, 3, 384, 384, dtype=dtype)
    with torch.no_grad():
        expected = model(pixel_values).logits
        model.save_pretrained(tmp_path / "larger")
        warnings_of_transformers.clear()
        again = model_class.from_pretrained(tmp_path / "larger").eval()
        assert warnings_of_transformers == []
        assert again.config.window_size == 12 and again.config.image_size == 384
        assert torch.equal(again(pixel_values).logits, expected)


def test_pretraining_resumes_at_a_different_size(tmp_path):
    pretrained = randomize(GreenMimForMaskedImageModeling(make_config(window_size=7)), std=0.1)
    pretrained.save_pretrained(tmp_path)
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path, window_size=12, image_size=96)
    name = "greenmim.encoder.layers.1.blocks.1.attention.relative_position_bias.relative_position_bias_table"
    expected = interpolate_by_hand(pretrained.get_parameter(name))
    torch.testing.assert_close(model.get_parameter(name), expected, rtol=0, atol=1e-6)
    pixel_values, mask, _ = make_inputs(model.config)
    assert model(pixel_values, mask).loss.isfinite()


def test_tensors_that_cannot_be_interpolated_raise(tmp_path):
    """Absolute position embeddings do not record their grid, so they are interpolated in the forward instead."""
    GreenMimModel(make_config(use_absolute_embeddings=True)).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="mismatch"):
        GreenMimModel.from_pretrained(tmp_path, num_heads=(2, 4, 8), window_size=6)
    with pytest.raises(RuntimeError, match="mismatch"):
        GreenMimModel.from_pretrained(tmp_path, image_size=96)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_size": 0}, "window_size.*0"),
        ({"mask_ratio": 3}, "mask_ratio.*3"),
        ({"depths": (2, 2)}, "num_heads.*2.*3"),
    ],
)
def test_invalid_settings_while_loading_raise(tmp_path, settings, message):
    GreenMimModel(make_config()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        GreenMimModel.from_pretrained(tmp_path, **settings)


def test_derived_fields_update_on_load(tmp_path):
    GreenMimModel(make_config()).save_pretrained(tmp_path / "model")
    config = AutoConfig.from_pretrained(tmp_path / "model", embed_dim=32)
    assert config.hidden_size == 128
    AutoModel.from_config(config).save_pretrained(tmp_path / "wider")
    assert AutoModel.from_pretrained(tmp_path / "wider").config.hidden_size == 128


def test_labels_and_problem_type_are_saved(tmp_path):
    config = make_config(id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}, problem_type="regression")
    config.save_pretrained(tmp_path)
    again = GreenMimConfig.from_pretrained(tmp_path)
    assert again.num_labels == 2 and again.id2label == {0: "no", 1: "yes"} and again.problem_type == "regression"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "greenmim"


@pytest.mark.parametrize("keywords", [{"device_map": "auto"}, {"dtype": torch.bfloat16}, {"dtype": "bfloat16"}])
def test_models_load_with_device_map_and_dtype(tmp_path, keywords):
    GreenMimForImageClassification(make_config(num_labels=2)).save_pretrained(tmp_path)
    model = GreenMimForImageClassification.from_pretrained(tmp_path, **keywords)
    logits = model(torch.randn(1, 3, 64, 64).to(model.dtype)).logits
    assert logits.dtype == model.dtype == (torch.bfloat16 if "dtype" in keywords else torch.float32)
    assert logits.isfinite().all()


def test_interpolated_models_can_be_offloaded(tmp_path):
    GreenMimModel(make_config()).save_pretrained(tmp_path / "model")
    model = GreenMimModel.from_pretrained(
        tmp_path / "model", window_size=6, device_map={"": "disk"}, offload_folder=tmp_path / "offloaded"
    )
    assert model(torch.randn(1, 3, 64, 64)).last_hidden_state.isfinite().all()
