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
Start a GreenMIM model from a Twins of timm: copy its encoder and add a new decoder.

Use it to continue pre-training a public Twins-SVT or Twins-PCPVT on your own images without labels (domain
adaptation). If timm is installed, the encoder's features are compared with those of timm's model before the folder
appears at its destination.

    python -m modeling_greenmim.convert_twins_to_greenmim --checkpoint_path model.safetensors \\
        --model_name twins_svt_small --output_dir my_start
"""

import argparse
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.utils import cached_file, is_timm_available

from .checkpoint_folders import create_folder, load_checkpoint, make_image_processor
from .configuration_greenmim import GreenMimConfig
from .feature_comparison import check_differences
from .model_card import make_start_card
from .modeling_greenmim import GreenMimForMaskedImageModeling
from .timm_folders import compare_with_timm
from .twins_weights import TWINS_MODELS, make_encoder_state_dict


def convert_twins_to_greenmim(
    checkpoint_path: str | Path, model_name: str, output_dir: str | Path, seed: int = 0
) -> dict[str, float] | None:
    """
    Write a folder with a [`GreenMimForMaskedImageModeling`] whose encoder has the weights of a Twins.

    Args:
        checkpoint_path (`str` or `Path`):
            Safetensors file with the weights of a timm Twins, or a folder or Hub repository that contains a
            `model.safetensors`. If a folder or repository has a model card with a license, the new card repeats it.
        model_name (`str`):
            Model name in timm: `"twins_svt_small"`, `"twins_pcpvt_small"`, or the same with `base` or `large`.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        seed (`int`, *optional*, defaults to 0):
            Seed of the new decoder.

    Returns:
        `dict[str, float]`, *optional*: feature differences by name, or `None` if timm is not installed and nothing
        could be compared.

    Raises:
        `ValueError`: if the Twins cannot be loaded, the features differ, or the output folder is not empty. In these
        cases, nothing is written.
    """
    if model_name not in TWINS_MODELS:
        raise ValueError(f"`model_name` must be one of {', '.join(TWINS_MODELS)}, got {model_name!r}.")
    with create_folder(output_dir) as folder:
        weights = _load_weights(checkpoint_path)
        projection = weights.get("patch_embeds.0.proj.weight")
        if projection is None or projection.ndim != 4:
            raise ValueError(
                f"{checkpoint_path} must contain the weights of a timm Twins, but has no patch embeddings."
            )
        torch.manual_seed(seed)
        config = GreenMimConfig(**TWINS_MODELS[model_name], num_channels=projection.shape[1])
        model = GreenMimForMaskedImageModeling(config)
        try:
            model.greenmim.load_state_dict(make_encoder_state_dict(weights, model.greenmim))
        except ValueError as error:
            raise ValueError(f"{checkpoint_path} must contain the weights of a {model_name}. {error}") from error
        model.to(projection.dtype).save_pretrained(folder)
        make_image_processor(config).save_pretrained(folder)

        differences = None
        if is_timm_available():
            written = load_checkpoint(GreenMimForMaskedImageModeling, folder, dtype=torch.float32).greenmim
            differences = compare_with_timm(written, _make_timm_model(model_name, weights, config))
            check_differences(differences)
        card = make_start_card(
            checkpoint_path, config, "Twins", f"timm's `{model_name}`", "convert_twins_to_greenmim", differences
        )
        card.save(folder / "README.md")
    return differences


def _load_weights(checkpoint_path: str | Path) -> dict[str, torch.Tensor]:
    path = checkpoint_path
    try:
        if not Path(path).is_file():
            path = cached_file(checkpoint_path, "model.safetensors")
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{checkpoint_path} must be a safetensors file, or a folder or repository with a model.safetensors. "
            f"({error})"
        ) from error


def _make_timm_model(model_name: str, weights: dict[str, torch.Tensor], config: GreenMimConfig) -> torch.nn.Module:
    import timm

    timm_model = timm.create_model(model_name, pretrained=False, num_classes=0, in_chans=config.num_channels)
    timm_model.load_state_dict({name: tensor for name, tensor in weights.items() if not name.startswith("head.")})
    return timm_model


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--checkpoint_path",
        required=True,
        help="Safetensors file with timm weights, or a folder or Hub repository that contains a model.safetensors.",
    )
    parser.add_argument("--model_name", required=True, choices=TWINS_MODELS, help="Name of the model in timm.")
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the new decoder. [%(default)s]")
    args = parser.parse_args()
    try:
        differences = convert_twins_to_greenmim(args.checkpoint_path, args.model_name, args.output_dir, args.seed)
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    if differences is None:
        print(f"Wrote {args.output_dir}. The encoder's features were not compared because timm is not installed.")
    else:
        print(f"Wrote {args.output_dir}. Largest feature difference of the encoder: {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
