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

from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging


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
    output_dir = Path(output_dir)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(f"{output_dir} exists and is not an empty folder. Choose another output folder.")
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output_dir.name}-", dir=output_dir.parent) as temporary:
        folder = Path(temporary) / output_dir.name
        folder.mkdir()
        yield folder
        if output_dir.exists():
            output_dir.rmdir()
        folder.rename(output_dir)


def load_checkpoint(
    model_class: type[PreTrainedModel], checkpoint_path: str | Path, new_modules: Sequence[str] = (), **kwargs
) -> PreTrainedModel:
    """
    Loads a model of which every weight must be in the checkpoint, but for those of modules that may be new.

    Args:
        model_class (`type[PreTrainedModel]`):
            Class of the model.
        checkpoint_path (`str` or `Path`):
            A local folder, or the name of a repository on the Hub.
        new_modules (`Sequence[str]`, *optional*):
            Names of modules of the model that are initialized, with a warning, if the checkpoint has no weights for them.
        **kwargs:
            Passed to `from_pretrained`.

    Returns:
        `PreTrainedModel`: the model, in evaluation mode.

    Raises:
        `ValueError`: if it cannot be read, or weights are missing.
    """
    try:
        model, loading_info = model_class.from_pretrained(checkpoint_path, output_loading_info=True, **kwargs)
    except (
        *(OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError),
        *(EOFError, pickle.UnpicklingError, SafetensorError),
    ) as error:
        raise ValueError(
            f"{checkpoint_path} cannot be loaded as a {model_class.__name__}: its weights are damaged, or are not those "
            f"that its config.json describes. ({type(error).__name__}: {error})"
        ) from error
    missing = sorted(loading_info["missing_keys"])
    if new := {name.split(".")[0] for name in missing} & set(new_modules):
        logger.warning(f"{checkpoint_path} has no {', '.join(sorted(new))}: it is new, and has yet to be trained.")
    missing = [name for name in missing if name.split(".")[0] not in new]
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


def read_licence(checkpoint_path: str | Path) -> str | None:
    """The licence that a model card names, in a local folder or on the Hub; `None` if there is no card or none in it."""
    path = Path(checkpoint_path)
    try:
        return ModelCard.load(path / "README.md" if path.is_dir() else str(checkpoint_path)).data.license
    except (OSError, ValueError, HfHubHTTPError, HFValidationError):
        return None


__all__ = ["create_folder", "load_checkpoint", "read_licence", "read_model_type"]
