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
"""The experiments of examples/cifar10, on a few images."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from filelock import FileLock
from transformers import AutoConfig, SwinForMaskedImageModeling, TrainingArguments

from modeling_greenmim import GreenMimForMaskedImageModeling
from modeling_greenmim.modeling_greenmim import GreenMimDecoder


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "cifar10"

import run_experiments
import run_scrambled
import run_simmim

from modeling_greenmim.training.trainer import CheckpointTrainer

import experiment_jobs
import experiment_results
import run_pretraining_no_trainer
from experiment_jobs import Job, make_jobs, run_jobs


CONFIG = AutoConfig.from_pretrained(FOLDER / "greenmim_cifar10.json")


@pytest.fixture
def data_dir(tmp_path):
    rng = np.random.default_rng(0)
    for split, number in (("train", 80), ("test", 40)):
        images = []
        for index in range(number):
            content = io.BytesIO()
            pixels = np.clip(rng.integers(40, size=(32, 32, 3)) + 20 * (index % 10), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(content, "PNG")
            images.append({"bytes": content.getvalue(), "path": None})
        features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
        rows = {"image": images, "label": [index % 10 for index in range(number)]}
        (tmp_path / "data").mkdir(exist_ok=True)
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "data" / f"{split}-0.parquet")
    return tmp_path / "data"


def test_jobs_come_after_those_they_need():
    jobs = make_jobs("data", Path("runs"))
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names) and len({job.result for job in jobs}) == len(jobs)
    for index, job in enumerate(jobs):
        assert set(job.needs) <= set(names[:index]), job.name


def make_job(tmp_path, name: str, code: str, *needs: str) -> Job:
    command = ["-c", f"from pathlib import Path; {code}", str(tmp_path / name)]
    return Job(name, lambda: command, tmp_path / name, needs)


def test_what_is_done_is_not_run_again_and_what_needs_a_failure_is_not_run(tmp_path, capsys):
    write = "import sys; Path(sys.argv[1]).write_text(str(Path(sys.argv[1]).exists()))"
    jobs = [
        make_job(tmp_path, "first", write),
        make_job(tmp_path, "second", write, "first"),
        make_job(tmp_path, "wrong", "raise SystemExit('no')"),
        make_job(tmp_path, "after", write, "wrong"),
        make_job(tmp_path, "writes_nothing", "pass"),
    ]
    (tmp_path / "first").write_text("done before")
    assert sorted(run_jobs(jobs, tmp_path, num_parallel=2, num_threads=1)) == ["after", "writes_nothing", "wrong"]
    assert (tmp_path / "first").read_text() == "done before"
    assert (tmp_path / "second").exists() and not (tmp_path / "after").exists()
    assert "no" in (tmp_path / "wrong.log").read_text()
    output = capsys.readouterr().out
    assert "wrong: FAILED" in output and "after: not run, as it needs wrong" in output
    assert run_jobs(jobs[:2], tmp_path, num_parallel=1, num_threads=1) == []


def test_a_job_whose_command_cannot_be_made_has_failed(tmp_path):
    def make_command():
        raise FileNotFoundError("no metrics.json")

    jobs = [Job("job", make_command, tmp_path / "result")]
    assert run_jobs(jobs, tmp_path, num_parallel=1, num_threads=1) == ["job"]
    assert "no metrics.json" in (tmp_path / "job.log").read_text()


def test_what_is_stopped_stops_its_jobs(tmp_path):
    """With SIGTERM, or Ctrl-C in the terminal of another: jobs may write checkpoints, and no job is left behind."""
    job = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text("a checkpoint"), sys.exit(1)))
print("running", flush=True)
time.sleep(60)
"""
    driver = f"""
import signal, sys
from pathlib import Path
from experiment_jobs import Job, run_jobs
signal.signal(signal.SIGTERM, signal.default_int_handler)
folder = Path({str(tmp_path)!r})
run_jobs([Job("job", lambda: ["-c", {job!r}, str(folder / "checkpoint")], folder / "result")], folder, 1, 1)
"""
    process = subprocess.Popen([sys.executable, "-c", driver], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "job.log").is_file() or "running\n" not in (tmp_path / "job.log").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert "Interrupted. The same command goes on" in process.communicate(timeout=30)[1]
    assert (tmp_path / "checkpoint").read_text() == "a checkpoint"


def test_one_call_at_a_time(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["run_experiments.py", "--data_dir", str(data_dir), "--output_dir", str(tmp_path)]
    )
    with FileLock(tmp_path / "run_experiments.lock"), pytest.raises(SystemExit, match="another run_experiments.py"):
        run_experiments.main()


def test_simmim_is_the_swin_of_the_configuration():
    model = run_simmim.make_simmim(CONFIG)
    greenmim = GreenMimForMaskedImageModeling(CONFIG)
    encoder = {name: tensor.shape for name, tensor in greenmim.greenmim.state_dict().items()}
    swin = {name: tensor.shape for name, tensor in model.swin.state_dict().items() if "mask_token" not in name}
    assert sum(map(torch.Size.numel, encoder.values())) == sum(
        shape.numel() for name, shape in swin.items() if "relative_position_index" not in name
    )
    outputs = model(torch.randn(2, 3, 32, 32), bool_masked_pos=torch.rand(2, 64) < 0.75)
    assert outputs.reconstruction.shape == (2, 3, 32, 32)


def test_weights_of_a_checkpoint_are_those_of_the_model(tmp_path):
    """Also where they are stored under other names."""
    model = run_simmim.make_simmim(CONFIG)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "checkpoint-1")
    trainer = CheckpointTrainer(model, TrainingArguments(str(tmp_path), report_to="none"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_simmim_hides_the_pixels_that_greenmim_hides():
    """A mask of units and that of patches say the same of every pixel."""
    mask = torch.rand(3, 16) < 0.7

    def collator(examples):
        inputs = {"pixel_values": None, "bool_masked_pos": mask, "plan": {}}
        return {"inputs": inputs, "image_weights": None, "unreadable": {}}

    inputs = run_simmim.PatchMasks(collator, patches_per_unit=2, units_per_row=4)([])["inputs"]
    assert set(inputs) == {"pixel_values", "bool_masked_pos"}
    of_units = mask.view(3, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    of_patches = inputs["bool_masked_pos"].view(3, 8, 8).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(of_units, of_patches)


def test_scrambled_latents_stay_at_visible_units(monkeypatch):
    """The units are the same, and nearly no latent is at its own."""
    visible_indices = torch.arange(16).repeat(50, 1)[:, 3:11]
    scrambled = run_scrambled.scramble(visible_indices)
    assert torch.equal(scrambled.sort(dim=1).values, visible_indices)
    assert 0.05 < (scrambled == visible_indices).float().mean() < 0.25

    monkeypatch.setattr(GreenMimDecoder, "forward", GreenMimDecoder.forward)  # put back after the test
    torch.manual_seed(0)
    decoder = GreenMimDecoder(CONFIG)
    torch.nn.init.normal_(decoder.mask_token)
    latents = torch.randn(1, 8, CONFIG.hidden_size)
    expected = decoder(latents, visible_indices[:1], (4, 4))
    orders = []
    monkeypatch.setattr(run_pretraining_no_trainer, "main", lambda: None)
    monkeypatch.setattr(run_scrambled, "scramble", lambda indices: orders.append(indices) or indices.flip(1))
    run_scrambled.main()
    torch.testing.assert_close(decoder(latents.flip(1), visible_indices[:1], (4, 4)), expected)
    assert len(orders) == 1


def test_tables_and_plot_of_a_part_of_the_results(tmp_path):
    results = {
        "speed": {
            "greenmim_images_per_second": 300.0,
            "simmim_images_per_second": 100.0,
            "steps": 3900,
            "simmim_steps_in_the_same_time": 1300,
        },
        "probes": {
            "untrained": {"0": {"linear": 0.3, "knn": 0.2}},
            "greenmim": {"390": {"linear": 0.4, "knn": 0.3}, "3900": {"linear": 0.5, "knn": 0.45}},
        },
        "fine_tuning": {"scratch": {"5000": [0.4, 0.42, 0.44]}, "greenmim": {"5000": [0.5], "500": [0.31, 0.33]}},
    }
    tables = experiment_results.make_tables(results)
    assert "3.00 times as long" in tables and "1,300" in tables
    assert "| from scratch | not run | 42.0 ± 2.0 | not run |" in tables
    assert "| GreenMIM | 32.0 ± 1.4 (2 seeds) | 50.0 (one seed) | not run |" in tables
    assert "| GreenMIM | 998,400 | 50.0 | 45.0 |" in tables
    experiment_results.draw(results).savefig(tmp_path / "plot.png")
    assert experiment_results.make_tables({"speed": {}, "probes": {}, "fine_tuning": {}}) == ""


def test_published_tables_are_those_of_the_results():
    tables = experiment_results.make_tables(json.loads((FOLDER / "results.json").read_text()))
    published = (ROOT / "docs" / "results.md").read_text()
    assert all(line in published for line in tables.splitlines())
    rows = {
        line.split(" |")[0]: line for line in reversed(tables.splitlines())
    }  # of the first table, where two have one
    readme = (ROOT / "README.md").read_text().replace("**", "")
    for start in ("from scratch", "SimMIM, same time", "GreenMIM"):
        assert rows[f"| {start}"] in readme
    for start in ("from scratch, longer", "GreenMIM, fine-tuned longer"):
        (measured,) = [cell.strip() for cell in rows[f"| {start}"].split("|")[2:-1] if "not run" not in cell]
        assert measured in readme


@pytest.mark.parametrize(("task", "metric"), [("semantic-segmentation", "mean_iou"), ("object-detection", "coco_map")])
def test_published_tables_of_dense_tasks_are_those_of_the_results(task, metric):
    published = (ROOT / "docs" / "results.md").read_text()
    results = json.loads((ROOT / "examples" / task / "results.json").read_text())[metric]
    first, second = results.pop("2,000 images").values()
    for step in first:
        assert f"| {int(step):,} steps | {first[step]:.3f} | {second[step]:.3f} |" in published
    for images in results.values():
        assert all(f"{value['1000']:.3f}" in published for value in images.values())


def test_only_what_is_there(data_dir, tmp_path, monkeypatch):
    arguments = ["--data_dir", data_dir, "--output_dir", tmp_path / "runs", "--only", "greenmim", "nosuchjob"]
    monkeypatch.setattr(sys, "argv", ["run_experiments.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="--only nosuchjob: no job"):
        run_experiments.main()
    assert not (tmp_path / "runs").exists()


def test_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run_experiments.py", "--data_dir", str(tmp_path)])
    with pytest.raises(SystemExit):
        run_experiments.main()
    assert "has no train-*.parquet" in capsys.readouterr().err


@pytest.mark.slow
def test_all_experiments(data_dir, tmp_path, monkeypatch, capsys):
    """Every job, as short as can be; then nothing is left to do."""
    for name, value in {
        "NUM_STEPS": 4,
        "CHECKPOINTING_STEPS": 2,
        "BATCH_SIZE": 16,
        "TIMED_STEPS": 2,
        "NUM_TIMINGS": 1,
        "NUM_PROBE_IMAGES": 40,
        "STARTS": dict.fromkeys(experiment_jobs.STARTS, (20,)),
        "FINE_TUNING": {20: 1},
        "LONGER_FINE_TUNING": {20: 2},
        "SEEDS": (0,),
    }.items():
        monkeypatch.setattr(experiment_jobs, name, value)
        if hasattr(experiment_results, name):
            monkeypatch.setattr(experiment_results, name, value)
    output_dir = tmp_path / "runs"
    monkeypatch.setattr(
        sys,
        "argv",
        ["run_experiments.py", "--data_dir", str(data_dir), "--output_dir", str(output_dir), "--num_parallel", "2"],
    )
    run_experiments.main()
    results = json.loads((output_dir / "results.json").read_text())
    assert results["speed"]["greenmim_images_per_second"] > 0
    assert set(results["fine_tuning"]) == set(experiment_jobs.STARTS)
    assert results["probes"]["greenmim"].keys() == {"2", "4"}
    SwinForMaskedImageModeling.from_pretrained(output_dir / "simmim_same_images" / "model")
    capsys.readouterr()
    run_experiments.main()
    assert "0 of " in capsys.readouterr().out
