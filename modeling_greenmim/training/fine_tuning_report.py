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
"""How a fine-tuning starts, and what it leaves: a model folder, with a card that is filled from the run."""

import json
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from huggingface_hub import EvalResult, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from matplotlib.figure import Figure
from transformers import BaseImageProcessor, PreTrainedModel
from transformers.integrations import get_available_reporting_integrations
from transformers.utils import logging

from ..checkpoint_folders import create_folder
from ..model_card import make_model_card
from ..publish import UNKNOWN_NAME, publish, push_to_hub
from .command_line import UserError, check_num_processes
from .fine_tuning import FineTuningArguments, FineTuningTrainer
from .trainer import find_checkpoint


PICTURE = "predictions.png"
SETTINGS_FILE = "arguments.json"
PLACES = (
    *("dataset_name", "train_dir", "validation_dir", "id2label_file"),
    *("model_name_or_path", "config_name", "image_processor_name"),
)
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "evaluate")
REPORTED_SETTINGS = (
    *("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate"),
    *("layer_decay", "weight_decay", "lr_scheduler_type", "warmup_steps", "label_smoothing_factor", "ema_decay"),
    *("max_grad_norm", "bf16", "fp16", "seed"),
)


@dataclass
class RunReport:
    """
    What there is to tell about a fine-tuning.

    Attributes:
        task (`str`):
            Its name on the Hub, such as `image-classification`.
        model_description (`str`):
            What was fine-tuned, as a part of a sentence.
        usage (`str`):
            Python code that uses the model, with `{name}` for its folder or repository.
        dataset_name (`str`):
            What it learned from, by name.
        eval_description (`str`):
            What it was evaluated on.
        num_train_images, num_eval_images (`int`, *optional*):
            How many, where that is known.
        origin (`str`):
            What the weights started from.
        settings (`dict`):
            Name -> value of what decides what is learned, beside `REPORTED_SETTINGS`.
        results (`dict[str, float]`):
            Title -> what was measured in the last evaluation.
        main_result (`tuple[str, float]`):
            Type on the Hub, such as `accuracy`, and value of the first of them.
        num_steps (`int`):
            Steps of the whole run.
        seconds (`float`):
            How long the training took, in the last session of the run.
        command (`str`):
            The command, as it was given.
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
    picture: Figure | None = None


def start_run(args: FineTuningArguments) -> tuple[str | None, str | None]:
    """
    Before anything is loaded: what can be known to go wrong.

    Returns:
        `str`, *optional*: the checkpoint to go on from; and `str`, *optional*: where to upload the model to.

    Raises:
        [`UserError`]: if processes do not train together, a run would be written over, or nothing could be logged or uploaded.
    """
    if Path(args.output_dir).exists() and not Path(args.output_dir).is_dir():
        raise UserError(f"--output_dir {args.output_dir} is a file. Give a folder.")
    if missing := set(args.report_to) - set(get_available_reporting_integrations()):
        raise UserError(
            f"--report_to {', '.join(missing)}: not installed. `pip install tensorboard` installs one that needs no account."
        )
    logging.disable_progress_bar()  # of loading and saving: that of the training is enough
    args.dataloader_pin_memory = args.dataloader_pin_memory and args.device.type != "cpu"
    check_num_processes(args.world_size)
    checkpoint = find_checkpoint(args.output_dir, args.resume_from_checkpoint)
    return checkpoint, check_hub_settings(args)


def save_or_compare_arguments(args: FineTuningArguments, checkpoint: str | None, *others):
    """
    Before the training: writes what decides its result into the folder of the run; or, where a run goes on, compares.

    Args:
        args ([`FineTuningArguments`]):
            Of the run.
        checkpoint (`str`, *optional*):
            What it goes on from.
        *others:
            Other dataclasses of arguments. What only says where something is may differ: folders are moved.

    Raises:
        [`UserError`]: if an argument is not that which the run began with.
    """
    path = Path(args.output_dir) / SETTINGS_FILE
    settings = get_reported_settings(args)
    for each in others:
        settings |= {name: value for name, value in vars(each).items() if name not in PLACES}
    if checkpoint is None:
        if args.process_index == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings, indent=2))
        return
    began_with = json.loads(path.read_text()) if path.is_file() else {}
    for name, before in began_with.items():
        if settings.get(name) != before:
            raise UserError(
                f"--{name} was {before} when this run began, and is {settings.get(name)} now: it would not go on as it began. Give "
                "the same, or another --output_dir."
            )


def check_hub_settings(args: FineTuningArguments) -> str | None:
    """
    Where to upload the model folder at the end; the Trainer shall upload nothing.

    Raises:
        [`UserError`]: if it is to be uploaded, and there is no name or no token.
    """
    push, args.push_to_hub = args.push_to_hub, False
    if push and (args.hub_model_id is None or get_token() is None):
        raise UserError("--push_to_hub needs --hub_model_id, and a token: log in (`hf auth login`), or set HF_TOKEN.")
    return args.hub_model_id if push else None


def evaluate_at_end(trainer: FineTuningTrainer, train_metrics: dict[str, float]) -> dict[str, float]:
    """The last evaluation, of the model that is kept. Prints and saves metrics, as the scripts of transformers do."""
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
    args: FineTuningArguments,
    hub_model_id: str | None,
    with_code: bool,
) -> Path:
    """
    Writes the model, its image processor and a card into a folder that a pipeline runs, and uploads it if it has a name on the
    Hub.

    Args:
        model (`PreTrainedModel`):
            The model.
        image_processor (`BaseImageProcessor`):
            Its image processor.
        report ([`RunReport`]):
            For the card.
        args ([`FineTuningArguments`]):
            Of the run.
        hub_model_id (`str`, *optional*):
            Where to upload it to.
        with_code (`bool`):
            Whether it is one of the models of this package, whose code goes with it.

    Returns:
        `Path`: the folder.

    Raises:
        [`UserError`]: if it cannot be written or uploaded.
    """
    folder, private = Path(args.output_dir) / "model", bool(args.hub_private_repo)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
            new = Path(temporary) / "model"
            model.cpu().save_pretrained(new)
            image_processor.save_pretrained(new)
            make_card(report, args, hub_model_id).save(new / "README.md")
            if report.picture is not None:
                report.picture.savefig(new / PICTURE, dpi=120)
            if with_code:
                return publish(new, folder, hub_model_id, private=private)
            with create_folder(folder) as complete:
                shutil.copytree(new, complete, dirs_exist_ok=True)
        if hub_model_id is not None:
            push_to_hub(folder, hub_model_id, private)
        return folder
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(
            f"{folder} is complete, but was not uploaded ({type(error).__name__}: {' '.join(str(error).split())}). "
            f"`hf upload {hub_model_id} {folder}` uploads it."
        ) from error
    except (OSError, ValueError) as error:
        remedy = (
            "Mend that, and give the same command with --resume_from_checkpoint latest: the last checkpoint is there."
        )
        if not any(folder.parent.glob("checkpoint-*")):
            remedy = "Mend that, and train again: --save_strategy no has left no checkpoint."
        raise UserError(f"The training is complete, but the model folder is not ({error}). {remedy}") from error


def describe_result(report: RunReport, folder: Path, is_greenmim: bool) -> str:
    """What is said at the end."""
    title, (_, value) = next(iter(report.results)), report.main_result
    condition = ", after import modeling_greenmim" if is_greenmim else ""
    return (
        f"\n{title} {value:.4f}, on {describe_number(report.num_eval_images)} of {report.eval_description}.\n"
        f"Model: {folder}, with its card; runs with pipeline({report.task!r}, model={str(folder)!r}){condition}."
    )


def make_card(report: RunReport, args: FineTuningArguments, hub_model_id: str | None) -> ModelCard:
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
        "software": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    title = report.task.replace("-", " ")
    picture = "" if report.picture is None else f"\n\n![Predictions on images of the evaluation]({PICTURE})"
    metric, value = report.main_result
    dataset = report.dataset_name.strip("`")
    return make_model_card(
        title=f"Fine-tuned for {title}",
        summary=f"A {report.model_description}.",
        usage=report.usage.format(name=hub_model_id or UNKNOWN_NAME),
        provenance=(
            f"Fine-tuned for {title}. {report.origin}\n\n| | |\n|---|---|\n{table}\n\nThe command:\n\n"
            f"```bash\n{report.command}\n```{picture}"
        ),
        measured=[
            f"{title} on {describe_number(report.num_eval_images)} of {report.eval_description}: {value:.4f} (one run, seed "
            f"{args.seed})"
            for title, value in report.results.items()
        ],
        not_measured=["What it is worth on images of any other kind or origin.", "The spread over several seeds."],
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


def get_reported_settings(args: FineTuningArguments) -> dict:
    """The `REPORTED_SETTINGS`, as JSON knows them."""
    settings = {name: getattr(args, name) for name in REPORTED_SETTINGS}
    return settings | {"lr_scheduler_type": args.lr_scheduler_type.value}


def describe_number(number: int | None) -> str:
    """How many images."""
    if number is None:
        return "an unknown number of images"
    return f"{number:,} image{'' if number == 1 else 's'}"


def describe_hardware(device: torch.device, num_processes: int) -> str:
    """The machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    threads = f", {torch.get_num_threads()} threads each" if device.type == "cpu" else ""
    return f"{num_processes} x {name}{threads}"
