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
"""Collect the Makefile's runs in results.json, next to this file, and print a Markdown table.

python summarize_results.py runs
"""

import argparse
import json
import statistics
from pathlib import Path

from objectives import BATCH_SIZE, IMAGE_SIZES


TITLES = {
    "untrained": "random weights",
    "last_stage": "last stage, normalized pixels (the paper's)",
    "pixels": "last stage, pixels",
    "hog": "last stage, HOG",
    "stages": "all stages, normalized pixels",
    "hog_stages": "all stages, HOG",
    "fusion": "all stages, normalized and fused, into one decoder",
    "cross": "last stage, cross-attention",
    "cross_quarter": "the same, a quarter of the hidden units",
    "mask_50": "last stage, mask ratio 0.5",
    "mask_60": "last stage, mask ratio 0.6",
    "mask_90": "last stage, mask ratio 0.9",
    "teacher": "last stage, and a teacher",
    "teacher_only": "a teacher only",
    "teacher_itself": "the teacher itself",
}
METRICS = ("held_out_loss", "knn", "linear", "fine_tuned_few", "fine_tuned_more")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def read_run(runs: Path, name: str) -> dict:
    """Read the results of a run such as `eurosat/hog_seed0`."""
    result = {}
    if (metrics := runs / "pretraining" / name / "metrics.json").is_file():
        content = read_json(metrics)
        losses = [record["eval_loss"] for record in content["history"] if "eval_loss" in record]
        result |= {"images_seen": content["images_seen"], "held_out_loss": losses[-1]}
    if (probe := runs / "probes" / f"{name}.json").is_file():
        result |= next(iter(read_json(probe)["accuracy"].values()))
    paths = (runs / "fine_tuning" / name).glob("*/eval_results.json")
    paths = sorted(paths, key=lambda path: int(path.parent.name.partition("x")[0]))
    if len(paths) == 2:  # few labels, and ten times as many
        result |= {metric: read_json(path)["eval_accuracy"] for metric, path in zip(METRICS[3:], paths)}
    return result


def collect(runs: Path) -> dict:
    """Collect lists of results over the seeds, by dataset, objective and metric."""
    results: dict = {}
    for dataset in IMAGE_SIZES:
        for objective in TITLES:
            folders = sorted((runs / "pretraining" / dataset).glob(f"{objective}_seed?"))
            seeds = [run for run in (read_run(runs, f"{dataset}/{folder.name}") for folder in folders) if run]
            if seeds:
                names = [name for name in ("images_seen", *METRICS) if all(name in run for run in seeds)]
                results.setdefault(dataset, {})[objective] = {name: [run[name] for run in seeds] for name in names}
    return results


def describe(values: list[float], percent: bool) -> str:
    values = [100 * value for value in values] if percent else values
    digits = 1 if percent else 3
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}" if values else ""


def make_table(results: dict) -> str:
    """Create a table of accuracies in percent, with mean and standard deviation over the seeds."""
    lines = [
        "| objective | images seen | held-out loss | k-NN | linear | fine-tuned, 1% of the labels | 10% |",
        "|---|---|---|---|---|---|---|",
    ]
    for objective, result in results.items():
        cells = [describe(result.get(metric, []), metric != "held_out_loss") for metric in METRICS]
        images_seen = f"{result['images_seen'][0]:,}" if "images_seen" in result else ""
        lines.append(f"| {TITLES[objective]} | {images_seen} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("runs", type=Path, nargs="?", help="Folder of the runs. Default: print what results.json has.")
    runs, path = parser.parse_args().runs, Path(__file__).parent / "results.json"
    if runs is not None:
        path.write_text(json.dumps(collect(runs), indent=2) + "\n")
    results = read_json(path)
    for dataset, by_objective in results.items():
        print(f"{dataset}, batches of {BATCH_SIZE}:\n\n{make_table(by_objective)}\n")


if __name__ == "__main__":
    main()
