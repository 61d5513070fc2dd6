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
"""What a pre-training starts from: a new model, a GreenMIM model, or any Swin of transformers."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, SwinConfig, set_seed

from .. import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from ..checkpoint_folders import (
    load_checkpoint,
    make_image_processor,
    read_image_processor_settings,
    read_license,
)
from ..convert_swin_to_greenmim import convert_swin_to_greenmim
from ..masking_greenmim import get_unit_grid
from .command_line import UserError, get_name
from .pretraining_arguments import ModelArguments


NEW_MODULES = ("decoder",)


@dataclass
class PretrainedModel:
    """A model that is ready to be trained, and where it comes from."""

    model: GreenMimForMaskedImageModeling
    image_processor: GreenMimImageProcessorPil
    origin: str
    license: dict[str, str]


def make_pretrained_model(args: ModelArguments, seed: int) -> PretrainedModel:
    """
    Makes or loads the model.

    Raises:
        [`UserError`]: if there is none, or its weights do not fit the settings.
    """
    set_seed(seed)
    try:
        if args.model_name_or_path is None:
            config = _read_config(args)
            model, origin, license = GreenMimForMaskedImageModeling(config), "Its weights started at random.", {}
        else:
            model, is_swin = _load_model(args, seed)
            decoder = ", with a new decoder" if is_swin else ""
            license = read_license(args.model_name_or_path)
            origin = f"It started from the weights of `{get_name(args.model_name_or_path)}`{decoder}."
        # raises, if images of this size are not made of whole units
        get_unit_grid(model.config.image_height_and_width, model.config.mask_unit_size)
        return PretrainedModel(model, _make_image_processor(args, model.config), origin, license)
    except (OSError, ValueError, AttributeError, TypeError, StrictDataclassError) as error:
        raise UserError(str(error)) from error


def _read_config(args: ModelArguments) -> GreenMimConfig:
    if args.config_name_or_path is None:
        config = GreenMimConfig()
    else:
        config = AutoConfig.from_pretrained(args.config_name_or_path)
        if not isinstance(config, GreenMimConfig):
            raise ValueError(f"--config_name_or_path {args.config_name_or_path} is of type {config.model_type!r}.")
    return _override(config, args)


def _override(config: GreenMimConfig, args: ModelArguments) -> GreenMimConfig:
    settings = {name: getattr(args, name) for name in ("image_size", "mask_ratio") if getattr(args, name) is not None}
    if args.config_overrides:
        config.update_from_string(args.config_overrides)
    return GreenMimConfig.from_dict({**config.to_dict(), **settings})  # which checks them together


def _load_model(args: ModelArguments, seed: int) -> tuple[GreenMimForMaskedImageModeling, bool]:
    """The model, and whether it comes from a Swin."""
    if (Path(args.model_name_or_path) / "model" / "config.json").is_file():
        raise ValueError(
            f"--model_name_or_path {args.model_name_or_path} is the folder of a run: its model is {args.model_name_or_path}/model."
        )
    config = AutoConfig.from_pretrained(args.model_name_or_path)
    if isinstance(config, SwinConfig):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            convert_swin_to_greenmim(args.model_name_or_path, folder, seed=seed)
            return _load_greenmim(folder, args), True
    if not isinstance(config, GreenMimConfig):
        raise ValueError(
            f"--model_name_or_path {args.model_name_or_path} is of type {config.model_type!r}, neither GreenMIM nor Swin."
        )
    return _load_greenmim(args.model_name_or_path, args), False


def _load_greenmim(folder: str | Path, args: ModelArguments) -> GreenMimForMaskedImageModeling:
    config = _override(GreenMimConfig.from_pretrained(folder), args)
    # of an encoder alone, the decoder is new; and in float32, whatever it was saved in
    return load_checkpoint(
        GreenMimForMaskedImageModeling, folder, new_modules=NEW_MODULES, config=config, dtype=torch.float32
    )


def _make_image_processor(args: ModelArguments, config: GreenMimConfig) -> GreenMimImageProcessorPil:
    name = args.image_processor_name or args.model_name_or_path
    settings = {} if name is None else read_image_processor_settings(name)
    if args.image_processor_name is not None and not settings:
        raise ValueError(f"--image_processor_name {name} has no preprocessor_config.json.")
    if args.image_size is not None:  # that of the settings is another one
        settings = {key: value for key, value in settings.items() if key not in ("size", "crop_size")}
    return make_image_processor(config, settings)
