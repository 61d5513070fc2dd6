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
"""Reads configurations of models, in folders, files, or repositories on the Hub."""

from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig


def read_config(name: str, option: str) -> PreTrainedConfig:
    """
    Reads the configuration of a model.

    Args:
        name (`str`):
            A folder, a file, or a repository on the Hub, which is not asked about what is clearly a path.
        option (`str`):
            Where the name comes from, for errors: an option of a command, such as `--model_name_or_path`.

    Returns:
        [`~transformers.PreTrainedConfig`]

    Raises:
        `ValueError`: if there is none, it cannot be read, or the name is the folder of a run.
    """
    path = Path(name)
    if (path / "model" / "config.json").is_file():
        raise ValueError(f"{option} {name} is the folder of a run: its model is {path / 'model'}.")
    missing = f"{option} {name} is neither a folder or file here nor a repository of the Hub that can be reached"
    remedy = "Check the spelling."
    if "config" in option:
        remedy += " The repository of this package has configurations in examples/configs."
    if not path.exists() and (name.startswith(("/", ".", "~")) or name.count("/") > 1 or name.endswith(".json")):
        raise ValueError(f"{missing}. {remedy}")
    try:
        return AutoConfig.from_pretrained(name)
    except StrictDataclassError as error:
        raise ValueError(f"{option} {name} describes a model that cannot be: {error.__cause__}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, OSError) and not path.exists():
            raise ValueError(f"{missing} ({reason}). {remedy}") from error
        raise ValueError(f"{option} {name} has no configuration that can be read ({reason}).") from error


__all__ = ["read_config"]
