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
# requires-python = ">=3.10"
# dependencies = ["modeling-greenmim[training]", "scikit-learn", "torch", "torchvision", "transformers"]
# ///
"""Fine-tunes a GreenMIM or Swin model for image classification with transformers' Trainer.

On your own images, in one folder per class, starting from a pre-trained GreenMIM or any Swin:

    python run_image_classification.py --train_dir path/to/images --model_name_or_path my_run/model --output_dir my_classifier

On a Hub dataset, with the options that help in a long run:

    python run_image_classification.py --dataset_name ethz/food101 --model_name_or_path my_run/model --bf16 \\
        --num_train_epochs 100 --rand_augment_num_ops 2 --random_erasing_prob 0.25 --mixup_alpha 0.8 --cutmix_alpha 1.0 \\
        --ema_decay 0.9999 --dataloader_num_workers 8

After Ctrl-C or any other interruption, the same command with `--resume_from_checkpoint latest` resumes as if the run
had not ended. At the end, `pipeline("image-classification")` runs `my_classifier/model`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torchvision.transforms import v2
from transformers import BaseImageProcessor, EvalPrediction, set_seed
from transformers.hf_argparser import HfArg

from modeling_greenmim.model_card import describe_encoder
from modeling_greenmim.training.command_line import check_range, run_command
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning import FineTuningArguments, FineTuningTrainer
from modeling_greenmim.training.fine_tuning_models import StartArguments, get_image_size, load_classifier
from modeling_greenmim.training.labeled_datasets import LabeledDataArguments, describe_data, open_labeled_images
from modeling_greenmim.training.labeled_images import ClassifiedImages, EndlessStream, StreamedImages, preprocess
from modeling_greenmim.training.reports import FineTuningReport, check_upload
from modeling_greenmim.training.trainer import start_run, train


@dataclass
class ModelArguments(StartArguments):
    """Model to fine-tune."""

    ignore_mismatched_sizes: bool = HfArg(default=False, help="Replace the model's classifier with a new one.")


@dataclass
class AugmentationArguments:
    """Augmentation of training images, by torchvision."""

    min_crop_scale: float = HfArg(default=0.2, help="Smallest fraction of the image area that a crop covers.")
    flip: bool = HfArg(default=True, help="Flip half of the images horizontally.")
    rand_augment_num_ops: int = HfArg(default=0, help="Number of RandAugment operations per image, such as 2.")
    rand_augment_magnitude: int = HfArg(default=9, help="Magnitude of RandAugment operations, from 0 to 30.")
    random_erasing_prob: float = HfArg(default=0.0, help="Fraction of images with an erased rectangle, such as 0.25.")
    mixup_alpha: float = HfArg(default=0.0, help="Parameter of mixup's beta distribution, such as 0.8. 0: no mixup.")
    cutmix_alpha: float = HfArg(default=0.0, help="Parameter of CutMix, such as 1.0. With both, each batch gets one.")

    def __post_init__(self):
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"--min_crop_scale must be above 0 and at most 1, got {self.min_crop_scale}.")
        check_range(self, "rand_augment_magnitude", 0, 30)
        check_range(self, "random_erasing_prob", 0, 1)
        for name in ("rand_augment_num_ops", "mixup_alpha", "cutmix_alpha"):
            check_range(self, name, 0)


@dataclass
class ClassificationTrainingArguments(FineTuningArguments):
    """[`FineTuningArguments`] with defaults for classification."""

    output_dir: str = HfArg(default="image_classification", help="Folder of the run, and of the model.")
    per_device_train_batch_size: int = HfArg(default=64, help="Number of images in a batch, per process.")
    per_device_eval_batch_size: int = HfArg(default=64, help="Number of images in an evaluation batch, per process.")
    label_smoothing_factor: float = HfArg(default=0.1, help="Fraction of each label that is spread over all classes.")
    metric_for_best_model: str | None = HfArg(default="accuracy", help="Metric that chooses the best model.")


def make_train_transform(
    args: AugmentationArguments, image_size: tuple[int, int], image_processor: BaseImageProcessor
):
    """Training transform of an image with any number of channels, `uint8` or `float32`."""
    crop = v2.RandomResizedCrop(image_size, (args.min_crop_scale, 1.0), interpolation=v2.InterpolationMode.BICUBIC)
    transforms = [crop, v2.RandomHorizontalFlip(0.5 if args.flip else 0.0)]
    if args.rand_augment_num_ops:
        transforms.append(v2.RandAugment(args.rand_augment_num_ops, args.rand_augment_magnitude))
    transforms.append(make_eval_transform(image_processor, do_resize=False, do_center_crop=False))
    return v2.Compose([*transforms, v2.RandomErasing(args.random_erasing_prob)])


def make_eval_transform(image_processor: BaseImageProcessor, **kwargs) -> v2.Lambda:
    """The image processor as a transform: images are resized, rescaled and normalized."""
    return v2.Lambda(partial(preprocess, image_processor=image_processor, **kwargs), torch.Tensor)


def make_mixup(args: AugmentationArguments, num_labels: int):
    """Mixup and CutMix, one of them for each batch; `None` if both are off."""
    transforms = []
    if args.mixup_alpha:
        transforms.append(v2.MixUp(alpha=args.mixup_alpha, num_classes=num_labels))
    if args.cutmix_alpha:
        transforms.append(v2.CutMix(alpha=args.cutmix_alpha, num_classes=num_labels))
    return v2.RandomChoice(transforms) if transforms else None


class ClassificationTrainer(FineTuningTrainer):
    """Trainer for images and labels, which `mixup` mixes in training."""

    def __init__(self, mixup=None, **kwargs):
        super().__init__(**kwargs)
        self.mixup = mixup

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **kwargs):
        pixel_values, labels = inputs["pixel_values"], inputs["labels"]
        if model.training and self.mixup is not None and len(labels) > 1:
            pixel_values, labels = self.mixup(pixel_values, labels)
        logits = model(pixel_values=pixel_values).logits
        # the Trainer's label smoother does not support mixed labels
        label_smoothing = self.args.label_smoothing_factor if model.training else 0.0
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        return (loss, {"logits": logits}) if return_outputs else loss


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    from sklearn.metrics import accuracy_score  # half a second that `--help` does not wait for

    return {"accuracy": float(accuracy_score(prediction.label_ids, prediction.predictions))}


def count_stream_steps(args: ClassificationTrainingArguments, num_images: int | None):
    """Sets the steps of a run on a stream, whose length the Trainer does not know, also between evaluations."""
    if num_images is None and args.max_steps <= 0:
        raise UserError("--streaming: the number of images is unknown. Pass --max_steps.")
    if num_images is None:
        if "epoch" in (args.eval_strategy, args.save_strategy):
            options = "--eval_strategy steps, --save_strategy steps, --eval_steps and --save_steps"
            raise UserError(f"--streaming: the length of an epoch is unknown. Pass {options}.")
        return
    steps_per_epoch = num_images / (args.train_batch_size * args.gradient_accumulation_steps * args.world_size)
    if args.max_steps <= 0:
        args.max_steps = math.ceil(args.num_train_epochs * steps_per_epoch)
    for name in ("eval", "save"):
        if getattr(args, f"{name}_strategy") == "epoch":
            setattr(args, f"{name}_strategy", "steps")
            setattr(args, f"{name}_steps", math.ceil(steps_per_epoch))


def run(
    data_args: LabeledDataArguments,
    model_args: ModelArguments,
    augmentation_args: AugmentationArguments,
    args: ClassificationTrainingArguments,
    command: str,
):
    checkpoint, hub_model_id = start_run(args)

    # 1. images and model
    train_rows, eval_rows = open_labeled_images(data_args, args.seed)
    set_seed(args.seed)
    start = load_classifier(model_args, train_rows.label_names, model_args.ignore_mismatched_sizes)
    config, image_processor = start.config, start.image_processor
    check_upload(config, hub_model_id)
    if augmentation_args.rand_augment_num_ops and config.num_channels not in (1, 3):
        channels = f"images of 1 or 3 channels, but the model takes {config.num_channels}"
        raise UserError(f"--rand_augment_num_ops needs {channels}. Omit it.")
    train_transform = make_train_transform(augmentation_args, get_image_size(config), image_processor)
    settings = {"label2id": config.label2id, "num_channels": config.num_channels, "seed": args.seed}
    train_dataset = ClassifiedImages(train_rows, transform=train_transform, **settings)
    eval_dataset = ClassifiedImages(eval_rows, transform=make_eval_transform(image_processor), **settings)
    if data_args.streaming:
        count_stream_steps(args, train_rows.num_images)
        if args.dataloader_num_workers > train_rows.rows.num_shards:
            number = f"{train_rows.rows.num_shards}, the number of row groups or files of {train_rows.description}"
            raise UserError(f"--dataloader_num_workers must be at most {number}, got {args.dataloader_num_workers}.")
        train_dataset = EndlessStream(train_dataset, data_args.shuffle_buffer_size)
        eval_dataset = StreamedImages(eval_dataset)

    # 2. training
    trainer = ClassificationTrainer(
        mixup=make_mixup(augmentation_args, config.num_labels),
        model=start.model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=image_processor,
        compute_metrics=compute_metrics,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(dim=-1),
    )
    trainer.save_or_compare_settings(checkpoint, data_args, model_args, augmentation_args)
    train_metrics = train(trainer, checkpoint)

    # 3. model folder and accuracy
    accuracy = trainer.evaluate_at_end(train_metrics)["eval_accuracy"]
    if not trainer.is_world_process_zero():
        return
    encoder = describe_encoder(config) if start.is_greenmim else "Swin Transformer"
    report = FineTuningReport(
        trainer=trainer,
        task="image-classification",
        metric="accuracy",
        model_description=f"{encoder}, with a classifier for {config.num_labels} classes",
        **describe_data(data_args, (model_args, augmentation_args), args.load_best_model_at_end),
        num_train_images=train_rows.num_images,
        num_eval_images=eval_rows.num_images,
        origin=start.origin,
        license=start.license,
        results={"Accuracy": accuracy},
        command=command,
    )
    report.write(hub_model_id)


def main(arguments: Sequence[str] | None = None):
    classes = (LabeledDataArguments, ModelArguments, AugmentationArguments, ClassificationTrainingArguments)
    run_command(run, classes, __doc__, arguments)


if __name__ == "__main__":
    main()
