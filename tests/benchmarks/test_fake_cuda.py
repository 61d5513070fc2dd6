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
"""Counts of `benchmarks/fake_cuda.py`: kernels and bytes of a GPU training step, and waits for the device."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch


ROOT = Path(__file__).parents[2]
FULL_IMAGES, SWIN = "full images, inference", "Swin, inference"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.version.cuda is not None, reason="needs a CPU build of torch"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]


def trace(folder: Path, *arguments) -> dict:
    """Results of the script by case."""
    path = folder / "trace.json"
    command = [sys.executable, "-m", "benchmarks.fake_cuda", *map(str, arguments), "--json", str(path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(path.read_text())["results"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Results of all cases for a small batch."""
    return trace(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Results of the cases whose counts are committed."""
    cases = ("masks", "shared mask", FULL_IMAGES, SWIN)
    folder = tmp_path_factory.mktemp("base")
    return trace(folder, "--model_size=base", "--batch_size=256", "--cases", *cases)


def test_only_planning_inside_the_forward_has_faults(tiny):
    faults = {name: case["faults"] for name, case in tiny.items() if case["faults"]}
    assert list(faults) == ["no plan"], faults


def test_no_case_has_atomics(tiny):
    assert len(tiny) > 10
    assert {name: case["atomics"] for name, case in tiny.items() if case["atomics"]} == {}


def test_a_step_of_base_launches_and_moves_little(base):
    assert base["masks"]["faults"] == []
    assert base["masks"]["kernels"] <= 2100
    assert base["masks"]["gigabytes"] <= 93


def test_a_step_of_base_has_no_atomics(base):
    assert base["masks"]["atomics"] == base["shared mask"]["atomics"] == 0


def test_inference_on_full_images_launches_no_more_than_swin(base):
    assert base[FULL_IMAGES]["kernels"] <= base[SWIN]["kernels"]
    assert base[FULL_IMAGES]["gigabytes"] <= base[SWIN]["gigabytes"]


def test_large_batches_of_large_images_stay_below_the_limit_of_a_launch(tmp_path):
    settings = ("--model_size=base", "--batch_size=256", "--image_size=512", "--cases=masks")
    masks = trace(tmp_path, *settings)["masks"]
    assert masks["faults"] == []
    assert 0 < masks["max_heads"] <= 65_535
