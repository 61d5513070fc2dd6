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
"""The backbone of a segmenter or detector: a pre-trained GreenMIM or Swin, or one with random weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedModel, SwinBackbone, SwinConfig
from transformers.hf_argparser import HfArg

from .. import GreenMimBackbone, GreenMimConfig
from ..checkpoint_folders import load_checkpoint, read_image_processor_settings, read_license
from .command_line import check_range, get_name
from .errors import UserError


USAGE = """
{imports}from transformers import pipeline

predict = pipeline("{task}", model="{{name}}")
predict("path/to/image.jpg")
"""
BACKBONES = {GreenMimConfig: GreenMimBackbone, SwinConfig: SwinBackbone}


@dataclass
class BackboneArguments:
    """Arguments of the backbone."""

    model_name_or_path: str | None = HfArg(
        default=None, help="Pre-trained GreenMIM or Swin to start from: a folder, or a name on the Hub."
    )
    config_name: str | None = HfArg(
        default=None, help="Configuration of a backbone with random weights: a file, a folder or a name on the Hub."
    )
    drop_path_rate: float = HfArg(
        default=0.1, help="Fraction of images that skip the last layer of the backbone; lower layers have less."
    )

    def __post_init__(self):
        if (self.model_name_or_path is None) == (self.config_name is None):
            raise UserError("Give --model_name_or_path, or, to start from random weights, --config_name.")
        check_range(self, "drop_path_rate", 0, 0.99)


@dataclass
class Backbone:
    """
    A backbone and its provenance.

    Attributes:
        config (`GreenMimConfig` or `SwinConfig`):
            Its configuration, whose `out_features` are the stages with feature maps.
        model (`PreTrainedModel`, *optional*):
            The pre-trained backbone; `None` if its weights are random.
        origin (`str`):
            A sentence about its weights, for the model card.
        license (`dict[str, str]`):
            License of the weights, see [`make_model_card`].
        image_statistics (`dict[str, list[float]]`):
            `image_mean` and `image_std` of its image processor, where it has them.
    """

    config: GreenMimConfig | SwinConfig
    model: PreTrainedModel | None
    origin: str
    license: dict[str, str]
    image_statistics: dict[str, list[float]]

    @property
    def is_greenmim(self) -> bool:
        return isinstance(self.config, GreenMimConfig)

    @property
    def name(self) -> str:
        return "GreenMIM" if self.is_greenmim else "Swin"

    def get_usage(self, task: str) -> str:
        """Code that runs a model on this backbone with the pipeline of a task, with `{name}` for the model."""
        imports = "import modeling_greenmim  # registers the backbone\n" if self.is_greenmim else ""
        return USAGE.format(task=task, imports=imports)


def load_backbone(args: BackboneArguments, num_stages: int | None = None) -> Backbone:
    """
    Loads a backbone.

    Args:
        args ([`BackboneArguments`]):
            Name or path of the backbone.
        num_stages (`int`, *optional*):
            Number of stages, counted from the last one, that return feature maps. All by default.

    Raises:
        [`UserError`]: if it cannot be loaded, or has fewer stages.
    """
    name = args.model_name_or_path or args.config_name
    if (Path(name) / "model" / "config.json").is_file():
        raise UserError(f"{name} is the folder of a run: its model is {name}/model.")
    try:
        config = AutoConfig.from_pretrained(name)
        if type(config) not in BACKBONES:
            raise UserError(f"{name} must be a GreenMIM or a Swin, got the model type {config.model_type!r}.")
        stages = [f"stage{stage + 1}" for stage in range(len(config.depths))]
        if num_stages is not None and num_stages > len(stages):
            raise UserError(f"{name} has {len(stages)} stages, and {num_stages} feature maps are needed.")
        config.set_output_features_output_indices(out_features=stages[-(num_stages or 0) :], out_indices=None)
        config.drop_path_rate = args.drop_path_rate
        if args.model_name_or_path is None:
            return Backbone(config, None, "Its weights started at random.", {}, {})
        model = load_checkpoint(
            BACKBONES[type(config)], name, new_modules=("hidden_states_norms",), config=config, dtype=torch.float32
        )
        origin = f"Its backbone started from the weights of `{get_name(name)}`."
        settings = read_image_processor_settings(name)
        statistics = {key: settings[key] for key in ("image_mean", "image_std") if key in settings}
        return Backbone(config, model, origin, read_license(name), statistics)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise UserError(" ".join(str(error).split())) from error
