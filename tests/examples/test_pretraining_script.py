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
"""The pre-training scripts in this process: what they report, refuse and leave behind. What needs processes of its own (kills,
signals, several processes) is in test_pretraining_runs.py."""

import errno
import itertools
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset, Features, Image
from datasets.utils import logging as datasets_logging
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModel, SwinConfig, SwinForImageClassification, SwinModel
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging as transformers_logging

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimModel, publish
from modeling_greenmim.training.image_decoding import ExampleMaker
from modeling_greenmim.training.stop_signals import StopSignals


ROOT = Path(__file__).parents[2]

from modeling_greenmim.training.command_line import UserError

import run_pretraining
import run_pretraining_no_trainer
from pretraining_run import PretrainingRun


SETTINGS = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": (1, 1),
    "num_heads": (1, 2),
    "window_size": 4,
}
CONFIG = GreenMimConfig(
    **SETTINGS, decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_intermediate_size=32
)


@pytest.fixture(autouse=True)
def light_and_fresh(monkeypatch):
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)  # seconds each, and tested elsewhere
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Sixty images, in a folder for each of two classes that are told apart by their color."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(60):
        pixels = rng.integers(0, 128, size=(5, 4, 3), dtype=np.uint8)
        pixels[:, :, index % 2] += 127
        path = folder / f"class{index % 2}" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(pixels).resize((36, 40), PIL.Image.Resampling.BICUBIC).save(path)
    CONFIG.save_pretrained(folder)
    return folder


def run(images: Path, output_dir: Path, *options, model: str | None = "--config_name_or_path") -> dict:
    settings = {
        **({"--train_dir": images} if images else {}),
        "--output_dir": output_dir,
        **({model: images} if model else {}),
        "--per_device_train_batch_size": 4,
        "--num_workers": 0,
        "--max_train_steps": 6,
        "--max_eval_samples": 8,
        "--logging_steps": 2,
        "--eval_steps": 3,
    }
    arguments = [f"{name}={value}" for name, value in settings.items()]
    run_pretraining_no_trainer.main([*arguments, *map(str, options)])
    return json.loads((output_dir / "metrics.json").read_text())


def test_what_is_recorded(images, tmp_path, capsys):
    metrics = run(
        images, tmp_path / "run", "--with_tracking", "--report_to=tensorboard", "--knn", "--max_eval_samples=20"
    )
    records = [record for record in metrics["history"] if "loss" in record]
    assert [record["step"] for record in records] == [2, 3, 4, 6]
    for record in records:
        assert 0.5 < record["loss"] < 2 and record["grad_norm"] > 0 and record["learning_rate"] >= 0
        assert record["images_per_second"] > 0 and 0 <= record["data_wait_share"] < 1
        assert record["peak_memory_gib"] > 0 and 0.5 < record["group_fill"] <= 1
    evaluations = [record for record in metrics["history"] if "eval_loss" in record]
    assert [record["step"] for record in evaluations] == [0, 3, 6]
    assert all(0 <= record["eval_knn_accuracy"] <= 1 for record in evaluations)
    assert metrics["images_seen"] == 24
    assert "Loss on held-out images" in capsys.readouterr().out

    events = EventAccumulator(str(tmp_path / "run" / "logs" / "greenmim_pretraining"))
    events.Reload()
    assert {"loss", "learning_rate", "grad_norm", "images_per_second", "data_wait_share", "group_fill"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("eval_loss")] == [0, 3, 6]
    assert events.Tags()["images"] == ["reconstructions"]


def test_the_model_folder_and_its_card(images, tmp_path):
    metrics = run(images, tmp_path / "run", "--license=apache-2.0")
    model = AutoModel.from_pretrained(tmp_path / "run" / "model")
    trained = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "run" / "checkpoint-6").greenmim
    assert isinstance(model, GreenMimModel)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), trained.parameters()))
    card = ModelCard.load(tmp_path / "run" / "model" / "README.md")
    assert card.data.license == "apache-2.0"
    eval_loss = metrics["history"][-1]["eval_loss"]
    for text in (
        *(
            "52 images",
            "| steps | 6 |",
            "| images seen | 24 |",
            f"of 8 held-out images after 6 steps: {eval_loss:.4f}",
        ),
        *("![Loss over the steps](loss_curve.png)", "reconstructions.png", "--max_train_steps=6", "CPU", "torch 2"),
        "Its weights started at random.",
    ):
        assert text in card.text
    assert "None" not in card.text
    for name in ("loss_curve.png", "reconstructions.png"):
        assert min(PIL.Image.open(tmp_path / "run" / "model" / name).size) > 300


def test_push_to_hub(images, tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr(publish, "get_token", lambda: "token")
    monkeypatch.setattr(run_pretraining_no_trainer, "get_token", lambda: "token")
    monkeypatch.setattr(publish, "push_to_hub", lambda *arguments: pushed.append(arguments))
    run(images, tmp_path / "run", "--push_to_hub", "--hub_model_id=me/my-model", "--hub_private_repo")
    assert pushed == [(tmp_path / "run" / "model", "me/my-model", True, None)]
    assert '"me/my-model"' in (tmp_path / "run" / "model" / "README.md").read_text()


def test_an_upload_without_a_token_is_refused_before_the_training(images, tmp_path, monkeypatch):
    monkeypatch.setattr(run_pretraining_no_trainer, "get_token", lambda: None)
    with pytest.raises(SystemExit, match="no token"):
        run(images, tmp_path / "run", "--push_to_hub", "--hub_model_id=me/my-model")
    assert not list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.parametrize(
    "options", [("--gradient_checkpointing",), ("--no_mask_per_sample",), ("--mask_sampler=block",)]
)
def test_options_of_the_training(images, tmp_path, options):
    assert run(images, tmp_path / "run", *options)["steps"] == 6


def test_gradient_accumulation_is_a_larger_batch(images, tmp_path):
    options = ("--max_eval_samples=0", "--logging_steps=1", "--learning_rate=1e-3")
    large = run(images, tmp_path / "large", *options, "--per_device_train_batch_size=8")
    GradientState._reset_state()
    AcceleratorState._reset_state(reset_partial_state=True)
    accumulated = run(images, tmp_path / "accumulated", *options, "--gradient_accumulation_steps=2")
    np.testing.assert_allclose(
        [record["loss"] for record in large["history"]],
        [record["loss"] for record in accumulated["history"]],
        rtol=1e-5,
    )
    assert large["images_seen"] == accumulated["images_seen"] == 48


def test_held_out_images_from_another_folder(images, tmp_path):
    metrics = run(images, tmp_path / "run", f"--validation_dir={images / 'class0'}")
    assert metrics["num_held_out"] == 8
    assert "60 images" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_nearest_neighbors_are_those_of_the_same_class():
    rng = np.random.default_rng(0)
    labels = ["cat", "dog"] * 30
    features = rng.normal(size=(60, 16)) + 4 * np.array([[1 if label == "cat" else -1] * 16 for label in labels])
    assert pretraining_evaluation.get_knn_accuracy(features, labels) > 0.9
    assert pretraining_evaluation.get_knn_accuracy(rng.normal(size=(60, 16)), labels) < 0.8


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_pictures_say_where_unit_statistics_come_from(norm_pix_loss):
    note = pretraining_evaluation.make_note(norm_pix_loss)
    assert ("mean and variance, taken from the image itself" in note) == norm_pix_loss


def test_pictures_hide_what_the_model_does_not_see():
    model = GreenMimForMaskedImageModeling(CONFIG).eval()
    pixel_values = torch.rand(2, 3, 32, 32) + 0.1
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[:, ::2] = True
    with torch.no_grad():
        outputs = model(pixel_values, bool_masked_pos=mask)
    rows = pretraining_evaluation.make_picture_rows(model, pixel_values, outputs)
    hidden = (rows["masked"] == 0).all(dim=1)
    assert hidden.float().mean() == 0.5
    visible = ~hidden[:, None].expand_as(pixel_values)
    assert torch.equal(rows["reconstruction"][visible], pixel_values[visible])
    assert not torch.equal(rows["reconstruction"], pixel_values)


# What it starts from


def test_a_swin_is_where_it_starts(images, tmp_path):
    """Its encoder goes on learning, at another size of images too; its license stays."""
    torch.manual_seed(1)
    swin = SwinForImageClassification(SwinConfig(**SETTINGS))
    swin.save_pretrained(tmp_path / "swin")
    (tmp_path / "swin" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A Swin\n")
    options = (
        f"--model_name_or_path={tmp_path / 'swin'}",
        "--learning_rate=1e-12",
        "--weight_decay=0",
        "--image_size=48",
    )
    run(images, tmp_path / "run", *options, model=None)
    model = AutoModel.from_pretrained(tmp_path / "run" / "model").eval()
    pixel_values = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = SwinModel.from_pretrained(tmp_path / "swin").eval()(pixel_values).last_hidden_state
        torch.testing.assert_close(model(pixel_values).last_hidden_state, expected, rtol=1e-4, atol=1e-5)
    assert model.config.image_size == 48
    card = ModelCard.load(tmp_path / "run" / "model" / "README.md")
    assert card.data.license == "cc-by-nc-4.0"
    assert "started from the weights of `swin`" in card.text and "images of 48 x 48 pixels" in card.text
    settings = json.loads((tmp_path / "run" / "model" / "preprocessor_config.json").read_text())
    assert settings["size"] == {"height": 48, "width": 48}


def test_a_checkpoint_or_a_bare_encoder_is_where_it_starts(images, tmp_path):
    run(images, tmp_path / "first")
    GreenMimModel(CONFIG).save_pretrained(tmp_path / "encoder")
    for start in (tmp_path / "first" / "checkpoint-6", tmp_path / "encoder"):
        AcceleratorState._reset_state(reset_partial_state=True)
        metrics = run(images, tmp_path / start.name, f"--model_name_or_path={start}", model=None)
        assert metrics["steps"] == 6


def test_a_run_from_a_swin_is_resumed(images, tmp_path):
    SwinModel(SwinConfig(**SETTINGS)).save_pretrained(tmp_path / "swin")
    run(images, tmp_path / "run", f"--model_name_or_path={tmp_path / 'swin'}", model=None)
    shutil.rmtree(tmp_path / "run" / "model")
    AcceleratorState._reset_state(reset_partial_state=True)
    run(
        images,
        tmp_path / "run",
        f"--model_name_or_path={tmp_path / 'swin'}",
        "--resume_from_checkpoint=latest",
        model=None,
    )
    assert (tmp_path / "run" / "model").is_dir()


def test_the_folder_of_a_run_is_no_model(images, tmp_path):
    run(images, tmp_path / "run")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(SystemExit, match="is the folder of a run: its model is .*run/model"):
        run(images, tmp_path / "other", f"--model_name_or_path={tmp_path / 'run'}", model=None)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--train_dir=",), "Give --train_dir, --data_files or --dataset_name"),
        (("--dataset_name=x",), "not --train_dir and --dataset_name"),
        (("--model_name_or_path=x",), "Give --model_name_or_path or --config_name_or_path, not both"),
        (("--config_overrides=window=7",), "window"),
        (("--config_overrides=image_size=30",), "30 x 30 pixels are not made of whole mask units"),
        (("--image_processor_name=missing",), "missing has no preprocessor_config.json"),
        (("--mask_ratio=1.5",), "mask_ratio"),
        (("--min_crop_scale=0",), "--min_crop_scale must be above 0"),
        (("--max_unreadable=2",), "--max_unreadable must be from 0 to 1, but is 2"),
        (("--max_pixels=1000000000",), "--max_pixels must be from 1 to 178956970, but is 1000000000"),
        (("--per_device_train_batch_size=0",), "--per_device_train_batch_size must be at least 1, but is 0"),
        (("--per_device_train_batch_size=100",), "52 images to train on, fewer than the 100 in a step"),
        (("--num_train_epochs=1",), "not both"),
        (("--mixed_precision=fp8",), "--mixed_precision must be no, bf16 or fp16"),
        (("--push_to_hub",), "go together"),
        (("--adam_beta2=1.5",), "--adam_beta2 must be at least 0 and below 1, but is 1.5"),
        (("--seed=5000000000",), "--seed must be from 0 to 4294967295"),
        (("--lerning_rate=1",), "unknown arguments: --lerning_rate=1"),
        (("--report_to=tensorbord", "--with_tracking"), "tensorbord"),
        (("--knn", "--max_eval_samples=6"), "--knn needs 5 held-out images of a class"),
        (("--report_to=wandb", "--with_tracking"), "wandb is not installed"),
        (("--validation_dir=missing",), "--validation_dir missing is neither a folder nor a file"),
        (("--resume_from_checkpoint=missing",), "--resume_from_checkpoint must be a checkpoint, got missing"),
        (("--resume_from_checkpoint=latest", "--overwrite_output_dir"), "--overwrite_output_dir discards"),
        (
            ("--learning_rate=1e30", "--num_warmup_steps=0"),
            r"at step \d: the training has diverged. There is no checkpoint",
        ),
    ],
)
def test_settings_that_cannot_be(images, tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        run(images, tmp_path / "run", *options)
    assert not (tmp_path / "run" / "model").exists()


def test_knn_needs_labels(images, tmp_path):
    with pytest.raises(SystemExit, match="--knn needs held-out images with labels of at least two kinds"):
        run(images / "class0", tmp_path / "run", f"--config_name_or_path={images}", "--knn", model=None)


def test_an_output_folder_that_cannot_be_written(images, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="Cannot write to --output_dir"):
        run(images, tmp_path / "file" / "run")


def test_a_second_run_does_not_overwrite_the_first(images, tmp_path):
    run(images, tmp_path / "run")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(
        SystemExit, match="holds a run already.*--resume_from_checkpoint latest.*--overwrite_output_dir"
    ):
        run(images, tmp_path / "run")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert run(images, tmp_path / "run", "--overwrite_output_dir", "--max_train_steps=2")["steps"] == 2


def test_an_older_checkpoint_does_not_push_out_newer_ones(images, tmp_path):
    run(images, tmp_path / "run", "--checkpointing_steps=3")
    shutil.rmtree(tmp_path / "run" / "model")
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(SystemExit, match="because .* has checkpoints of later steps, such as checkpoint-6"):
        run(images, tmp_path / "run", f"--resume_from_checkpoint={tmp_path / 'run' / 'checkpoint-3'}")
    shutil.copytree(tmp_path / "run" / "checkpoint-3", tmp_path / "run" / "checkpoint-best")  # is none of ours
    AcceleratorState._reset_state(reset_partial_state=True)
    run(images, tmp_path / "run", "--checkpointing_steps=3", "--resume_from_checkpoint=latest")


def test_wrong_arguments_discard_nothing(images, tmp_path):
    run(images, tmp_path / "run")
    for option in ("--lr_scheduler_type=cosin", "--train_dir=missing", "--config_overrides=window=7"):
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.raises(SystemExit):
            run(images, tmp_path / "run", "--overwrite_output_dir", option)
        assert (tmp_path / "run" / "model").is_dir()


def test_processes_that_do_not_know_of_each_other_are_refused(images, tmp_path, monkeypatch):
    monkeypatch.setattr(example_command.os, "environ", {**os.environ, "WORLD_SIZE": "2", "RANK": "0"})
    with pytest.raises(UserError, match="2 processes were started, but 1 train together"):
        example_command.check_num_processes(1)


def test_an_upload_that_fails_says_how_to_repeat_it(images, tmp_path, monkeypatch):
    def fail(*arguments):
        raise HfHubHTTPError(
            "500 Server Error", response=httpx.Response(500, request=httpx.Request("POST", "https://hub"))
        )

    monkeypatch.setattr(publish, "get_token", lambda: "token")
    monkeypatch.setattr(run_pretraining_no_trainer, "get_token", lambda: "token")
    monkeypatch.setattr(publish, "push_to_hub", fail)
    with pytest.raises(
        SystemExit, match="is complete, but was not uploaded .*500 Server Error.*hf upload me/my-model .*model"
    ):
        run(images, tmp_path / "run", "--push_to_hub", "--hub_model_id=me/my-model")
    assert (tmp_path / "run" / "model" / "config.json").is_file()


def test_a_folder_that_is_not_of_a_run_is_left_alone(images, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").touch()
    with pytest.raises(SystemExit, match="has a 'model' that is of no run of this script"):
        run(images, tmp_path, "--overwrite_output_dir")
    assert (tmp_path / "model" / "precious").is_file()
    with pytest.raises(SystemExit, match="has a model already"):
        run_trainer(images, tmp_path)


def test_a_run_is_not_resumed_with_another_course(images, tmp_path):
    run(images, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    for options, message in [
        (("--per_device_train_batch_size=2",), "images in a step is 4 in the checkpoint, 2 now"),
        (("--config_overrides=embed_dim=16",), "embed_dim is 8 in the checkpoint, 16 now"),
        (("--max_train_steps=12",), "max_train_steps is 6 in the checkpoint, 12 now"),
        ((f"--train_dir={images / 'class0'}",), r"files \(checksum of names\) is"),
        (("--max_eval_samples=4",), r"held-out images \(checksum\) is"),
    ]:
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.raises(SystemExit, match=f"{message}.*--model_name_or_path .*checkpoint-6"):
            run(images, tmp_path / "run", "--resume_from_checkpoint=latest", *options)
    AcceleratorState._reset_state(reset_partial_state=True)
    run(images, tmp_path / "run", "--resume_from_checkpoint=latest", "--logging_steps=5", "--eval_steps=100")
    assert (tmp_path / "run" / "model").is_dir()


def test_a_damaged_checkpoint_is_named(images, tmp_path):
    run(images, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    for name in ("model.safetensors", "training_state.pt", "run.json"):
        path = tmp_path / "run" / "checkpoint-6" / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        AcceleratorState._reset_state(reset_partial_state=True)
        with pytest.raises(SystemExit, match="Cannot load .*checkpoint-6 because it is damaged"):
            run(images, tmp_path / "run", "--resume_from_checkpoint=latest")
        path.write_bytes(content)


def test_a_loss_that_is_not_finite_leaves_the_checkpoints_before_it(images, tmp_path, monkeypatch):
    def make_example_or_overflow(self, image, epoch):
        example = make_example(self, image, epoch)
        if next(numbers) == 8 + 4 * 4:  # after the held-out images, the first one of the fifth step
            example["pixels"] = np.full(example["pixels"].shape, 1e38, dtype=np.float32)
            example["pixels"][:, ::2] = -1e38
        return example

    numbers, make_example = itertools.count(), ExampleMaker.__call__
    monkeypatch.setattr(ExampleMaker, "__call__", make_example_or_overflow)
    options = (
        "--checkpointing_steps=2",
        "--logging_steps=10",
        "--checkpoints_total_limit=1",
        "--image_processor_name",
        tmp_path,
    )
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_rescale": False}))
    with pytest.raises(
        SystemExit, match="The loss of process 0 is nan at step 5.*The last good checkpoint is .*checkpoint-4"
    ):
        run(images, tmp_path / "run", *options)
    weights = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "run" / "checkpoint-4")
    assert all(parameter.isfinite().all() for parameter in weights.parameters())


@pytest.mark.parametrize("method", ["save_figure", "log"])
def test_a_picture_or_a_log_that_cannot_be_written_is_a_warning(images, tmp_path, monkeypatch, caplog, method):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = PretrainingRun if method == "save_figure" else Accelerator
    monkeypatch.setattr(target, method, fail)
    transformers_logging.enable_propagation()
    with caplog.at_level("WARNING", logger="transformers"):
        assert run(images, tmp_path / "run")["steps"] == 6
    transformers_logging.disable_propagation()
    assert "Cannot write the" in caplog.text and "No space left on device" in caplog.text


def test_a_worker_that_was_killed_is_reported_with_the_likely_reason(images, tmp_path, monkeypatch):
    """As the system does when memory runs out."""
    killed_by = os.getpid()

    def kill(self, image, epoch):
        if os.getpid() != killed_by:
            os.kill(os.getpid(), signal.SIGKILL)
        return make_example(self, image, epoch)

    make_example = ExampleMaker.__call__
    monkeypatch.setattr(ExampleMaker, "__call__", kill)
    with pytest.raises(SystemExit, match="A worker that decodes images was killed, .* --num_workers or --max_pixels"):
        run(images, tmp_path / "run", "--num_workers=1")


@pytest.mark.parametrize("options", [(), ("--streaming",)])
def test_an_exact_resume_does_not_warn_of_a_shuffle_buffer(images, tmp_path, caplog, options):
    """`datasets` does so for each stream, also without a buffer."""
    rows = {"image": [{"bytes": path.read_bytes(), "path": None} for path in sorted(images.rglob("*.png"))]}
    (tmp_path / "parquet").mkdir()
    Dataset.from_dict(rows, features=Features({"image": Image()})).to_parquet(tmp_path / "parquet" / "0.parquet")
    options += (f"--train_dir={tmp_path / 'parquet'}", f"--config_name_or_path={images}", "--checkpointing_steps=3")
    run(None, tmp_path / "run", *options, model=None)
    for name in ("model", "checkpoint-6"):
        shutil.rmtree(tmp_path / "run" / name)
    AcceleratorState._reset_state(reset_partial_state=True)
    datasets_logging.enable_propagation()
    with caplog.at_level("WARNING"):
        run(None, tmp_path / "run", *options, "--resume_from_checkpoint=latest", model=None)
    datasets_logging.disable_propagation()
    assert "shuffle buffer" not in caplog.text


# With the Trainer


def run_trainer(images: Path, output_dir: Path, *options):
    run_pretraining.main(
        [
            *(f"--train_dir={images}", f"--output_dir={output_dir}", f"--config_name_or_path={images}"),
            *("--max_steps=6", "--per_device_train_batch_size=4", "--max_eval_samples=8", "--use_cpu", "--do_eval"),
            *("--logging_steps=1", "--eval_strategy=steps", "--eval_steps=3", "--save_steps=3", "--disable_tqdm=true"),
            *map(str, options),
        ]
    )
    return json.loads((output_dir / "metrics.json").read_text())


def test_pretraining_with_the_trainer(images, tmp_path):
    metrics = run_trainer(images, tmp_path / "run", "--weight_decay=0.1")
    assert metrics["steps"] == 6
    assert [record["step"] for record in metrics["history"] if "eval_loss" in record] == [3, 6, 6]
    AutoModel.from_pretrained(tmp_path / "run" / "model")
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "52 images" in card and "| weight_decay | 0.1 |" in card
    # resumed, it sees the images that would have been next
    shutil.copytree(tmp_path / "run" / "checkpoint-3", tmp_path / "resumed" / "checkpoint-3")
    resumed = run_trainer(images, tmp_path / "resumed", "--weight_decay=0.1", "--resume_from_checkpoint=latest")
    losses = [[record["loss"] for record in results["history"] if "loss" in record] for results in (metrics, resumed)]
    assert losses[0] == losses[1]
    assert get_last_checkpoint(tmp_path / "resumed").endswith("checkpoint-6")


def test_the_trainer_is_stopped_and_goes_on(images, tmp_path, monkeypatch):
    whole = run_trainer(images, tmp_path / "whole")
    steps = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGINT * (next(steps) == 2))
        with pytest.raises(SystemExit) as caught:
            run_trainer(images, tmp_path / "stopped")
    assert caught.value.code == 128 + signal.SIGINT
    with pytest.raises(SystemExit, match="holds a run already"):
        run_trainer(images, tmp_path / "stopped")
    resumed = run_trainer(images, tmp_path / "stopped", "--resume_from_checkpoint=latest")
    losses = [[record["loss"] for record in results["history"] if "loss" in record] for results in (whole, resumed)]
    assert losses[0] == losses[1]


def test_the_trainer_counts_epochs(images, tmp_path):
    assert run_trainer(images, tmp_path / "run", "--max_steps=-1", "--num_train_epochs=0.5")["steps"] == 7
    with pytest.raises(SystemExit, match="52 images to train on, fewer than the 64"):
        run_trainer(images, tmp_path / "other", "--per_device_train_batch_size=64")
