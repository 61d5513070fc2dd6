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
Compare two results of a benchmark: which medians or counts changed, and by how much.

    python -m benchmarks.training_step --json before.json
    python -m benchmarks.training_step --json after.json
    python -m benchmarks.compare_results before.json after.json

For use in scripts, the exit status is 1 if a time, a speed or a count of `fake_cuda.py` became worse by more than
`--tolerance`. On a shared machine, peers vary as well: compare GreenMIM's time with theirs.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path


LABELS = (
    *("title", "compile_mode", "model", "image_size", "batch_size", "mask_ratio"),
    *("num_workers", "num_images", "window_size"),
)
COUNTS = ("kernels", "gigabytes", "atomics")
# Verdicts on a number that became worse or better
VERDICTS = {"time": ("SLOWER", "faster"), "speed": ("SLOWER", "faster"), "count": ("MORE", "less")}


def get_kind(name: str, result: dict) -> str | None:
    """Classify a value as a time, a speed or a count to compare. A speed derived from a time is not compared again."""
    if name.endswith("median_ms"):
        return "time"
    if name == "images_per_second" and "median_ms" not in result:
        return "speed"
    return "count" if name in COUNTS else None


def iterate_figures(results, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float, str]]:
    """Yield the name, value and kind of every number in the results."""
    if isinstance(results, list):
        for entry in results:
            yield from iterate_figures(entry, path)
    elif isinstance(results, dict):
        labels = [f"{name} {results[name]}" for name in LABELS if name in results]
        path = (*path, ", ".join(labels)) if labels else path
        for name, value in results.items():
            kind = get_kind(name, results)
            if kind:
                yield " / ".join((*path, name)), value, kind
            else:
                yield from iterate_figures(value, (*path, name))


def compare(before: dict, after: dict, tolerance: float) -> tuple[list[str], bool]:
    """Return table rows, and whether anything became worse by more than the tolerance."""
    old = {name: value for name, value, _ in iterate_figures(before["results"])}
    rows, is_worse = [], False
    for name, value, kind in iterate_figures(after["results"]):
        if name not in old:
            rows.append(f"| {name} | - | {value:.5g} | | new |")
            continue
        first, second = (value, old[name]) if kind == "speed" else (old[name], value)
        ratio = second / first if first else (float("inf") if second else 1.0)
        worse, better = VERDICTS[kind]
        verdict = worse if ratio > 1 + tolerance else better if ratio < 1 / (1 + tolerance) else ""
        is_worse = is_worse or verdict == worse
        rows.append(f"| {name} | {old[name]:.5g} | {value:.5g} | {ratio:.2f} | {verdict} |")
    missing = old.keys() - {name for name, _, _ in iterate_figures(after["results"])}
    rows += [f"| {name} | {old[name]:.5g} | - | | gone |" for name in sorted(missing)]
    return rows, is_worse


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("before", type=Path, help="JSON file written by a benchmark's --json.")
    parser.add_argument("after", type=Path, help="JSON file of the same benchmark at a different commit.")
    parser.add_argument("--tolerance", type=float, default=0.1, help="Relative change to ignore. [%(default)s]")
    args = parser.parse_args()
    before, after = (json.loads(path.read_text()) for path in (args.before, args.after))
    for part in ("settings", "machine"):
        for name in before[part].keys() | after[part].keys():
            if before[part].get(name) != after[part].get(name):
                print(f"{part}: {name} was {before[part].get(name)}, is now {after[part].get(name)}", file=sys.stderr)
    rows, is_worse = compare(before, after, args.tolerance)
    print("| | before | after | times as slow or as many | |\n|---|---|---|---|---|")
    print("\n".join(rows))
    sys.exit(int(is_worse))


if __name__ == "__main__":
    main()
