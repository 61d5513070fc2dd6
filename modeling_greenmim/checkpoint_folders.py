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
"""Folders of models: written whole or not at all, and read with errors that say what is wrong with them."""

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
    Gives a folder to write into that takes its place only when everything is written: after an error, an interrupt or on
    a full disk, nothing is left of it.

    Args:
        output_dir (`str` or `Path`):
            Its place. It must not exist yet, or be an empty folder.

    Yields:
        `Path`: the folder to write into.

    Raises:
        `ValueError`: if there is something in its place already.
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
    Loads a model of which every weight must be in the checkpoint, but for those of modules that may be new.

    Args:
        model_class (`type[PreTrainedModel]`):
            Class of the model.
        checkpoint_path (`str` or `Path`):
            A local folder, or the name of a repository on the Hub.
        new_modules (`Sequence[str]`, *optional*):
            Modules of the model that are initialized, with a warning, if the checkpoint has no weights for them.
        **kwargs:
            Passed to `from_pretrained`.

    Returns:
        `PreTrainedModel`: the model, in evaluation mode.

    Raises:
        `ValueError`: if it cannot be read, or weights are missing.
    """
    try:
        loaded: Any = model_class.from_pretrained(checkpoint_path, output_loading_info=True, **kwargs)
    except (
        *(OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError),
        *(EOFError, pickle.UnpicklingError, SafetensorError),
    ) as error:
        raise ValueError(
            f"{checkpoint_path} cannot be loaded as a {model_class.__name__}: its weights are damaged, or are not those "
            f"that its config.json describes. ({type(error).__name__}: {error})"
        ) from error
    model, loading_info = loaded  # `from_pretrained` is annotated to return the model only
    missing = sorted(loading_info["missing_keys"])
    for module in new_modules:
        new = [name for name in missing if name.startswith(f"{module}.")]
        if new:
            logger.warning(f"{checkpoint_path} has no weights for `{module}`: it is new, and has yet to be trained.")
            missing = [name for name in missing if name not in new]
    if missing:
        raise ValueError(
            f"{checkpoint_path} lacks {len(missing)} weights of a {model_class.__name__}: {', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}."
        )
    return model.eval()


def read_model_type(checkpoint_path: str | Path) -> str:
    """
    The `model_type` in the config.json of a local folder.

    Raises:
        `ValueError`: if there is no such folder, or no `config.json` with a `model_type` in it.
    """
    path = Path(checkpoint_path) / "config.json"
    if not path.is_file():
        raise ValueError(f"{checkpoint_path} is not the folder of a saved model: it has no config.json.")
    try:
        return json.loads(path.read_text())["model_type"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not the configuration of a model of transformers: it names no model_type."
        ) from error


def read_license(checkpoint_path: str | Path) -> dict[str, str]:
    """
    What the model card of a folder, or of a repository on the Hub, says about the license: `license`, and for one that the
    Hub does not know, `license_name` and `license_link`. Empty if there is no card, or nothing in it.

    Raises:
        `ValueError`: if there is a card that cannot be read.
    """
    try:
        path = cached_file(checkpoint_path, "README.md", _raise_exceptions_for_missing_entries=False)
        if path is None:
            return {}
        data = ModelCard.load(path, ignore_metadata_errors=False).data
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"The model card of {checkpoint_path}, which may name a license, cannot be read: {error}"
        ) from error
    names = ("license", "license_name", "license_link")
    return {name: value for name in names if (value := getattr(data, name, None)) is not None}


def read_image_processor_settings(checkpoint_path: str | Path) -> dict:
    """
    The `preprocessor_config.json` of a folder, or of a repository on the Hub; empty if there is none.

    Raises:
        `ValueError`: if it cannot be read, or holds something else.
    """
    try:
        path = cached_file(checkpoint_path, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
        settings = {} if path is None else json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"The preprocessor_config.json of {checkpoint_path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"The preprocessor_config.json of {checkpoint_path} holds no settings, but {settings!r}.")
    return settings


def make_image_processor(config: GreenMimConfig, settings: dict | None = None) -> GreenMimImageProcessorPil:
    """
    The image processor of a model, which does not mask.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        settings (`dict`, *optional*):
            Settings of another image processor of transformers. Without them, images get the size of the model; those of
            three channels the mean and standard deviation of ImageNet, all others values from -1 to 1.

    Raises:
        `ValueError`: if it does not make of an image what the model takes.
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
            f"The image processor makes {num_channels} channels of an image of {config.num_channels}, as many as the model "
            "takes. Set `do_convert_rgb` to false in preprocessor_config.json, and one `image_mean` and `image_std` each."
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
