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
Start a hierarchical GreenMIM model from a plain Vision Transformer, such as a ViT-MAE, from transformers or timm:
split its layers into stages and add a new decoder.

As in HPViT, patches are smaller, and 2 x 2 tokens merge by their mean between stages of constant width. Stages with a
finer grid than the ViT's use windows; the others use global attention. There is no class token. Before the folder
appears at its destination, the same layers are run as one stage, and their features are compared with the ViT's
without its class token.

    python -m modeling_greenmim.convert_vit_to_greenmim --checkpoint_path facebook/vit-mae-base --output_dir my_start
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError

from .checkpoint_folders import create_folder, make_image_processor
from .feature_comparison import check_differences, compare_features, make_test_images
from .model_card import make_start_card
from .modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimModel
from .plain_vit import PlainViT, load_plain_vit, load_vit_weights, make_hierarchy_config


def convert_vit_to_greenmim(
    checkpoint_path: str | Path,
    output_dir: str | Path,
    depths: Sequence[int] | None = None,
    patch_size: int = 4,
    window_size: int = 7,
    seed: int = 0,
) -> dict[str, float]:
    """
    Write a folder with a [`GreenMimForMaskedImageModeling`] whose encoder has the weights of a plain ViT.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder, or name on the Hub, of a ViT or ViT-MAE from transformers or a ViT from timm. A timm model requires
            timm.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        depths (`Sequence[int]`, *optional*):
            Number of ViT layers in each stage. By default, each stage with a finer grid than the ViT's gets one layer,
            one coarser stage gets the last two, and the stage with the ViT's grid gets all others. With the ViT's
            patch size, there is one stage by default.
        patch_size (`int`, *optional*, defaults to 4):
            Patch side in pixels: the ViT's patch side divided by a power of two.
        window_size (`int`, *optional*, defaults to 7):
            Window side, in tokens, of the stages with a finer grid than the ViT's.
        seed (`int`, *optional*, defaults to 0):
            Seed of the new decoder.

    Returns:
        `dict[str, float]`: feature differences by name, between the same layers in one stage and the ViT without its
        class token.

    Raises:
        `ValueError`: if the ViT cannot be loaded, the depths or the patch size do not fit it, the features differ, or
        the output folder is not empty. In these cases, nothing is written.
    """
    with create_folder(output_dir) as folder:
        vit = load_plain_vit(checkpoint_path)
        depths = _get_depths(vit, depths, patch_size)
        differences = _compare_one_stage(vit)
        config = make_hierarchy_config(vit, depths, patch_size, window_size)
        torch.manual_seed(seed)
        model = GreenMimForMaskedImageModeling(config)
        load_vit_weights(model.greenmim, vit)
        model.to(vit.dtype).save_pretrained(folder)
        make_image_processor(config, vit.image_processor_settings).save_pretrained(folder)
        reference = "the ViT without its class token, for the same layers in one stage"
        card = make_start_card(checkpoint_path, config, "plain ViT", reference, "convert_vit_to_greenmim", differences)
        card.save(folder / "README.md")
    return differences


def _get_depths(vit: PlainViT, depths: Sequence[int] | None, patch_size: int) -> list[int]:
    vit_patch_size, (num_layers,) = vit.settings["patch_size"], vit.settings["depths"]
    ratio = vit_patch_size // patch_size if patch_size > 0 else 0
    if ratio * patch_size != vit_patch_size or ratio & (ratio - 1):
        fitting = [vit_patch_size >> shift for shift in range(6) if vit_patch_size % (1 << shift) == 0]
        raise ValueError(
            f"--patch_size must be the ViT's patch size, {vit_patch_size}, divided by a power of two, got "
            f"{patch_size}. Use one of {fitting}."
        )
    if depths is None:
        num_fine = ratio.bit_length() - 1
        depths = [1] * num_fine + [num_layers - num_fine - 2, 2] if num_fine else [num_layers]
    if sum(depths) != num_layers or min(depths) < 1:
        raise ValueError(
            f"--depths must be positive integers that add up to the {num_layers} layers of the ViT, got "
            f"{list(depths)}. Pass different depths."
        )
    return list(depths)


def _compare_one_stage(vit: PlainViT) -> dict[str, float]:
    """Compare a model with all layers in one stage with the ViT without its class token."""
    config = make_hierarchy_config(vit, vit.settings["depths"], vit.settings["patch_size"], window_size=1)
    encoder = GreenMimModel(config).eval()
    load_vit_weights(encoder, vit)
    differences = compare_features(
        lambda pixel_values: {"last_hidden_state": encoder(pixel_values).last_hidden_state},
        lambda pixel_values: {"last_hidden_state": vit.encode(pixel_values)},
        make_test_images(config, config.image_height_and_width),
    )
    check_differences(differences)
    return differences


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--checkpoint_path",
        required=True,
        help="Folder, or name on the Hub, of a ViT or ViT-MAE from transformers or a ViT from timm.",
    )
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument(
        "--depths",
        type=int,
        nargs="+",
        help="Number of ViT layers in each stage. Default for 12 layers and a patch size reduced from 16 to 4: 1 1 "
        "8 2.",
    )
    parser.add_argument(
        "--patch_size",
        type=int,
        default=4,
        help="Patch side in pixels: the ViT's patch side divided by a power of two. [%(default)s]",
    )
    parser.add_argument(
        "--window_size",
        type=int,
        default=7,
        help="Window side, in tokens, of the stages with a finer grid than the ViT's. [%(default)s]",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the new decoder. [%(default)s]")
    args = parser.parse_args()
    try:
        differences = convert_vit_to_greenmim(**vars(args))
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    print(
        f"Wrote {args.output_dir}. Largest feature difference of the same layers in one stage: "
        f"{max(differences.values()):.1e}"
    )


if __name__ == "__main__":
    main()
