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
Start a GreenMIM model from an ordinary Swin Transformer, or Swin Transformer V2, of transformers or timm: its encoder is taken
over, the decoder is new.

With it, a public Swin goes on learning from your own images without labels (domain adaptation). The features of the encoder
are compared with those of the Swin before the folder takes its place.

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
    """What a model starts from."""

    swin: Any  # of transformers or timm, in float32
    dtype: torch.dtype  # of its weights on disk
    config: GreenMimConfig
    load_weights: Callable[[GreenMimModel], None]  # into an encoder of ours
    compare: Callable[[GreenMimModel, Any], dict[str, float]]  # an encoder of ours with the Swin
    image_processor_settings: dict


def convert_swin_to_greenmim(
    checkpoint_path: str | Path, output_dir: str | Path, allow_eps_difference: bool = False, seed: int = 0
) -> dict[str, float]:
    """
    Writes a folder of [`GreenMimForMaskedImageModeling`] whose encoder has the weights of a Swin.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder, or name on the Hub, of any Swin or Swin V2 of transformers (encoder, classifier, SimMIM or backbone), or of timm,
            which then must be installed.
        output_dir (`str` or `Path`):
            Folder to write. It must not exist yet, or be empty.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a Swin whose `layer_norm_eps` is not 1e-5. It holds for a part of its norms only, for all of
            ours, so that the features differ; by how much is measured.
        seed (`int`, *optional*, defaults to 0):
            Seed of the new decoder.

    Returns:
        `dict[str, float]`: the differences of the features, by name.

    Raises:
        `ValueError`: if there is no such Swin, the features differ, or the output folder is not empty. Nothing is written
        then.
    """
    with create_folder(output_dir) as folder:
        start = _open_swin(checkpoint_path)
        config = start.config
        if config.layer_norm_eps != SWIN_EPS and not allow_eps_difference:
            raise ValueError(
                f"The Swin has `layer_norm_eps={config.layer_norm_eps:g}` for a part of its norms, {SWIN_EPS:g} for the "
                "others; ours have one for all. With --allow_eps_difference it is converted nevertheless, and the "
                "difference is measured."
            )
        torch.manual_seed(seed)
        model = GreenMimForMaskedImageModeling(config)
        start.load_weights(model.greenmim)
        model.to(start.dtype).save_pretrained(folder)
        make_image_processor(config, start.image_processor_settings).save_pretrained(folder)

        written = load_checkpoint(GreenMimForMaskedImageModeling, folder, dtype=torch.float32).greenmim
        # with the same epsilon there is no difference; with its own, the Swin may differ, by what is then measured
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
        is_timm = settings.get("model_type") == "timm_wrapper"  # what transformers makes of a folder of timm
        config = None if is_timm else AutoConfig.from_pretrained(checkpoint_path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{checkpoint_path} is not the folder of a model, nor one on the Hub. ({error})") from error
    if config is None:
        return _open_timm_swin(checkpoint_path)
    if not isinstance(config, SWIN_CONFIGS):
        known = " and ".join(repr(config_class.model_type) for config_class in SWIN_CONFIGS)
        raise ValueError(
            f"{checkpoint_path} holds a model of type {config.model_type!r}. Only those of type {known} have an architecture of "
            "GreenMIM's encoder."
        )
    our_config = make_greenmim_config(config)
    check_for_transformers(our_config)
    family = get_family(our_config)
    swin_class = next(iter(family.architectures.values())).swin_class
    # the last norm is missing in a backbone: it starts as it would start in any model
    settings = {"config": config, "dtype": torch.float32, "add_pooling_layer": False}
    dtype = config.dtype or torch.float32  # before loading, which changes it
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
        help="Folder of a Swin or Swin V2 of transformers or timm, or its name on the Hub.",
    )
    parser.add_argument("--output_dir", required=True, help="Folder to write; it must not exist yet, or be empty.")
    parser.add_argument(
        "--allow_eps_difference",
        action="store_true",
        help="Convert a Swin whose layer_norm_eps is not 1e-5, and print by how much its features differ then.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the new decoder. [%(default)s]")
    args = parser.parse_args()
    try:
        differences = convert_swin_to_greenmim(
            args.checkpoint_path, args.output_dir, args.allow_eps_difference, args.seed
        )
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"Wrote {args.output_dir}. Largest difference of the encoder's features: {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
