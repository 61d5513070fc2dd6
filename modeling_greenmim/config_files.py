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
"""Read model configurations from folders, files or Hub repositories."""

from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig


def read_config(name: str, option: str) -> PreTrainedConfig:
    """
    Read a model configuration.

    Args:
        name (`str`):
            Folder, file or Hub repository. The Hub is not queried for names that are clearly paths.
        option (`str`):
            Command-line option that the name comes from, such as `--model_name_or_path`, for error messages.

    Returns:
        [`~transformers.PreTrainedConfig`]

    Raises:
        `ValueError`: if the configuration is missing or cannot be read, or the name is a run folder.
    """
    path = Path(name)
    if (path / "model" / "config.json").is_file():
        raise ValueError(f"{option} must be a model, got the run folder {name}. Use {path / 'model'}.")
    missing = f"{option} must be a local folder or file or a reachable Hub repository, got {name}"
    remedy = "Check the spelling."
    if "config" in option:
        remedy += " This package's repository has configurations in examples/configs."
    if not path.exists() and (name.startswith(("/", ".", "~")) or name.count("/") > 1 or name.endswith(".json")):
        raise ValueError(f"{missing}. {remedy}")
    try:
        return AutoConfig.from_pretrained(name)
    except StrictDataclassError as error:
        raise ValueError(f"{option} must be a valid configuration, got {name}: {error.__cause__}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, OSError) and not path.exists():
            raise ValueError(f"{missing} ({reason}). {remedy}") from error
        raise ValueError(f"{option} must have a readable configuration, got {name} ({reason}).") from error


__all__ = ["read_config"]
