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
# /// script
# requires-python = ">=3.10"
# dependencies = ["modeling-greenmim", "gradio>=6,<7", "matplotlib>=3.8"]
# ///
"""A Space that shows which tokens GreenMIM computes, what it reconstructs, and how it packs windows into groups.

    MODEL_ID=my_run/model python app.py

`MODEL_ID` is the folder of a pre-trained model, or its name on the Hub. By default, the page shows the folder `model`
next to this file, or, in a clone of the repository, its small model.
"""

import os


# set before PyTorch is loaded: waiting threads sleep, and leave the cores of a shared machine to others
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import statistics
import sys
import timeit
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from matplotlib.figure import Figure

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil, make_plan, sample_masks
from modeling_greenmim.checkpoint_folders import load_checkpoint
from modeling_greenmim.image_conversion_greenmim import turn_upright
from modeling_greenmim.masking_greenmim import get_unit_grid
from modeling_greenmim.plotting import GroupLayout, draw_groups, get_group_layout


FOLDER = Path(__file__).resolve().parent
IMAGES = sorted(str(path) for path in (FOLDER / "images").glob("*.jpg"))
MAX_FILE_SIZE = "10mb"
MAX_PIXELS = 40_000_000
MAX_WAITING = 32  # visitors
SHOWN_SIDE = 384  # of the images on the page, in pixels
HIDDEN_GRAY = 210
DEFAULT_RATIO = 0.75
NUM_TIMINGS = 3
UPLOAD_SECONDS = 3600  # after which uploads and results are removed
MAX_TIMED_IMAGES = 32  # one small image would only time the overhead
TIMING_SECONDS = 0.4  # for whole images; with a large model, fewer images are timed

INTRODUCTION = """
# GreenMIM: masked image modeling on visible patches only

A Swin Transformer sees part of an image and reconstructs the rest. Its encoder computes only the visible tokens: it
packs partly visible windows into groups ([paper](https://huggingface.co/papers/2205.13515)). This small demonstration
model takes images of {height} x {width} pixels.
"""
PACKING = """
These are the windows of the current mask. Attention is computed in groups of equal size, so that few slots stay empty.
Tokens in different windows of a group do not attend to each other. Each group has its own color, and its windows have
shades of that color.
"""
NORMALIZED = (
    "*The mean and contrast of each unit come from the image itself: the images show more than the model knows.*"
)
NO_IMAGE = "Choose or upload an image."


class UnreadableImageError(ValueError):
    """An upload that cannot be used. The visitor sees the message."""


def find_model() -> str:
    """Returns the folder or the name of the model, or raises a `ValueError` if there is none."""
    if name := os.environ.get("MODEL_ID"):
        return name
    for folder in (FOLDER / "model", FOLDER / "../../experiments/cifar10/pretrained"):
        if (folder / "config.json").is_file():
            return str(folder.resolve())
    raise ValueError("There is no model to show. Set MODEL_ID to a folder, or to a name on the Hub.")


def open_image(path: str | None) -> PIL.Image.Image:
    """Opens an upload, or raises an [`UnreadableImageError`] if it is missing, not an image, or too large."""
    if path is None:
        raise UnreadableImageError(NO_IMAGE)
    try:
        with PIL.Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                limit = f"the limit is {MAX_PIXELS // 1_000_000} million"
                raise UnreadableImageError(f"This image has {image.width} x {image.height} pixels; {limit}.")
            return turn_upright(image).convert("RGB")
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise exceptions of any type on damaged files
        raise UnreadableImageError("This file is not a readable image.") from error


def measure_milliseconds(function: Callable[[], object]) -> float:
    """Median time of several calls, after a warm-up call."""
    return 1000 * statistics.median(timeit.repeat(function, number=1, repeat=1 + NUM_TIMINGS)[1:])


def enlarge(pixels: np.ndarray) -> PIL.Image.Image:
    """Enlarges an image by a whole factor, with sharp pixels."""
    image = PIL.Image.fromarray(pixels)
    factor = max(1, SHOWN_SIDE // max(image.size))
    return image.resize((factor * image.width, factor * image.height), PIL.Image.Resampling.NEAREST)


class Demonstration:
    """A pre-trained GreenMIM model, from a folder or the Hub, and its outputs on the page."""

    def __init__(self, name: str):
        # first, because its error for a wrong name is the clearest
        self.image_processor = GreenMimImageProcessorPil.from_pretrained(name, do_mask=False)
        self.model = load_checkpoint(GreenMimForMaskedImageModeling, name, dtype=torch.float32)
        self.config = self.model.config
        self.image_size = self.config.image_height_and_width
        self.grid_size = get_unit_grid(self.image_size, self.config.mask_unit_size)

    @cached_property
    def num_timed_images(self) -> int:
        """Number of images to time at once, so that visitors do not wait long."""
        pixel_values = torch.zeros(1, self.config.num_channels, *self.image_size)
        with torch.inference_mode():
            seconds = measure_milliseconds(lambda: self.model.greenmim(pixel_values)) / 1000
        num_images = int(TIMING_SECONDS / ((1 + NUM_TIMINGS) * seconds))
        return min(max(num_images, 1), MAX_TIMED_IMAGES)

    def draw_mask(self, mask_ratio: float, sampler: str, seed: int) -> np.ndarray:
        """Draws a mask of shape `(num_units,)`, `True` where a unit is hidden."""
        return sample_masks(1, self.grid_size, mask_ratio, sampler, seed=seed)[0]

    def toggle_unit(self, mask: np.ndarray, x: float, y: float) -> np.ndarray:
        """Hides or shows the unit at a position from 0 to 1, unless all units would then be hidden, or all visible."""
        row, column = (min(int(position * side), side - 1) for position, side in zip((y, x), self.grid_size))
        changed = mask.copy()
        changed[row * self.grid_size[1] + column] ^= True
        return mask if changed.all() or not changed.any() else changed

    @torch.inference_mode()
    def reconstruct(self, image: PIL.Image.Image, mask: np.ndarray) -> tuple[list[np.ndarray], str]:
        """
        Masks and reconstructs an image, and times the encoder. Returns four `uint8` images of shape `(height, width, 3)`
        (input, visible part, prediction of all units, input with predicted hidden units), and a description.
        """
        pixel_values, masks = self.process(image), torch.from_numpy(mask[None])
        outputs = self.model(pixel_values, bool_masked_pos=masks)
        reconstruction = self.model.reconstruct(pixel_values, outputs)
        outputs.mask.fill_(1.0)
        prediction = self.model.reconstruct(pixel_values, outputs)
        original = self.unnormalize(pixel_values)
        masked = self.model.mask_pixels(original, masks, value=HIDDEN_GRAY / 255)
        images = (original, masked, self.unnormalize(prediction), self.unnormalize(reconstruction))

        encoder, batch = self.model.greenmim, pixel_values.expand(self.num_timed_images, -1, -1, -1)
        visible_ms = measure_milliseconds(lambda: encoder(batch, bool_masked_pos=masks.expand(len(batch), -1)))
        full_ms = measure_milliseconds(lambda: encoder(batch))
        tokens_per_unit = (self.config.mask_unit_size // self.config.patch_size) ** 2
        lines = [
            f"**{tokens_per_unit * (~mask).sum()} of {tokens_per_unit * mask.size}** tokens computed "
            f"({100 * (~mask).mean():.0f}%). Loss on the hidden units: **{float(outputs.loss):.3f}**.",
            f"Encoder, timed on this machine with a batch of {len(batch)}: **{visible_ms:.1f} ms** for the visible part, "
            f"**{full_ms:.1f} ms** for whole images ({full_ms / visible_ms:.1f} times).",
        ]
        lines += [NORMALIZED] if self.config.reconstruction_target == "normalized_pixels" else []
        return [to_pixels(image) for image in images], "\n\n".join(lines)

    def draw_groups(
        self, image: PIL.Image.Image, mask: np.ndarray, stage: int, token_mixer: str
    ) -> tuple[Figure, GroupLayout]:
        """Draws how the visible windows of a mask are packed, without titles, which would be too small on a phone."""
        layout = get_group_layout(make_plan(mask[None], self.config), self.config, stage, token_mixer)
        figure = draw_groups(layout, to_pixels(self.unnormalize(self.process(image))) / 255)
        figure.set_size_inches(7, 3.2)
        for axes in figure.axes:
            axes.set_title("")
        return figure, layout

    def process(self, image: PIL.Image.Image) -> torch.Tensor:
        """Crops and normalizes an image: `(1, num_channels, height, width)`."""
        fitted = PIL.ImageOps.fit(image, self.image_size[::-1], PIL.Image.Resampling.BICUBIC)
        return self.image_processor(fitted, return_tensors="pt")["pixel_values"]

    def unnormalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(getattr(self.image_processor, f"image_{name}")) for name in ("mean", "std"))
        return pixel_values * std.view(-1, 1, 1) + mean.view(-1, 1, 1)


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """The first image, with values from 0 to 1, as `uint8` of shape `(height, width, 3)`."""
    return np.moveaxis((255 * images[0]).round().clamp(0, 255).numpy().astype(np.uint8), 0, -1)


def describe_groups(layout: GroupLayout, stage: int, token_mixer: str) -> str:
    """Describes a packing, in Markdown."""
    num_groups, group_size = layout.slot_windows.shape
    text = (
        f"**{len(layout.rows)} of {np.prod(layout.grid_size)}** tokens, in **{layout.slot_windows.max() + 1}** windows, packed into "
        f"**{num_groups}** groups of **{group_size}** slots: **{100 * layout.fill:.0f}%** filled. Attention costs "
        f"**{100 * layout.cost_fraction:.0f}%** of full-image attention."
    )
    if token_mixer == "shifted_window" and not layout.shift:
        text += f"\n\n*In stage {stage}, one window covers the grid, so it is not shifted.*"
    return text


def build_page(demonstration: Demonstration):
    """Builds the page, as [`gradio.Blocks`](https://www.gradio.app/docs/gradio/blocks)."""
    import gradio as gr  # here, because only the page needs it

    config = demonstration.config
    height, width = demonstration.image_size
    token_mixers = list(dict.fromkeys(config.get_layer_mixers(0)))

    def show(path: str | None, mask: np.ndarray):
        try:
            images, description = demonstration.reconstruct(open_image(path), mask)
        except UnreadableImageError as error:
            if path is not None:
                gr.Warning(str(error))
            return (None, None, None, None, str(error), mask)
        return (*map(enlarge, images), description, mask)

    def show_new_mask(path: str | None, mask_ratio: float, sampler: str, seed: float):
        return show(path, demonstration.draw_mask(mask_ratio, sampler, int(seed)))

    def show_changed_mask(path: str | None, mask: np.ndarray, click: gr.SelectData):
        shown_size = enlarge(np.zeros((height, width, 3), dtype=np.uint8)).size
        x, y = (position / side for position, side in zip(click.index, shown_size))
        return show(path, demonstration.toggle_unit(mask, x, y))

    def show_groups(path: str | None, mask: np.ndarray, stage: int, token_mixer: str):
        try:
            figure, layout = demonstration.draw_groups(open_image(path), mask, stage, token_mixer)
        except ValueError as error:
            return None, str(error)
        return figure, describe_groups(layout, stage, token_mixer)

    def add_image(title: str) -> gr.Image:
        """Adds an image below its title, narrow enough for two in a row on a phone."""
        with gr.Column(min_width=140):
            gr.Markdown(f"**{title}**")
            # PNG keeps pixels as they are
            return gr.Image(label=title, show_label=False, format="png", interactive=False, buttons=[])

    with gr.Blocks(title="GreenMIM", delete_cache=(UPLOAD_SECONDS // 4, UPLOAD_SECONDS)) as page:
        gr.Markdown(INTRODUCTION.format(height=height, width=width))
        mask = gr.State(demonstration.draw_mask(DEFAULT_RATIO, "random", 0))
        with gr.Row():
            with gr.Column(min_width=260):
                image = gr.Image(type="filepath", label="Image", sources=["upload", "clipboard"], height=260)
                # gradio would open the file itself, without telling the visitor why that fails
                image.preprocess = lambda file: file and file.path
                if IMAGES:
                    gr.Examples(IMAGES, image, label="Examples", cache_examples=False)
                mask_ratio = gr.Slider(0.1, 0.9, DEFAULT_RATIO, step=0.05, label="Fraction of units to hide")
                sampler = gr.Radio(["random", "block"], value="random", label="Mask sampler")
                seed = gr.Slider(0, 100, 0, step=1, label="Seed")
            with gr.Column(min_width=320), gr.Tabs():
                with gr.Tab("Reconstruction"):
                    description = gr.Markdown()
                    with gr.Row():
                        original, masked = add_image("Input"), add_image("Visible part")
                    with gr.Row():
                        predicted, combined = add_image("Prediction"), add_image("Reconstruction")
                    gr.Markdown("Click a unit of the visible part to hide or show it.")
                with gr.Tab("How windows are packed") as packing:
                    gr.Markdown(PACKING)
                    with gr.Row():
                        stages = list(range(1, len(config.depths) + 1))
                        stage = gr.Radio(stages, value=1, label="Stage", min_width=120)
                        token_mixer = gr.Radio(token_mixers, value=token_mixers[0], label="Token mixer", min_width=120)
                    group_description = gr.Markdown()
                    groups = gr.Plot(show_label=False)

        outputs = [original, masked, predicted, combined, description, mask]
        group_inputs, group_outputs = [image, mask, stage, token_mixer], [groups, group_description]
        inputs = [image, mask_ratio, sampler, seed]
        events = [component.change(show_new_mask, inputs, outputs, show_progress="minimal") for component in inputs]
        # every click counts, even while an earlier one is being processed
        settings = {"show_progress": "hidden", "trigger_mode": "multiple"}
        events.append(masked.select(show_changed_mask, [image, mask], outputs, **settings))
        for event in events:
            event.then(show_groups, group_inputs, group_outputs, show_progress="hidden")
        for trigger in (packing.select, stage.change, token_mixer.change):
            trigger(show_groups, group_inputs, group_outputs, show_progress="hidden")
        page.load(lambda: IMAGES[0] if IMAGES else None, None, image)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


def main():
    try:
        demonstration = Demonstration(find_model())
    except (OSError, ValueError) as error:
        sys.exit(f"app.py: {error}")
    build_page(demonstration).launch(max_file_size=MAX_FILE_SIZE)


if __name__ == "__main__":
    main()
