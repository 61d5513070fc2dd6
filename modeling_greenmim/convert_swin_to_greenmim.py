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
Start a GreenMIM model from a Swin Transformer or Swin Transformer V2 of transformers or timm: copy its encoder and add
a new decoder.

Use it to continue pre-training a public Swin on your own images without labels (domain adaptation). Before the folder
appears at its destination, the encoder's features are compared with the Swin's.

    python -m modeling_greenmim.convert_swin_to_greenmim --checkpoint_path microsoft/swin-tiny-patch4-window7-224 \\
        --output_dir my_start
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig

from .checkpoint_folders import (
    create_folder,
    load_checkpoint,
    make_image_processor,
    read_image_processor_settings,
)
from .configuration_greenmim import GreenMimConfig
from .convert_greenmim_to_swin import compare_with_swin
from .feature_comparison import check_differences, set_layer_norm_eps
from .model_card import make_start_card
from .modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimModel
from .swin_families import SWIN_CONFIGS, SWIN_EPS, check_for_transformers, get_family, make_greenmim_config
from .timm_folders import compare_with_timm
from .timm_swin import load_timm_swin, read_timm_config, read_timm_image_processor_settings
from .timm_weights import load_timm_weights


class _Start(NamedTuple):
    """A loaded Swin and the functions that convert and compare it."""

    swin: Any  # of transformers or timm, in float32
    dtype: torch.dtype  # of its weights on disk
    config: GreenMimConfig
    load_weights: Callable[[GreenMimModel], None]  # into a GreenMIM encoder
    compare: Callable[[GreenMimModel, Any], dict[str, float]]  # a GreenMIM encoder with the Swin
    image_processor_settings: dict


def convert_swin_to_greenmim(
    checkpoint_path: str | Path, output_dir: str | Path, allow_eps_difference: bool = False, seed: int = 0
) -> dict[str, float]:
    """
    Write a folder with a [`GreenMimForMaskedImageModeling`] whose encoder has the weights of a Swin.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder, or name on the Hub, of a Swin or Swin V2 from transformers (encoder, classifier, SimMIM or
            backbone) or from timm. A timm model requires timm.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a Swin whose `layer_norm_eps` is not 1e-5. A Swin uses that value for some of its norms
            only, GreenMIM for all of them, so the features differ. The difference is measured.
        seed (`int`, *optional*, defaults to 0):
            Seed of the new decoder.

    Returns:
        `dict[str, float]`: feature differences by name.

    Raises:
        `ValueError`: if the Swin cannot be loaded, the features differ, or the output folder is not empty. In these
        cases, nothing is written.
    """
    with create_folder(output_dir) as folder:
        start = _open_swin(checkpoint_path)
        config = start.config
        if config.layer_norm_eps != SWIN_EPS and not allow_eps_difference:
            raise ValueError(
                f"The Swin's `layer_norm_eps` must be {SWIN_EPS:g}, got {config.layer_norm_eps:g}: some of its norms "
                f"use that value, the others {SWIN_EPS:g}, while GreenMIM uses one value for all. Pass "
                "--allow_eps_difference to convert it anyway and measure the difference."
            )
        torch.manual_seed(seed)
        model = GreenMimForMaskedImageModeling(config)
        start.load_weights(model.greenmim)
        model.to(start.dtype).save_pretrained(folder)
        make_image_processor(config, start.image_processor_settings).save_pretrained(folder)

        written = load_checkpoint(GreenMimForMaskedImageModeling, folder, dtype=torch.float32).greenmim
        # Equal epsilons must give equal features. With its own epsilon, the Swin may differ: measure by how much.
        differences = start.compare(set_layer_norm_eps(written, SWIN_EPS), set_layer_norm_eps(start.swin, SWIN_EPS))
        check_differences(differences)
        if config.layer_norm_eps != SWIN_EPS:
            differences = start.compare(written, start.swin)
        card = make_start_card(
            checkpoint_path, config, get_family(config).name, "the Swin", "convert_swin_to_greenmim", differences
        )
        card.save(folder / "README.md")
    return differences


def _open_swin(checkpoint_path: str | Path) -> _Start:
    try:
        settings, _ = PreTrainedConfig.get_config_dict(checkpoint_path)
        is_timm = settings.get("model_type") == "timm_wrapper"  # the type that transformers gives to timm folders
        config = None if is_timm else AutoConfig.from_pretrained(checkpoint_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{checkpoint_path} is not a model folder or a model on the Hub. ({error})") from error
    if config is None:
        return _open_timm_swin(checkpoint_path)
    if not isinstance(config, SWIN_CONFIGS):
        known = " or ".join(repr(config_class.model_type) for config_class in SWIN_CONFIGS)
        raise ValueError(f"{checkpoint_path} must contain a model of type {known}, got {config.model_type!r}.")
    our_config = make_greenmim_config(config)
    check_for_transformers(our_config)
    family = get_family(our_config)
    swin_class = next(iter(family.architectures.values())).swin_class
    # Backbones have no last norm: initialize it as in any new model
    settings = {"config": config, "dtype": torch.float32, "add_pooling_layer": False}
    dtype = config.dtype or torch.float32  # read before loading, which changes it
    swin = load_checkpoint(swin_class, checkpoint_path, ("layernorm",), **settings)

    def load_weights(encoder: GreenMimModel):
        encoder.load_state_dict({family.get_our_name(name): tensor for name, tensor in swin.state_dict().items()})

    image_processor_settings = read_image_processor_settings(checkpoint_path)
    return _Start(swin, dtype, our_config, load_weights, compare_with_swin, image_processor_settings)


def _open_timm_swin(checkpoint_path: str | Path) -> _Start:
    swin = load_timm_swin(checkpoint_path)
    return _Start(
        swin.float(),
        next(swin.parameters()).dtype,
        read_timm_config(swin),
        lambda encoder: load_timm_weights(encoder, swin.state_dict()),
        compare_with_timm,
        read_timm_image_processor_settings(swin),
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--checkpoint_path",
        required=True,
        help="Folder, or name on the Hub, of a Swin or Swin V2 from transformers or timm.",
    )
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument(
        "--allow_eps_difference",
        action="store_true",
        help="Convert a Swin whose layer_norm_eps is not 1e-5, and print the resulting feature difference.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the new decoder. [%(default)s]")
    args = parser.parse_args()
    try:
        differences = convert_swin_to_greenmim(
            args.checkpoint_path, args.output_dir, args.allow_eps_difference, args.seed
        )
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"Wrote {args.output_dir}. Largest feature difference of the encoder: {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
