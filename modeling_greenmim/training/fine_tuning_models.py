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
"""Models to fine-tune: any GreenMIM or Swin, with a classifier or as a backbone."""

from dataclasses import dataclass

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    MODEL_FOR_BACKBONE_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    AutoImageProcessor,
    BaseImageProcessor,
    PreTrainedModel,
    SwinConfig,
    Swinv2Config,
    ViTImageProcessorPil,
)
from transformers.hf_argparser import HfArg
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from .. import GreenMimConfig
from ..checkpoint_folders import load_checkpoint, make_image_processor, read_image_processor_settings, read_license
from ..config_files import read_config
from .command_line import check_range, get_name
from .errors import UserError, explain_loading


@dataclass
class StartArguments:
    """Model to start from."""

    model_name_or_path: str | None = HfArg(default=None, help="GreenMIM or Swin model, a folder or a name on the Hub.")
    config_name: str | None = HfArg(default=None, help="Configuration of a model to train from scratch.")
    image_processor_name: str | None = HfArg(default=None, help="Image processor. By default, the model's.")
    drop_path_rate: float = HfArg(default=0.1, help="Probability of skipping the last layer; lower for lower layers.")

    def __post_init__(self):
        if (self.model_name_or_path is None) == (self.config_name is None):
            raise UserError("Pass either --model_name_or_path or, to train from scratch, --config_name.")
        check_range(self, "drop_path_rate", 0, 0.99)


@dataclass
class StartingModel:
    """A model and its provenance."""

    model: PreTrainedModel
    image_processor: BaseImageProcessor
    origin: str  # a sentence about its weights
    license: dict[str, str]  # of its weights, see `make_model_card`

    @property
    def config(self) -> GreenMimConfig | SwinConfig | Swinv2Config:
        return self.model.config

    @property
    def is_greenmim(self) -> bool:
        return isinstance(self.config, GreenMimConfig)


def load_classifier(
    args: StartArguments, label_names: list[str], ignore_mismatched_sizes: bool = False
) -> StartingModel:
    """
    Loads or creates a model with a classifier. A model that knows these labels keeps its classifier and label ids; with
    `ignore_mismatched_sizes`, it gets a new one. Raises a [`UserError`] for a missing model or an unknown label.
    """
    config = load_config(args.model_name_or_path, args.config_name)
    has_classifier = any(kind.endswith("ForImageClassification") for kind in config.architectures or [])
    if args.model_name_or_path and has_classifier and not ignore_mismatched_sizes:
        if unknown := [name for name in label_names if name not in config.label2id]:
            known = f"{len(config.label2id)} labels (such as {', '.join(map(repr, list(config.label2id)[:5]))})"
            raise UserError(
                f"{args.model_name_or_path} has a classifier for {known}, but {unknown[0]!r} is not one of them. "
                "Pass --ignore_mismatched_sizes to replace it."
            )
    else:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {label: index for index, label in enumerate(label_names)}
    model_class = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    start = _load_model(args, model_class, config, "classifier", ignore_mismatched_sizes=ignore_mismatched_sizes)
    if has_classifier and ignore_mismatched_sizes:  # even if the old one has the same size
        start.model.classifier = model_class(config).classifier
    return start


def load_backbone(args: StartArguments, num_stages: int | None = None) -> StartingModel:
    """
    Loads or creates a backbone with feature maps of the last `num_stages` stages, by default all. Raises a
    [`UserError`] if it cannot be loaded, or has fewer stages.
    """
    config = load_config(args.model_name_or_path, args.config_name)
    stages = [f"stage{stage + 1}" for stage in range(len(config.depths))]
    if num_stages is not None and num_stages > len(stages):
        raise UserError(f"The model must have at least {num_stages} stages, got {len(stages)}.")
    config.set_output_features_output_indices(out_features=stages[-(num_stages or 0) :], out_indices=None)
    return _load_model(args, MODEL_FOR_BACKBONE_MAPPING[type(config)], config, "hidden_states_norms")


def _load_model(args: StartArguments, model_class: type, config, new_module: str, **kwargs) -> StartingModel:
    config.drop_path_rate = args.drop_path_rate
    name = args.model_name_or_path
    image_processor = load_image_processor(args.image_processor_name or name, config)
    with explain_loading(name or args.config_name, StrictDataclassError):
        if name is None:
            return StartingModel(model_class(config), image_processor, "Its weights were randomly initialized.", {})
        model = load_checkpoint(model_class, name, (new_module,), config=config, dtype=torch.float32, **kwargs)
        origin = f"It started from the weights of `{get_name(name)}`."
        return StartingModel(model, image_processor, origin, read_license(name))


def load_config(model_name: str | None, config_name: str | None = None) -> GreenMimConfig | SwinConfig | Swinv2Config:
    """Loads a configuration, see [`read_config`]. Raises a [`UserError`] if it cannot, or for any other model."""
    option, name = ("--model_name_or_path", model_name) if model_name else ("--config_name", config_name)
    try:
        config = read_config(name, option)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not isinstance(config, (GreenMimConfig, SwinConfig, Swinv2Config)):
        raise UserError(f"{option} must be a GreenMIM or Swin model, got {name} of type {config.model_type!r}.")
    return config


def load_image_processor(name: str | None, config: GreenMimConfig | SwinConfig | Swinv2Config) -> BaseImageProcessor:
    """
    Loads the image processor of a model. Without one, images are resized to the model's size, and normalized by the
    mean and standard deviation of ImageNet. Raises a [`UserError`] if it cannot be read, or does not fit the model.
    """
    with explain_loading(name):
        settings = {} if name is None else read_image_processor_settings(name)
        if isinstance(config, GreenMimConfig):
            return make_image_processor(config, settings)
        if settings:
            return AutoImageProcessor.from_pretrained(name, backend="pil")
    height, width = get_image_size(config)
    return ViTImageProcessorPil(
        size={"height": height, "width": width}, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD
    )


def get_image_size(config: GreenMimConfig | SwinConfig | Swinv2Config) -> tuple[int, int]:
    """Height and width of a model's images."""
    size = config.image_size
    return (size, size) if isinstance(size, int) else tuple(size)
