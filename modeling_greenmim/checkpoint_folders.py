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
"""Atomic writing and strict loading of model folders."""

import json
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import cached_file, logging

from .configuration_greenmim import GreenMimConfig
from .image_processing_pil_greenmim import GreenMimImageProcessorPil


ModelType = TypeVar("ModelType", bound=PreTrainedModel)

logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity


@contextmanager
def create_folder(output_dir: str | Path) -> Iterator[Path]:
    """
    Create a temporary folder that moves to its destination when it is complete. After an error, an interrupt or on a
    full disk, nothing remains.

    Args:
        output_dir (`str` or `Path`):
            Destination. It must not exist yet or must be an empty folder.

    Yields:
        `Path`: the folder to write into.

    Raises:
        `ValueError`: if the destination exists and is not an empty folder.
    """
    output_dir = Path(output_dir).resolve()
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(f"{output_dir} exists and is not an empty folder. Choose another output folder.")
    new_parents = [parent for parent in output_dir.parents if not parent.exists()]
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=output_dir.parent) as temporary:
            folder = Path(temporary) / output_dir.name
            folder.mkdir()
            yield folder
            if output_dir.exists():
                output_dir.rmdir()
            folder.rename(output_dir)
    except BaseException:
        for parent in new_parents:
            parent.rmdir()
        raise


def load_checkpoint(
    model_class: type[ModelType], checkpoint_path: str | Path, new_modules: Sequence[str] = (), **kwargs
) -> ModelType:
    """
    Load a model. The checkpoint must contain all of its weights, except for those of `new_modules`.

    Args:
        model_class (`type[PreTrainedModel]`):
            Class of the model.
        checkpoint_path (`str` or `Path`):
            A local folder, or the name of a repository on the Hub.
        new_modules (`Sequence[str]`, *optional*):
            Modules that are newly initialized, with a warning, if the checkpoint has no weights for them.
        **kwargs:
            Passed to `from_pretrained`.

    Returns:
        `PreTrainedModel`: the model, in evaluation mode.

    Raises:
        `ValueError`: if the checkpoint cannot be read or lacks weights.
    """
    try:
        loaded: Any = model_class.from_pretrained(checkpoint_path, output_loading_info=True, **kwargs)
    except (
        *(OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError),
        *(EOFError, pickle.UnpicklingError, SafetensorError),
    ) as error:
        reason = f"Its weights are damaged or do not match its config.json. ({type(error).__name__}: {error})"
        if type(error) is ValueError:  # the model rejects the configuration, such as an unknown token mixer
            reason = str(error)
        raise ValueError(f"Cannot load {checkpoint_path} as a {model_class.__name__}. {reason}") from error
    model, loading_info = loaded  # `from_pretrained` is annotated to return the model only
    missing = sorted(loading_info["missing_keys"])
    for module in new_modules:
        new = [name for name in missing if name.startswith(f"{module}.")]
        if new:
            logger.warning(
                f"{checkpoint_path} has no weights for `{module}`. It was newly initialized: train it before use."
            )
            missing = [name for name in missing if name not in new]
    if missing:
        raise ValueError(
            f"Cannot load {checkpoint_path} as a {model_class.__name__} because {len(missing)} weights are missing: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}."
        )
    return model.eval()


def read_model_type(checkpoint_path: str | Path) -> str:
    """
    Read the `model_type` from the config.json of a local folder.

    Raises:
        `ValueError`: if the folder does not exist or has no `config.json` with a `model_type`.
    """
    path = Path(checkpoint_path) / "config.json"
    if not path.is_file():
        raise ValueError(f"{checkpoint_path} must be the folder of a saved model, but has no config.json.")
    try:
        return json.loads(path.read_text())["model_type"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must be the configuration of a transformers model, but contains no model_type."
        ) from error


def read_license(checkpoint_path: str | Path) -> dict[str, str]:
    """
    Read the license from the model card of a folder or Hub repository: `license`, and for a license that the Hub does
    not know, `license_name` and `license_link`. Empty if there is no card or the card has no license.

    Raises:
        `ValueError`: if the card cannot be read.
    """
    try:
        path = cached_file(checkpoint_path, "README.md", _raise_exceptions_for_missing_entries=False)
        if path is None:
            return {}
        data = ModelCard.load(path, ignore_metadata_errors=False).data
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"Cannot read the model card of {checkpoint_path}, which may contain a license: {error}"
        ) from error
    names = ("license", "license_name", "license_link")
    return {name: value for name in names if (value := getattr(data, name, None)) is not None}


def read_image_processor_settings(checkpoint_path: str | Path) -> dict:
    """
    Read the `preprocessor_config.json` of a folder or Hub repository. Empty if there is none.

    Raises:
        `ValueError`: if the file cannot be read or does not contain settings.
    """
    try:
        path = cached_file(checkpoint_path, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
        settings = {} if path is None else json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read the preprocessor_config.json of {checkpoint_path}: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"The preprocessor_config.json of {checkpoint_path} must contain a dictionary, got {settings!r}."
        )
    return settings


def make_image_processor(config: GreenMimConfig, settings: dict | None = None) -> GreenMimImageProcessorPil:
    """
    Create the image processor of a model, without masking.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        settings (`dict`, *optional*):
            Settings of any image processor of transformers. By default, images are resized to the model's size. Images
            with three channels are normalized with the mean and standard deviation of ImageNet, all others to values
            from -1 to 1.

    Raises:
        `ValueError`: if its output does not have the model's number of channels.
    """
    height, width = config.image_height_and_width
    size = {"height": height, "width": width}
    defaults: dict = {"size": size, "crop_size": size}
    if config.num_channels != 3:
        half = [0.5] * config.num_channels
        defaults |= {"do_convert_rgb": False, "image_mean": half, "image_std": half}
    known = set(GreenMimImageProcessorPil.valid_kwargs.__annotations__)
    settings = {name: value for name, value in (settings or {}).items() if name in known and value is not None}
    image_processor = GreenMimImageProcessorPil(
        **(defaults | settings | {"mask_unit_size": config.mask_unit_size, "do_mask": False})
    )
    image = np.zeros((config.num_channels, height, width), dtype=np.uint8)
    num_channels = image_processor(image, input_data_format="channels_first", return_tensors="np")[
        "pixel_values"
    ].shape[1]
    if num_channels != config.num_channels:
        raise ValueError(
            f"The image processor must keep the model's {config.num_channels} channels, got {num_channels}. In "
            "preprocessor_config.json, set `do_convert_rgb` to false and give each channel an `image_mean` and "
            "`image_std`."
        )
    return image_processor


__all__ = [
    "create_folder",
    "load_checkpoint",
    "make_image_processor",
    "read_image_processor_settings",
    "read_license",
    "read_model_type",
]
