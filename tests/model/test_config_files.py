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
"""Model configurations: accepted names, and errors for others."""

import json

import pytest
from transformers import AutoConfig, SwinConfig

from modeling_greenmim.config_files import read_config


OPTION = "--model_name_or_path"


@pytest.fixture
def asked(monkeypatch):
    """Record the names that were not taken for paths. The Hub has none of them."""
    names = []

    def refuse(name, **kwargs):
        names.append(name)
        raise OSError("the answer\nof the Hub")

    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
    return names


@pytest.mark.parametrize("name", ["", "config.json"], ids=["folder", "file"])
def test_a_configuration_is_read(tmp_path, name):
    SwinConfig(embed_dim=24).save_pretrained(tmp_path)
    assert read_config(str(tmp_path / name), OPTION).embed_dim == 24


@pytest.mark.parametrize("name", ["/no/model", "./model", "../model", "~/model", "my/own/model", "model.json"])
def test_the_hub_is_not_asked_about_a_path(asked, name):
    with pytest.raises(
        ValueError, match=f"{OPTION} must be a local folder or file or a reachable Hub repository, got {name}"
    ):
        read_config(name, OPTION)
    assert not asked


def test_the_answer_of_the_hub_is_told_with_option_and_name(asked):
    message = rf"{OPTION} must be .*, got me/my-model \(the answer of the Hub\)\. Check the spelling"
    with pytest.raises(ValueError, match=message):
        read_config("me/my-model", OPTION)
    assert asked == ["me/my-model"]


def test_a_missing_configuration_names_the_folder_of_configurations(asked):
    with pytest.raises(ValueError, match="--config_name_or_path must be .*, got tiny.* examples/configs"):
        read_config("tiny", "--config_name_or_path")


def test_the_folder_of_a_run_names_its_model(tmp_path):
    SwinConfig().save_pretrained(tmp_path / "model")
    with pytest.raises(
        ValueError, match=f"{OPTION} must be a model, got the run folder {tmp_path}. Use {tmp_path}/model"
    ):
        read_config(str(tmp_path), OPTION)


def test_a_folder_without_a_configuration_is_not_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match=f"{OPTION} must have a readable configuration, got {tmp_path}"):
        read_config(str(tmp_path), OPTION)


def test_an_impossible_configuration_is_explained_without_the_name_of_a_validator(tmp_path):
    SwinConfig().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"model_type": "greenmim", "mask_ratio": 1.5}))
    with pytest.raises(
        ValueError, match="must be a valid configuration, got .*: `mask_ratio` must be .* above 0 and below 1"
    ):
        read_config(str(tmp_path), OPTION)
