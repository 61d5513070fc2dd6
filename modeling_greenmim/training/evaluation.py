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
"""Evaluation on held-out images: the loss with fixed masks, reconstructions, and nearest neighbors."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn
from transformers.utils import logging

from .. import GreenMimForMaskedImageModeling
from ..frozen_teacher import Teacher
from ..plotting import draw_images
from .errors import UserError
from .micro_batches import HeldOutImages, PretrainingCollator, prepare_inputs
from .reports import get_picture_path


if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

NUM_PICTURES = 10
NUM_NEIGHBORS = 20
NUM_FOLDS = 5
NOTE = "Held-out images. Reconstruction: visible units from the image, hidden units only from the prediction."
NORMALIZED_NOTE = (
    "Held-out images. Reconstruction: visible units from the image, hidden units from the prediction,\n"
    "but with their true mean and variance, taken from the image itself (normalized_pixels): the figure shows more than the model knows."
)


@dataclass
class Evaluation:
    """Evaluates a model. Every process evaluates all images, so results do not depend on the number of processes."""

    held_out: HeldOutImages  # at least one
    collator: PretrainingCollator
    batch_size: int
    knn: bool = False  # whether to measure nearest-neighbor accuracy
    teacher: Teacher | None = None

    def __post_init__(self):
        if not self.knn:
            return
        counts = Counter(self.held_out.labels)
        if None in counts or len(counts) < 2:
            raise UserError(
                "--knn needs held-out images of at least two classes. Pass --label_column_name, or use class folders."
            )
        if (largest := max(counts.values())) < NUM_FOLDS:
            raise UserError(
                f"--knn needs at least {NUM_FOLDS} held-out images of one class, got {largest}. Raise --max_eval_samples "
                "and --train_val_split."
            )

    @torch.no_grad()
    def measure(self, model: nn.Module, accelerator: Accelerator) -> dict[str, float]:
        """Returns `eval_loss`; with a teacher, also its two parts; with `knn`, also `eval_knn_accuracy`."""
        was_training = model.training
        model.eval()
        losses, features = defaultdict(list), []
        for inputs in self.held_out.iterate_batches(self.collator, self.batch_size):
            inputs = prepare_inputs(inputs, accelerator, self.teacher)
            outputs = model(**inputs)
            parts = {"eval_loss": outputs.loss}
            if self.teacher is not None:
                parts["eval_teacher_loss"] = outputs.teacher_loss
                parts |= {"eval_reconstruction_loss": sum(part)} if (part := outputs.reconstruction_losses) else {}
            for name, loss in parts.items():
                losses[name] += len(inputs["pixel_values"]) * [loss.item()]
            if self.knn:
                encoder = accelerator.unwrap_model(model).greenmim
                features.append(encoder(inputs["pixel_values"]).last_hidden_state.mean(dim=1).float().cpu())
        model.train(was_training)
        results = {name: float(np.mean(values)) for name, values in losses.items()}
        if self.knn:
            results["eval_knn_accuracy"] = get_knn_accuracy(torch.cat(features).numpy(), self.held_out.labels)
        return results

    @torch.no_grad()
    def draw(self, model: nn.Module, accelerator: Accelerator) -> "Figure":
        """Draws the first images: original, encoder input and reconstruction."""
        examples = HeldOutImages(self.held_out.examples[:NUM_PICTURES])
        inputs = next(examples.iterate_batches(self.collator, NUM_PICTURES))
        was_training = model.training
        outputs = model.eval()(**send_to_device(inputs, accelerator.device))
        model.train(was_training)
        unwrapped, processor = accelerator.unwrap_model(model), self.collator.image_processor
        mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (processor.image_mean, processor.image_std))
        rows = make_picture_rows(unwrapped, inputs["pixel_values"], send_to_device(outputs, "cpu"))
        rows = {title: images * std + mean for title, images in rows.items()}
        return draw_images(rows, NORMALIZED_NOTE if unwrapped.config.norm_pix_loss else NOTE)

    def save_pictures(self, model: nn.Module, accelerator: Accelerator, output_dir: str | Path, step: int):
        """Saves reconstructions to a file and the trackers, in the main process; a failure is a warning. Collective."""
        bare_model = accelerator.unwrap_model(model)
        if not bare_model.get_decoders() or bare_model.reconstruction_target.to_pixels is None:
            return  # the model predicts no pixels
        figure = self.draw(model, accelerator)
        if not accelerator.is_main_process:
            return
        path = get_picture_path(output_dir, step)
        try:
            path.parent.mkdir(exist_ok=True)
            figure.savefig(path, dpi=100)
            pixels = np.asarray(PIL.Image.open(path).convert("RGB"))[None]
            for tracker in accelerator.trackers:
                if hasattr(tracker, "log_images"):
                    settings = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                    tracker.log_images({"reconstructions": pixels}, step=step, **settings)
        except OSError as error:
            logger.warning(f"Cannot write the reconstructions of step {step}: {error}")


def make_picture_rows(model: GreenMimForMaskedImageModeling, pixel_values: torch.Tensor, outputs) -> dict:
    """Images as they are, with hidden units at the mean of the pixel values, and with hidden units predicted."""
    return {
        "original": pixel_values,
        "masked": model.mask_pixels(pixel_values, outputs.mask),
        "reconstruction": model.reconstruct(pixel_values, outputs),
    }


def get_knn_accuracy(features: np.ndarray, labels: list) -> float:
    """
    Cross-validated accuracy of nearest neighbors by cosine, weighted by similarity. `features` have the shape
    `(num_images, hidden_size)`.
    """
    from sklearn.model_selection import cross_val_score  # takes seconds, which most runs do not need
    from sklearn.neighbors import KNeighborsClassifier

    num_neighbors = min(NUM_NEIGHBORS, len(labels) // 2)
    classifier = KNeighborsClassifier(num_neighbors, metric="cosine", weights="distance")
    classes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    return float(cross_val_score(classifier, features, classes, cv=NUM_FOLDS).mean())
