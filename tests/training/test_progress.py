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
"""The progress of a run: its records, and errors in its steps."""

import errno

import pytest
import torch
from accelerate import Accelerator
from transformers.utils import logging as transformers_logging

from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.pretraining_arguments import DataArguments
from modeling_greenmim.training.pretraining_setup import open_data
from modeling_greenmim.training.progress import Progress
from tests.helpers.pretraining import CONFIG, write_images


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images = write_images(tmp_path_factory.mktemp("images"))
    return open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0)


@pytest.fixture
def warnings(caplog):
    transformers_logging.enable_propagation()
    with caplog.at_level("WARNING", logger="transformers"):
        yield caplog
    transformers_logging.disable_propagation()


def fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


class NoCheckpoints:
    def describe_last(self) -> str:
        return "The last good one is X."


def make_progress(data) -> Progress:
    return Progress(Accelerator(cpu=True), NoCheckpoints(), data)


def add_steps(progress: Progress, losses, grad_norms=None, **settings):
    for loss, grad_norm in zip(losses, grad_norms or [1.0] * len(losses)):
        batch = {"image_weights": None, "fill": 0.8, "epochs": [0] * 4, "unreadable": {}} | settings
        progress.add_micro_batch(batch, torch.tensor(loss))
        progress.add_step(torch.tensor(grad_norm))


def test_a_record_has_the_mean_loss_over_images(data):
    progress = make_progress(data)
    # a micro-batch of four slots with one image has a fourth of the loss
    add_steps(progress, [0.5])
    add_steps(progress, [0.25], image_weights=torch.tensor([1.0, 0, 0, 0]))
    record = progress.record(learning_rate=0.1)
    assert record["loss"] == pytest.approx((4 * 0.5 + 1 * 1.0) / 5)
    assert record["learning_rate"] == 0.1 and record["group_fill"] == pytest.approx(0.8)
    assert progress.images_seen == 8 and progress.step == 2
    assert progress.history == [{"step": 2, **record}]


def test_a_record_has_only_the_steps_since_the_last_one(data):
    progress = make_progress(data)
    add_steps(progress, [1.0])
    progress.record(0.1)
    add_steps(progress, [2.0])
    assert progress.record(0.1)["loss"] == 2.0


def test_progress_is_restored_from_its_state(data):
    progress, restored = make_progress(data), make_progress(data)
    add_steps(progress, [1.0, 2.0], unreadable={"a.png": "damaged"})
    progress.record(0.1)
    restored.load_state_dict(progress.state_dict())
    assert restored.state_dict() == progress.state_dict()
    assert restored.unreadable == {"a.png": "damaged"}


@pytest.mark.parametrize(
    ("losses", "grad_norms", "message"),
    [
        ([1.0, float("nan"), float("nan")], None, "The loss of process 0 is nan at step 2: .* diverged. The last good one is X."),
        ([1.0, 1.0, 1.0], [1.0, 1.0, float("inf")], "The gradient norm is inf at step 3"),
    ],
)  # fmt: skip
def test_the_first_value_that_is_not_finite_is_named(data, losses, grad_norms, message):
    progress = make_progress(data)
    add_steps(progress, losses, grad_norms)
    with pytest.raises(UserError, match=message):
        progress.record(0.1)


def test_with_loss_scaling_a_gradient_that_is_not_finite_is_skipped(data):
    progress = make_progress(data)
    progress.accelerator.scaler = object()
    add_steps(progress, [1.0], [float("inf")])
    assert progress.record(0.1)["loss"] == 1.0


def test_a_log_that_cannot_be_written_is_a_warning(data, monkeypatch, warnings):
    progress = make_progress(data)
    monkeypatch.setattr(progress.accelerator, "log", fail)
    progress.log({"eval_loss": 1.0})
    assert "Cannot write the log of step 0: [Errno 28] No space left on device" in warnings.text
    assert progress.history == [{"step": 0, "eval_loss": 1.0}]


def test_unreadable_images_are_named_once_and_limited(data, capsys):
    progress = make_progress(data)
    for number in range(12):
        add_steps(progress, [1.0], unreadable={f"{number // 2}.png": "damaged"})
    progress.record(0.1)
    assert capsys.readouterr().err.count("Skipped") == 6
    add_steps(progress, [1.0], unreadable={f"{number}.png": "damaged" for number in range(30)})
    with pytest.raises(UserError, match="30 of 60 images cannot be read, more than --max_unreadable 0.05"):
        progress.record(0.1)


def test_no_images_at_all_are_an_error(data):
    with pytest.raises(UserError, match="Process 0 has no images to train on"):
        next(make_progress(data).iterate([]))


def test_other_errors_of_a_loader_are_not_explained_away(data):
    def load():
        raise RuntimeError("a defect")
        yield

    with pytest.raises(RuntimeError, match="a defect"):
        next(make_progress(data).iterate(load()))
