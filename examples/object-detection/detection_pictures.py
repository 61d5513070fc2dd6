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
"""Pictures of what was detected, with matplotlib."""

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from transformers import RTDetrForObjectDetection, RTDetrImageProcessorPil

from detection_data import EvaluationImages


NUM_IMAGES = 6
NUM_COLORS = 10
THRESHOLD = 0.5  # of the scores of detections that are drawn


@torch.no_grad()
def draw_detections(
    model: RTDetrForObjectDetection, images: EvaluationImages, image_processor: RTDetrImageProcessorPil
) -> Figure:
    """
    Draws the first images of an evaluation, with their boxes, and with those that a model predicts with a score above 0.5.

    Args:
        model (`RTDetrForObjectDetection`):
            The model.
        images ([`EvaluationImages`]):
            The images.
        image_processor (`RTDetrImageProcessorPil`):
            That of the model.
    """
    model.eval()
    number = min(NUM_IMAGES, len(images))
    figure = Figure(figsize=(1.9 * number, 4.2), layout="constrained")
    grid = figure.subplots(2, number, squeeze=False)
    names = model.config.id2label
    for index, (above, below) in enumerate(grid.T):
        pixels, boxes, categories, _ = images.images.read(index)
        outputs = model(pixel_values=images[index]["pixel_values"][None].to(model.device))
        found = image_processor.post_process_object_detection(
            outputs, threshold=THRESHOLD, target_sizes=[pixels.shape[:2]]
        )[0]
        for axes in (above, below):
            axes.imshow(pixels)
            axes.set(xticks=[], yticks=[])
        for (left, top, width, height), category in zip(boxes, categories.tolist()):
            _draw_box(above, (left, top, left + width, top + height), category, names[category])
        for corners, category, score in zip(found["boxes"].tolist(), found["labels"].tolist(), found["scores"]):
            _draw_box(below, corners, category, f"{names[category]} {100 * float(score):.0f} %")
    for axes, title in zip(grid[:, 0], ("true", f"predicted, score above {THRESHOLD}")):
        axes.set_ylabel(title)
    return figure


def _draw_box(axes: Axes, corners: tuple[float, float, float, float], category: int, text: str):
    left, top, right, bottom = corners
    color = colormaps["tab10"](category % NUM_COLORS)
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color=color, linewidth=1.5)
    )
    axes.text(
        left, top, text, fontsize=7, color="white", va="top", bbox={"facecolor": color, "linewidth": 0, "pad": 0.8}
    )
