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
The Accelerate script in this process: its reports, errors and files. test_pretraining_runs.py has the tests that need
separate processes (kills, signals, several processes).
"""

import itertools
import json
import os
import shutil
import signal

import numpy as np
import PIL.Image
import pytest
import torch
from datasets.utils import logging as datasets_logging
from huggingface_hub import ModelCard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModel, SwinConfig, SwinForImageClassification, SwinModel

from modeling_greenmim import (
    TOKEN_MIXERS,
    GreenMimConfig,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    publish,
)
from modeling_greenmim.mixer_greenmim import GreenMimTokenMixer
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.image_decoding import ExampleMaker
from tests.helpers.pretraining import SCRIPT, SWIN_SETTINGS, run, write_images
from tests.helpers.scripts import import_script


script = import_script(SCRIPT)


@pytest.fixture(autouse=True)
def light(monkeypatch):
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)  # takes seconds and is tested elsewhere


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def finished_once(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "_check_folder", lambda *_: None)
        run(images, folder, "--checkpointing_steps=3")
    return folder


@pytest.fixture
def finished(finished_once, tmp_path):
    """A run of six steps, with checkpoints after three and six."""
    return shutil.copytree(finished_once, tmp_path / "run")


def test_a_run_leaves_a_model_with_its_card_metrics_pictures_and_logs(images, tmp_path, capsys):
    options = ("--with_tracking", "--report_to=tensorboard", "--knn", "--license=apache-2.0")
    metrics = run(images, tmp_path, *options, "--max_eval_samples=20", "--train_val_split=0.4")
    records = [record for record in metrics["history"] if "loss" in record]
    assert [record["step"] for record in records] == [2, 3, 4, 6]
    for record in records:
        assert 0.5 < record["loss"] < 2 and record["grad_norm"] > 0 and record["learning_rate"] >= 0
        assert record["images_per_second"] > 0 and 0 <= record["data_wait_share"] < 1
        assert record["peak_memory_gib"] > 0 and 0.5 < record["group_fill"] <= 1
    evaluations = [record for record in metrics["history"] if "eval_loss" in record]
    assert [record["step"] for record in evaluations] == [0, 3, 6]
    assert all(0 <= record["eval_knn_accuracy"] <= 1 for record in evaluations)
    assert metrics["steps"] == 6 and metrics["images_seen"] == 24 and metrics["num_held_out"] == 20
    assert "Loss on held-out images" in capsys.readouterr().out

    events = EventAccumulator(str(tmp_path / "logs" / "greenmim_pretraining"))
    events.Reload()
    assert {*records[0].keys() - {"step"}} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("eval_loss")] == [0, 3, 6]
    assert events.Tags()["images"] == ["reconstructions"]

    names = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert names == {
        *("arguments.json", "checkpoint-6", "logs", "loss_curve.png", "metrics.json", "model", "reconstructions"),
    }
    model = AutoModel.from_pretrained(tmp_path / "model")
    trained = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "checkpoint-6").greenmim
    assert isinstance(model, GreenMimModel)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), trained.parameters()))
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.license == "apache-2.0" and "None" not in card.text
    for text in (
        "40 images",
        "| steps | 6 |",
        "| images seen | 24 |",
        f"of 20 held-out images after 6 steps: {evaluations[-1]['eval_loss']:.4f}",
        "![Loss over the steps](loss_curve.png)",
        "reconstructions.png",
        "--max_train_steps=6",
        "CPU",
        "torch 2",
        "Its weights were randomly initialized.",
    ):
        assert text in card.text
    for name in ("loss_curve.png", "reconstructions.png"):
        assert min(PIL.Image.open(tmp_path / "model" / name).size) > 300


@pytest.mark.slow
@pytest.mark.parametrize(
    "option", ["--gradient_checkpointing", "--no_mask_per_sample", "--mask_sampler=block", "--mixed_precision=bf16"]
)
def test_options_of_the_training_run(images, tmp_path, option):
    assert run(images, tmp_path, option)["steps"] == 6


def test_gradient_accumulation_is_a_larger_batch(images, tmp_path):
    options = ("--max_eval_samples=0", "--logging_steps=1", "--learning_rate=1e-3")
    large = run(images, tmp_path / "large", *options, "--per_device_train_batch_size=8")
    accumulated = run(images, tmp_path / "accumulated", *options, "--gradient_accumulation_steps=2")
    losses = [[record["loss"] for record in metrics["history"]] for metrics in (large, accumulated)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert large["images_seen"] == accumulated["images_seen"] == 48


@pytest.mark.slow
def test_an_encoder_of_a_swin_continues_to_learn_and_keeps_its_license(images, tmp_path):
    torch.manual_seed(1)
    swin = SwinForImageClassification(SwinConfig(**SWIN_SETTINGS))
    swin.save_pretrained(tmp_path / "swin")
    (tmp_path / "swin" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A Swin\n")
    options = (f"--model_name_or_path={tmp_path / 'swin'}", "--image_size=48")
    run(images, tmp_path / "run", *options, "--learning_rate=1e-12", "--weight_decay=0")
    model = AutoModel.from_pretrained(tmp_path / "run" / "model").eval()
    pixel_values = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = SwinModel.from_pretrained(tmp_path / "swin").eval()(pixel_values).last_hidden_state
        torch.testing.assert_close(model(pixel_values).last_hidden_state, expected, rtol=1e-4, atol=1e-5)
    card = ModelCard.load(tmp_path / "run" / "model" / "README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert "started from the weights of `swin`" in card.text and "images of 48 x 48 pixels" in card.text
    # and the run resumes
    shutil.rmtree(tmp_path / "run" / "model")
    options += ("--learning_rate=1e-12", "--weight_decay=0", "--resume_from_checkpoint=latest")
    assert run(images, tmp_path / "run", *options)["steps"] == 6


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers") / "a_swin"
    torch.manual_seed(1)
    SwinModel(SwinConfig(**SWIN_SETTINGS)).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A Swin\n")
    return folder


def test_a_run_with_a_teacher_names_it_in_the_card_and_resumes_only_with_it(images, tmp_path, teacher):
    option = f"--teacher_model_name_or_path={teacher}"
    metrics = run(images, tmp_path / "run", option, "--checkpointing_steps=3")
    without = run(images, tmp_path / "without")
    # the teacher loss is 1 minus a cosine, and a new projection has a cosine near 0
    assert 0.5 < metrics["history"][0]["eval_loss"] - without["history"][0]["eval_loss"] < 1.5
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "of hidden units and the features of a frozen teacher, `a_swin` (license: mit)" in card
    assert not any("teacher" in name for name in AutoModel.from_pretrained(tmp_path / "run" / "model").state_dict())
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    with pytest.raises(SystemExit, match="teacher"):
        run(images, tmp_path / "run", "--resume_from_checkpoint=latest")
    resumed = run(images, tmp_path / "run", option, "--checkpointing_steps=3", "--resume_from_checkpoint=latest")
    assert resumed["history"][-1]["eval_loss"] == metrics["history"][-1]["eval_loss"]


def test_a_model_that_predicts_a_teacher_only_has_no_decoder_and_no_pictures(images, tmp_path, teacher):
    run(images, tmp_path, f"--teacher_model_name_or_path={teacher}", "--config_overrides=reconstruction_weight=0")
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "model")
    assert not model.get_decoders() and model.config.teacher_hidden_size == 16
    assert not (tmp_path / "reconstructions").exists()


def test_training_continues_without_the_teacher_of_a_model(images, tmp_path, teacher):
    run(images, tmp_path / "first", f"--teacher_model_name_or_path={teacher}")
    run(images, tmp_path / "second", f"--model_name_or_path={tmp_path / 'first' / 'model'}")
    assert GreenMimConfig.from_pretrained(tmp_path / "second" / "model").teacher_hidden_size is None


def test_several_masks_of_an_image_leave_evaluations_as_they_are(images, tmp_path):
    metrics = [run(images, tmp_path / str(number), f"--masks_per_image={number}") for number in (1, 4)]
    assert metrics[0]["images_seen"] == metrics[1]["images_seen"] == 24
    losses = [metric["history"][0]["eval_loss"] for metric in metrics]  # before the first step
    assert losses[0] == losses[1]
    trained = [metric["history"][-1]["eval_loss"] for metric in metrics]
    assert trained[0] != trained[1]


# Rejected arguments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_device_train_batch_size": 0}, "--per_device_train_batch_size must be at least 1, got 0"),
        ({"num_workers": -1}, "--num_workers must be at least 0, got -1"),
        ({"seed": 5_000_000_000}, "--seed must be from 0 to 4294967295, got 5000000000"),
        ({"adam_beta2": 1.5}, "--adam_beta2 must be at least 0 and below 1, got 1.5"),
        ({"max_grad_norm": 0.0}, "--max_grad_norm must be above 0, got 0.0"),
        ({"num_train_epochs": 1.0, "max_train_steps": 6}, "Pass --num_train_epochs or --max_train_steps, not both"),
        ({"mixed_precision": "fp8"}, "--mixed_precision must be no, bf16 or fp16, got 'fp8'"),
        ({"push_to_hub": True}, "Pass both --push_to_hub and --hub_model_id, or neither"),
        ({"resume_from_checkpoint": "latest", "overwrite_output_dir": True}, "--overwrite_output_dir discards"),
    ],
)
def test_invalid_arguments_raise(settings, message):
    with pytest.raises(UserError, match=message):
        script.RunArguments(**settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--per_device_train_batch_size=100",),
            "The 100 images in a step over all processes are more than the 52 to train on",
        ),
        (("--report_to=tensorbord", "--with_tracking"), "tensorbord"),
        (("--report_to=wandb", "--with_tracking"), "wandb is not installed"),
        (("--teacher_model_name_or_path=missing",), "--teacher_model_name_or_path must be .*, got missing"),
        (("--masks_per_image=5",), "number of masks per image must be from 1 to 4"),
        (
            ("--masks_per_image=2", "--mask_ratio=0.25"),
            r"must be 1, got 2, because .*raise the mask ratio to at least 0\.5",
        ),
        (("--masks_per_image=0",), "--masks_per_image must be at least 1, got 0"),
        (
            ("--masks_per_image=2", "--mask_sampler=block"),
            "--masks_per_image must be 1 with a sampler other than random",
        ),
        (("--knn", "--max_eval_samples=6"), "--knn needs at least 5 held-out images of one class"),
        (("--resume_from_checkpoint=missing",), "--resume_from_checkpoint must be a checkpoint, got missing"),
        (
            ("--learning_rate=1e30", "--num_warmup_steps=0"),
            r"at step \d: the training has diverged. There is no checkpoint",
        ),
    ],
)
def test_a_run_that_cannot_be_ends_with_the_reason(images, tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        run(images, tmp_path / "run", *options)
    assert not (tmp_path / "run" / "model").exists()


def test_an_upload_without_a_token_is_refused_before_the_training(images, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(SystemExit, match="no token"):
        run(images, tmp_path, "--push_to_hub", "--hub_model_id=me/my-model")
    assert not list(tmp_path.glob("checkpoint-*"))


class Identity(GreenMimTokenMixer):
    """A mixer from outside the package."""

    def forward(self, hidden_states, prepared, **kwargs):
        return hidden_states, None


@pytest.mark.parametrize("is_uploaded", [False, True])
def test_a_mixer_from_outside_is_trained_but_not_uploaded(images, tmp_path, monkeypatch, is_uploaded):
    monkeypatch.setitem(TOKEN_MIXERS, "window", Identity)
    monkeypatch.setenv("HF_TOKEN", "token")
    monkeypatch.setattr(publish, "push_to_hub", lambda *_: pytest.fail("uploaded"))
    if is_uploaded:
        with pytest.raises(SystemExit, match="--push_to_hub: Cannot publish .*'window'.*Omit --push_to_hub"):
            run(images, tmp_path, "--push_to_hub", "--hub_model_id=me/my-model")
        assert not list(tmp_path.glob("checkpoint-*")) and not (tmp_path / "model").exists()
    else:
        run(images, tmp_path)
        assert isinstance(
            AutoModel.from_pretrained(tmp_path / "model").encoder.layers[0].blocks[0].attention, Identity
        )


def test_a_second_run_does_not_overwrite_the_first(images, finished):
    with pytest.raises(
        SystemExit, match="already contains a run.*--resume_from_checkpoint latest.*--overwrite_output_dir"
    ):
        run(images, finished)
    assert run(images, finished, "--overwrite_output_dir", "--max_train_steps=2")["steps"] == 2


@pytest.mark.parametrize("option", ["--lr_scheduler_type=cosin", "--train_dir=missing", "--config_overrides=window=7"])
def test_invalid_arguments_discard_nothing(images, finished, option):
    with pytest.raises(SystemExit):
        run(images, finished, "--overwrite_output_dir", option)
    assert (finished / "model").is_dir()


# Resuming


def test_a_finished_run_has_nothing_to_resume_and_an_unwritten_model_folder_is_made_up_for(images, finished, capsys):
    run(images, finished, "--resume_from_checkpoint=latest")
    assert "The run is complete" in capsys.readouterr().out
    shutil.rmtree(finished / "model")
    options = ("--resume_from_checkpoint=latest", "--logging_steps=5", "--eval_steps=100", "--checkpointing_steps=50")
    run(images, finished, *options)
    assert "Resuming after step 6" in capsys.readouterr().out
    assert (finished / "model").is_dir()


@pytest.mark.parametrize("kind", ["files", "parquet"])
def test_a_resumed_run_ends_with_the_same_weights_and_does_not_warn(images, tmp_path, kind, caplog):
    """`datasets` warns of a lost shuffle buffer for each stream even without a buffer."""
    options = ("--checkpointing_steps=3", "--streaming")
    run(images, tmp_path / "run", *options, kind=kind)
    shutil.copytree(tmp_path / "run" / "checkpoint-3", tmp_path / "resumed" / "checkpoint-3")
    (tmp_path / "resumed" / "arguments.json").touch()
    datasets_logging.enable_propagation()
    with caplog.at_level("WARNING"):
        run(images, tmp_path / "resumed", *options, "--resume_from_checkpoint=latest", kind=kind)
    datasets_logging.disable_propagation()
    assert "shuffle buffer" not in caplog.text
    models = [AutoModel.from_pretrained(tmp_path / name / "model") for name in ("run", "resumed")]
    assert all(torch.equal(*pair) for pair in zip(*(model.parameters() for model in models)))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--per_device_train_batch_size=2", "images in a step is 4 in the checkpoint, 2 now"),
        ("--config_overrides=embed_dim=16", "embed_dim is 8 in the checkpoint, 16 now"),
        ("--max_train_steps=12", "max_train_steps is 6 in the checkpoint, 12 now"),
        ("--max_eval_samples=4", r"held-out images \(checksum\) is"),
        ("--train_dir={images}/files/class0", r"files \(checksum of names\) is"),
    ],
)
def test_a_run_does_not_resume_with_settings_that_lead_elsewhere(images, finished, option, message):
    shutil.rmtree(finished / "model")
    with pytest.raises(SystemExit, match=f"{message}.*--model_name_or_path .*checkpoint-6"):
        run(images, finished, "--resume_from_checkpoint=latest", option.format(images=images))


def test_an_older_checkpoint_does_not_push_out_newer_ones(images, finished):
    shutil.rmtree(finished / "model")
    with pytest.raises(SystemExit, match="because .* has checkpoints of later steps, such as checkpoint-6"):
        run(images, finished, f"--resume_from_checkpoint={finished / 'checkpoint-3'}")


def test_a_checkpoint_starts_a_new_run(images, finished, tmp_path):
    metrics = run(images, tmp_path / "other", f"--model_name_or_path={finished / 'checkpoint-6'}")
    assert metrics["steps"] == 6


# Errors during the run


def test_a_loss_that_is_not_finite_leaves_the_checkpoints_before_it(images, tmp_path, monkeypatch):
    def make_example_or_overflow(self, image, epoch):
        example = make_example(self, image, epoch)
        if next(numbers) == 8 + 4 * 4:  # after the held-out images, the first one of the fifth step
            example["pixels"] = np.full(example["pixels"].shape, 1e38, dtype=np.float32)
            example["pixels"][:, ::2] = -1e38
        return example

    numbers, make_example = itertools.count(), ExampleMaker.__call__
    monkeypatch.setattr(ExampleMaker, "__call__", make_example_or_overflow)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_rescale": False}))
    options = ("--checkpointing_steps=2", "--logging_steps=10", "--checkpoints_total_limit=1")
    message = "The loss of process 0 is nan at step 5.*The last good checkpoint is .*checkpoint-4"
    with pytest.raises(SystemExit, match=message):
        run(images, tmp_path / "run", *options, f"--image_processor_name={tmp_path}")
    weights = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "run" / "checkpoint-4")
    assert all(parameter.isfinite().all() for parameter in weights.parameters())


def test_a_worker_that_was_killed_is_reported_with_the_likely_reason(images, tmp_path, monkeypatch):
    """Kill as the system does when memory runs out."""
    main_process = os.getpid()

    def kill(self, image, epoch):
        if os.getpid() != main_process:
            os.kill(os.getpid(), signal.SIGKILL)
        return make_example(self, image, epoch)

    make_example = ExampleMaker.__call__
    monkeypatch.setattr(ExampleMaker, "__call__", kill)
    with pytest.raises(SystemExit, match="A worker that decodes images was killed, .* --num_workers or --max_pixels"):
        run(images, tmp_path / "run", "--num_workers=1")
