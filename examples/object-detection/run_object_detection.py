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
# /// script
# dependencies = ["modeling-greenmim[training]", "matplotlib", "torchmetrics", "torchvision"]
# ///
"""Fine-tunes RT-DETR (https://huggingface.co/papers/2304.08069) on a GreenMIM or Swin backbone, with transformers' Trainer.

    python run_object_detection.py --dataset_name pasted_digits --model_name_or_path my_run/model --output_dir my_detector \\
        --image_size 96 --flip false

After Ctrl-C or a crash, the same command with `--resume_from_checkpoint latest` resumes the run exactly. At the end,
`pipeline("object-detection")` runs `my_detector/model`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import datasets
import numpy as np
import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.ops import box_convert
from torchvision.transforms import v2
from transformers import EvalPrediction, RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessorPil, set_seed
from transformers.hf_argparser import HfArg

from modeling_greenmim.plotting import draw_images
from modeling_greenmim.training.command_line import check_range, run_command
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning import FineTuningArguments, FineTuningTrainer
from modeling_greenmim.training.fine_tuning_models import StartArguments, StartingModel, load_backbone
from modeling_greenmim.training.labeled_datasets import (
    AnnotatedDataArguments,
    LabeledRows,
    describe_data,
    open_annotated_images,
    read_label_names,
)
from modeling_greenmim.training.labeled_images import LabeledImages, preprocess
from modeling_greenmim.training.reports import FineTuningReport
from modeling_greenmim.training.trainer import start_run, train


NUM_FEATURE_MAPS = 3
SIZE_MULTIPLE = 32  # of the side of a batch
BOX_FORMAT = "left, top, width and height in pixels"
METRICS = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100")
NUM_PICTURES = 6
SCORE_THRESHOLD = 0.5  # of the predictions in the picture


@dataclass
class DataArguments(AnnotatedDataArguments):
    """Images to train and evaluate on, and their augmentation."""

    label_argument: ClassVar[str] = "objects_column_name"

    objects_column_name: str = HfArg(
        default="objects", help=f"Column of the objects, with 'category' and 'bbox' ({BOX_FORMAT})."
    )
    image_size: int = HfArg(default=640, help="Side of the squares, in pixels, that images are resized to.")

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "image_size", SIZE_MULTIPLE)


@dataclass
class ModelArguments(StartArguments):
    """Model to fine-tune."""

    head_hidden_size: int = HfArg(default=256, help="Number of channels of RT-DETR, a multiple of 8.")
    num_decoder_layers: int = HfArg(default=6, help="Number of layers of RT-DETR's decoder.")
    num_queries: int = HfArg(default=300, help="Number of detections per image.")

    def __post_init__(self):
        super().__post_init__()
        for name in ("num_decoder_layers", "num_queries"):
            check_range(self, name, 1)
        if self.head_hidden_size < 8 or self.head_hidden_size % 8:
            raise UserError(f"--head_hidden_size must be a multiple of 8, got {self.head_hidden_size}.")


@dataclass
class DetectionTrainingArguments(FineTuningArguments):
    """[`FineTuningArguments`] with defaults for detection."""

    output_dir: str = HfArg(default="detection", help="Folder of the run: checkpoints, results and the model.")
    per_device_train_batch_size: int = HfArg(default=16, help="Number of images in a batch, per process.")
    per_device_eval_batch_size: int = HfArg(default=16, help="Number of images in an evaluation batch, per process.")
    learning_rate: float = HfArg(default=3e-4, help="Peak learning rate, of the head.")
    max_grad_norm: float = HfArg(default=0.1, help="Maximum norm of gradients, for clipping.")
    metric_for_best_model: str | None = HfArg(default="map", help="Metric that chooses the best model.")


class RandomCropAroundBoxes(v2.Transform):
    """Crops a random part that contains all boxes. `v2.RandomIoUCrop` would cut off or lose objects."""

    def make_params(self, flat_inputs: list) -> dict:
        boxes = v2.get_bounding_boxes(flat_inputs)
        height, width = boxes.canvas_size
        if len(boxes) == 0:
            return {"top": 0, "left": 0, "height": height, "width": width}
        corners = box_convert(boxes.as_subclass(torch.Tensor), "xywh", "xyxy")
        first, last = corners[:, :2].amin(dim=0), corners[:, 2:].amax(dim=0)
        left, top = (first * torch.rand(2)).int().tolist()
        right, bottom = (last + (torch.tensor([width, height]) - last) * torch.rand(2)).ceil().int().tolist()
        return {"top": top, "left": left, "height": bottom - top, "width": right - left}

    def transform(self, tensor: torch.Tensor, params: dict) -> torch.Tensor:
        return v2.functional.crop(tensor, **params)


def make_augmentation(flip: bool) -> v2.Transform:
    """Random crops, flips and colors of images with boxes."""
    return v2.Compose(
        [
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(),
            v2.RandomApply([RandomCropAroundBoxes()]),
            v2.RandomHorizontalFlip(0.5 if flip else 0.0),
            v2.RandomApply([v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.5)]),
        ]
    )


class DetectionDataset(LabeledImages):
    """Images and their objects. Takes the arguments of [`LabeledImages`], and some of the script."""

    def __init__(self, rows: LabeledRows, num_labels: int, image_processor: RTDetrImageProcessorPil, **kwargs):
        super().__init__(rows, **kwargs)
        self.num_labels, self.image_processor = num_labels, image_processor

    def read_label(self, label: dict, height: int, width: int) -> dict[str, torch.Tensor]:
        """Returns `boxes`, `(num_objects, 4)` of left, top, width and height, and `labels`, `(num_objects,)`."""
        boxes = torch.tensor(label["bbox"], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor(label["category"], dtype=torch.int64)
        if len(boxes) != len(labels):
            raise UserError(f"each box must have a category, got {len(boxes)} boxes and {len(labels)} categories.")
        unknown = labels[(labels < 0) | (labels >= self.num_labels)]
        if len(unknown):
            raise UserError(f"categories must be from 0 to {self.num_labels - 1}, got {unknown[0]}.")
        left, top, right, bottom = box_convert(boxes, "xywh", "xyxy").T
        inside = (left >= -1) & (top >= -1) & (right <= width + 1) & (bottom <= height + 1)  # boxes may be rounded
        inside &= (boxes[:, 2:] > 0).all(dim=1)
        if not inside.all():
            box = f"the box {boxes[~inside][0].tolist()} is not in it. Boxes are {BOX_FORMAT}"
            raise UserError(f"the image has {width} x {height} pixels, but {box}.")
        boxes = tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=(height, width))
        return {"boxes": boxes, "labels": labels}

    def make_example(self, sample: dict, index: int) -> dict:
        """Returns `pixel_values` of shape `(3, image_size, image_size)`, and `labels` in the format of RT-DETR."""
        height, width = sample["image"].shape[1:]
        boxes = box_convert(sample["boxes"].as_subclass(torch.Tensor), "xywh", "cxcywh")
        labels = {
            "class_labels": sample["labels"],
            "boxes": boxes / torch.tensor([width, height, width, height]),
            "orig_size": torch.tensor([height, width]),
            "image_id": torch.tensor(index),
        }
        return {"pixel_values": preprocess(sample["image"], self.image_processor), "labels": labels}


def collate(examples: Sequence[dict]) -> dict:
    """Stacks images, and lists their objects."""
    pixel_values = torch.stack([example["pixel_values"] for example in examples])
    return {"pixel_values": pixel_values, "labels": [example["labels"] for example in examples]}


class DetectionTrainer(FineTuningTrainer):
    """Trainer whose batches have a different size in each step (see `DataArguments`), as in RT-DETR's recipe."""

    def __init__(self, data_args: DataArguments, **kwargs):
        super().__init__(**kwargs)
        scales = (data_args.min_scale, data_args.max_scale)
        self.side_range = [max(1, round(scale * data_args.image_size / SIZE_MULTIPLE)) for scale in scales]

    def training_step(self, model: nn.Module, inputs: dict, *args, **kwargs) -> torch.Tensor:
        # the same in all processes, and after a resume
        rng = np.random.default_rng((self.args.seed, self.state.global_step))
        side = SIZE_MULTIPLE * int(rng.integers(*self.side_range, endpoint=True))
        resized = nn.functional.interpolate(inputs["pixel_values"], (side, side), mode="bilinear", antialias=True)
        return super().training_step(model, inputs | {"pixel_values": resized}, *args, **kwargs)

    @torch.no_grad()
    def prediction_step(self, model: nn.Module, inputs: dict, prediction_loss_only: bool, ignore_keys=None):
        """Returns the loss, `scores`, `labels` and `boxes` of the detections in each image, and the image indices."""
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        sizes = torch.stack([labels["orig_size"] for labels in inputs["labels"]])
        numbers = torch.stack([labels["image_id"] for labels in inputs["labels"]])
        images = self.processing_class.post_process_object_detection(outputs, threshold=-1.0, target_sizes=sizes)
        return loss.detach(), {name: torch.stack([image[name] for image in images]) for name in images[0]}, numbers


def get_label_names(args: DataArguments, rows: LabeledRows) -> list[str]:
    """Returns the names of the categories, and checks the column of the objects."""
    objects = rows.rows.features["label"]
    if not isinstance(objects, dict) or not {"bbox", "category"} <= objects.keys():
        column = f"The column {args.objects_column_name!r} of {rows.description}"
        raise UserError(f"{column} must have 'bbox' and 'category', got {objects}.")
    if args.id2label_file is not None:
        return read_label_names(args.id2label_file)
    category = getattr(objects["category"], "feature", objects["category"])
    if not isinstance(category, datasets.ClassLabel):
        raise UserError(f"{rows.description} has no category names. Pass --id2label_file.")
    return category.names


def make_model(args: ModelArguments, label_names: list[str]) -> tuple[RTDetrForObjectDetection, StartingModel]:
    """Makes RT-DETR on a backbone, and returns both."""
    backbone = load_backbone(args, NUM_FEATURE_MAPS)
    stages = range(len(backbone.config.depths))[-NUM_FEATURE_MAPS:]
    config = RTDetrConfig(
        backbone_config=backbone.config,
        freeze_backbone_batch_norms=False,
        encoder_in_channels=[backbone.config.embed_dim * 2**stage for stage in stages],
        feat_strides=[backbone.config.patch_size * 2**stage for stage in stages],
        encoder_hidden_dim=args.head_hidden_size,
        decoder_in_channels=[args.head_hidden_size] * NUM_FEATURE_MAPS,
        d_model=args.head_hidden_size,
        encoder_ffn_dim=4 * args.head_hidden_size,
        decoder_ffn_dim=4 * args.head_hidden_size,
        decoder_layers=args.num_decoder_layers,
        num_queries=args.num_queries,
        num_denoising=min(100, args.num_queries),
        id2label=dict(enumerate(label_names)),
        label2id={name: number for number, name in enumerate(label_names)},
    )
    model = RTDetrForObjectDetection(config)
    model.model.backbone.model.load_state_dict(backbone.model.state_dict())
    return model, backbone


def make_compute_metrics(objects: Sequence[dict]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Makes a function that computes the metrics of COCO. A metric without any such object is -1."""
    from torchmetrics.detection import MeanAveragePrecision

    # COCO's thresholds, which torchmetrics rounds to 32 bits
    iou_thresholds, recall_thresholds = np.linspace(0.5, 0.95, 10).tolist(), np.linspace(0.0, 1.0, 101).tolist()

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        metric = MeanAveragePrecision("xyxy", "bbox", iou_thresholds, recall_thresholds, backend="pycocotools")
        metric.warn_on_many_detections = False
        for row, number in enumerate(prediction.label_ids.tolist()):
            detections = {name: torch.from_numpy(values[row]) for name, values in prediction.predictions.items()}
            boxes = torch.tensor(objects[number]["bbox"], dtype=torch.float32).reshape(-1, 4)
            labels = torch.tensor(objects[number]["category"], dtype=torch.int64)
            metric.update([detections], [{"boxes": box_convert(boxes, "xywh", "xyxy"), "labels": labels}])
        results = metric.compute()
        return {name: results[name].item() for name in METRICS}

    return compute_metrics


@torch.no_grad()
def draw_predictions(model: RTDetrForObjectDetection, dataset: DetectionDataset):
    """Draws the first images, with true and predicted objects, and returns a matplotlib `Figure`."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    images, true, predicted = [], [], []
    for index in range(min(NUM_PICTURES, len(dataset))):
        sample = dataset.load_sample(index)
        example = dataset.make_example(sample, index)
        outputs = model.eval()(pixel_values=example["pixel_values"][None].to(model.device))
        predicted += dataset.image_processor.post_process_object_detection(
            outputs, threshold=SCORE_THRESHOLD, target_sizes=example["labels"]["orig_size"][None]
        )
        boxes = box_convert(sample["boxes"].as_subclass(torch.Tensor), "xywh", "xyxy")
        true.append({"boxes": boxes, "labels": sample["labels"], "scores": [None] * len(boxes)})
        images.append(sample["image"] / 255)
    figure = draw_images({"true": images, f"score above {SCORE_THRESHOLD}": images}, note="")
    for axes, objects in zip(figure.axes, true + predicted):
        for box, label, score in zip(objects["boxes"].tolist(), objects["labels"].tolist(), objects["scores"]):
            left, top, right, bottom = box
            color = colormaps["tab10"](label % 10)
            text = model.config.id2label[label] + ("" if score is None else f" {100 * float(score):.0f}%")
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=color))
            background = {"facecolor": color, "linewidth": 0, "pad": 0.8}
            axes.text(left, top, text, fontsize=7, color="white", va="top", bbox=background, clip_on=True)
    return figure


def run(data_args: DataArguments, model_args: ModelArguments, args: DetectionTrainingArguments, command: str):
    """Trains, evaluates, and writes the model folder."""
    checkpoint, hub_model_id = start_run(args)

    # 1. Images and model
    train_rows, eval_rows = open_annotated_images(data_args)
    label_names = get_label_names(data_args, train_rows)
    if label_names != get_label_names(data_args, eval_rows):
        raise UserError(f"{train_rows.description} and {eval_rows.description} have different category names.")
    set_seed(args.seed)
    model, backbone = make_model(model_args, label_names)
    image_processor = RTDetrImageProcessorPil(
        size={"height": data_args.image_size, "width": data_args.image_size},
        do_normalize=True,
        image_mean=backbone.image_processor.image_mean,
        image_std=backbone.image_processor.image_std,
    )
    settings = {"num_labels": len(label_names), "image_processor": image_processor}
    augmentation = make_augmentation(data_args.flip)
    train_dataset = DetectionDataset(train_rows, transform=augmentation, seed=args.seed, **settings)
    eval_dataset = DetectionDataset(eval_rows, **settings)

    # 2. Training
    trainer = DetectionTrainer(
        data_args,
        model=model,
        args=args,
        data_collator=collate,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=image_processor,
        compute_metrics=make_compute_metrics(eval_rows.rows["label"]),
    )
    trainer.save_or_compare_settings(checkpoint, data_args, model_args)
    train_metrics = train(trainer, checkpoint)

    # 3. Evaluation and model folder
    metrics = trainer.evaluate_at_end(train_metrics)
    if not trainer.is_world_process_zero():
        return
    report = FineTuningReport(
        trainer=trainer,
        task="object-detection",
        model_description=f"RT-DETR on a {'GreenMIM' if backbone.is_greenmim else 'Swin'} backbone, for {len(label_names)} categories",
        **describe_data(data_args, (model_args,), args.load_best_model_at_end),
        num_train_images=len(train_dataset),
        num_eval_images=len(eval_dataset),
        origin=backbone.origin,
        license=backbone.license,
        results={"COCO mAP": metrics["eval_map"], "COCO AP at an IoU of 0.5": metrics["eval_map_50"]},
        metric="map",
        command=command,
        picture=draw_predictions(model, eval_dataset),
    )
    report.write(hub_model_id)


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, DetectionTrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
