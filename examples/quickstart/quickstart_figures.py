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
"""The two pictures of the quickstart: the loss curve, and images beside their masked versions and reconstructions."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure


def plot_loss_curve(path: Path, train_losses: list[float], held_out_losses: dict[int, float], norm_pix_loss: bool):
    """
    Draws the loss over the steps.

    Args:
        path (`Path`): where to store the PNG.
        train_losses (`list[float]`): the loss of every training step.
        held_out_losses (`dict[int, float]`): step -> loss on the held-out images, with the same masks each time.
        norm_pix_loss (`bool`): whether the loss is one of pixels normalized by unit.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(train_losses) + 1), train_losses, color="tab:blue", alpha=0.35, label="training batches")
    axes.plot(held_out_losses.keys(), held_out_losses.values(), color="tab:red", marker="o", label="held-out images")
    axes.set_xlabel("training step")
    pixels = "pixels normalized by unit" if norm_pix_loss else "pixel values from -1 to 1"
    axes.set_ylabel(f"mean squared error on hidden units\n({pixels})")
    axes.set_yscale("log")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def plot_reconstructions(path: Path, rows: dict[str, torch.Tensor], note: str):
    """
    Draws a grid of images, one row for each kind and one column for each image.

    Args:
        path (`Path`): where to store the PNG.
        rows (`dict[str, torch.Tensor]`): title -> images, `(num_images, 3, height, width)`, values from 0 to 1.
        note (`str`): what a reader has to know in order not to be misled, written below the images.
    """
    num_images = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.4 * num_images + 0.5, 1.4 * len(rows) + 0.5), layout="constrained")
    grid = figure.subplots(len(rows), num_images, squeeze=False)
    for axes_of_row, (title, images) in zip(grid, rows.items()):
        axes_of_row[0].set_ylabel(title)
        for axes, image in zip(axes_of_row, images):
            axes.imshow(np.moveaxis(image.clamp(0, 1).float().numpy(), 0, -1))
            axes.set(xticks=[], yticks=[])
    figure.supxlabel(note, fontsize=9, wrap=True)
    figure.savefig(path, dpi=120)
