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
"""The GPU benchmark completes on a CPU even if parts of it fail."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest
import torch

from benchmarks import gpu, gpu_checks, peers
from benchmarks.gpu import get_idle_share, make_rows, parse_args
from benchmarks.training_step import run_alone
from modeling_greenmim import planning_greenmim


ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--device=cpu", "--model_sizes=tiny", "--batch_sizes=2", "--image_sizes", "224", "256"]
ARGUMENTS += ["--repeats=1", "--warmup=1", "--dtype=float32"]
SMALL_SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 7}


@pytest.fixture
def small_models(monkeypatch):
    """Measure all rows in this process, with models that take milliseconds."""
    monkeypatch.setitem(peers.SWIN_SIZES, "tiny", SMALL_SWIN)
    monkeypatch.setitem(peers.HIERA_SIZES, "tiny", {"embed_dim": 16, "depths": (1, 1, 1, 1)})
    monkeypatch.setitem(
        peers.VIT_SIZES,
        "tiny",
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    )
    monkeypatch.setattr(gpu, "run_alone", lambda function, *arguments, timeout: function(*arguments))
    monkeypatch.setattr(planning_greenmim, "NUM_STATIC_MASKS", 32)
    # not compiled, which takes minutes: `test_compile.py` compiles these models
    monkeypatch.setattr(gpu, "compile_module", lambda module, mode: module)


def run(tmp_path, *arguments, expected: int = 0) -> dict:
    path = tmp_path / "gpu.json"
    assert gpu.main([*ARGUMENTS, "--json", str(path), *arguments]) == expected
    return json.loads(path.read_text())["results"]


def break_peer(monkeypatch, name: str = "simmim"):
    def make_broken_peer(setting):
        raise RuntimeError("no such window\nand more")

    monkeypatch.setitem(peers.PEERS, name, make_broken_peer)


def test_all_rows_run(small_models, tmp_path, capsys):
    results = run(tmp_path, "--plot", str(tmp_path / "gpu.png"))
    assert not results["failed"]
    assert len(results["rows"]) == 9
    for row in results["rows"]:
        assert row["ours"]["median_ms"] > 0 and row["peer"]["median_ms"] > 0 and row["faster"] > 0
    output = capsys.readouterr().out
    assert "not measured" not in output and output.count("equal bits") == 2
    assert min(PIL.Image.open(tmp_path / "gpu.png").size) > 300


def test_compiled_rows_have_plans_of_one_shape(small_models):
    rows = make_rows(parse_args(ARGUMENTS))
    assert {row.setting.static_plans for row in rows if row.compile_mode != "none"} == {True}
    setting = next(row.setting for row in rows if row.setting.static_plans)
    plans = [peers.make_greenmim(setting).make_inputs(step)["plan"] for step in range(4)]
    shapes = {tuple(plan["stage1"]["window"]["set_index"].shape) for plan in plans}
    assert len(shapes) == 1


@pytest.mark.slow
def test_a_peer_that_raises_costs_only_its_own_figures(small_models, monkeypatch, tmp_path, capsys):
    break_peer(monkeypatch)
    results = run(tmp_path, "--compile_modes=none")
    assert not results["failed"]
    assert all(row["ours"]["median_ms"] > 0 for row in results["rows"])
    broken = [row for row in results["rows"] if row["peer"]["model"] == "simmim"]
    others = [row for row in results["rows"] if row["peer"]["model"] != "simmim"]
    assert len(broken) == 2 and len(others) == 4
    assert {row["peer"]["not_measured"] for row in broken} == {"RuntimeError: no such window"}
    assert {row["faster"] for row in broken} == {None}
    assert all(row["faster"] > 0 for row in others)
    assert "not measured: RuntimeError: no such window" in capsys.readouterr().out


@pytest.mark.slow
def test_a_peer_that_raises_in_a_later_step_costs_only_its_own_figures(small_models, monkeypatch, tmp_path):
    class Failing(torch.nn.Linear):
        num_steps = 0

        def forward(self, inputs):
            Failing.num_steps += 1
            if Failing.num_steps > 1:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(inputs)

    monkeypatch.setitem(
        peers.PEERS,
        "hiera",
        lambda setting: peers.Peer(
            Failing(2, 2), lambda step: {"inputs": torch.ones(1, 2)}, lambda outputs: outputs.sum()
        ),
    )
    results = run(tmp_path, "--compile_modes=none")
    (row,) = (row for row in results["rows"] if row["peer"]["model"] == "hiera")
    assert row["peer"] == {"model": "hiera", "not_measured": "OutOfMemoryError: out of memory"}
    assert row["ours"]["median_ms"] > 0


@pytest.mark.slow
def test_a_process_that_dies_costs_only_its_own_row(small_models, monkeypatch, tmp_path):
    def run_or_die(function, *arguments, timeout):
        if function is gpu.measure_pair and arguments[0].peer == "hiera":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return function(*arguments)

    monkeypatch.setattr(gpu, "run_alone", run_or_die)
    rows = run(tmp_path, "--compile_modes=none")["rows"]
    assert [row["peer"]["model"] for row in rows if row["faster"] is None] == ["hiera"]


def test_rows_after_the_time_limit_are_not_measured(small_models, tmp_path, capsys):
    results = run(tmp_path, "--time_limit=0", expected=1)
    assert {row["ours"]["not_measured"] for row in results["rows"]} == {"time is over"}
    assert "not measured: time is over" in capsys.readouterr().out


@pytest.mark.slow
def test_differing_values_mark_the_run_as_failed(small_models, monkeypatch, tmp_path, capsys):
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *args, **kwargs: 1.01 * attend(*args, **kwargs)
    )
    results = run(tmp_path, "--compile_modes=none", expected=1)
    assert results["failed"]
    failed = [result["name"] for result in results["checks"]["values"] if not result["passed"]]
    assert any(name.startswith("training") for name in failed)
    assert any(name.startswith("evaluation without gradients") for name in failed)
    assert any(name.startswith("full images") for name in failed)
    assert len(results["rows"]) == 6  # the times are still measured
    output = capsys.readouterr().out
    assert "| FAILED |" in output and "FAILED: a check of values" in output


@pytest.mark.slow
def test_a_check_that_raises_marks_the_run_as_failed(small_models, monkeypatch, tmp_path):
    break_peer(monkeypatch, "greenmim_full")
    results = run(tmp_path, "--compile_modes=none", expected=1)
    assert results["failed"] and results["checks"]["values_not_measured"] == "RuntimeError: no such window"


@pytest.mark.slow
def test_a_step_that_is_not_reproducible_marks_the_run_as_failed(small_models, monkeypatch, tmp_path, capsys):
    take_steps, errors = gpu_checks.take_steps, itertools.count()

    def take_other_steps(setting, dtype):
        losses_and_weights = take_steps(setting, dtype)
        losses_and_weights[-1] = losses_and_weights[-1] + 1e-6 * next(errors)
        return losses_and_weights

    monkeypatch.setattr(gpu_checks, "take_steps", take_other_steps)
    results = run(tmp_path, "--compile_modes=none", expected=1)
    assert results["failed"] and not results["checks"]["deterministic"]["equal"]
    assert "differ by up to" in capsys.readouterr().out


def test_deterministic_steps_use_the_settings_they_report(small_models, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    seen = []
    take_steps = gpu_checks.take_steps

    def take_steps_and_look(setting, dtype):
        seen.append(
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        )
        return take_steps(setting, dtype)

    monkeypatch.setattr(gpu_checks, "take_steps", take_steps_and_look)
    setting = peers.Setting(batch_size=2, per_sample=True)
    result = gpu_checks.check_determinism(setting, "float32", deterministic_algorithms=True)
    assert seen == [(True, False)] * 2
    assert result["equal"] and result["cublas_workspace"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()


def test_published_speeds_stand_next_to_ours():
    row = {"title": "base", "batch_size": 32, "compile_mode": "none", "image_size": 512}
    row["ours"] = {"images_per_second": 100.4}
    not_measured = {**row, "ours": {"not_measured": "time is over"}}
    (line,) = gpu.format_published([row, not_measured, {**row, "image_size": 224}])
    assert "100 images/s here" in line and "original GreenMIM 76, HiViT 318" in line


@pytest.mark.parametrize(
    ("intervals", "idle"),
    [
        ([(0, 10)], 0.0),
        ([(0, 5), (5, 10)], 0.0),
        ([(0, 2), (8, 10)], 0.6),
        ([(8, 10), (0, 4), (1, 3), (2, 6)], 0.2),  # kernels of two streams overlap
    ],
)
def test_idle_share(intervals, idle):
    assert get_idle_share(intervals) == pytest.approx(idle)


def test_a_function_that_takes_too_long_is_killed():
    with pytest.raises(TimeoutError, match="longer than 1 seconds"):
        run_alone(time.sleep, 600, timeout=1)


@pytest.mark.slow
def test_the_command(tmp_path):
    """Each row runs in its own process, as on a GPU."""
    command = [sys.executable, "-m", "benchmarks.gpu", *ARGUMENTS, "--compile_modes=none"]
    command += ["--json", str(tmp_path / "gpu.json")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    results = json.loads((tmp_path / "gpu.json").read_text())["results"]
    assert len(results["rows"]) == 6 and all(row["faster"] > 0 for row in results["rows"])
