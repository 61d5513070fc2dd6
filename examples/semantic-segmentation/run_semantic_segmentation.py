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
"""Fine-tunes UperNet on a GreenMIM or Swin backbone for semantic segmentation, with transformers' Trainer.

    python run_semantic_segmentation.py --dataset_name pasted_digits --id2label_file pasted_digits/id2label.json \\
        --model_name_or_path my_run/model --output_dir my_segmenter --crop_size 96

After Ctrl-C or a crash, the same command with `--resume_from_checkpoint latest` resumes the run exactly. At the end,
`pipeline("image-segmentation")` runs `my_segmenter/model`.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from transformers import (
    EvalPrediction,
    SegformerImageProcessorPil,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    set_seed,
)
from transformers.hf_argparser import HfArg

from modeling_greenmim.plotting import draw_images
from modeling_greenmim.training.command_line import check_range, run_command
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning import FineTuningArguments, FineTuningTrainer
from modeling_greenmim.training.fine_tuning_models import StartArguments, StartingModel, load_backbone
from modeling_greenmim.training.image_files import read_row
from modeling_greenmim.training.labeled_datasets import (
    AnnotatedDataArguments,
    LabeledRows,
    check_images,
    describe_data,
    open_annotated_images,
    read_label_names,
)
from modeling_greenmim.training.labeled_images import LabeledImages, preprocess
from modeling_greenmim.training.reports import FineTuningReport
from modeling_greenmim.training.trainer import start_run, train


IGNORED = 255  # label of ignored pixels
AUXILIARY_STAGE = 2  # stage of the second head of transformers' UperNet
NUM_PICTURES = 6
NUM_COLORS = 20


@dataclass
class DataArguments(AnnotatedDataArguments):
    """Images to train and evaluate on, and their augmentation."""

    label_column_name: str = HfArg(default="annotation", help="Column of the annotations, images of class ids.")
    do_reduce_labels: bool = HfArg(default=False, help="Ignore 0, and make 1 the first class, as in ADE20K.")
    crop_size: int = HfArg(default=512, help="Side of the crops in training, in pixels.")
    min_scale: float = HfArg(default=0.5, help="Smallest factor by which to resize images before cropping.")
    max_scale: float = HfArg(default=2.0, help="Largest factor by which to resize images before cropping.")

    def __post_init__(self):
        super().__post_init__()
        if self.id2label_file is None:
            raise UserError("Pass --id2label_file, a JSON file with a name for each class.")
        check_range(self, "crop_size", 1)


@dataclass
class ModelArguments(StartArguments):
    """Model to fine-tune."""

    head_hidden_size: int = HfArg(default=512, help="Number of channels of UperNet.")
    auxiliary_loss_weight: float = HfArg(default=0.4, help="Loss weight of the auxiliary head, on the third stage.")

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "head_hidden_size", 1)
        check_range(self, "auxiliary_loss_weight", 0)


@dataclass
class SegmentationTrainingArguments(FineTuningArguments):
    """[`FineTuningArguments`] with defaults for segmentation."""

    output_dir: str = HfArg(default="segmentation", help="Folder of the run: checkpoints, results and the model.")
    per_device_train_batch_size: int = HfArg(default=16, help="Number of images in a batch, per process.")
    learning_rate: float = HfArg(default=3e-4, help="Peak learning rate, of the head.")
    metric_for_best_model: str | None = HfArg(default="mean_iou", help="Metric that chooses the best model.")

    def __post_init__(self):
        super().__post_init__()
        self.per_device_eval_batch_size = 1  # images differ in size
        self.batch_eval_metrics = True  # predictions for all pixels of all images would fill the memory


class RandomRescale(v2.Transform):
    """Resizes by a random factor. `v2.ScaleJitter` would first fit all images into one size."""

    def __init__(self, min_scale: float, max_scale: float):
        super().__init__()
        self.min_scale = min_scale
        self.max_scale = max_scale

    def make_params(self, flat_inputs: list) -> dict:
        scale = torch.empty(1).uniform_(self.min_scale, self.max_scale).item()
        return {"size": [max(1, round(scale * side)) for side in v2.query_size(flat_inputs)]}

    def transform(self, tensor: torch.Tensor, params: dict) -> torch.Tensor:
        return v2.functional.resize(tensor, **params)


def make_augmentation(args: DataArguments) -> v2.Transform:
    """Randomly resizes, crops, flips and recolors images, together with their classes."""
    return v2.Compose(
        [
            RandomRescale(args.min_scale, args.max_scale),
            v2.RandomCrop(args.crop_size, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}),
            v2.RandomHorizontalFlip(0.5 if args.flip else 0.0),
            v2.RandomApply([v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.5)]),
        ]
    )


class SegmentationDataset(LabeledImages):
    """Images and the classes of their pixels. Takes the arguments of [`LabeledImages`], and some of the script."""

    def __init__(self, rows: LabeledRows, num_labels: int, do_reduce_labels: bool, image_processor, **kwargs):
        super().__init__(rows, **kwargs)
        self.num_labels, self.do_reduce_labels = num_labels, do_reduce_labels
        self.image_processor = image_processor

    def read_label(self, label: dict, height: int, width: int) -> dict[str, tv_tensors.Mask]:
        """Returns `mask`, of `uint8` and shape `(height, width)`."""
        with PIL.Image.open(io.BytesIO(read_row(label, allow_external_files=True))) as image:
            labels = np.array(image)
        if labels.shape != (height, width):
            size = " x ".join(map(str, labels.shape))
            raise UserError(f"the annotation must have one class for each of {height} x {width} pixels, got {size}.")
        if self.do_reduce_labels:
            labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1)
        unknown = np.setdiff1d(labels, [*range(self.num_labels), IGNORED])
        if len(unknown):
            classes = f"--id2label_file has {self.num_labels} classes (from 0; {IGNORED} is ignored)"
            raise UserError(f"the annotation has the class {unknown[0]}, but {classes}. Check --do_reduce_labels.")
        return {"mask": tv_tensors.Mask(torch.from_numpy(labels.astype(np.uint8)))}

    def make_example(self, sample: dict, index: int) -> dict[str, torch.Tensor]:
        """Returns `pixel_values` of shape `(3, height, width)` and `labels` of shape `(height, width)`."""
        pixel_values = preprocess(sample["image"], self.image_processor)
        return {"pixel_values": pixel_values, "labels": sample["mask"].long()}


class SegmentationTrainer(FineTuningTrainer):
    """Trainer that evaluates images of different sizes, as rows of pixels."""

    def prediction_step(self, model: nn.Module, inputs: dict, prediction_loss_only: bool, ignore_keys=None):
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        logits = logits[0] if isinstance(logits, tuple) else logits
        return loss, logits.argmax(dim=1).flatten(1), labels.flatten(1)


def make_model(args: ModelArguments, label_names: list[str]) -> tuple[UperNetForSemanticSegmentation, StartingModel]:
    """Makes UperNet on a backbone, and returns both."""
    backbone = load_backbone(args)
    num_stages = len(backbone.config.out_features)
    if num_stages < 2:
        raise UserError("The backbone must have at least two stages for UperNet, got one.")
    channels = [backbone.config.embed_dim * 2**stage for stage in range(num_stages)]
    config = UperNetConfig(
        backbone_config=backbone.config,
        hidden_size=args.head_hidden_size,
        use_auxiliary_head=args.auxiliary_loss_weight > 0 and num_stages > AUXILIARY_STAGE,
        auxiliary_loss_weight=args.auxiliary_loss_weight,
        auxiliary_channels=min(args.head_hidden_size, 256),
        auxiliary_in_channels=channels[min(AUXILIARY_STAGE, num_stages - 1)],
        loss_ignore_index=IGNORED,
        id2label=dict(enumerate(label_names)),
        label2id={name: number for number, name in enumerate(label_names)},
    )
    model = UperNetForSemanticSegmentation(config)
    model.backbone.load_state_dict(backbone.model.state_dict())
    return model, backbone


def make_compute_metrics(num_labels: int) -> Callable[[EvalPrediction, bool], dict[str, float]]:
    """Makes a function that counts pixels image by image. Classes without any true pixel have no accuracy."""
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(num_labels, ignore_index=IGNORED, validate_args=False)

    def compute_metrics(prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        # the Trainer pads images of several processes to one size with negative labels
        labels = torch.where(prediction.label_ids < 0, IGNORED, prediction.label_ids)
        metric.to(labels.device).update(prediction.predictions, labels)
        if not compute_result:
            return {}
        num_correct, num_pixels = metric.confmat.diag(), metric.confmat.sum(dim=1)
        metrics = {
            "mean_iou": metric.compute(),
            "mean_accuracy": (num_correct / num_pixels).nanmean(),
            "overall_accuracy": num_correct.sum() / num_pixels.sum(),
        }
        metric.reset()
        return {name: value.item() for name, value in metrics.items()}

    return compute_metrics


@torch.no_grad()
def draw_predictions(model: UperNetForSemanticSegmentation, dataset: SegmentationDataset):
    """Draws the first images, with true and predicted classes, and returns a matplotlib `Figure`."""
    from matplotlib import colormaps
    from matplotlib.patches import Patch
    from torchvision.utils import draw_segmentation_masks

    colors = colormaps["tab20"](np.arange(model.config.num_labels) % NUM_COLORS, bytes=True)[:, :3].tolist()
    rows, shown = {"image": [], "true": [], "predicted": []}, set()
    for index in range(min(NUM_PICTURES, len(dataset))):
        sample = dataset.load_sample(index)
        pixel_values = dataset.make_example(sample, index)["pixel_values"][None].to(model.device)
        predicted = model.eval()(pixel_values).logits[0].argmax(dim=0).cpu()
        rows["image"].append(sample["image"] / 255)
        for title, labels in (("true", sample["mask"]), ("predicted", predicted)):
            present = labels[labels != IGNORED].unique().tolist()
            masks = labels == torch.tensor(present)[:, None, None]
            present_colors = [tuple(colors[label]) for label in present]
            rows[title].append(draw_segmentation_masks(sample["image"], masks, 0.8, present_colors) / 255)
            shown |= set(present)
    figure = draw_images(rows, note="")
    names = model.config.id2label
    patches = [Patch(color=np.divide(colors[label], 255), label=names[label]) for label in sorted(shown)[:NUM_COLORS]]
    figure.legend(handles=patches, loc="outside lower center", ncols=11, fontsize=8, frameon=False)
    return figure


def run(data_args: DataArguments, model_args: ModelArguments, args: SegmentationTrainingArguments, command: str):
    """Trains, evaluates, and writes the model folder."""
    checkpoint, hub_model_id = start_run(args)

    # 1. Images and model
    label_names = read_label_names(data_args.id2label_file)
    if not 2 <= len(label_names) <= IGNORED:  # classes are bytes
        raise UserError(f"--id2label_file must name 2 to {IGNORED} classes, got {len(label_names)}.")
    train_rows, eval_rows = open_annotated_images(data_args)
    for rows in (train_rows, eval_rows):
        check_images(rows.rows.features["label"], data_args.label_column_name, rows.description)
    set_seed(args.seed)
    model, backbone = make_model(model_args, label_names)
    image_processor = SegformerImageProcessorPil(
        do_resize=False,
        image_mean=backbone.image_processor.image_mean,
        image_std=backbone.image_processor.image_std,
    )
    settings = (len(label_names), data_args.do_reduce_labels, image_processor)
    augmentation = make_augmentation(data_args)
    train_dataset = SegmentationDataset(train_rows, *settings, transform=augmentation, seed=args.seed)
    eval_dataset = SegmentationDataset(eval_rows, *settings)

    # 2. Training
    trainer = SegmentationTrainer(
        model=model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=image_processor,
        compute_metrics=make_compute_metrics(len(label_names)),
    )
    trainer.save_or_compare_settings(checkpoint, data_args, model_args)
    train_metrics = train(trainer, checkpoint)

    # 3. Evaluation and model folder
    metrics = trainer.evaluate_at_end(train_metrics)
    if not trainer.is_world_process_zero():
        return
    report = FineTuningReport(
        trainer=trainer,
        task="image-segmentation",
        model_description=f"UperNet on a {'GreenMIM' if backbone.is_greenmim else 'Swin'} backbone, for {len(label_names)} classes",
        **describe_data(data_args, (model_args,), args.load_best_model_at_end),
        num_train_images=len(train_dataset),
        num_eval_images=len(eval_dataset),
        origin=backbone.origin,
        license=backbone.license,
        results={"Mean IoU": metrics["eval_mean_iou"], "Pixel accuracy": metrics["eval_overall_accuracy"]},
        metric="mean_iou",
        command=command,
        picture=draw_predictions(model, eval_dataset),
    )
    report.write(hub_model_id)


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, SegmentationTrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
