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
"""Compares two results of a benchmark: which medians became slower, and by how much.

    python benchmarks/training_step.py --json before.json
    python benchmarks/training_step.py --json after.json
    python benchmarks/compare_results.py before.json after.json

It ends with 1 if a time became slower, or a speed lower, by more than `--tolerance`, so that a script can use it. On a shared
machine, peers vary too: a time of ours counts only beside theirs.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path


LABELS = ("model", "image_size", "batch_size", "mask_ratio", "num_workers", "num_images", "window_size")


def iterate_medians(results, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float, bool]]:
    """Name, value, and whether it is a time (else a speed), of every median in some results."""
    if isinstance(results, list):
        for entry in results:
            yield from iterate_medians(entry, path)
    elif isinstance(results, dict):
        labels = [f"{name} {results[name]}" for name in LABELS if name in results]
        path = (*path, ", ".join(labels)) if labels else path
        for name, value in results.items():
            if name.endswith("median_ms") or (name == "images_per_second" and "median_ms" not in results):
                yield " / ".join((*path, name)), value, name != "images_per_second"
            else:
                yield from iterate_medians(value, (*path, name))


def compare(before: dict, after: dict, tolerance: float) -> tuple[list[str], bool]:
    """Rows of a table, and whether anything became slower by more than the tolerance."""
    old = {name: value for name, value, _ in iterate_medians(before["results"])}
    rows, is_slower = [], False
    for name, value, is_time in iterate_medians(after["results"]):
        if name not in old:
            rows.append(f"| {name} | - | {value:.4g} | | new |")
            continue
        slower = value / old[name] if is_time else old[name] / value
        verdict = "SLOWER" if slower > 1 + tolerance else "faster" if slower < 1 / (1 + tolerance) else ""
        is_slower = is_slower or verdict == "SLOWER"
        rows.append(f"| {name} | {old[name]:.4g} | {value:.4g} | {slower:.2f} | {verdict} |")
    missing = old.keys() - {name for name, _, _ in iterate_medians(after["results"])}
    rows += [f"| {name} | {old[name]:.4g} | - | | gone |" for name in sorted(missing)]
    return rows, is_slower


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="What --json of a benchmark has written.")
    parser.add_argument("after", type=Path, help="The same, of another commit.")
    parser.add_argument("--tolerance", type=float, default=0.1, help="[%(default)s]")
    args = parser.parse_args()
    before, after = (json.loads(path.read_text()) for path in (args.before, args.after))
    for part in ("settings", "machine"):
        for name in before[part].keys() | after[part].keys():
            if before[part].get(name) != after[part].get(name):
                print(f"{part}: {name} was {before[part].get(name)}, is {after[part].get(name)}", file=sys.stderr)
    rows, is_slower = compare(before, after, args.tolerance)
    print("| | before | after | times slower | |\n|---|---|---|---|---|")
    print("\n".join(rows))
    sys.exit(int(is_slower))


if __name__ == "__main__":
    main()
