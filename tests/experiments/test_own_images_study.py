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
"""The study of own images: the runs of its Makefile, SimCLR, and the summary."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_greenmim import GreenMimConfig, GreenMimModel
from modeling_greenmim.training.fine_tuning_models import StartArguments, load_classifier
from tests.helpers.scripts import ROOT, import_script


FOLDER = ROOT / "experiments" / "own_images"

own_images = import_script("experiments/own_images/own_images.py")
measure_speeds = import_script("experiments/own_images/measure_speeds.py")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def run_simclr():
    pytest.importorskip("lightly")
    import_script("experiments/cifar10/run_simmim.py")  # the script imports from it
    return import_script("experiments/own_images/run_simclr.py")


def copy_study(folder: Path) -> Path:
    """The study with fixed speeds, next to the study of objectives, which makes the teacher."""
    folder.mkdir()
    (folder.parent / "objective").symlink_to(ROOT / "experiments" / "objective")
    for path in (*FOLDER.glob("*.py"), FOLDER / "Makefile"):
        shutil.copy(path, folder)
    speeds = {dataset: dict.fromkeys(runs, 50.0) for dataset, runs in measure_speeds.RUNS.items()}
    speeds["eurosat"] |= {"greenmim": 300.0, "simclr": 30.0}
    (folder / "speeds.json").write_text(json.dumps(speeds))
    return folder


@pytest.fixture
def study(tmp_path):
    return copy_study(tmp_path / "study")


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """List all runs of the study."""
    return list_commands(copy_study(tmp_path_factory.mktemp("commands") / "study"))


def run_script(study: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=study, capture_output=True, text=True, check=True).stdout


def list_commands(study: Path, *targets: str) -> list[str]:
    """List the runs that `make` would start, in order."""
    command = ["make", "-n", "-C", str(study), f"PYTHON={sys.executable}", "RUNS=runs", *targets]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0 and not process.stderr, process.stderr[-3000:]
    lines = process.stdout.replace("\\\n", "").splitlines()
    lines = [line for line in lines if "cifar10 --eval_split_name" not in line]  # the teacher, of the other study
    return [line for line in lines if "/run_" in line or "run_simclr" in line]


def get_option(command: str, name: str) -> str:
    words = command.split()
    return words[words.index(f"--{name}") + 1]


@needs_make
def test_every_run_is_made_once_and_after_the_model_that_it_starts_from(commands):
    names = [get_option(line, "output_file" if "run_probe" in line else "output_dir") for line in commands]
    expected = [f"runs/{name}" for kind in own_images.KINDS for name in own_images.list_runs(kind)]
    made = [name.removesuffix(".json").removesuffix("/swin") for name in names]
    assert sorted(made) == sorted(expected)
    for number, line in enumerate(commands):
        is_baseline = any(baseline in line for baseline in own_images.BASELINES)
        if "--model_name_or_path runs" in line and not is_baseline:
            start = Path(get_option(line, "model_name_or_path")).parent
            assert str(start) in made[:number], line


@needs_make
def test_classifiers_are_evaluated_on_test_images_and_recipes_are_not(commands):
    for line in commands:
        if "run_image_classification" in line or "run_probe" in line:
            assert ("--eval_split_name test" in line) == ("runs/recipes" not in line)
            assert ("--load_best_model_at_end false" in line) == ("run_probe" not in line)


@needs_make
def test_pretrainings_of_a_dataset_take_the_same_time(study, commands):
    speeds = json.loads((study / "speeds.json").read_text())
    seconds = {}
    for line in commands:
        if "--output_dir runs/pretraining/eurosat" not in line:
            continue
        name = get_option(line, "output_dir").split("/")[3]
        steps = get_option(line, "max_steps" if "--max_steps" in line else "max_train_steps")
        speed = speeds["eurosat"][own_images.get_speed_name(own_images.get_method(name))]
        seconds[name] = int(steps) * int(get_option(line, "per_device_train_batch_size")) / speed
    for name, value in seconds.items():
        expected = 1800 if name.startswith("cifar10") else own_images.SECONDS["eurosat"]
        assert value == pytest.approx(expected, rel=0.04), name
    assert len(seconds) == 8


@needs_make
def test_scratch_for_the_whole_time_gets_the_time_of_the_pretraining(study):
    folders = ("scratch", "scratch_whole")
    targets = [f"runs/fine_tuning/blood_cells/{folder}/80_seed0/model/config.json" for folder in folders]
    short, whole = (int(get_option(line, "num_train_epochs")) for line in list_commands(study, *targets))
    assert (whole - short) * 80 / 50 == pytest.approx(own_images.SECONDS["blood_cells"], rel=0.01)


@needs_make
def test_checkpoints_that_are_evaluated_are_those_that_are_kept(study):
    (line,) = list_commands(study, f"runs/pretraining/{own_images.WATCHED}/model/config.json")
    interval, steps = int(get_option(line, "checkpointing_steps")), int(get_option(line, "max_train_steps"))
    assert int(get_option(line, "checkpoints_total_limit")) >= steps / interval == own_images.NUM_PARTS
    probe = list_commands(study, f"runs/probes/{own_images.WATCHED}.json")[-1]
    for part in range(1, own_images.NUM_PARTS):
        assert f"checkpoint-{part * interval} " in probe


def test_the_budget_counts_every_run(study):
    lines = run_script(study, "own_images.py", "budget").splitlines()
    (*rows, (_, number, hours)) = [line.strip("| ").split(" | ") for line in lines[2:]]
    assert sum(int(row[1]) for row in rows) == int(number)
    assert int(number) == sum(len(own_images.list_runs(kind)) for kind in own_images.KINDS)
    assert sum(float(row[2]) for row in rows) == pytest.approx(float(hours), abs=0.05 * len(rows))


def test_the_page_has_the_budget():
    budget = run_script(FOLDER, "own_images.py", "budget")
    assert budget in (FOLDER / "README.md").read_text() and float(budget.split()[-2]) <= 36


@pytest.mark.parametrize(("dataset", "num_units"), [("eurosat", 16), ("blood_cells", 36)])
def test_the_model_is_sized_to_the_data(dataset, num_units):
    import_script("experiments/objective/objectives.py")
    config = GreenMimConfig(**own_images.make_config(dataset, "greenmim"))
    assert (config.image_size // config.mask_unit_size) ** 2 == num_units
    assert 2e6 < GreenMimModel(config).num_parameters() < 5e6


def make_simclr(run_simclr):
    import_script("experiments/objective/objectives.py")
    torch.manual_seed(0)
    return run_simclr.SimClr(GreenMimConfig(**own_images.make_config("eurosat", "greenmim"))).train()


def test_simclr_trains_every_parameter_of_the_encoder(run_simclr):
    model = make_simclr(run_simclr)
    loss = run_simclr.NTXentLoss()(*model(torch.randn(4, 3, 64, 64)).chunk(2))
    loss.backward()
    assert all(parameter.grad.any() for parameter in model.greenmim.parameters() if parameter.requires_grad)


def test_the_encoder_of_simclr_is_loaded_to_be_fine_tuned(run_simclr, tmp_path):
    model = make_simclr(run_simclr)
    model.greenmim.save_pretrained(tmp_path)
    start = load_classifier(StartArguments(model_name_or_path=str(tmp_path)), ["forest", "river"])
    loaded = start.model.greenmim.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.greenmim.state_dict().items())


def test_a_checkpoint_of_simclr_has_all_weights(run_simclr, tmp_path):
    model = make_simclr(run_simclr)
    model(torch.randn(4, 3, 64, 64))  # changes its batch norm statistics
    model.save_pretrained(tmp_path)
    loaded = run_simclr.SimClr.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_views_follow_from_the_seed(run_simclr):
    collator = run_simclr.ViewsCollator((64, 64), 0.2)
    pixels = np.asarray(Image.effect_noise((64, 64), 60).convert("RGB")).transpose(2, 0, 1).copy()
    seeds = ((0, 1, 2), (0, 1, 3))
    examples = [{"pixels": pixels, "mask_seed": seed, "epoch": 0, "unreadable": {}} for seed in seeds]
    first = collator(examples)["inputs"]
    np.random.random(5)
    torch.rand(5)
    second = collator(examples)["inputs"]
    assert torch.equal(first["first"], second["first"]) and torch.equal(first["second"], second["second"])
    assert first["first"].shape == (2, 3, 64, 64)
    assert not torch.equal(*first["first"]) and not torch.equal(first["first"], first["second"])


def test_the_summary_has_mean_and_spread_of_what_exists_so_far(study):
    runs = study / "runs"
    metrics = {"segmentation": "mean_iou", "detection": "map"}
    for kind in ("fine_tuning", "recipes", *metrics):
        for name in own_images.list_runs(kind):
            if "scratch_whole" not in name:
                (runs / name).mkdir(parents=True)
                value = 0.5 + 0.01 * int(name[-1]) if "seed" in Path(name).name else 0.25
                content = {f"eval_{metrics.get(kind, 'accuracy')}": value}
                (runs / name / "eval_results.json").write_text(json.dumps(content))
    for name in own_images.list_runs("probes"):
        content = {f"{name}/model": {"linear": 0.4, "knn": 0.3}}
        if name == f"probes/{own_images.WATCHED}":
            parts = own_images.NUM_PARTS
            steps = round(300 * own_images.SECONDS["eurosat"] / own_images.BATCH_SIZE / parts)
            content |= {f"{name}/checkpoint-{part * steps}": {"linear": 0.2, "knn": 0.1} for part in range(1, parts)}
        path = runs / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"accuracy": content}))
    for method, file in (("greenmim", "metrics.json"), ("simclr", "train_results.json")):
        path = runs / "pretraining" / "eurosat" / f"{method}_seed0" / file
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"images_seen": 5120}))
    output = run_script(study, "summarize_results.py", "runs")
    assert "| SimCLR | 5,120 | 40.0 | 30.0 | 51.0 ± 1.0 | 51.0 ± 1.0 | 51.0 ± 1.0 |" in output
    assert "| 0.33 | 20.0 | 10.0 | 50.0 |" in output and "| 2.00 | 40.0 | 30.0 | 50.0 |" in output
    assert "| plain | 25.0 | 25.0 |" in output
    assert output.count("| SimMIM | 51.0 ± 1.0 |") == 1 and output.count("| SimMIM | 50.0 |") == 1
    assert output.count("5,120") == 2
    results = json.loads((study / "results.json").read_text())
    assert results["fine_tuning"]["eurosat"]["scratch"]["216"] == [0.5, 0.51, 0.52]
    for name in ("accuracy_over_hours.png", "accuracy_over_labels.png"):
        with Image.open(study / name) as image:
            assert min(image.size) > 300


def test_the_summary_of_nothing_is_empty_tables(study):
    output = run_script(study, "summarize_results.py", "runs")
    assert "± " not in output and "| start |" in output
