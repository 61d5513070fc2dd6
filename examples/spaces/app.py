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

from pathlib import Path

import gradio as gr
import numpy as np
from demonstration import (
    NUM_TIMED_IMAGES,
    Demonstration,
    Result,
    UnreadableImageError,
    enlarge,
    find_model,
    open_image,
)


MAX_FILE_SIZE = "10mb"
MAX_WAITING = 32
DEFAULT_RATIO = 0.75
IMAGES = sorted(str(path) for path in (Path(__file__).resolve().parent / "images").glob("*.jpg"))
INTRODUCTION = """
# GreenMIM: masked image modeling on the visible part alone

A Swin Transformer sees a quarter of an image and paints the rest. Its encoder computes the visible tokens only: it packs partly
visible windows into groups. [The paper](https://huggingface.co/papers/2205.13515).
The model here is a small one, for demonstration: it sees images of {height} x {width} pixels.
"""
NORMALIZED = (
    "The model predicts each unit up to its mean and contrast, which are taken from the image itself: the pictures show more than "
    "it knows."
)


def describe(result: Result, norm_pix_loss: bool) -> str:
    """The numbers of a result, in Markdown."""
    share = 100 * result.num_visible_tokens / result.num_tokens
    lines = [
        f"**{result.num_visible_tokens} of {result.num_tokens}** tokens computed ({share:.0f} %).",
        f"Encoder, measured now on this machine, for {NUM_TIMED_IMAGES} such images: **{result.sparse_ms:.1f} ms** for the visible part, "
        f"**{result.dense_ms:.1f} ms** for the whole images ({result.dense_ms / result.sparse_ms:.1f} times).",
        f"Loss on the hidden units: {result.loss:.3f}.",
    ]
    return "\n\n".join([*lines, f"*{NORMALIZED}*"] if norm_pix_loss else lines)


def build_demo(demonstration: Demonstration) -> gr.Blocks:
    """The page."""
    config = demonstration.config
    height, width = config.image_height_and_width
    stages = list(range(1, len(config.depths) + 1))

    def show(path: str | None, mask: np.ndarray):
        if path is None:
            raise gr.Error("Choose an image, or upload one.", duration=5)
        try:
            image = open_image(path)
        except UnreadableImageError as error:
            raise gr.Error(str(error), duration=10) from error
        result = demonstration.reconstruct(image, mask)
        pictures = (result.original, result.masked, result.predicted, result.pasted)
        return (*map(enlarge, pictures), describe(result, config.norm_pix_loss), mask)

    def show_new_mask(path: str | None, mask_ratio: float, sampler: str, seed: float):
        return show(path, demonstration.draw_mask(mask_ratio, sampler, int(seed)))

    def show_changed_mask(path: str | None, mask: np.ndarray, click: gr.SelectData):
        picture_side = enlarge(np.zeros((height, width, 3), dtype=np.uint8)).size
        x, y = (position / side for position, side in zip(click.index, picture_side))
        return show(path, demonstration.toggle_unit(mask, x, y))

    def show_groups(path: str | None, mask: np.ndarray, stage: int, kind: str):
        kind = kind if kind in demonstration.list_kinds(stage) else "regular"
        try:
            return demonstration.draw_groups(open_image(path), mask, stage, kind)
        except (UnreadableImageError, TypeError) as error:
            raise gr.Error("Choose an image first.", duration=5) from error

    with gr.Blocks(title="GreenMIM") as demo:
        gr.Markdown(INTRODUCTION.format(height=height, width=width))
        mask = gr.State(demonstration.draw_mask(DEFAULT_RATIO, "random", 0))
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                image = gr.Image(type="filepath", label="Image", sources=["upload", "clipboard"], height=260)
                gr.Examples(IMAGES, image, label="Examples", cache_examples=False)
                mask_ratio = gr.Slider(0.1, 0.9, DEFAULT_RATIO, step=0.05, label="Share of the units to hide")
                sampler = gr.Radio(["random", "block"], value="random", label="How units are chosen")
                seed = gr.Slider(0, 100, 0, step=1, label="Seed")
            with gr.Column(scale=2, min_width=320), gr.Tabs():
                with gr.Tab("Reconstruction"):
                    numbers = gr.Markdown()
                    with gr.Row():
                        original = gr.Image(label="What the image is", interactive=False, buttons=[])
                        masked = gr.Image(label="What the encoder sees: click a unit", interactive=False, buttons=[])
                    with gr.Row():
                        predicted = gr.Image(label="What the decoder paints", interactive=False, buttons=[])
                        pasted = gr.Image(label="Both together", interactive=False, buttons=[])
                with gr.Tab("How windows are packed") as packing:
                    gr.Markdown(
                        "The windows of this very mask. Attention runs over groups of equal size, so that few slots stay empty; "
                        "tokens of different windows in a group do not see each other."
                    )
                    with gr.Row():
                        stage = gr.Radio(stages, value=1, label="Stage")
                        kind = gr.Radio(["regular", "shifted"], value="regular", label="Windows")
                    groups = gr.Plot(show_label=False)

        outputs = [original, masked, predicted, pasted, numbers, mask]
        for component in (image, mask_ratio, sampler, seed):
            component.change(show_new_mask, [image, mask_ratio, sampler, seed], outputs, show_progress="minimal")
        masked.select(show_changed_mask, [image, mask], outputs, show_progress="hidden")
        for trigger in (packing.select, stage.change, kind.change):
            trigger(show_groups, [image, mask, stage, kind], groups)
        demo.load(lambda: IMAGES[0] if IMAGES else None, None, image)
    return demo.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


if __name__ == "__main__":
    build_demo(Demonstration(find_model())).launch(max_file_size=MAX_FILE_SIZE)
