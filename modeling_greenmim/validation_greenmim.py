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
"""Argument checks with one error template: the requirement, the value received and the remedy."""

import difflib
import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any


def check_number(
    name: str,
    value: Any,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    kind: type[Any] = Real,
) -> None:
    """Raise a `ValueError` unless a value is a finite number within limits; with `kind=Integral`, an integer."""
    is_number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if (
        is_number
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    ):
        return
    limits = {"of at least": at_least, "above": above, "at most": at_most, "below": below}
    noun = "an integer" if kind is Integral else "a number"
    wanted = " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)
    wanted = f"{noun} {wanted}" if wanted else "a finite number"
    raise ValueError(f"`{name}` must be {wanted}, got {describe(value)}.")


def check_count(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> None:
    """Raise a `ValueError` unless a value is an integer of at least `at_least`."""
    check_number(name, value, at_least=at_least, at_most=at_most, kind=Integral)


def check_height_and_width(name: str, value: Any, unit: str) -> None:
    """Raise a `ValueError` unless a value is a pair of positive integers, counted in `unit`."""
    is_pair = isinstance(value, Collection) and not isinstance(value, (str, bytes, dict, set)) and len(value) == 2
    if not is_pair or not all(_is_integer(side) and side >= 1 for side in value):
        raise ValueError(
            f"`{name}` must be two positive integers, the height and the width in {unit}, got {describe(value)}."
        )


def check_choice(name: str, value: Any, choices: Collection[Any], advice: str = "") -> None:
    """Raise a `ValueError` unless a value is one of the choices."""
    is_choice = value in choices if isinstance(value, str) else value is None and None in choices
    if not is_choice:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"`{name}` must be one of {listed}, got {describe(value)}.{advice and f' {advice}'}")


def check_flag(name: str, value: Any) -> None:
    """Raise a `ValueError` unless a value is `True` or `False`."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False, got {describe(value)}.")


def check_keywords(keywords: Iterable[str], known: Collection[str], owner: str) -> None:
    """Raise a `ValueError` that names the closest known keyword if a keyword is unknown."""
    for name in keywords:
        if name not in known:
            match = find_meant_name(name, known, cutoff=0.6)
            advice = f"Did you mean `{match}`?" if match else "Omit it."
            raise ValueError(f"{owner} does not take `{name}`. {advice}")


def find_meant_name(name: str, known: Collection[str], cutoff: float = 0.85) -> str | None:
    """The known name closest to a misspelled one, or `None` if none is close."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return matches[0] if matches else None


def describe(value: Any) -> str:
    """
    Format a value for a message: tensors and arrays by type and shape, other values by `repr`, in at most 200
    characters.
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{type(value).__name__} of {value.dtype} and shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _is_integer(value: Any) -> bool:
    # tensor sizes are `SymInt` during export
    is_symbolic = type(value).__name__ == "SymInt"
    return is_symbolic or (isinstance(value, Integral) and not isinstance(value, bool))


__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_height_and_width",
    "check_keywords",
    "check_number",
    "describe",
    "find_meant_name",
]
