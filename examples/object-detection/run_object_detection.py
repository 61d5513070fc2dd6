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
"""Fine-tunes RT-DETR (https://huggingface.co/papers/2304.08069) on a GreenMIM or Swin backbone, with transformers' Trainer.

    python run_object_detection.py --dataset_name pasted_digits --model_name_or_path my_run/model --output_dir my_detector \\
        --image_size 96 --flip false

After Ctrl-C, or whatever ended it, the same command with `--resume_from_checkpoint latest` goes on as if it had not ended. At the
end, `my_detector/model` is what `pipeline("object-detection")` runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import EvalPrediction, RTDetrConfig, RTDetrForObjectDetection, RTDetrImageProcessorPil, set_seed

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
from modeling_greenmim.training.trainer import train

from detection_data import (
    AnnotatedImages,
    DataArguments,
    EvaluationImages,
    TrainingCollator,
    TrainingImages,
    collate_for_evaluation,
    open_images,
)
from detection_metrics import make_ground_truth, measure
from detection_pictures import draw_detections


NUM_FEATURE_MAPS = 3


@dataclass
class ModelArguments(BackboneArguments):
    """What is fine-tuned."""

    head_hidden_size: int = argument("Channels of RT-DETR, a multiple of 8.", 256)
    num_decoder_layers: int = argument("Layers of its decoder.", 6)
    num_queries: int = argument("Detections in an image.", 300)

    def __post_init__(self):
        super().__post_init__()
        for name in ("num_decoder_layers", "num_queries"):
            check_range(self, name, 1)
        if self.head_hidden_size < 8 or self.head_hidden_size % 8:
            raise UserError(f"--head_hidden_size must be a multiple of 8, but is {self.head_hidden_size}.")


@dataclass
class DetectionTrainingArguments(FineTuningArguments):
    """[`FineTuningArguments`] with defaults for detection."""

    output_dir: str = argument("Folder of the run: checkpoints, results, and at the end the model.", "detection")
    per_device_train_batch_size: int = argument("Images in a step, for each process.", 16)
    per_device_eval_batch_size: int = argument("Images at a time in evaluations, for each process.", 16)
    learning_rate: float = argument("Highest learning rate, that of the head.", 3e-4)
    max_grad_norm: float = argument("Norm that gradients are clipped to.", 0.1)
    metric_for_best_model: str | None = argument("Which model is the best.", "map")


class DetectionTrainer(FineTuningTrainer):
    """
    A Trainer for images with any number of objects.

    Args:
        collate_for_training:
            Makes batches to train on; `data_collator` makes those to evaluate on.
        **kwargs:
            Those of [`FineTuningTrainer`].
    """

    def __init__(self, collate_for_training: TrainingCollator, **kwargs):
        super().__init__(**kwargs)
        self.collate_for_training = collate_for_training

    def get_train_dataloader(self):
        collate_for_evaluation, self.data_collator = self.data_collator, self.collate_for_training
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = collate_for_evaluation

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **kwargs):
        outputs = model(pixel_values=inputs["pixel_values"], labels=inputs["labels"])
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    @torch.no_grad()
    def prediction_step(self, model: nn.Module, inputs: dict, prediction_loss_only: bool, ignore_keys=None):
        """The loss; score, category and corners of each detection, of shape `(batch_size, num_queries, 6)`; numbers of images."""
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        results = self.processing_class.post_process_object_detection(
            outputs, threshold=-1.0, target_sizes=inputs["original_size"]
        )
        detections = torch.stack(
            [torch.cat([each["scores"][:, None], each["labels"][:, None], each["boxes"]], dim=1) for each in results]
        )
        return loss.detach(), detections.float(), inputs["index"]

    # `save_pretrained` writes RT-DETR with the names of its original weights, and the Trainer would read them as they are: it
    # would go on, or end, with weights at random

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None):
        saved = RTDetrForObjectDetection.from_pretrained(resume_from_checkpoint, dtype=torch.float32)
        (model or self.model).load_state_dict(saved.state_dict())

    def _load_best_model(self):
        self._load_from_checkpoint(self.state.best_model_checkpoint)


def make_model(args: ModelArguments, label_names: list[str], seed: int) -> tuple[RTDetrForObjectDetection, Backbone]:
    """RT-DETR on a backbone, and the backbone."""
    backbone = load_backbone(args, NUM_FEATURE_MAPS)
    num_stages = len(backbone.config.depths)
    stages = range(num_stages - NUM_FEATURE_MAPS, num_stages)
    set_seed(seed)
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
    if backbone.model is not None:
        model.model.backbone.model.load_state_dict(backbone.model.state_dict())
    return model, backbone


def make_image_processor(args: ModelArguments, image_size: int) -> RTDetrImageProcessorPil:
    """One that resizes, with mean and deviation of the pre-trained model; without one, as RT-DETR, without both."""
    settings = {} if args.model_name_or_path is None else read_image_processor_settings(args.model_name_or_path)
    size = {"height": image_size, "width": image_size}
    if "image_mean" not in settings:
        return RTDetrImageProcessorPil(size=size)
    return RTDetrImageProcessorPil(
        size=size, do_normalize=True, image_mean=settings["image_mean"], image_std=settings["image_std"]
    )


def make_compute_metrics(images: AnnotatedImages):
    """The metrics of an evaluation, as COCO measures them."""
    ground_truth = make_ground_truth(images)

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        return measure(ground_truth, prediction.label_ids, prediction.predictions)

    return compute_metrics


def open_splits(args: DataArguments) -> tuple[AnnotatedImages, AnnotatedImages]:
    """The images to train on, and those to evaluate on."""
    train_images = open_images(args, args.train_split_name, args.max_train_samples)
    eval_images = open_images(args, args.eval_split_name, args.max_eval_samples)
    if train_images.label_names != eval_images.label_names:
        raise UserError(f"{train_images.description} and {eval_images.description} name other categories.")
    return train_images, eval_images


def run(data_args: DataArguments, model_args: ModelArguments, args: DetectionTrainingArguments, command: str):
    """A run from top to bottom."""
    checkpoint, hub_model_id = start_run(args)

    # 1. images and model
    train_images, eval_images = open_splits(data_args)
    model, backbone = make_model(model_args, train_images.label_names, args.seed)
    image_processor = make_image_processor(model_args, data_args.image_size)
    train_dataset: Dataset = TrainingImages(train_images, image_processor, data_args.flip, args.seed)
    eval_dataset = EvaluationImages(eval_images, image_processor)

    # 2. training
    trainer = DetectionTrainer(
        TrainingCollator(data_args),
        model=model,
        args=args,
        data_collator=collate_for_evaluation,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=image_processor,
        compute_metrics=make_compute_metrics(eval_images),
    )
    save_or_compare_arguments(args, checkpoint, data_args, model_args)
    train_metrics = train(trainer, checkpoint)

    # 3. the model, and what it is worth
    metrics = evaluate_at_end(trainer, train_metrics)
    if not trainer.is_world_process_zero():
        return
    report = RunReport(
        **describe_run("object-detection", backbone, data_args, model_args, args),
        model_description=f"RT-DETR on a {'GreenMIM' if backbone.is_greenmim else 'Swin'} backbone, for {len(train_images.label_names)} categories",
        num_train_images=len(train_images),
        num_eval_images=len(eval_images),
        results={"COCO mAP": metrics["eval_map"], "COCO AP at an IoU of 0.5": metrics["eval_map_50"]},
        main_result=("map", metrics["eval_map"]),
        num_steps=trainer.state.global_step,
        seconds=train_metrics["train_runtime"],
        command=command,
        picture=draw_detections(model, eval_dataset, image_processor),
    )
    folder = write_model_folder(model, image_processor, report, args, hub_model_id, with_code=False)
    print(describe_result(report, folder, backbone.is_greenmim))


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, DetectionTrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
