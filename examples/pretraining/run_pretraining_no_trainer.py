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
"""Pre-trains a GreenMIM model on images without labels, on one device or many, in runs that can be stopped at any time.

On one device, and on all of a machine:

    python run_pretraining_no_trainer.py --train_dir path/to/images --output_dir my_run --num_train_epochs 100
    accelerate launch run_pretraining_no_trainer.py --train_dir path/to/images --output_dir my_run --mixed_precision bf16

After Ctrl-C, or whatever ended it, the same command with `--resume_from_checkpoint latest` goes on with the very images,
masks and weights that would have been next. At the end, `my_run/model` loads with `AutoModel.from_pretrained`, after `import modeling_greenmim`.
"""

import json
import math
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import datasets
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, ProjectConfiguration, set_seed
from huggingface_hub import get_token
from transformers.utils import logging

from modeling_greenmim.training.checkpoints import check_same_run_config
from modeling_greenmim.training.command_line import UserError, check_num_processes, run_command
from modeling_greenmim.training.evaluation import NUM_FOLDS
from modeling_greenmim.training.fine_tuning_report import describe_hardware, describe_number
from modeling_greenmim.training.micro_batches import HeldOutImages
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments, RunArguments
from modeling_greenmim.training.pretraining_data import PretrainingData, open_data
from modeling_greenmim.training.pretraining_model import PretrainedModel, make_pretrained_model
from modeling_greenmim.training.pretraining_report import (
    RunReport,
    describe_data,
    summarize,
    write_results,
)
from modeling_greenmim.training.run_lock import lock_run

from pretraining_run import NUM_NAMED_UNREADABLE, PretrainingRun, Schedule, make_schedule


ARGUMENTS_FILE = "arguments.json"
# what a run writes into its folder beside it
RESULTS = ("checkpoint-*", "reconstructions", "logs", "model", "metrics.json", "loss_curve.png")
# what decides, beside the configuration of the model, which images, masks and weights come next
RUN_CONFIG_SETTINGS = (
    *(
        "min_crop_scale",
        "flip",
        "mask_sampler",
        "mask_per_sample",
        "seed",
        "max_train_steps",
        "num_warmup_steps",
        "max_pixels",
    ),
    *(
        "learning_rate",
        "lr_scheduler_type",
        "weight_decay",
        "adam_beta1",
        "adam_beta2",
        "max_grad_norm",
        "allow_external_files",
    ),
)
# the same images in a step may be divided in another way when a run is resumed, but for those of a stream
DIVISION_SETTINGS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_workers",
    "shuffle_buffer_size",
)


def prepare_output_dir(args: RunArguments, accelerator: Accelerator) -> TextIO | None:
    """
    Makes and locks the folder of the run, and finds out now, not after the training, whether files can be written there. Returns the
    lock of the main process, see [`lock_run`].
    """
    output_dir = Path(args.output_dir)
    found = [path.name for pattern in RESULTS for path in output_dir.glob(pattern)]
    if found and not (output_dir / ARGUMENTS_FILE).is_file():
        raise UserError(
            f"--output_dir {output_dir} has a {found[0]!r} that is of no run of this script. Choose another folder."
        )
    if found and not args.overwrite_output_dir and not args.resume_from_checkpoint:
        raise UserError(
            f"--output_dir {output_dir} holds a run already. Go on with it: --resume_from_checkpoint latest. Discard it: "
            "--overwrite_output_dir. Or choose another folder."
        )
    accelerator.wait_for_everyone()  # all have looked before one writes
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir) as file:
            file.write(b"0")
    except OSError as error:
        raise UserError(f"Cannot write to --output_dir {output_dir}: {error}") from error
    return lock_run(output_dir) if accelerator.is_main_process else None


def begin_output(args: RunArguments, accelerator: Accelerator, hyper_parameters: dict, command: str):
    """
    Removes what an earlier run has written, if that is wanted, and nothing else; and leaves a mark that the folder is of a run.
    Late, when all that can be wrong with the arguments has been looked at.
    """
    output_dir = Path(args.output_dir)
    if accelerator.is_main_process:
        if args.overwrite_output_dir:
            for path in [path for pattern in RESULTS for path in output_dir.glob(pattern)]:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        content = {"command": command, "hyper_parameters": hyper_parameters}
        (output_dir / ARGUMENTS_FILE).write_text(json.dumps(content, indent=2))
    accelerator.wait_for_everyone()


def make_accelerator(args: RunArguments) -> Accelerator:
    """One for the devices of this run, with its trackers."""
    try:
        accelerator = Accelerator(
            mixed_precision=args.mixed_precision,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            # else several processes on a CPU would not know of each other
            cpu=not torch.accelerator.is_available(),
            log_with=args.report_to if args.with_tracking else None,
            project_config=ProjectConfiguration(args.output_dir, logging_dir=str(Path(args.output_dir) / "logs")),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    check_num_processes(accelerator.num_processes)
    if args.with_tracking and not accelerator.log_with:
        raise UserError(
            f"--with_tracking: {args.report_to} is not installed. `pip install tensorboard` installs one that needs no account."
        )
    if args.push_to_hub and get_token() is None:
        raise UserError("--push_to_hub: there is no token to upload with. Log in (`hf auth login`), or set HF_TOKEN.")
    if args.knn and accelerator.distributed_type == DistributedType.FSDP:
        raise UserError("--knn needs the whole model in each process, which FSDP does not keep.")
    return accelerator


def check_labels(args: RunArguments, held_out: HeldOutImages):
    """Raises an error if --knn has no labels to work with."""
    if not args.knn:
        return
    counts = Counter(held_out.labels)
    if None in counts or len(counts) < 2:
        raise UserError(
            "--knn needs held-out images with labels of at least two kinds: --label_column_name, or a folder for each class."
        )
    if max(counts.values()) < NUM_FOLDS:
        raise UserError(
            f"--knn needs {NUM_FOLDS} held-out images of a class, but there are {max(counts.values())}: raise --max_eval_samples "
            "and --train_val_split."
        )


def get_hyper_parameters(
    data_args: DataArguments,
    model_args: ModelArguments,
    args: RunArguments,
    schedule: Schedule,
    accelerator: Accelerator,
) -> dict:
    """Settings that decide what is learned, beside those of the model."""
    settings = asdict(data_args) | asdict(model_args) | asdict(args) | asdict(schedule)
    return {
        **{name: settings[name] for name in (*RUN_CONFIG_SETTINGS, *DIVISION_SETTINGS)},
        "mixed_precision": accelerator.mixed_precision,
        "num_processes": accelerator.num_processes,
    }


def get_run_config(hyper_parameters: dict, start: PretrainedModel, data: PretrainingData) -> dict:
    """Everything that decides which images, masks and weights come next: a run is resumed with the same alone."""
    config = start.model.config.to_dict()
    config = {name: config[name] for name in config.keys() - {"transformers_version", "_name_or_path"}}
    divided = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_processes")
    images_per_step = math.prod(hyper_parameters[name] for name in divided)
    if not data.is_stream:
        names = {*DIVISION_SETTINGS, "num_processes"}
        if not hyper_parameters["mask_per_sample"]:
            names.remove("per_device_train_batch_size")  # images that share a mask
        hyper_parameters = {name: value for name, value in hyper_parameters.items() if name not in names}
    run_config = {
        "streaming": data.is_stream,
        **hyper_parameters,
        **config,
        "images in a step": images_per_step,
        "image_mean": start.image_processor.image_mean,
        "image_std": start.image_processor.image_std,
        **data.images.checksums,
        "held-out images (checksum)": sum(data.held_out.checksums) % 2**32,
    }
    return json.loads(json.dumps(run_config))  # as it will be read again


def run(data_args: DataArguments, model_args: ModelArguments, args: RunArguments, command: str):
    """A run from top to bottom."""
    accelerator = make_accelerator(args)
    output_dir = Path(args.output_dir)
    lock = prepare_output_dir(args, accelerator)  # noqa: F841 - held until the end
    # one progress bar is enough: that of the training
    datasets.disable_progress_bars()
    logging.disable_progress_bar()

    # 1. model and images
    start = make_pretrained_model(model_args, args.seed)
    license = get_license(args, start)
    config = start.model.config
    data = open_data(data_args, config, args.seed)
    check_labels(args, data.held_out)
    images_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * accelerator.num_processes
    schedule = make_schedule(args, images_per_step, data.num_train_images)
    hardware = describe_hardware(accelerator.device, accelerator.num_processes)
    accelerator.print(
        f"{describe_number(data.num_train_images).capitalize()} to train on, {len(data.held_out.examples)} held out, cropped to "
        f"{' x '.join(map(str, config.image_height_and_width))} pixels.\n"
        f"Model of {start.model.num_parameters() / 1e6:.2f} M parameters with mask units of {config.mask_unit_size} pixels.\n"
        f"{schedule.max_train_steps:,} steps of {images_per_step} images, on {hardware}, with a learning rate of up to {schedule.learning_rate:.3g}."
    )

    # 2. training
    hyper_parameters = get_hyper_parameters(data_args, model_args, args, schedule, accelerator)
    set_seed(args.seed, device_specific=True)
    run_config = get_run_config(hyper_parameters, start, data)
    check_same_run_config(run_config)
    for name, reason in list(data.images.unreadable.items())[:NUM_NAMED_UNREADABLE]:
        accelerator.print(f"Skipped {name} ({reason})", file=sys.stderr)
    pretraining = PretrainingRun(accelerator, start, data, schedule, model_args, args)
    pretraining.start_or_resume(run_config)
    begin_output(args, accelerator, hyper_parameters, command)
    if (output_dir / "model").exists():
        accelerator.print(f"The run is complete: {output_dir / 'model'}. There is nothing to resume.")
        return
    if args.with_tracking:
        accelerator.init_trackers(
            "greenmim_pretraining", config={name: str(value) for name, value in run_config.items()}
        )
    pretraining.train()

    # 3. the model
    state_dict = accelerator.get_state_dict(pretraining.model)
    accelerator.end_training()
    if not accelerator.is_main_process:
        return
    progress = pretraining.progress
    report = RunReport(
        data=describe_data(data_args, data.num_train_images),
        origin=start.origin,
        hyper_parameters={**hyper_parameters, "mask_ratio": config.mask_ratio, "norm_pix_loss": config.norm_pix_loss},
        hardware=hardware,
        command=command,
        step=progress.step,
        images_seen=progress.images_seen,
        images_timed=progress.images_seen,
        seconds=progress.seconds,
        history=progress.history,
        num_held_out=len(data.held_out.examples),
        unreadable={**data.images.unreadable, **pretraining.unreadable},
        license=license,
    )
    model = type(start.model)(config)
    model.load_state_dict(state_dict)
    folder = write_results(model, start.image_processor, report, args)
    print(summarize(report, folder, args))


def get_license(args: RunArguments, start: PretrainedModel) -> dict[str, str]:
    """That of the weights it started from, which is not changed by training; else the one that is asked for."""
    stated = start.license.get("license")
    if args.license and stated and stated != args.license:
        raise UserError(
            f"The weights that it starts from are under {stated!r}: --license {args.license} would contradict. Leave it out."
        )
    return start.license or ({"license": args.license} if args.license else {})


def main(arguments: Sequence[str] | None = None, command: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, RunArguments), __doc__, arguments, command)


if __name__ == "__main__":
    main()
