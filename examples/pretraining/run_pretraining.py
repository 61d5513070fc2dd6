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
"""Pre-trains a GreenMIM model with transformers' Trainer, on the same images, masks and model as run_pretraining_no_trainer.py.

    python run_pretraining.py --train_dir path/to/images --output_dir my_run --num_train_epochs 100 --do_eval \\
        --eval_strategy steps --eval_steps 500 --dataloader_num_workers 4 --learning_rate 6e-4 --weight_decay 0.05

With several GPUs: `torchrun --nproc_per_node 4 run_pretraining.py ...`. What the Trainer does otherwise than the other script:
a resumed run (`--resume_from_checkpoint`) of a stream reads all images again that it has seen, and `--learning_rate` is meant as it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_token
from transformers import TrainingArguments
from transformers.utils import logging

from modeling_greenmim.parameter_groups import get_decay_parameter_names
from modeling_greenmim.training.command_line import UserError, check_num_processes, run_command
from modeling_greenmim.training.errors import check_unreadable
from modeling_greenmim.training.evaluation import Evaluation
from modeling_greenmim.training.fine_tuning_report import describe_hardware
from modeling_greenmim.training.micro_batches import PretrainingCollator, get_weighted_loss
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_data import PretrainingData, open_data
from modeling_greenmim.training.pretraining_model import make_pretrained_model
from modeling_greenmim.training.pretraining_report import (
    RunReport,
    describe_data,
    get_picture_path,
    summarize,
    write_results,
)
from modeling_greenmim.training.run_lock import lock_run
from modeling_greenmim.training.trainer import CheckpointTrainer, find_checkpoint, train

from pretraining_run import count_steps


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity


@dataclass
class TrainerBatches:
    """
    What the Trainer takes of micro-batches: the arguments of the model, and `image_weights` where a place is empty.

    Args:
        loader (`Iterable[dict]`):
            Micro-batches.
        num_skipped (`int`):
            Number of those that it loads and skips.
        max_unreadable (`float`):
            Fraction of the images that may be unreadable.
        num_images (`int`, *optional*):
            Number of all images, where it is known.
    """

    loader: Iterable[dict]
    num_skipped: int
    max_unreadable: float
    num_images: int | None

    def __len__(self) -> int:
        return len(self.loader) - self.num_skipped

    def __iter__(self) -> Iterator[dict]:
        unreadable, num_read = {}, 0
        for number, batch in enumerate(self.loader):
            for name in batch["unreadable"].keys() - unreadable.keys():
                logger.warning(f"Skipped {name} ({batch['unreadable'][name]})")
            unreadable |= batch["unreadable"]
            num_read += len(batch["epochs"])
            check_unreadable(unreadable, self.num_images or num_read, self.max_unreadable)
            if number >= self.num_skipped:
                weights = batch["image_weights"]
                yield batch["inputs"] if weights is None else {**batch["inputs"], "image_weights": weights}


class PretrainingTrainer(CheckpointTrainer):
    """
    A Trainer with a loader that each process reads its own part from, and without weight decay where it does not belong.

    Args:
        data ([`PretrainingData`]):
            The images of the run.
        collator ([`PretrainingCollator`]):
            Makes micro-batches of them.
        first_step (`int`):
            Number of steps that a resumed run has made.
        **kwargs:
            Those of [`~transformers.Trainer`].
    """

    def __init__(self, data: PretrainingData, collator: PretrainingCollator, first_step: int = 0, **kwargs):
        self.data, self.collator, self.first_step = data, collator, first_step
        kwargs["args"].ignore_data_skip = True  # the loader begins with the next micro-batch
        super().__init__(
            train_dataset=data.held_out.examples,  # asked for, and not used
            eval_dataset=data.held_out.examples,
            data_collator=lambda examples: collator(examples)["inputs"],
            **kwargs,
        )

    def get_train_dataloader(self):
        # not prepared: Accelerate would divide among processes what is divided already
        args = self.args
        first, last = (step * args.gradient_accumulation_steps for step in (self.first_step, args.max_steps))
        loader = self.data.make_loader(
            self.collator,
            args.per_device_train_batch_size,
            range(first * args.world_size, last * args.world_size),
            self.data.choose_lanes(
                args.world_size * max(1, args.dataloader_num_workers), args.per_device_train_batch_size
            ),
            rank=args.process_index,
            world_size=args.world_size,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
        )
        num_skipped = first if self.data.is_stream else 0
        return TrainerBatches(loader, num_skipped, self.data.args.max_unreadable, self.data.images.num_images)

    def compute_loss(self, model, inputs, return_outputs: bool = False, **kwargs):
        image_weights = inputs.pop("image_weights", None)
        if image_weights is None:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        outputs = model(**inputs)
        loss = get_weighted_loss(self.accelerator.unwrap_model(model), inputs, outputs, image_weights)
        return (loss, outputs) if return_outputs else loss

    def get_decay_parameter_names(self, model) -> list[str]:
        return get_decay_parameter_names(model)


def run(data_args: DataArguments, model_args: ModelArguments, args: TrainingArguments, command: str):
    """A run from top to bottom."""
    check_num_processes(args.world_size)
    if args.push_to_hub and (args.hub_model_id is None or get_token() is None):
        raise UserError("--push_to_hub needs --hub_model_id, and a token: log in (`hf auth login`), or set HF_TOKEN.")
    if args.n_gpu > 1:
        raise UserError(
            f"One process cannot train on {args.n_gpu} GPUs, as the plan of a batch cannot be split: start one process for each "
            f"with `torchrun --nproc_per_node {args.n_gpu}`, or choose one with CUDA_VISIBLE_DEVICES."
        )
    checkpoint = find_checkpoint(args.output_dir, args.resume_from_checkpoint)
    if args.process_index == 0:
        Path(args.output_dir).mkdir(parents=True, exist_ok=True)
        lock = lock_run(Path(args.output_dir))  # noqa: F841 - held until the end
    # images are cropped in the collator, and their masks are what the loss is measured on
    args.remove_unused_columns, args.label_names, args.prediction_loss_only = False, ["bool_masked_pos"], True
    args.push_to_hub, push_to_hub = False, args.push_to_hub  # only the model folder, at the end

    # 1. model and images
    start = make_pretrained_model(model_args, args.seed)
    data = open_data(data_args, start.model.config, args.seed)
    images_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    max_steps = args.max_steps if args.max_steps > 0 else None
    args.max_steps = count_steps(images_per_step, data.num_train_images, max_steps, args.num_train_epochs)
    collator = PretrainingCollator(
        start.model.config,
        start.image_processor,
        mask_sampler=model_args.mask_sampler,
        per_sample=model_args.mask_per_sample,
    )

    # 2. training
    first_step = 0 if checkpoint is None else int(Path(checkpoint).name.rpartition("-")[2])
    trainer = PretrainingTrainer(
        data, collator, first_step, model=start.model, args=args, processing_class=start.image_processor
    )
    train(trainer, checkpoint)
    if args.do_eval and data.held_out.examples:
        trainer.evaluate()

    # 3. the model
    if not trainer.is_world_process_zero():
        return
    if data.held_out.examples:
        picture = get_picture_path(args.output_dir, trainer.state.global_step)
        picture.parent.mkdir(exist_ok=True)
        evaluation = Evaluation(data.held_out, collator, args.per_device_eval_batch_size, knn=False)
        evaluation.draw(start.model, trainer.accelerator).savefig(picture, dpi=100)
    report = RunReport(
        data=describe_data(data_args, data.num_train_images),
        origin=start.origin,
        hyper_parameters={
            name: getattr(args, name)
            for name in (
                "per_device_train_batch_size",
                "gradient_accumulation_steps",
                "learning_rate",
                "weight_decay",
                "seed",
            )
        }
        | {"mask_ratio": start.model.config.mask_ratio, "norm_pix_loss": start.model.config.norm_pix_loss},
        hardware=describe_hardware(args.device, args.world_size),
        command=command,
        step=trainer.state.global_step,
        images_seen=trainer.state.global_step * images_per_step,
        images_timed=(trainer.state.global_step - first_step) * images_per_step,
        seconds=[record["train_runtime"] for record in trainer.state.log_history if "train_runtime" in record][-1],
        history=trainer.state.log_history,
        num_held_out=len(data.held_out.examples),
        unreadable=data.images.unreadable,  # others are named when they are read
        license=start.license,
    )
    args.push_to_hub = push_to_hub
    folder = write_results(start.model.cpu(), start.image_processor, report, args)
    print(summarize(report, folder, args))


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
