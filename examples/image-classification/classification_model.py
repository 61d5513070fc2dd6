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
"""The model of a fine-tuning: GreenMIM or Swin, with a classifier for the labels of the images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    AutoConfig,
    BaseImageProcessor,
    PretrainedConfig,
    PreTrainedModel,
    SwinConfig,
    ViTImageProcessorPil,
    set_seed,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

# the one of the package asks for torchvision, in transformers 5.17
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.checkpoint_folders import (
    load_checkpoint,
    make_image_processor,
    read_image_processor_settings,
    read_license,
)
from modeling_greenmim.training.command_line import UserError, get_name

from classification_arguments import ModelArguments


@dataclass
class PretrainedModel:
    """A model that is ready to be fine-tuned, and where it comes from."""

    model: PreTrainedModel
    image_processor: BaseImageProcessor
    origin: str
    license: dict[str, str]


def make_pretrained_model(args: ModelArguments, label_names: list[str], seed: int) -> PretrainedModel:
    """
    Makes or loads the model.

    Args:
        args ([`ModelArguments`]):
            Which.
        label_names (`list[str]`):
            Labels of the images. A model that knows them already keeps its classifier and its numbers for them.
        seed (`int`):
            Of new weights.

    Raises:
        [`UserError`]: if there is no such model, or its classifier does not know a label.
    """
    set_seed(seed)
    name = args.model_name_or_path or args.config_name
    try:
        config = load_config(name)
        config.drop_path_rate = args.drop_path_rate
        image_processor = load_image_processor(args.image_processor_name or args.model_name_or_path, config)
        model_class = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
        if args.model_name_or_path is None:
            set_labels(config, label_names)
            return PretrainedModel(model_class(config), image_processor, "Its weights started at random.", {})
        has_classifier = any(each.endswith("ForImageClassification") for each in config.architectures or [])
        if has_classifier and not args.ignore_mismatched_sizes:
            check_labels(config, label_names, name)
        else:
            set_labels(config, label_names)
        # in float32, whatever it was saved in
        model = load_checkpoint(
            model_class,
            name,
            new_modules=("classifier",),
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=args.ignore_mismatched_sizes,
        )
        if has_classifier and args.ignore_mismatched_sizes:  # also one that happens to be of the same size
            model.classifier = model_class(config).classifier
        origin = f"It started from the weights of `{get_name(name)}`."
        return PretrainedModel(model, image_processor, origin, read_license(name))
    except (OSError, ValueError, StrictDataclassError) as error:
        argument = "config_name" if args.model_name_or_path is None else "model_name_or_path"
        raise UserError(f"--{argument} {name} cannot be loaded: {error}") from error


def load_config(name: str) -> PretrainedConfig:
    """
    The configuration of a GreenMIM or Swin model.

    Args:
        name (`str`):
            A folder, or a repository on the Hub.

    Raises:
        [`UserError`]: if it is that of another model, or `name` is the folder of a run.
        `OSError` or `ValueError`: if there is none that can be read.
    """
    if (Path(name) / "model" / "config.json").is_file():
        raise UserError(f"{name} is the folder of a run: its model is {name}/model.")
    config = AutoConfig.from_pretrained(name)
    if not isinstance(config, (GreenMimConfig, SwinConfig)):
        raise UserError(f"{name} is of type {config.model_type!r}, neither GreenMIM nor Swin.")
    return config


def set_labels(config: PretrainedConfig, label_names: list[str]):
    """Gives a configuration other labels."""
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}


def check_labels(config: PretrainedConfig, label_names: list[str], model_name: str):
    """Raises an error that names the labels that a classifier does not know."""
    if unknown := [name for name in label_names if name not in config.label2id]:
        known = list(config.label2id)
        raise UserError(
            f"{model_name} has a classifier for {len(known)} labels ({', '.join(map(repr, known[:5]))}{', ...' if len(known) > 5 else ''}), "
            f"and {unknown[0]!r} is none of them. --ignore_mismatched_sizes gives it a new one for the {len(label_names)} labels of "
            "the images."
        )


def get_image_size(config: PretrainedConfig) -> tuple[int, int]:
    """Height and width of the images of a model."""
    size = config.image_size
    return (size, size) if isinstance(size, int) else tuple(size)


def load_image_processor(name: str | None, config: PretrainedConfig) -> BaseImageProcessor:
    """
    The image processor of a model.

    Args:
        name (`str`, *optional*):
            Folder, or repository on the Hub, that may have one.
        config (`PretrainedConfig`):
            Of the model, GreenMIM or Swin. Without an image processor, images get its size, and mean and deviation of ImageNet.

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
