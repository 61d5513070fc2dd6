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
"""Errors that a user can fix, and descriptions of image errors."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL

from ..redaction import redact_addresses


FEW_UNREADABLE = 10


class UserError(Exception):
    """An error that the user can fix. Scripts show it as one line, without a traceback."""


def check_unreadable(unreadable: dict[str, str], num_read: int, max_unreadable: float):
    """Raises a [`UserError`] if more than a few images, and a larger fraction than allowed, cannot be read."""
    if len(unreadable) > max(FEW_UNREADABLE, max_unreadable * num_read):
        name, reason = list(unreadable.items())[-1]
        raise UserError(
            f"{len(unreadable)} of {num_read} images cannot be read, more than --max_unreadable {max_unreadable:g} "
            f"allows. The last one is {name} ({reason}). Fix these images, or raise --max_unreadable."
        )


def make_unreadable_error(unreadable: dict[str, str], images: str = "images") -> UserError:
    name, reason = next(iter(unreadable.items()), ("nothing", "there are none"))
    return UserError(f"None of the {len(unreadable)} {images} can be read. The first one is {name} ({reason}).")


@contextmanager
def explain_loading(source: str | None, *kinds: type[Exception]) -> Iterator[None]:
    """Context manager that turns loading errors, also of other `kinds`, into a [`UserError`] with the source."""
    try:
        yield
    except (OSError, ValueError, *kinds) as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{source} cannot be loaded ({message}).") from error


def describe_unknown(name: str, known: Iterable[str]) -> str:
    """Error text for an unknown setting, with similar known names, or all of them."""
    close = [*(other for other in known if name in other), *difflib.get_close_matches(name, known)]
    remedy = f"Did you mean {' or '.join(dict.fromkeys(close))}?" if close else f"Known settings: {', '.join(known)}."
    return f"Unknown setting {name!r}. {remedy}"


def describe_error(error: Exception) -> str:
    """One-line description of an error in reading an image."""
    if isinstance(error, PIL.UnidentifiedImageError):
        return "it is not an image, or its format is unknown"  # PIL's message names an object in memory
    return make_printable(f"{type(error).__name__}: {error}")


def make_printable(name: str | Path) -> str:
    """Removes secrets in URLs from a name, and escapes characters that cannot be stored or control a terminal."""
    if (name := redact_addresses(str(name))).isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)
