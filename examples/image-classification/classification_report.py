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
"""What a fine-tuning leaves: a model folder, with a card that is filled from the run."""

import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from huggingface_hub import EvalResult
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from transformers import BaseImageProcessor, PreTrainedModel

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.checkpoint_folders import create_folder
from modeling_greenmim.model_card import describe_encoder, make_model_card
from modeling_greenmim.publish import UNKNOWN_NAME, publish, push_to_hub

from example_command import UserError


PACKAGES = ("torch", "transformers", "datasets", "accelerate", "evaluate")
USAGE = """
from transformers import pipeline

classifier = pipeline("image-classification", model="{name}"{trust})
classifier("path/to/image.jpg")
"""


@dataclass
class RunReport:
    """
    What there is to tell about a fine-tuning.

    Attributes:
        dataset_name (`str`):
            What it learned from, by name.
        eval_description (`str`):
            What it was evaluated on.
        num_train_images, num_eval_images (`int`, *optional*):
            How many, where that is known.
        origin (`str`):
            What the weights started from.
        settings (`dict`):
            Name -> value of everything that decides what is learned.
        metrics (`dict[str, float]`):
            Those of the last evaluation.
        seconds (`float`):
            How long the training took, in the last session of the run.
        device (`torch.device`):
            What it was trained on.
        num_processes (`int`):
            In how many processes.
        command (`str`):
            The command, as it was given.
        licence (`dict[str, str]`):
            Licence of the weights, see [`make_model_card`].
    """

    dataset_name: str
    eval_description: str
    num_train_images: int | None
    num_eval_images: int | None
    origin: str
    settings: dict
    metrics: dict[str, float]
    seconds: float
    device: torch.device
    num_processes: int
    command: str
    licence: dict[str, str]


def write_model_folder(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    report: RunReport,
    folder: Path,
    hub_model_id: str | None = None,
    private: bool = False,
):
    """
    Writes the model, its image processor and a card into a folder that a pipeline runs, and uploads it if it has a name on the
    Hub. With a GreenMIM model goes its code.

    Raises:
        [`UserError`]: if it cannot be written or uploaded.
    """
    is_greenmim = isinstance(model.config, GreenMimConfig)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as temporary:
            new = Path(temporary) / "model"
            model.cpu().save_pretrained(new)
            image_processor.save_pretrained(new)
            make_card(model, report, hub_model_id).save(new / "README.md")
            if is_greenmim:
                publish(new, folder, hub_model_id, private=private)
                return
            with create_folder(folder) as complete:
                shutil.copytree(new, complete, dirs_exist_ok=True)
        if hub_model_id is not None:
            push_to_hub(folder, hub_model_id, private)
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(
            f"{folder} is complete, but was not uploaded ({type(error).__name__}: {' '.join(str(error).split())}). "
            f"`hf upload {hub_model_id} {folder}` uploads it."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"The training is complete, and its last checkpoint is there, but the model folder is not ({error}). Mend that, "
            "and give the same command with --resume_from_checkpoint latest."
        ) from error


def make_card(model: PreTrainedModel, report: RunReport, hub_model_id: str | None):
    """The model card of a run: every number in it was measured in the run."""
    is_greenmim = isinstance(model.config, GreenMimConfig)
    accuracy = report.metrics["eval_accuracy"]
    rows = {
        "data": f"{report.dataset_name}, {_describe_number(report.num_train_images)}",
        "classes": model.config.num_labels,
        **report.settings,
        "hardware": _describe_hardware(report.device, report.num_processes),
        "time": f"{report.seconds:.0f} s in the last session of the run",
        "software": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    what = describe_encoder(model.config) if is_greenmim else "Swin Transformer"
    name = hub_model_id or UNKNOWN_NAME
    return make_model_card(
        title=f"{'GreenMIM' if is_greenmim else 'Swin'}, fine-tuned for image classification",
        summary=f"A {what}, with a classifier for {model.config.num_labels} classes.",
        usage=USAGE.format(name=name, trust=", trust_remote_code=True" if is_greenmim else ""),
        provenance=(
            f"Fine-tuned for image classification. {report.origin}\n\n| | |\n|---|---|\n{table}\n\n"
            f"The command:\n\n```bash\n{report.command}\n```"
        ),
        measured=[
            f"Accuracy on {_describe_number(report.num_eval_images)} of {report.eval_description}: {accuracy:.4f} (one run, seed "
            f"{report.settings['seed']})"
        ],
        not_measured=["Its accuracy on images of any other kind or origin.", "The spread over several seeds."],
        licence=report.licence,
        pipeline_tag="image-classification",
        tags=["greenmim", "image-classification"] if is_greenmim else ["image-classification"],
        model_name=hub_model_id.rpartition("/")[2] if hub_model_id else "greenmim",
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=report.dataset_name.strip("`"),
                dataset_name=report.dataset_name.strip("`"),
                metric_type="accuracy",
                metric_value=accuracy,
            )
        ],
    )


def _describe_number(number: int | None) -> str:
    return "an unknown number of images" if number is None else f"{number:,} images"


def _describe_hardware(device: torch.device, num_processes: int) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    threads = f", {torch.get_num_threads()} threads each" if device.type == "cpu" else ""
    return f"{num_processes} x {name}{threads}"
