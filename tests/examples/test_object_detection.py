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
"""Object detection on pasted digits: RT-DETR on GreenMIM and Swin backbones."""

import contextlib
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors.torch import load_file
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from transformers import EvalPrediction, RTDetrForObjectDetection, pipeline

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


script = import_script("examples/object-detection/run_object_detection.py")

IMAGE = encode(np.zeros((40, 50, 3), dtype=np.uint8))
OPTIONS = [*TRAINING, "--image_size=64", "--num_queries=10", "--num_decoder_layers=1", "--flip=false"]


@pytest.fixture(scope="module")
def arguments(pasted_digits, tiny_backbones):
    """Arguments of a run that starts from GreenMIM, except for the output folder."""
    start = ["--model_name_or_path", str(tiny_backbones / "greenmim")]
    return ["--dataset_name", str(pasted_digits), *start, *OPTIONS]


@pytest.fixture(scope="module")
def finished_run(arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection") / "run"
    script.main([*arguments, "--output_dir", str(folder)])
    return folder


def make_dataset(image=IMAGE, **settings):
    rows = script.LabeledRows([{"image": image, "label": settings}], "data", 1)
    return script.DetectionDataset(rows, num_labels=3, image_processor=None)


# Runs


def test_card_reports_the_results_of_the_evaluation(finished_run):
    metrics = json.loads((finished_run / "eval_results.json").read_text())
    card = (finished_run / "model" / "README.md").read_text()
    assert 0 <= metrics["eval_map"] <= 1
    assert f"{metrics['eval_map']:.4f}" in card
    assert "20 images" in card and "7 images" in card and "(predictions.png)" in card


def test_picture_shows_images(finished_run):
    with PIL.Image.open(finished_run / "model" / "predictions.png") as picture:
        assert (
            min(picture.size) > 300 and len(picture.getcolors(2**24)) > 100
        )  # the figure shows photographs and is not empty


def test_model_folder_holds_the_best_evaluated_model(finished_run):
    state = json.loads((finished_run / "checkpoint-6" / "trainer_state.json").read_text())
    best = RTDetrForObjectDetection.from_pretrained(state["best_model_checkpoint"]).state_dict()
    model = RTDetrForObjectDetection.from_pretrained(finished_run / "model").state_dict()
    torch.testing.assert_close(model, best, rtol=0, atol=0)


def test_pipeline_runs_the_model_folder(finished_run):
    detect = pipeline("object-detection", model=str(finished_run / "model"), threshold=0.0)
    detections = detect(PIL.Image.new("RGB", (75, 51)))
    assert len(detections) == 10 and {"score", "label", "box"} <= detections[0].keys()


@pytest.mark.slow
def test_pipeline_runs_the_model_folder_in_a_fresh_process(finished_run, tmp_path):
    PIL.Image.new("RGB", (75, 51)).save(tmp_path / "image.png")
    output = predict_in_fresh_process("object-detection", finished_run / "model", tmp_path / "image.png")
    assert output.startswith("[")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "start"),
    [*(("--model_name_or_path", start) for start in ("swin", "greenmim_v2", "twins")), ("--config_name", "config")],
)
def test_run_from_other_weights(pasted_digits, tiny_backbones, tmp_path, argument, start, capsys):
    data = ["--dataset_name", str(pasted_digits), argument, str(tiny_backbones / start)]
    script.main([*data, "--output_dir", str(tmp_path / "run"), *OPTIONS])
    assert ("after import modeling_greenmim." in capsys.readouterr().out) == (start != "swin")
    assert (tmp_path / "run" / "model" / "README.md").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--ema_decay=0.9"], ["--dataloader_num_workers=1", "--drop_path_rate=0.3"]], ids=str
)
def test_stopped_run_resumes_exactly(arguments, tmp_path, monkeypatch, options):
    check_resume(script.main, arguments, tmp_path, monkeypatch, *options)


# Model and Trainer


def test_backbone_starts_from_the_pretrained_weights(tiny_backbones):
    args = script.ModelArguments(model_name_or_path=str(tiny_backbones / "greenmim"), head_hidden_size=16)
    model, _ = script.make_model(args, ["a", "b"])
    name = "encoder.layers.1.blocks.0.mlp.fc1.weight"
    saved = load_file(tiny_backbones / "greenmim" / "model.safetensors")
    torch.testing.assert_close(model.model.backbone.model.state_dict()[name], saved[f"greenmim.{name}"])


def test_learning_rates_decay_in_the_backbone_only(tiny_backbones):
    args = script.ModelArguments(config_name=str(tiny_backbones / "config"), head_hidden_size=16)
    model, _ = script.make_model(args, ["a", "b"])
    assert_learning_rates_decay_in_the_backbone(model)


def test_sizes_of_batches_depend_on_the_step_only(monkeypatch):
    monkeypatch.setattr(
        script.FineTuningTrainer, "training_step", lambda self, model, inputs: inputs["pixel_values"].shape
    )
    trainer = object.__new__(script.DetectionTrainer)
    trainer.args, trainer.side_range = SimpleNamespace(seed=0), (2, 4)

    def get_shape(step):
        trainer.state = SimpleNamespace(global_step=step)
        return tuple(trainer.training_step(None, {"pixel_values": torch.zeros(1, 3, 96, 96)}))

    shapes = [get_shape(step) for step in range(30)]
    assert set(shapes) == {(1, 3, side, side) for side in (64, 96, 128)}
    assert shapes == [get_shape(step) for step in range(30)]


# Metrics


def measure_with_pycocotools(objects: list[dict], detections: dict[str, np.ndarray]) -> list[float]:
    annotations = [
        {"image_id": number, "bbox": box, "area": box[2] * box[3], "category_id": category, "iscrowd": 0}
        for number, image in enumerate(objects)
        for box, category in zip(image["bbox"], image["category"])
    ]
    results = [
        [number, box[0], box[1], box[2] - box[0], box[3] - box[1], score, label]
        for number in range(len(objects))
        for box, score, label in zip(*(detections[name][number] for name in ("boxes", "scores", "labels")))
    ]
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": number} for number in range(len(objects))],
        "categories": [{"id": category} for category in range(10)],
        "annotations": [annotation | {"id": number} for number, annotation in enumerate(annotations, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(np.array(results, dtype=np.float64)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:9].tolist()


def make_detections(rng: np.random.Generator, num_images: int = 20, num_detections: int = 40):
    """Create objects and predictions: most objects are found with small errors, among many false detections."""
    objects = []
    corners = rng.uniform(0, 300, (num_images, num_detections, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(2, 80, corners.shape)], axis=2)
    labels, scores = rng.integers(0, 10, boxes.shape[:2]), rng.uniform(0, 0.5, boxes.shape[:2])
    for image, number in enumerate(rng.integers(0, 9, num_images)):  # some have none
        found = np.concatenate(
            [boxes[image, :number, :2], boxes[image, :number, 2:] - boxes[image, :number, :2]], axis=1
        )
        objects.append({"bbox": found.tolist(), "category": labels[image, :number].tolist()})
        boxes[image, :number] += rng.normal(0, 2, (number, 4))
        boxes[image, :number, 2:] = np.maximum(boxes[image, :number, 2:], boxes[image, :number, :2] + 1)
        scores[image, :number] = rng.random(number)
    return objects, {"scores": scores.astype(np.float32), "labels": labels, "boxes": boxes.astype(np.float32)}


def test_metrics_equal_those_of_pycocotools():
    objects, detections = make_detections(np.random.default_rng(0))
    metrics = script.make_compute_metrics(objects)(EvalPrediction(detections, np.arange(len(objects))))
    assert list(metrics.values()) == pytest.approx(measure_with_pycocotools(objects, detections), abs=1e-6)
    assert 0.1 < metrics["map"] < 0.9


def test_objects_belong_to_the_numbers_of_the_images():
    objects, detections = make_detections(np.random.default_rng(0))
    compute_metrics = script.make_compute_metrics(objects)
    order = np.random.default_rng(1).permutation(len(objects))
    shuffled = {name: values[order] for name, values in detections.items()}
    expected = compute_metrics(EvalPrediction(detections, np.arange(len(objects))))
    assert compute_metrics(EvalPrediction(shuffled, order)) == pytest.approx(expected)


# Augmentations


def make_sample():
    """Draw three rectangles in different grays, and return their boxes."""
    image = torch.zeros(3, 60, 90, dtype=torch.uint8)
    boxes = torch.tensor([[10, 5, 20, 30], [40, 20, 8, 9], [60, 30, 25, 20]])
    for gray, (left, top, width, height) in enumerate(boxes.tolist(), 1):
        image[:, top : top + height, left : left + width] = gray
    boxes = tv_tensors.BoundingBoxes(boxes.float(), format="XYWH", canvas_size=(60, 90))
    return {"image": tv_tensors.Image(image), "boxes": boxes, "labels": torch.arange(3)}


def make_augmentation() -> v2.Compose:
    """Create augmentations without color changes that always crop."""
    transforms = script.make_augmentation(flip=True).transforms
    return v2.Compose([*transforms[:2], script.RandomCropAroundBoxes(), transforms[3]])


def test_boxes_stay_around_their_objects():
    augmentation, sizes = make_augmentation(), set()
    for _ in range(20):
        changed = augmentation(make_sample())
        height, width = changed["image"].shape[1:]
        assert changed["boxes"].canvas_size == (height, width)
        expected = masks_to_boxes(changed["image"][0] == torch.arange(1, 4)[:, None, None])
        expected[:, 2:] += 1 - expected[:, :2]  # from the last pixels to width and height
        torch.testing.assert_close(changed["boxes"].as_subclass(torch.Tensor), expected)
        assert changed["labels"].tolist() == [0, 1, 2]
        sizes.add((height, width))
    assert len(sizes) > 10


def test_images_without_objects_stay_whole_when_cropped():
    boxes = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYWH", canvas_size=(60, 90))
    sample = make_sample() | {"boxes": boxes, "labels": torch.zeros(0, dtype=torch.int64)}
    changed = make_augmentation()(sample)
    assert changed["image"].shape == (3, 60, 90) and changed["boxes"].shape == (0, 4)


# Data


def test_boxes_become_relative_centers_and_sizes():
    dataset = make_dataset(bbox=[[10.0, 20.0, 20.0, 10.0]], category=[2])
    dataset.image_processor = script.RTDetrImageProcessorPil(size={"height": 32, "width": 32})
    example = dataset[0]
    assert example["pixel_values"].shape == (3, 32, 32)
    torch.testing.assert_close(example["labels"]["boxes"], torch.tensor([[20 / 50, 25 / 40, 20 / 50, 10 / 40]]))
    assert example["labels"]["class_labels"].tolist() == [2]


def test_images_without_objects_are_examples():
    dataset = make_dataset(bbox=[], category=[])
    assert dataset.load_sample(0)["boxes"].shape == (0, 4)


def test_boxes_may_exceed_the_image_by_a_pixel():
    dataset = make_dataset(bbox=[[-1.0, 0.0, 52.0, 41.0]], category=[0])
    assert len(dataset.load_sample(0)["boxes"]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image": {"bytes": b"no image", "path": None}, "bbox": [], "category": []}, "cannot be read"),
        ({"bbox": [[45.0, 5.0, 10.0, 10.0]], "category": [1]}, r"50 x 40 pixels, but the box \[45.* is not in it"),
        ({"bbox": [[-5.0, 5.0, 10.0, 10.0]], "category": [1]}, "is not in it"),
        ({"bbox": [[5.0, 5.0, 0.0, 10.0]], "category": [1]}, "is not in it"),
        ({"bbox": [[5.0, float("nan"), 10.0, 10.0]], "category": [1]}, "is not in it"),
        ({"bbox": [[5.0, 5.0, 10.0]], "category": [1]}, "cannot be read"),
        ({"bbox": [], "category": [1]}, "0 boxes and 1 categories"),
        ({"bbox": [[5.0, 5.0, 10.0, 10.0]], "category": [3]}, "must be from 0 to 2, got 3"),
    ],
    ids=["image", "outside", "negative", "empty", "nan", "three numbers", "no box", "category"],
)
def test_rows_that_cannot_be_used_are_named(settings, message):
    with pytest.raises(UserError, match=f"^Image 0 of data.*{message}"):
        make_dataset(**settings)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image_column_name=picture"], "no column 'picture'"),
        (["--objects_column_name=width"], "'width' of .* must have 'bbox' and 'category'"),
        (["--eval_split_name=test"], "has no split 'test'"),
        (["--head_hidden_size=12"], "--head_hidden_size must be a multiple of 8, got 12"),
        (["--num_queries=0"], "--num_queries must be at least 1"),
        (["--image_size=16"], "--image_size must be at least 32"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_arguments_that_cannot_be_used_are_refused(arguments, tmp_path, options, message):
    assert re.search(message, get_error(script.main, [*arguments, *options, "--output_dir", tmp_path / "run"]))
