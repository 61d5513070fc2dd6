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
Convert a GreenMIM model to an ordinary Swin Transformer (or V2), which needs nothing but transformers, or nothing but timm, or
which is a checkpoint of microsoft/Swin-Transformer.

What pre-training has made is the encoder; the decoder stays behind. The folder that is written is read by transformers from
4.57 on, and its features are compared with those of the original before it takes its place.

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
    Writes a folder of transformers' Swin, or Swin V2, with the weights of a GreenMIM folder.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model: of pre-training, an encoder, a classifier or a backbone.
        output_dir (`str` or `Path`):
            Folder to write. It must not exist yet, or be empty.
        architecture (`str`, *optional*):
            `"SwinModel"`, `"SwinForImageClassification"` or `"SwinBackbone"`, or the same of `"Swinv2..."`. By default that of the
            checkpoint, and the encoder for one of pre-training. A classifier, or the norms of feature maps (of all stages), are new
            where the checkpoint has none.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a model whose `layer_norm_eps` is not 1e-5, the only value that transformers' Swin can
            represent. The features then differ, and by how much is measured.

    Returns:
        `dict[str, float]`: the differences of the features, by name.

    Raises:
        `ValueError`: if the folder holds no GreenMIM model that this architecture can be made of, the features differ, or
        the output folder is not empty. Nothing is written then.
    """
    with create_folder(output_dir) as folder:
        architecture = architecture or _get_architecture(checkpoint_path)
        if architecture not in ARCHITECTURES:
            raise ValueError(f"There is no architecture {architecture!r}, only {', '.join(ARCHITECTURES)}.")
        model = _load_greenmim(checkpoint_path, architecture)
        check_for_transformers(model.config)
        _check_eps(model.config, allow_eps_difference)
        _write_swin(model, architecture, folder)
        swin: PreTrainedModel = load_checkpoint(ARCHITECTURES[architecture].swin_class, folder, dtype=torch.float32)
        # with one epsilon there is no difference; with their own, they may differ, by what is then measured
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
    Writes a folder for `timm.create_model("local-dir:...")` with the weights of a GreenMIM folder.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model: of pre-training, an encoder or a classifier.
        output_dir (`str` or `Path`):
            Folder to write. It must not exist yet, or be empty.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a model whose `layer_norm_eps` is not 1e-5, that of timm's Swin.

    Returns:
        `dict[str, float]`, *optional*: the differences of the features, by name; `None` where timm is not installed, and
        nothing could be compared.

    Raises:
        `ValueError`: if timm's Swin cannot represent the model, the features differ, or the output folder is not empty.
        Nothing is written then.
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
        # any Swin of the family: all that makes it this one is in its arguments
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
    Writes a folder with a `checkpoint.pth` in the format of microsoft/Swin-Transformer, which SimMIM, LocalMIM, SPViT and mmdetection
    also read: `{"model": weights}`.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model: of pre-training, an encoder or a classifier.
        output_dir (`str` or `Path`):
            Folder to write. It must not exist yet, or be empty.
        allow_eps_difference (`bool`, *optional*, defaults to `False`):
            Whether to convert a model whose `layer_norm_eps` is not 1e-5, that of the original Swin.

    Returns:
        `dict[str, float]`, *optional*: the differences of the features when timm reads the file, by name; `None` where timm is not
        installed, and nothing could be compared.

    Raises:
        `ValueError`: if the original Swin, or timm's, cannot represent the model, the features differ, or the output folder is not
        empty. Nothing is written then.
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
            "timm's Swins, and the original ones, have no norms of feature maps, but a last norm: convert the encoder or the "
            "classifier instead."
        )
    return model


def _compare_in_timm(
    model: GreenMimModel | GreenMimForImageClassification, timm_model: torch.nn.Module
) -> dict[str, float]:
    differences = compare_with_timm(set_layer_norm_eps(model, SWIN_EPS), timm_model)
    check_differences(differences)
    return differences if model.config.layer_norm_eps == SWIN_EPS else compare_with_timm(model, timm_model)


def _get_architecture(checkpoint_path: str | Path) -> str:
    """What a checkpoint is converted to if nothing is asked for."""
    if (model_type := read_model_type(checkpoint_path)) != GreenMimConfig.model_type:
        raise ValueError(f"{checkpoint_path} holds a model of type {model_type!r}, not a GreenMIM model.")
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
            f"Cannot convert to {architecture!r} because the model is a {get_family(config).name}. Choose among {', '.join(names)}."
        )
    our_class, settings = ARCHITECTURES[architecture].our_class, {}
    if our_class is GreenMimBackbone and saved_as is not GreenMimBackbone:
        settings["out_features"] = config.stage_names[1:]
    # heads, and the last norm, which a backbone has not
    new_modules = ("classifier", "hidden_states_norms", "layernorm", "greenmim.layernorm")
    return load_checkpoint(our_class, checkpoint_path, new_modules, **settings)


def _check_eps(config: GreenMimConfig, allow_eps_difference: bool):
    if config.layer_norm_eps != SWIN_EPS and not allow_eps_difference:
        raise ValueError(
            f"The model has `layer_norm_eps={config.layer_norm_eps:g}`, but Swin's norms have {SWIN_EPS:g}: the features "
            "would differ. With --allow_eps_difference they are converted nevertheless, and the difference is measured."
        )


def _write_swin(model: GreenMimPreTrainedModel, architecture: str, folder: Path):
    """Saves the Swin. transformers writes it under its names of release 4, which all releases read."""
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
    if is_backbone:  # a norm that backbones do not use, and SwinBackbone has
        weights |= {name: tensor for name, tensor in swin.state_dict().items() if weights[name] is None}
    swin.load_state_dict(weights)
    swin.save_pretrained(folder)
    _fit_to_release_4(folder / "model.safetensors", config.window_size)


def _fit_to_release_4(path: Path, window_size: int):
    """
    Adds the buffers that release 4 of transformers reads from the file, and release 5 computes; and drops the last norm of a
    backbone, which nobody uses, and whose prefix makes release 4 look for all weights under other names.
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
    Differences of all outputs of a model of ours and its counterpart in transformers, by name. They are compared at the size of the
    model, or, with a warning, where transformers cannot run that, at the next one that it can.
    """
    is_backbone = isinstance(model, GreenMimBackbone)  # which runs at any size
    runs_at_any_size = is_backbone or get_family(model.config).clips_windows
    image_size = model.config.image_height_and_width if runs_at_any_size else get_comparable_size(model.config)
    if image_size != model.config.image_height_and_width:
        logger.warning(
            f"transformers' Swin cannot run images of {model.config.image_height_and_width} pixels with windows of "
            f"{model.config.window_size}: in its last stage the window is larger than the grid. The folder is written; the "
            f"features are compared at {image_size} pixels, from which size on it runs."
        )

    def get_features(compared_model: PreTrainedModel, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        keywords = {} if is_backbone and compared_model is swin else {"interpolate_pos_encoding": True}
        outputs = compared_model(pixel_values, output_hidden_states=True, **keywords)
        # those of backbones are maps, but for those of Swinv2Backbone
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
    """Settings that an image processor of transformers knows: Swin's own, or one that keeps proportions and cuts."""
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
        not_measured.append("The features, compared with those of the original: timm was not installed.")
    else:
        measured.append(describe_differences(differences, "the original"))
    card = make_model_card(
        title=f"{get_family(config).name}, pre-trained with GreenMIM",
        summary=f"A {describe_encoder(config)}, an ordinary Swin that needs no code of GreenMIM.",
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
    parser.add_argument("--output_dir", required=True, help="Folder to write; it must not exist yet, or be empty.")
    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        help="Class of transformers. Default: that of the checkpoint, the encoder for one of pre-training.",
    )
    parser.add_argument(
        "--format",
        choices=["transformers", *_FORMATS],
        default="transformers",
        help="original: a checkpoint.pth of microsoft/Swin-Transformer, which SimMIM, LocalMIM, SPViT and mmdetection also read. "
        "[%(default)s]",
    )
    parser.add_argument(
        "--allow_eps_difference",
        action="store_true",
        help="Convert a model whose layer_norm_eps is not 1e-5, and print by how much its features differ then.",
    )
    args = parser.parse_args()
    if args.format in _FORMATS and args.architecture:
        parser.error(f"--architecture is for --format transformers: {args.format} has one Swin")
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
        print(f"Wrote {args.output_dir}. timm is not installed: its features were not compared.")
    else:
        print(f"Wrote {args.output_dir}. Largest difference of its features: {max(differences.values()):.1e}")


if __name__ == "__main__":
    main()
