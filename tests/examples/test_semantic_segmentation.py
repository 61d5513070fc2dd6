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
"""Semantic segmentation on pasted digits: UperNet on GreenMIM and Swin backbones."""

import json
import re

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, jaccard_score, recall_score
from torchvision import tv_tensors
from torchvision.transforms import v2
from transformers import EvalPrediction, UperNetForSemanticSegmentation, pipeline

from modeling_greenmim.training.errors import UserError
from tests.helpers.fine_tuning_runs import (
    TRAINING,
    assert_learning_rates_decay_in_the_backbone,
    check_resume,
    encode,
    get_error,
    predict_in_fresh_process,
)
from tests.helpers.scripts import import_script


script = import_script("examples/semantic-segmentation/run_semantic_segmentation.py")
IGNORED = script.IGNORED


@pytest.fixture(scope="module")
def arguments(pasted_digits, tiny_backbones):
    """Arguments of a run that starts from GreenMIM, except for the output folder."""
    data = ["--dataset_name", str(pasted_digits), "--id2label_file", str(pasted_digits / "id2label.json")]
    return [*data, "--model_name_or_path", str(tiny_backbones / "greenmim"), "--crop_size=32", *TRAINING]


@pytest.fixture(scope="module")
def finished_run(arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation") / "run"
    script.main([*arguments, "--output_dir", str(folder)])
    return folder


def make_dataset(image, label, num_labels=10, do_reduce_labels=False):
    rows = script.LabeledRows([{"image": image, "label": label}], "data", 1)
    return script.SegmentationDataset(rows, num_labels, do_reduce_labels, image_processor=None)


IMAGE = encode(np.zeros((5, 7, 3), dtype=np.uint8))


# Runs


def test_card_reports_the_results_of_the_evaluation(finished_run):
    metrics = json.loads((finished_run / "eval_results.json").read_text())
    card = (finished_run / "model" / "README.md").read_text()
    assert 0 <= metrics["eval_mean_iou"] <= 1
    assert f"{metrics['eval_mean_iou']:.4f}" in card
    assert "20 images" in card and "7 images" in card and "(predictions.png)" in card
    assert "| max_steps |" in card and "| num_train_epochs |" not in card  # the one that counts


def test_picture_shows_images_and_classes(finished_run):
    with PIL.Image.open(finished_run / "model" / "predictions.png") as picture:
        assert (
            min(picture.size) > 300 and len(picture.getcolors(2**24)) > 100
        )  # the figure shows photographs and is not empty


def test_model_folder_holds_the_best_evaluated_model(finished_run):
    state = json.loads((finished_run / "checkpoint-6" / "trainer_state.json").read_text())
    best = UperNetForSemanticSegmentation.from_pretrained(state["best_model_checkpoint"]).state_dict()
    model = UperNetForSemanticSegmentation.from_pretrained(finished_run / "model").state_dict()
    torch.testing.assert_close(model, best, rtol=0, atol=0)


def test_pipeline_runs_the_model_folder(finished_run):
    masks = pipeline("image-segmentation", model=str(finished_run / "model"))(PIL.Image.new("RGB", (75, 51)))
    assert masks and all(mask["mask"].size == (75, 51) for mask in masks)


@pytest.mark.slow
def test_pipeline_runs_the_model_folder_in_a_fresh_process(finished_run, tmp_path):
    PIL.Image.new("RGB", (75, 51)).save(tmp_path / "image.png")
    output = predict_in_fresh_process("image-segmentation", finished_run / "model", tmp_path / "image.png")
    assert "size=75x51" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "start"),
    [*(("--model_name_or_path", start) for start in ("swin", "greenmim_v2", "twins")), ("--config_name", "config")],
)
def test_run_from_other_weights(pasted_digits, tiny_backbones, tmp_path, argument, start, capsys):
    data = ["--dataset_name", str(pasted_digits), "--id2label_file", str(pasted_digits / "id2label.json")]
    script.main([*data, argument, str(tiny_backbones / start), "--output_dir", str(tmp_path / "run"), *TRAINING])
    assert ("after import modeling_greenmim." in capsys.readouterr().out) == (start != "swin")
    assert (tmp_path / "run" / "model" / "README.md").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--ema_decay=0.9"], ["--dataloader_num_workers=1", "--drop_path_rate=0.3"]], ids=str
)
def test_stopped_run_resumes_exactly(arguments, tmp_path, monkeypatch, options):
    check_resume(script.main, arguments, tmp_path, monkeypatch, *options)


# Model


def test_backbone_starts_from_the_pretrained_weights(tiny_backbones):
    args = script.ModelArguments(model_name_or_path=str(tiny_backbones / "greenmim"), head_hidden_size=16)
    model, _ = script.make_model(args, ["a", "b"])
    name = "encoder.layers.1.blocks.0.mlp.fc1.weight"
    saved = load_file(tiny_backbones / "greenmim" / "model.safetensors")
    torch.testing.assert_close(model.backbone.state_dict()[name], saved[f"greenmim.{name}"])


def test_learning_rates_decay_in_the_backbone_only(tiny_backbones):
    args = script.ModelArguments(config_name=str(tiny_backbones / "config"), head_hidden_size=16)
    model, _ = script.make_model(args, ["a", "b"])
    assert_learning_rates_decay_in_the_backbone(model)


# Metrics


def test_metrics_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    compute_metrics = script.make_compute_metrics(num_labels=6)
    all_labels, all_predictions = [], []
    sizes = (400, 30, 1000)
    for number, size in enumerate(
        sizes, 1
    ):  # images of different sizes; class 4 occurs only in predictions, class 5 nowhere
        labels = rng.choice([0, 1, 2, 3, IGNORED], size)
        predictions = np.where(rng.random(size) < 0.6, labels % IGNORED, rng.integers(0, 5, size))
        all_labels.append(labels)
        all_predictions.append(predictions)
        padded = np.pad(labels, (0, 9), constant_values=-100)  # as the Trainer pads
        prediction = EvalPrediction(
            torch.from_numpy(np.pad(predictions, (0, 9), constant_values=-100))[None], torch.from_numpy(padded)[None]
        )
        metrics = compute_metrics(prediction, compute_result=number == len(sizes))
    labels, predictions = np.concatenate(all_labels), np.concatenate(all_predictions)
    labels, predictions = labels[labels != IGNORED], predictions[labels != IGNORED]
    assert metrics == {
        "mean_iou": pytest.approx(jaccard_score(labels, predictions, labels=range(5), average="macro")),
        "mean_accuracy": pytest.approx(recall_score(labels, predictions, labels=range(4), average="macro")),
        "overall_accuracy": pytest.approx(accuracy_score(labels, predictions)),
    }


def test_each_evaluation_counts_from_zero():
    compute_metrics = script.make_compute_metrics(num_labels=2)
    labels = torch.tensor([[0, 1]])
    assert compute_metrics(EvalPrediction(1 - labels, labels), compute_result=True)["mean_iou"] == 0
    assert compute_metrics(EvalPrediction(labels, labels), compute_result=True)["mean_iou"] == 1


# Augmentations


def make_augmentation(**settings) -> v2.Compose:
    """Create augmentations without color changes."""
    args = script.DataArguments(dataset_name="data", id2label_file="names.json", crop_size=32, **settings)
    augmentation = script.make_augmentation(args)
    return v2.Compose([change for change in augmentation.transforms if not isinstance(change, v2.RandomApply)])


def test_crops_of_images_and_classes_are_the_same_place():
    augmentation = make_augmentation(min_scale=1.0, max_scale=1.0)
    classes = torch.randint(1, 10, (20, 50), dtype=torch.uint8)
    sample = {"image": tv_tensors.Image(classes.expand(3, -1, -1)), "mask": tv_tensors.Mask(classes)}
    seen = set()
    for _ in range(8):
        changed = augmentation(sample)
        assert changed["image"].shape == (3, 32, 32)
        padded = changed["mask"] == IGNORED
        assert torch.equal(changed["image"], changed["mask"].masked_fill(padded, 0).expand(3, -1, -1))
        assert (~padded).sum() == 20 * 32
        seen.add(changed["image"].numpy().tobytes())
    assert len(seen) > 1


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_images_are_resized_by_the_factor(scale):
    rescale = script.RandomRescale(scale, scale)
    changed = rescale(
        {"image": tv_tensors.Image(torch.zeros(3, 20, 50)), "mask": tv_tensors.Mask(torch.zeros(20, 50))}
    )
    assert changed["image"].shape[1:] == changed["mask"].shape == (20 * scale, 50 * scale)


def test_resizing_makes_no_new_classes():
    mask = tv_tensors.Mask(torch.tensor([[0, 9], [9, 0]], dtype=torch.uint8).repeat(20, 20))
    assert set(script.RandomRescale(0.7, 1.9)(mask).unique().tolist()) == {0, 9}


# Data


def test_reduced_labels_ignore_0():
    annotation = encode(np.array([[0, 1, 10, IGNORED]], dtype=np.uint8))
    dataset = make_dataset(encode(np.zeros((1, 4, 3), dtype=np.uint8)), annotation, do_reduce_labels=True)
    assert dataset.load_sample(0)["mask"].tolist() == [[IGNORED, 0, 9, IGNORED]]


@pytest.mark.parametrize(
    ("image", "annotation", "message"),
    [
        ({"bytes": b"no image", "path": None}, IMAGE, "cannot be read"),
        (IMAGE, {"bytes": b"", "path": None}, "cannot be read"),
        (IMAGE, None, "cannot be read"),
        (IMAGE, encode(np.zeros((3, 4), dtype=np.uint8)), "for each of 5 x 7 pixels, got 3 x 4"),
        (IMAGE, encode(np.zeros((5, 7, 3), dtype=np.uint8)), "pixels, got 5 x 7 x 3"),
        (IMAGE, encode(np.full((5, 7), 10, dtype=np.uint8)), "has the class 10, but --id2label_file has 10 classes"),
    ],
    ids=["image", "annotation", "no annotation", "size", "channels", "class"],
)
def test_rows_that_cannot_be_used_are_named(image, annotation, message):
    with pytest.raises(UserError, match=f"^Image 0 of data.*{message}"):
        make_dataset(image, annotation)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image_column_name=picture"], "no column 'picture'"),
        (["--label_column_name=width"], "'width' of .* must hold images"),
        (["--eval_split_name=test"], "has no split 'test'"),
        (["--eval_split_name=train"], "--eval_split_name must differ from --train_split_name"),
        (["--min_scale=2", "--max_scale=1"], "--min_scale must be above 0 and at most --max_scale, got 2.0 and 1.0"),
        (["--crop_size=0"], "--crop_size must be at least 1"),
        (["--head_hidden_size=0"], "--head_hidden_size must be at least 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_arguments_that_cannot_be_used_are_refused(arguments, tmp_path, options, message):
    assert re.search(message, get_error(script.main, [*arguments, *options, "--output_dir", tmp_path / "run"]))


@pytest.mark.parametrize("names", [["one"], [str(number) for number in range(256)]], ids=len)
def test_numbers_of_classes_that_cannot_be_used_are_refused(arguments, tmp_path, names):
    (tmp_path / "names.json").write_text(json.dumps(names))
    options = ["--id2label_file", tmp_path / "names.json", "--output_dir", tmp_path / "run"]
    assert f"must name 2 to 255 classes, got {len(names)}" in get_error(script.main, [*arguments, *options])


def test_error_of_a_worker_is_one_line(arguments, tmp_path):
    (tmp_path / "names.json").write_text('["background", "zero"]')
    options = [
        "--id2label_file",
        tmp_path / "names.json",
        "--output_dir",
        tmp_path / "run",
        "--dataloader_num_workers=1",
    ]
    message = get_error(script.main, [*arguments, *options])
    assert "--id2label_file has 2 classes" in message and "--do_reduce_labels" in message
