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
"""The CIFAR-10 study: the runs of its Makefile, its scripts, and the published results."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from transformers import AutoConfig, SwinForMaskedImageModeling, TrainingArguments

from modeling_greenmim import GreenMimForMaskedImageModeling
from modeling_greenmim.reconstruction_greenmim import GreenMimDecoder
from modeling_greenmim.training.trainer import CheckpointTrainer
from tests.helpers.scripts import ROOT, import_script


FOLDER = ROOT / "experiments" / "cifar10"
NUM_RUNS = 69
CONFIG = AutoConfig.from_pretrained(FOLDER / "greenmim_cifar10.json")
SMALL = {
    "STEPS": 4,
    "CHECKPOINTING_STEPS": 2,
    "BATCH_SIZE": 16,
    "TIMED_STEPS": 3,
    "PROBE_IMAGES": 40,
    "LABELS": "500",
    "SEEDS": "0",
}

run_scrambled = import_script("experiments/cifar10/run_scrambled.py")
run_simmim = import_script("experiments/cifar10/run_simmim.py")
summarize_results = import_script("experiments/cifar10/summarize_results.py")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def run_make(*arguments, **variables) -> str:
    variables = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "-C", str(FOLDER), f"PYTHON={sys.executable}", *arguments, *variables]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process.stdout


def list_runs(runs: Path) -> list[str]:
    """List the folder or file that each `make` command would write, in order."""
    names = []
    for line in run_make("-n", RUNS=runs).splitlines():
        words = line.split()
        if "--output_dir" in words or "--output_file" in words:
            option = "--output_dir" if "--output_dir" in words else "--output_file"
            names.append(str(Path(words[words.index(option) + 1]).relative_to(runs)).removesuffix("/model"))
        elif "save_untrained.py" in words:
            names.append("untrained")
    return names


@needs_make
def test_every_run_comes_after_what_it_needs(tmp_path):
    names = list_runs(tmp_path)
    assert len(names) == len(set(names)) == NUM_RUNS
    assert names[:4] == ["timing_greenmim_0", "timing_simmim_0", "timing_greenmim_1", "timing_simmim_1"]
    for index, name in enumerate(names):
        pretraining = Path(name).stem.split("_500")[0].removesuffix("_longer")
        if pretraining.startswith("simmim") and name.startswith("fine_tuning"):
            pretraining += "_converted"
        assert pretraining in (*names[: index + 1], "scratch"), name


@needs_make
def test_a_run_that_is_done_is_not_repeated(tmp_path):
    for name in list_runs(tmp_path):
        path = tmp_path / name if name.endswith(".json") else tmp_path / name / "model" / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list_runs(tmp_path) == []
    (tmp_path / "simmim_same_time" / "model" / "config.json").unlink()
    assert list_runs(tmp_path) == ["simmim_same_time"]


def test_simmim_has_the_swin_of_the_configuration():
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
    """Also if they are stored under different names."""
    model = run_simmim.make_simmim(CONFIG)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path / "checkpoint-1")
    trainer = CheckpointTrainer(model, TrainingArguments(str(tmp_path), report_to="none"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_patch_masks_hide_the_pixels_that_unit_masks_hide():
    unit_masks = torch.rand(3, 16) < 0.7
    patch_masks = run_simmim.get_patch_masks(unit_masks, CONFIG)
    unit_pixels = np.kron(unit_masks.view(3, 4, 4).numpy(), np.ones((8, 8), dtype=bool))
    patch_pixels = np.kron(patch_masks.view(3, 8, 8).numpy(), np.ones((4, 4), dtype=bool))
    np.testing.assert_array_equal(patch_pixels, unit_pixels)


def test_scrambling_only_changes_the_order_of_units():
    visible_indices = torch.arange(16).repeat(50, 1)[:, 3:11]
    scrambled = run_scrambled.scramble(visible_indices)
    assert torch.equal(scrambled.sort(dim=1).values, visible_indices)
    assert 0.05 < (scrambled == visible_indices).float().mean() < 0.25


def test_a_scrambled_decoder_places_latents_in_the_scrambled_order(monkeypatch):
    class Decoder(GreenMimDecoder):
        pass

    torch.manual_seed(0)
    decoder = Decoder(CONFIG)
    torch.nn.init.normal_(decoder.mask_token)
    latents, visible_indices = torch.randn(1, 8, CONFIG.hidden_size), torch.arange(3, 11)[None]
    expected = decoder(latents, visible_indices, (4, 4))
    monkeypatch.setattr(run_scrambled, "scramble", lambda indices: indices.flip(1))
    run_scrambled.scramble_latents(Decoder)
    torch.testing.assert_close(decoder(latents.flip(1), visible_indices, (4, 4)), expected)
    assert not torch.allclose(decoder(latents, visible_indices, (4, 4)), expected)


@pytest.mark.slow
def test_run_scrambled_runs_the_script_that_it_is_given(tmp_path):
    (tmp_path / "script.py").write_text(
        "import sys\nfrom modeling_greenmim.reconstruction_greenmim import GreenMimDecoder\n"
        "print(GreenMimDecoder.forward.__name__, __name__, *sys.argv[1:])"
    )
    command = [sys.executable, FOLDER / "run_scrambled.py", tmp_path / "script.py", "--option"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.stdout.split() == ["forward_scrambled", "__main__", "--option"], process.stderr


def test_tables_and_plot_of_some_of_the_results(tmp_path):
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
    tables = summarize_results.make_tables(results)
    assert "3.00 times as long" in tables and "1,300" in tables
    assert "| from scratch | not run | 42.0 ± 2.0 | not run |" in tables
    assert "| GreenMIM | 32.0 ± 1.4 (2 seeds) | 50.0 (one seed) | not run |" in tables
    assert "| GreenMIM | 998,400 | 50.0 | 45.0 |" in tables
    summarize_results.draw(results).savefig(tmp_path / "plot.png")


def test_tables_of_no_results_are_empty(tmp_path):
    assert summarize_results.make_tables(summarize_results.collect(tmp_path)) == ""


def test_simmim_gets_the_steps_that_it_makes_in_the_same_time(tmp_path, monkeypatch, capsys):
    for number, speed in enumerate((90.0, 100.0)):
        greenmim, simmim = (tmp_path / f"timing_{method}_{number}" for method in ("greenmim", "simmim"))
        greenmim.mkdir()
        simmim.mkdir()
        history = [{"step": 1, "loss": 1.0, "images_per_second": 2 * speed}, {"step": 2, "eval_loss": 1.0}]
        (greenmim / "metrics.json").write_text(json.dumps({"history": history}))
        (simmim / "train_results.json").write_text(json.dumps({"images_per_second": speed}))
    monkeypatch.setattr(sys, "argv", ["summarize_results.py", str(tmp_path), "--steps_in_the_same_time", "3900"])
    summarize_results.main()
    assert capsys.readouterr().out == "1950\n"


def test_published_tables_are_those_of_the_results():
    tables = summarize_results.make_tables(json.loads((FOLDER / "results.json").read_text()))
    published = (ROOT / "docs" / "results.md").read_text()
    assert all(line in published for line in tables.splitlines())
    # from the first table, as two tables have a row with this name
    rows = {line.split(" |")[0]: line for line in reversed(tables.splitlines())}
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


def write_images(folder: Path) -> Path:
    """Write files like CIFAR-10's on the Hub: PNG images of 32 x 32 pixels in `img`, and labels."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split, number in (("train", 600), ("test", 40)):
        images = []
        for index in range(number):
            content = io.BytesIO()
            pixels = np.clip(rng.integers(40, size=(32, 32, 3)) + 20 * (index % 10), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(content, "PNG")
            images.append({"bytes": content.getvalue(), "path": None})
        features = Features({"img": Image(), "label": ClassLabel(num_classes=10)})
        rows = {"img": images, "label": [index % 10 for index in range(number)]}
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


@needs_make
@pytest.mark.slow
def test_all_runs(tmp_path):
    """Each run is as short as possible, with one seed and few labels."""
    runs = tmp_path / "runs"
    starts = list(summarize_results.COLORS) + ["batch_masks", "scrambled"]
    variables = SMALL | {f"EPOCHS.{start}": "500x1" for start in starts}
    variables |= {"DATA": write_images(tmp_path / "images"), "RUNS": runs}
    run_make("-j", "2", **variables)
    results = json.loads((runs / "results.json").read_text())
    assert results["speed"]["greenmim_images_per_second"] > 0
    assert set(results["fine_tuning"]) == set(starts)
    assert results["probes"]["greenmim"].keys() == {"2", "4"}
    SwinForMaskedImageModeling.from_pretrained(runs / "simmim_same_images" / "model")
    assert run_make(**variables).count("run_") == 0
