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
Wrong and doubtful calls of the public functions, and what is made of them: a clear error, a right result, or neither.

    python -m tests.helpers.wrong_calls    counts them, and lists those that are neither
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

from tests.helpers.public_functions import FUNCTIONS, Function


# errors of types in these files name the argument, its value and what is wanted
CHECKING_FILES = ("modeling_greenmim", "huggingface_hub/dataclasses", "transformers/image_")
ODD_VALUES = (
    0,
    -1,
    7,
    0.5,
    1.5,
    -2.0,
    float("nan"),
    float("inf"),
    "",
    "x",
    None,
    True,
    [],
    (-4, -4),
    (4, 4, 4),
    {},
    object,
)
TENSORS = (
    np.zeros(3),
    np.zeros((4, 4)),
    torch.zeros(0),
    torch.zeros(2, 3),
    torch.ones(1, 3, 16, 16, dtype=torch.uint8),
)


def describe(value: Any) -> str:
    return f"{type(value).__name__} of {value.dtype} {tuple(value.shape)}" if hasattr(value, "dtype") else repr(value)


def judge(function: Function, arguments: dict[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    """A verdict, `"clear error"`, `"right"`, `"warning"`, `"unclear error"` or `"wrong"`, and what was raised."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", UserWarning)
        try:
            result = function.call(**arguments)
        except (ValueError, TypeError, StrictDataclassError) as error:
            file = Path(traceback.extract_tb(error.__traceback__)[-1].filename).as_posix()
            is_own = (
                any(part in file for part in CHECKING_FILES)
                or "unexpected keyword" in str(error)
                or "required positional" in str(error)
            )
            is_clear = is_own and any(word in str(error) for word in (*names, *function.words))
            return "clear error" if is_clear else "unclear error", f"{type(error).__name__}: {error} ({file})"
        except Exception as error:
            return "unclear error", f"{type(error).__name__}: {error}"
    if any("pixel_values" in str(warning.message) or "do_rescale" in str(warning.message) for warning in raised):
        return "warning", str(raised[0].message)
    try:
        is_right = bool(function.is_right(result, arguments))
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    return "right" if is_right else "wrong", repr(result)[:200]


def list_calls() -> Iterator[tuple[str, Function, dict[str, Any], tuple[str, ...]]]:
    """Each odd value for each argument, and each argument misspelled."""
    for name, function in FUNCTIONS.items():
        for argument, value in function.arguments.items():
            misspelled = {key: other for key, other in function.arguments.items() if key != argument}
            misspelled[f"{argument}z"] = value
            yield f"{name}({argument}z=...)", function, misspelled, (argument, f"{argument}z")
            for odd in (*ODD_VALUES, *TENSORS):
                yield (
                    f"{name}({argument}={describe(odd)})",
                    function,
                    {**function.arguments, argument: odd},
                    (argument,),
                )


def main():
    counts: Counter = Counter()
    for call, function, arguments, names in list_calls():
        verdict, detail = judge(function, arguments, names)
        counts[verdict] += 1
        if verdict in ("unclear error", "wrong"):
            print(f"{verdict}: {call}: {' '.join(detail.split())[:220]}", flush=True)
    print(f"{sum(counts.values())} calls: {dict(counts)}")


if __name__ == "__main__":
    main()
