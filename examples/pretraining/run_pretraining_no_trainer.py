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
# dependencies = ["modeling-greenmim[training]"]
# ///
"""Pre-trains a GreenMIM model on images without labels, on one or more devices, in runs that can stop at any time.

On one device, or on all devices of a machine:

    python run_pretraining_no_trainer.py --train_dir path/to/images --output_dir my_run --num_train_epochs 100
    accelerate launch run_pretraining_no_trainer.py --train_dir path/to/images --output_dir my_run --mixed_precision bf16

After Ctrl-C, a kill or a crash, the same command with `--resume_from_checkpoint latest` continues with exactly the
images, masks and weights that would have come next. At the end, `my_run/model` loads with `AutoModel.from_pretrained`,
after `import modeling_greenmim`.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from transformers.hf_argparser import HfArg

from modeling_greenmim.training.command_line import StoppedBySignal, check_num_processes, check_range, run_command
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments


# torch and its dependents are imported in functions, so that --help and invalid arguments do not wait for them

# fmt: off
# settings that determine the trained weights, with the model and the images
TRAINING_SETTINGS = (
    "min_crop_scale", "flip", "mask_sampler", "mask_per_sample", "masks_per_image", "seed", "max_train_steps",
    "num_warmup_steps", "max_pixels", "learning_rate", "lr_scheduler_type", "weight_decay", "adam_beta1", "adam_beta2",
    "max_grad_norm", "allow_external_files",
)
# division of the images of a step; a resumed run may change it, except for streams
DIVISION_SETTINGS = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_workers", "shuffle_buffer_size")
COUNTS = (
    "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "max_train_steps", "logging_steps",
    "eval_steps", "checkpointing_steps", "checkpoints_total_limit", "ddp_timeout",
)
# transformers' schedulers that need no further arguments
SchedulerName = Literal["cosine", "linear", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"]
# fmt: on


@dataclass
class RunArguments:
    """Training settings, and outputs to keep."""

    output_dir: str = HfArg(
        default="pretraining", help="Folder of the run: checkpoints, pictures, logs, and the model."
    )
    overwrite_output_dir: bool = HfArg(default=False, help="Discard the run in --output_dir.")
    seed: int = HfArg(default=0, help="Seed of new weights, image order, crops and masks.")
    per_device_train_batch_size: int = HfArg(default=64, help="Number of images in a batch, per process.")
    per_device_eval_batch_size: int | None = HfArg(default=None, help="For evaluations. By default, as in training.")
    gradient_accumulation_steps: int = HfArg(default=1, help="Number of batches to accumulate in a step.")
    num_workers: int = HfArg(default=4, help="Number of decoding workers per training process.")
    num_train_epochs: float | None = HfArg(default=None, help="Epochs to train; 100 without --max_train_steps.")
    max_train_steps: int | None = HfArg(default=None, help="Number of steps to train, instead of epochs.")
    base_learning_rate: float = HfArg(
        default=1.5e-4, help="Peak learning rate for 256 images in a step, scaled by images in a step / 256."
    )
    learning_rate: float | None = HfArg(
        default=None, help="Peak learning rate, not scaled. Small models in short runs need more, such as 1.5e-3."
    )
    lr_scheduler_type: SchedulerName = HfArg(default="cosine", help="Learning rate schedule.")
    num_warmup_steps: int | None = HfArg(default=None, help="Number of warmup steps. By default, 5%% of all steps.")
    weight_decay: float = HfArg(default=0.05, help="Weight decay of AdamW, only for weight matrices.")
    adam_beta1: float = HfArg(default=0.9, help="First decay rate of AdamW.")
    adam_beta2: float = HfArg(default=0.95, help="Second decay rate of AdamW.")
    max_grad_norm: float = HfArg(default=1.0, help="Maximum norm of gradients, for clipping.")
    mixed_precision: str | None = HfArg(
        default=None, help="no, bf16 or fp16. By default, the setting of `accelerate config` or `accelerate launch`."
    )
    gradient_checkpointing: bool = HfArg(default=False, help="Recompute activations to save memory.")
    torch_compile: bool = HfArg(
        default=False,
        help="Compile the model, which takes minutes at the start and makes steps faster. With --mask_per_sample, all "
        "plans have the same shapes, so that the model is compiled once.",
    )
    torch_compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = HfArg(
        default="default", help="Mode of --torch_compile. On a GPU, the others replay CUDA graphs: not measured yet."
    )
    logging_steps: int = HfArg(default=10, help="Number of steps between records of loss and speed.")
    eval_steps: int | None = HfArg(
        default=None, help="Steps between evaluations on held-out images, with a picture. By default, a tenth of all."
    )
    knn: bool = HfArg(
        default=False, help="Also evaluate nearest neighbors among the held-out images, by their labels."
    )
    checkpointing_steps: int = HfArg(default=1000, help="Number of steps between checkpoints.")
    checkpoints_total_limit: int = HfArg(default=2, help="Number of checkpoints to keep; older ones are removed.")
    resume_from_checkpoint: str | None = HfArg(
        default=None,
        help="Checkpoint to resume from: 'latest' in --output_dir (without one, the run starts), or a folder.",
    )
    ddp_timeout: int = HfArg(
        default=1800, help="Seconds that processes wait for one that does not respond, before the run ends."
    )
    with_tracking: bool = HfArg(default=False, help="Log to trackers, see --report_to.")
    report_to: str = HfArg(default="all", help="Tracker: tensorboard, wandb, trackio, ..., or all installed.")
    license: str | None = HfArg(default=None, help="License of the weights, by its name on the Hub: apache-2.0, ...")
    push_to_hub: bool = HfArg(default=False, help="Upload the model at the end. First run `hf auth login`.")
    hub_model_id: str | None = HfArg(default=None, help="Repository to upload to: 'organization/name'.")
    hub_private_repo: bool = HfArg(default=False, help="Make a new repository private.")

    def __post_init__(self):
        for name in ("num_workers", "num_warmup_steps", "weight_decay"):
            check_range(self, name, 0)
        for name in COUNTS:
            check_range(self, name, 1)
        check_range(self, "seed", 0, 2**32 - 1)
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 0 and below 1, got {getattr(self, name)}.")
        for name in ("base_learning_rate", "learning_rate", "num_train_epochs", "max_grad_norm"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UserError(f"--{name} must be above 0, got {getattr(self, name)}.")
        if self.num_train_epochs and self.max_train_steps:
            raise UserError("Pass --num_train_epochs or --max_train_steps, not both.")
        if self.mixed_precision not in (None, "no", "bf16", "fp16"):
            raise UserError(f"--mixed_precision must be no, bf16 or fp16, got {self.mixed_precision!r}.")
        if self.push_to_hub != (self.hub_model_id is not None):
            raise UserError("Pass both --push_to_hub and --hub_model_id, or neither.")
        if self.overwrite_output_dir and self.resume_from_checkpoint:
            raise UserError("--overwrite_output_dir discards the run that --resume_from_checkpoint would resume.")


def make_accelerator(args: RunArguments):
    """Creates the accelerator, with its trackers."""
    import torch
    from accelerate import Accelerator
    from accelerate.utils import DistributedType, InitProcessGroupKwargs, ProjectConfiguration
    from huggingface_hub import get_token

    try:
        accelerator = Accelerator(
            mixed_precision=args.mixed_precision,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            cpu=not torch.accelerator.is_available(),  # otherwise, processes on a CPU would not find each other
            log_with=args.report_to if args.with_tracking else None,
            project_config=ProjectConfiguration(args.output_dir, logging_dir=str(Path(args.output_dir) / "logs")),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=args.ddp_timeout))],
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    check_num_processes(accelerator.num_processes)
    if args.with_tracking and not accelerator.log_with:
        remedy = "Install it, or use TensorBoard (`pip install tensorboard`), which needs no account."
        raise UserError(f"--with_tracking: {args.report_to} is not installed. {remedy}")
    if args.push_to_hub and get_token() is None:
        raise UserError("--push_to_hub: there is no token. Log in with `hf auth login`, or set HF_TOKEN.")
    if args.knn and accelerator.distributed_type == DistributedType.FSDP:
        raise UserError("Cannot use --knn with FSDP because it needs the whole model in each process. Omit --knn.")
    return accelerator


def get_run_config(hyperparameters: dict, images_per_step: int, pretrained, data) -> dict:
    """Everything that determines the next images, masks and weights: a run resumes only with the same values."""
    ignored = set()
    if not data.is_stream:
        ignored = {*DIVISION_SETTINGS, "num_processes"}
        if not hyperparameters["mask_per_sample"]:  # images of a batch share a mask
            ignored.remove("per_device_train_batch_size")
    config = pretrained.model.config.to_dict()
    run_config = {
        "streaming": data.is_stream,
        **{name: value for name, value in hyperparameters.items() if name not in ignored},
        **{name: config[name] for name in config.keys() - {"transformers_version", "_name_or_path"}},
        "images in a step": images_per_step,
        "teacher": pretrained.teacher and pretrained.teacher.model.name_or_path,
        "image_mean": pretrained.image_processor.image_mean,
        "image_std": pretrained.image_processor.image_std,
        **data.fingerprint,
    }
    return json.loads(json.dumps(run_config))  # as it is read from a checkpoint


def run(data_args: DataArguments, model_args: ModelArguments, args: RunArguments, command: str):
    import datasets
    import torch
    from accelerate.utils import set_seed, tqdm
    from transformers import get_scheduler
    from transformers.utils import logging

    from modeling_greenmim.parameter_groups import make_parameter_groups
    from modeling_greenmim.redaction import redact_argument
    from modeling_greenmim.training.checkpoints import Checkpoints, check_same_run_config
    from modeling_greenmim.training.evaluation import Evaluation
    from modeling_greenmim.training.micro_batches import get_weighted_loss, prepare_inputs, seed_micro_batch
    from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data
    from modeling_greenmim.training.progress import Progress
    from modeling_greenmim.training.reports import (
        PretrainingReport,
        check_upload,
        describe_hardware,
        describe_start,
    )
    from modeling_greenmim.training.run_folder import check_run_folder, lock_run, start_run_folder
    from modeling_greenmim.training.stop_signals import StopSignals

    datasets.disable_progress_bars()  # the training's own bar is enough
    logging.disable_progress_bar()
    accelerator = make_accelerator(args)
    output_dir, num_processes = Path(args.output_dir), accelerator.num_processes
    check_run_folder(output_dir, args.overwrite_output_dir, bool(args.resume_from_checkpoint))
    accelerator.wait_for_everyone()  # all processes have checked before one writes
    lock = lock_run(output_dir) if accelerator.is_main_process else None  # noqa: F841 - held until the end

    # 1. Model and images
    pretrained = make_pretrained_model(model_args, args.seed, license=args.license)
    config = pretrained.model.config
    check_upload(config, args.hub_model_id)
    if pretrained.teacher is not None:
        pretrained.teacher.to(accelerator.device)
    data = open_data(data_args, config, args.seed)
    collator = pretrained.make_collator(model_args, static_shapes=args.torch_compile and model_args.mask_per_sample)
    evaluation = None
    if data.held_out.examples or args.knn:
        eval_batch_size = args.per_device_eval_batch_size or args.per_device_train_batch_size
        evaluation = Evaluation(data.held_out, collator, eval_batch_size, args.knn, pretrained.teacher)

    # 2. Schedule
    batch_size, batches_per_step = args.per_device_train_batch_size, num_processes * args.gradient_accumulation_steps
    images_per_step = batches_per_step * batch_size
    num_steps = data.count_steps(images_per_step, args.max_train_steps, args.num_train_epochs or 100.0)
    num_warmup_steps = round(0.05 * num_steps) if args.num_warmup_steps is None else args.num_warmup_steps
    learning_rate = args.learning_rate or args.base_learning_rate * images_per_step / 256
    eval_steps = args.eval_steps or math.ceil(num_steps / 10)
    hardware = describe_hardware(accelerator.device, num_processes)
    accelerator.print(describe_start(data, pretrained.model, num_steps, images_per_step, hardware, learning_rate))
    settings = asdict(data_args) | asdict(model_args) | asdict(args)
    settings |= {"max_train_steps": num_steps, "num_warmup_steps": num_warmup_steps, "learning_rate": learning_rate}
    hyperparameters = {name: settings[name] for name in (*TRAINING_SETTINGS, *DIVISION_SETTINGS)}
    hyperparameters |= {"mixed_precision": accelerator.mixed_precision, "num_processes": num_processes}
    run_config = get_run_config(hyperparameters, images_per_step, pretrained, data)
    check_same_run_config(run_config)

    # 3. Optimizer and checkpoints
    set_seed(args.seed, device_specific=True)
    if args.gradient_checkpointing:
        pretrained.model.gradient_checkpointing_enable()
    if args.torch_compile:
        pretrained.model.compile(mode=args.torch_compile_mode)  # in place, so that weights keep their names
    groups = make_parameter_groups(pretrained.model, learning_rate, args.weight_decay)
    optimizer = torch.optim.AdamW(groups, betas=(args.adam_beta1, args.adam_beta2), fused=True)
    # not prepared: Accelerate would step it once for each process
    scheduler = get_scheduler(args.lr_scheduler_type, optimizer, num_warmup_steps, num_steps)
    model, optimizer = accelerator.prepare(pretrained.model, optimizer)
    saved = pretrained.image_processor, model, optimizer.optimizer, scheduler
    checkpoints = Checkpoints(accelerator, output_dir, args.checkpoints_total_limit, *saved)
    progress = Progress(accelerator, checkpoints, data)
    lanes = data.choose_lanes(num_processes, args.num_workers, batch_size)
    loader_state = None
    if checkpoint := checkpoints.find(args.resume_from_checkpoint):
        run_state, loader_state = checkpoints.load(checkpoint, run_config)
        progress.load_state_dict(run_state["progress"])
        lanes = tuple(run_state["lanes"])
        accelerator.print(f"Resuming after step {progress.step}, from {checkpoint}.")
    elif args.resume_from_checkpoint:
        accelerator.print(f"There is no checkpoint in {output_dir} yet. Starting at the first step.")
    if accelerator.is_main_process:
        arguments = {"command": command, "hyper_parameters": hyperparameters}
        start_run_folder(output_dir, args.overwrite_output_dir, arguments)
    accelerator.wait_for_everyone()
    if (output_dir / "model").exists():
        accelerator.print(f"The run is complete: {output_dir / 'model'}. There is nothing to resume.")
        return
    if args.with_tracking:
        tracked = {name: str(redact_argument(value)) for name, value in run_config.items()}
        accelerator.init_trackers("greenmim_pretraining", config=tracked)

    # 4. Training
    def evaluate():
        if evaluation is not None:
            progress.log(evaluation.measure(model, accelerator))
            evaluation.save_pictures(model, accelerator, output_dir, progress.step)

    if progress.step == 0:
        evaluate()
    loader = data.make_loader(
        collator,
        batch_size,
        range(progress.step * batches_per_step, num_steps * batches_per_step),
        lanes,
        rank=accelerator.process_index,
        world_size=num_processes,
        num_workers=args.num_workers,
        pin_memory=accelerator.device.type == "cuda",
    )
    if loader_state is not None:
        loader.load_state_dict(loader_state)
    batches = progress.iterate(loader)
    bar = tqdm(total=num_steps, initial=progress.step, desc="Training", unit="step")
    with StopSignals() as signals, bar:
        progress.restart()
        while progress.step < num_steps:
            first = progress.step * batches_per_step + accelerator.process_index
            for number in range(first, first + batches_per_step, num_processes):
                batch = next(batches)
                inputs = prepare_inputs(batch["inputs"], accelerator, pretrained.teacher)
                seed_micro_batch(args.seed, number)
                with accelerator.accumulate(model):
                    outputs = model(**inputs)
                    loss = get_weighted_loss(outputs, batch["image_weights"])
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        grad_norm = accelerator.clip_grad_norm_(model.parameters(), args.max_grad_norm)
                    optimizer.step()
                    optimizer.zero_grad()
                progress.add_micro_batch(batch, loss)
            progress.add_step(grad_norm)
            if not accelerator.optimizer_step_was_skipped:
                scheduler.step()
            bar.update()

            stopped_by = signals.get_agreed()
            is_last = progress.step == num_steps
            is_stopping = stopped_by and not is_last
            is_evaluated = is_last or (progress.step % eval_steps == 0 and not is_stopping)
            is_saved = is_last or is_stopping or progress.step % args.checkpointing_steps == 0
            if is_evaluated or is_saved or progress.step % args.logging_steps == 0:
                record = progress.record(scheduler.get_last_lr()[0])
                speed = f"{record['images_per_second']:.0f} images/s"
                bar.set_postfix_str(f"epoch {batch['epochs'][-1]}, loss {record['loss']:.4f}, {speed}")
                if is_evaluated:
                    evaluate()
                if is_saved:
                    run_state = {"run_config": run_config, "progress": progress.state_dict(), "lanes": lanes}
                    checkpoints.save(progress.step, run_state, loader.state_dict() if data.is_stream else None)
                progress.restart()
            if is_stopping:
                message = f"Stopped after step {progress.step}. {checkpoints.describe_last()}"
                raise StoppedBySignal(message, stopped_by)

    # 5. Model folder
    state_dict = accelerator.get_state_dict(model)
    accelerator.end_training()
    if not accelerator.is_main_process:
        return
    trained = type(pretrained.model)(config)
    trained.load_state_dict(state_dict)
    report = PretrainingReport(
        pretrained=pretrained,
        data=data,
        settings=hyperparameters,
        hardware=hardware,
        command=command,
        images_timed=progress.images_seen,
        **progress.state_dict(),
    )
    report.write(trained, output_dir, args.hub_model_id, args.hub_private_repo)


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, RunArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
