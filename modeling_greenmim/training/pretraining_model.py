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
"""The model that pre-training starts from: a new one, a GreenMIM model, or any Swin of transformers."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, SwinConfig, set_seed

from .. import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from ..checkpoint_folders import load_checkpoint, make_image_processor, read_image_processor_settings, read_license
from ..convert_swin_to_greenmim import convert_swin_to_greenmim
from ..masking_greenmim import get_unit_grid
from .command_line import get_name
from .errors import UserError
from .micro_batches import PretrainingCollator
from .pretraining_arguments import ModelArguments


@dataclass
class PretrainedModel:
    """A model that is ready to be trained, its image processor, a sentence on its weights, and their license."""

    model: GreenMimForMaskedImageModeling
    image_processor: GreenMimImageProcessorPil
    origin: str
    license: dict[str, str]

    def make_collator(self, args: ModelArguments, static_shapes: bool = False) -> PretrainingCollator:
        """Makes what makes micro-batches for the model; see [`GreenMimDataCollator`] for `static_shapes`."""
        masks = {"mask_sampler": args.mask_sampler, "per_sample": args.mask_per_sample}
        return PretrainingCollator(self.model.config, self.image_processor, **masks, static_shapes=static_shapes)


def make_pretrained_model(
    args: ModelArguments, seed: int, config: GreenMimConfig | None = None, license: str | None = None
) -> PretrainedModel:
    """
    Makes or loads the model.

    Args:
        args ([`ModelArguments`]), seed (`int`):
            Which model, and the seed of new weights.
        config ([`GreenMimConfig`], *optional*):
            Configuration of a new model, instead of `args.config_name_or_path`.
        license (`str`, *optional*):
            License of weights that start at random. Training does not change the license of others.

    Raises:
        [`UserError`]: if there is no such model, its weights do not fit the settings, or have another license.
    """
    set_seed(seed)
    name = args.model_name_or_path
    try:
        if name is None:
            config = config or _read_config("config_name_or_path", args.config_name_or_path, GreenMimConfig)
            model = GreenMimForMaskedImageModeling(_override(config, args))
            origin, stated = "Its weights started at random.", {}
        else:
            model, is_swin = _load_model(args, seed)
            origin = f"It started from the weights of `{get_name(name)}`{', with a new decoder' if is_swin else ''}."
            stated = read_license(name)
        # raises, if images of this size are not made of whole units
        get_unit_grid(model.config.image_height_and_width, model.config.mask_unit_size)
        image_processor = _make_image_processor(args, model.config)
    except (OSError, ValueError, AttributeError, TypeError, StrictDataclassError) as error:
        raise UserError(str(error)) from error
    if license and stated.get("license", license) != license:
        raise UserError(
            f"--license must be {stated['license']!r}, that of the weights in {name}, got {license!r}. Omit it."
        )
    return PretrainedModel(model, image_processor, origin, stated or ({"license": license} if license else {}))


def _read_config(argument: str, name: str | None, *classes: type[PreTrainedConfig]) -> PreTrainedConfig:
    config = GreenMimConfig() if name is None else AutoConfig.from_pretrained(name)
    if not isinstance(config, classes):
        known = " or ".join(known.model_type for known in classes)
        raise ValueError(f"--{argument} must be of type {known}, but {name} is of type {config.model_type!r}.")
    return config


def _override(config: GreenMimConfig, args: ModelArguments) -> GreenMimConfig:
    settings = {name: getattr(args, name) for name in ("image_size", "mask_ratio") if getattr(args, name) is not None}
    config = GreenMimConfig.from_dict(config.to_dict())
    if args.config_overrides:
        config.update_from_string(args.config_overrides)
    return GreenMimConfig.from_dict({**config.to_dict(), **settings})  # which checks them together


def _load_model(args: ModelArguments, seed: int) -> tuple[GreenMimForMaskedImageModeling, bool]:
    """The model, and whether it comes from a Swin."""
    name = args.model_name_or_path
    if (Path(name) / "model" / "config.json").is_file():
        raise ValueError(f"--model_name_or_path {name} is the folder of a run: its model is {name}/model.")
    config = _read_config("model_name_or_path", name, GreenMimConfig, SwinConfig)
    with tempfile.TemporaryDirectory() as temporary:
        if is_swin := isinstance(config, SwinConfig):
            convert_swin_to_greenmim(name, folder := Path(temporary) / "model", seed=seed)
            name, config = folder, GreenMimConfig.from_pretrained(folder)
        # of a bare encoder, the decoder is new; and in float32, whatever it was saved in
        settings = {"config": _override(config, args), "dtype": torch.float32}
        return load_checkpoint(GreenMimForMaskedImageModeling, name, new_modules=("decoder",), **settings), is_swin


def _make_image_processor(args: ModelArguments, config: GreenMimConfig) -> GreenMimImageProcessorPil:
    name = args.image_processor_name or args.model_name_or_path
    settings = {} if name is None else read_image_processor_settings(name)
    if args.image_processor_name is not None and not settings:
        raise ValueError(f"--image_processor_name {name} has no preprocessor_config.json.")
    if args.image_size is not None:  # the settings are for another one
        settings = {key: value for key, value in settings.items() if key not in ("size", "crop_size")}
    return make_image_processor(config, settings)
