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
"""Pre-training with transformers' Trainer: `pretrain()`, and the script."""

import itertools
import json
import shutil
import signal

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, SwinConfig, SwinModel
from transformers.trainer_utils import get_last_checkpoint

from modeling_greenmim import TOKEN_MIXERS, GreenMimConfig, GreenMimModel, publish
from modeling_greenmim.mixer_greenmim import GreenMimTokenMixer
from modeling_greenmim.training import pretrain
from modeling_greenmim.training.command_line import StoppedBySignal
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.stop_signals import StopSignals
from tests.helpers.pretraining import CONFIG, SWIN_SETTINGS, encode, write_images
from tests.helpers.scripts import import_script


SETTINGS = {
    "max_steps": 6,
    "per_device_train_batch_size": 4,
    "max_eval_samples": 8,
    "save_steps": 3,
    "logging_steps": 1,
    "eval_strategy": "no",
    "use_cpu": True,
    "disable_tqdm": True,
}


@pytest.fixture(autouse=True)
def light(monkeypatch):
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)  # takes seconds and is tested elsewhere


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


def run(images, output_dir, kind="files", **settings) -> dict:
    pretrain(images / kind, output_dir, CONFIG, **SETTINGS | settings)
    return json.loads((output_dir / "metrics.json").read_text())


def get_losses(metrics: dict) -> list[float]:
    return [record["loss"] for record in metrics["history"] if "loss" in record]


def test_pretrain_leaves_everything_that_a_run_leaves(images, tmp_path):
    folder = pretrain(
        images / "files", tmp_path, images / "config.json", **SETTINGS | {"eval_strategy": "steps", "eval_steps": 3}
    )
    assert folder == tmp_path / "model"
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, GreenMimModel)
    names = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert names == {
        *("arguments.json", "checkpoint-3", "checkpoint-6", "loss_curve.png"),
        *("metrics.json", "model", "reconstructions"),
    }
    pictures = sorted(path.name for path in (tmp_path / "reconstructions").iterdir())
    assert pictures == ["step-0000003.png", "step-0000006.png"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["steps"] == 6 and metrics["images_seen"] == 24 and metrics["num_held_out"] == 8
    card = (folder / "README.md").read_text()
    assert "| images | `files`, 52 images |" in card and "of 8 held-out images after 6 steps" in card
    assert "pretrain(train_dir=" in card and "| learning_rate | 2.34375e-06 |" in card
    # a complete run is not started again
    assert pretrain(images / "files", tmp_path, CONFIG, resume_from_checkpoint="latest") == folder


class Identity(GreenMimTokenMixer):
    """A mixer from outside the package."""

    def forward(self, hidden_states, prepared, **kwargs):
        return hidden_states, None


@pytest.fixture
def custom_config(monkeypatch) -> GreenMimConfig:
    monkeypatch.setitem(TOKEN_MIXERS, "identity", Identity)
    return GreenMimConfig.from_dict({**CONFIG.to_dict(), "token_mixers": [["identity"], ["global"]]})


def test_a_run_with_a_mixer_from_outside_leaves_a_model_that_loads(images, tmp_path, custom_config, capsys):
    folder = pretrain(images / "files", tmp_path, custom_config, **SETTINGS)
    assert not list(folder.glob("*.py")) and "auto_map" not in (folder / "config.json").read_text()
    card = (folder / "README.md").read_text()
    assert f"import {__name__}  # registers the token mixer 'identity'" in card and "trust_remote_code" not in card
    assert "and the file that registers 'identity'" in capsys.readouterr().out
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model.encoder.layers[0].blocks[0].attention, Identity)
    AutoImageProcessor.from_pretrained(folder, backend="pil")


def test_an_upload_with_a_mixer_from_outside_is_refused_before_training(images, tmp_path, custom_config, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "token")
    monkeypatch.setattr(publish, "push_to_hub", lambda *_: pytest.fail("uploaded"))
    settings = SETTINGS | {"push_to_hub": True, "hub_model_id": "me/my-model"}
    with pytest.raises(UserError, match="--push_to_hub: Cannot publish .*'identity'.*Omit --push_to_hub"):
        pretrain(images / "files", tmp_path, custom_config, **settings)
    assert not list(tmp_path.glob("checkpoint-*")) and not (tmp_path / "model").exists()


def test_a_run_begins_with_what_it_will_do(images, tmp_path, capsys):
    run(images, tmp_path)
    output = capsys.readouterr().out
    assert "52 images to train on, 8 held out, cropped to 32 x 32 pixels." in output
    assert "6 steps of 4 images" in output and "a learning rate of up to 2.34e-06" in output


def test_a_run_keeps_its_arguments(images, tmp_path):
    run(images, tmp_path, weight_decay=0.25)
    arguments = json.loads((tmp_path / "arguments.json").read_text())
    assert arguments["hyper_parameters"]["weight_decay"] == 0.25 and "pretrain(train_dir=" in arguments["command"]


def test_the_losses_of_reconstruction_and_teacher_are_recorded(images, tmp_path):
    SwinModel(SwinConfig(**SWIN_SETTINGS)).save_pretrained(tmp_path / "teacher")
    metrics = run(images, tmp_path / "run", max_steps=2, teacher_model_name_or_path=str(tmp_path / "teacher"))
    loss, parts = ({**record} for record in metrics["history"][-2:])
    parts = parts["eval_reconstruction_loss"], parts["eval_teacher_loss"]
    assert sum(parts) == pytest.approx(loss["eval_loss"], rel=1e-4) and min(parts) > 0.1


@pytest.mark.parametrize("settings", [{}, {"streaming": True}, {"gradient_accumulation_steps": 2}])
def test_a_resumed_run_sees_the_images_that_would_have_been_next(images, tmp_path, settings):
    settings |= {"kind": "parquet", "learning_rate": 1e-3}
    whole = run(images, tmp_path / "whole", **settings)
    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "resumed" / "checkpoint-3")
    resumed = run(images, tmp_path / "resumed", resume_from_checkpoint="latest", **settings)
    assert get_losses(whole) == get_losses(resumed)
    models = [AutoModel.from_pretrained(tmp_path / name / "model") for name in ("whole", "resumed")]
    assert all(torch.equal(*pair) for pair in zip(*(model.parameters() for model in models)))
    assert get_last_checkpoint(tmp_path / "resumed").endswith("checkpoint-6")


def test_a_stopped_run_saves_and_resumes(images, tmp_path, monkeypatch):
    whole = run(images, tmp_path / "whole")
    steps = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGINT * (next(steps) == 2))
        with pytest.raises(StoppedBySignal, match="after step 2") as caught:
            run(images, tmp_path / "stopped")
    assert caught.value.number == signal.SIGINT
    with pytest.raises(UserError, match="already contains a run"):
        run(images, tmp_path / "stopped")
    resumed = run(images, tmp_path / "stopped", resume_from_checkpoint="latest")
    assert get_losses(whole) == get_losses(resumed)


def test_a_teacher_and_several_masks_of_an_image(images, tmp_path):
    SwinModel(SwinConfig(**SWIN_SETTINGS)).save_pretrained(tmp_path / "teacher")
    settings = {
        "masks_per_image": 2,
        "teacher_model_name_or_path": str(tmp_path / "teacher"),
        "eval_strategy": "steps",
    }
    metrics = run(images, tmp_path / "run", **settings, eval_steps=6)
    assert metrics["images_seen"] == 24
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "features of a frozen teacher, `teacher` (which states no license)" in card


def test_epochs_are_counted_and_nothing_is_held_out_when_not_wanted(images, tmp_path):
    metrics = run(images, tmp_path, max_steps=-1, num_train_epochs=0.5, max_eval_samples=0)
    assert metrics["steps"] == 8 and metrics["num_held_out"] == 0


def test_unreadable_images_are_skipped_and_limited(images, tmp_path):
    for index in range(30):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{index}.png").write_bytes(encode(index) if index < 18 else b"damaged")
    with pytest.raises(UserError, match="of 30 images cannot be read, more than --max_unreadable 0.05 allows"):
        pretrain(tmp_path / "images", tmp_path / "run", CONFIG, **SETTINGS | {"max_steps": 20})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lerning_rate": 1.0}, "Unknown setting 'lerning_rate'. Did you mean learning_rate"),
        ({"max_train_steps": 2}, "Unknown setting 'max_train_steps'. Did you mean max_steps"),
        ({"batch_size": 8}, "Unknown setting 'batch_size'. Did you mean .*per_device_train_batch_size"),
        ({"mask_ratio": 1.5}, "mask_ratio"),
        ({"min_crop_scale": 0}, "--min_crop_scale must be above 0"),
        ({"per_device_train_batch_size": 64}, "64 images in a step .* are more than the 52 to train on"),
    ],
)
def test_settings_that_cannot_be_are_refused(images, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run(images, tmp_path, **settings)


def test_a_folder_with_a_model_is_refused(images, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(
        UserError, match="already contains the model of a complete run. Choose a different --output_dir, or remove"
    ):
        run(images, tmp_path)


def test_the_configuration_of_the_caller_stays_as_it_is(images, tmp_path):
    config = GreenMimConfig.from_dict(CONFIG.to_dict())
    pretrain(images / "files", tmp_path, config, mask_ratio=0.5, **SETTINGS | {"max_steps": 2})
    assert config.mask_ratio == CONFIG.mask_ratio
    assert GreenMimConfig.from_pretrained(tmp_path / "model").mask_ratio == 0.5


def test_the_script_trains_with_the_arguments_of_the_trainer(images, tmp_path):
    script = import_script("examples/pretraining/run_pretraining.py")
    arguments = {"train_dir": images / "files", "output_dir": tmp_path, "config_name_or_path": images, "do_eval": True}
    arguments |= SETTINGS | {"eval_strategy": "steps", "eval_steps": 3, "weight_decay": 0.1}
    script.main([f"--{name}={value}" for name, value in arguments.items()])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [record["step"] for record in metrics["history"] if "eval_loss" in record] == [3, 6, 6]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "52 images" in card and "| weight_decay | 0.1 |" in card
