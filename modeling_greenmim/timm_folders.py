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
"""Read and write timm model folders."""

from pathlib import Path
from typing import Any

import torch

from .checkpoint_folders import make_image_processor, read_image_processor_settings
from .feature_comparison import compare_features, make_test_images
from .modeling_greenmim import GreenMimForImageClassification, GreenMimModel


TIMM_INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def make_timm_settings(
    checkpoint_path: str | Path,
    model: GreenMimModel | GreenMimForImageClassification,
    architecture: str,
    model_args: dict,
    first_conv: str,
    classifier: str,
) -> dict:
    """
    Create the contents of the config.json of a timm folder.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of the GreenMIM model, with or without an image processor.
        model ([`GreenMimModel`] or [`GreenMimForImageClassification`]):
            GreenMIM model.
        architecture (`str`):
            Name of a timm model whose arguments are overridden.
        model_args (`dict`):
            Arguments of the timm model.
        first_conv (`str`):
            Name of the patch embeddings in timm.
        classifier (`str`):
            Name of the classifier in timm.

    Returns:
        `dict`: settings in timm's format.
    """
    config, num_classes = model.config, _count_classes(model)
    processor = make_image_processor(config, read_image_processor_settings(checkpoint_path))
    shorter_side = processor.size.get("shortest_edge") or min(config.image_height_and_width)
    return {
        "architecture": architecture,
        "num_classes": num_classes,
        "num_features": config.hidden_size,
        "model_args": model_args,
        "pretrained_cfg": {
            "input_size": [config.num_channels, *config.image_height_and_width],
            "interpolation": TIMM_INTERPOLATIONS[int(processor.resample)],
            "crop_pct": min(config.image_height_and_width) / shorter_side if processor.do_center_crop else 1.0,
            "mean": list(processor.image_mean),
            "std": list(processor.image_std),
            "num_classes": num_classes,
            "label_names": [config.id2label[label] for label in range(num_classes)],
            "first_conv": first_conv,
            "classifier": classifier,
        },
    }


def load_timm_model(checkpoint_path: str | Path) -> Any:
    """Load a timm model from a folder or the Hub. Raises a `ValueError` if it cannot be loaded."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"Cannot read {checkpoint_path} because timm is not installed. Install it with `pip install timm`."
        ) from error
    source = "local-dir" if Path(checkpoint_path).is_dir() else "hf-hub"
    try:
        return timm.create_model(f"{source}:{checkpoint_path}", pretrained=True).eval()
    except Exception as error:  # any type: timm checks little
        raise ValueError(f"Cannot load {checkpoint_path} with timm. ({type(error).__name__}: {error})") from error


def compare_with_timm(
    model: GreenMimModel | GreenMimForImageClassification, timm_model: torch.nn.Module
) -> dict[str, float]:
    """
    Compare the features of a model with those of its timm counterpart, see [`compare_features`].

    Args:
        model ([`GreenMimModel`] or [`GreenMimForImageClassification`]):
            GreenMIM model. Both models are converted to float32.
        timm_model (`torch.nn.Module`):
            Counterpart in timm.

    Returns:
        `dict[str, float]`: feature differences by name.
    """
    timm_model, ours, has_classes = timm_model.float().eval(), model.float(), _count_classes(model) > 0

    def get_features(pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        features = {"last_hidden_state": timm_model.forward_features(pixel_values).flatten(1, -2)}
        return features | ({"logits": timm_model(pixel_values)} if has_classes else {})

    def get_expected(pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        encoder = ours if isinstance(ours, GreenMimModel) else ours.greenmim
        features = {"last_hidden_state": encoder(pixel_values).last_hidden_state}
        return features | ({"logits": ours(pixel_values).logits} if has_classes else {})

    return compare_features(
        get_features, get_expected, make_test_images(model.config, model.config.image_height_and_width)
    )


def _count_classes(model: GreenMimModel | GreenMimForImageClassification) -> int:
    return model.config.num_labels if isinstance(model, GreenMimForImageClassification) else 0


__all__ = ["TIMM_INTERPOLATIONS", "compare_with_timm", "load_timm_model", "make_timm_settings"]
