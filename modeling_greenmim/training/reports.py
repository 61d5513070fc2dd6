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
"""Reports of runs: the model folder, its card, whose numbers were all measured in the run, and a closing summary."""

import io
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedModel

from .. import GreenMimConfig, publish
from ..checkpoint_folders import create_folder
from ..model_card import (
    describe_encoder,
    get_encoder_config,
    has_greenmim_encoder,
    has_own_code,
    make_model_card,
    make_pipeline_usage,
    make_usage,
)
from ..planning_greenmim import get_custom_mixers
from ..plotting import draw_loss_curve
from ..redaction import redact_addresses
from .command_line import get_name
from .errors import UserError


if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .fine_tuning import FineTuningTrainer
    from .pretraining_arguments import DataArguments
    from .pretraining_setup import PretrainedModel, PretrainingData

Picture = tuple[str, bytes]  # caption, and content of the file
SOFTWARE = ("torch", "transformers", "accelerate", "datasets")


def describe_number(number: int | None) -> str:
    """Number of images, in words."""
    return "an unknown number of images" if number is None else f"{number:,} image{'' if number == 1 else 's'}"


def describe_hardware(device: torch.device, num_processes: int) -> str:
    """Hardware of the run, in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    threads = f", {torch.get_num_threads()} {'thread' if torch.get_num_threads() == 1 else 'threads'} each"
    return f"{num_processes} x {name}{threads if device.type == 'cpu' else ''}"


def describe_start(data, model, num_steps: int, images_per_step: int, hardware: str, learning_rate: float) -> str:
    """Summary to print at the start of a run."""
    return (
        f"{describe_number(data.num_train_images).capitalize()} to train on, {len(data.held_out.examples)} held out, cropped to "
        f"{' x '.join(map(str, model.config.image_height_and_width))} pixels.\n"
        f"Model of {model.num_parameters() / 1e6:.2f} M parameters with mask units of {model.config.mask_unit_size} pixels.\n"
        f"{num_steps:,} steps of {describe_number(images_per_step)}, on {hardware}, with a learning rate of up to {learning_rate:.3g}."
    )


def describe_data(args: "DataArguments", num_train_images: int | None) -> str:
    """Name of the images, without their paths on this machine, and their number."""
    name, others = get_name(args.dataset_name or args.train_dir or ""), ""
    if args.data_files:
        name = args.data_files[0]
        name = redact_addresses(name) if "://" in name else "/".join(Path(name).absolute().parts[-2:])
        others = f" and {len(args.data_files) - 1} other files" if len(args.data_files) > 1 else ""
    return f"`{name}`{others}, {describe_number(num_train_images)}"


def describe_training(sentences: str, rows: dict, command: str, pictures: dict[str, Picture]) -> str:
    """Provenance of weights for a card: sentences, a table of `rows` and software, the command, and pictures."""
    rows = rows | {"software": ", ".join(f"{name} {version(name)}" for name in SOFTWARE)}
    rows = {name: str(value).replace("|", "\\|") for name, value in rows.items()}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    shown = "".join(f"\n\n![{caption}]({name})" for name, (caption, _) in pictures.items())
    return f"{sentences}\n\n| | |\n|---|---|\n{table}\n\nThe command:\n\n```bash\n{command}\n```{shown}"


def get_picture_path(output_dir: str | Path, step: int) -> Path:
    """File of the reconstructions after a step."""
    return Path(output_dir) / "reconstructions" / f"step-{step:07d}.png"


def make_png(figure: "Figure") -> bytes:
    """Content of the PNG file of a figure."""
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    return content.getvalue()


@contextmanager
def explain_errors(folder: Path, hub_model_id: str | None) -> Iterator[None]:
    """Context manager that turns errors in writing or uploading a folder into a [`UserError`] with the remedy."""
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(
            f"{folder} is complete, but was not uploaded ({type(error).__name__}: {' '.join(str(error).split())}). "
            f"Upload it with `hf upload {hub_model_id} {folder}`."
        ) from error
    except (OSError, ValueError) as error:
        remedy = "train again: with --save_strategy no, there is no checkpoint."
        if any(folder.parent.glob("checkpoint-*")):
            remedy = "repeat the command with --resume_from_checkpoint latest: the last checkpoint is complete."
        message = f"The training is complete, but the model folder is not ({error}). Fix the cause, and {remedy}"
        raise UserError(message) from error


def check_upload(config: PreTrainedConfig, hub_model_id: str | None):
    """Raises a [`UserError`], before training, if the model could not be uploaded because of a custom token mixer."""
    if hub_model_id is None or not isinstance(config, GreenMimConfig):
        return
    try:
        publish.check_token_mixers(config)
    except ValueError as error:
        raise UserError(f"--push_to_hub: {error} Omit --push_to_hub: the run then writes this folder.") from error


def describe_condition(config: PreTrainedConfig) -> str:
    """Condition for loading a model folder with the Auto classes, in words."""
    if not has_greenmim_encoder(config):
        return ""
    names = get_custom_mixers(get_encoder_config(config))
    registered = f" and the file that registers {', '.join(map(repr, names))}" if names else ""
    return f", after import modeling_greenmim{registered}"


def keep_private(pictures: dict[str, Picture], hub_model_id: str | None, private: bool, public_pictures: bool):
    """Removes pictures of the user's images from a folder that is uploaded publicly, without `public_pictures`."""
    if hub_model_id is None or private or public_pictures:
        return
    for name in publish.PICTURES_OF_IMAGES & pictures.keys():
        del pictures[name]
        print(f"{name} shows your images. To upload it to the public {hub_model_id}, pass --public_pictures.")


def write_model_folder(
    folder: Path,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    card: ModelCard,
    pictures: dict[str, Picture],
    hub_model_id: str | None,
    private: bool,
):
    """
    Writes a model folder atomically, and uploads it to `hub_model_id`, if given. The folder of a GreenMIM model contains
    its code, unless the model has token mixers from outside the package, see [`check_upload`].
    """
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        new = Path(temporary) / "model"
        model.cpu().save_pretrained(new)
        image_processor.save_pretrained(new)
        card.save(new / "README.md")
        for name, (_, content) in pictures.items():
            (new / name).write_bytes(content)
        if has_own_code(model.config):
            publish.publish(new, folder, hub_model_id, private=private, public_pictures=True)  # already filtered
            return
        with create_folder(folder) as complete:
            shutil.copytree(new, complete, dirs_exist_ok=True)
    if hub_model_id is not None:
        publish.push_to_hub(folder, hub_model_id, private)


@dataclass
class PretrainingReport:
    """Card, metrics and summary of a pre-training run."""

    pretrained: "PretrainedModel"
    data: "PretrainingData"
    settings: dict  # the hyperparameters
    hardware: str
    command: str
    step: int
    images_seen: int
    images_timed: int  # all, or with the Trainer those of the last session
    seconds: float  # of training on `images_timed`
    history: list[dict]  # records of training and evaluations
    unreadable: dict[str, str]  # images that training skipped, and why

    def __post_init__(self):
        self.unreadable = {**self.data.images.unreadable, **self.unreadable}
        self.num_held_out = len(self.data.held_out.examples)
        self.speed = f"{self.images_timed / max(self.seconds, 1e-9):.0f} images per second"
        self.time = f"{self.seconds / 3600:.2f} h" if self.seconds >= 3600 else f"{self.seconds:.0f} s"

    def make_card(self, pictures: dict[str, Picture], hub_model_id: str | None) -> ModelCard:
        """The model card."""
        config = self.pretrained.model.config
        is_whole = self.images_timed == self.images_seen
        rows = {
            "images": describe_data(self.data.args, self.data.num_train_images),
            "steps": f"{self.step:,}",
            "images seen": f"{self.images_seen:,}",
            **self.settings,
            "mask_ratio": config.mask_ratio,
            "reconstruction_target": config.reconstruction_target,
            "hardware": self.hardware,
            "time": self.time if is_whole else f"{self.time} for the last {self.images_timed:,} images",
        }
        titles = {
            "eval_loss": "Loss (masks fixed by the seed)",
            "eval_reconstruction_loss": "Reconstruction loss",
            "eval_teacher_loss": "Teacher loss (1 minus the cosine)",
            "eval_knn_accuracy": "Accuracy of nearest neighbors (20, cosine, 5-fold cross-validation)",
        }
        measured = [
            f"{title} of {self.num_held_out} held-out images after {record['step']:,} steps: {record[name]:.4f}"
            for name, title in titles.items()
            for record in [record for record in self.history if name in record][-1:]
        ]
        measured.append(f"Training speed on the machine above: {self.speed}")
        if number := len(self.unreadable):
            were = "was" if number == 1 else "were"
            measured.append(f"{describe_number(number)} could not be read, and {were} dropped.")
        sentences = f"Pre-trained by masked image modeling (GreenMIM), without labels. {self.pretrained.origin}"
        name = hub_model_id or publish.UNKNOWN_NAME
        return make_model_card(
            title="GreenMIM, pre-trained",
            summary=f"A {describe_encoder(config)}.",
            usage=publish.USAGE.format(name=name) if has_own_code(config) else make_usage(config, name),
            provenance=describe_training(sentences, rows, self.command, pictures),
            measured=measured,
            not_measured=["The accuracy of this model on any task after fine-tuning."],
            license=self.pretrained.license,
        )

    def write(self, model: PreTrainedModel, output_dir: Path, hub_model_id: str | None, private: bool) -> Path:
        """Writes loss curve, metrics and model folder, uploads the latter to `hub_model_id`, if given; prints a summary."""
        folder = output_dir / "model"
        with explain_errors(folder, hub_model_id):
            metrics = {
                "steps": self.step,
                "images_seen": self.images_seen,
                "seconds": self.seconds,
                "num_held_out": self.num_held_out,
                "history": self.history,
                "unreadable": self.unreadable,
            }
            (output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2))
            loss_curve = make_png(draw_loss_curve(self.history, model.config.reconstruction_target))
            (output_dir / "loss_curve.png").write_bytes(loss_curve)
            pictures = {"loss_curve.png": ("Loss over the steps", loss_curve)}
            if (path := get_picture_path(output_dir, self.step)).is_file():
                pictures["reconstructions.png"] = "Held-out images and their reconstructions", path.read_bytes()
            keep_private(pictures, hub_model_id, private, self.data.args.public_pictures)
            card = self.make_card(pictures, hub_model_id)
            write_model_folder(folder, model, self.pretrained.image_processor, card, pictures, hub_model_id, private)
        self._print_summary(folder, hub_model_id)
        return folder

    def _print_summary(self, folder: Path, hub_model_id: str | None):
        print(f"\nSpeed: {self.speed}, {self.time} of training.")
        for title in ("Loss", "Reconstruction loss", "Teacher loss"):
            name = f"eval_{title.lower().replace(' ', '_')}"
            if losses := [record for record in self.history if name in record]:
                first, last = losses[0], losses[-1]
                time = f"after {first['step']:,} steps" if first["step"] else "before"
                values = f"{first[name]:.4f} {time}, {last[name]:.4f} after {self.step:,} steps"
                print(f"{title} on held-out images: {values}.")
        if (pictures := folder.parent / "reconstructions").is_dir():
            print(f"Pictures:   {pictures}")
        if self.unreadable:
            print(f"Images that could not be read: {len(self.unreadable)}, listed in metrics.json.")
        print(f"Loss curve: {folder.parent / 'loss_curve.png'}")
        call = f"AutoModel.from_pretrained({str(folder)!r})"
        condition = describe_condition(self.pretrained.model.config)
        print(f"Model:      {folder}, with its card; loads with {call}{condition}.")
        if hub_model_id is not None:
            print(f"Uploaded:   https://huggingface.co/{hub_model_id}")


@dataclass
class FineTuningReport:
    """Card and summary of a fine-tuning run."""

    trainer: "FineTuningTrainer"  # after training; its `processing_class` is the image processor
    task: str  # its name on the Hub, such as `image-classification`
    metric: str  # name on the Hub of the first result, such as `accuracy`
    model_description: str  # a sentence fragment
    origin: str  # a sentence about the starting weights
    command: str
    dataset_name: str
    eval_description: str  # of the evaluation images
    num_train_images: int | None
    num_eval_images: int | None
    results: dict[str, float]  # of the last evaluation, by their titles
    license: dict[str, str]  # see `make_model_card`
    settings: dict = field(default_factory=dict)  # other than arguments of the Trainer
    picture: "Figure | None" = None  # of some predictions

    def make_card(self, pictures: dict[str, Picture], hub_model_id: str | None) -> ModelCard:
        """The model card."""
        args, state = self.trainer.args, self.trainer.state
        settings = self.trainer.get_reported_settings()
        del settings["num_train_epochs" if args.max_steps > 0 else "max_steps"]  # the other one counts
        images_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        seconds = [record["train_runtime"] for record in state.log_history if "train_runtime" in record][-1]
        rows = {
            "data": f"{self.dataset_name}, {describe_number(self.num_train_images)}",
            "steps": f"{state.global_step:,}",
            "images seen": f"{state.global_step * images_per_step:,}",
            **settings,
            **self.settings,
            "hardware": describe_hardware(args.device, args.world_size),
            "time": f"{seconds:.0f} s in the last session of the run",
        }
        title = f"Fine-tuned for {self.task.replace('-', ' ')}"
        images = f"{describe_number(self.num_eval_images)} of {self.eval_description}"
        dataset = self.dataset_name.strip("`")
        result = EvalResult(self.task, dataset, dataset, self.metric, next(iter(self.results.values())))
        return make_model_card(
            title=title,
            summary=f"A {self.model_description}.",
            usage=make_pipeline_usage(self.trainer.model.config, self.task, hub_model_id or publish.UNKNOWN_NAME),
            provenance=describe_training(f"{title}. {self.origin}", rows, self.command, pictures),
            measured=[
                f"{name} on {images}: {value:.4f} (one run, seed {args.seed})" for name, value in self.results.items()
            ],
            not_measured=["The quality on images of any other kind or origin.", "The spread over several seeds."],
            license=self.license,
            pipeline_tag=self.task,
            tags=["greenmim", self.task],
            model_name=hub_model_id.rpartition("/")[2] if hub_model_id else "greenmim",
            eval_results=[result],
        )

    def write(self, hub_model_id: str | None):
        """Writes the model folder, uploads it to `hub_model_id`, if given, and prints a summary."""
        args, model, image_processor = self.trainer.args, self.trainer.model, self.trainer.processing_class
        folder = Path(args.output_dir) / "model"
        with explain_errors(folder, hub_model_id):
            pictures = {}
            if self.picture is not None:
                pictures["predictions.png"] = "Predictions on images of the evaluation", make_png(self.picture)
            private = bool(args.hub_private_repo)
            keep_private(pictures, hub_model_id, private, args.public_pictures)
            card = self.make_card(pictures, hub_model_id)
            write_model_folder(folder, model, image_processor, card, pictures, hub_model_id, private)
        (title, value), *_ = self.results.items()
        condition = describe_condition(model.config)
        print(f"\n{title} {value:.4f}, on {describe_number(self.num_eval_images)} of {self.eval_description}.")
        call = f"pipeline({self.task!r}, model={str(folder)!r})"
        print(f"Model: {folder}, with its card; runs with {call}{condition}.")
