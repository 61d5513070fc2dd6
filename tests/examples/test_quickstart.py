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
"""Tests of examples/quickstart: a few steps on tiny data, through the command line and through its functions."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from accelerate.state import AcceleratorState, GradientState
from transformers import AutoModel

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil, GreenMimModel, publish


pytest.importorskip("accelerate")
pytest.importorskip("datasets")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]

from datasets import Dataset, Features, Image, Value

import quickstart


@pytest.fixture(autouse=True)
def fresh_accelerate_state(monkeypatch):
    # seconds each, and tested elsewhere: that the model folder loads without this package
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def make_photo(seed: int, mode: str = "RGB", size: tuple[int, int] = (45, 37)) -> PIL.Image.Image:
    """An image with large structures, of an odd size."""
    pixels = np.random.default_rng(seed).integers(256, size=(3, 4, 4), dtype=np.uint8)
    return PIL.Image.fromarray(np.moveaxis(pixels, 0, -1)).resize(size, PIL.Image.Resampling.BICUBIC).convert(mode)


def encode(image: PIL.Image.Image, image_format: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def write_photos(folder: Path, num_photos: int) -> Path:
    (folder / "nested" / "deeper").mkdir(parents=True)
    for seed in range(num_photos):
        make_photo(seed).save(folder / ("nested/deeper" if seed % 2 else ".") / f"{seed}.JPG", "JPEG")
    return folder


def write_parquet(folder: Path, images: list, column: str = "image") -> Path:
    folder.mkdir()
    features = Features({column: Image(), "label": Value("int64")})
    dataset = Dataset.from_dict({column: images, "label": list(range(len(images)))}, features=features)
    for index in range(2):
        dataset.shard(2, index).to_parquet(folder / f"{index}.parquet")
    return folder


def run(output_dir: Path, *arguments) -> dict:
    """Runs the quickstart with small batches in this process, and returns its metrics."""
    options = ("--output_dir", output_dir, "--per_device_train_batch_size", 4, "--num_warmup_steps", 1, *arguments)
    quickstart.main([str(option) for option in options])
    return json.loads((output_dir / "metrics.json").read_text())


def get_losses(metrics: dict, name: str) -> list[float]:
    return [record[name] for record in metrics["history"] if name in record]


def test_digits_from_the_command_line(tmp_path):
    script = ROOT / "examples" / "quickstart" / "quickstart.py"
    options = ["--image_size=32", "--max_train_steps=3", "--num_warmup_steps=1", "--per_device_train_batch_size=16"]
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, str(script), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "1,707 images to train on, 90 held out" in process.stdout
    assert "Loss on held-out images" in process.stdout
    assert "images per second" in process.stdout
    assert "images/s" in process.stderr  # the progress bar

    output_dir = tmp_path / "quickstart"
    for picture in (output_dir / "loss_curve.png", *(output_dir / "reconstructions").iterdir()):
        assert min(PIL.Image.open(picture).size) > 300
    assert len(list((output_dir / "digits").glob("*.parquet"))) > 1
    metrics = json.loads((output_dir / "metrics.json").read_text())
    assert metrics["steps"] == 3
    assert metrics["unreadable"] == {}
    assert isinstance(AutoModel.from_pretrained(output_dir / "model"), GreenMimModel)
    GreenMimForMaskedImageModeling.from_pretrained(output_dir / "model")
    assert GreenMimImageProcessorPil.from_pretrained(output_dir / "model").crop_size["height"] == 32
    card = (output_dir / "model" / "README.md").read_text()
    assert "python quickstart.py --image_size=32" in card and "1,707 images" in card


def test_loss_goes_down(tmp_path):
    metrics = run(tmp_path, "--image_size", 32, "--max_train_steps", 40, "--per_device_train_batch_size", 16)
    losses = get_losses(metrics, "eval_loss")
    assert len(losses) == 11
    assert losses[-1] < 0.8 * losses[0]


def test_unreadable_files_are_skipped_counted_and_reported(tmp_path, capsys):
    folder = write_photos(tmp_path / "photos", num_photos=14)
    make_photo(20, "L").save(folder / "gray.png")
    make_photo(21, "RGBA").save(folder / "transparent.png")
    make_photo(22, "P").save(folder / "palette.gif")
    (folder / "notes.txt").write_text("neither an image nor counted as one")
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.png").touch()
    photo = encode(make_photo(23, size=(200, 200)))
    (folder / "truncated.jpeg").write_bytes(photo[: len(photo) // 2])

    metrics = run(tmp_path / "output", "--train_dir", folder, "--max_train_steps", 6)
    assert {Path(name).name for name in metrics["unreadable"]} == {"text.jpg", "empty.png", "truncated.jpeg"}
    assert metrics["steps"] == 6
    assert "Images that could not be read: 3" in capsys.readouterr().out


def test_unreadable_rows_and_files_of_parquet(tmp_path):
    images = [{"bytes": encode(make_photo(seed)), "path": None} for seed in range(40)]
    images += [{"bytes": b"not an image", "path": None}, {"bytes": b"", "path": None}, None]
    folder = write_parquet(tmp_path / "parquet", images, column="picture")
    (folder / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    options = ("--train_dir", folder, "--image_column_name", "picture", "--max_train_steps", 12, "--num_workers", 1)
    metrics = run(tmp_path / "output", *options)
    assert len(metrics["unreadable"]) == 4
    assert any(name.endswith("broken.parquet") for name in metrics["unreadable"])
    assert metrics["steps"] == 12


@pytest.mark.parametrize(("sides", "expected"), [((10, 40), 32), ((60, 90), 32), ((64, 90), 64), ((300, 400), 224)])
def test_the_size_is_one_that_most_images_have(tmp_path, sides, expected):
    for seed in range(5):
        make_photo(seed, size=sides).save(tmp_path / f"{seed}.png")
    (tmp_path / "text.jpg").write_text("not an image")
    assert quickstart.choose_image_size(tmp_path, None) == expected


@pytest.mark.parametrize(
    ("make_folder", "options", "message"),
    [
        (lambda path: path, (), "is neither a folder nor a file"),
        (
            lambda path: path.mkdir() or path,
            (),
            "must name parquet files, tars .* or image files .*, got .* with nothing",
        ),
        (lambda path: write_photos(path, 1), (), "1 images to train on, fewer than the 4 in a step"),
        (
            lambda path: write_parquet(path, [make_photo(0)] * 4, "picture"),
            ("--image_column_name", "image"),
            "only 'picture', 'label'",
        ),
        (
            lambda path: write_parquet(path, [make_photo(0)] * 4),
            ("--image_column_name", "label"),
            "'label' holds no images",
        ),
        (lambda path: write_photos(path, 4), ("--image_size", 150), "Nearest: 128 or 160"),
        (lambda path: write_photos(path, 4), ("--image_size", 30), "Nearest: 28 or 32"),
        (lambda path: write_photos(path, 16), ("--learning_rate", 1e30), "A lower --learning_rate"),
    ],
)
def test_errors_name_the_cause(tmp_path, make_folder, options, message):
    folder = make_folder(tmp_path / "images")
    with pytest.raises(SystemExit, match=message):
        run(tmp_path / "output", "--train_dir", folder, "--max_train_steps", 5, *options)


def test_no_readable_image(tmp_path):
    for index in range(4):
        (tmp_path / f"{index}.png").write_text("not an image")
    with pytest.raises(SystemExit, match="None of 2 held-out images can be read, such as .*png"):
        run(tmp_path / "output", "--train_dir", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mask_ratio", "1.0"), "mask_ratio"),
        (("--max_train_steps", "0"), "--max_train_steps must be at least 1"),
        (("--image_size", "4"), "--image_size must be at least 8"),
        (("--lerning_rate", "1"), "unknown arguments: --lerning_rate"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as error:
        run(tmp_path, "--image_size", 32, *options)
    assert message in capsys.readouterr().err + str(error.value)


def test_epochs_in_place_of_steps(tmp_path):
    folder = write_photos(tmp_path / "photos", num_photos=24)
    options = ("--train_dir", folder, "--num_train_epochs", 0.5, "--base_learning_rate", 1e-3)
    assert run(tmp_path / "run", *options)["steps"] == 2
    settings = json.loads((tmp_path / "run" / "arguments.json").read_text())["hyper_parameters"]
    assert settings["learning_rate"] == pytest.approx(1e-3 * 4 / 256)


def test_a_quickstart_is_resumed(tmp_path):
    options = ("--image_size", 32, "--max_train_steps", 4, "--checkpointing_steps", 2)
    run(tmp_path, *options)
    shutil.rmtree(tmp_path / "model")
    shutil.rmtree(tmp_path / "checkpoint-4")
    AcceleratorState._reset_state(reset_partial_state=True)
    assert run(tmp_path, *options, "--resume_from_checkpoint", "latest")["steps"] == 4


def test_a_run_that_is_there_is_kept_unless_it_is_to_be_discarded(tmp_path):
    options = ("--image_size", 32, "--max_train_steps", 3)
    run(tmp_path, *options)
    (tmp_path / "notes.txt").write_text("mine")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("model/*"))
    with pytest.raises(SystemExit, match="holds a run already.*--overwrite_output_dir"):
        run(tmp_path, *options)
    with pytest.raises(SystemExit, match="is neither a folder nor a file"):
        run(tmp_path, *options, "--train_dir", tmp_path / "missing", "--overwrite_output_dir")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("model/*")) == before
    metrics = run(tmp_path, *options, "--max_train_steps", 2, "--overwrite_output_dir")
    assert metrics["steps"] == 2 and (tmp_path / "notes.txt").is_file()
    assert not (tmp_path / "checkpoint-3").exists()
