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
"""Pictures of a run: the loss curve, and images beside their masked versions and reconstructions."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure


def draw_loss_curve(history: Sequence[dict], norm_pix_loss: bool) -> Figure:
    """
    Draws the losses over the steps.

    Args:
        history (`Sequence[dict]`):
            Records with `step`, and `loss`, of training batches, or `eval_loss`, of the held-out images.
        norm_pix_loss (`bool`):
            Whether they are losses of pixels normalized by unit.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, style in {
        "loss": {"color": "tab:blue", "alpha": 0.5, "label": "training batches"},
        "eval_loss": {"color": "tab:red", "marker": "o", "label": "held-out images"},
    }.items():
        points = [(record["step"], record[name]) for record in history if name in record]
        if points:
            axes.plot(*zip(*points), **style)
    pixels = "pixels normalized by unit" if norm_pix_loss else "normalized pixel values"
    axes.set(xlabel="training step", ylabel=f"mean squared error on hidden units\n({pixels})", yscale="log")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return figure


def draw_reconstructions(rows: dict[str, torch.Tensor], note: str) -> Figure:
    """
    Draws a grid of images, one row for each kind and one column for each image.

    Args:
        rows (`dict[str, torch.Tensor]`):
            Title -> images, `(num_images, num_channels, height, width)`, values from 0 to 1. Of more than three channels, the
            first three are shown; of two, the first.
        note (`str`):
            What a reader has to know in order not to be misled, written below the images.
    """
    num_images = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.4 * num_images + 0.5, 1.4 * len(rows) + 0.7), layout="constrained")
    grid = figure.subplots(len(rows), num_images, squeeze=False)
    for axes_of_row, (title, images) in zip(grid, rows.items()):
        axes_of_row[0].set_ylabel(title)
        for axes, image in zip(axes_of_row, images):
            shown = image[: 3 if len(image) >= 3 else 1].clamp(0, 1).float().numpy()
            axes.imshow(np.moveaxis(shown, 0, -1), cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    figure.supxlabel(note, fontsize=9, wrap=True)
    return figure
