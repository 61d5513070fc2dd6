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
"""Reports of runs: the model folder with its card, and for pre-training the metrics, the loss curve and the closing summary."""

import io
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from huggingface_hub import ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from transformers import BaseImageProcessor, PreTrainedModel, TrainingArguments

from .. import publish
from ..checkpoint_folders import create_folder
from ..model_card import describe_encoder, make_model_card
from ..plotting import draw_loss_curve
from .command_line import get_name
from .errors import UserError


if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .pretraining_arguments import DataArguments
    from .pretraining_data import PretrainingData
    from .pretraining_model import PretrainedModel

PACKAGES = ("torch", "transformers", "accelerate", "datasets")


def check_hub_settings(args: TrainingArguments) -> str | None:
    """
    The repository to upload the model folder to, at the end: the Trainer uploads nothing.

    Raises:
        [`UserError`]: if an upload is wanted, and there is no name or no token.
    """
    push, args.push_to_hub = args.push_to_hub, False
    if push and (args.hub_model_id is None or get_token() is None):
        raise UserError("--push_to_hub needs --hub_model_id, and a token: log in (`hf auth login`), or set HF_TOKEN.")
    return args.hub_model_id if push else None


def describe_number(number: int | None) -> str:
    """A number of images."""
    if number is None:
        return "an unknown number of images"
    return f"{number:,} image{'' if number == 1 else 's'}"


def describe_hardware(device: torch.device, num_processes: int) -> str:
    """The machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    threads = f", {torch.get_num_threads()} threads each" if device.type == "cpu" else ""
    return f"{num_processes} x {name}{threads}"


def describe_training(sentences: str, rows: dict, command: str, pictures: dict[str, str]) -> str:
    """
    How weights came about, for a card.

    Args:
        sentences, command (`str`):
            The task and what the weights started from; and the command of the run.
        rows (`dict`), pictures (`dict[str, str]`):
            Name -> value of everything in the table, where the software is added; and name of the file -> caption.
    """
    rows = rows | {"software": ", ".join(f"{name} {version(name)}" for name in PACKAGES)}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    shown = "".join(f"\n\n![{caption}]({name})" for name, caption in pictures.items())
    return f"{sentences}\n\n| | |\n|---|---|\n{table}\n\nThe command:\n\n```bash\n{command}\n```{shown}"


def get_picture_path(output_dir: str | Path, step: int) -> Path:
    """The file of the reconstructions after a step."""
    return Path(output_dir) / "reconstructions" / f"step-{step:07d}.png"


def make_png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    return content.getvalue()


@contextmanager
def explain_errors(folder: Path, hub_model_id: str | None) -> Iterator[None]:
    """A context in which a model folder is written and uploaded; raises a [`UserError`] with the remedy if one fails."""
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(
            f"{folder} is complete, but was not uploaded ({type(error).__name__}: {' '.join(str(error).split())}). "
            f"`hf upload {hub_model_id} {folder}` uploads it."
        ) from error
    except (OSError, ValueError) as error:
        remedy = "run the same command with --resume_from_checkpoint latest: the last checkpoint is whole."
        if not any(folder.parent.glob("checkpoint-*")):
            remedy = "train again: --save_strategy no has left no checkpoint."
        raise UserError(
            f"The training is complete, but the model folder is not ({error}). Fix that, and {remedy}"
        ) from error


def write_folder(
    folder: Path,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    card: ModelCard,
    pictures: dict[str, bytes],
    hub_model_id: str | None,
    private: bool,
    with_code: bool = True,
) -> Path:
    """
    Writes a model folder, whole or not at all, and uploads it if it has a name on the Hub.

    Args:
        folder (`Path`):
            The folder.
        model (`PreTrainedModel`), image_processor (`BaseImageProcessor`), card (`ModelCard`):
            Its content.
        pictures (`dict[str, bytes]`):
            Name of the file -> content.
        hub_model_id (`str`, *optional*), private (`bool`):
            See [`push_to_hub`].
        with_code (`bool`, *optional*, defaults to `True`):
            Whether the model is one of this package, whose code is copied into the folder.

    Returns:
        `Path`: the folder.
    """
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
        new = Path(temporary) / "model"
        model.cpu().save_pretrained(new)
        image_processor.save_pretrained(new)
        card.save(new / "README.md")
        for name, content in pictures.items():
            (new / name).write_bytes(content)
        if with_code:
            return publish.publish(new, folder, hub_model_id, private=private)
        with create_folder(folder) as complete:
            shutil.copytree(new, complete, dirs_exist_ok=True)
    if hub_model_id is not None:
        publish.push_to_hub(folder, hub_model_id, private)
    return folder


@dataclass
class PretrainingReport:
    """
    A pre-training run, for its card, its metrics and its summary.

    Attributes:
        pretrained ([`PretrainedModel`]):
            What it started from.
        data ([`PretrainingData`]):
            The images.
        settings (`dict`):
            Name -> value of the hyperparameters.
        hardware, command (`str`):
            The machine, and the command.
        step, images_seen (`int`):
            Length of the run.
        images_timed (`int`), seconds (`float`):
            Number of images, and duration of training on them: all, or with the Trainer those of the last session.
        history (`list[dict]`):
            Records of training and evaluations.
        unreadable (`dict[str, str]`):
            Images that were dropped in training, and why.
    """

    pretrained: "PretrainedModel"
    data: "PretrainingData"
    settings: dict
    hardware: str
    command: str
    step: int
    images_seen: int
    images_timed: int
    seconds: float
    history: list[dict]
    unreadable: dict[str, str]

    def __post_init__(self):
        self.unreadable = {**self.data.images.unreadable, **self.unreadable}
        self.speed = f"{self.images_timed / max(self.seconds, 1e-9):.0f} images per second"
        self.time = f"{self.seconds / 3600:.2f} h" if self.seconds >= 3600 else f"{self.seconds:.0f} s"

    def make_card(self, pictures: dict[str, str], hub_model_id: str | None) -> ModelCard:
        """The model card: every number in it was measured in the run."""
        config, num_held_out = self.pretrained.model.config, len(self.data.held_out.examples)
        is_whole = self.images_timed == self.images_seen
        rows = {
            "images": describe_data(self.data.args, self.data.num_train_images),
            "steps": f"{self.step:,}",
            "images seen": f"{self.images_seen:,}",
            **self.settings,
            "mask_ratio": config.mask_ratio,
            "norm_pix_loss": config.norm_pix_loss,
            "hardware": self.hardware,
            "time": self.time if is_whole else f"{self.time} for the last {self.images_timed:,} images",
        }
        measured = [
            f"{title} of {num_held_out} held-out images after {record['step']:,} steps: {record[name]:.4f}"
            for name, title in {
                "eval_loss": "Reconstruction loss (masks fixed by the seed)",
                "eval_knn_accuracy": "Accuracy of nearest neighbors (20, cosine, 5-fold cross-validation)",
            }.items()
            for record in [record for record in self.history if name in record][-1:]
        ]
        measured.append(f"Training speed on the machine above: {self.speed}")
        if number := len(self.unreadable):
            were = "was" if number == 1 else "were"
            measured.append(f"{describe_number(number)} could not be read, and {were} dropped.")
        sentences = f"Pre-trained by masked image modeling (GreenMIM), without labels. {self.pretrained.origin}"
        return make_model_card(
            title="GreenMIM, pre-trained",
            summary=f"A {describe_encoder(config)}.",
            usage=publish.USAGE.format(name=hub_model_id or publish.UNKNOWN_NAME),
            provenance=describe_training(sentences, rows, self.command, pictures),
            measured=measured,
            not_measured=["The accuracy of this model on any task after fine-tuning."],
            license=self.pretrained.license,
        )

    def write(self, model: PreTrainedModel, output_dir: Path, hub_model_id: str | None, private: bool) -> Path:
        """
        Writes `loss_curve.png`, `metrics.json` and the folder of the trained model, and uploads the last if it has a name on the Hub.
        Prints a summary. Raises a [`UserError`] if it cannot be written or uploaded.
        """
        folder = output_dir / "model"
        with explain_errors(folder, hub_model_id):
            metrics = {
                "steps": self.step,
                "images_seen": self.images_seen,
                "seconds": self.seconds,
                "num_held_out": len(self.data.held_out.examples),
                "history": self.history,
                "unreadable": self.unreadable,
            }
            (output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2))
            pictures = {"loss_curve.png": make_png(draw_loss_curve(self.history, model.config.norm_pix_loss))}
            (output_dir / "loss_curve.png").write_bytes(pictures["loss_curve.png"])
            captions = {"loss_curve.png": "Loss over the steps"}
            if (path := get_picture_path(output_dir, self.step)).is_file():
                pictures["reconstructions.png"] = path.read_bytes()
                captions["reconstructions.png"] = "Held-out images and their reconstructions"
            card = self.make_card(captions, hub_model_id)
            write_folder(folder, model, self.pretrained.image_processor, card, pictures, hub_model_id, private)
        print(self._summarize(output_dir, folder, hub_model_id))
        return folder

    def _summarize(self, output_dir: Path, folder: Path, hub_model_id: str | None) -> str:
        lines = [""]
        losses = [(record["step"], record["eval_loss"]) for record in self.history if "eval_loss" in record]
        if losses:
            (first_step, first), (_, last) = losses[0], losses[-1]
            time = f"after {first_step:,} steps" if first_step else "before"
            lines.append(f"Loss on held-out images: {first:.4f} {time}, {last:.4f} after {self.step:,} steps.")
        lines.append(f"Speed: {self.speed}, {self.time} of training.")
        if self.unreadable:
            lines.append(f"Images that could not be read: {len(self.unreadable)}, all named in metrics.json.")
        lines.append(f"Loss curve: {output_dir / 'loss_curve.png'}")
        if losses:
            lines.append(f"Pictures:   {output_dir / 'reconstructions'}")
        lines.append(
            f"Model:      {folder}, with its card; loads with AutoModel.from_pretrained({str(folder)!r}), after import modeling_greenmim."
        )
        if hub_model_id is not None:
            lines.append(f"Uploaded:   https://huggingface.co/{hub_model_id}")
        return "\n".join(lines)


def describe_data(args: "DataArguments", num_train_images: int | None) -> str:
    """Names of the images, without their paths on this machine, and their number."""
    if args.data_files:
        name = "/".join(Path(args.data_files[0]).absolute().parts[-2:])
        others = f" and {len(args.data_files) - 1} other files" if len(args.data_files) > 1 else ""
    else:
        name, others = get_name(args.dataset_name or args.train_dir), ""
    return f"`{name}`{others}, {describe_number(num_train_images)}"
