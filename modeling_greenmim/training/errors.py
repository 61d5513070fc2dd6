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
"""Errors that a user can fix, and how errors of images are described."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL

from ..redaction import redact_addresses


FEW_UNREADABLE = 10


class UserError(Exception):
    """What the user can fix: scripts show it as one line, without a traceback."""


def check_unreadable(unreadable: dict[str, str], num_read: int, max_unreadable: float):
    """Raises a [`UserError`] if a larger fraction of the images cannot be read than allowed, and more than a few."""
    if len(unreadable) > max(FEW_UNREADABLE, max_unreadable * num_read):
        name, reason = list(unreadable.items())[-1]
        raise UserError(
            f"{len(unreadable)} of {num_read} images cannot be read, more than --max_unreadable {max_unreadable:g} allows. The last one is "
            f"{name} ({reason})."
        )


def make_unreadable_error(unreadable: dict[str, str], images: str = "images") -> UserError:
    name, reason = next(iter(unreadable.items()), ("nothing", "there are none"))
    return UserError(f"None of {len(unreadable)} {images} can be read, such as {name} ({reason}).")


@contextmanager
def explain_loading(source: str | None, *kinds: type[Exception]) -> Iterator[None]:
    """A context in which something is loaded; raises a [`UserError`] that names it, also for more kinds of errors."""
    try:
        yield
    except (OSError, ValueError, *kinds) as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{source} cannot be loaded ({message}).") from error


def describe_unknown(name: str, known: Iterable[str]) -> str:
    """Says that a name is not known, and names those that are like it, or all."""
    close = [*(other for other in known if name in other), *difflib.get_close_matches(name, known)]
    remedy = f"Did you mean {' or '.join(dict.fromkeys(close))}?" if close else f"Known are {', '.join(known)}."
    return f"{name!r} is not known. {remedy}"


def describe_error(error: Exception) -> str:
    """An error of reading an image, in one line."""
    if isinstance(error, PIL.UnidentifiedImageError):
        return "it is not an image, or of an unknown format"  # PIL's message names an object in memory
    return make_printable(f"{type(error).__name__}: {error}")


def make_printable(name: str | Path) -> str:
    """A name without secrets of an address, and without characters that cannot be stored, or control a terminal."""
    if (name := redact_addresses(str(name))).isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)
