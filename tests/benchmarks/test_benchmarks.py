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
"""The benchmarks run at trivial sizes, and results are compared correctly."""

import copy
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from benchmarks.compare_results import compare


ROOT = Path(__file__).parents[2]


def run(name: str, *arguments, expected: int = 0) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == expected, process.stderr[-3000:]
    return process.stdout


def make_results(median_ms: float) -> dict:
    ours = {"model": "greenmim", "median_ms": median_ms, "min_ms": 1.0, "images_per_second": 8e3 / median_ms}
    peer = {"model": "simmim", "median_ms": 400.0}
    loader = {"num_workers": 2, "loader": {"images_per_second": 1e5 / median_ms}}
    return {"settings": {}, "machine": {}, "results": {"steps": [{"ours": ours, "peer": peer}], "loaders": [loader]}}


@pytest.mark.parametrize(
    ("median_ms", "verdict", "is_slower"),
    [(100, "", False), (109, "", False), (112, "SLOWER", True), (80, "faster", False)],
)
def test_a_step_that_became_ten_percent_slower_is_shown(median_ms, verdict, is_slower):
    rows, slower = compare(make_results(100.0), make_results(median_ms), tolerance=0.1)
    assert slower == is_slower
    assert len(rows) == 3  # a speed derived from a time is not shown again
    (ours,) = (row for row in rows if "greenmim" in row)
    assert "steps / ours / model greenmim / median_ms" in ours and ours.endswith(f"{verdict} |")
    (loader,) = (row for row in rows if "num_workers 2" in row)
    assert loader.endswith(f"{verdict} |")


def test_rows_that_are_new_or_gone_are_shown():
    before = make_results(100.0)
    after = copy.deepcopy(before)
    after["results"]["steps"][0]["peer"]["model"] = "hiera"
    rows, is_slower = compare(before, after, tolerance=0.1)
    assert not is_slower
    assert any("hiera" in row and "new" in row for row in rows) and any(
        "simmim" in row and "gone" in row for row in rows
    )


def make_counts(**counts) -> dict:
    masks = {"kernels": 2632, "gigabytes": 105.2, "atomics": 0, "kernels_by_name": {"mm": 169}, "faults": []}
    return {"settings": {}, "machine": {}, "results": {"masks": {**masks, **counts}}}


@pytest.mark.parametrize(
    ("counts", "verdict", "is_worse"),
    [
        ({"kernels": 2070}, "| masks / kernels | 2632 | 2070 | 0.79 | less |", False),
        ({"gigabytes": 126.2}, "| masks / gigabytes | 105.2 | 126.2 | 1.20 | MORE |", True),
        ({"atomics": 72}, "| masks / atomics | 0 | 72 | inf | MORE |", True),
        ({}, "| masks / atomics | 0 | 0 | 1.00 |  |", False),
    ],
)
def test_counts_of_a_trace_should_be_low(counts, verdict, is_worse):
    rows, worse = compare(make_counts(), make_counts(**counts), tolerance=0.1)
    assert worse == is_worse
    assert len(rows) == 3 and verdict in rows


def test_comparing_from_the_command_line(tmp_path):
    for name, median_ms in (("before", 100.0), ("after", 120.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(make_results(median_ms)))
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    assert "1.20 | SLOWER" in run("compare_results", before, after, expected=1)
    run("compare_results", before, after, "--tolerance=0.3")


@pytest.mark.slow
def test_data_loading(tmp_path):
    for index in range(40):
        content = io.BytesIO()
        pixels = np.random.default_rng(index).integers(256, size=(40, 40, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(content, "PNG")
        (tmp_path / f"{index}.png").write_bytes(content.getvalue())
    output = run(
        *("data_loading", "--train_dir", tmp_path, "--batch_size=8", "--num_workers", 0, 1, "--num_steps=2"),
        *("--masks_per_image", 2),
        *("--config_name_or_path", ROOT / "examples" / "configs" / "greenmim_cifar10_32.json"),
        *("--json", tmp_path / "results.json", "--device=cpu"),
    )
    assert "model alone" in output and output.count("| model |") + output.count("| loader |") == 2
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert set(results["parts_ms"]) == {"read", "decode", "crop", "rescale, mask, plan"}
    assert min(results["parts_ms"].values()) > 0 and len(results["loaders"]) == 2
    speed = results["loaders"][0]["both"]["images_per_second"]
    assert f"| {2 * speed:.0f} |" in output


@pytest.mark.slow
def test_scaling(tmp_path):
    output = run(
        *("scaling", "--mask_ratios", 0.5, 0.75, "--image_sizes", 224, 256),
        *("--num_pixels=1", "--repeats=1", "--device=cpu"),
        *("--plot", tmp_path / "plot.png", "--json", tmp_path / "results.json"),
    )
    assert "| 224 | 1 | 0.5 | 1536 |" in output and "| 256 | 1 | 0.75 | 1024 |" in output
    assert min(PIL.Image.open(tmp_path / "plot.png").size) > 300
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert len(results["by_mask_ratio"]) == len(results["by_image_size"]) == 2


@pytest.mark.slow
def test_static_plans(tmp_path):
    arguments = ("--model_sizes", "tiny", "--batch_sizes", 4, "--image_size", 96, "--draws", 5)
    text = run("static_plans", *arguments, "--json", tmp_path / "static.json")
    (row,) = json.loads((tmp_path / "static.json").read_text())["results"]
    assert "| tiny | 4 |" in text and row["static_shapes"] <= row["searched_shapes"] and row["cost_over_searched"] >= 1


def test_published_costs_of_static_plans_are_those_of_the_results():
    rows = json.loads((ROOT / "benchmarks" / "results" / "static_plans.json").read_text())["results"]
    base = {row["batch_size"]: row for row in rows if row["model_size"] == "base"}
    costs = {batch_size: f"{100 * (row['cost_over_searched'] - 1):.1f}%" for batch_size, row in base.items()}
    text = " ".join((ROOT / "docs" / "export.md").read_text().split())
    assert (
        f"For base, this costs {costs[256]} more multiply-adds of the attention at a batch of 256, {costs[64]} at 64 "
        f"(200 batches each: {base[256]['static_shapes']} shapes and {base[64]['static_shapes']})" in text
    )
    assert all(row["static_shapes"] <= 3 for row in rows)
    assert base[256]["cost_over_searched"] <= 1.01 and base[64]["cost_over_searched"] <= 1.02
