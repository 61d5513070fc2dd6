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
"""
Wrong and doubtful calls of the public functions, and their outcomes: a clear error, a correct result, or neither.

    python -m tests.helpers.wrong_calls    counts the outcomes, and lists calls with neither
"""

import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError

from modeling_greenmim.validation_greenmim import describe
from tests.helpers.public_functions import FUNCTIONS


ACCEPTED = ("clear error", "right", "warning")
# errors raised in these files name the argument, its value and the allowed values
CHECKING_FILES = ("modeling_greenmim", "huggingface_hub/dataclasses", "transformers/image_")
NUMBERS = (0, -1, 7, 0.5, 1.5, -2.0, float("nan"), float("inf"))
OBJECTS = ("", "x", None, True, [], (-4, -4), (4, 4, 4), {}, object)
ARRAYS = (
    np.zeros(3),
    np.zeros((4, 4)),
    torch.zeros(0),
    torch.zeros(2, 3),
    torch.ones(1, 3, 16, 16, dtype=torch.uint8),
)


def judge(name: str, changed: dict[str, Any]) -> tuple[str, str]:
    """
    Call a function with changed arguments. Returns a verdict (one of `ACCEPTED`, `"unclear error"` or `"wrong"`) and
    its reason.
    """
    function = FUNCTIONS[name]
    arguments = {**function.arguments, **changed}
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", UserWarning)
        try:
            result = function.call(**arguments)
        except Exception as error:
            message, file = str(error), Path(traceback.extract_tb(error.__traceback__)[-1].filename).as_posix()
            is_checked = isinstance(error, (ValueError, TypeError, StrictDataclassError)) and (
                any(part in file for part in CHECKING_FILES) or "unexpected keyword" in message
            )
            is_clear = is_checked and any(word in message for word in (*changed, *function.words))
            return "clear error" if is_clear else "unclear error", f"{type(error).__name__}: {message} ({file})"
    messages = [str(warning.message) for warning in raised]
    if any("pixel_values" in message or "do_rescale" in message for message in messages):
        return "warning", messages[0]
    try:
        is_right = bool(function.is_right(result, arguments))
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    return "right" if is_right else "wrong", repr(result)[:200]


def list_changes(name: str) -> Iterator[dict[str, Any]]:
    """Yield an odd value for each argument of a function, and each argument misspelled."""
    for argument, value in FUNCTIONS[name].arguments.items():
        yield {f"{argument}z": value}
        for odd in (*NUMBERS, *OBJECTS, *ARRAYS):
            yield {argument: odd}


def list_failures(name: str, counts: Counter) -> list[str]:
    """Find the calls without a clear error or correct result, and add all verdicts to `counts`."""
    failures = []
    for changed in list_changes(name):
        verdict, reason = judge(name, changed)
        counts[verdict] += 1
        if verdict not in ACCEPTED:
            values = ", ".join(f"{argument}={describe(value)}" for argument, value in changed.items())
            failures.append(f"{name}({values}): {verdict}: {' '.join(reason.split())[:220]}")
    return failures


def main():
    counts: Counter = Counter()
    for name in FUNCTIONS:
        for failure in list_failures(name, counts):
            print(failure, flush=True)
    print(f"{sum(counts.values())} calls: {dict(counts)}")


if __name__ == "__main__":
    main()
