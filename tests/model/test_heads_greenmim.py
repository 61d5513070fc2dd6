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
"""Classification, backbone, Auto classes and pipelines; other window and image sizes; features that users take for granted."""

import importlib
import json
import math

import PIL.Image
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForMaskedImageModeling,
    AutoModelForPreTraining,
    SwinBackbone,
    SwinConfig,
    SwinForImageClassification,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    pipeline,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import logging

import modeling_greenmim
from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessorPil,
    GreenMimModel,
    sample_masks,
)
from modeling_greenmim.position_bias_greenmim import interpolate_relative_position_bias_table
from tests.model.test_modeling_greenmim import make_config, make_inputs, randomize


STAGES = ["stem", "stage1", "stage2", "stage3"]


@pytest.fixture
def warnings_of_transformers(monkeypatch):
    """The text of what transformers, and this package through its logger, warns of."""
    messages = []
    for name in ("warning", "error"):
        monkeypatch.setattr(
            logging.logging.Logger, name, lambda self, message, *args, **kwargs: messages.append(str(message))
        )
    return messages


# The oracles: transformers' Swin with the same weights


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


# Auto classes, folders, pipelines


def test_auto_classes():
    config = AutoConfig.for_model("greenmim", embed_dim=16, depths=(2, 2), num_heads=(1, 2), out_features=["stage1"])
    importlib.reload(modeling_greenmim)  # registering twice is no error
    for auto_class, model_class in {
        AutoModel: GreenMimModel,
        AutoModelForMaskedImageModeling: GreenMimForMaskedImageModeling,
        AutoModelForPreTraining: GreenMimForMaskedImageModeling,
        AutoModelForImageClassification: GreenMimForImageClassification,
        AutoBackbone: GreenMimBackbone,
    }.items():
        assert type(auto_class.from_config(config)) is model_class


def test_every_model_starts_from_pretraining(tmp_path, warnings_of_transformers):
    """Weights of the encoder arrive everywhere, and only what is new is reported."""
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


def save_image_processor(folder, **settings):
    size = {"height": 64, "width": 64}
    GreenMimImageProcessorPil(size=size, crop_size=size, mask_unit_size=8, **settings).save_pretrained(folder)


def test_pipelines_run_on_saved_folders(tmp_path):
    config = make_config(
        num_labels=3, id2label={0: "cat", 1: "dog", 2: "owl"}, label2id={"cat": 0, "dog": 1, "owl": 2}
    )
    GreenMimForImageClassification(config).save_pretrained(tmp_path)
    save_image_processor(tmp_path)
    image = PIL.Image.effect_noise((80, 60), 50)
    features = pipeline("image-feature-extraction", model=str(tmp_path))(image)
    assert torch.tensor(features).shape == (1, 64, 64)
    scores = pipeline("image-classification", model=str(tmp_path))(image)
    assert {score["label"] for score in scores} == {"cat", "dog", "owl"}
    assert sum(score["score"] for score in scores) == pytest.approx(1.0, abs=1e-5)
    assert isinstance(AutoImageProcessor.from_pretrained(tmp_path, backend="pil"), GreenMimImageProcessorPil)


def test_pipelines_and_the_image_processor_of_pretraining(tmp_path):
    """One that masks hides most of every image from a pipeline: a classifier refuses, and there is a way out."""
    GreenMimForImageClassification(make_config(num_labels=3)).save_pretrained(tmp_path)
    save_image_processor(tmp_path, do_mask=True)
    image = PIL.Image.effect_noise((80, 60), 50)
    classify = pipeline("image-classification", model=str(tmp_path))
    with pytest.raises(
        ValueError, match=r"bool_masked_pos.*image classification.*from_pretrained\(..., do_mask=False\)"
    ):
        classify(image)
    extract = pipeline("image-feature-extraction", model=str(tmp_path))
    assert torch.tensor(extract(image)).shape == (1, 16, 64)  # of the visible units, as asked for
    image_processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil", do_mask=False)
    classify = pipeline("image-classification", model=str(tmp_path), image_processor=image_processor)
    assert len(classify(image)) == 3


@pytest.mark.parametrize("model_class", [GreenMimForImageClassification, GreenMimBackbone])
def test_heads_for_full_images_refuse_a_mask(model_class):
    model = model_class(make_config())
    pixel_values, mask, _ = make_inputs(model.config)
    with pytest.raises(ValueError, match="`bool_masked_pos` is not for .*do_mask=False"):
        model(pixel_values, bool_masked_pos=mask)
    with pytest.raises(ValueError, match="`plan` is not for"):
        model(pixel_values, plan={})
    assert model(pixel_values, bool_masked_pos=None) is not None


def test_a_mask_is_no_label():
    model = GreenMimForImageClassification(make_config())
    pixel_values, mask, _ = make_inputs(model.config)
    with pytest.raises(ValueError, match="labels.*boolean"):
        model(pixel_values, mask)


# Other windows and image sizes


def test_a_table_is_interpolated_by_offset():
    """A table that is linear in the offsets stays so; the offset of a token to itself keeps its value, at the center."""
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
def test_a_checkpoint_loads_at_another_window_and_image_size(tmp_path, warnings_of_transformers, auto, dtype):
    """Window 7 at 224 pixels to window 12 at 384, as Swin users do."""
    settings = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 1, 2, 2)}
    pretrained = randomize(GreenMimForMaskedImageModeling(GreenMimConfig(**settings)), std=0.1).to(dtype)
    pretrained.save_pretrained(tmp_path / "pretrained", max_shard_size="50KB")
    model_class = AutoModelForImageClassification if auto else GreenMimForImageClassification
    for _ in range(2):  # it is said at every loading
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


def test_what_is_loaded_can_be_offloaded(tmp_path):
    GreenMimModel(make_config()).save_pretrained(tmp_path / "model")
    model = GreenMimModel.from_pretrained(
        tmp_path / "model", window_size=6, device_map={"": "disk"}, offload_folder=tmp_path / "offloaded"
    )
    assert model(torch.randn(1, 3, 64, 64)).last_hidden_state.isfinite().all()


def test_pretraining_goes_on_at_another_size(tmp_path):
    pretrained = randomize(GreenMimForMaskedImageModeling(make_config(window_size=7)), std=0.1)
    pretrained.save_pretrained(tmp_path)
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path, window_size=12, image_size=96)
    name = "greenmim.encoder.layers.1.blocks.1.attention.relative_position_bias.relative_position_bias_table"
    expected = interpolate_by_hand(pretrained.get_parameter(name))
    torch.testing.assert_close(model.get_parameter(name), expected, rtol=0, atol=1e-6)
    pixel_values, mask, _ = make_inputs(model.config)
    assert model(pixel_values, mask).loss.isfinite()


def test_what_cannot_be_interpolated_is_an_error(tmp_path):
    """Absolute position embeddings do not tell which grid they are of: they are interpolated in the forward instead."""
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
def test_settings_given_while_loading_are_checked(tmp_path, settings, message):
    GreenMimModel(make_config()).save_pretrained(tmp_path)
    with pytest.raises(StrictDataclassError, match=message):
        GreenMimModel.from_pretrained(tmp_path, **settings)


def test_what_follows_from_a_setting_follows_while_loading(tmp_path):
    GreenMimModel(make_config()).save_pretrained(tmp_path / "model")
    config = AutoConfig.from_pretrained(tmp_path / "model", embed_dim=32)
    assert config.hidden_size == 128
    AutoModel.from_config(config).save_pretrained(tmp_path / "wider")
    assert AutoModel.from_pretrained(tmp_path / "wider").config.hidden_size == 128


@pytest.mark.parametrize("image_size", [(64, 96), (61, 67)])
def test_heads_interpolate_absolute_positions(image_size):
    """A backbone by itself, as frameworks pass no keywords; a classifier when it is asked to."""
    settings = {"use_absolute_embeddings": True, "out_features": ["stage1"], "num_labels": 2}
    backbone = randomize(GreenMimBackbone(make_config(**settings)))
    classifier = randomize(GreenMimForImageClassification(make_config(**settings)))
    pixel_values = torch.randn(1, 3, *image_size)
    grid = tuple(-(-side // 2) for side in image_size)
    assert backbone(pixel_values).feature_maps[0].shape == (1, 16, *grid)
    with pytest.raises(ValueError, match=f"32 x 32 patches.*{grid[0]} x {grid[1]}.*interpolate_pos_encoding=True"):
        classifier(pixel_values)
    assert classifier(pixel_values, interpolate_pos_encoding=True).logits.shape == (1, 2)


@pytest.mark.parametrize("window_size", [4, 6])
def test_a_segmentation_model_is_built_on_it(tmp_path, window_size):
    """With images of an odd size, trained, saved and loaded at another window."""
    backbone_config = make_config(depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), out_indices=[1, 2, 3, 4])
    config = UperNetConfig(backbone_config=backbone_config, hidden_size=32, use_auxiliary_head=False, num_labels=3)
    model = UperNetForSemanticSegmentation(config)
    pixel_values, labels = torch.randn(2, 3, 75, 101), torch.randint(3, (2, 75, 101))
    model(pixel_values, labels=labels).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval().save_pretrained(tmp_path)
    config = UperNetConfig.from_pretrained(tmp_path)
    config.backbone_config.window_size = window_size
    again = UperNetForSemanticSegmentation.from_pretrained(tmp_path, config=config).eval()
    with torch.no_grad():
        difference = (again(pixel_values).logits - model(pixel_values).logits).abs().max()
    assert (difference == 0) == (window_size == 4)


# What users take for granted


@pytest.mark.parametrize("num_channels", [1, 4, 13])
def test_channels(num_channels):
    config = make_config(num_channels=num_channels, num_labels=2, out_features=["stage1"])
    pixel_values, mask, _ = make_inputs(config)
    assert pixel_values.shape[1] == num_channels
    assert GreenMimForImageClassification(config)(pixel_values).logits.shape == (2, 2)
    assert GreenMimBackbone(config)(pixel_values).feature_maps[0].shape == (2, 16, 32, 32)
    pretraining = GreenMimForMaskedImageModeling(config)
    outputs = pretraining(pixel_values, mask)
    assert outputs.loss.isfinite()
    assert pretraining.reconstruct(pixel_values, outputs).shape == pixel_values.shape


@pytest.mark.parametrize("keywords", [{"device_map": "auto"}, {"dtype": torch.bfloat16}, {"dtype": "bfloat16"}])
def test_loading_options(tmp_path, keywords):
    GreenMimForImageClassification(make_config(num_labels=2)).save_pretrained(tmp_path)
    model = GreenMimForImageClassification.from_pretrained(tmp_path, **keywords)
    logits = model(torch.randn(1, 3, 64, 64).to(model.dtype)).logits
    assert logits.dtype == model.dtype == (torch.bfloat16 if "dtype" in keywords else torch.float32)
    assert logits.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("model_class", [GreenMimForImageClassification, GreenMimBackbone])
def test_gradient_checkpointing_of_heads(model_class, use_reentrant):
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
    """With the last stage asked for, nothing is left over that distributed training would wait for."""
    model = GreenMimBackbone(make_config(out_features=["stem", "stage3"]))
    sum(feature_map.square().mean() for feature_map in model(torch.randn(1, 3, 64, 64)).feature_maps).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_lora(tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = GreenMimForImageClassification(make_config(num_labels=2))
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    )
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(names) == 6 * 2 * 2 + 2  # layers, projections, factors; classifier
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    pixel_values, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])
    losses = []
    for _ in range(10):
        loss = adapted(pixel_values=pixel_values, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    adapted.eval().save_pretrained(tmp_path / "adapter")
    base = GreenMimForImageClassification.from_pretrained(tmp_path / "base")
    again = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = adapted(pixel_values=pixel_values).logits
        torch.testing.assert_close(again(pixel_values=pixel_values).logits, expected)
        torch.testing.assert_close(again.merge_and_unload()(pixel_values).logits, expected, rtol=1e-4, atol=1e-5)


def test_lora_on_pretraining():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        GreenMimForMaskedImageModeling(make_config()), peft.LoraConfig(r=4, target_modules=r"greenmim\..*\.[qv]_proj")
    )
    pixel_values, mask, _ = make_inputs(model.config)
    model(pixel_values=pixel_values, bool_masked_pos=mask).loss.backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert len(trained) == 6 * 2 * 2 and all("lora_" in name for name in trained)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("from_config", [False, True])
def test_recorded_outputs(masked, from_config):
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
def test_attention_without_a_bias_is_refused(attn_implementation):
    with pytest.raises((ValueError, ImportError), match="[Ff]lash|[Ff]lex"):
        AutoModel.from_config(make_config(), attn_implementation=attn_implementation)


def test_configuration_of_a_classifier_survives(tmp_path):
    config = make_config(id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}, problem_type="regression")
    config.save_pretrained(tmp_path)
    again = GreenMimConfig.from_pretrained(tmp_path)
    assert again.num_labels == 2 and again.id2label == {0: "no", 1: "yes"} and again.problem_type == "regression"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "greenmim"


def test_masks_of_a_larger_model_match_its_grid():
    """The unit grid follows the image that is given, not the image size of the configuration."""
    config = make_config()
    model = GreenMimModel(config)
    mask = torch.from_numpy(sample_masks(1, (12, 20), 0.75, seed=0))
    outputs = model(torch.randn(1, 3, 96, 160), bool_masked_pos=mask)
    assert outputs.last_hidden_state.shape == (1, math.floor(240 * 0.25), 64)
