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
"""The quickstart, with small images and few steps."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from datasets import Dataset, Features, Image, Value
from transformers import AutoModel

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil, GreenMimModel, publish
from modeling_greenmim.training.errors import UserError
from tests.helpers.scripts import ROOT, import_script


quickstart = import_script("examples/quickstart/quickstart.py")


@pytest.fixture(autouse=True)
def unchecked_folders(monkeypatch):
    # takes seconds and is tested elsewhere: the model folder loads without this package
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)


def make_photo(seed: int, mode: str = "RGB", size: tuple[int, int] = (45, 37)) -> PIL.Image.Image:
    """Create an image with large structures and an odd size."""
    pixels = np.random.default_rng(seed).integers(256, size=(3, 4, 4), dtype=np.uint8)
    return PIL.Image.fromarray(np.moveaxis(pixels, 0, -1)).resize(size, PIL.Image.Resampling.BICUBIC).convert(mode)


def write_photos(folder: Path, num_photos: int) -> Path:
    (folder / "nested" / "deeper").mkdir(parents=True)
    for seed in range(num_photos):
        make_photo(seed).save(folder / ("nested/deeper" if seed % 2 else ".") / f"{seed}.JPG", "JPEG")
    return folder


def write_parquet(folder: Path, images: list, column: str = "image") -> Path:
    folder.mkdir()
    features = Features({column: Image(), "label": Value("int64")})
    dataset = Dataset.from_dict({column: images, "label": list(range(len(images)))}, features=features)
    dataset.to_parquet(folder / "0.parquet")
    return folder


def run(output_dir: Path, *arguments) -> dict:
    """Run the quickstart with small batches in this process, and return its metrics."""
    options = ("--output_dir", output_dir, "--per_device_train_batch_size", 4, "--num_warmup_steps", 1, *arguments)
    quickstart.main([str(option) for option in options])
    return json.loads((output_dir / "metrics.json").read_text())


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """Run a copy of the script in an empty folder, and return the folder and the output."""
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copy(ROOT / "examples" / "quickstart" / "quickstart.py", folder)
    options = ["--image_size=32", "--max_train_steps=3", "--num_warmup_steps=1", "--per_device_train_batch_size=16"]
    command = [sys.executable, "quickstart.py", *options]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-3000:]
    return folder / "quickstart", process.stdout


def test_digits_leave_a_model_that_loads(digits_run):
    folder, _ = digits_run
    assert isinstance(AutoModel.from_pretrained(folder / "model"), GreenMimModel)
    GreenMimForMaskedImageModeling.from_pretrained(folder / "model")
    assert GreenMimImageProcessorPil.from_pretrained(folder / "model").crop_size["height"] == 32


def test_digits_leave_pictures_and_metrics(digits_run):
    folder, _ = digits_run
    for picture in (folder / "loss_curve.png", *(folder / "reconstructions").iterdir()):
        assert min(PIL.Image.open(picture).size) > 300
    assert len(list((folder / "digits").glob("*.parquet"))) > 1
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["steps"] == 3 and metrics["unreadable"] == {} and metrics["num_held_out"] == 90


def test_digits_are_summarized_and_described(digits_run):
    folder, output = digits_run
    assert "Loss on held-out images" in output and "before" in output and "images per second" in output
    assert "Next, with your own images" in output
    card = (folder / "model" / "README.md").read_text()
    assert "1,707 images" in card and "pretrain(" in card and "config.json" in card


@pytest.mark.slow
def test_the_loss_goes_down(tmp_path):
    history = run(tmp_path, "--image_size", 32, "--max_train_steps", 40, "--per_device_train_batch_size", 16)[
        "history"
    ]
    losses = [record["eval_loss"] for record in history if "eval_loss" in record]
    assert len(losses) >= 11 and losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_unreadable_images_are_skipped_and_named(tmp_path, caplog):
    folder = write_photos(tmp_path / "photos", num_photos=14)
    for seed, (mode, name) in enumerate({"L": "gray.png", "RGBA": "transparent.png", "P": "palette.gif"}.items()):
        make_photo(20 + seed, mode).save(folder / name)
    (folder / "notes.txt").write_text("neither an image nor counted as one")
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.png").touch()
    assert run(tmp_path / "output", "--train_dir", folder, "--max_train_steps", 6)["steps"] == 6
    skipped = sorted(message.split()[1] for message in caplog.messages if message.startswith("Skipped"))
    assert [Path(name).name for name in skipped] == ["empty.png", "text.jpg"]


@pytest.mark.parametrize(("sides", "expected"), [((10, 40), 32), ((60, 90), 32), ((64, 90), 64), ((300, 400), 224)])
def test_the_size_is_one_that_most_images_have(tmp_path, sides, expected):
    for seed in range(5):
        make_photo(seed, size=sides).save(tmp_path / f"{seed}.png")
    (tmp_path / "text.jpg").write_text("not an image")
    assert quickstart.choose_image_size(str(tmp_path), None) == expected


@pytest.mark.parametrize(("size", "nearest"), [(150, "128 or 160"), (30, "28 or 32")])
def test_a_size_of_partial_units_raises(size, nearest):
    with pytest.raises(UserError, match=f"multiple of the mask unit.* Use {nearest}"):
        quickstart.make_config(size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mask_ratio", "1.0"), "mask_ratio"),
        (("--max_train_steps", "0"), "--max_train_steps must be at least 1"),
        (("--image_size", "4"), "--image_size must be at least 8"),
        (("--lerning_rate", "1"), "unknown arguments: --lerning_rate"),
    ],
)
def test_invalid_options_raise(tmp_path, options, message):
    with pytest.raises(SystemExit, match=message):
        run(tmp_path, *options)


@pytest.mark.parametrize(
    ("make_folder", "options", "message"),
    [
        (lambda path: path, (), "is neither a folder nor a file"),
        (lambda path: path.mkdir() or path, (), "contains no images. Pass local image files"),
        (lambda path: write_photos(path, 1), (), "The 4 images in a step .* are more than the 1 to train on"),
        (
            lambda path: write_parquet(path, [make_photo(0)] * 4, "picture"),
            ("--image_column_name", "image"),
            "only 'picture', 'label'",
        ),
    ],
)
def test_images_that_cannot_be_used_raise(tmp_path, make_folder, options, message):
    folder = make_folder(tmp_path / "images")
    with pytest.raises(SystemExit, match=message):
        run(tmp_path / "output", "--train_dir", folder, "--max_train_steps", 5, *options)


@pytest.mark.slow
def test_a_run_is_resumed(tmp_path):
    options = ("--image_size", 32, "--max_train_steps", 4, "--checkpointing_steps", 2)
    run(tmp_path, *options)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "model")
    shutil.rmtree(tmp_path / "checkpoint-4")
    assert run(tmp_path, *options, "--resume_from_checkpoint", "latest")["steps"] == 4
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_an_existing_run_is_kept_unless_it_is_to_be_discarded(tmp_path):
    options = ("--image_size", 32, "--max_train_steps", 3)
    run(tmp_path, *options)
    (tmp_path / "notes.txt").write_text("mine")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("model/*"))
    with pytest.raises(SystemExit, match="already contains a run.*--overwrite_output_dir"):
        run(tmp_path, *options)
    missing = ("--train_dir", tmp_path / "missing", "--overwrite_output_dir")
    with pytest.raises(SystemExit, match="is neither a folder nor a file"):
        run(tmp_path, "--max_train_steps", 3, *missing)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("model/*")) == before
    metrics = run(tmp_path, *options, "--max_train_steps", 2, "--overwrite_output_dir")
    assert metrics["steps"] == 2 and (tmp_path / "notes.txt").is_file()
    assert not (tmp_path / "checkpoint-3").exists()
