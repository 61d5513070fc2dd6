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
"""Models for image classification: from GreenMIM, from Swin, from random weights, and with an existing classifier."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    SwinForMaskedImageModeling,
    SwinModel,
    Swinv2ForMaskedImageModeling,
    ViTConfig,
    ViTImageProcessorPil,
)

from modeling_greenmim import GreenMimConfig, GreenMimForImageClassification, GreenMimForMaskedImageModeling
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning_models import StartArguments, load_backbone, load_classifier
from tests.helpers.labeled_images import COLORS, CONFIG


ENCODER = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": (1, 1, 1),
    "num_heads": (1, 2, 4),
    "window_size": 4,
}
DECODER = {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32}
LABELS = list(COLORS)


def load(name, labels=LABELS, ignore_mismatched_sizes=False, **settings):
    args = StartArguments(model_name_or_path=str(name), **settings)
    return load_classifier(args, labels, ignore_mismatched_sizes)


@pytest.mark.parametrize(
    ("name", "model_class", "prefix"),
    [
        ("greenmim", GreenMimForMaskedImageModeling, "greenmim"),
        ("greenmim_v2", GreenMimForMaskedImageModeling, "greenmim"),
        ("swin", SwinForMaskedImageModeling, "swin"),
        ("swin_v2", Swinv2ForMaskedImageModeling, "swinv2"),
    ],
)
def test_the_encoder_is_that_of_the_pretrained_model(labeled_folders, name, model_class, prefix):
    folder = labeled_folders / name
    classifier = load(folder, drop_path_rate=0.3)
    expected = model_class.from_pretrained(folder).state_dict()
    encoder = {key: weight for key, weight in classifier.model.state_dict().items() if key.startswith(prefix)}
    assert len(encoder) > 20 and all(torch.equal(weight, expected[key]) for key, weight in encoder.items())
    assert classifier.is_greenmim == (prefix == "greenmim")
    assert classifier.model.config.label2id == {"blue": 0, "green": 1, "red": 2}
    assert classifier.model.config.drop_path_rate == 0.3
    assert classifier.origin == f"It started from the weights of `{name}`."


def test_a_model_that_starts_at_random(labeled_folders):
    classifier = load_classifier(StartArguments(config_name=str(labeled_folders / "config")), LABELS)
    assert isinstance(classifier.model, GreenMimForImageClassification)
    assert classifier.origin == "Its weights were randomly initialized."


def test_a_swin_without_an_image_processor_gets_that_of_imagenet(labeled_folders):
    processor = load(labeled_folders / "swin").image_processor
    assert isinstance(processor, ViTImageProcessorPil)
    assert list(processor.image_mean) == [0.485, 0.456, 0.406]
    assert (processor.size.height, processor.size.width) == (16, 16)


def test_weights_in_half_precision_are_trained_in_single_precision(labeled_folders, tmp_path):
    model = GreenMimForMaskedImageModeling.from_pretrained(labeled_folders / "greenmim", dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    assert load(tmp_path).model.dtype == torch.float32


def save_classifier(folder: Path, labels) -> str:
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    config = GreenMimConfig(**{**CONFIG.to_dict(), **names})
    GreenMimForImageClassification(config).save_pretrained(folder)
    return str(folder)


def test_a_classifier_with_the_labels_in_any_order_is_kept(tmp_path):
    name = save_classifier(tmp_path, ["red", "blue", "green"])
    model = load(name).model
    assert model.config.label2id == {"red": 0, "blue": 1, "green": 2}
    expected = AutoModelForImageClassification.from_pretrained(name)
    assert torch.equal(model.classifier.weight, expected.classifier.weight)


def test_a_classifier_that_does_not_know_a_label_raises(tmp_path):
    name = save_classifier(tmp_path, ["cat", "blue", "green"])
    with pytest.raises(UserError, match="classifier for 3 labels .*'cat'.*'red' .*--ignore_mismatched_sizes"):
        load(name)


@pytest.mark.parametrize("labels", [["cat", "blue", "green"], ["cat", "dog"]], ids=["same size", "other size"])
def test_a_new_classifier_replaces_one_for_other_labels(tmp_path, labels):
    name = save_classifier(tmp_path, labels)
    model = load(name, ignore_mismatched_sizes=True).model
    old = AutoModelForImageClassification.from_pretrained(name)
    assert list(model.config.label2id) == LABELS and len(model.classifier.weight) == 3
    assert (model.classifier.weight[:2] - old.classifier.weight[:2]).abs().max() > 1e-3
    assert torch.equal(model.greenmim.layernorm.weight, old.greenmim.layernorm.weight)


def test_other_models_raise(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match="must be a GreenMIM or Swin model, got .* of type 'vit'"):
        load(tmp_path)


@pytest.mark.parametrize("argument", ["model_name_or_path", "config_name"])
def test_a_missing_model_raises(tmp_path, argument):
    with pytest.raises(UserError, match=f"--{argument} must be a local folder .*, got {tmp_path}/nowhere"):
        load_classifier(StartArguments(**{argument: str(tmp_path / "nowhere")}), LABELS)


def test_missing_weights_raise(tmp_path):
    config = SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=(1,), num_heads=(1,), window_size=4)
    SwinForImageClassification(config).save_pretrained(tmp_path)
    save_file({"module.layer": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="weights are missing"):
        load(tmp_path, ["LABEL_0", "LABEL_1"])


def test_the_folder_of_a_run_names_its_model(tmp_path):
    save_classifier(tmp_path / "model", LABELS)
    with pytest.raises(UserError, match="got the run folder .*/model"):
        load(tmp_path)


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
    backbone = load_backbone(StartArguments(model_name_or_path=str(folder / name)), num_stages)
    feature_maps = backbone.model(torch.randn(1, 3, 75, 51)).feature_maps  # grids of 19 x 13, 10 x 7 and 5 x 4
    expected = [(8, 19, 13), (16, 10, 7), (32, 5, 4)][-(num_stages or 0) :]
    assert [tuple(feature_map.shape[1:]) for feature_map in feature_maps] == expected


def test_backbones_from_a_configuration_start_at_random(folder):
    backbone = load_backbone(StartArguments(config_name=str(folder / "config"), drop_path_rate=0.3))
    assert backbone.origin == "Its weights were randomly initialized." and backbone.config.drop_path_rate == 0.3
    assert list(backbone.config.out_features) == ["stage1", "stage2", "stage3"]


@pytest.mark.parametrize(
    ("settings", "num_stages", "message"),
    [
        ({"config_name": "config"}, 4, "must have at least 4 stages, got 3"),
        ({"config_name": "vit"}, None, "must be a GreenMIM or Swin model, got .* of type 'vit'"),
        ({"model_name_or_path": "greenmim"}, None, "must be a model, got the run folder .*greenmim/model"),
        ({"model_name_or_path": "nowhere"}, None, "nowhere"),
    ],
    ids=["too few stages", "other architecture", "folder of a run", "no folder"],
)
def test_backbones_that_cannot_be_used_are_refused(folder, settings, num_stages, message):
    settings = {name: str(folder / value) for name, value in settings.items()}
    with pytest.raises(UserError, match=message):
        load_backbone(StartArguments(**settings), num_stages)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either --model_name_or_path or, to train from scratch, --config_name"),
        ({"config_name": "a", "model_name_or_path": "b"}, "either --model_name_or_path or"),
        ({"config_name": "a", "drop_path_rate": 1.0}, "--drop_path_rate must be from 0 to 0.99"),
    ],
    ids=["none", "two", "drop path"],
)
def test_invalid_arguments_raise(settings, message):
    with pytest.raises(UserError, match=message):
        StartArguments(**settings)
