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
"""What a run leaves: the model folder, with a card that is filled from the run."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from transformers import TrainingArguments

from .. import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from ..model_card import describe_encoder, make_model_card
from ..plotting import draw_loss_curve
from ..publish import UNKNOWN_NAME, USAGE, publish
from .command_line import UserError, get_name
from .fine_tuning_report import describe_number
from .pretraining_arguments import DataArguments, RunArguments


PACKAGES = ("torch", "transformers", "accelerate", "datasets")


@dataclass
class RunReport:
    """
    What there is to tell about a run.

    Attributes:
        data (`str`):
            Which images.
        origin (`str`):
            What the weights started from.
        hyper_parameters (`dict`):
            Name -> value.
        hardware (`str`):
            The machine.
        command (`str`):
            The command, as it was given.
        step, images_seen (`int`):
            How long it was.
        seconds (`float`):
            How long it took to train on `images_timed` images: all, or of a resumed run that did not keep the time, the last.
        history (`list[dict]`):
            Records of the training and of the evaluations.
        num_held_out (`int`):
            Number of images evaluated on.
        unreadable (`dict[str, str]`):
            Images that were dropped, and why.
        license (`dict[str, str]`):
            License of the weights, see [`make_model_card`].
    """

    data: str
    origin: str
    hyper_parameters: dict
    hardware: str
    command: str
    step: int
    images_seen: int
    images_timed: int
    seconds: float
    history: list[dict]
    num_held_out: int
    unreadable: dict[str, str]
    license: dict[str, str]

    @property
    def images_per_second(self) -> float:
        return self.images_timed / max(self.seconds, 1e-9)


def get_picture_path(output_dir: str | Path, step: int) -> Path:
    """Where the reconstructions after a step are stored."""
    return Path(output_dir) / "reconstructions" / f"step-{step:07d}.png"


def describe_data(args: DataArguments, num_train_images: int | None) -> str:
    """Which images, for the card: names, not where they are on this machine."""
    if args.data_files:
        name = "/".join(Path(args.data_files[0]).absolute().parts[-2:])
        others = f" and {len(args.data_files) - 1} other files" if len(args.data_files) > 1 else ""
    else:
        name, others = get_name(args.dataset_name or args.train_dir), ""
    return f"`{name}`{others}, {describe_number(num_train_images)}"


def summarize(report: RunReport, folder: Path, args: RunArguments | TrainingArguments) -> str:
    """What is said at the end."""
    output_dir = Path(args.output_dir)
    lines = []
    losses = [(record["step"], record["eval_loss"]) for record in report.history if "eval_loss" in record]
    if losses:
        (first_step, first), (_, last) = losses[0], losses[-1]
        when = f"after {first_step:,} steps" if first_step else "before"
        lines.append(f"Loss on held-out images: {first:.4f} {when}, {last:.4f} after {report.step:,} steps.")
    lines.append(f"Speed: {report.images_per_second:.0f} images per second, {describe_time(report)} of training.")
    if report.unreadable:
        lines.append(f"Images that could not be read: {len(report.unreadable)}, all named in metrics.json.")
    lines.append(f"Loss curve: {output_dir / 'loss_curve.png'}")
    if losses:
        lines.append(f"Pictures:   {output_dir / 'reconstructions'}")
    lines.append(
        f"Model:      {folder}, with its card; loads with AutoModel.from_pretrained({str(folder)!r}), after import modeling_greenmim."
    )
    if args.push_to_hub:
        lines.append(f"Uploaded:   https://huggingface.co/{args.hub_model_id}")
    return "\n" + "\n".join(lines)


def write_results(
    model: GreenMimForMaskedImageModeling,
    image_processor: GreenMimImageProcessorPil,
    report: RunReport,
    args: RunArguments | TrainingArguments,
) -> Path:
    """
    Writes `loss_curve.png`, `metrics.json` and the model folder into the folder of the run, and uploads the last if wanted.

    Args:
        model ([`GreenMimForMaskedImageModeling`]):
            The trained model, on the CPU.
        image_processor ([`GreenMimImageProcessorPil`]):
            Its image processor.
        report ([`RunReport`]):
            For the card and the metrics.
        args ([`RunArguments`] or [`~transformers.TrainingArguments`]):
            Where to.

    Returns:
        `Path`: the model folder.

    Raises:
        [`UserError`]: if it cannot be written or uploaded.
    """
    try:
        return _write_results(model, image_processor, report, args)
    except (HfHubHTTPError, httpx.HTTPError) as error:
        folder = Path(args.output_dir) / "model"
        raise UserError(
            f"{folder} is complete, but was not uploaded ({type(error).__name__}: {' '.join(str(error).split())}). "
            f"`hf upload {args.hub_model_id} {folder}` uploads it."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"The training is complete, and its last checkpoint is there, but the model folder is not ({error}). Mend that, "
            "and give the same command with --resume_from_checkpoint latest."
        ) from error


def _write_results(
    model: GreenMimForMaskedImageModeling,
    image_processor: GreenMimImageProcessorPil,
    report: RunReport,
    args: RunArguments | TrainingArguments,
) -> Path:
    output_dir = Path(args.output_dir)
    metrics = {
        "steps": report.step,
        "images_seen": report.images_seen,
        "seconds": report.seconds,
        "num_held_out": report.num_held_out,
        "history": report.history,
        "unreadable": report.unreadable,
    }
    (output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2))
    curve = draw_loss_curve(report.history, model.config.norm_pix_loss)
    curve.savefig(output_dir / "loss_curve.png", dpi=120)
    with tempfile.TemporaryDirectory(prefix=".new-model-", dir=output_dir) as temporary:
        folder = Path(temporary)
        model.save_pretrained(folder)
        image_processor.save_pretrained(folder)
        pictures = {
            "loss_curve.png": output_dir / "loss_curve.png",
            "reconstructions.png": get_picture_path(output_dir, report.step),
        }
        pictures = {name: path for name, path in pictures.items() if path.is_file()}
        for name, path in pictures.items():
            shutil.copy(path, folder / name)
        make_card(model, report, list(pictures), args.hub_model_id).save(folder / "README.md")
        return publish(folder, output_dir / "model", args.hub_model_id, private=args.hub_private_repo)


def describe_time(report: RunReport) -> str:
    """How long it took, and, of a part of the run alone, which."""
    seconds = report.seconds
    time = f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.0f} s"
    return time if report.images_timed == report.images_seen else f"{time} for the last {report.images_timed:,} images"


def make_card(model, report: RunReport, pictures: list[str], hub_model_id: str | None):
    """The model card of a run: every number in it was measured in the run."""
    rows = {
        "images": report.data,
        "steps": f"{report.step:,}",
        "images seen": f"{report.images_seen:,}",
        **report.hyper_parameters,
        "hardware": report.hardware,
        "time": describe_time(report),
        "software": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    titles = {
        "loss_curve.png": "Loss over the steps",
        "reconstructions.png": "Held-out images and what the model paints",
    }
    shown = "\n\n".join(f"![{titles[name]}]({name})" for name in pictures)
    provenance = (
        f"Pre-trained by masked image modeling (GreenMIM), without labels. {report.origin}\n\n| | |\n|---|---|\n{table}\n\n"
        f"The command:\n\n```bash\n{report.command}\n```\n\n{shown}"
    )
    measured = [
        f"{title} of {report.num_held_out} held-out images after {record['step']:,} steps: {record[name]:.4f}"
        for name, title in {
            "eval_loss": "Reconstruction loss (masks fixed by the seed)",
            "eval_knn_accuracy": "Accuracy of nearest neighbors (20, cosine, 5-fold cross-validation)",
        }.items()
        for record in [record for record in report.history if name in record][-1:]
    ]
    measured.append(f"Training speed on the machine above: {report.images_per_second:.0f} images per second")
    if report.unreadable:
        number = len(report.unreadable)
        measured.append(
            f"{describe_number(number)} could not be read, and {'was' if number == 1 else 'were'} dropped."
        )
    return make_model_card(
        title="GreenMIM, pre-trained",
        summary=f"A {describe_encoder(model.config)}.",
        usage=USAGE.format(name=hub_model_id or UNKNOWN_NAME),
        provenance=provenance,
        measured=measured,
        not_measured=["The accuracy of this model on any task after fine-tuning."],
        license=report.license,
    )
