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
"""The comparison of other systems: the runs of its Makefile, and its table."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.helpers.pretraining import CONFIG
from tests.helpers.scripts import ROOT, import_script


FOLDER = ROOT / "experiments" / "systems"

compare_systems = import_script("experiments/systems/compare_systems.py")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_every_system_is_trained_for_the_same_steps(tmp_path):
    command = ["make", "-n", "-C", str(FOLDER), f"RUNS={tmp_path}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\\\n", "")
    lines = [line for line in output.splitlines() if "run_pretraining_no_trainer" in line]
    assert [line.split("/greenmim_")[1].split("_64.json")[0] for line in lines] == list(compare_systems.SYSTEMS)
    assert all("--max_train_steps 300 " in line for line in lines)
    assert ["--mask_sampler uniform" in line for line in lines] == [
        name == "uniform" for name in compare_systems.SYSTEMS
    ]


def test_the_table_has_speeds_and_losses_of_what_exists_so_far(tmp_path):
    for name, seconds in (("swin", 10.0), ("cluster", 20.0)):
        (tmp_path / name).mkdir()
        history = [{"eval_loss": 1.0}, {"eval_loss": 0.5}]
        metrics = {"steps": 300, "images_seen": 1000, "seconds": seconds, "history": history}
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
        CONFIG.save_pretrained(tmp_path / name / "model")
    rows = compare_systems.make_table(compare_systems.collect(tmp_path)).splitlines()[2:]
    assert [row.split(" | ")[3:] for row in rows] == [["100", "1.00", "0.500 |"], ["50", "0.50", "0.500 |"]]


def test_the_documentation_has_the_table_of_the_results():
    command = [sys.executable, "compare_systems.py"]
    table = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout
    assert table.strip() in (ROOT / "docs" / "greenmim.md").read_text()
