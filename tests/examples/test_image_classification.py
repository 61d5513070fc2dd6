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
"""run_image_classification.py as users start it."""

import io
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
import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from modeling_greenmim import GreenMimConfig, GreenMimForImageClassification, publish
from modeling_greenmim.checkpoint_folders import make_image_processor
from modeling_greenmim.training.errors import UserError
from tests.helpers.labeled_images import COLORS, CONFIG, encode_color
from tests.helpers.scripts import ROOT, import_script


PATH = "examples/image-classification/run_image_classification.py"
script = import_script(PATH)
OPTIONS = ("--report_to=none", "--per_device_train_batch_size=6", "--learning_rate=5e-3", "--save_total_limit=10")
RECIPE = ("--rand_augment_num_ops=2", "--random_erasing_prob=0.5", "--mixup_alpha=0.8", "--cutmix_alpha=1.0")
EVERY_SECOND_STEP = ("--save_strategy=steps", "--save_steps=2", "--eval_strategy=steps", "--eval_steps=2")


@pytest.fixture(autouse=True)
def light(monkeypatch):
    # takes seconds and is tested elsewhere: the model folder loads without this package
    monkeypatch.setattr(publish, "_check_folder", lambda *_: None)


def make_arguments(folders: Path, output_dir: Path, *options, start="greenmim", images="files") -> list[str]:
    model = ["--config_name", folders / "config"] if start == "scratch" else ["--model_name_or_path", folders / start]
    data = ["--train_dir" if images == "files" else "--dataset_name", folders / images]
    return [str(argument) for argument in [*data, *model, "--output_dir", output_dir, *OPTIONS, *options]]


def run(*args, **kwargs):
    script.main(make_arguments(*args, **kwargs))


def get_error(folders: Path, tmp_path: Path, *options, **kwargs) -> str:
    """Return the one-line error of a rejected run."""
    with pytest.raises(SystemExit) as caught:
        run(folders, tmp_path / "run", *options, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_same_models(first: Path, second: Path):
    weights = [load_file(folder / "model" / "model.safetensors") for folder in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    "start",
    [
        "greenmim",
        *(pytest.param(start, marks=pytest.mark.slow) for start in ("greenmim_v2", "twins", "swin", "scratch")),
    ],
)
def test_a_run_leaves_a_folder_for_a_pipeline(labeled_folders, tmp_path, start, capsys):
    run(labeled_folders, tmp_path / "run", "--num_train_epochs=12", "--drop_path_rate=0", start=start)
    output = capsys.readouterr().out
    accuracy = json.loads((tmp_path / "run" / "eval_results.json").read_text())["eval_accuracy"]
    assert accuracy >= 0.8, "three colors are easy to tell apart"
    assert f"Accuracy {accuracy:.4f}, on 6 images of `files`" in output
    folder = tmp_path / "run" / "model"
    card = (folder / "README.md").read_text()
    assert f"{accuracy:.4f}" in card and "pipeline_tag: image-classification" in card
    assert "`files`, 36 images" in card and "on 6 images of `files` that were held out" in card
    assert str(labeled_folders) not in card.split("The command:")[0], "a card does not name folders of a machine"
    classifier = pipeline("image-classification", model=str(folder))
    expected = np.repeat(list(COLORS), 3)
    images = [PIL.Image.open(io.BytesIO(encode_color(color, 100 + index))) for index, color in enumerate(expected)]
    assert np.mean([classifier(image)[0]["label"] == color for image, color in zip(images, expected)]) >= 0.7


@pytest.fixture
def unfinished_run(labeled_folders, tmp_path) -> Path:
    """Create a run folder with a checkpoint and no model."""
    run(labeled_folders, tmp_path / "run", "--num_train_epochs=1")
    shutil.rmtree(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("option", "value"),
    [("ema_decay", 0.9), ("min_crop_scale", 0.5), ("max_train_samples", 30), ("drop_path_rate", 0.0)],
)
def test_a_run_is_not_resumed_with_different_settings(labeled_folders, unfinished_run, option, value):
    options = ("--num_train_epochs=1", f"--{option}={value}", "--resume_from_checkpoint=latest")
    message = get_error(labeled_folders, unfinished_run.parent, *options)
    assert f"--{option} " in message and str(value) in message


def test_a_run_is_resumed_after_its_images_moved(labeled_folders, unfinished_run, tmp_path):
    shutil.copytree(labeled_folders / "files", tmp_path / "moved")
    options = ("--num_train_epochs=1", "--resume_from_checkpoint=latest", "--train_dir", tmp_path / "moved")
    run(labeled_folders, unfinished_run, *options)
    assert (unfinished_run / "model" / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((*RECIPE, "--ema_decay=0.9"), {}),
        (("--dataloader_num_workers=1", "--gradient_accumulation_steps=2"), {"start": "swin"}),
        (("--streaming", "--shuffle_buffer_size=5"), {"images": "parquet"}),
        (("--streaming", "--dataloader_num_workers=1"), {"images": "parquet", "start": "swin"}),
    ],
    ids=["recipe", "workers", "stream", "stream in a worker"],
)
def test_a_resumed_run_ends_with_the_same_weights(labeled_folders, tmp_path, options, settings):
    options = (*options, *EVERY_SECOND_STEP, "--num_train_epochs=2")
    run(labeled_folders, tmp_path / "whole", *options, **settings)
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "model")
    for path in (tmp_path / "resumed").glob("checkpoint-*"):
        if path.name != "checkpoint-2":
            shutil.rmtree(path)
    run(labeled_folders, tmp_path / "resumed", *options, "--resume_from_checkpoint=latest", **settings)
    assert_same_models(tmp_path / "whole", tmp_path / "resumed")


def start_process(arguments: list[str], log: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, ROOT / PATH, *arguments, "--use_cpu"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def wait_for(condition, process: subprocess.Popen, log: Path):
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_process_ends_with_the_same_weights(labeled_folders, tmp_path):
    options = (*RECIPE, "--ema_decay=0.9", *EVERY_SECOND_STEP, "--num_train_epochs=3", "--use_cpu")
    run(labeled_folders, tmp_path / "whole", *options)
    options += ("--resume_from_checkpoint=latest",)
    for step in (2, 6, 12):
        process = start_process(make_arguments(labeled_folders, tmp_path / "killed", *options), tmp_path / "log")
        checkpoint = tmp_path / "killed" / f"checkpoint-{step}"
        wait_for(checkpoint.exists, process, tmp_path / "log")  # possibly incomplete
        process.kill()
        process.wait()
    run(labeled_folders, tmp_path / "killed", *options)
    assert_same_models(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_resume(labeled_folders, tmp_path):
    options = ("--max_steps=100000", "--eval_strategy=no", "--save_strategy=no", "--load_best_model_at_end=false")
    arguments = make_arguments(labeled_folders, tmp_path / "run", *options, "--logging_steps=1")
    log = tmp_path / "log"
    process = start_process(arguments, log)
    wait_for(lambda: "'loss'" in log.read_text(), process, log)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 128 + signal.SIGINT
    output = log.read_text()
    assert "--resume_from_checkpoint latest" in output and "Traceback" not in output
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert f"Stopped after step {checkpoint.name.split('-')[1]}" in output


@pytest.mark.slow
@pytest.mark.parametrize(("images", "options"), [("files", ()), ("parquet", ("--streaming",))])
def test_two_processes_train_one_model(labeled_folders, tmp_path, images, options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(ROOT / PATH)]
    options += ("--use_cpu", "--num_train_epochs=2", "--per_device_train_batch_size=3", "--ema_decay=0.9")
    command += make_arguments(labeled_folders, tmp_path / "run", *options, images=images)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Accuracy" in result.stdout
    assert (tmp_path / "run" / "checkpoint-12" / "ema.pt").is_file(), (
        "as many steps as one process with twice the batch"
    )
    assert (tmp_path / "run" / "model" / "config.json").is_file()


@pytest.mark.slow
def test_a_stream_is_evaluated_after_each_epoch(labeled_folders, tmp_path):
    run(labeled_folders, tmp_path / "run", "--streaming", "--num_train_epochs=2", images="parquet")
    state = json.loads((tmp_path / "run" / "checkpoint-12" / "trainer_state.json").read_text())
    assert state["max_steps"] == 12
    assert [record["step"] for record in state["log_history"] if "eval_accuracy" in record] == [6, 12]
    assert "on 9 images of `parquet`" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_crop_scale": 0.0}, "--min_crop_scale must be above 0 and at most 1, got 0.0"),
        ({"rand_augment_num_ops": -1}, "--rand_augment_num_ops must be at least 0"),
        ({"rand_augment_magnitude": 31}, "--rand_augment_magnitude must be from 0 to 30"),
        ({"random_erasing_prob": 1.5}, "--random_erasing_prob must be from 0 to 1"),
        ({"mixup_alpha": -1.0}, "--mixup_alpha must be at least 0"),
        ({"cutmix_alpha": -1.0}, "--cutmix_alpha must be at least 0"),
    ],
)
def test_invalid_arguments_raise(arguments, message):
    with pytest.raises(UserError, match=message):
        script.AugmentationArguments(**arguments)


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        (["--epochs=3"], "files", "unknown arguments: --epochs=3"),
        (["--report_to=mlflow"], "files", "--report_to mlflow: not installed"),
        (["--image_column_name=picture"], "files", "no column 'picture'"),
        (["--ignore_mismatched_sizes", "--validation_dir=nowhere"], "files", "--validation_dir must be a folder"),
        (["--streaming", "--dataloader_num_workers=2"], "parquet", "--dataloader_num_workers must be at most 1"),
    ],
)
def test_a_run_that_is_refused_writes_nothing(labeled_folders, tmp_path, options, images, message):
    assert message in get_error(labeled_folders, tmp_path, *options, images=images)
    assert not (tmp_path / "run").exists()


def test_an_image_that_cannot_be_read_is_named(labeled_folders, tmp_path):
    shutil.copytree(labeled_folders / "files", tmp_path / "files")
    for path in (tmp_path / "files" / "red").iterdir():
        path.write_bytes(b"no image")
    message = get_error(labeled_folders, tmp_path, "--dataloader_num_workers=1", "--train_dir", tmp_path / "files")
    assert "/red/" in message and "cannot be read" in message


def test_rand_augment_of_images_without_colors_raises(labeled_folders, tmp_path):
    GreenMimForImageClassification(
        GreenMimConfig(**{**CONFIG.to_dict(), "num_channels": 4, "id2label": None, "label2id": None})
    ).greenmim.save_pretrained(tmp_path / "start")
    message = get_error(labeled_folders, tmp_path, "--rand_augment_num_ops=2", start=tmp_path / "start")
    assert "--rand_augment_num_ops needs images of 1 or 3 channels" in message and "takes 4" in message


def make_args(tmp_path, **settings):
    return script.ClassificationTrainingArguments(
        output_dir=str(tmp_path), report_to="none", use_cpu=True, per_device_train_batch_size=4, **settings
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "Pass --max_steps"), ({"max_steps": 10}, "--eval_strategy steps, --save_strategy steps")],
)
def test_a_stream_of_unknown_length_needs_steps(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        script.count_stream_steps(make_args(tmp_path, **settings), None)


def test_epochs_of_a_stream_are_counted_in_steps(tmp_path):
    args = make_args(tmp_path, num_train_epochs=3)
    script.count_stream_steps(args, 10)
    assert (args.max_steps, args.eval_strategy, args.eval_steps, args.save_steps) == (8, "steps", 3, 3)


@pytest.mark.parametrize("num_channels", [1, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_transforms_take_any_number_of_channels(num_channels, dtype):
    config = GreenMimConfig(**{**CONFIG.to_dict(), "num_channels": num_channels})
    args = script.AugmentationArguments(random_erasing_prob=0.5)
    transform = script.make_train_transform(args, (16, 16), make_image_processor(config))
    pixels = torch.from_numpy(np.random.default_rng(0).uniform(0, 200, (num_channels, 20, 18)).astype(dtype))
    output = transform(pixels)
    assert output.shape == (num_channels, 16, 16) and output.dtype == torch.float32


def test_a_whole_image_is_what_is_evaluated_without_augmentations():
    """An image of the model's size that is neither cropped nor flipped is only normalized, as in evaluation."""
    pixels = torch.randint(256, (3, 16, 16), dtype=torch.uint8)
    processor = make_image_processor(CONFIG)
    args = script.AugmentationArguments(min_crop_scale=1.0, flip=False)
    torch.testing.assert_close(
        script.make_train_transform(args, (16, 16), processor)(pixels), script.preprocess(pixels, processor)
    )


@pytest.mark.parametrize("settings", [{"mixup_alpha": 0.8}, {"cutmix_alpha": 1.0}], ids=["mixup", "CutMix"])
def test_mixed_labels_are_probabilities(settings):
    torch.manual_seed(0)
    mixup = script.make_mixup(script.AugmentationArguments(**settings), 3)
    images, labels = mixup(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0]))
    assert images.shape == (4, 3, 16, 16) and labels.shape == (4, 3)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(4))
    assert ((labels > 0) & (labels < 1)).any()


def test_without_mixup_batches_are_not_mixed():
    assert script.make_mixup(script.AugmentationArguments(), 3) is None


@pytest.fixture
def trainer(tmp_path):
    torch.manual_seed(0)
    args = make_args(tmp_path, label_smoothing_factor=0.2, eval_strategy="no", load_best_model_at_end=False)
    return script.ClassificationTrainer(model=GreenMimForImageClassification(CONFIG), args=args, train_dataset=[])


@pytest.fixture
def inputs():
    return {"pixel_values": torch.randn(5, 3, 16, 16), "labels": torch.randint(2, (5,))}


def test_the_loss_of_an_evaluation_is_that_of_the_model(trainer, inputs):
    model = trainer.model.eval()
    torch.testing.assert_close(trainer.compute_loss(model, inputs), model(**inputs).loss)


def test_labels_are_smoothed_in_training(trainer, inputs):
    log_probabilities = trainer.model.eval()(inputs["pixel_values"]).logits.log_softmax(-1)
    labels = 0.8 * torch.nn.functional.one_hot(inputs["labels"], 2) + 0.2 / 2
    loss = trainer.compute_loss(trainer.model.train(), inputs)
    torch.testing.assert_close(loss, -(labels * log_probabilities).sum(dim=-1).mean())


def test_mixed_batches_are_trained_but_not_evaluated(trainer, inputs):
    trainer.mixup = lambda images, labels: (0 * images, torch.tensor([[0.5, 0.5]]).expand(len(labels), 2))
    mixed = trainer.compute_loss(trainer.model.train(), inputs)
    log_probabilities = trainer.model(0 * inputs["pixel_values"]).logits.log_softmax(-1)
    torch.testing.assert_close(mixed, -log_probabilities.mean())
    evaluated = trainer.compute_loss(trainer.model.eval(), inputs)
    torch.testing.assert_close(evaluated, trainer.model(**inputs).loss)


def test_accuracy_is_the_fraction_of_right_predictions():
    predictions = script.EvalPrediction(predictions=np.array([0, 1, 1, 2]), label_ids=np.array([0, 1, 2, 2]))
    assert script.compute_metrics(predictions) == {"accuracy": 0.75}
