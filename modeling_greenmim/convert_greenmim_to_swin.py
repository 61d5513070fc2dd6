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
Convert a GreenMIM model to a plain Swin Transformer or Swin Transformer V2: a transformers folder, a timm folder, or a
microsoft/Swin-Transformer checkpoint. The result loads without this package.

Only the encoder is converted; the decoder is dropped. transformers 4.57 and later read the written folder. Before the
folder appears at its destination, its features are compared with the original model's.

    python -m modeling_greenmim.convert_greenmim_to_swin --checkpoint_path my_model --output_dir my_swin
"""

import argparse
import json
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.utils import is_timm_available, logging

from .checkpoint_folders import (
    create_folder,
    load_checkpoint,
    read_image_processor_settings,
    read_license,
    read_model_type,
)
from .configuration_greenmim import GreenMimConfig
from .feature_comparison import (
    check_differences,
    compare_features,
    describe_differences,
    get_comparable_size,
    make_test_images,
    set_layer_norm_eps,
)
from .model_card import describe_encoder, make_model_card
from .modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimModel,
    GreenMimPreTrainedModel,
)
from .original_swin import check_for_original, load_original_in_timm, make_original_state_dict
from .swin_families import ARCHITECTURES, SWIN_EPS, check_for_transformers, get_family, make_swin_config
from .timm_folders import compare_with_timm, load_timm_model, make_timm_settings
from .timm_swin import check_for_timm, make_timm_arguments
from .timm_weights import make_timm_state_dict


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

_USAGE = """
from transformers import {name}

model = {name}.from_pretrained("path/to/this/folder")
"""
_AUTO_CLASSES = {GreenMimModel: "AutoModel", GreenMimForImageClassification: "AutoModelForImageClassification"}
_TIMM_USAGE = """
import timm

model = timm.create_model("local-dir:path/to/this/folder", pretrained=True)
"""
_ORIGINAL_USAGE = """
import torch

weights = torch.load("path/to/this/folder/checkpoint.pth", weights_only=True)["model"]
"""


def convert_greenmim_to_swin(
    checkpoint_path: str | Path,
    output_dir: str | Path,
    architecture: str | None = None,
    allow_eps_difference: bool = False,
) -> dict[str, float]:
    """
    Convert a GreenMIM folder to a folder of transformers' Swin or Swin V2.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model: a pre-training model, encoder, classifier or backbone.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        architecture (`str`, *optional*):
            `"SwinModel"`, `"SwinForImageClassification"`, `"SwinBackbone"`, or their `"Swinv2..."` counterparts. By
            default, the counterpart of the checkpoint's class, or the encoder for a pre-training model. If the
            checkpoint has no classifier or no norms of feature maps (of all stages), they are newly initialized.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a model whose `layer_norm_eps` is not 1e-5, the only value that transformers' Swin can
            represent. The features then differ, and the difference is measured.

    Returns:
        `dict[str, float]`: feature differences by name.

    Raises:
        `ValueError`: if the model in the folder cannot be converted to this architecture, the features differ, or the
        output folder is not empty. In these cases, nothing is written.
    """
    with create_folder(output_dir) as folder:
        architecture = architecture or _get_architecture(checkpoint_path)
        if architecture not in ARCHITECTURES:
            raise ValueError(f"`architecture` must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}.")
        model = _load_greenmim(checkpoint_path, architecture)
        check_for_transformers(model.config)
        _check_eps(model.config, allow_eps_difference)
        _write_swin(model, architecture, folder)
        swin: PreTrainedModel = load_checkpoint(ARCHITECTURES[architecture].swin_class, folder, dtype=torch.float32)
        # Equal epsilons must give equal features. With their own epsilons, the models may differ: measure by how much.
        differences = compare_with_swin(set_layer_norm_eps(model, SWIN_EPS), set_layer_norm_eps(swin, SWIN_EPS))
        check_differences(differences)
        if model.config.layer_norm_eps != SWIN_EPS:
            differences = compare_with_swin(model, swin)
        _write_image_processor(checkpoint_path, folder)
        auto_class = _AUTO_CLASSES.get(type(model), architecture)
        _write_card(checkpoint_path, model.config, _USAGE.format(name=auto_class), differences, folder)
    return differences


def convert_greenmim_to_timm(
    checkpoint_path: str | Path, output_dir: str | Path, allow_eps_difference: bool = False
) -> dict[str, float] | None:
    """
    Convert a GreenMIM folder to a folder for `timm.create_model("local-dir:...")`.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model: a pre-training model, encoder or classifier.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a model whose `layer_norm_eps` is not 1e-5, the value of timm's Swin.

    Returns:
        `dict[str, float]`, *optional*: feature differences by name, or `None` if timm is not installed and nothing
        could be compared.

    Raises:
        `ValueError`: if timm's Swin cannot represent the model, the features differ, or the output folder is not
        empty. In these cases, nothing is written.
    """
    with create_folder(output_dir) as folder:
        model = _load_for_timm(checkpoint_path, allow_eps_difference)
        config = model.config
        check_for_timm(config)
        encoder = model if isinstance(model, GreenMimModel) else model.greenmim
        weights = make_timm_state_dict(encoder)
        if isinstance(model, GreenMimForImageClassification):
            weights |= {f"head.fc.{name}": tensor for name, tensor in model.classifier.state_dict().items()}
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
        # Any model name of the family works because the arguments define the whole architecture
        name, arguments = get_family(config).timm_model, make_timm_arguments(config)
        settings = make_timm_settings(checkpoint_path, model, name, arguments, "patch_embed.proj", "head.fc")
        (folder / "config.json").write_text(json.dumps(settings, indent=2))

        differences = None
        if is_timm_available():
            differences = _compare_in_timm(model, load_timm_model(folder))
        _write_card(checkpoint_path, config, _TIMM_USAGE, differences, folder, library_name="timm")
    return differences


def convert_greenmim_to_original_swin(
    checkpoint_path: str | Path, output_dir: str | Path, allow_eps_difference: bool = False
) -> dict[str, float] | None:
    """
    Convert a GreenMIM folder to a folder with a microsoft/Swin-Transformer checkpoint, `checkpoint.pth`, which SimMIM,
    LocalMIM, SPViT and mmdetection also read. The file contains `{"model": weights}`.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model: a pre-training model, encoder or classifier.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a model whose `layer_norm_eps` is not 1e-5, the value of the original Swin.

    Returns:
        `dict[str, float]`, *optional*: feature differences by name when timm reads the file, or `None` if timm is not
        installed and nothing could be compared.

    Raises:
        `ValueError`: if the original Swin or timm's Swin cannot represent the model, the features differ, or the
        output folder is not empty. In these cases, nothing is written.
    """
    with create_folder(output_dir) as folder:
        model = _load_for_timm(checkpoint_path, allow_eps_difference)
        check_for_original(model.config)
        path = folder / "checkpoint.pth"
        torch.save({"model": make_original_state_dict(model)}, path)
        differences = None
        if is_timm_available():
            differences = _compare_in_timm(model, load_original_in_timm(path, model))
        _write_card(checkpoint_path, model.config, _ORIGINAL_USAGE, differences, folder, library_name="pytorch")
    return differences


def _load_for_timm(
    checkpoint_path: str | Path, allow_eps_difference: bool
) -> GreenMimModel | GreenMimForImageClassification:
    model = _load_greenmim(checkpoint_path, _get_architecture(checkpoint_path))
    _check_eps(model.config, allow_eps_difference)
    if not isinstance(model, (GreenMimModel, GreenMimForImageClassification)):
        raise ValueError(
            "Cannot convert a backbone to timm or to the original format because their Swins have a last norm but no "
            "norms of feature maps. Convert the encoder or the classifier instead."
        )
    return model


def _compare_in_timm(
    model: GreenMimModel | GreenMimForImageClassification, timm_model: torch.nn.Module
) -> dict[str, float]:
    differences = compare_with_timm(set_layer_norm_eps(model, SWIN_EPS), timm_model)
    check_differences(differences)
    return differences if model.config.layer_norm_eps == SWIN_EPS else compare_with_timm(model, timm_model)


def _get_architecture(checkpoint_path: str | Path) -> str:
    """Default architecture for a checkpoint."""
    if (model_type := read_model_type(checkpoint_path)) != GreenMimConfig.model_type:
        raise ValueError(f"{checkpoint_path} must contain a GreenMIM model, got a model of type {model_type!r}.")
    config = GreenMimConfig.from_pretrained(checkpoint_path)
    architectures = get_family(config).architectures
    for name, architecture in architectures.items():
        if architecture.our_class.__name__ in (config.architectures or []):
            return name
    return next(iter(architectures))


def _load_greenmim(checkpoint_path: str | Path, architecture: str) -> GreenMimPreTrainedModel:
    saved_as = ARCHITECTURES[_get_architecture(checkpoint_path)].our_class
    config = GreenMimConfig.from_pretrained(checkpoint_path)
    if architecture not in (names := get_family(config).architectures):
        raise ValueError(
            f"Cannot convert to {architecture!r} because the model is a {get_family(config).name}. Use one of "
            f"{', '.join(names)}."
        )
    our_class, settings = ARCHITECTURES[architecture].our_class, {}
    if our_class is GreenMimBackbone and saved_as is not GreenMimBackbone:
        settings["out_features"] = config.stage_names[1:]
    # heads, and the last norm, which backbones do not have
    new_modules = ("classifier", "hidden_states_norms", "layernorm", "greenmim.layernorm")
    return load_checkpoint(our_class, checkpoint_path, new_modules, **settings)


def _check_eps(config: GreenMimConfig, allow_eps_difference: bool):
    if config.layer_norm_eps != SWIN_EPS and not allow_eps_difference:
        raise ValueError(
            f"`layer_norm_eps` must be {SWIN_EPS:g}, as in Swin's norms, for equal features, got "
            f"{config.layer_norm_eps:g}. Pass --allow_eps_difference to convert the model anyway and measure the "
            "difference."
        )


def _write_swin(model: GreenMimPreTrainedModel, architecture: str, folder: Path):
    """Save the Swin. transformers writes weight names of release 4, which all releases read."""
    _, swin_class, our_prefix, swin_prefix = ARCHITECTURES[architecture]
    config, is_backbone = model.config, isinstance(model, GreenMimBackbone)
    swin_config = make_swin_config(
        config,
        encoder_stride=config.mask_unit_size,
        out_features=config.out_features if is_backbone else None,
        id2label=config.id2label,
        label2id=config.label2id,
        problem_type=config.problem_type,
    )
    swin = swin_class(swin_config).to(model.dtype)
    ours, family = model.state_dict(), get_family(config)
    weights = {}
    for name in swin.state_dict():
        encoder_name = our_prefix + family.get_our_name(name.removeprefix(swin_prefix))
        is_encoder = name.startswith(swin_prefix) and encoder_name in ours
        weights[name] = ours.get(encoder_name if is_encoder else name)
    if is_backbone:  # SwinBackbone has a last norm that it does not use
        weights |= {name: tensor for name, tensor in swin.state_dict().items() if weights[name] is None}
    swin.load_state_dict(weights)
    swin.save_pretrained(folder)
    _fit_to_release_4(folder / "model.safetensors", config.window_size)


def _fit_to_release_4(path: Path, window_size: int):
    """
    Add the buffers that release 4 of transformers reads from the file and release 5 computes. Drop the last norm of a
    backbone: nothing uses it, and its prefix makes release 4 look for all weights under other names.
    """
    weights, places = load_file(path), torch.arange(window_size)
    rows, columns = (places.flatten() for places in torch.meshgrid(places, places, indexing="ij"))
    index = (
        (rows[:, None] - rows + window_size - 1) * (2 * window_size - 1) + columns[:, None] - columns + window_size - 1
    )
    weights |= {
        name.replace("_bias_table", "_index"): index.clone()
        for name in weights
        if name.endswith("relative_position_bias_table")
    }
    if any(name.startswith("hidden_states_norms.") for name in weights):
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("swin.layernorm.")}
    save_file(weights, path, metadata={"format": "pt"})


def compare_with_swin(model: GreenMimPreTrainedModel, swin: PreTrainedModel) -> dict[str, float]:
    """
    Compare all outputs of a GreenMIM model with its transformers counterpart, and return the differences by name. The
    images have the model's size. If transformers cannot run that size, a warning is logged and the next size that it
    can run is used.
    """
    is_backbone = isinstance(model, GreenMimBackbone)  # which runs at any size
    runs_at_any_size = is_backbone or get_family(model.config).clips_windows
    image_size = model.config.image_height_and_width if runs_at_any_size else get_comparable_size(model.config)
    if image_size != model.config.image_height_and_width:
        logger.warning(
            f"transformers' Swin cannot run images of {model.config.image_height_and_width} pixels with windows of "
            f"{model.config.window_size} because the window is larger than the grid of the last stage. The folder is "
            f"written, and the features are compared at {image_size} pixels. Use at least this image size with the "
            "converted model."
        )

    def get_features(compared_model: PreTrainedModel, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        keywords = {} if is_backbone and compared_model is swin else {"interpolate_pos_encoding": True}
        outputs = compared_model(pixel_values, output_hidden_states=True, **keywords)
        # Backbones return feature maps, except for Swinv2Backbone
        hidden_states = [states if states.ndim == 3 else states.flatten(2).mT for states in outputs.hidden_states]
        features = {f"hidden_states[{i}]": tensor for i, tensor in enumerate(hidden_states)}
        for name in ("last_hidden_state", "pooler_output", "logits"):
            if outputs.get(name) is not None:
                features[name] = outputs[name]
        return features | {f"feature_maps[{i}]": maps for i, maps in enumerate(outputs.get("feature_maps") or ())}

    ours = model.float()
    return compare_features(
        lambda pixel_values: get_features(swin, pixel_values),
        lambda pixel_values: get_features(ours, pixel_values),
        make_test_images(model.config, image_size),
    )


def _write_image_processor(checkpoint_path: str | Path, folder: Path):
    """Write settings for an image processor of transformers: Swin's own, or one that keeps proportions and crops."""
    ours = read_image_processor_settings(checkpoint_path)
    if not ours:
        return
    does_crop = ours.get("do_center_crop", False)
    names = [
        "do_resize",
        "size",
        "resample",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
    ]
    names += ["do_convert_rgb", "do_center_crop"] + ["crop_size"] * does_crop
    settings = {name: ours[name] for name in names if ours.get(name) is not None}
    keeps_proportions = does_crop or "shortest_edge" in ours.get("size", {})
    settings["image_processor_type"] = "CLIPImageProcessor" if keeps_proportions else "ViTImageProcessor"
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2))


def _write_card(
    checkpoint_path: str | Path,
    config: GreenMimConfig,
    usage: str,
    differences: dict[str, float] | None,
    folder: Path,
    library_name: str = "transformers",
):
    measured, not_measured = [], ["The accuracy of this model on any task, after the conversion."]
    if differences is None:
        not_measured.append("The features, compared with the original model's: timm was not installed.")
    else:
        measured.append(describe_differences(differences, "the original model"))
    card = make_model_card(
        title=f"{get_family(config).name}, pre-trained with GreenMIM",
        summary=f"A {describe_encoder(config)}: a plain Swin that needs no GreenMIM code.",
        usage=usage,
        provenance=(
            f"Converted from the GreenMIM model `{Path(checkpoint_path).name}` by "
            "`modeling_greenmim.convert_greenmim_to_swin`."
        ),
        measured=measured,
        not_measured=not_measured,
        license=read_license(checkpoint_path),
        library_name=library_name,
        pipeline_tag="image-classification" if config.architectures == ["GreenMimForImageClassification"] else None,
        tags=["swin", "greenmim", "masked-image-modeling", "self-supervised"],
    )
    card.save(folder / "README.md")


_FORMATS = {"timm": convert_greenmim_to_timm, "original": convert_greenmim_to_original_swin}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--checkpoint_path", required=True, help="Folder of a GreenMIM model.")
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        help="transformers class to convert to. Default: the counterpart of the checkpoint's class, or the encoder "
        "for a pre-training model.",
    )
    parser.add_argument(
        "--format",
        choices=["transformers", *_FORMATS],
        default="transformers",
        help="Output format. 'original' writes a checkpoint.pth of microsoft/Swin-Transformer, which SimMIM, "
        "LocalMIM, SPViT and mmdetection also read. [%(default)s]",
    )
    parser.add_argument(
        "--allow_eps_difference",
        action="store_true",
        help="Convert a model whose layer_norm_eps is not 1e-5, and print the resulting feature difference.",
    )
    args = parser.parse_args()
    if args.format in _FORMATS and args.architecture:
        parser.error(
            f"--architecture must not be passed with --format {args.format}. Use it with --format transformers only"
        )
    try:
        if convert := _FORMATS.get(args.format):
            differences = convert(args.checkpoint_path, args.output_dir, args.allow_eps_difference)
        else:
            differences = convert_greenmim_to_swin(
                args.checkpoint_path, args.output_dir, args.architecture, args.allow_eps_difference
            )
    except (OSError, ValueError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    if differences is None:
        print(f"Wrote {args.output_dir}. The features were not compared because timm is not installed.")
    else:
        print(f"Wrote {args.output_dir}. Largest feature difference: {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
