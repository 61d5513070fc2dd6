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
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn
from transformers import AutoModel

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil, GreenMimModel


pytest.importorskip("accelerate")
pytest.importorskip("datasets")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "quickstart"))

from datasets import Dataset, Features, Image, Value  # noqa: E402

import quickstart  # noqa: E402
import quickstart_data  # noqa: E402


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
    assert "1797 images" in process.stdout
    assert "Loss on held-out images" in process.stdout
    assert "images per second" in process.stdout
    assert "AutoModel.from_pretrained: GreenMimModel" in process.stdout
    assert "images/s" in process.stderr  # the progress bar

    output_dir = tmp_path / "quickstart"
    for name in ("loss_curve.png", "reconstructions.png"):
        assert min(PIL.Image.open(output_dir / name).size) > 300
    assert len(list((output_dir / "digits").glob("*.parquet"))) > 1
    metrics = json.loads((output_dir / "metrics.json").read_text())
    assert len(metrics["train_losses"]) == 3
    assert metrics["unreadable"] == {}
    assert isinstance(AutoModel.from_pretrained(output_dir / "model"), GreenMimModel)
    GreenMimForMaskedImageModeling.from_pretrained(output_dir / "model")
    assert GreenMimImageProcessorPil.from_pretrained(output_dir / "model").crop_size["height"] == 32


def test_loss_goes_down(tmp_path):
    metrics = run(tmp_path, "--image_size", 32, "--max_train_steps", 40, "--per_device_train_batch_size", 16)
    losses = list(metrics["held_out_losses"].values())
    assert len(losses) == quickstart.NUM_EVALUATIONS + 1
    assert losses[-1] < 0.8 * losses[0]


def test_unreadable_files_are_skipped_counted_and_reported(tmp_path, capsys):
    folder = write_photos(tmp_path / "photos", num_photos=14)
    make_photo(20, "L").save(folder / "grey.png")
    make_photo(21, "RGBA").save(folder / "transparent.png")
    make_photo(22, "P").save(folder / "palette.gif")
    (folder / "notes.txt").write_text("neither an image nor counted as one")
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.png").touch()
    photo = encode(make_photo(23, size=(200, 200)))
    (folder / "truncated.jpeg").write_bytes(photo[: len(photo) // 2])

    # 20 files, 8 of them held out: 3 steps see all the others
    metrics = run(tmp_path / "output", "--train_dir", folder, "--max_train_steps", 5)
    assert metrics["num_images"] == 20
    assert {Path(name).name for name in metrics["unreadable"]} == {"text.jpg", "empty.png", "truncated.jpeg"}
    assert len(metrics["train_losses"]) == 5
    assert "Unreadable files, skipped: 3" in capsys.readouterr().out


def test_unreadable_rows_and_files_of_parquet(tmp_path):
    images = [{"bytes": encode(make_photo(seed)), "path": None} for seed in range(40)]
    images += [{"bytes": b"not an image", "path": None}, {"bytes": b"", "path": None}, None]
    folder = write_parquet(tmp_path / "parquet", images, column="picture")
    (folder / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    options = ("--train_dir", folder, "--image_column_name", "picture", "--max_train_steps", 12, "--num_workers", 1)
    metrics = run(tmp_path / "output", *options)
    assert metrics["num_images"] == 43
    assert len(metrics["unreadable"]) == 4
    assert len(metrics["train_losses"]) == 12


def test_held_out_images_are_never_trained_on(tmp_path):
    folder = write_parquet(tmp_path / "parquet", [make_photo(seed) for seed in range(100)])
    data = quickstart_data.open_images(folder, "image", seed=0)
    held_out = {example["image"]["bytes"] for example in data.held_out}
    epochs = []
    for epoch in range(2):
        data.train.set_epoch(epoch)
        epochs.append([example["image"]["bytes"] for example in data.train])
        assert held_out.isdisjoint(epochs[-1])
        assert len(held_out) + len(set(epochs[-1])) == 100
    assert len(held_out) >= quickstart_data.MIN_HELD_OUT
    assert epochs[0] != epochs[1]

    data = quickstart_data.open_images(write_photos(tmp_path / "photos", num_photos=20), "image", seed=0)
    held_out = {example["image"]["path"] for example in data.held_out}
    trained_on = {example["image"]["path"] for example in data.train}
    assert len(held_out) == quickstart_data.MIN_HELD_OUT
    assert held_out.isdisjoint(trained_on)
    assert len(held_out | trained_on) == 20


def test_masks_and_crops_follow_seed_and_epoch():
    config = quickstart.make_config(32, mask_ratio=0.6, norm_pix_loss=False)
    image_processor = quickstart.make_image_processor(config)
    examples = [{"image": {"bytes": encode(make_photo(seed), "PNG"), "path": None}} for seed in range(4)]

    def collate(seed: int, epoch: int) -> dict:
        collator = quickstart_data.MaskingCollator(image_processor, config, seed, min_scale=0.2, flip=True)
        collator.start_epoch(epoch)
        return collator(examples)["inputs"]

    first, same, other_epoch, other_seed = collate(0, 0), collate(0, 0), collate(0, 1), collate(1, 0)
    for name in ("pixel_values", "bool_masked_pos"):
        assert torch.equal(first[name], same[name])
        assert not torch.equal(first[name], other_epoch[name])
        assert not torch.equal(first[name], other_seed[name])
    assert len(first["bool_masked_pos"].unique(dim=0)) > 1  # every image has a mask of its own
    assert first["pixel_values"].shape == (4, 3, 32, 32)
    assert first["pixel_values"].abs().max() <= 1.0


def test_parameter_groups():
    model = GreenMimForMaskedImageModeling(quickstart.make_config(32, mask_ratio=0.6, norm_pix_loss=False))
    decayed, others = quickstart.get_parameter_groups(model, weight_decay=0.05)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed_names = {names[id(parameter)] for parameter in decayed["params"]}
    other_names = {names[id(parameter)] for parameter in others["params"]}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    assert decayed_names.isdisjoint(other_names)
    assert decayed_names | other_names == set(names.values())

    expected = {
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    assert decayed_names == expected
    for kind in ("relative_position_bias_table", "mask_token", "layernorm_before.weight", "q_proj.bias"):
        assert any(name.endswith(kind) for name in other_names)


@pytest.mark.parametrize(
    ("make_folder", "options", "message"),
    [
        (lambda path: path, (), "is not a folder"),
        (lambda path: path.mkdir() or path, (), "no parquet file and no image"),
        (lambda path: write_photos(path, 1), (), "Found 1 image"),
        (lambda path: write_parquet(path, [make_photo(0)] * 4, "picture"), (), "only 'picture', 'label'"),
        (
            lambda path: write_parquet(path, [make_photo(0)] * 4),
            ("--image_column_name", "label"),
            "'label' holds no images",
        ),
        (lambda path: write_photos(path, 4), ("--image_size", 150), "Nearest: 128 or 160"),
        (lambda path: write_photos(path, 4), ("--image_size", 30), "Nearest: 28 or 32"),
        (lambda path: write_photos(path, 4), ("--learning_rate", 1e30), "a lower --learning_rate"),
    ],
)
def test_errors_name_the_cause(tmp_path, make_folder, options, message):
    folder = make_folder(tmp_path / "images")
    with pytest.raises(SystemExit, match=message):
        run(tmp_path / "output", "--train_dir", folder, "--max_train_steps", 5, *options)


def test_no_readable_image(tmp_path):
    for index in range(4):
        (tmp_path / f"{index}.png").write_text("not an image")
    with pytest.raises(SystemExit, match="None of the held-out images can be read. Unreadable files, skipped: 2"):
        run(tmp_path / "output", "--train_dir", tmp_path)

    # readable ones among the held-out images only: the epoch that finds no image to train on ends the run
    data = quickstart_data.open_images(tmp_path, "image", seed=0)
    config = quickstart.make_config(32, mask_ratio=0.6, norm_pix_loss=False)
    collator = quickstart_data.MaskingCollator(quickstart.make_image_processor(config), config, 0, 0.2, True)
    with pytest.raises(quickstart.QuickstartError, match="None of the images to train on can be read"):
        next(quickstart.iterate_batches(data, collator, quickstart.parse_args([])))


def test_output_dir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="Cannot write to --output_dir"):
        run(tmp_path / "file")


@pytest.mark.parametrize("options", [("--mask_ratio", "1.0"), ("--max_train_steps", "0"), ("--image_size", "4")])
def test_options_out_of_range(tmp_path, options, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, *options)
    assert f"{options[0]} must" in capsys.readouterr().err


def test_interrupted_training_is_evaluated_and_saved(tmp_path, monkeypatch, capsys):
    def iterate_and_interrupt(*args):
        for number, batch in enumerate(iterate_batches(*args)):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    iterate_batches = quickstart.iterate_batches
    monkeypatch.setattr(quickstart, "iterate_batches", iterate_and_interrupt)
    metrics = run(tmp_path / "output", "--train_dir", write_photos(tmp_path / "photos", num_photos=20))
    assert metrics["interrupted"]
    assert list(metrics["held_out_losses"]) == ["0", "2"]
    assert "after 2 steps (interrupted)" in capsys.readouterr().out
    AutoModel.from_pretrained(tmp_path / "output" / "model")


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_pictures_say_where_unit_statistics_come_from(tmp_path, monkeypatch, norm_pix_loss):
    pictures = []
    monkeypatch.setattr(quickstart, "plot_reconstructions", lambda path, rows, note: pictures.append((rows, note)))
    config = quickstart.make_config(32, mask_ratio=0.6, norm_pix_loss=norm_pix_loss)
    batch = quickstart_data.make_batch(
        [make_photo(0), make_photo(1)], quickstart.make_image_processor(config), config, [0]
    )
    quickstart.plot_held_out(tmp_path / "picture.png", GreenMimForMaskedImageModeling(config), batch)
    rows, note = pictures[0]
    assert ("mean and variance, taken from the image itself" in note) == norm_pix_loss
    grey = (rows["masked"] == 0.5).all(dim=1)
    hidden_share = batch["bool_masked_pos"].float().mean()
    assert hidden_share <= grey.float().mean() < hidden_share + 0.05
    visible = ~grey[:, None].expand_as(rows["original"])
    assert torch.equal(rows["reconstruction"][visible], rows["original"][visible])


def test_a_failed_run_leaves_the_results_of_the_last_one(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "metrics.json").write_text('{"kept": true}')
    with pytest.raises(SystemExit, match="no parquet file and no image, among 0 files"):
        quickstart.main(["--train_dir", str(tmp_path / "empty"), "--output_dir", str(tmp_path)])
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"kept": True}
