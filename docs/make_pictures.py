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
"""Draw the figures of docs/group_window_attention.md in a few seconds: `python docs/make_pictures.py`."""

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch

from modeling_greenmim import GreenMimConfig, make_plan, sample_masks
from modeling_greenmim.plotting import draw_groups, draw_images, get_group_layout


DOCS = Path(__file__).parent
PHOTOGRAPHS = DOCS.parent / "examples" / "spaces" / "images"
CONFIG = GreenMimConfig(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))  # Swin-T
GROUPS = {
    "groups_stage1_regular.png": (1, "window", None),
    "groups_stage1_shifted.png": (1, "shifted_window", None),
    "groups_stage2_shifted_49.png": (2, "shifted_window", 49),
    "groups_stage2_shifted.png": (2, "shifted_window", None),
    "groups_stage3_regular.png": (3, "window", None),
}


def read_photograph(name: str) -> np.ndarray:
    """Read a photograph, cropped to 224 x 224 pixels, with values from 0 to 1."""
    with PIL.Image.open(PHOTOGRAPHS / name) as image:
        return np.asarray(PIL.ImageOps.fit(image.convert("RGB"), (224, 224))) / 255


def hide(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Gray out the hidden mask units of an image."""
    hidden = mask.reshape(7, 7).repeat(32, axis=0).repeat(32, axis=1)
    return np.where(hidden[:, :, None], 0.82, image)


def draw_masks():
    """Draw the masks of two samplers over both photographs."""
    images = [read_photograph(name) for name in ("temple.jpg", "flower.jpg") for _ in range(2)]
    rows = {"image": images}
    for sampler in ("random", "block"):
        masks = [sample_masks(1, (7, 7), 0.75, sampler, seed=seed)[0] for seed in range(len(images))]
        rows[f'"{sampler}"'] = [hide(image, mask) for image, mask in zip(images, masks)]
    rows = {title: torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) for title, images in rows.items()}
    return draw_images(rows, "12 of 49 mask units of 32 x 32 pixels are visible in each")


def main():
    draw_masks().savefig(DOCS / "images" / "masks.png")
    image, mask = read_photograph("temple.jpg"), sample_masks(1, (7, 7), 0.75, seed=0)
    for name, (stage, token_mixer, group_size) in GROUPS.items():
        shapes = {f"stage{stage}": {token_mixer: (None, group_size)}} if group_size else None
        plan = make_plan(mask, CONFIG, group_shapes=shapes)
        draw_groups(get_group_layout(plan, CONFIG, stage, token_mixer), image).savefig(DOCS / "images" / name)


if __name__ == "__main__":
    main()
