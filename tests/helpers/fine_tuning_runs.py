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
"""Runs of the segmentation and detection scripts, and checks that their tests share."""

import io
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from modeling_greenmim.parameter_groups import make_parameter_groups
from modeling_greenmim.training.stop_signals import StopSignals


# fmt: off
TRAINING = [
    "--report_to=none", "--disable_tqdm=true", "--max_steps=6", "--per_device_train_batch_size=4", "--eval_strategy=steps",
    "--eval_steps=3", "--save_strategy=steps", "--save_steps=3", "--save_total_limit=5", "--head_hidden_size=16",
]
# fmt: on


def encode(pixels: np.ndarray) -> dict:
    """Encode an image as `datasets` stores it."""
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def get_error(main, arguments: list) -> str:
    """Return the one-line error of a run."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    message = str(caught.value)
    assert "\n" not in message
    return message


def stop_after(step: int, monkeypatch, main, arguments: list):
    """Start a run that gets SIGTERM during a step."""
    steps = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGTERM * (next(steps) == step))
        with pytest.raises(SystemExit):
            main([str(argument) for argument in arguments])


def assert_equal_weights(folder: Path, other: Path):
    for name in ("checkpoint-6", "model"):
        expected, weights = (load_file(run / name / "model.safetensors") for run in (folder, other))
        assert expected.keys() == weights.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected), name


def assert_learning_rates_decay_in_the_backbone(model: torch.nn.Module):
    groups = make_parameter_groups(model, 1.0, 0.05, 0.5)
    learning_rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if "backbone" not in name or "hidden_states_norms" in name:
            assert learning_rates[id(parameter)] == 1.0, name
        elif "embeddings" in name:
            assert learning_rates[id(parameter)] == 0.5**4, name
        elif "layers.1.blocks" in name:
            assert learning_rates[id(parameter)] == 0.25, name


def predict_in_fresh_process(task: str, folder: Path, image: Path) -> str:
    """Run a pipeline on an image, and return its output as text."""
    code = "import sys, modeling_greenmim; from transformers import pipeline; print(pipeline(*sys.argv[1:3])(sys.argv[3]))"
    command = [sys.executable, "-c", code, task, str(folder), str(image)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout


def check_resume(main, arguments: list, tmp_path: Path, monkeypatch, *options: str):
    """Assert that a stopped and resumed run ends with the weights of an uninterrupted one."""
    arguments = [*arguments, *options, "--output_dir"]
    main([*arguments, str(tmp_path / "whole")])
    stop_after(4, monkeypatch, main, [*arguments, tmp_path / "stopped"])
    main([*arguments, str(tmp_path / "stopped"), "--resume_from_checkpoint=latest"])
    assert_equal_weights(tmp_path / "whole", tmp_path / "stopped")
