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
"""Fine-tunes a GreenMIM or Swin model for image classification with transformers' Trainer.

On your own images, in a folder for each class, from a model of examples/pretraining, or any Swin:

    python run_image_classification.py --train_dir path/to/images --model_name_or_path my_run/model --output_dir my_classifier

On a data set of the Hub, with everything that helps on a long run:

    python run_image_classification.py --dataset_name ethz/food101 --model_name_or_path my_run/model --bf16 --ema_decay 0.9999 \\
        --num_train_epochs 100 --rand_augment_num_ops 2 --random_erasing_prob 0.25 --mixup_alpha 0.8 --cutmix_alpha 1.0 --dataloader_num_workers 8

After Ctrl-C, or whatever ended it, the same command with `--resume_from_checkpoint latest` goes on as if it had not ended. At the
end, `my_classifier/model` is what `pipeline("image-classification")` runs.
"""

import math
from collections.abc import Sequence

from transformers import EvalPrediction

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.model_card import describe_encoder
from modeling_greenmim.training.command_line import UserError, get_name, run_command
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

from classification_arguments import (
    AugmentationArguments,
    ClassificationTrainingArguments,
    DataArguments,
    ModelArguments,
)
from classification_data import (
    EndlessStream,
    ExampleMaker,
    LabelledImages,
    LabelledRows,
    StreamedImages,
    collate,
    open_rows,
)
from classification_model import PretrainedModel, get_image_size, make_pretrained_model
from classification_training import ClassificationTrainer
from classification_transforms import (
    EvaluationTransform,
    MixupCutmix,
    TrainingTransform,
    check_num_channels,
    check_torchvision,
)


USAGE = """
from transformers import pipeline

classifier = pipeline("image-classification", model="{{name}}"{trust})
classifier("path/to/image.jpg")
"""


def count_stream_steps(args: ClassificationTrainingArguments, num_images: int | None):
    """Gives a run on a stream, of which the Trainer does not know how long it is, its steps and evaluations."""
    if num_images is None and args.max_steps <= 0:
        raise UserError("--streaming: the data do not tell how many images they hold. Give --max_steps.")
    if num_images is None:
        if "epoch" in (args.eval_strategy, args.save_strategy):
            raise UserError(
                "--streaming: the data do not tell how long an epoch is. Give --eval_strategy steps, --save_strategy steps, "
                "--eval_steps and --save_steps."
            )
        return
    images_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    if args.max_steps <= 0:
        args.max_steps = math.ceil(args.num_train_epochs * num_images / images_per_step)
    for name in ("eval", "save"):
        if getattr(args, f"{name}_strategy") == "epoch":
            setattr(args, f"{name}_strategy", "steps")
            setattr(args, f"{name}_steps", math.ceil(num_images / images_per_step))


def check_num_workers(args: ClassificationTrainingArguments, rows: LabelledRows):
    """Raises an error if a stream has fewer parts than workers: some would have nothing to do."""
    if args.dataloader_num_workers > rows.rows.num_shards:
        raise UserError(
            f"--dataloader_num_workers {args.dataloader_num_workers}: {rows.description} can be read in {rows.rows.num_shards} parts (row "
            "groups, or files). Give at most as many workers."
        )


def make_datasets(data_args: DataArguments, augmentation_args, start: PretrainedModel, rows, seed: int):
    """Examples to train on, and to evaluate on."""
    config = start.model.config
    transforms = (
        TrainingTransform(augmentation_args, get_image_size(config), start.image_processor),
        EvaluationTransform(start.image_processor),
    )
    makers = [
        ExampleMaker(
            transform,
            config.num_channels,
            [config.label2id[name] for name in each.label_names],
            each.description,
            seed,
        )
        for transform, each in zip(transforms, rows)
    ]
    if data_args.streaming:
        return EndlessStream(rows[0], makers[0], data_args.shuffle_buffer_size), StreamedImages(rows[1], makers[1])
    return LabelledImages(rows[0], makers[0]), LabelledImages(rows[1], makers[1])


def make_compute_metrics():
    """The metrics of an evaluation, through `evaluate`."""
    metric = load_metric("accuracy")

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        return metric.compute(predictions=prediction.predictions, references=prediction.label_ids)

    return compute_metrics


def describe_data(args: DataArguments) -> str:
    """Which images, by name, without where they are on this machine."""
    return f"`{get_name(args.dataset_name or args.train_dir)}`"


def describe_evaluation(args: DataArguments, load_best_model_at_end: bool) -> str:
    """Which images it was evaluated on, and what else they were used for."""
    if args.validation_dir is not None:
        images = f"`{get_name(args.validation_dir)}`"
    elif args.eval_split_name is not None:
        images = f"{describe_data(args)}, split {args.eval_split_name!r}"
    else:
        images = f"{describe_data(args)} that were held out of this fine-tuning"
    return f"{images}, which also chose the best of the evaluated models" if load_best_model_at_end else images


def run(
    data_args: DataArguments,
    model_args: ModelArguments,
    augmentation_args: AugmentationArguments,
    args: ClassificationTrainingArguments,
    command: str,
):
    """A run from top to bottom."""
    checkpoint, hub_model_id = start_run(args)
    check_torchvision(augmentation_args)

    # 1. images and model
    rows: tuple[LabelledRows, LabelledRows] = open_rows(data_args, args.seed)
    start = make_pretrained_model(model_args, rows[0].label_names, args.seed)
    check_num_channels(augmentation_args, start.model.config.num_channels)
    train_dataset, eval_dataset = make_datasets(data_args, augmentation_args, start, rows, args.seed)
    if data_args.streaming:
        count_stream_steps(args, rows[0].num_images)
        check_num_workers(args, rows[0])

    # 2. training
    mixup = None
    if augmentation_args.mixup_alpha or augmentation_args.cutmix_alpha:
        mixup = MixupCutmix(augmentation_args, start.model.config.num_labels)
    trainer = ClassificationTrainer(
        mixup,
        model=start.model,
        args=args,
        data_collator=collate,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=start.image_processor,
        compute_metrics=make_compute_metrics(),
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(dim=-1),
    )
    save_or_compare_arguments(args, checkpoint, data_args, model_args, augmentation_args)
    train_metrics = train(trainer, checkpoint)

    # 3. the model, and what it is worth
    metrics = evaluate_at_end(trainer, train_metrics)
    if not trainer.is_world_process_zero():
        return
    config = start.model.config
    settings = vars(augmentation_args) | {"drop_path_rate": model_args.drop_path_rate}
    if data_args.streaming:
        settings["shuffle_buffer_size"] = data_args.shuffle_buffer_size
    is_greenmim = isinstance(config, GreenMimConfig)
    encoder = describe_encoder(config) if is_greenmim else "Swin Transformer"
    report = RunReport(
        task="image-classification",
        model_description=f"{encoder}, with a classifier for {config.num_labels} classes",
        usage=USAGE.format(trust=", trust_remote_code=True" if is_greenmim else ""),
        dataset_name=describe_data(data_args),
        eval_description=describe_evaluation(data_args, args.load_best_model_at_end),
        num_train_images=rows[0].num_images,
        num_eval_images=rows[1].num_images,
        origin=start.origin,
        settings=settings,
        results={"Accuracy": metrics["eval_accuracy"]},
        main_result=("accuracy", metrics["eval_accuracy"]),
        num_steps=trainer.state.global_step,
        seconds=train_metrics["train_runtime"],
        command=command,
        license=start.license,
    )
    folder = write_model_folder(start.model, start.image_processor, report, args, hub_model_id, with_code=is_greenmim)
    print(describe_result(report, folder, is_greenmim))


def main(arguments: Sequence[str] | None = None):
    run_command(
        run,
        (DataArguments, ModelArguments, AugmentationArguments, ClassificationTrainingArguments),
        __doc__,
        arguments,
    )


if __name__ == "__main__":
    main()
