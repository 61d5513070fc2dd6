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
"""Fine-tuning and probing in examples/image-classification, as a user starts them."""

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow
import pyarrow.parquet
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from datasets import ClassLabel, Dataset, Features, Image, Value
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    SwinConfig,
    SwinForMaskedImageModeling,
    pipeline,
)
from transformers.utils import is_torchvision_available

from modeling_greenmim import (
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessorPil,
    publish,
)
from modeling_greenmim.training.image_files import read_row
from modeling_greenmim.training.stop_signals import StopSignals


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "image-classification"

import run_image_classification
import run_probe

from modeling_greenmim.training.command_line import UserError, check_num_processes
from modeling_greenmim.training.fine_tuning import EmaCallback

from classification_arguments import AugmentationArguments, DataArguments
from classification_data import LabelledRows, list_class_folders, open_rows, split_rows
from classification_training import ClassificationTrainer
from classification_transforms import check_num_channels


COLORS = {"blue": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}
NUM_IMAGES = 14  # of each class: 12 are trained on
SHARED = {
    "image_size": 16,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": (1, 1),
    "num_heads": (1, 2),
    "window_size": 4,
}
CONFIG = GreenMimConfig(**SHARED, decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_intermediate_size=32)
OPTIONS = ("--report_to=none", "--per_device_train_batch_size=6", "--learning_rate=5e-3", "--save_total_limit=10")


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch):
    # seconds each, and tested elsewhere: that the model folder loads without this package
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)
    # no metric from the network, whether there is one or not
    monkeypatch.setattr(example_metrics.evaluate, "load", raise_file_not_found)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def raise_file_not_found(name):
    raise FileNotFoundError(name)


def encode(color: str, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-30, 30, size=(20, 18, 3))
    pixels = np.clip(np.array(COLORS[color]) + noise, 0, 255).astype(np.uint8)
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_parquet(path: Path, labels, feature=None, colors=None):
    colors = colors or list(COLORS)
    rows = {
        "image": [{"bytes": encode(colors[i % len(colors)], i), "path": None} for i in range(len(labels))],
        "label": labels,
    }
    features = Features({"image": Image(), "label": feature or ClassLabel(names=list(COLORS))})
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(rows, features=features).to_parquet(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The same images in class folders and as parquet files; and models to start from."""
    folder = tmp_path_factory.mktemp("classification")
    for color in COLORS:
        for index in range(NUM_IMAGES):
            path = folder / "files" / color / f"{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(color, index))
    labels = [i % 3 for i in range(36)]
    write_parquet(folder / "parquet" / "train-0.parquet", labels)
    write_parquet(folder / "parquet" / "validation-0.parquet", labels[:9])
    CONFIG.save_pretrained(folder / "config")
    torch.manual_seed(0)
    GreenMimForMaskedImageModeling(CONFIG).save_pretrained(folder / "greenmim")
    size = {"height": 16, "width": 16}
    processor = GreenMimImageProcessorPil(size=size, crop_size=size, mask_unit_size=4, do_mask=False)
    processor.save_pretrained(folder / "greenmim")
    SwinForMaskedImageModeling(SwinConfig(**SHARED, encoder_stride=4)).save_pretrained(folder / "swin")
    return folder


def run(data, output_dir, *options, start="greenmim", images="files", as_train_dir=False, defaults=OPTIONS):
    model = ["--config_name", data / "config"] if start == "scratch" else ["--model_name_or_path", data / start]
    where = data / images if images in ("files", "parquet") else images
    where = ["--train_dir" if as_train_dir or images == "files" else "--dataset_name", where]
    arguments = [*where, *model, "--output_dir", output_dir, *defaults, *options]
    run_image_classification.main([str(argument) for argument in arguments])


def get_error(data, tmp_path, *options, **settings) -> str:
    """The one line that ends a run that cannot be."""
    with pytest.raises(SystemExit) as caught:
        run(data, tmp_path / "run", *options, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("start", ["greenmim", "swin", "scratch"])
def test_a_run_leaves_a_folder_that_a_pipeline_runs(data, tmp_path, start, capsys):
    run(data, tmp_path / "run", "--num_train_epochs=12", "--drop_path_rate=0", start=start)
    output = capsys.readouterr().out
    metrics = json.loads((tmp_path / "run" / "eval_results.json").read_text())
    assert metrics["eval_accuracy"] >= 0.8, "three colors are easy to tell apart"
    assert f"{metrics['eval_accuracy']:.4f}" in output and "Traceback" not in output
    folder = tmp_path / "run" / "model"
    classifier = pipeline("image-classification", model=str(folder))
    results = [
        classifier(PIL.Image.open(io.BytesIO(encode(color, 100 + index))))[0]["label"]
        for color in COLORS
        for index in range(3)
    ]
    assert np.mean([result == color for result, color in zip(results, np.repeat(list(COLORS), 3))]) >= 0.7
    card = (folder / "README.md").read_text()
    assert f"{metrics['eval_accuracy']:.4f}" in card and "pipeline_tag: image-classification" in card
    assert str(data) not in card.split("The command:")[0], "a card does not tell where files are on a machine"


def test_parquet_with_a_validation_split(data, tmp_path):
    run(data, tmp_path / "run", "--max_steps=2", images="parquet")
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "`parquet`, 36 images" in card and "on 9 images of `parquet`" in card


def test_streaming(data, tmp_path):
    run(data, tmp_path / "run", "--streaming", "--num_train_epochs=2", "--shuffle_buffer_size=5", images="parquet")
    state = json.loads((tmp_path / "run" / "checkpoint-12" / "trainer_state.json").read_text())
    assert state["max_steps"] == 12
    assert [record["step"] for record in state["log_history"] if "eval_accuracy" in record] == [6, 12]


@pytest.mark.parametrize(
    "options",
    [
        ("--drop_path_rate=0.3", "--ema_decay=0.9"),
        ("--gradient_accumulation_steps=2", "--dataloader_num_workers=1"),
        ("--streaming",),
    ],
)
@pytest.mark.parametrize("start", ["greenmim", "swin"])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(data, tmp_path, start, options):
    images = "parquet" if "--streaming" in options else "files"
    options += (
        "--num_train_epochs=3",
        "--save_strategy=steps",
        "--save_steps=2",
        "--eval_strategy=steps",
        "--eval_steps=2",
    )
    run(data, tmp_path / "whole", *options, start=start, images=images)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "model")
    checkpoints = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "resumed").glob("checkpoint-*"))
    for step in checkpoints[1:]:
        shutil.rmtree(tmp_path / "resumed" / f"checkpoint-{step}")
    run(data, tmp_path / "resumed", *options, "--resume_from_checkpoint=latest", start=start, images=images)
    for name in (f"checkpoint-{checkpoints[-1]}", "model"):
        weights = [load_file(tmp_path / each / name / "model.safetensors") for each in ("whole", "resumed")]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), name


@pytest.mark.parametrize("start", ["greenmim", "swin"])
def test_the_best_of_the_evaluated_models_is_kept(data, tmp_path, monkeypatch, start):
    evaluations = itertools.count()
    monkeypatch.setattr(
        run_image_classification,
        "make_compute_metrics",
        lambda: lambda prediction: {"accuracy": float(next(evaluations) == 1)},
    )
    run(data, tmp_path / "run", "--num_train_epochs=3", start=start)
    final = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for step in (6, 12, 18):
        weights = load_file(tmp_path / "run" / f"checkpoint-{step}" / "model.safetensors")
        assert all(torch.equal(final[name], weights[name]) for name in final) == (step == 12)


def test_a_checkpoint_of_another_model(data, tmp_path):
    run(data, tmp_path / "run", "--num_train_epochs=1")
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.copytree(data / "files", tmp_path / "fewer")
    shutil.rmtree(tmp_path / "fewer" / "red")
    options = ("--num_train_epochs=1", "--resume_from_checkpoint=latest")
    for settings in ({"images": tmp_path / "fewer", "as_train_dir": True}, {"start": "swin"}):
        assert "is not of the model of this run" in get_error(data, tmp_path, *options, **settings)


def test_a_run_goes_on_with_the_settings_that_it_began_with(data, tmp_path):
    run(data, tmp_path / "run", "--num_train_epochs=1")
    shutil.rmtree(tmp_path / "run" / "model")
    shutil.copytree(data / "files", tmp_path / "moved")
    for option in ("--ema_decay=0.9", "--min_crop_scale=0.5", "--max_train_samples=30"):
        message = get_error(data, tmp_path, "--num_train_epochs=1", option, "--resume_from_checkpoint=latest")
        assert f"{option.split('=')[0]} was" in message and f"is {option.split('=')[1]} now" in message
    run(
        data,
        tmp_path / "run",
        *("--num_train_epochs=1", "--resume_from_checkpoint=latest"),
        images=tmp_path / "moved",
        as_train_dir=True,
    )


def test_ctrl_c_saves_and_says_how_to_go_on(data, tmp_path):
    arguments = ["--train_dir", data / "files", "--model_name_or_path", data / "greenmim", *OPTIONS]
    arguments += ["--output_dir", tmp_path / "run", "--max_steps=100000", "--eval_strategy=no", "--save_strategy=no"]
    arguments += ["--load_best_model_at_end=false", "--logging_steps=1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, FOLDER / "run_image_classification.py", *map(str, arguments)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
    deadline = time.monotonic() + 120
    while "'loss'" not in (tmp_path / "log").read_text():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 128 + signal.SIGINT
    output = (tmp_path / "log").read_text()
    assert "--resume_from_checkpoint latest" in output and "Traceback" not in output
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    step = int(checkpoint.name.split("-")[1])
    assert f"Stopped after step {step}" in output
    AutoModelForImageClassification.from_pretrained(checkpoint)


def test_what_cannot_be(data, tmp_path):
    assert "no column 'picture'" in get_error(data, tmp_path, "--image_column_name=picture")
    message = get_error(data, tmp_path, "--label_column_name=class", images="parquet")
    assert "no column 'class'" in message and "'image', 'label'" in message and "--label_column_name" in message
    assert "holds no images" in get_error(data, tmp_path, "--image_column_name=label", images="parquet")
    assert "has no split 'test'" in get_error(data, tmp_path, "--eval_split_name=test", images="parquet")
    assert "fewer than the 3 classes" in get_error(data, tmp_path, "--max_train_samples=2")
    assert "not a folder" in get_error(data, tmp_path, "--validation_dir=nowhere")
    assert "--layer_decay must be" in get_error(data, tmp_path, "--layer_decay=0")
    assert "--ema_decay must be" in get_error(data, tmp_path, "--ema_decay=1.5")
    assert "Save strategy: SaveStrategy.STEPS" in get_error(data, tmp_path, "--save_strategy=steps")
    assert "unknown arguments: --epochs=3" in get_error(data, tmp_path, "--epochs=3")
    assert "--report_to mlflow: not installed" in get_error(data, tmp_path, "--report_to=mlflow", defaults=())
    (tmp_path / "file").write_text("no folder")
    assert "file is a file" in get_error(data, tmp_path, "--output_dir", tmp_path / "file")
    assert "cannot be divided" in get_error(data, tmp_path, "--streaming")
    message = get_error(data, tmp_path, "--max_train_samples=35")
    assert "leaves out 1 of 36 images" in message and "at most 33" in message
    (tmp_path / "link").symlink_to(data / "files")
    for same in (f"{data / 'files'}/", tmp_path / "link"):
        assert "give other images to evaluate on" in get_error(data, tmp_path, "--validation_dir", same)
    assert not (tmp_path / "run").exists(), "nothing was begun"


def test_a_stream_of_unknown_length_needs_steps(tmp_path):
    args = run_image_classification.ClassificationTrainingArguments(output_dir=str(tmp_path), report_to="none")
    with pytest.raises(UserError, match="Give --max_steps"):
        run_image_classification.count_stream_steps(args, None)
    args.max_steps = 10
    with pytest.raises(UserError, match="--eval_strategy steps"):
        run_image_classification.count_stream_steps(args, None)


def test_models_that_cannot_be(data, tmp_path):
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text('{"model_type": "vit"}')
    message = get_error(data, tmp_path, start=tmp_path / "vit")
    assert "'vit'" in message and "neither GreenMIM nor Swin" in message
    message = get_error(data, tmp_path, start=tmp_path / "nowhere")
    assert f"--model_name_or_path {tmp_path / 'nowhere'} cannot be loaded" in message


@pytest.mark.parametrize("labels", [[0, 1, 2, None, -1], [0.5, 1.5, 0.5]])
def test_labels_that_are_none(data, tmp_path, labels):
    feature = Value("float32") if 0.5 in labels else None
    write_parquet(tmp_path / "data" / "train.parquet", labels * 4, feature)
    message = get_error(data, tmp_path, images=tmp_path / "data")
    assert ("no classes" if feature else "8 of 20 images") in message and "'label'" in message


@pytest.mark.parametrize("labels", [["c", "a", "b"] * 8, [7, 5, 6] * 8])
def test_labels_of_other_types(data, tmp_path, labels):
    write_parquet(tmp_path / "data" / "train.parquet", labels, Value("string" if "a" in labels else "int64"))
    run(data, tmp_path / "run", "--max_steps=1", images=tmp_path / "data")
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert list(config["label2id"]) == [str(label) for label in sorted(labels[:3])]


def test_too_few_images_of_a_class(data, tmp_path):
    write_parquet(tmp_path / "data" / "train.parquet", [0, 1] * 6 + [2])
    message = get_error(data, tmp_path, images=tmp_path / "data")
    assert "fewer than 2 images: 'red'" in message and "--validation_dir" in message


def test_of_each_class_some_images_are_evaluated(data):
    def split(share: float, *counts: int) -> list[list[int]]:
        labels = [label for label, count in enumerate(counts) for _ in range(count)]
        rows = Dataset.from_dict({"label": labels}, features=Features({"label": ClassLabel(names=list(COLORS))}))
        parts = [part.rows["label"][:] for part in split_rows(LabelledRows(rows, "data", len(labels)), share, 0)]
        assert sorted(parts[0] + parts[1]) == labels
        return [[part.count(label) for label in range(len(counts))] for part in parts]

    assert split(0.15, 100, 100, 2) == [[85, 85, 1], [15, 15, 1]]
    assert split(0.9, 2, 2) == [[1, 1], [1, 1]]
    assert split(0.5, 4, 0, 6) == [[2, 0, 3], [2, 0, 3]], "a class may have no images"


def test_one_class(data, tmp_path):
    shutil.copytree(data / "files" / "red", tmp_path / "files" / "red")
    assert "has one class, 'red'" in get_error(tmp_path, tmp_path, start=data / "greenmim")


def test_labels_that_are_evaluated_only(data, tmp_path):
    shutil.copytree(data / "files" / "red", tmp_path / "validation" / "violet")
    message = get_error(data, tmp_path, "--validation_dir", tmp_path / "validation")
    assert "'violet'" in message and "cannot learn" in message


def make_classifier(folder: Path, names) -> Path:
    config = GreenMimConfig(
        **{**CONFIG.to_dict(), "id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    )
    GreenMimForImageClassification(config).save_pretrained(folder)
    return folder


def test_a_classifier_that_does_not_know_a_label(data, tmp_path):
    start = make_classifier(tmp_path / "other", ["cat", "blue", "green"])
    message = get_error(data, tmp_path, start=start)
    assert "'red' is none of them" in message and "'cat'" in message and "--ignore_mismatched_sizes" in message
    run(data, tmp_path / "run", "--ignore_mismatched_sizes", "--max_steps=1", "--learning_rate=1e-9", start=start)
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model")
    assert list(model.config.label2id) == list(COLORS)
    old = AutoModelForImageClassification.from_pretrained(start)
    assert (model.classifier.weight - old.classifier.weight).abs().max() > 1e-3, "of the same size, but new"
    torch.testing.assert_close(model.greenmim.layernorm.weight, old.greenmim.layernorm.weight)


def test_a_classifier_with_labels_in_another_order_keeps_its_numbers(data, tmp_path):
    run(data, tmp_path / "first", "--num_train_epochs=12", "--drop_path_rate=0")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "first" / "model")
    order = [2, 0, 1]
    names = [list(COLORS)[index] for index in order]
    other = GreenMimForImageClassification.from_pretrained(make_classifier(tmp_path / "permuted", names))
    weights = model.state_dict()
    weights |= {f"classifier.{name}": weights[f"classifier.{name}"][order] for name in ("weight", "bias")}
    other.load_state_dict(weights)
    other.save_pretrained(tmp_path / "permuted")
    # nearly nothing is learned: the accuracy is that of the first
    run(data, tmp_path / "second", "--max_steps=1", "--learning_rate=1e-9", start=tmp_path / "permuted")
    accuracy = [
        json.loads((tmp_path / each / "eval_results.json").read_text())["eval_accuracy"]
        for each in ("first", "second")
    ]
    assert accuracy[1] == accuracy[0] >= 0.8


@pytest.mark.parametrize(
    ("content", "workers"), [(b"", 0), (b"no image", 0), (encode("red", 0)[:60], 1)], ids=["empty", "text", "cut off"]
)
def test_an_image_that_cannot_be_read(data, tmp_path, content, workers):
    shutil.copytree(data / "files", tmp_path / "files")
    (tmp_path / "files" / "red" / "03.png").write_bytes(content)
    message = get_error(tmp_path, tmp_path, f"--dataloader_num_workers={workers}", start=data / "greenmim")
    assert "red/03.png" in message and "cannot be read" in message and "leave it out" in message
    assert "BytesIO" not in message


def test_an_output_folder_that_holds_a_run(data, tmp_path):
    run(data, tmp_path / "run", "--max_steps=1")
    assert "has a model already" in get_error(data, tmp_path)
    shutil.rmtree(tmp_path / "run" / "model")
    assert "--resume_from_checkpoint latest" in get_error(data, tmp_path)


@pytest.mark.parametrize("options", [(), ("--ema_decay=0.9",)])
def test_a_checkpoint_that_was_not_written_whole_is_left_out(data, tmp_path, options):
    options = ("--num_train_epochs=2", *options)
    run(data, tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "model")
    (tmp_path / "killed" / "checkpoint-12" / "trainer_state.json").unlink()
    with pytest.raises(SystemExit, match="is not a checkpoint that this run can go on from.*checkpoint-6"):
        run(data, tmp_path / "killed", *options, "--resume_from_checkpoint", tmp_path / "killed" / "checkpoint-12")
    run(data, tmp_path / "killed", *options, "--resume_from_checkpoint=latest")
    weights = [load_file(tmp_path / each / "model" / "model.safetensors") for each in ("whole", "killed")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize(
    ("stop_at", "limit"),
    [(4, 1), (6, 3), (9, 3)],  # in an epoch, at its end, and where a checkpoint is due
)
def test_a_run_that_was_stopped_goes_on_exactly(data, tmp_path, monkeypatch, stop_at, limit):
    options = ("--num_train_epochs=3", "--drop_path_rate=0.3", f"--save_total_limit={limit}")
    if stop_at == 9:
        options += ("--save_strategy=steps", "--save_steps=3", "--eval_strategy=steps", "--eval_steps=3")
    run(data, tmp_path / "whole", *options)
    get_agreed = StopSignals.get_agreed
    monkeypatch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGTERM * (next(steps) == stop_at))
    steps = itertools.count(1)
    with pytest.raises(SystemExit) as caught:
        run(data, tmp_path / "stopped", *options)
    assert caught.value.code == 128 + signal.SIGTERM
    assert (tmp_path / "stopped" / f"checkpoint-{stop_at}").is_dir()
    monkeypatch.setattr(StopSignals, "get_agreed", get_agreed)
    run(data, tmp_path / "stopped", *options, "--resume_from_checkpoint=latest")
    weights = [load_file(tmp_path / each / "model" / "model.safetensors") for each in ("whole", "stopped")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    metrics = [json.loads((tmp_path / each / "eval_results.json").read_text()) for each in ("whole", "stopped")]
    assert metrics[0]["eval_loss"] == metrics[1]["eval_loss"]


def test_latest_starts_where_the_first_checkpoint_was_not_written_whole(data, tmp_path):
    (tmp_path / "run" / "checkpoint-3").mkdir(parents=True)
    assert "--resume_from_checkpoint latest" in get_error(data, tmp_path)
    message = get_error(data, tmp_path, "--resume_from_checkpoint", tmp_path / "run" / "checkpoint-3")
    assert "There are: none" in message
    run(data, tmp_path / "run", "--max_steps=1", "--resume_from_checkpoint=latest")
    assert (tmp_path / "run" / "model" / "config.json").is_file()


def test_a_checkpoint_is_whole_only_with_its_average(data, tmp_path):
    """Its state, the last thing written, comes after the average."""
    run(data, tmp_path / "run", "--num_train_epochs=1", "--ema_decay=0.9")
    checkpoint = tmp_path / "run" / "checkpoint-6"
    times = [(checkpoint / name).stat().st_mtime_ns for name in ("ema.pt", "trainer_state.json")]
    assert times == sorted(times)


def test_processes_that_do_not_train_together(data, tmp_path, monkeypatch):
    def check_as_one_of_two(num_processes):
        with monkeypatch.context() as patch:
            patch.setenv("WORLD_SIZE", "2")
            check_num_processes(num_processes)

    monkeypatch.setattr(example_report, "check_num_processes", check_as_one_of_two)
    message = get_error(data, tmp_path)
    assert "2 processes were started, but 1 train together" in message and "--use_cpu" in message


@pytest.mark.parametrize("images", ["files", pytest.param("parquet", marks=pytest.mark.slow)])
def test_two_processes(data, tmp_path, images):
    """Trained together: half as many steps, and one model."""
    where = (
        ["--train_dir", data / "files"] if images == "files" else ["--dataset_name", data / "parquet", "--streaming"]
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [FOLDER / "run_image_classification.py", "--use_cpu", *where, "--model_name_or_path", data / "greenmim"]
    command += [
        "--output_dir",
        tmp_path / "run",
        "--num_train_epochs=2",
        "--per_device_train_batch_size=3",
        "--ema_decay=0.9",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [str(each) for each in command], env=environment, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Accuracy" in result.stdout
    (last,) = (tmp_path / "run").glob("checkpoint-12")
    assert (last / "ema.pt").is_file() and (tmp_path / "run" / "model" / "config.json").is_file()


def test_names_of_files_and_classes_are_not_taken_for_splits(tmp_path, data):
    """`datasets` would take a file `train_00.png`, or a class `train`, for a split, and leave out the others."""
    for index, color in enumerate(COLORS):
        for number in range(4):
            name = ["train", "test_track", "red"][index]
            path = tmp_path / "files" / name / "deeper" / f"{['train', 'my_test', 'x'][number % 3]}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(color, number))
    rows = list_class_folders(tmp_path / "files", "--train_dir")
    assert len(rows) == 12 and rows.features["label"].names == ["red", "test_track", "train"]
    assert np.bincount(rows["label"][:]).tolist() == [4, 4, 4]


def test_folders_that_are_no_class_folders(tmp_path, data):
    shutil.copytree(data / "files", tmp_path / "splits" / "train")
    shutil.copytree(data / "files", tmp_path / "splits" / "val")
    message = get_error(tmp_path, tmp_path, start=data / "greenmim", images=tmp_path / "splits", as_train_dir=True)
    assert "folders of splits (train, val)" in message
    shutil.copytree(data / "files", tmp_path / "mixed")
    (tmp_path / "mixed" / "lost.png").write_bytes(encode("red", 0))
    message = get_error(tmp_path, tmp_path, start=data / "greenmim", images=tmp_path / "mixed", as_train_dir=True)
    assert "1 images, such as lost.png" in message
    message = get_error(data, tmp_path, "--validation_dir", data / "files")
    assert "give other images to evaluate on" in message


def test_parquet_files_of_splits_are_not_mixed(tmp_path, data):
    labels = [i % 3 for i in range(12)]
    write_parquet(tmp_path / "both" / "train-0.parquet", labels)
    write_parquet(tmp_path / "both" / "test-0.parquet", labels)
    settings = {"start": data / "greenmim", "images": tmp_path / "both", "as_train_dir": True}
    message = get_error(data, tmp_path, "--validation_dir", tmp_path / "both", **settings)
    assert "of train and test" in message and "none of validation" in message and "--eval_split_name" in message
    assert "other images" in get_error(data, tmp_path, "--eval_split_name=train", images="parquet")
    run(data, tmp_path / "run", "--max_steps=1", **settings)
    assert "`both`, 9 images" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_parquet_files_of_any_one_split_are_what_is_evaluated(data, tmp_path):
    write_parquet(tmp_path / "test" / "test-00000-of-00001.parquet", [0, 1, 2] * 2)
    args = DataArguments(train_dir=str(data / "files"), validation_dir=str(tmp_path / "test"))
    assert open_rows(args, 0)[1].num_images == 6


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_parquet_files_of_others(data, tmp_path, kind):
    """Encoded images, without what `datasets` writes beside them."""
    images = [encode(color, index) for index in range(4) for color in COLORS]
    column = images if kind == "binary" else [{"bytes": image, "path": None} for image in images]
    schema = pyarrow.binary() if kind == "binary" else pyarrow.struct({"bytes": "binary", "path": "string"})
    table = pyarrow.table({"image": pyarrow.array(column, schema), "label": list(range(3)) * 4})
    (tmp_path / "plain").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "plain" / "0.parquet")
    rows, _ = open_rows(DataArguments(train_dir=str(tmp_path / "plain"), train_val_split=0.25), 0)
    assert rows.label_names == ["0", "1", "2"] and rows.num_images == 9
    image = rows.rows[0]["image"]
    assert read_row(image, allow_external_files=True) in images


def test_a_class_folder_without_images_is_named(data, tmp_path, caplog):
    shutil.copytree(data / "files", tmp_path / "files")
    for name in ("zebra", ".cache"):
        (tmp_path / "files" / name).mkdir()
    assert list_class_folders(tmp_path / "files", "--train_dir").features["label"].names == list(COLORS)
    assert "no images in 'zebra', which" in caplog.text


def test_a_folder_may_have_the_name_of_a_builder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    run(data, tmp_path / "run", "--max_steps=1", images=Path("parquet"))


def test_more_workers_than_parts_of_a_stream(data, tmp_path):
    message = get_error(data, tmp_path, "--streaming", "--dataloader_num_workers=2", images="parquet")
    assert "--dataloader_num_workers 2" in message and "1 parts" in message
    assert "--max_train_samples" in get_error(data, tmp_path, "--streaming", "--max_train_samples=5", images="parquet")


@pytest.mark.parametrize("persistent", ["false", "true"])
def test_crops_change_from_epoch_to_epoch(data, tmp_path, persistent, monkeypatch):
    seen = []
    collate = run_image_classification.collate

    def record(examples):
        seen.append(round(float(sum(example["pixel_values"].double().sum() for example in examples)), 6))
        (tmp_path / "seen").open("a").write(f"{seen[-1]}\n")
        return collate(examples)

    monkeypatch.setattr(run_image_classification, "collate", record)
    options = ("--num_train_epochs=3", "--dataloader_num_workers=1", f"--dataloader_persistent_workers={persistent}")
    options += ("--eval_strategy=no", "--save_strategy=no", "--load_best_model_at_end=false", "--max_train_samples=6")
    run(data, tmp_path / "run", *options, "--no_flip")
    sums = (tmp_path / "seen").read_text().split()[:3]  # one batch of the same six images in each epoch
    assert len(set(sums)) == 3


def make_trainer(tmp_path, **settings) -> ClassificationTrainer:
    model = GreenMimForImageClassification(CONFIG)
    args = run_image_classification.ClassificationTrainingArguments(
        output_dir=str(tmp_path), eval_strategy="no", load_best_model_at_end=False, report_to="none", **settings
    )
    return ClassificationTrainer(model=model, args=args, train_dataset=[])


def test_learning_rates_fall_from_layer_to_layer(tmp_path):
    trainer = make_trainer(tmp_path, learning_rate=1.0, layer_decay=0.5)
    rates = {
        id(parameter): group["lr"]
        for group in trainer.create_optimizer().param_groups
        for parameter in group["params"]
    }
    model = trainer.model
    assert rates[id(model.classifier.weight)] == 1.0
    assert rates[id(model.greenmim.encoder.layers[1].blocks[0].mlp.fc1.weight)] == 0.5
    assert rates[id(model.greenmim.encoder.layers[0].blocks[0].mlp.fc1.weight)] == 0.25
    assert rates[id(model.greenmim.embeddings.patch_embeddings.projection.weight)] == 0.125


def test_the_learning_rate_in_the_log_is_the_one_that_is_asked_for(data, tmp_path):
    run(
        data,
        tmp_path / "run",
        "--max_steps=1",
        "--logging_steps=1",
        "--lr_scheduler_type=constant",
        "--warmup_steps=0",
    )
    state = json.loads((tmp_path / "run" / "checkpoint-1" / "trainer_state.json").read_text())
    assert state["log_history"][0]["learning_rate"] == 5e-3


def test_the_optimizer_is_the_one_that_is_asked_for(tmp_path):
    assert isinstance(make_trainer(tmp_path).create_optimizer(), torch.optim.AdamW)
    assert isinstance(make_trainer(tmp_path, optim="sgd").create_optimizer(), torch.optim.SGD)


def test_the_loss_is_that_of_the_model(tmp_path):
    trainer = make_trainer(tmp_path, label_smoothing_factor=0.2)
    torch.manual_seed(0)
    inputs = {"pixel_values": torch.randn(5, 3, 16, 16), "labels": torch.randint(2, (5,))}
    trainer.model.eval()
    expected = trainer.model(**inputs)
    torch.testing.assert_close(trainer.compute_loss(trainer.model, inputs), expected.loss)
    trainer.model.train()
    torch.manual_seed(1)
    smoothed = trainer.compute_loss(trainer.model, inputs)
    log_probabilities = expected.logits.log_softmax(-1)
    by_hand = -(
        0.8 * log_probabilities.gather(1, inputs["labels"][:, None])[:, 0] + 0.2 * log_probabilities.mean(-1)
    ).mean()
    torch.testing.assert_close(smoothed, by_hand)


def test_gradients_of_accumulated_batches_are_those_of_one(data, tmp_path):
    """The loss is a mean over a batch, so the Trainer has to divide it: transformers 5.17 and 5.23 decide that in two ways."""
    options = ("--max_steps=1", "--drop_path_rate=0", "--warmup_steps=0", "--max_grad_norm=0", "--weight_decay=0")
    options += ("--adam_epsilon=1.0", "--logging_steps=1")  # steps proportional to gradients
    run(data, tmp_path / "one", *options, "--per_device_train_batch_size=12")
    run(data, tmp_path / "three", *options, "--per_device_train_batch_size=4", "--gradient_accumulation_steps=3")
    weights = [load_file(tmp_path / each / "model" / "model.safetensors") for each in ("one", "three")]
    start = load_file(data / "greenmim" / "model.safetensors")
    names = [name for name in start if name in weights[0]]
    steps = [torch.cat([(each[name] - start[name]).flatten() for name in names]) for each in weights]
    assert steps[0].norm() > 1e-4
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-3, atol=1e-6)


def test_average_of_the_weights():
    model = torch.nn.Linear(1, 1, bias=False)
    ema = EmaCallback(0.15)
    with torch.no_grad():
        model.weight.fill_(1.0)
        ema.on_train_begin(None, None, None, model)
        ema.on_step_end(None, None, None, model)  # the first one is where it begins
        model.weight.fill_(2.0)
        ema.on_step_end(None, None, None, model)
    with ema.applied_to(model):
        torch.testing.assert_close(model.weight.item(), 0.15 * 1.0 + 0.85 * 2.0)
    assert model.weight.item() == 2.0


def test_a_young_average_has_a_short_memory():
    """Else a short run would end with the weights that it started from."""
    model = torch.nn.Linear(1, 1, bias=False)
    ema = EmaCallback(0.9999)
    expected = 0.0
    with torch.no_grad():
        model.weight.fill_(expected)
        ema.on_train_begin(None, None, None, model)
        ema.on_step_end(None, None, None, model)
        model.weight.fill_(1.0)
        for number in range(1, 20):
            ema.on_step_end(None, None, None, model)
            decay = (1 + number) / (10 + number)
            expected = decay * expected + (1 - decay)
    torch.testing.assert_close(ema.model.module.weight.item(), expected)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_average_is_what_is_evaluated_and_kept(data, tmp_path, monkeypatch, best):
    evaluations = itertools.count()
    monkeypatch.setattr(
        run_image_classification,
        "make_compute_metrics",
        lambda: lambda prediction: {"accuracy": float(next(evaluations) == best)},
    )
    options = (
        "--num_train_epochs=3",
        "--ema_decay=0.99999",
        "--learning_rate=0.1",
        "--drop_path_rate=0",
        "--save_total_limit=5",
    )
    run(data, tmp_path / "run", *options)
    final = load_file(tmp_path / "run" / "model" / "model.safetensors")
    steps = (6, 12, 18)
    averages = [torch.load(tmp_path / "run" / f"checkpoint-{step}" / "ema.pt", weights_only=True) for step in steps]
    is_equal = [all(torch.equal(final[name], each[f"module.{name}"]) for name in final) for each in averages]
    assert is_equal == [index == best for index in range(3)]
    last = load_file(max((tmp_path / "run").glob("checkpoint-*"), key=os.path.getmtime) / "model.safetensors")
    assert not torch.equal(final["classifier.weight"], last["classifier.weight"])


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
def test_what_needs_torchvision_says_so(data, tmp_path):
    message = get_error(data, tmp_path, "--mixup_alpha=0.8", "--rand_augment_num_ops=2")
    assert "--rand_augment_num_ops, --mixup_alpha" in message and "pip install torchvision" in message


def test_rand_augment_needs_colors():
    args = AugmentationArguments(rand_augment_num_ops=2)
    check_num_channels(args, 3)
    with pytest.raises(UserError, match="1 or 3 channels, and the model takes 4"):
        check_num_channels(args, 4)


@pytest.mark.skipif(not is_torchvision_available(), reason="torchvision is not installed")
def test_recipe_with_torchvision(data, tmp_path):
    options = (
        "--rand_augment_num_ops=2",
        "--random_erasing_prob=0.5",
        "--mixup_alpha=0.8",
        "--cutmix_alpha=1.0",
        "--ema_decay=0.9",
    )
    options += (
        "--num_train_epochs=3",
        "--save_strategy=steps",
        "--save_steps=3",
        "--eval_strategy=steps",
        "--eval_steps=3",
    )
    run(data, tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "model")
    for path in (tmp_path / "resumed").glob("checkpoint-*"):
        if path.name != "checkpoint-3":
            shutil.rmtree(path)
    run(data, tmp_path / "resumed", *options, "--resume_from_checkpoint=latest")
    weights = [load_file(tmp_path / each / "model" / "model.safetensors") for each in ("whole", "resumed")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_metric_is_that_of_evaluate_where_it_can_be_had(monkeypatch):
    monkeypatch.setattr(example_metrics.evaluate, "load", lambda name: f"{name} of the Hub")
    assert example_metrics.load_metric("accuracy") == "accuracy of the Hub"
    monkeypatch.setattr(example_metrics.evaluate, "load", raise_file_not_found)
    metric = example_metrics.load_metric("accuracy")
    assert metric.compute(predictions=[0, 1, 1, 2], references=[0, 1, 2, 2]) == {"accuracy": 0.75}


def test_probe(data, tmp_path, capsys):
    models = [data / "greenmim", data / "swin"]
    output = tmp_path / "deeper" / "out.json"
    arguments = ["--model_name_or_path", *models, "--train_dir", data / "files", "--output_file", output]
    run_probe.main([str(argument) for argument in [*arguments, "--train_val_split=0.3", "--num_neighbors=3"]])
    results = json.loads(output.read_text())["accuracy"]
    assert list(results) == [str(model) for model in models]
    # features of a random encoder tell colors apart
    assert all(accuracy >= 0.7 for each in results.values() for accuracy in each.values())
    assert "linear" in capsys.readouterr().out


def test_probe_of_the_same_weights_is_the_same(data, tmp_path):
    """As SimMIM's Swin, and converted: one answer."""
    from modeling_greenmim.convert_swin_to_greenmim import convert_swin_to_greenmim

    convert_swin_to_greenmim(data / "swin", tmp_path / "converted", seed=0)
    arguments = ["--model_name_or_path", data / "swin", tmp_path / "converted", "--train_dir", data / "files"]
    arguments += ["--image_processor_name", data / "greenmim", "--output_file", tmp_path / "out.json"]
    run_probe.main([str(argument) for argument in arguments])
    first, second = json.loads((tmp_path / "out.json").read_text())["accuracy"].values()
    assert first == second


def test_probe_where_not_all_classes_are_evaluated(data, tmp_path):
    for color in ("green", "red"):
        shutil.copytree(data / "files" / color, tmp_path / "validation" / color)
    arguments = ["--model_name_or_path", data / "greenmim", "--train_dir", data / "files", "--num_neighbors=3"]
    arguments += ["--validation_dir", tmp_path / "validation", "--output_file", tmp_path / "out.json"]
    run_probe.main([str(argument) for argument in arguments])
    (accuracy,) = json.loads((tmp_path / "out.json").read_text())["accuracy"].values()
    assert accuracy["knn"] == 1.0  # the same images


def test_probe_of_what_is_no_model(data, tmp_path, capsys):
    def probe(name: str):
        models = [str(data / "greenmim"), str(tmp_path / name)]
        run_probe.main(["--model_name_or_path", *models, "--train_dir", str(data / "files")])

    with pytest.raises(SystemExit, match="nowhere cannot be loaded"):
        probe("nowhere")
    assert "linear" not in capsys.readouterr().out, "said before anything was measured"
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(SystemExit, match="'vit', neither GreenMIM nor Swin"):
        probe("vit")
    shutil.copytree(data / "greenmim", tmp_path / "renamed")
    weights = load_file(tmp_path / "renamed" / "model.safetensors")
    save_file(
        {f"module.{name}": weight for name, weight in weights.items()}, tmp_path / "renamed" / "model.safetensors"
    )
    with pytest.raises(SystemExit, match="lacks .* weights"):
        probe("renamed")
    (tmp_path / "renamed" / "model.safetensors").write_bytes(b"half of it")
    with pytest.raises(SystemExit, match="weights are damaged"):
        probe("renamed")
