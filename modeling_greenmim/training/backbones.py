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
"""The backbone of a dense task: a pre-trained GreenMIM or Swin, or one that starts at random."""

from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedModel, SwinBackbone, SwinConfig

from .. import GreenMimBackbone, GreenMimConfig
from ..checkpoint_folders import load_checkpoint, read_license
from .command_line import UserError, argument, check_range, get_name


BACKBONES = {GreenMimConfig: GreenMimBackbone, SwinConfig: SwinBackbone}


@dataclass
class BackboneArguments:
    """What is fine-tuned."""

    model_name_or_path: str | None = argument(
        "Pre-trained model to start from, GreenMIM or Swin, in a folder or on the Hub."
    )
    config_name: str | None = argument(
        "Configuration of a backbone that starts at random: a file, a folder or a name."
    )
    drop_path_rate: float = argument(
        "Share of images that skip the last layer of the backbone; less for lower ones.", 0.1
    )

    def __post_init__(self):
        if (self.model_name_or_path is None) == (self.config_name is None):
            raise UserError("Give --model_name_or_path, or, to start at random, --config_name.")
        check_range(self, "drop_path_rate", 0, 0.99)


@dataclass
class Backbone:
    """
    A backbone, and where it comes from.

    Attributes:
        config (`GreenMimConfig` or `SwinConfig`):
            Its configuration, with the stages whose feature maps it puts out.
        model (`PreTrainedModel`, *optional*):
            With its weights; `None` if it starts at random.
        origin (`str`):
            A sentence on its weights.
        license (`dict[str, str]`):
            Their license.
    """

    config: GreenMimConfig | SwinConfig
    model: PreTrainedModel | None
    origin: str
    license: dict[str, str]

    @property
    def is_greenmim(self) -> bool:
        return isinstance(self.config, GreenMimConfig)


def load_backbone(args: BackboneArguments, num_stages: int | None = None) -> Backbone:
    """
    Loads a backbone.

    Args:
        args ([`BackboneArguments`]):
            Which.
        num_stages (`int`, *optional*):
            Number of stages whose feature maps it puts out, the last ones. By default all.

    Raises:
        [`UserError`]: if there is none.
    """
    name = args.model_name_or_path or args.config_name
    if (Path(name) / "model" / "config.json").is_file():
        raise UserError(f"{name} is the folder of a run: its model is {name}/model.")
    try:
        config = AutoConfig.from_pretrained(name)
        if type(config) not in BACKBONES:
            raise UserError(f"{name} is of type {config.model_type!r}, neither GreenMIM nor Swin.")
        names = [f"stage{stage + 1}" for stage in range(len(config.depths))]
        if num_stages is not None and num_stages > len(names):
            raise UserError(f"{name} has {len(names)} stages, and {num_stages} feature maps are needed.")
        config.set_output_features_output_indices(
            out_features=names[-num_stages:] if num_stages else names, out_indices=None
        )
        config.drop_path_rate = args.drop_path_rate
        if args.model_name_or_path is None:
            return Backbone(config, None, "Its weights started at random.", {})
        model = load_checkpoint(
            BACKBONES[type(config)], name, new_modules=("hidden_states_norms",), config=config, dtype=torch.float32
        )
        origin = f"Its backbone started from the weights of `{get_name(name)}`."
        return Backbone(config, model, origin, read_license(name))
    except (OSError, ValueError, StrictDataclassError) as error:
        raise UserError(" ".join(str(error).split())) from error
