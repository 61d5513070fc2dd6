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
Convert a GreenMIM model to a plain Twins, which loads with timm only.

Only the encoder is converted; the decoder is dropped. If timm is installed, the features of the written folder are
compared with the original model's before the folder appears at its destination.

    python -m modeling_greenmim.convert_greenmim_to_twins --checkpoint_path my_model --output_dir my_twins
"""

import argparse
import json
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from transformers.utils import is_timm_available

from .checkpoint_folders import create_folder, load_checkpoint, read_license, read_model_type
from .configuration_greenmim import GreenMimConfig
from .feature_comparison import check_differences, describe_differences
from .layout_greenmim import get_stage_grids
from .model_card import describe_encoder, make_model_card
from .modeling_greenmim import GreenMimForImageClassification, GreenMimModel
from .swin_families import describe_remedy
from .timm_folders import compare_with_timm, load_timm_model, make_timm_settings
from .twins_weights import TOKEN_MIXERS_OF_PCPVT, TOKEN_MIXERS_OF_SVT, TWINS_SETTINGS, make_timm_state_dict


USAGE = """
import timm

model = timm.create_model("local-dir:path/to/this/folder", pretrained=True)
"""


def convert_greenmim_to_twins(checkpoint_path: str | Path, output_dir: str | Path) -> dict[str, float] | None:
    """
    Convert a GreenMIM folder to a folder for `timm.create_model("local-dir:...")`.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model with the Twins architecture: a pre-training model, encoder or classifier.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.

    Returns:
        `dict[str, float]`, *optional*: feature differences by name, or `None` if timm is not installed and nothing
        could be compared.

    Raises:
        `ValueError`: if timm's Twins cannot represent the model, the features differ, or the output folder is not
        empty. In these cases, nothing is written.
    """
    with create_folder(output_dir) as folder:
        model = _load_greenmim(checkpoint_path)
        config = model.config
        _check_architecture(config)
        _check_image_size(config)
        encoder = model if isinstance(model, GreenMimModel) else model.greenmim
        weights = make_timm_state_dict(encoder)
        if isinstance(model, GreenMimForImageClassification):
            weights |= {f"head.{name}": tensor for name, tensor in model.classifier.state_dict().items()}
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
        # Any Twins name of timm works because the arguments define the whole architecture
        settings = make_timm_settings(
            checkpoint_path, model, "twins_svt_small", _make_model_args(config), "patch_embeds.0.proj", "head"
        )
        (folder / "config.json").write_text(json.dumps(settings, indent=2))

        differences = None
        if is_timm_available():
            differences = compare_with_timm(model, load_timm_model(folder))
            check_differences(differences)
        _write_card(checkpoint_path, config, differences, folder)
    return differences


def _load_greenmim(checkpoint_path: str | Path) -> GreenMimModel | GreenMimForImageClassification:
    if (model_type := read_model_type(checkpoint_path)) != GreenMimConfig.model_type:
        raise ValueError(f"{checkpoint_path} must contain a GreenMIM model, got a model of type {model_type!r}.")
    architectures = GreenMimConfig.from_pretrained(checkpoint_path).architectures or []
    if GreenMimForImageClassification.__name__ in architectures:
        return load_checkpoint(GreenMimForImageClassification, checkpoint_path)
    return load_checkpoint(GreenMimModel, checkpoint_path)


def _has_mixers(config: GreenMimConfig, names: list[str]) -> bool:
    """Whether the layers of every stage cycle through these token mixers."""
    return all(
        config.get_layer_mixers(stage) == [names[layer % len(names)] for layer in range(depth)]
        for stage, depth in enumerate(config.depths)
    )


def _check_architecture(config: GreenMimConfig):
    needed = {
        **TWINS_SETTINGS,
        "norm_placement": "before",
        "norm_type": "layer",
        "score_modulation": None,
        "attention_similarity": "dot_product",
        "hidden_act": "gelu",
        "use_absolute_embeddings": False,
        "embedding_norm": True,
        "patch_kernel_size": None,
        "merging": "projection",
        "merging_kernel_size": None,
    }
    different = {name: getattr(config, name) for name, value in needed.items() if getattr(config, name) != value}
    if not any(_has_mixers(config, names) for names in (TOKEN_MIXERS_OF_SVT, TOKEN_MIXERS_OF_PCPVT)):
        different["token_mixers"] = config.token_mixers
    if different:
        raise ValueError(
            f"Cannot convert to a Twins because Twins has different settings than this model's {different}. "
            f"{describe_remedy(config)}"
        )


def _check_image_size(config: GreenMimConfig):
    """Reject image sizes for which timm's Twins handles the border differently."""
    image_size, unit = config.image_height_and_width, config.mask_unit_size
    if any(side % unit for side in image_size):
        raise ValueError(
            f"The sides of `image_size` must be multiples of {unit} because timm's Twins crops incomplete mask units, "
            f"while this model pads them, got {image_size}. Set a different `image_size` in config.json."
        )
    grid = (image_size[0] // config.patch_size, image_size[1] // config.patch_size)
    for stage, stage_grid in enumerate(get_stage_grids(grid, config.num_layers)):
        if "window" in config.get_layer_mixers(stage) and min(stage_grid) < config.window_size:
            raise ValueError(
                f"Cannot convert to a Twins because in stage {stage + 1} the window ({config.window_size}) is larger "
                f"than the grid ({stage_grid[0]} x {stage_grid[1]}): timm's Twins pads the grid, while this model "
                f"shrinks the window. Set a different `image_size` than {image_size} in config.json."
            )


def _make_model_args(config: GreenMimConfig) -> dict:
    has_windows = _has_mixers(config, TOKEN_MIXERS_OF_SVT)
    return {
        "img_size": list(config.image_height_and_width),
        "patch_size": config.patch_size,
        "in_chans": config.num_channels,
        "embed_dims": config.hidden_sizes,
        "depths": list(config.depths),
        "num_heads": list(config.num_heads),  # type: ignore[arg-type]
        "mlp_ratios": config.mlp_ratios,
        "sr_ratios": [config.get_unit_side(stage) for stage in range(config.num_layers)],
        "wss": [config.window_size] * config.num_layers if has_windows else None,
    }


def _write_card(
    checkpoint_path: str | Path, config: GreenMimConfig, differences: dict[str, float] | None, folder: Path
):
    measured, not_measured = [], ["The accuracy of this model on any task, after the conversion."]
    if differences is None:
        not_measured.append("The features, compared with the original model's: timm was not installed.")
    else:
        measured.append(describe_differences(differences, "the original model"))
    is_classifier = config.architectures == [GreenMimForImageClassification.__name__]
    card = make_model_card(
        title="Twins, pre-trained with GreenMIM",
        summary=f"A {describe_encoder(config)}: a Twins for timm that needs no GreenMIM code.",
        usage=USAGE,
        provenance=(
            f"Converted from the GreenMIM model `{Path(checkpoint_path).name}` by "
            "`modeling_greenmim.convert_greenmim_to_twins`."
        ),
        measured=measured,
        not_measured=not_measured,
        license=read_license(checkpoint_path),
        library_name="timm",
        pipeline_tag="image-classification" if is_classifier else None,
        tags=["twins", "greenmim", "masked-image-modeling", "self-supervised"],
    )
    card.save(folder / "README.md")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--checkpoint_path", required=True, help="Folder of a GreenMIM model.")
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    args = parser.parse_args()
    try:
        differences = convert_greenmim_to_twins(args.checkpoint_path, args.output_dir)
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    if differences is None:
        print(f"Wrote {args.output_dir}. The features were not compared because timm is not installed.")
    else:
        print(f"Wrote {args.output_dir}. Largest feature difference: {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
