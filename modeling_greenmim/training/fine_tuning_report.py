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
"""The beginning and the end of a fine-tuning run: checks before anything is loaded, and the model folder with its card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import EvalResult, ModelCard
from transformers import BaseImageProcessor, PreTrainedModel
from transformers.integrations import get_available_reporting_integrations
from transformers.utils import logging

from ..model_card import make_model_card
from ..publish import UNKNOWN_NAME
from .command_line import check_num_processes
from .errors import UserError
from .reports import (
    check_hub_settings,
    describe_hardware,
    describe_number,
    describe_training,
    explain_errors,
    make_png,
    write_folder,
)
from .trainer import find_checkpoint


if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .fine_tuning import FineTuningArguments, FineTuningTrainer

PICTURE = "predictions.png"
SETTINGS_FILE = "arguments.json"
# fmt: off
PLACES = (
    "dataset_name", "train_dir", "validation_dir", "id2label_file",
    "model_name_or_path", "config_name", "image_processor_name",
)
REPORTED_SETTINGS = (
    "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
    "layer_decay", "weight_decay", "lr_scheduler_type", "warmup_steps", "label_smoothing_factor", "ema_decay",
    "max_grad_norm", "bf16", "fp16", "seed",
)
# fmt: on


@dataclass
class RunReport:
    """
    A fine-tuning run, for its card and its summary.

    Attributes:
        task (`str`):
            Its name on the Hub, such as `image-classification`.
        model_description (`str`):
            The model, as a part of a sentence.
        usage (`str`):
            Python code that uses the model, with `{name}` for its folder or repository.
        dataset_name (`str`):
            Name of the training data.
        eval_description (`str`):
            The evaluation data.
        num_train_images, num_eval_images (`int`, *optional*):
            Their numbers, where they are known.
        origin (`str`):
            A sentence on what the weights started from.
        settings (`dict`):
            Name -> value of hyperparameters that are not among `REPORTED_SETTINGS`.
        results (`dict[str, float]`):
            Title -> result of the last evaluation.
        main_result (`tuple[str, float]`):
            Type on the Hub, such as `accuracy`, and value of the first of them.
        num_steps (`int`):
            Steps of the whole run.
        seconds (`float`):
            Duration of the training, in the last session of the run.
        command (`str`):
            The command.
        license (`dict[str, str]`):
            License of the weights, see [`make_model_card`].
        picture (`Figure`, *optional*):
            Of some predictions.
    """

    task: str
    model_description: str
    usage: str
    dataset_name: str
    eval_description: str
    num_train_images: int | None
    num_eval_images: int | None
    origin: str
    settings: dict
    results: dict[str, float]
    main_result: tuple[str, float]
    num_steps: int
    seconds: float
    command: str
    license: dict[str, str]
    picture: "Figure | None" = None


def start_run(args: "FineTuningArguments") -> tuple[str | None, str | None]:
    """
    Checks the settings of a run before anything is loaded.

    Returns:
        `str`, *optional*: the checkpoint to resume from; and `str`, *optional*: the repository to upload the model to.

    Raises:
        [`UserError`]: if processes do not train together, a run would be written over, or nothing could be logged or uploaded.
    """
    if Path(args.output_dir).exists() and not Path(args.output_dir).is_dir():
        raise UserError(f"--output_dir must be a folder, got {args.output_dir}, which is a file.")
    if missing := set(args.report_to) - set(get_available_reporting_integrations()):
        raise UserError(
            f"--report_to {', '.join(missing)}: not installed. `pip install tensorboard` installs one that needs no account."
        )
    logging.disable_progress_bar()  # of loading and saving
    args.dataloader_pin_memory = args.dataloader_pin_memory and args.device.type != "cpu"
    check_num_processes(args.world_size)
    checkpoint = find_checkpoint(args.output_dir, args.resume_from_checkpoint)
    return checkpoint, check_hub_settings(args)


def save_or_compare_arguments(args: "FineTuningArguments", checkpoint: str | None, *others):
    """
    Writes the settings into the folder of a new run, or compares those of a resumed run.

    Args:
        args ([`FineTuningArguments`]):
            Of the run.
        checkpoint (`str`, *optional*):
            The checkpoint that it resumes from.
        *others:
            Other dataclasses of arguments. Paths may differ: folders are moved.

    Raises:
        [`UserError`]: if a setting differs from that of the run.
    """
    path = Path(args.output_dir) / SETTINGS_FILE
    settings = get_reported_settings(args)
    for arguments in others:
        settings |= {name: value for name, value in vars(arguments).items() if name not in PLACES}
    if checkpoint is None:
        if args.process_index == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings, indent=2))
        return
    saved = json.loads(path.read_text()) if path.is_file() else {}
    for name, value in saved.items():
        if settings.get(name) != value:
            raise UserError(
                f"--{name} must be {value}, as when this run started, got {settings.get(name)}. Give the same value, or a different "
                "--output_dir."
            )


def evaluate_at_end(trainer: "FineTuningTrainer", train_metrics: dict[str, float]) -> dict[str, float]:
    """Evaluates the final model. Prints and saves metrics, as the scripts of transformers do."""
    trainer.keep_average()
    eval_metrics = trainer.evaluate()
    for split, metrics in (("train", train_metrics), ("eval", eval_metrics)):
        trainer.log_metrics(split, metrics)
        trainer.save_metrics(split, metrics)
    return eval_metrics


def write_model_folder(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    report: RunReport,
    args: "FineTuningArguments",
    hub_model_id: str | None,
    with_code: bool,
) -> Path:
    """
    Writes the model folder of a run, which a pipeline runs, with its card, and uploads it if it has a name on the Hub.

    Args:
        model, image_processor, hub_model_id, with_code:
            See [`write_folder`].
        report ([`RunReport`]), args ([`FineTuningArguments`]):
            Of the run, for the card.

    Returns:
        `Path`: the folder.

    Raises:
        [`UserError`]: if it cannot be written or uploaded.
    """
    folder = Path(args.output_dir) / "model"
    with explain_errors(folder, hub_model_id):
        card = make_card(report, args, hub_model_id)
        pictures = {} if report.picture is None else {PICTURE: make_png(report.picture)}
        private = bool(args.hub_private_repo)
        return write_folder(folder, model, image_processor, card, pictures, hub_model_id, private, with_code)


def describe_result(report: RunReport, folder: Path, is_greenmim: bool) -> str:
    """The summary at the end of a run."""
    title, (_, value) = next(iter(report.results)), report.main_result
    condition = ", after import modeling_greenmim" if is_greenmim else ""
    return (
        f"\n{title} {value:.4f}, on {describe_number(report.num_eval_images)} of {report.eval_description}.\n"
        f"Model: {folder}, with its card; runs with pipeline({report.task!r}, model={str(folder)!r}){condition}."
    )


def make_card(report: RunReport, args: "FineTuningArguments", hub_model_id: str | None) -> ModelCard:
    """The model card of a run: every number in it was measured in the run."""
    settings = get_reported_settings(args)
    del settings["num_train_epochs" if args.max_steps > 0 else "max_steps"]  # the other one counts
    rows = {
        "data": f"{report.dataset_name}, {describe_number(report.num_train_images)}",
        "steps": f"{report.num_steps:,}",
        "images seen": f"{report.num_steps * args.train_batch_size * args.gradient_accumulation_steps * args.world_size:,}",
        **settings,
        **report.settings,
        "hardware": describe_hardware(args.device, args.world_size),
        "time": f"{report.seconds:.0f} s in the last session of the run",
    }
    title = report.task.replace("-", " ")
    pictures = {} if report.picture is None else {PICTURE: "Predictions on images of the evaluation"}
    metric, value = report.main_result
    dataset = report.dataset_name.strip("`")
    return make_model_card(
        title=f"Fine-tuned for {title}",
        summary=f"A {report.model_description}.",
        usage=report.usage.format(name=hub_model_id or UNKNOWN_NAME),
        provenance=describe_training(f"Fine-tuned for {title}. {report.origin}", rows, report.command, pictures),
        measured=[
            f"{title} on {describe_number(report.num_eval_images)} of {report.eval_description}: {value:.4f} (one run, seed "
            f"{args.seed})"
            for title, value in report.results.items()
        ],
        not_measured=["The quality on images of any other kind or origin.", "The spread over several seeds."],
        license=report.license,
        pipeline_tag=report.task,
        tags=["greenmim", report.task],
        model_name=hub_model_id.rpartition("/")[2] if hub_model_id else "greenmim",
        eval_results=[
            EvalResult(
                task_type=report.task,
                dataset_type=dataset,
                dataset_name=dataset,
                metric_type=metric,
                metric_value=value,
            )
        ],
    )


def get_reported_settings(args: "FineTuningArguments") -> dict:
    """The `REPORTED_SETTINGS`, with values that JSON knows."""
    settings = {name: getattr(args, name) for name in REPORTED_SETTINGS}
    return settings | {"lr_scheduler_type": args.lr_scheduler_type.value}
