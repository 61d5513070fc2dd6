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
"""Setup of pre-training: arguments, images and models, and errors for invalid ones."""

import pytest
import torch
from transformers import SwinConfig, SwinModel, Swinv2Config, Swinv2Model

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimModel
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data
from tests.helpers.pretraining import CONFIG, NUM_IMAGES, SWIN_SETTINGS, write_images
from tests.helpers.tiny_models import randomize


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


def make_model(**settings) -> GreenMimForMaskedImageModeling:
    return make_pretrained_model(ModelArguments(**settings), seed=0)


# Arguments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Pass exactly one of --train_dir, --data_files and --dataset_name, got none"),
        ({"train_dir": "x", "dataset_name": "x"}, "Pass exactly one of .*, got --train_dir and --dataset_name"),
        ({"train_dir": "x", "min_crop_scale": 0.0}, "--min_crop_scale must be above 0 and at most 1, got 0.0"),
        ({"train_dir": "x", "max_unreadable": 2}, "--max_unreadable must be from 0 to 1, got 2"),
        ({"train_dir": "x", "max_pixels": 10**9}, "--max_pixels must be from 1 to 178956970, got 1000000000"),
        ({"train_dir": "x", "max_eval_samples": -1}, "--max_eval_samples must be at least 0, got -1"),
        ({"train_dir": "x", "shuffle_buffer_size": 0}, "--shuffle_buffer_size must be at least 1, got 0"),
        ({"train_dir": "x", "train_val_split": 1.5}, "--train_val_split must be from 0 to 1, got 1.5"),
    ],
)
def test_invalid_data_arguments_raise(settings, message):
    with pytest.raises(UserError, match=message):
        DataArguments(**settings)


def test_a_trained_model_and_a_configuration_exclude_each_other():
    with pytest.raises(UserError, match="Pass --model_name_or_path or --config_name_or_path, not both"):
        ModelArguments(model_name_or_path="x", config_name_or_path="x")


# Images


def test_some_images_are_held_out(images):
    data = open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0)
    assert len(data.held_out.examples) == 8
    assert data.num_train_images == NUM_IMAGES - 8


def test_images_of_another_folder_are_evaluated_on(images):
    args = DataArguments(train_dir=str(images / "files"), validation_dir=str(images / "files" / "class0"))
    data = open_data(args, CONFIG, seed=0)
    assert set(data.held_out.labels) == {"class0"}
    assert data.num_train_images == NUM_IMAGES


def test_a_folder_that_does_not_exist_is_named():
    args = DataArguments(train_dir="missing")
    with pytest.raises(UserError, match="--train_dir missing is neither a folder nor a file"):
        open_data(args, CONFIG, seed=0)


def test_the_fingerprint_identifies_images_and_held_out_images(images):
    def get_fingerprint(**settings) -> dict:
        return open_data(DataArguments(train_dir=str(images / "files"), **settings), CONFIG, seed=0).fingerprint

    assert get_fingerprint() == get_fingerprint()
    assert get_fingerprint(max_eval_samples=4) != get_fingerprint()


@pytest.mark.parametrize(("max_train_steps", "num_epochs", "expected"), [(7, 100.0, 7), (None, 0.5, 7), (None, 3, 39)])
def test_steps_are_given_or_counted_from_epochs(images, max_train_steps, num_epochs, expected):
    data = open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0)
    assert data.count_steps(4, max_train_steps, num_epochs) == expected


def test_a_step_of_more_images_than_there_are_is_refused(images):
    data = open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0)
    with pytest.raises(UserError, match="The 64 images in a step over all processes are more than the 52 to train on"):
        data.count_steps(64, 10, 1.0)


def test_epochs_of_unknown_length_are_refused(images):
    data = open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0)
    data.num_train_images = None
    with pytest.raises(UserError, match="Pass --max_train_steps .* instead of epochs"):
        data.count_steps(4, None, 1.0)


# Models


def test_settings_override_the_configuration(images):
    pretrained = make_model(
        config_name_or_path=str(images), config_overrides="window_size=2", image_size=48, mask_ratio=0.5
    )
    config = pretrained.model.config
    assert (config.window_size, config.image_size, config.mask_ratio) == (2, 48, 0.5)
    assert pretrained.image_processor.size == {"height": 48, "width": 48}


def test_a_configuration_is_taken_and_left_as_it_is():
    config = GreenMimConfig.from_dict(CONFIG.to_dict())
    pretrained = make_pretrained_model(ModelArguments(config_overrides="window_size=2"), seed=0, config=config)
    assert pretrained.model.config.window_size == 2 and config.window_size == CONFIG.window_size


@pytest.mark.parametrize(("swin_class", "config_class"), [(SwinModel, SwinConfig), (Swinv2Model, Swinv2Config)])
def test_a_swin_gives_its_encoder_and_its_license(tmp_path, swin_class, config_class):
    swin = randomize(swin_class(config_class(**SWIN_SETTINGS)), std=0.1)
    swin.save_pretrained(tmp_path / "swin")
    (tmp_path / "swin" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A Swin\n")
    pretrained = make_model(model_name_or_path=str(tmp_path / "swin"))
    assert pretrained.license == {"license": "cc-by-nc-4.0"}
    assert "`swin`, with a new decoder" in pretrained.origin
    pixel_values = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = swin(pixel_values).last_hidden_state
        actual = pretrained.model.eval().greenmim(pixel_values).last_hidden_state
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        UserError, match="--license must be 'cc-by-nc-4.0', the license of the weights in .*, got 'mit'"
    ):
        make_pretrained_model(ModelArguments(model_name_or_path=str(tmp_path / "swin")), seed=0, license="mit")


def test_a_swin_gets_the_decoder_that_the_settings_ask_for(tmp_path):
    SwinModel(SwinConfig(**SWIN_SETTINGS)).save_pretrained(tmp_path)
    overrides = "decoder_hidden_size=16,decoder_num_attention_heads=2"
    model = make_model(model_name_or_path=str(tmp_path), config_overrides=overrides).model
    assert model.decoder.decoder_embed.out_features == 16


def test_a_bare_encoder_gets_a_new_decoder(tmp_path):
    encoder = GreenMimModel(CONFIG)
    encoder.save_pretrained(tmp_path)
    pretrained = make_model(model_name_or_path=str(tmp_path))
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, pretrained.model.greenmim.state_dict()[name])


def test_the_license_of_new_weights_is_the_given_one(images):
    pretrained = make_pretrained_model(ModelArguments(config_name_or_path=str(images)), seed=0, license="mit")
    assert pretrained.license == {"license": "mit"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"config_overrides": "windowsize=7"},
            "--config_overrides windowsize=7: Unknown setting 'windowsize'.*window_size",
        ),
        ({"config_overrides": "zzz=7"}, "Known settings: .*image_size.*mask_ratio"),
        ({"config_overrides": "window_size"}, "--config_overrides window_size: "),
        ({"image_size": 4}, "--image_size must be at least 8, two mask units, got 4"),
        ({"config_overrides": "image_size=30"}, "whole mask units of .* pixels, got 30 x 30 pixels"),
        ({"image_processor_name": "missing"}, "missing has no preprocessor_config.json"),
        ({"mask_ratio": 1.5}, "^`mask_ratio` must be .* above 0 and below 1"),
    ],
)
def test_settings_that_the_model_cannot_have_are_refused(images, settings, message):
    with pytest.raises(UserError, match=message):
        make_model(config_name_or_path=str(images), **settings)


@pytest.mark.parametrize("argument", ["model_name_or_path", "config_name_or_path", "teacher_model_name_or_path"])
def test_the_folder_of_a_run_is_no_model(tmp_path, argument):
    GreenMimModel(CONFIG).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=f"--{argument} must be a model, got the run folder .*Use .*/model"):
        make_model(**{argument: str(tmp_path)})


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_the_origin_of_weights_says_what_is_learned_next_to_a_teacher(images, tmp_path, weight):
    SwinModel(SwinConfig(**SWIN_SETTINGS)).save_pretrained(tmp_path)
    settings = {"config_overrides": f"reconstruction_weight={weight}", "teacher_model_name_or_path": str(tmp_path)}
    origin = make_model(config_name_or_path=str(images), **settings).origin
    assert ("the `normalized_pixels` of hidden units and the features" in origin) == (weight > 0)


@pytest.mark.parametrize("argument", ["model_name_or_path", "config_name_or_path"])
def test_models_of_other_types_are_refused(tmp_path, argument):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UserError, match=f"--{argument} .* is of type 'vit'"):
        make_model(**{argument: str(tmp_path)})
