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
"""Pre-training with transformers' Trainer: [`PretrainingTrainer`], or [`pretrain`] in one call."""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from transformers import HfArgumentParser, TrainingArguments
from transformers.utils import logging

from .. import GreenMimConfig
from ..parameter_groups import get_decay_parameter_names
from ..redaction import redact_argument
from .errors import UserError, check_unreadable, describe_unknown
from .evaluation import Evaluation
from .micro_batches import get_weighted_loss, prepare_inputs
from .pretraining_arguments import DataArguments, ModelArguments
from .pretraining_setup import PretrainingData, make_pretrained_model, open_data
from .reports import PretrainingReport, check_upload, describe_hardware, describe_start
from .run_folder import lock_run, start_run_folder
from .trainer import CheckpointTrainer, start_run, train


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

# fmt: off
REPORTED_SETTINGS = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay", "seed",
)
# of `pretrain`, because those of `TrainingArguments` are for fine-tuning language models
DEFAULTS = {
    "num_train_epochs": 100, "per_device_train_batch_size": 64, "seed": 0,
    "weight_decay": 0.05, "adam_beta2": 0.95, "lr_scheduler_type": "cosine", "warmup_steps": 0.05,
    "logging_steps": 10, "eval_strategy": "steps", "eval_steps": 0.1, "save_steps": 1000, "save_total_limit": 2,
}
# fmt: on
BASE_LEARNING_RATE = 1.5e-4  # for 256 images in a step


@dataclass
class TrainerBatches:
    """Micro-batches for the Trainer: model inputs, and `image_weights` if a place is empty."""

    loader: Iterable[dict]
    num_skipped: int  # micro-batches at the beginning that are loaded but not yielded
    data: PretrainingData

    def __len__(self) -> int:
        return len(self.loader) - self.num_skipped

    def __iter__(self) -> Iterator[dict]:
        unreadable, num_read = {}, 0
        for number, batch in enumerate(self.loader):
            for name in batch["unreadable"].keys() - unreadable.keys():
                logger.warning(f"Skipped {name} ({batch['unreadable'][name]})")
            unreadable |= batch["unreadable"]
            num_read += len(batch["epochs"])
            check_unreadable(unreadable, self.data.images.num_images or num_read, self.data.args.max_unreadable)
            if number >= self.num_skipped:
                weights = batch["image_weights"]
                yield batch["inputs"] if weights is None else {**batch["inputs"], "image_weights": weights}


class PretrainingTrainer(CheckpointTrainer):
    """
    Trainer in which each process reads its own part of the data. It saves reconstructions at each evaluation, and uses
    [`get_decay_parameter_names`]. It sets the `args` that it depends on, such as `max_steps`.

    Args:
        pretrained ([`PretrainedModel`]), data ([`PretrainingData`]), collator ([`PretrainingCollator`]):
            Model to start from, images of the run, and collator of their micro-batches.
        args ([`~transformers.TrainingArguments`]), command (`str`), **kwargs:
            Arguments of [`~transformers.Trainer`], and the command or call that started the run, for its card.

    Raises:
        [`UserError`]: if there are too few images, or if their number is unknown and `args.max_steps` is not set.
    """

    def __init__(self, pretrained, data, collator, args, command, **kwargs):
        self.pretrained, self.data, self.collator, self.command = pretrained, data, collator, command
        self.first_step, self.hardware = 0, describe_hardware(args.device, args.world_size)
        self.images_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        max_steps = args.max_steps if args.max_steps > 0 else None
        args.max_steps = data.count_steps(self.images_per_step, max_steps, args.num_train_epochs)
        args.ignore_data_skip = True  # the loader begins with the next micro-batch
        # images are cropped in the collator, and the loss is measured on their masks
        args.remove_unused_columns, args.label_names, args.prediction_loss_only = False, ["bool_masked_pos"], True
        if not data.held_out.examples:
            args.eval_strategy, args.do_eval = "no", False
        super().__init__(
            args=args,
            train_dataset=data.held_out.examples,  # required, but not used
            eval_dataset=data.held_out.examples,
            data_collator=lambda examples: collator.with_one_mask(examples)["inputs"],
            processing_class=pretrained.image_processor,
            **{"model": pretrained.model} | kwargs,
        )
        if pretrained.teacher is not None:
            pretrained.teacher.to(args.device)
        eval_batch_size = args.per_device_eval_batch_size
        self.evaluation = Evaluation(data.held_out, collator, eval_batch_size, teacher=pretrained.teacher)

    def train(self, resume_from_checkpoint: str | None = None, **kwargs):
        if resume_from_checkpoint is not None:
            self.first_step = int(Path(resume_from_checkpoint).name.rpartition("-")[2])
        self.settings = {name: getattr(self.args, name) for name in REPORTED_SETTINGS}
        if self.is_world_process_zero():
            shown = self.args.max_steps, self.images_per_step, self.hardware, self.args.learning_rate
            print(describe_start(self.data, self.pretrained.model, *shown))
            arguments = {"command": self.command, "hyper_parameters": self.settings}
            start_run_folder(Path(self.args.output_dir), False, arguments)
        return super().train(resume_from_checkpoint, **kwargs)

    def get_train_dataloader(self):
        # not prepared: Accelerate would divide the data among processes again
        args = self.args
        first, last = (step * args.gradient_accumulation_steps for step in (self.first_step, args.max_steps))
        loader = self.data.make_loader(
            self.collator,
            args.per_device_train_batch_size,
            range(first * args.world_size, last * args.world_size),
            self.data.choose_lanes(args.world_size, args.dataloader_num_workers, args.per_device_train_batch_size),
            rank=args.process_index,
            world_size=args.world_size,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
        )
        return TrainerBatches(loader, first if self.data.is_stream else 0, self.data)

    def compute_loss(self, model, inputs, return_outputs: bool = False, **kwargs):
        image_weights = inputs.pop("image_weights", None)
        inputs = prepare_inputs(inputs, self.accelerator, self.pretrained.teacher)
        if image_weights is None:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        outputs = model(**inputs)
        loss = get_weighted_loss(outputs, image_weights)
        return (loss, outputs) if return_outputs else loss

    def get_decay_parameter_names(self, model) -> list[str]:
        return get_decay_parameter_names(model)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        metrics = super().evaluate(*args, **kwargs)
        if self.pretrained.teacher is not None:
            parts = self.evaluation.measure(self.model, self.accelerator)
            self.log({name: value for name, value in parts.items() if name != "eval_loss"})
        self.evaluation.save_pictures(self.model, self.accelerator, self.args.output_dir, self.state.global_step)
        return metrics

    def write_report(self, hub_model_id: str | None) -> Path:
        """
        Evaluates the trained model, writes the results of the run, and returns the model folder. Collective. The main
        process uploads the folder if `hub_model_id` is given.
        """
        args, step, history = self.args, self.state.global_step, self.state.log_history
        if self.data.held_out.examples:
            self.evaluate()
        if self.is_world_process_zero():
            report = PretrainingReport(
                pretrained=self.pretrained,
                data=self.data,
                settings=self.settings,
                hardware=self.hardware,
                command=self.command,
                step=step,
                images_seen=step * self.images_per_step,
                images_timed=(step - self.first_step) * self.images_per_step,
                seconds=[record["train_runtime"] for record in history if "train_runtime" in record][-1],
                history=history,
                unreadable={},  # they are reported when they are read
            )
            report.write(self.model, Path(args.output_dir), hub_model_id, bool(args.hub_private_repo))
        self.accelerator.wait_for_everyone()
        return Path(args.output_dir) / "model"


def start_pretraining(args: TrainingArguments) -> tuple[str | None, str | None, TextIO | None]:
    """
    Calls [`start_run`], and also returns the folder's lock in the main process. Refuses several GPUs in a process.
    """
    if args.n_gpu > 1:
        raise UserError(
            f"Cannot train on {args.n_gpu} GPUs in one process because the plan of a batch cannot be split. Start one "
            f"process per GPU with `torchrun --nproc_per_node {args.n_gpu}`, or choose one GPU with CUDA_VISIBLE_DEVICES."
        )
    return *start_run(args), lock_run(Path(args.output_dir)) if args.process_index == 0 else None


def pretrain(
    train_dir: str | Path | None = None,
    output_dir: str | Path = "pretraining",
    config: GreenMimConfig | str | Path | None = None,
    **settings,
) -> Path:
    """
    Pre-trains a model on images without labels, with transformers' Trainer. To resume a stopped run, repeat the call
    with `resume_from_checkpoint="latest"`.

    Args:
        train_dir (`str` or `Path`, *optional*):
            Folder of images, parquet files or tars. Alternatively, pass `data_files` or `dataset_name`.
        output_dir (`str` or `Path`, *optional*, defaults to `"pretraining"`):
            Folder of the run: checkpoints, reconstructions, loss curve, metrics, and at the end the model with its card.
        config ([`GreenMimConfig`], `str` or `Path`, *optional*):
            Configuration of a new model, or its file. By default, Swin-B's. Alternatively, pass `model_name_or_path`.
        **settings:
            Fields of [`DataArguments`], [`ModelArguments`] and [`~transformers.TrainingArguments`]. By default, the
            learning rate is 1.5e-4 x images in a step / 256, and other settings are those of `DEFAULTS`.

    Returns:
        `Path`: the model folder.

    Raises:
        [`UserError`]: if a setting is invalid, or if the images or the folder cannot be used.
        [`StoppedBySignal`]: after a stop signal such as Ctrl-C, once a checkpoint is written.

    Example:

    ```python
    >>> from modeling_greenmim.training import pretrain

    >>> folder = pretrain(train_dir="path/to/images", output_dir="my_run", max_steps=1000)  # doctest: +SKIP
    ```"""
    folder = Path(output_dir) / "model"
    if folder.exists() and settings.get("resume_from_checkpoint"):
        print(f"The run is complete: {folder}. There is nothing to resume.")
        return folder
    settings = {"train_dir": train_dir and str(train_dir), "output_dir": str(output_dir), **settings}
    if isinstance(config, (str, Path)):
        settings["config_name_or_path"], config = str(config), None
    shown = {name: redact_argument(value) for name, value in settings.items() if not name.endswith("token")}
    call = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)
    command = f"python -c {shlex.quote(f'from modeling_greenmim.training import pretrain; pretrain({call})')}"
    parser = HfArgumentParser((DataArguments, ModelArguments, TrainingArguments))
    known = sorted(setting.name for kind in parser.dataclass_types for setting in fields(kind))
    for name in settings.keys() - set(known):
        raise UserError(describe_unknown(name, known))
    try:
        data_args, model_args, args = parser.parse_dict(DEFAULTS | settings)
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    checkpoint, hub_model_id, lock = start_pretraining(args)  # the lock is held until the end
    pretrained = make_pretrained_model(model_args, args.seed, config)
    check_upload(pretrained.model.config, hub_model_id)
    data = open_data(data_args, pretrained.model.config, args.seed)
    trainer = PretrainingTrainer(pretrained, data, pretrained.make_collator(model_args), args, command)
    if "learning_rate" not in settings:
        args.learning_rate = BASE_LEARNING_RATE * trainer.images_per_step / 256
    train(trainer, checkpoint)
    return trainer.write_report(hub_model_id)
