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
"""Trainer runs that are stopped, killed and resumed."""

import itertools
import signal
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    TrainingArguments,
    set_seed,
)

from modeling_greenmim import GreenMimConfig, GreenMimForImageClassification
from modeling_greenmim.training import trainer as trainer_module
from modeling_greenmim.training.command_line import StoppedBySignal
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning import FineTuningArguments, FineTuningTrainer
from modeling_greenmim.training.stop_signals import StopSignals
from modeling_greenmim.training.trainer import find_checkpoint, start_run, train
from tests.helpers.labeled_images import SETTINGS


class Killed(BaseException):
    """Like SIGKILL: nothing handles it."""


def make_trainer(output_dir: Path, architecture: str = "greenmim", compute_metrics=None, **settings):
    """Train three epochs of six steps, with a checkpoint after every second step."""
    set_seed(0)
    if architecture == "greenmim":
        model = GreenMimForImageClassification(GreenMimConfig(**SETTINGS, num_labels=3, drop_path_rate=0.3))
    else:
        model = SwinForImageClassification(SwinConfig(**SETTINGS, num_labels=3, drop_path_rate=0.3))
    examples = [{"pixel_values": torch.randn(3, 16, 16), "labels": index % 3} for index in range(12)]
    strategy = {f"{name}_strategy": "steps" for name in ("eval", "save")} | {"eval_steps": 2, "save_steps": 2}
    defaults = {"num_train_epochs": 3, "per_device_train_batch_size": 2, "report_to": "none", "save_total_limit": 10}
    args = FineTuningArguments(
        output_dir=str(output_dir), use_cpu=True, disable_tqdm=True, **(strategy | defaults | settings)
    )
    return FineTuningTrainer(
        model=model, args=args, train_dataset=examples, eval_dataset=examples[:4], compute_metrics=compute_metrics
    )


def run(output_dir: Path, resume_from_checkpoint: str | None = None, **settings) -> dict[str, torch.Tensor]:
    trainer = make_trainer(output_dir, **settings)
    train(trainer, find_checkpoint(output_dir, resume_from_checkpoint))
    trainer.keep_average()
    return trainer.model.state_dict()


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    ("killed_in", "settings"),
    [
        ("save_model", {"ema_decay": 0.9}),
        ("_save_optimizer_and_scheduler", {"ema_decay": 0.9}),
        ("_save_rng_state", {"gradient_accumulation_steps": 2, "save_steps": 1, "eval_steps": 1}),
        ("_save_rng_state", {"architecture": "swin", "ema_decay": 0.9}),
    ],
    ids=["weights", "optimizer", "random states", "Swin"],
)
def test_a_run_killed_while_it_writes_ends_with_the_same_weights(tmp_path, monkeypatch, killed_in, settings):
    expected = run(tmp_path / "whole", **settings)
    calls, method = itertools.count(1), getattr(FineTuningTrainer, killed_in)

    def kill_second_call(*args, **kwargs):
        if next(calls) == 2:
            raise Killed
        return method(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuningTrainer, killed_in, kill_second_call)
        with pytest.raises(Killed):
            run(tmp_path / "killed", **settings)
    assert_equal(run(tmp_path / "killed", "latest", **settings), expected)


@pytest.mark.parametrize(
    ("step", "limit"), [(3, 1), (6, 3), (8, 3)], ids=["in an epoch", "at its end", "where a checkpoint is due"]
)
def test_a_stopped_run_ends_with_the_same_weights(tmp_path, monkeypatch, step, limit):
    settings = {"save_total_limit": limit}
    expected = run(tmp_path / "whole", **settings)
    steps = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGTERM * (next(steps) == step))
        with pytest.raises(StoppedBySignal, match=f"Stopped after step {step}. Resume with") as caught:
            run(tmp_path / "stopped", **settings)
    assert caught.value.number == signal.SIGTERM
    assert (tmp_path / "stopped" / f"checkpoint-{step}").is_dir()
    assert_equal(run(tmp_path / "stopped", "latest", **settings), expected)


def test_a_signal_after_the_last_step_is_too_late(tmp_path, monkeypatch):
    monkeypatch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGTERM)
    run(tmp_path, max_steps=1, save_strategy="no", eval_strategy="no", load_best_model_at_end=False)


@pytest.mark.parametrize("architecture", ["greenmim", "swin"])
@pytest.mark.parametrize("best", [0, 2])
def test_the_best_of_the_evaluated_models_is_kept(tmp_path, architecture, best):
    evaluations = itertools.count()
    weights = run(
        tmp_path,
        architecture=architecture,
        compute_metrics=lambda prediction: {"accuracy": float(next(evaluations) == best)},
        metric_for_best_model="accuracy",
        max_steps=6,
    )
    checkpoints = [tmp_path / f"checkpoint-{step}" for step in (2, 4, 6)]
    saved = [AutoModelForImageClassification.from_pretrained(checkpoint).state_dict() for checkpoint in checkpoints]
    for name in weights:
        assert torch.equal(weights[name], saved[best][name])
    name = next(name for name in weights if name.endswith("blocks.0.layernorm_before.weight"))
    assert not torch.equal(weights[name], saved[1][name])


def test_a_checkpoint_of_a_different_model_raises(tmp_path):
    run(tmp_path, max_steps=2)
    with pytest.raises(UserError, match="does not match this model"):
        run(tmp_path, "latest", architecture="swin")


def test_a_checkpoint_has_its_average_before_its_state(tmp_path):
    run(tmp_path, max_steps=2, ema_decay=0.9)
    times = [(tmp_path / "checkpoint-2" / name).stat().st_mtime_ns for name in ("ema.pt", "trainer_state.json")]
    assert times == sorted(times)


def make_checkpoints(folder: Path, **states: str | None) -> Path:
    for name, state in states.items():
        checkpoint = folder / name.replace("_", "-")
        checkpoint.mkdir(parents=True)
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state)
    return folder


@pytest.mark.parametrize("state", [None, "", '{"epoch": 1.'], ids=["missing", "empty", "cut off"])
def test_latest_is_the_last_checkpoint_that_is_whole(tmp_path, state):
    make_checkpoints(tmp_path, checkpoint_2='{"epoch": 1}', checkpoint_10='{"epoch": 2}', checkpoint_12=state)
    assert find_checkpoint(tmp_path, "latest") == str(tmp_path / "checkpoint-10")


def test_latest_starts_where_no_checkpoint_is_whole(tmp_path):
    make_checkpoints(tmp_path, checkpoint_2=None)
    assert find_checkpoint(tmp_path, "latest") is None
    assert find_checkpoint(tmp_path / "new", "latest") is None


def test_a_checkpoint_is_found_by_its_path(tmp_path):
    make_checkpoints(tmp_path, checkpoint_2='{"epoch": 1}', checkpoint_4='{"epoch": 2}')
    wanted = str(tmp_path / "." / "checkpoint-2")
    assert find_checkpoint(tmp_path, wanted) == wanted


def test_a_checkpoint_that_is_not_whole_raises(tmp_path):
    make_checkpoints(tmp_path, checkpoint_2='{"epoch": 1}', checkpoint_4=None)
    with pytest.raises(
        UserError, match="must be a complete checkpoint .* got .*checkpoint-4. Complete checkpoints: checkpoint-2"
    ):
        find_checkpoint(tmp_path, str(tmp_path / "checkpoint-4"))


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    make_checkpoints(tmp_path, checkpoint_2='{"epoch": 1}')
    with pytest.raises(
        UserError,
        match="already contains a run. Resume it with --resume_from_checkpoint latest, .* a different --output_dir, or remove",
    ):
        find_checkpoint(tmp_path, None)


@pytest.mark.parametrize("wanted", [None, "latest"])
def test_a_folder_with_a_model_is_not_overwritten(tmp_path, wanted):
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="already contains the model of a complete run"):
        find_checkpoint(tmp_path, wanted)


@pytest.mark.parametrize(("hub_model_id", "token"), [(None, "token"), ("me/my-model", None)])
def test_an_upload_needs_a_name_and_a_token(tmp_path, monkeypatch, hub_model_id, token):
    monkeypatch.setattr(trainer_module, "get_token", lambda: token)
    args = TrainingArguments(str(tmp_path), push_to_hub=True, hub_model_id=hub_model_id, use_cpu=True)
    with pytest.raises(UserError, match="--push_to_hub needs --hub_model_id and a token"):
        start_run(args)


def test_the_trainer_itself_uploads_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "get_token", lambda: "token")
    args = TrainingArguments(str(tmp_path), push_to_hub=True, hub_model_id="me/my-model", use_cpu=True)
    assert start_run(args) == (None, "me/my-model") and not args.push_to_hub
    args = TrainingArguments(str(tmp_path), hub_model_id="me/my-model", use_cpu=True)
    assert start_run(args) == (None, None)
