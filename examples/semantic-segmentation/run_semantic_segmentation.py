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
"""Fine-tunes UperNet on a GreenMIM or Swin backbone for semantic segmentation, with transformers' Trainer.

    python run_semantic_segmentation.py --dataset_name pasted_digits --id2label_file pasted_digits/id2label.json \\
        --model_name_or_path my_run/model --output_dir my_segmenter --crop_size 96

After Ctrl-C, or whatever ended it, the same command with `--resume_from_checkpoint latest` goes on as if it had not ended. At the
end, `my_segmenter/model` is what `pipeline("image-segmentation")` runs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn
from transformers import (
    EvalPrediction,
    SegformerImageProcessorPil,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    set_seed,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from modeling_greenmim.checkpoint_folders import read_image_processor_settings
from modeling_greenmim.training.backbones import Backbone, BackboneArguments, load_backbone
from modeling_greenmim.training.command_line import UserError, argument, check_range, run_command
from modeling_greenmim.training.dense_tasks import describe_run
from modeling_greenmim.training.fine_tuning import FineTuningArguments, FineTuningTrainer
from modeling_greenmim.training.fine_tuning_report import (
    RunReport,
    describe_result,
    evaluate_at_end,
    save_or_compare_arguments,
    start_run,
    write_model_folder,
)
from modeling_greenmim.training.metrics import load_metric
from modeling_greenmim.training.trainer import train

from segmentation_data import IGNORED, DataArguments, EvaluationPairs, PairReader, TrainingPairs, collate, open_splits
from segmentation_pictures import draw_segmentations


AUXILIARY_STAGE = 2  # of transformers, whatever the backbone


@dataclass
class ModelArguments(BackboneArguments):
    """What is fine-tuned."""

    head_hidden_size: int = argument("Channels of UperNet.", 512)
    auxiliary_loss_weight: float = argument(
        "Weight of the loss of a second head, on the third stage, if there is one.", 0.4
    )

    def __post_init__(self):
        super().__post_init__()
        check_range(self, "head_hidden_size", 1)
        check_range(self, "auxiliary_loss_weight", 0)


@dataclass
class SegmentationTrainingArguments(FineTuningArguments):
    """[`FineTuningArguments`] with defaults for segmentation."""

    output_dir: str = argument("Folder of the run: checkpoints, results, and at the end the model.", "segmentation")
    per_device_train_batch_size: int = argument("Images in a step, for each process.", 16)
    learning_rate: float = argument("Highest learning rate, that of the head.", 3e-4)
    metric_for_best_model: str | None = argument("Which model is the best.", "mean_iou")

    def __post_init__(self):
        super().__post_init__()
        self.per_device_eval_batch_size = 1  # images have sizes of their own
        self.batch_eval_metrics = True


class SegmentationTrainer(FineTuningTrainer):
    """A Trainer for images whose predictions have different sizes: they are evaluated pixel by pixel."""

    def prediction_step(self, model: nn.Module, inputs: dict, prediction_loss_only: bool, ignore_keys=None):
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        logits = logits[0] if isinstance(logits, tuple) else logits
        return loss, logits.argmax(dim=1).flatten(1), labels.flatten(1)


def read_labels(path: str) -> dict[int, str]:
    """
    Names of the classes.

    Raises:
        [`UserError`]: if the file holds something else.
    """
    try:
        content = json.loads(Path(path).read_text())
        names = (
            dict(enumerate(content))
            if isinstance(content, list)
            else {int(key): name for key, name in content.items()}
        )
        if sorted(names) != list(range(len(names))) or len(names) < 2:
            raise ValueError(f"its numbers are {sorted(names)}, not 0, 1, ...")
        if len(names) > IGNORED:  # classes are kept in bytes
            raise ValueError(f"it names {len(names)} classes, and {IGNORED} are the limit")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"--id2label_file {path} holds no names of classes: {error}") from error
    return names


def make_model(
    args: ModelArguments, id2label: dict[int, str], seed: int
) -> tuple[UperNetForSemanticSegmentation, Backbone]:
    """UperNet on a backbone, and the backbone."""
    backbone = load_backbone(args)
    num_stages = len(backbone.config.out_features)
    if num_stages < 2:
        raise UserError("UperNet needs feature maps of two stages, and the backbone has one.")
    set_seed(seed)
    channels = [backbone.config.embed_dim * 2**stage for stage in range(num_stages)]
    config = UperNetConfig(
        backbone_config=backbone.config,
        hidden_size=args.head_hidden_size,
        use_auxiliary_head=args.auxiliary_loss_weight > 0 and num_stages > AUXILIARY_STAGE,
        auxiliary_loss_weight=args.auxiliary_loss_weight,
        auxiliary_channels=min(args.head_hidden_size, 256),
        auxiliary_in_channels=channels[min(AUXILIARY_STAGE, num_stages - 1)],
        loss_ignore_index=IGNORED,
        id2label=id2label,
        label2id={name: number for number, name in id2label.items()},
    )
    model = UperNetForSemanticSegmentation(config)
    if backbone.model is not None:
        model.backbone.load_state_dict(backbone.model.state_dict())
    return model, backbone


def make_image_processor(args: ModelArguments) -> SegformerImageProcessorPil:
    """One that leaves the size of images as it is, with mean and deviation of the pre-trained model."""
    settings = {} if args.model_name_or_path is None else read_image_processor_settings(args.model_name_or_path)
    return SegformerImageProcessorPil(
        do_resize=False,
        image_mean=settings.get("image_mean", IMAGENET_DEFAULT_MEAN),
        image_std=settings.get("image_std", IMAGENET_DEFAULT_STD),
    )


def make_compute_metrics(num_labels: int):
    """The metrics of an evaluation, through `evaluate`, image by image."""
    metric = load_metric("mean_iou")

    def compute_metrics(prediction: EvalPrediction, compute_result: bool) -> dict[str, float] | None:
        # a row of pixels for each image; those that were added to make rows of several processes equal do not count
        labels = np.where(prediction.label_ids < 0, IGNORED, prediction.label_ids)
        predictions = np.where(prediction.predictions < 0, IGNORED, prediction.predictions)
        metric.add_batch(predictions=list(predictions[:, None]), references=list(labels[:, None]))
        if not compute_result:
            return None
        results = metric.compute(num_labels=num_labels, ignore_index=IGNORED, reduce_labels=False)
        return {name: float(results[name]) for name in ("mean_iou", "mean_accuracy", "overall_accuracy")}

    return compute_metrics


def run(data_args: DataArguments, model_args: ModelArguments, args: SegmentationTrainingArguments, command: str):
    """A run from top to bottom."""
    checkpoint, hub_model_id = start_run(args)

    # 1. images and model
    id2label = read_labels(data_args.id2label_file)
    train_rows, eval_rows = open_splits(data_args)
    model, backbone = make_model(model_args, id2label, args.seed)
    image_processor = make_image_processor(model_args)
    reader = PairReader(len(id2label), data_args.do_reduce_labels, data_args.dataset_name)

    eval_pairs = EvaluationPairs(eval_rows, reader, image_processor)

    # 2. training
    trainer = SegmentationTrainer(
        model=model,
        args=args,
        data_collator=collate,
        train_dataset=TrainingPairs(train_rows, reader, image_processor, data_args, args.seed),
        eval_dataset=eval_pairs,
        processing_class=image_processor,
        compute_metrics=make_compute_metrics(len(id2label)),
    )
    save_or_compare_arguments(args, checkpoint, data_args, model_args)
    train_metrics = train(trainer, checkpoint)

    # 3. the model, and what it is worth
    metrics = evaluate_at_end(trainer, train_metrics)
    if not trainer.is_world_process_zero():
        return
    report = RunReport(
        **describe_run("image-segmentation", backbone, data_args, model_args, args),
        model_description=f"UperNet on a {'GreenMIM' if backbone.is_greenmim else 'Swin'} backbone, for {len(id2label)} classes",
        num_train_images=len(train_rows),
        num_eval_images=len(eval_rows),
        results={
            "Mean IoU": metrics["eval_mean_iou"],
            "Share of pixels that are right": metrics["eval_overall_accuracy"],
        },
        main_result=("mean_iou", metrics["eval_mean_iou"]),
        num_steps=trainer.state.global_step,
        seconds=train_metrics["train_runtime"],
        command=command,
        picture=draw_segmentations(model, eval_pairs),
    )
    folder = write_model_folder(model, image_processor, report, args, hub_model_id, with_code=False)
    print(describe_result(report, folder, backbone.is_greenmim))


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, SegmentationTrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
