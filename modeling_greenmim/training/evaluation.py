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
"""What is measured on the held-out images: the loss with masks that stay the same, pictures, and nearest neighbors."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from matplotlib.figure import Figure
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from .. import GreenMimForMaskedImageModeling
from ..plotting import draw_reconstructions
from .micro_batches import HeldOutImages, PretrainingCollator


NUM_PICTURES = 10
NUM_NEIGHBORS = 20
NUM_FOLDS = 5


@dataclass
class Evaluation:
    """
    Evaluates a model. Every process evaluates all images: the results are the same with any number of processes.

    Args:
        held_out ([`HeldOutImages`]):
            The images.
        collator ([`PretrainingCollator`]):
            Makes batches of them.
        batch_size (`int`):
            Images at a time.
        knn (`bool`):
            Whether to measure the accuracy of nearest neighbors.
    """

    held_out: HeldOutImages
    collator: PretrainingCollator
    batch_size: int
    knn: bool

    @torch.no_grad()
    def measure(self, model: nn.Module, accelerator: Accelerator) -> dict[str, float]:
        """Returns `eval_loss`, and `eval_knn_accuracy` if it is wanted."""
        was_training = model.training
        model.eval()
        losses, features = [], []
        for inputs in self.held_out.iterate_batches(self.collator, self.batch_size):
            inputs = send_to_device(inputs, accelerator.device)
            losses.append(model(**inputs).loss.item())
            if self.knn:
                encoder = accelerator.unwrap_model(model).greenmim
                features.append(encoder(inputs["pixel_values"]).last_hidden_state.mean(dim=1).float().cpu())
        model.train(was_training)
        weights = [min(self.batch_size, len(self.held_out.examples) - i * self.batch_size) for i in range(len(losses))]
        results = {"eval_loss": float(np.average(losses, weights=weights))}
        if self.knn:
            results["eval_knn_accuracy"] = get_knn_accuracy(torch.cat(features).numpy(), self.held_out.labels)
        return results

    @torch.no_grad()
    def draw(self, model: nn.Module, accelerator: Accelerator) -> Figure:
        """Draws the first images: original, what the encoder sees, and the reconstruction."""
        examples = HeldOutImages(self.held_out.examples[:NUM_PICTURES])
        inputs = next(examples.iterate_batches(self.collator, NUM_PICTURES))
        was_training = model.training
        outputs = model.eval()(**send_to_device(inputs, accelerator.device))
        model.train(was_training)
        rows = make_picture_rows(accelerator.unwrap_model(model), inputs["pixel_values"], outputs)
        processor = self.collator.image_processor
        mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (processor.image_mean, processor.image_std))
        rows = {title: images * std + mean for title, images in rows.items()}
        return draw_reconstructions(rows, make_note(accelerator.unwrap_model(model).config.norm_pix_loss))


def make_picture_rows(model: GreenMimForMaskedImageModeling, pixel_values: torch.Tensor, outputs) -> dict:
    """Images as they are, with the hidden units at the mean of the pixel values, and with their prediction, on the CPU."""
    outputs = send_to_device(outputs, "cpu")
    return {
        "original": pixel_values,
        "masked": model.mask_pixels(pixel_values, outputs.mask),
        "reconstruction": model.reconstruct(pixel_values, outputs),
    }


def make_note(norm_pix_loss: bool) -> str:
    """What a reader of the pictures has to know."""
    note = "Held-out images. Reconstruction: visible units from the image, hidden units as predicted"
    if norm_pix_loss:
        return note + (
            ",\nbut with their true mean and variance, taken from the image itself (norm_pix_loss): "
            "the picture shows more than the model knows."
        )
    return note + "; nothing of them is taken from the image."


def get_knn_accuracy(features: np.ndarray, labels: list) -> float:
    """
    Accuracy of nearest neighbors by cosine, weighted by their similarity, in cross-validation.

    Args:
        features (`np.ndarray` of shape `(num_images, hidden_size)`):
            Mean over the tokens of each image.
        labels (`list`):
            One label each.
    """
    num_neighbors = min(NUM_NEIGHBORS, len(labels) // 2)
    classifier = KNeighborsClassifier(num_neighbors, metric="cosine", weights="distance")
    classes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    return float(cross_val_score(classifier, features, classes, cv=NUM_FOLDS).mean())
