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
"""Texts without passwords, tokens and places on this machine, for model cards, logs and errors."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path


def redact_addresses(text: str) -> str:
    """
    A text whose addresses (`https://...`) have no user name, password, query or fragment, and `file://` no place on this machine.
    Tokens of the Hub are removed, too.
    """
    text = re.sub(r"file://[^\s'\"]*/", "path/to/", text)
    text = re.sub(r"(\w[\w+.-]*://)(?:[^\s/'\"]*@)?([^\s?#'\"]*)(?:[?#][^\s'\"]*)?", r"\1\2", text)
    return re.sub(r"\bhf_\w{20,}", "<TOKEN>", text)


def redact_argument(argument: object) -> object:
    """An argument without secrets of an address, and without the place of a file on this machine: `path/to/` and its name."""
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
    """A command as others may read it, see [`redact_argument`]. Values of `--hub_token` and the like are removed."""
    return re.sub(r"(--\w*token[ =])\S+", r"\1TOKEN", shlex.join(map(str, map(redact_argument, arguments))))


__all__ = ["redact_addresses", "redact_argument", "redact_command"]
