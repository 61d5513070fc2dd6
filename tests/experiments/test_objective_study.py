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
"""The study of objectives: its configurations, the runs of its Makefile, and its summary."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, sample_masks
from modeling_greenmim.reconstruction_greenmim import DECODERS
from tests.helpers.scripts import ROOT, import_script


FOLDER = ROOT / "experiments" / "objective"

objectives = import_script("experiments/objective/objectives.py")
run_fusion = import_script("experiments/objective/run_fusion.py")


def make_model(objective: str) -> GreenMimForMaskedImageModeling:
    torch.manual_seed(0)
    return GreenMimForMaskedImageModeling(GreenMimConfig(**objectives.make_settings(objective))).train()


def get_loss(model: GreenMimForMaskedImageModeling) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    pixel_values = torch.randn(2, 3, 64, 64, generator=generator)
    mask = torch.from_numpy(sample_masks(2, (4, 4), model.config.mask_ratio, seed=0))
    features = None
    if model.config.teacher_hidden_size is not None:
        features = torch.randn(2, model.config.teacher_hidden_size, generator=generator)
    return model(pixel_values, bool_masked_pos=mask, teacher_features=features).loss


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_every_objective_trains_the_whole_encoder(objective):
    model = make_model(objective)
    get_loss(model).backward()
    gradients = [parameter.grad for _, parameter in model.greenmim.named_parameters() if parameter.requires_grad]
    assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) > 0.9 * len(gradients)


def test_the_fused_decoder_uses_every_stage(monkeypatch):
    monkeypatch.setitem(DECODERS, "self", run_fusion.make_decoder)
    model = make_model("fusion")
    loss = get_loss(model)
    loss.backward()
    assert run_fusion.fused == []  # no tokens are left over for the next step
    projections = [decoder.projection.weight for decoder in model.stage_decoders.values()]
    assert len(projections) == 2 and all(weight.grad.any() for weight in projections)
    with torch.no_grad():
        projections[0].zero_()
    assert get_loss(model) != loss


def test_steps_take_the_same_time_for_all_objectives():
    speeds = json.loads((FOLDER / "speeds.json").read_text())
    for dataset in objectives.IMAGE_SIZES:
        assert set(speeds[dataset]) == set(objectives.OBJECTIVES)
        for objective, speed in speeds[dataset].items():
            seconds = objectives.count_steps(dataset, objective) * objectives.BATCH_SIZE / speed
            assert seconds == pytest.approx(objectives.SECONDS, rel=0.02)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("objective", "has_teacher"), [("hog_stages", False), ("teacher_only", True)])
def test_a_run_is_pretrained_probed_and_fine_tuned_twice(tmp_path, objective, has_teacher):
    command = ["make", "-n", "-C", str(FOLDER), f"RUNS={tmp_path}", f"STUDY=eurosat/{objective}_seed1"]
    commands = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\\\n", "")
    lines = [line for line in commands.splitlines() if f"{objective}_seed1" in line and "/run_" in line]
    assert [line.split("/run_")[1].split(".py")[0] for line in lines] == [
        "pretraining_no_trainer",
        "probe",
        "image_classification",
        "image_classification",
    ]
    assert all("--seed 1" in line for line in lines)
    assert ("--teacher_model_name_or_path" in lines[0]) == has_teacher
    assert ("dataset_name data/cifar10" in commands) == has_teacher
    assert "--eval_split_name" not in lines[1] + lines[2] + lines[3]  # no choice depends on the test images


def test_the_guide_has_the_tables_of_the_results():
    command = [sys.executable, "summarize_results.py"]
    tables = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout
    lines = [line for line in tables.splitlines() if line.startswith("|")]
    guide = (ROOT / "docs" / "guides" / "objectives.md").read_text().splitlines()
    assert lines and set(lines) <= set(guide)


def test_the_summary_has_mean_and_spread_of_what_exists_so_far(tmp_path):
    for script in FOLDER.glob("*.py"):
        shutil.copy(script, tmp_path)
    for objective in objectives.OBJECTIVES:
        for seed in range(2):
            folder = tmp_path / "runs" / "pretraining" / "eurosat" / f"{objective}_seed{seed}"
            folder.mkdir(parents=True)
            history = [{"eval_loss": 9.0}, {"eval_loss": 1.0 + seed}]
            (folder / "metrics.json").write_text(json.dumps({"images_seen": 2560, "history": history}))
    command = [sys.executable, "summarize_results.py", "runs"]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    rows = [line for line in output.splitlines() if "1.500 ± 0.707" in line]
    assert len(rows) == len(objectives.OBJECTIVES) and all("| 2,560 |" in row for row in rows)
    assert json.loads((tmp_path / "results.json").read_text())["eurosat"]["hog"]["held_out_loss"] == [1.0, 2.0]


def test_the_guide_to_choices_has_the_measured_speeds():
    speeds = json.loads((FOLDER / "speeds.json").read_text())
    rows = (ROOT / "docs" / "guides" / "choose.md").read_text().splitlines()
    titles = {
        "pixels": "pixels",
        "hog": "HOG",
        "stages": "all stages",
        "cross": "cross-attention",
        "cross_quarter": "cross-attention on a part of the units",
        "teacher": "a teacher",
        "teacher_only": "only a teacher",
        "last_stage": "normalized pixels",
    }
    for objective, title in titles.items():
        numbers = ", ".join(f"{speeds[dataset][objective]:.0f}" for dataset in ("eurosat", "blood_cells"))
        assert any(row.startswith(f"| {title} |") and numbers in row for row in rows), (title, numbers)
