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
"""Pictures of what was segmented, with matplotlib."""

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from transformers import UperNetForSemanticSegmentation

from segmentation_data import IGNORED, EvaluationPairs


NUM_IMAGES = 6
NUM_COLORS = 20
IGNORED_COLOR = (1.0, 1.0, 1.0)


@torch.no_grad()
def draw_segmentations(model: UperNetForSemanticSegmentation, pairs: EvaluationPairs) -> Figure:
    """
    Draws the first images of an evaluation, their classes, and those that a model predicts: a row for each.

    Args:
        model (`UperNetForSemanticSegmentation`):
            The model.
        pairs ([`EvaluationPairs`]):
            The images.
    """
    model.eval()
    number = min(NUM_IMAGES, len(pairs))
    figure = Figure(figsize=(1.6 * number, 5.6), layout="constrained")
    grid = figure.subplots(3, number, squeeze=False)
    seen = set()
    for index, axes_of_image in enumerate(grid.T):
        pixels, labels, _ = pairs.reader(pairs.rows[index], index)
        pixel_values = pairs[index]["pixel_values"][None].to(model.device)
        predicted = model(pixel_values=pixel_values).logits[0].argmax(dim=0).cpu().numpy()
        seen |= {*np.unique(labels), *np.unique(predicted)} - {IGNORED}
        for axes, picture in zip(axes_of_image, (pixels, color_classes(labels), color_classes(predicted))):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[:, 0], ("image", "true", "predicted")):
        axes.set_ylabel(title)
    patches = [
        Patch(color=_get_colors()[label % NUM_COLORS], label=model.config.id2label[label]) for label in sorted(seen)
    ]
    figure.legend(handles=patches[:NUM_COLORS], loc="outside lower center", ncols=11, fontsize=8, frameon=False)
    return figure


def color_classes(labels: np.ndarray) -> np.ndarray:
    """`(height, width)` of classes to `(height, width, 3)` of colors from 0 to 1, white where no class counts."""
    return np.where((labels == IGNORED)[:, :, None], IGNORED_COLOR, _get_colors()[labels % NUM_COLORS])


def _get_colors() -> np.ndarray:
    return colormaps["tab20"](np.arange(NUM_COLORS))[:, :3]
