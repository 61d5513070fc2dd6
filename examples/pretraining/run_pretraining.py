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
a resumed run (`--resume_from_checkpoint`) reads all images again that it has seen, and `--learning_rate` is meant as it is.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import get_token
from transformers import TrainingArguments
from transformers.utils import logging

from modeling_greenmim.parameter_groups import get_decay_parameter_names


sys.path.append(str(Path(__file__).resolve().parents[1] / "common"))
from example_command import UserError, check_num_processes, run_command
from example_report import describe_hardware
from example_trainer import CheckpointTrainer, find_checkpoint, train
from pretraining_arguments import DataArguments, ModelArguments
from pretraining_data import PretrainingCollator, make_collator, make_loader
from pretraining_evaluation import Evaluation
from pretraining_model import make_pretrained_model
from pretraining_report import RunReport, describe_data, get_picture_path, summarize, write_results
from pretraining_run import count_steps
from pretraining_setup import PretrainingData, open_data


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity


class PretrainingTrainer(CheckpointTrainer):
    """
    A Trainer with a loader that each process reads its own part from, and without weight decay where it does not belong.

    Args:
        data ([`PretrainingData`]):
            The images of this process.
        collator ([`PretrainingCollator`]):
            Makes batches of them.
        **kwargs:
            Those of [`~transformers.Trainer`].
    """

    def __init__(self, data: PretrainingData, collator: PretrainingCollator, **kwargs):
        def collate(examples: Sequence[dict]) -> dict:
            batch = collator(examples)
            for name, reason in batch["unreadable"].items():
                logger.warning(f"Skipped {name} ({reason})")
            return batch["inputs"]

        super().__init__(
            train_dataset=data.crops, eval_dataset=data.held_out.examples, data_collator=collate, **kwargs
        )

    def get_train_dataloader(self):
        # not prepared: Accelerate would divide among processes what is divided already
        args = self.args
        return make_loader(
            self.train_dataset,
            args.per_device_train_batch_size,
            self.data_collator,
            args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
        )

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
    # images are cropped in the collator, and their masks are what the loss is measured on
    args.remove_unused_columns, args.label_names, args.prediction_loss_only = False, ["bool_masked_pos"], True
    args.push_to_hub, push_to_hub = False, args.push_to_hub  # only the model folder, at the end

    # 1. model and images
    start = make_pretrained_model(model_args, args.seed)
    data = open_data(data_args, start.model.config, args.seed, args.process_index, args.world_size)
    images_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    max_steps = args.max_steps if args.max_steps > 0 else None
    args.max_steps = count_steps(images_per_step, data.num_train_images, max_steps, args.num_train_epochs)
    collator = make_collator(
        start.model.config,
        start.image_processor,
        mask_sampler=model_args.mask_sampler,
        per_sample=model_args.mask_per_sample,
    )

    # 2. training
    trainer = PretrainingTrainer(data, collator, model=start.model, args=args, processing_class=start.image_processor)
    first_step = 0 if checkpoint is None else int(Path(checkpoint).name.rpartition("-")[2])
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
        unreadable={},  # they are named when they are dropped, in the workers, and nobody counts them
        license=start.license,
    )
    args.push_to_hub = push_to_hub
    folder = write_results(start.model.cpu(), start.image_processor, report, args)
    print(summarize(report, folder, args))


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
