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
"""Labeled images with easily distinguished colors, and small models, for the image classification tests."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from datasets import ClassLabel, Dataset, Features, Image
from transformers import SwinConfig, SwinForMaskedImageModeling, Swinv2Config, Swinv2ForMaskedImageModeling

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from tests.helpers.tiny_models import FAMILIES


COLORS = {"blue": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}
NUM_IMAGES = 14  # for each class
SETTINGS = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
CONFIG = GreenMimConfig(
    **SETTINGS, decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_intermediate_size=32
)


def encode_color(color: str, seed: int) -> bytes:
    """Create an image of one color with noise."""
    noise = np.random.default_rng(seed).integers(-30, 30, size=(20, 18, 3))
    pixels = np.clip(np.array(COLORS[color]) + noise, 0, 255).astype(np.uint8)
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_class_folders(folder: Path, classes=tuple(COLORS), num_images: int = NUM_IMAGES) -> Path:
    for color in classes:
        for index in range(num_images):
            path = folder / color / f"{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_color(color, index))
    return folder


def write_labeled_parquet(path: Path, labels, feature=None) -> Path:
    colors = list(COLORS)
    rows = {
        "image": [{"bytes": encode_color(colors[i % 3], i), "path": None} for i in range(len(labels))],
        "label": labels,
    }
    features = Features({"image": Image(), "label": feature or ClassLabel(names=colors)})
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(rows, features=features).to_parquet(path)
    return path


def write_labeled_folders(folder: Path) -> Path:
    """
    Create images in class folders (`files`) and `parquet` files, the models `greenmim`, `swin`, `greenmim_v2`,
    `swin_v2` and `twins`, and a `config`.
    """
    write_class_folders(folder / "files")
    labels = [i % 3 for i in range(36)]
    write_labeled_parquet(folder / "parquet" / "train-0.parquet", labels)
    write_labeled_parquet(folder / "parquet" / "validation-0.parquet", labels[:9])
    CONFIG.save_pretrained(folder / "config")
    torch.manual_seed(0)
    size = {"height": 16, "width": 16}
    processor = GreenMimImageProcessorPil(size=size, crop_size=size, mask_unit_size=4, do_mask=False)
    twins = {**FAMILIES["twins"], "depths": (2, 2), "token_mixers": [["window", "spatial_reduction"]] * 2}
    for name, family in {"greenmim": {}, "greenmim_v2": FAMILIES["swin_v2"], "twins": twins}.items():
        config = GreenMimConfig.from_dict({**CONFIG.to_dict(), **family})
        GreenMimForMaskedImageModeling(config).save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    SwinForMaskedImageModeling(SwinConfig(**SETTINGS, encoder_stride=4)).save_pretrained(folder / "swin")
    Swinv2ForMaskedImageModeling(Swinv2Config(**SETTINGS, encoder_stride=4)).save_pretrained(folder / "swin_v2")
    return folder
