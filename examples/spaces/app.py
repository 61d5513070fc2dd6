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
"""A Space: see what GreenMIM computes of an image, what it paints, and how visible windows are packed into groups.

    python app.py

The model is the one that the environment variable `MODEL_ID` names, a folder or a repository on the Hub; else the folder `model`
beside this file; else the small one of the repository of GreenMIM for transformers.
"""

import sys
from pathlib import Path

import gradio as gr
import numpy as np
import PIL.Image
from demonstration import (
    Demonstration,
    Result,
    UnreadableImageError,
    enlarge,
    find_model,
    open_image,
)

from modeling_greenmim.plotting import GroupLayout


MAX_FILE_SIZE = "10mb"
MAX_WAITING = 32
DEFAULT_RATIO = 0.75
IMAGES = sorted(str(path) for path in (Path(__file__).resolve().parent / "images").glob("*.jpg"))
INTRODUCTION = """
# GreenMIM: masked image modeling on the visible part alone

A Swin Transformer sees a part of an image and paints the rest. Its encoder computes the visible tokens only: it packs partly
visible windows into groups. [The paper](https://huggingface.co/papers/2205.13515).
The model here is a small one, for demonstration: it sees images of {height} x {width} pixels.
"""
NORMALIZED = (
    "The model predicts each unit up to its mean and contrast, which are taken from the image itself: the pictures show more than "
    "it knows."
)
NO_IMAGE = "Choose an image, or upload one."


def open_file(path: str | None) -> PIL.Image.Image:
    """
    Opens what was uploaded; where it is no image, a visitor is told, with a message over the page, too.

    Raises:
        [`UnreadableImageError`]: if there is nothing, or no image.
    """
    if path is None:
        raise UnreadableImageError(NO_IMAGE)
    try:
        return open_image(path)
    except UnreadableImageError as error:
        gr.Warning(str(error))
        raise


def describe(result: Result, norm_pix_loss: bool) -> str:
    """The numbers of a result, in Markdown."""
    share = 100 * result.num_visible_tokens / result.num_tokens
    lines = [
        f"**{result.num_visible_tokens} of {result.num_tokens}** tokens computed ({share:.0f} %). "
        f"Loss on the hidden units: **{result.loss:.3f}**.",
        f"Encoder, measured now on this machine, {result.num_timed_images} such images at a time: "
        f"**{result.visible_ms:.1f} ms** for the visible part, **{result.full_ms:.1f} ms** for full images "
        f"({result.full_ms / result.visible_ms:.1f} times).",
    ]
    return "\n\n".join([*lines, f"*{NORMALIZED}*"] if norm_pix_loss else lines)


def describe_groups(layout: GroupLayout, stage: int, token_mixer: str) -> str:
    """The numbers of a packing, in Markdown."""
    num_groups, group_size = layout.slot_windows.shape
    num_windows = layout.slot_windows.max() + 1
    lines = [
        f"**{len(layout.rows)} of {np.prod(layout.grid_size)}** tokens, of **{num_windows}** windows, in **{num_groups}** groups of "
        f"**{group_size}** slots: **{100 * layout.fill:.0f} %** filled. Attention costs **{100 * layout.cost_fraction:.0f} %** of that "
        "over the full image."
    ]
    if token_mixer == "shifted_window" and not layout.shift:
        lines.append(f"*In stage {stage}, one window covers the grid: it is not shifted.*")
    return "\n\n".join(lines)


def add_picture(title: str) -> gr.Image:
    """A picture with its title above it, where it covers nothing: two beside each other, also on a phone."""
    with gr.Column(min_width=140):
        gr.Markdown(f"**{title}**")
        # as PNG, which keeps pixels as they are
        return gr.Image(label=title, show_label=False, format="png", interactive=False, buttons=[])


def build_demo(demonstration: Demonstration) -> gr.Blocks:
    """The page."""
    config = demonstration.config
    height, width = config.image_height_and_width
    stages = list(range(1, len(config.depths) + 1))
    token_mixers = list(dict.fromkeys(config.get_layer_mixers(0)))

    def show(path: str | None, mask: np.ndarray):
        try:
            image = open_file(path)
        except UnreadableImageError as error:
            return (None, None, None, None, str(error), mask)
        result = demonstration.reconstruct(image, mask)
        pictures = (result.original, result.masked, result.predicted, result.pasted)
        return (*map(enlarge, pictures), describe(result, config.norm_pix_loss), mask)

    def show_new_mask(path: str | None, mask_ratio: float, sampler: str, seed: float):
        return show(path, demonstration.draw_mask(mask_ratio, sampler, int(seed)))

    def show_changed_mask(path: str | None, mask: np.ndarray, click: gr.SelectData):
        picture_side = enlarge(np.zeros((height, width, 3), dtype=np.uint8)).size
        x, y = (position / side for position, side in zip(click.index, picture_side))
        return show(path, demonstration.toggle_unit(mask, x, y))

    def show_groups(path: str | None, mask: np.ndarray, stage: int, token_mixer: str):
        try:
            figure, layout = demonstration.draw_groups(open_file(path), mask, stage, token_mixer)
        except ValueError as error:
            return None, str(error)
        return figure, describe_groups(layout, stage, token_mixer)

    with gr.Blocks(title="GreenMIM") as demo:
        gr.Markdown(INTRODUCTION.format(height=height, width=width))
        mask = gr.State(demonstration.draw_mask(DEFAULT_RATIO, "random", 0))
        with gr.Row():
            with gr.Column(min_width=260):
                image = gr.Image(type="filepath", label="Image", sources=["upload", "clipboard"], height=260)
                # gradio would open the file itself, and show a visitor no reason if that fails
                image.preprocess = lambda file: file and file.path
                gr.Examples(IMAGES, image, label="Examples", cache_examples=False)
                mask_ratio = gr.Slider(0.1, 0.9, DEFAULT_RATIO, step=0.05, label="Share of the units to hide")
                sampler = gr.Radio(["random", "block"], value="random", label="How units are chosen")
                seed = gr.Slider(0, 100, 0, step=1, label="Seed")
            with gr.Column(min_width=320), gr.Tabs():
                with gr.Tab("Reconstruction"):
                    numbers = gr.Markdown()
                    with gr.Row():
                        original = add_picture("The image")
                        masked = add_picture("The encoder sees")
                    with gr.Row():
                        predicted = add_picture("The decoder paints")
                        pasted = add_picture("Both together")
                    gr.Markdown("A click on a unit of what the encoder sees hides it, or shows it.")
                with gr.Tab("How windows are packed") as packing:
                    gr.Markdown(
                        "The windows of this very mask. Attention runs over groups of equal size, so that few slots stay empty; "
                        "tokens of different windows in a group do not see each other. A group has a color, its windows have shades of it."
                    )
                    with gr.Row():
                        stage = gr.Radio(stages, value=1, label="Stage", min_width=120)
                        token_mixer = gr.Radio(token_mixers, value=token_mixers[0], label="Token mixer", min_width=120)
                    group_numbers = gr.Markdown()
                    groups = gr.Plot(show_label=False)

        outputs = [original, masked, predicted, pasted, numbers, mask]
        group_inputs, group_outputs = [image, mask, stage, token_mixer], [groups, group_numbers]
        answers = [
            component.change(show_new_mask, [image, mask_ratio, sampler, seed], outputs, show_progress="minimal")
            for component in (image, mask_ratio, sampler, seed)
        ]
        # every click counts, also while the answer to the one before is on its way
        answers.append(
            masked.select(show_changed_mask, [image, mask], outputs, show_progress="hidden", trigger_mode="multiple")
        )
        for answer in answers:
            answer.then(show_groups, group_inputs, group_outputs, show_progress="hidden")
        for trigger in (packing.select, stage.change, token_mixer.change):
            trigger(show_groups, group_inputs, group_outputs, show_progress="hidden")
        demo.load(lambda: IMAGES[0] if IMAGES else None, None, image)
    return demo.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


if __name__ == "__main__":
    try:
        demonstration = Demonstration(find_model())
    except (OSError, ValueError) as error:
        sys.exit(f"app.py: {error}")
    build_demo(demonstration).launch(max_file_size=MAX_FILE_SIZE)
