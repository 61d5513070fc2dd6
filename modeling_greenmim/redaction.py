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
"""Remove passwords, tokens and local paths from the texts of model cards, logs and errors."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path


def redact_addresses(text: str) -> str:
    """
    Remove the user name, password, query and fragment from each URL in a text, the directories from `file://` URLs,
    and Hub tokens.
    """
    text = re.sub(r"file://[^\s'\"]*/", "path/to/", text)
    text = re.sub(r"(\w[\w+.-]*://)(?:[^\s/'\"]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", r"\1\2", text)
    return re.sub(r"\bhf_\w{20,}", "<TOKEN>", text)


def redact_argument(argument: object) -> object:
    """Redact URLs in an argument, and replace the directory of an absolute path by `path/to/`."""
    if isinstance(argument, (list, tuple)):
        return [redact_argument(item) for item in argument]
    if not isinstance(argument, (str, Path)):
        return argument
    argument = str(argument)
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if os.path.isabs(value):
        value = f"path/to/{Path(value).name}"
    return redact_addresses(f"{option}{equals}{value}")


def redact_command(arguments: Sequence[str]) -> str:
    """Redact every argument of a command (see [`redact_argument`]) and the values of options such as `--hub_token`."""
    return re.sub(r"(--\w*token[ =])\S+", r"\1TOKEN", shlex.join(map(str, map(redact_argument, arguments))))


__all__ = ["redact_addresses", "redact_argument", "redact_command"]
