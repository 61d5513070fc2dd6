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
"""Segmentation and detection in examples, on pasted digits."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset, load_dataset
from safetensors.torch import load_file
from transformers import (
    RTDetrForObjectDetection,
    SwinConfig,
    SwinModel,
    UperNetForSemanticSegmentation,
)

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling
from modeling_greenmim.parameter_groups import make_parameter_groups
from modeling_greenmim.training.stop_signals import StopSignals


pytest.importorskip("albumentations")
pytest.importorskip("pycocotools")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

import make_pasted_digits
import run_object_detection
import run_semantic_segmentation

from modeling_greenmim.training.backbones import BackboneArguments, load_backbone
from modeling_greenmim.training.command_line import UserError, get_name

import detection_data
import segmentation_data
import segmentation_pictures
from detection_metrics import make_ground_truth, measure


SHARED = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": (1, 1, 1),
    "num_heads": (1, 2, 4),
    "window_size": 4,
}
CONFIG = GreenMimConfig(**SHARED, decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_intermediate_size=32)
TRAINING = ("--report_to=none", "--max_steps=6", "--per_device_train_batch_size=4", "--eval_strategy=steps")
TRAINING += (
    "--eval_steps=3",
    "--save_strategy=steps",
    "--save_steps=3",
    "--save_total_limit=5",
    "--head_hidden_size=16",
)
OPTIONS = {
    "segmentation": (*TRAINING, "--crop_size=32"),
    "detection": (*TRAINING, "--image_size=64", "--num_queries=10", "--num_decoder_layers=1", "--flip=false"),
}
SCRIPTS = {"segmentation": run_semantic_segmentation, "detection": run_object_detection}


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch):
    monkeypatch.setattr(example_metrics.evaluate, "load", raise_file_not_found)  # nothing from the network
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def raise_file_not_found(name):
    raise FileNotFoundError(name)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pasted digits, and models to start from."""
    folder = tmp_path_factory.mktemp("dense")
    command = ["--output_dir", str(folder / "digits"), "--num_train_images", "20", "--num_eval_images", "7"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["make_pasted_digits.py", *command])
        make_pasted_digits.main()
    CONFIG.save_pretrained(folder / "config")
    torch.manual_seed(0)
    GreenMimForMaskedImageModeling(CONFIG).save_pretrained(folder / "greenmim")
    SwinModel(SwinConfig(**SHARED)).save_pretrained(folder / "swin")
    return folder


def run(task: str, data: Path, output_dir: Path, *options, start="greenmim", images="digits"):
    model = ["--config_name", data / "config"] if start == "scratch" else ["--model_name_or_path", data / start]
    arguments = ["--dataset_name", data / images, "--output_dir", output_dir, *model, *OPTIONS[task]]
    if task == "segmentation":
        arguments += ["--id2label_file", data / "digits" / "id2label.json"]
    SCRIPTS[task].main([str(argument) for argument in [*arguments, *options]])


def get_error(task: str, data: Path, tmp_path: Path, *options, **settings) -> str:
    """The one line that ends a run that cannot be."""
    with pytest.raises(SystemExit) as caught:
        run(task, data, tmp_path / "run", *options, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The data set


def test_masks_and_boxes_of_pasted_digits_are_exact(data):
    rows = load_dataset(str(data / "digits"))["train"]
    shapes = set()
    for row in rows:
        classes = np.asarray(row["annotation"])
        shapes.add(classes.shape)
        assert row["image"].size == (row["width"], row["height"]) == classes.shape[::-1]
        assert set(np.unique(classes)) == {0, *(category + 1 for category in row["objects"]["category"])}
        assert sum(row["objects"]["area"]) == (classes > 0).sum()
        for box, category in zip(row["objects"]["bbox"], row["objects"]["category"]):
            left, top, width, height = map(int, box)
            inside = classes[top : top + height, left : left + width] == category + 1
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
    assert len(shapes) > 15, "images of all sizes"


def test_no_digit_is_in_two_splits(monkeypatch):
    seen = {}

    def record(rng, photographs, digits):
        seen.setdefault("digits", []).append({ink.tobytes() for ink, _ in digits})
        seen.setdefault("columns", []).append(photographs[0].shape[1])
        return np.zeros((64, 64, 3), dtype=np.uint8), []

    monkeypatch.setattr(make_pasted_digits, "make_image", record)
    make_pasted_digits.make_split("train", 1, 0)
    make_pasted_digits.make_split("validation", 1, 0)
    assert not seen["digits"][0] & seen["digits"][1]
    assert sum(seen["columns"]) == 640


# Backbones


@pytest.mark.parametrize("start", ["greenmim", "swin", "config"])
@pytest.mark.parametrize("num_stages", [None, 2])
def test_backbones(data, start, num_stages):
    arguments = {"config_name" if start == "config" else "model_name_or_path": str(data / start)}
    backbone = load_backbone(BackboneArguments(**arguments, drop_path_rate=0.3), num_stages)
    expected = ["stage1", "stage2", "stage3"] if num_stages is None else ["stage2", "stage3"]
    assert list(backbone.config.out_features) == expected and backbone.config.drop_path_rate == 0.3
    if start == "config":
        assert backbone.model is None
        return
    feature_maps = backbone.model(torch.randn(1, 3, 75, 51)).feature_maps  # grids of 19 x 13, 10 x 7 and 5 x 4
    assert [tuple(each.shape[1:]) for each in feature_maps] == [(8, 19, 13), (16, 10, 7), (32, 5, 4)][-len(expected) :]


def test_backbones_that_cannot_be(data, tmp_path):
    with pytest.raises(UserError, match="3 stages, and 4 feature maps"):
        load_backbone(BackboneArguments(config_name=str(data / "config")), 4)
    with pytest.raises(UserError, match="--model_name_or_path, or"):
        BackboneArguments()
    with pytest.raises(UserError, match="nowhere"):
        load_backbone(BackboneArguments(model_name_or_path=str(tmp_path / "nowhere")))


# Runs


def test_names_of_folders_tell_which_and_not_where(tmp_path, monkeypatch):
    (tmp_path / "my_run" / "model").mkdir(parents=True)
    assert get_name(str(tmp_path / "my_run")) == "my_run"
    assert get_name(str(tmp_path / "my_run" / "model")) == "my_run/model"
    monkeypatch.chdir(tmp_path / "my_run" / "model")
    assert get_name(".") == "my_run/model"
    assert get_name("microsoft/swin-tiny-patch4-window7-224") == "microsoft/swin-tiny-patch4-window7-224"


def test_colors_of_classes():
    labels = np.array([[0, 3], [3, segmentation_data.IGNORED]])
    colors = segmentation_pictures.color_classes(labels)
    assert (colors[0, 1] == colors[1, 0]).all() and (colors[0, 0] != colors[0, 1]).any()
    assert (colors[1, 1] == 1).all()


@pytest.mark.parametrize("task", ["segmentation", "detection"])
@pytest.mark.parametrize("start", ["greenmim", "swin", "scratch"])
def test_a_run(data, tmp_path, capsys, task, start):
    run(task, data, tmp_path / "run", start=start)
    assert ("after import modeling_greenmim." in capsys.readouterr().out) == (start != "swin")
    folder = tmp_path / "run" / "model"
    metrics = json.loads((tmp_path / "run" / "eval_results.json").read_text())
    name = {"segmentation": "mean_iou", "detection": "map"}[task]
    assert 0 <= metrics[f"eval_{name}"] <= 1
    card = (folder / "README.md").read_text()
    assert f"{metrics[f'eval_{name}']:.4f}" in card and "`digits`, 20 images" in card
    assert "(predictions.png)" in card
    assert ("| num_train_epochs |" in card) != ("| max_steps |" in card)  # the one that counts
    with PIL.Image.open(folder / "predictions.png") as picture:
        assert min(picture.size) > 300 and len(picture.getcolors(2**24)) > 100  # photographs, not an empty figure
    model_class = {"segmentation": UperNetForSemanticSegmentation, "detection": RTDetrForObjectDetection}[task]
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    # what was measured is what was saved
    best = json.loads((tmp_path / "run" / "checkpoint-6" / "trainer_state.json").read_text())["best_model_checkpoint"]
    expected = model_class.from_pretrained(best).state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_the_backbone_starts_from_the_pre_trained_weights(data, task):
    arguments = SCRIPTS[task].ModelArguments(model_name_or_path=str(data / "greenmim"), head_hidden_size=16)
    labels = {0: "a", 1: "b"} if task == "segmentation" else ["a", "b"]
    model, _ = SCRIPTS[task].make_model(arguments, labels, seed=0)
    backbone = model.backbone if task == "segmentation" else model.model.backbone.model
    saved = load_file(data / "greenmim" / "model.safetensors")
    name = "encoder.layers.1.blocks.0.mlp.fc1.weight"
    torch.testing.assert_close(backbone.state_dict()[name], saved[f"greenmim.{name}"])


@pytest.mark.parametrize("task", ["segmentation", "detection"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--ema_decay=0.9",), marks=pytest.mark.slow),
        ("--dataloader_num_workers=1", "--drop_path_rate=0.3"),
    ],
)
def test_a_stopped_run_goes_on_exactly(data, tmp_path, monkeypatch, task, options):
    run(task, data, tmp_path / "whole", *options)
    steps = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "get_agreed", lambda self: signal.SIGTERM * (next(steps) == 4))
        with pytest.raises(SystemExit):
            run(task, data, tmp_path / "stopped", *options)
    run(task, data, tmp_path / "stopped", *options, "--resume_from_checkpoint=latest")
    for name in ("checkpoint-6", "model"):
        weights = [load_file(tmp_path / each / name / "model.safetensors") for each in ("whole", "stopped")]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), name


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_layers_have_learning_rates_of_their_own(data, tmp_path, task):
    arguments = SCRIPTS[task].ModelArguments(config_name=str(data / "config"), head_hidden_size=16)
    model, _ = SCRIPTS[task].make_model(arguments, {0: "a", 1: "b"} if task == "segmentation" else ["a", "b"], seed=0)
    rates = {id(p): group["lr"] for group in make_parameter_groups(model, 1.0, 0.05, 0.5) for p in group["params"]}
    for name, parameter in model.named_parameters():
        if "backbone" not in name or "hidden_states_norms" in name:
            assert rates[id(parameter)] == 1.0, name
        elif "embeddings" in name:
            assert rates[id(parameter)] == 0.5**4, name
        elif "layers.1.blocks" in name:
            assert rates[id(parameter)] == 0.25, name


def test_pipelines_in_a_fresh_process(data, tmp_path):
    """The folder of a run, where nothing is left of the process that made it; and a backbone by its configuration."""
    run("segmentation", data, tmp_path / "segmentation")
    run("detection", data, tmp_path / "detection")
    PIL.Image.fromarray(np.random.default_rng(0).integers(256, size=(51, 75, 3), dtype=np.uint8)).save(
        tmp_path / "image.png"
    )
    code = """
import sys
import torch
from transformers import AutoBackbone, AutoConfig, pipeline
import modeling_greenmim

folder, backbone = sys.argv[1:]
masks = pipeline("image-segmentation", model=f"{folder}/segmentation/model")(f"{folder}/image.png")
assert masks and all(mask["mask"].size == (75, 51) for mask in masks), masks
detections = pipeline("object-detection", model=f"{folder}/detection/model", threshold=0.0)(f"{folder}/image.png")
assert len(detections) == 10 and {"score", "label", "box"} <= detections[0].keys(), detections
config = AutoConfig.from_pretrained(backbone, out_features=["stage1", "stage3"])
maps = AutoBackbone.from_config(config)(torch.randn(1, 3, 51, 75)).feature_maps
assert [tuple(each.shape[2:]) for each in maps] == [(13, 19), (4, 5)], maps
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(data / "greenmim")],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]


# Metrics


def test_mean_iou_by_hand():
    metric = example_metrics.MeanIou()
    metric.add_batch(predictions=[[[0, 1, 1]], [[1, 1]]], references=[[[0, 1, 0]], [[255, 1]]])
    results = metric.compute(num_labels=3, ignore_index=255)
    assert results["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)  # class 2 is nowhere
    assert results["overall_accuracy"] == pytest.approx(3 / 4)
    assert results["mean_accuracy"] == pytest.approx((1 / 2 + 1) / 2)


def test_a_perfect_and_a_shifted_detector(data):
    args = detection_data.DataArguments(dataset_name=str(data / "digits"))
    images = detection_data.open_images(args, "validation", None)
    most = max(len(objects["bbox"]) for objects in images.rows["objects"])
    detections = np.zeros((len(images), most + 1, 6))
    for index, objects in enumerate(images.rows["objects"]):
        for number, (box, category) in enumerate(zip(objects["bbox"], objects["category"])):
            left, top, width, height = box
            detections[index, number] = (0.9, category, left, top, left + width, top + height)
    indices = np.arange(len(images))
    assert measure(make_ground_truth(images), indices, detections)["map"] == pytest.approx(1.0)
    detections[..., 2:] += 100
    assert measure(make_ground_truth(images), indices, detections)["map"] == pytest.approx(0.0)


# What cannot be


def test_data_that_cannot_be(data, tmp_path):
    for task in ("segmentation", "detection"):
        assert "no column 'picture'" in get_error(task, data, tmp_path, "--image_column_name=picture")
        assert "has no split 'test'" in get_error(task, data, tmp_path, "--eval_split_name=test")
        assert "is what is learned" in get_error(task, data, tmp_path, "--eval_split_name=train")
        assert "in this order" in get_error(task, data, tmp_path, "--min_scale=2", "--max_scale=1")
    assert "holds no images" in get_error("segmentation", data, tmp_path, "--label_column_name=width")
    assert "no 'bbox' and 'category'" in get_error("detection", data, tmp_path, "--objects_column_name=width")
    (tmp_path / "labels.json").write_text('["background", "zero"]')
    message = get_error("segmentation", data, tmp_path, "--id2label_file", tmp_path / "labels.json")
    assert "and there are 2 classes" in message and "--do_reduce_labels" in message
    (tmp_path / "labels.json").write_text("{}")
    assert "holds no names" in get_error("segmentation", data, tmp_path, "--id2label_file", tmp_path / "labels.json")
    (tmp_path / "many.json").write_text(json.dumps([str(number) for number in range(256)]))
    assert "256 classes" in get_error("segmentation", data, tmp_path, "--id2label_file", tmp_path / "many.json")
    assert "cannot be used" in get_error("detection", data, tmp_path, "--id2label_file", tmp_path / "labels.json")


def change_row(data, tmp_path, **changes) -> Path:
    """The data set with another first row."""
    rows = load_dataset(str(data / "digits"))
    for split, dataset in rows.items():
        examples = dataset.cast_column("image", dataset.features["image"]).to_list()
        if split == "train":
            examples[0] |= changes
        (tmp_path / "changed").mkdir(exist_ok=True)
        Dataset.from_list(examples, features=dataset.features).to_parquet(tmp_path / "changed" / f"{split}-0.parquet")
    return tmp_path / "changed"


def encode(pixels: np.ndarray) -> dict:
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("segmentation", {"image": {"bytes": b"no image", "path": None}}, "cannot be read"),
        ("segmentation", {"annotation": {"bytes": b"", "path": None}}, "cannot be read"),
        ("segmentation", {"annotation": encode(np.zeros((5, 7), dtype=np.uint8))}, "its annotation 5 x 7"),
        ("detection", {"image": {"bytes": b"no image", "path": None}}, "cannot be read"),
        (
            "detection",
            {"objects": {"id": [1], "area": [4], "bbox": [[600.0, 5.0, 10.0, 10.0]], "category": [1]}},
            "which is not in it",
        ),
    ],
)
def test_rows_that_cannot_be(data, tmp_path, task, changes, message):
    changed = change_row(data, tmp_path, **changes)
    error = get_error(task, data, tmp_path, images=changed)
    assert "Image 0" in error and message in error


def test_images_without_objects(data, tmp_path):
    empty = {"id": [], "area": [], "bbox": [], "category": []}
    run("detection", data, tmp_path / "run", images=change_row(data, tmp_path, objects=empty))


def test_reduced_labels(data):
    reader = segmentation_data.PairReader(num_labels=10, do_reduce_labels=True, description="data")
    row = {
        "image": encode(np.zeros((1, 3, 3), dtype=np.uint8)),
        "annotation": encode(np.array([[0, 1, 10]], dtype=np.uint8)),
    }
    assert reader(row, 0)[1].tolist() == [[255, 0, 9]]


def test_crops_of_images_and_classes_are_the_same_place(data):
    """Where the classes are made of the image itself, they still fit after all changes but that of the colors."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(10, size=(40, 50, 1), dtype=np.uint8), 3, axis=2)
    dataset = segmentation_data.TrainingPairs.__new__(segmentation_data.TrainingPairs)
    args = segmentation_data.DataArguments(
        dataset_name="none", id2label_file="none", crop_size=32, min_scale=1.0, max_scale=1.0
    )
    segmentation_data.TrainingPairs.__init__(
        dataset, [None], lambda row, index: (pixels, pixels[..., 0], 1), None, args, 0
    )
    transforms = [each for each in dataset.transform.transforms if type(each).__name__ != "ColorJitter"]
    dataset.transform.transforms = transforms
    changed = dataset.transform(image=pixels, mask=pixels[..., 0])
    assert changed["image"].shape == (32, 32, 3)
    np.testing.assert_array_equal(changed["image"][..., 0], changed["mask"])
