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
"""Reports: every statement in a card was measured in the run, and failures to write or upload are explained."""

import errno

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from transformers import AutoModel, SwinConfig, UperNetConfig

from modeling_greenmim import TOKEN_MIXERS, GreenMimConfig, GreenMimForMaskedImageModeling, publish
from modeling_greenmim.mixer_greenmim import GreenMimTokenMixer
from modeling_greenmim.model_card import make_pipeline_usage, make_usage
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data
from modeling_greenmim.training.reports import (
    PretrainingReport,
    describe_data,
    describe_hardware,
    describe_number,
    get_picture_path,
)
from tests.helpers.pretraining import CONFIG, write_images


class Identity(GreenMimTokenMixer):
    """A mixer from outside the package."""

    def forward(self, hidden_states, prepared, **kwargs):
        return hidden_states, None


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(autouse=True)
def light(monkeypatch):
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)  # takes seconds and is tested elsewhere
    monkeypatch.setattr(publish, "get_token", lambda: "token")


def make_report(images, **settings) -> PretrainingReport:
    defaults = {
        "pretrained": make_pretrained_model(ModelArguments(), seed=0, config=CONFIG, license="apache-2.0"),
        "data": open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0),
        "settings": {"seed": 7},
        "hardware": "1 x CPU",
        "command": "python run.py",
        "step": 1200,
        "images_seen": 4800,
        "images_timed": 4800,
        "seconds": 48.0,
        "history": [{"step": 0, "eval_loss": 1.5}, {"step": 1200, "eval_loss": 0.25, "eval_knn_accuracy": 0.5}],
        "unreadable": {},
    }
    return PretrainingReport(**defaults | settings)


def write(report: PretrainingReport, folder, hub_model_id=None, private=True):
    return report.write(GreenMimForMaskedImageModeling(CONFIG), folder, hub_model_id, private)


def test_a_card_has_settings_measurements_and_license_of_the_run(images, tmp_path):
    folder = write(make_report(images), tmp_path)
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0"
    for text in (
        "| images | `files`, 52 images |",
        "| steps | 1,200 |",
        "| images seen | 4,800 |",
        "| seed | 7 |",
        "| mask_ratio | 0.75 |",
        "| reconstruction_target | normalized_pixels |",
        "| hardware | 1 x CPU |",
        "| time | 48 s |",
        "of 8 held-out images after 1,200 steps: 0.2500",
        "cross-validation) of 8 held-out images after 1,200 steps: 0.5000",
        "100 images per second",
        "```bash\npython run.py\n```",
        "![Loss over the steps](loss_curve.png)",
    ):
        assert text in card.text
    assert "reconstructions.png" not in card.text and "could not be read" not in card.text
    AutoModel.from_pretrained(folder)


def test_a_card_counts_unreadable_images(images):
    report = make_report(images, unreadable={"a.png": "damaged"})
    assert "1 image could not be read, and was dropped." in report.make_card({}, None).text


def test_a_card_says_when_only_a_part_of_a_run_was_timed(images):
    report = make_report(images, images_timed=2400, seconds=7200.0)
    assert "| time | 2.00 h for the last 2,400 images |" in report.make_card({}, None).text


def test_the_summary_tells_first_and_last_loss(images, tmp_path, capsys):
    write(make_report(images), tmp_path)
    output = capsys.readouterr().out
    assert "Loss on held-out images: 1.5000 before, 0.2500 after 1,200 steps." in output
    assert f"Model:      {tmp_path / 'model'}" in output


def test_the_summary_tells_the_loss_of_the_teacher(images, tmp_path, capsys):
    history = [{"step": step, "eval_loss": 2.0, "eval_teacher_loss": 1 / (1 + step)} for step in (0, 3)]
    write(make_report(images, history=history, step=3), tmp_path)
    assert "Teacher loss on held-out images: 1.0000 before, 0.2500 after 3 steps." in capsys.readouterr().out


@pytest.mark.parametrize(("number", "words"), [(1, "1 thread each"), (2, "2 threads each")])
def test_threads_are_counted_in_words(monkeypatch, number, words):
    monkeypatch.setattr(torch, "get_num_threads", lambda: number)
    assert describe_hardware(torch.device("cpu"), 3).endswith(f"CPU, {words}")


def test_a_model_with_a_name_on_the_hub_is_uploaded(images, tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr(publish, "push_to_hub", lambda *arguments: pushed.append(arguments))
    write(make_report(images), tmp_path, "me/my-model")
    assert pushed == [(tmp_path / "model", "me/my-model", True, None)]
    assert '"me/my-model"' in (tmp_path / "model" / "README.md").read_text()


def test_an_upload_that_fails_says_how_to_repeat_it(images, tmp_path, monkeypatch):
    def fail(*arguments):
        response = httpx.Response(500, request=httpx.Request("POST", "https://hub"))
        raise HfHubHTTPError("500 Server Error", response=response)

    monkeypatch.setattr(publish, "push_to_hub", fail)
    message = "is complete, but was not uploaded .*500 Server Error.*hf upload me/my-model .*model"
    with pytest.raises(UserError, match=message):
        write(make_report(images), tmp_path, "me/my-model")
    assert (tmp_path / "model" / "config.json").is_file()


@pytest.mark.parametrize(
    ("checkpoint", "remedy"), [(True, "--resume_from_checkpoint latest"), (False, "Fix the cause, and train again")]
)
def test_a_model_folder_that_cannot_be_written_leaves_a_remedy(images, tmp_path, monkeypatch, checkpoint, remedy):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if checkpoint:
        (tmp_path / "checkpoint-3").mkdir()
    monkeypatch.setattr(GreenMimForMaskedImageModeling, "save_pretrained", fail)
    with pytest.raises(UserError, match=f"the model folder is not .*No space left on device.*{remedy}"):
        write(make_report(images), tmp_path)
    assert not (tmp_path / "model").exists() and not list(tmp_path.glob(".new*"))


@pytest.mark.parametrize(
    ("hub_model_id", "private", "public_pictures", "shown"),
    [
        (None, False, False, True),
        ("me/model", True, False, True),
        ("me/model", False, True, True),
        ("me/model", False, False, False),
    ],
)
def test_held_out_images_are_public_on_request_only(
    images, tmp_path, monkeypatch, hub_model_id, private, public_pictures, shown
):
    monkeypatch.setattr(publish, "push_to_hub", lambda *_: None)
    report = make_report(images)
    report.data.args.public_pictures = public_pictures
    path = get_picture_path(tmp_path, report.step)
    path.parent.mkdir()
    path.write_bytes(b"picture")
    folder = write(report, tmp_path, hub_model_id, private)
    assert (folder / "reconstructions.png").exists() == shown
    assert ("reconstructions.png" in (folder / "README.md").read_text()) == shown
    assert (folder / "loss_curve.png").exists()


def test_data_are_named_without_their_place(images, tmp_path):
    files = [str(tmp_path / "data" / f"{number}.parquet") for number in range(3)]
    args = DataArguments(data_files=files)
    assert describe_data(args, None) == "`data/0.parquet` and 2 other files, an unknown number of images"
    assert describe_data(DataArguments(train_dir=str(images)), 1) == f"`{images.name}`, 1 image"
    args = DataArguments(data_files=["http://me:SECRET@host/0.parquet?key=SECRET"])
    assert describe_data(args, 2) == "`http://host/0.parquet`, 2 images"
    assert describe_number(5000) == "5,000 images"


@pytest.mark.parametrize(
    ("config", "has_import", "trusts_code"),
    [
        (GreenMimConfig(), False, True),
        (UperNetConfig(backbone_config=GreenMimConfig(out_features=["stage4"])), True, False),
        (UperNetConfig(backbone_config=SwinConfig(out_features=["stage4"])), False, False),
        (SwinConfig(), False, False),
    ],
    ids=["GreenMIM", "GreenMIM backbone", "Swin backbone", "Swin"],
)
def test_usage_registers_greenmim_backbones_and_trusts_copied_code(config, has_import, trusts_code):
    usage = make_pipeline_usage(config, "image-classification", "my/model")
    assert ("import modeling_greenmim" in usage) == has_import
    assert ("trust_remote_code=True" in usage) == trusts_code
    assert 'pipeline("image-classification", model="my/model"' in usage


@pytest.mark.parametrize("is_backbone", [False, True])
def test_usage_imports_the_file_of_a_mixer_from_outside(monkeypatch, is_backbone):
    monkeypatch.setitem(TOKEN_MIXERS, "identity", Identity)
    config = GreenMimConfig(token_mixers="identity", out_features=["stage4"])
    config = UperNetConfig(backbone_config=config) if is_backbone else config
    usage = make_pipeline_usage(config, "image-segmentation", "my/model")
    assert (
        "import modeling_greenmim" in usage and f"import {__name__}  # registers the token mixer 'identity'" in usage
    )
    assert "trust_remote_code" not in usage


def test_usage_does_not_import_the_main_module(monkeypatch):
    """A mixer of a notebook or script has no file to import."""
    monkeypatch.setattr(Identity, "__module__", "__main__")
    monkeypatch.setitem(TOKEN_MIXERS, "identity", Identity)
    usage = make_usage(GreenMimConfig(token_mixers="identity"), "my/model")
    assert "__main__" not in usage and "# First register the token mixer 'identity' in TOKEN_MIXERS" in usage
