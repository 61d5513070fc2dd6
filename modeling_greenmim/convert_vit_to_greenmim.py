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
Start a hierarchical GreenMIM model from a plain Vision Transformer, such as a ViT-MAE, of transformers or timm: the layers become
stages, the decoder is new.

As in HPViT, patches are smaller, and 2 x 2 tokens merge by their mean between stages of constant width. Stages with a finer grid than the
ViT's have windows, the others global attention. There is no class token. The features of the same layers in one stage are compared with
those of the ViT without its class token before the folder takes its place.

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
    Writes a folder of [`GreenMimForMaskedImageModeling`] whose encoder has the weights of a plain ViT.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder, or name on the Hub, of a ViT or ViT-MAE of transformers, or of a ViT of timm, which then must be installed.
        output_dir (`str` or `Path`):
            Folder to write. It must not exist yet, or be empty.
        depths (`Sequence[int]`, *optional*):
            Number of the ViT's layers in each stage. By default one in each stage that is finer than the ViT's grid, the last two in a
            coarser one, and all others in the stage of its grid; with the patches of the ViT, one stage.
        patch_size (`int`, *optional*, defaults to 4):
            Side of the patches in pixels: that of the ViT, divided by a power of two.
        window_size (`int`, *optional*, defaults to 7):
            Side of the windows of stages that are finer than the ViT's grid.
        seed (`int`, *optional*, defaults to 0):
            Seed of the new decoder.

    Returns:
        `dict[str, float]`: the differences of the features of the same layers in one stage from those of the ViT without its class
        token, by name.

    Raises:
        `ValueError`: if there is no such ViT, the depths or the patch size do not fit it, the features differ, or the output folder is
        not empty. Nothing is written then.
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
            f"--patch_size must be that of the ViT, {vit_patch_size}, divided by a power of two, got {patch_size}. Use one of "
            f"{fitting}."
        )
    if depths is None:
        num_fine = ratio.bit_length() - 1
        depths = [1] * num_fine + [num_layers - num_fine - 2, 2] if num_fine else [num_layers]
    if sum(depths) != num_layers or min(depths) < 1:
        raise ValueError(
            f"--depths must be numbers of at least 1 that add up to the {num_layers} layers of the ViT, got {list(depths)}. Pass "
            "different ones."
        )
    return list(depths)


def _compare_one_stage(vit: PlainViT) -> dict[str, float]:
    """Differences of a model with all layers in one stage from the ViT without its class token."""
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
        help="Folder of a ViT or ViT-MAE of transformers, or of a ViT of timm, or its name on the Hub.",
    )
    parser.add_argument("--output_dir", required=True, help="Folder to write; it must not exist yet, or be empty.")
    parser.add_argument(
        "--depths",
        type=int,
        nargs="+",
        help="Layers of the ViT in each stage, such as 1 1 8 2, the default for 12 layers and patches of 16 that become 4.",
    )
    parser.add_argument(
        "--patch_size",
        type=int,
        default=4,
        help="Side of the patches: that of the ViT, divided by a power of two. [%(default)s]",
    )
    parser.add_argument(
        "--window_size",
        type=int,
        default=7,
        help="Side of the windows of stages with a finer grid than the ViT's. [%(default)s]",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the new decoder. [%(default)s]")
    args = parser.parse_args()
    try:
        differences = convert_vit_to_greenmim(**vars(args))
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    print(
        f"Wrote {args.output_dir}. Largest difference of the features of the same layers in one stage: "
        f"{max(differences.values()):.1e}"
    )


if __name__ == "__main__":
    main()
