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
"""Model cards from one template. Every claim is a recorded measurement or is listed as not measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedConfig

from .checkpoint_folders import read_license
from .configuration_greenmim import GreenMimConfig
from .feature_comparison import describe_differences
from .planning_greenmim import get_custom_mixers


TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"
PIPELINE_USAGE = """
{imports}from transformers import pipeline

predict = pipeline("{task}", model="{name}"{trust})
predict("path/to/image.jpg")
"""
USAGE = """
{imports}from transformers import AutoModel

model = AutoModel.from_pretrained("{name}")
"""
START_USAGE = """
from modeling_greenmim import GreenMimForMaskedImageModeling

model = GreenMimForMaskedImageModeling.from_pretrained("path/to/this/folder")
"""


def make_model_card(
    title: str,
    summary: str,
    usage: str,
    provenance: str,
    not_measured: Sequence[str],
    measured: Sequence[str] = (),
    license: dict[str, str] | None = None,
    **card_data,
) -> ModelCard:
    """
    Fill the model card template.

    Args:
        title (`str`):
            Heading of the card.
        summary (`str`):
            One sentence that describes the model.
        usage (`str`):
            Python code that loads the model.
        provenance (`str`):
            Origin of the weights: data, duration, machine and command of the training, or the source of a conversion.
        not_measured (`Sequence[str]`):
            Open questions that a reader may have and nobody has measured.
        measured (`Sequence[str]`, *optional*):
            Results, each with its split, number of images and seed.
        license (`dict[str, str]`, *optional*):
            License of the weights: `license`, its name on the Hub, and for a license unknown to the Hub,
            `license_name` and `license_link`. Without a license, the card states that it is unknown.
        **card_data:
            Metadata for [`~huggingface_hub.ModelCardData`].

    Returns:
        [`~huggingface_hub.ModelCard`]

    Example:

    ```python
    >>> from modeling_greenmim.model_card import make_model_card

    >>> card = make_model_card(
    ...     "A title", "A model.", "print()", "Weights are random.", ["Anything."], license={"license": "cc-by-nc-4.0"}
    ... )
    >>> "CC BY-NC 4.0" in card.text
    True
    ```"""
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["greenmim", "masked-image-modeling", "self-supervised"],
    }
    return ModelCard.from_template(
        ModelCardData(**(metadata | (license or {}) | card_data)),
        template_path=str(TEMPLATE),
        title=title,
        summary=summary,
        usage=usage.strip(),
        provenance=provenance,
        measured=measured,
        not_measured=not_measured,
        license=f"{describe_license(license or {})} The code of GreenMIM for transformers is under Apache-2.0.",
    )


def make_start_card(
    checkpoint_path: str | Path,
    config: GreenMimConfig,
    family: str,
    reference: str,
    converter: str,
    differences: dict[str, float] | None,
) -> ModelCard:
    """
    Create the card of a model with a converted encoder and a new decoder.

    Args:
        checkpoint_path (`str` or `Path`):
            File, folder or Hub repository of the encoder's source. The card omits local directories.
        config ([`GreenMimConfig`]):
            Configuration of the model.
        family (`str`):
            Name of the source architecture.
        reference (`str`):
            Model that the features were compared with.
        converter (`str`):
            Name of the converter module.
        differences (`dict[str, float]`, *optional*):
            Feature differences by name, or `None` if nothing was compared because timm was not installed.

    Returns:
        [`~huggingface_hub.ModelCard`]
    """
    path = Path(checkpoint_path)
    measured, not_measured = [], ["Anything else. Train this model before use."]
    if differences is None:
        not_measured.append(f"The features, compared with {reference}: timm was not installed.")
    else:
        measured.append(describe_differences(differences, reference))
    return make_model_card(
        title=f"GreenMIM, started from a {family}",
        summary=f"A {describe_encoder(config)}, with a new decoder. A starting point for pre-training on other "
        "images.",
        usage=START_USAGE,
        provenance=(
            f"The encoder was converted from `{path.name if path.exists() else checkpoint_path}` by "
            f"`modeling_greenmim.{converter}`. The decoder is untrained."
        ),
        measured=measured,
        not_measured=not_measured,
        license={} if path.is_file() else read_license(checkpoint_path),
    )


def describe_license(license: dict[str, str]) -> str:
    """Describe the license of the weights in one sentence for a card."""
    if not license:
        return "The license of the weights was not stated when this card was written."
    if license["license"] == "cc-by-nc-4.0":
        return "The weights are under CC BY-NC 4.0, for non-commercial use only."
    name = license.get("license_name", license["license"])
    return (
        f"The weights are under [{name}]({license['license_link']})."
        if "license_link" in license
        else (f"The weights are under `{name}`.")
    )


def describe_encoder(config: GreenMimConfig) -> str:
    """Describe the encoder's architecture in one line for a card."""
    height, width = config.image_height_and_width
    images = f"images of {height} x {width} pixels with {config.num_channels} channels"
    if config.is_swin or config.is_swin_v2:
        return (
            f"Swin Transformer{' V2' if config.is_swin_v2 else ''} ({config.embed_dim} channels, depths "
            f"{config.depths}, heads {config.num_heads}, windows of {config.window_size}, {images})"
        )
    mixers = ", ".join("/".join(dict.fromkeys(config.get_layer_mixers(stage))) for stage in range(config.num_layers))
    return (
        f"hierarchical vision transformer (channels {config.hidden_sizes}, depths {config.depths}, heads "
        f"{config.num_heads}, MLP ratios {config.mlp_ratios}, token mixers {mixers}, {images})"
    )


def has_greenmim_encoder(config: PreTrainedConfig) -> bool:
    """Whether a model is a GreenMIM model or has a GreenMIM backbone."""
    return isinstance(get_encoder_config(config), GreenMimConfig)


def get_encoder_config(config: PreTrainedConfig) -> Any:
    """Configuration of a model's encoder: of its backbone if it has one."""
    return getattr(config, "backbone_config", config)


def has_own_code(config: PreTrainedConfig) -> bool:
    """Whether the folder of a model contains its code: a GreenMIM model without token mixers from outside."""
    return isinstance(config, GreenMimConfig) and not get_custom_mixers(config)


def make_imports(config: PreTrainedConfig) -> str:
    """Python code that registers the classes and token mixers of a model whose folder does not contain its code."""
    if not has_greenmim_encoder(config):
        return ""
    imports = "import modeling_greenmim  # registers the model\n"
    for name, module in get_custom_mixers(get_encoder_config(config)).items():
        if module in (None, "__main__"):
            imports += f"# First register the token mixer {name!r} in TOKEN_MIXERS: this folder lacks its code.\n"
        else:
            imports += f"import {module}  # registers the token mixer {name!r}: this folder lacks its code\n"
    return imports


def make_usage(config: PreTrainedConfig, name: str) -> str:
    """Python code that loads the model of a folder that does not contain its code."""
    return USAGE.format(imports=make_imports(config), name=name)


def make_pipeline_usage(config: PreTrainedConfig, task: str, name: str) -> str:
    """Python code that runs the model of a folder or repository in a pipeline."""
    has_code = has_own_code(config)
    imports, trust = ("", ", trust_remote_code=True") if has_code else (make_imports(config), "")
    return PIPELINE_USAGE.format(imports=imports, task=task, name=name, trust=trust)


__all__ = [
    "describe_encoder",
    "describe_license",
    "get_encoder_config",
    "has_greenmim_encoder",
    "has_own_code",
    "make_imports",
    "make_model_card",
    "make_pipeline_usage",
    "make_start_card",
    "make_usage",
]
