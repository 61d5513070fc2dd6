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
"""
Swin families that a GreenMIM encoder can convert to: their models in transformers and timm, and their weight names.
"""

import re
from typing import NamedTuple

from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    SwinBackbone,
    SwinConfig,
    SwinForImageClassification,
    SwinModel,
    Swinv2Backbone,
    Swinv2Config,
    Swinv2ForImageClassification,
    Swinv2Model,
)

from .configuration_greenmim import VALUES_OF_SWINS, GreenMimConfig
from .layout_greenmim import get_grid_size, get_stage_grids
from .modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimModel,
    GreenMimPreTrainedModel,
)
from .planning_greenmim import get_custom_mixers


# Epsilon of the norms in the embeddings, merging and backbones of transformers' Swins, regardless of their
# configuration
SWIN_EPS = 1e-5
SHARED_SETTINGS = (
    *("image_size", "patch_size", "num_channels", "embed_dim", "depths", "num_heads", "window_size"),
    *("qkv_bias", "hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "hidden_act"),
    *("use_absolute_embeddings", "initializer_range", "layer_norm_eps"),
)


class Architecture(NamedTuple):
    """A GreenMIM model class, its transformers counterpart, and the encoder prefix in each."""

    our_class: type[GreenMimPreTrainedModel]
    swin_class: type[PreTrainedModel]
    our_prefix: str
    swin_prefix: str


class SwinFamily(NamedTuple):
    """
    A generation of Swin.

    Args:
        name (`str`):
            Name in cards and errors.
        config_class (`type[PreTrainedConfig]`):
            Configuration class in transformers.
        architectures (`dict[str, Architecture]`):
            Models in transformers by class name, the encoder first.
        settings (`dict`):
            [`GreenMimConfig`] fields of an encoder of this family.
        has_window_sizes (`bool`):
            Whether the configuration has `pretrained_window_sizes`.
        clips_windows (`bool`):
            Whether transformers clips windows to a stage's grid, so that the model runs if the grid is smaller than a
            window.
        weight_names (`dict[str, str]`):
            Patterns in transformers' weight names that differ from GreenMIM's, and their replacements.
        timm_class (`str`), timm_model (`str`):
            Class in timm, and the name of any model of that class.
        timm_weight_names (`dict[str, str]`):
            Patterns in GreenMIM's weight names that are specific to this family, and their replacements in timm.
    """

    name: str
    config_class: type[PreTrainedConfig]
    architectures: dict[str, Architecture]
    settings: dict
    has_window_sizes: bool
    clips_windows: bool
    weight_names: dict[str, str]
    timm_class: str
    timm_model: str
    timm_weight_names: dict[str, str]

    def get_our_name(self, name: str) -> str:
        """
        Translate an encoder weight name of transformers to GreenMIM's. Names that are already the same stay the same.
        """
        for pattern, replacement in self.weight_names.items():
            name = re.sub(pattern, replacement, name)
        return name


SWIN = SwinFamily(
    name="Swin Transformer",
    config_class=SwinConfig,
    architectures={
        "SwinModel": Architecture(GreenMimModel, SwinModel, "", ""),
        "SwinForImageClassification": Architecture(
            GreenMimForImageClassification, SwinForImageClassification, "greenmim.", "swin."
        ),
        "SwinBackbone": Architecture(GreenMimBackbone, SwinBackbone, "", "swin."),
    },
    settings={},
    has_window_sizes=False,
    clips_windows=False,
    weight_names={},
    timm_class="SwinTransformer",
    timm_model="swin_tiny_patch4_window7_224",
    timm_weight_names={
        r"\.attention\.[qkv]_proj\.": ".attn.qkv.",
        r"\.attention\.relative_position_bias\.": ".attn.",
    },
)
SWIN_V2 = SwinFamily(
    name="Swin Transformer V2",
    config_class=Swinv2Config,
    architectures={
        "Swinv2Model": Architecture(GreenMimModel, Swinv2Model, "", ""),
        "Swinv2ForImageClassification": Architecture(
            GreenMimForImageClassification, Swinv2ForImageClassification, "greenmim.", "swinv2."
        ),
        "Swinv2Backbone": Architecture(GreenMimBackbone, Swinv2Backbone, "", ""),
    },
    settings={
        "attention_similarity": "cosine",
        "position_bias": "continuous",
        "norm_placement": "after",
        "merging_norm_placement": "after",
    },
    has_window_sizes=True,
    clips_windows=True,
    weight_names={
        r"\.attention\.self\.query\.": ".attention.q_proj.",
        r"\.attention\.self\.key\.": ".attention.k_proj.",
        r"\.attention\.self\.value\.": ".attention.v_proj.",
        r"\.attention\.self\.logit_scale$": ".attention.similarity.logit_scale",
        r"\.attention\.self\.continuous_position_bias_mlp\.0\.": ".attention.relative_position_bias.fc1.",
        r"\.attention\.self\.continuous_position_bias_mlp\.2\.": ".attention.relative_position_bias.fc2.",
        r"\.attention\.output\.dense\.": ".attention.o_proj.",
        r"\.intermediate\.dense\.": ".mlp.fc1.",
        r"(\.blocks\.\d+)\.output\.dense\.": r"\1.mlp.fc2.",
    },
    timm_class="SwinTransformerV2",
    timm_model="swinv2_tiny_window8_256",
    timm_weight_names={
        r"\.attention\.[qkv]_proj\.weight$": ".attn.qkv.weight",
        r"\.attention\.([qv])_proj\.bias$": r".attn.\1_bias",
        r"\.attention\.similarity\.": ".attn.",
        r"\.attention\.relative_position_bias\.fc1\.": ".attn.cpb_mlp.0.",
        r"\.attention\.relative_position_bias\.fc2\.": ".attn.cpb_mlp.2.",
    },
)
FAMILIES = (SWIN, SWIN_V2)
ARCHITECTURES = {name: architecture for family in FAMILIES for name, architecture in family.architectures.items()}
SWIN_CONFIGS = tuple(family.config_class for family in FAMILIES)


def get_family(config: GreenMimConfig) -> SwinFamily:
    """Return the Swin family of an encoder. Raises a `ValueError` if it belongs to none."""
    if config.is_swin:
        return SWIN
    if config.is_swin_v2:
        return SWIN_V2
    names = ["token_mixers", "hidden_sizes", "mlp_ratio", *SWIN_V2.settings]
    names += [name for name, value in VALUES_OF_SWINS.items() if getattr(config, name) != value]
    raise ValueError(
        "Cannot convert to a Swin because a Swin has windows and shifted windows, channels that double, one "
        f"`mlp_ratio`, all fields of Swin or all of Swin V2 ({SWIN_V2.settings}), and no modules of other models. "
        f"This model has {', '.join(f'`{name}={getattr(config, name)!r}`' for name in names)}. "
        f"{describe_remedy(config)}"
    )


def describe_remedy(config: GreenMimConfig) -> str:
    """How to share a model that no other implementation has, for errors."""
    if names := get_custom_mixers(config):
        return (
            "Share the model folder together with the files that register its token mixers "
            f"({', '.join(map(repr, names))})."
        )
    return "Publish the model with its own code instead: `python -m modeling_greenmim.publish`."


def make_swin_config(config: GreenMimConfig, **settings) -> PreTrainedConfig:
    """Convert an encoder's configuration to transformers' Swin configuration, with additional settings."""
    family = get_family(config)
    settings |= {name: getattr(config, name) for name in SHARED_SETTINGS} | {"mlp_ratio": config.mlp_ratios[0]}
    if family.has_window_sizes:
        settings["pretrained_window_sizes"] = config.pretrained_window_sizes or [0] * config.num_layers
    return family.config_class(**settings)


def make_greenmim_config(swin_config: PreTrainedConfig) -> GreenMimConfig:
    """Convert transformers' Swin configuration to a GreenMIM configuration."""
    family = next(family for family in FAMILIES if isinstance(swin_config, family.config_class))
    settings = {name: getattr(swin_config, name) for name in (*SHARED_SETTINGS, "mlp_ratio")}
    if family.has_window_sizes:
        # has four entries by default, for any number of stages
        window_sizes = swin_config.pretrained_window_sizes or []
        settings["pretrained_window_sizes"] = window_sizes[: len(swin_config.depths)] if any(window_sizes) else None
    return GreenMimConfig(**family.settings, **settings)


def check_for_transformers(config: GreenMimConfig):
    """Raise a `ValueError` if transformers' Swin cannot compute the same features as the encoder."""
    if not get_family(config).clips_windows:
        return
    if config.use_absolute_embeddings:
        raise ValueError(
            "`use_absolute_embeddings` must be `False` because transformers' Swin V2 cannot run with absolute "
            "position embeddings, got `True`."
        )
    window_size, height = config.window_size, config.image_height_and_width[0] // config.patch_size
    grids = get_stage_grids(get_grid_size(config.image_height_and_width, config.patch_size), config.num_layers)
    for stage, (rows, columns) in enumerate(grids):
        their_rows = height // 2**stage
        theirs = (min(window_size, their_rows),) * 2, their_rows <= window_size
        if theirs != ((min(window_size, rows), min(window_size, columns)), min(rows, columns) <= window_size):
            raise ValueError(
                f"Cannot convert because in stage {stage + 1} the grid ({rows} x {columns}) is not larger than the "
                f"window ({window_size}) on all sides: transformers' Swin V2 then sizes square windows by its number "
                "of rows, rounded down, while this model does not. Set a different `image_size` than "
                f"{config.image_height_and_width} in config.json."
            )


__all__ = [
    "ARCHITECTURES",
    "FAMILIES",
    "SWIN_CONFIGS",
    "SWIN_EPS",
    "SwinFamily",
    "check_for_transformers",
    "get_family",
    "make_greenmim_config",
    "make_swin_config",
]
