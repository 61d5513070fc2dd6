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
"""A model to fine-tune for image classification: a pre-trained GreenMIM or Swin, or one that starts at random."""

from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    BaseImageProcessor,
    PreTrainedModel,
    SwinConfig,
    ViTImageProcessorPil,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from .. import GreenMimConfig
from ..checkpoint_folders import (
    load_checkpoint,
    make_image_processor,
    read_image_processor_settings,
    read_license,
)
from .command_line import get_name
from .errors import UserError


@dataclass
class Classifier:
    """
    A model with a classifier, and where it comes from.

    Attributes:
        model (`PreTrainedModel`):
            The model.
        image_processor (`BaseImageProcessor`):
            Its image processor.
        origin (`str`):
            A sentence on its weights.
        license (`dict[str, str]`):
            Their license.
    """

    model: PreTrainedModel
    image_processor: BaseImageProcessor
    origin: str
    license: dict[str, str]

    @property
    def is_greenmim(self) -> bool:
        return isinstance(self.model.config, GreenMimConfig)


def load_classifier(
    label_names: list[str],
    model_name_or_path: str | None = None,
    config_name: str | None = None,
    image_processor_name: str | None = None,
    drop_path_rate: float = 0.0,
    ignore_mismatched_sizes: bool = False,
) -> Classifier:
    """
    Loads or makes a model.

    Args:
        label_names (`list[str]`):
            Labels of the images. A model that knows them already keeps its classifier and its numbers for them.
        model_name_or_path (`str`, *optional*):
            Model to start from, in a folder or on the Hub.
        config_name (`str`, *optional*):
            Without `model_name_or_path`: configuration of a model that starts at random.
        image_processor_name (`str`, *optional*):
            Where its image processor is, if not with the model.
        drop_path_rate (`float`, *optional*, defaults to 0.0):
            Probability of skipping the last layer.
        ignore_mismatched_sizes (`bool`, *optional*, defaults to `False`):
            Whether a model that has a classifier for other labels gets a new one.

    Raises:
        [`UserError`]: if there is no such model, or its classifier does not know a label.
    """
    name = model_name_or_path or config_name
    try:
        config = load_config(name)
        config.drop_path_rate = drop_path_rate
        image_processor = load_image_processor(image_processor_name or model_name_or_path, config)
        model_class = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
        has_classifier = any(kind.endswith("ForImageClassification") for kind in config.architectures or [])
        if model_name_or_path and has_classifier and not ignore_mismatched_sizes:
            check_labels(config, label_names, name)
        else:
            config.id2label = dict(enumerate(label_names))
            config.label2id = {label: index for index, label in enumerate(label_names)}
        if model_name_or_path is None:
            return Classifier(model_class(config), image_processor, "Its weights started at random.", {})
        settings = {"config": config, "dtype": torch.float32, "ignore_mismatched_sizes": ignore_mismatched_sizes}
        model = load_checkpoint(model_class, name, new_modules=("classifier",), **settings)
        if has_classifier and ignore_mismatched_sizes:  # also one that happens to be of the same size
            model.classifier = model_class(config).classifier
        origin = f"It started from the weights of `{get_name(name)}`."
        return Classifier(model, image_processor, origin, read_license(name))
    except (OSError, ValueError, StrictDataclassError) as error:
        argument = "config_name" if model_name_or_path is None else "model_name_or_path"
        raise UserError(f"--{argument} {name} cannot be loaded: {' '.join(str(error).split())}") from error


def load_config(name: str) -> GreenMimConfig | SwinConfig:
    """
    Loads the configuration of a model.

    Args:
        name (`str`):
            A folder, or a repository on the Hub.

    Raises:
        [`UserError`]: if it is that of a different model, or `name` is the folder of a run.
        `OSError` or `ValueError`: if there is none that can be read.
    """
    if (Path(name) / "model" / "config.json").is_file():
        raise UserError(f"{name} is the folder of a run: its model is {name}/model.")
    config = AutoConfig.from_pretrained(name)
    if not isinstance(config, (GreenMimConfig, SwinConfig)):
        raise UserError(f"{name} is of type {config.model_type!r}, neither GreenMIM nor Swin.")
    return config


def check_labels(config: GreenMimConfig | SwinConfig, label_names: list[str], model_name: str):
    """Raises an error that names a label that a classifier does not know."""
    if unknown := [name for name in label_names if name not in config.label2id]:
        known = list(config.label2id)
        raise UserError(
            f"{model_name} has a classifier for {len(known)} labels ({', '.join(map(repr, known[:5]))}{', ...' if len(known) > 5 else ''}), "
            f"and {unknown[0]!r} is none of them. --ignore_mismatched_sizes gives it a new one for the {len(label_names)} labels of "
            "the images."
        )


def get_image_size(config: GreenMimConfig | SwinConfig) -> tuple[int, int]:
    """Height and width of the images of a model."""
    size = config.image_size
    return (size, size) if isinstance(size, int) else tuple(size)


def load_image_processor(name: str | None, config: GreenMimConfig | SwinConfig) -> BaseImageProcessor:
    """
    Loads the image processor of a model.

    Args:
        name (`str`, *optional*):
            Folder, or repository on the Hub, that may have one.
        config (`GreenMimConfig` or `SwinConfig`):
            Configuration of the model. Without an image processor, images get its size, and mean and standard deviation of ImageNet.

    Raises:
        `ValueError`: if it cannot be read, or does not fit the model.
    """
    settings = {} if name is None else read_image_processor_settings(name)
    if isinstance(config, GreenMimConfig):
        return make_image_processor(config, settings)
    if settings:
        return AutoImageProcessor.from_pretrained(name, backend="pil")
    height, width = get_image_size(config)
    return ViTImageProcessorPil(
        size={"height": height, "width": width}, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD
    )
