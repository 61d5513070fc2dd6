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
"""Summarize the Makefile's runs as JSON, Markdown tables and a plot.

python summarize_results.py runs
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


BATCH_SIZE = 256  # in all pre-training runs, see the Makefile
LABELS, NUM_SEEDS = (500, 5000, 50000), 3
TITLES = {
    "untrained": "untrained",
    "scratch": "from scratch",
    "greenmim": "GreenMIM",
    "simmim_same_time": "SimMIM, same time",
    "simmim_same_images": "SimMIM, same images",
    "scratch_longer": "from scratch, longer",
    "greenmim_longer": "GreenMIM, fine-tuned longer",
    "batch_masks": "GreenMIM, one mask per batch",
    "scrambled": "GreenMIM, scrambled latents",
}
COLORS = {
    "scratch": "tab:gray",
    "greenmim": "tab:green",
    "simmim_same_time": "tab:orange",
    "simmim_same_images": "tab:red",
    "scratch_longer": "black",
    "greenmim_longer": "darkgreen",
}


def read_speeds(runs: Path) -> dict[str, float]:
    """Read the images per second of both methods: the fastest timing of each, which other load affects least."""
    greenmim = [
        statistics.median(record["images_per_second"] for record in read_history(path) if "loss" in record)
        for path in runs.glob("timing_greenmim_*/metrics.json")
    ]
    simmim = [read_json(path)["images_per_second"] for path in runs.glob("timing_simmim_*/train_results.json")]
    return {"greenmim": max(greenmim), "simmim": max(simmim)}


def collect(runs: Path) -> dict:
    """
    Collect the results so far.

    Args:
        runs (`Path`):
            Folder with the runs.

    Returns:
        `dict`: `speed`, `held_out_loss` (GreenMIM runs only), `probes` (by step) and `fine_tuning` (accuracies of all
        seeds).
    """
    results = {"speed": {}, "held_out_loss": {}, "probes": {}, "fine_tuning": {}}
    if (runs / "simmim_same_time" / "model").exists() and (runs / "greenmim" / "model").exists():
        speeds = read_speeds(runs)
        results["speed"] = {
            "greenmim_images_per_second": round(speeds["greenmim"], 1),
            "simmim_images_per_second": round(speeds["simmim"], 1),
            "steps": get_num_steps(runs / "greenmim"),
            "simmim_steps_in_the_same_time": get_num_steps(runs / "simmim_same_time"),
        }
    for name in TITLES:
        if (metrics := runs / name / "metrics.json").is_file():
            losses = [record["eval_loss"] for record in read_history(metrics) if "eval_loss" in record]
            results["held_out_loss"][name] = losses[-1]
        if (probe := runs / "probes" / f"{name}.json").is_file():
            results["probes"][name] = {get_step(model): value for model, value in read_json(probe)["accuracy"].items()}
        for labels in LABELS:
            paths = sorted((runs / "fine_tuning").glob(f"{name}_{labels}_seed*/eval_results.json"))
            if paths:
                accuracies = results["fine_tuning"].setdefault(name, {})
                accuracies[str(labels)] = [read_json(path)["eval_accuracy"] for path in paths]
    return results


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def read_history(path: Path) -> list[dict]:
    return read_json(path)["history"]


def get_step(model: str | Path) -> str:
    """Return the step in `checkpoint-{step}`, or 0 for any other name."""
    return Path(model).name.partition("checkpoint-")[2] or "0"


def get_num_steps(run: Path) -> int:
    return max(int(get_step(checkpoint)) for checkpoint in run.glob("checkpoint-*"))


def make_tables(results: dict) -> str:
    """Create Markdown tables of accuracies in percent, with mean and standard deviation over the seeds."""
    parts = []
    if results["speed"]:
        speed = results["speed"]
        ratio = speed["greenmim_images_per_second"] / speed["simmim_images_per_second"]
        parts.append(
            f"GreenMIM trains on {speed['greenmim_images_per_second']:.0f} images per second, SimMIM on "
            f'{speed["simmim_images_per_second"]:.0f} ({ratio:.2f} times as long for the same images). "Same time": '
            f"{speed['steps']:,} steps of GreenMIM, {speed['simmim_steps_in_the_same_time']:,} of SimMIM."
        )
    if results["fine_tuning"]:
        lines = [
            f"| start | {' | '.join(f'{number:,} labels' for number in LABELS)} |",
            "|---" * (1 + len(LABELS)) + "|",
        ]
        for start, accuracies in results["fine_tuning"].items():
            cells = [describe_spread(accuracies.get(str(number), [])) for number in LABELS]
            lines.append(f"| {TITLES[start]} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    if results["probes"]:
        lines = ["| frozen features | images seen | linear | k-NN |", "|---|---|---|---|"]
        for name, by_step in sorted(results["probes"].items(), key=lambda item: list(TITLES).index(item[0])):
            step, accuracy = max(by_step.items(), key=lambda item: int(item[0]))
            linear, knn = (f"{100 * accuracy[kind]:.1f}" for kind in ("linear", "knn"))
            lines.append(f"| {TITLES[name]} | {int(step) * BATCH_SIZE:,} | {linear} | {knn} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def describe_spread(values: list[float]) -> str:
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    number = "" if len(values) == NUM_SEEDS else f" ({len(values)} seeds)"
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}{number}"


def draw(results: dict) -> Figure:
    """
    Plot fine-tuning accuracy over the number of labels, and frozen-feature accuracy over the course of pre-training.
    """
    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_xscale("log")
    left.minorticks_off()
    for start, color in COLORS.items():
        if accuracies := results["fine_tuning"].get(start):
            numbers = [int(number) for number in accuracies]
            means = [100 * np.mean(values) for values in accuracies.values()]
            spreads = [100 * np.std(values, ddof=min(1, len(values) - 1)) for values in accuracies.values()]
            left.errorbar(numbers, means, spreads, marker="o", capsize=3, color=color, label=TITLES[start])
    left.set_xticks(LABELS, [f"{number:,}" for number in LABELS])
    left.set(xlabel="images with labels", ylabel="test accuracy after fine-tuning, %")
    for name in ("greenmim", "simmim_same_images"):
        by_step = {**results["probes"].get("untrained", {}), **results["probes"].get(name, {})}
        if len(by_step) > 1:
            steps = sorted(by_step, key=int)
            images = [int(step) * BATCH_SIZE / 1e6 for step in steps]
            for kind, title, style in (("linear", "linear", "-"), ("knn", "k-NN", "--")):
                values = [100 * by_step[step][kind] for step in steps]
                label = f"{TITLES[name]}, {title}"
                right.plot(images, values, style, marker=".", color=COLORS[name], label=label)
    right.set(xlabel="millions of images seen in pre-training", ylabel="test accuracy of frozen features, %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("runs", type=Path, help="Folder with the runs. Also receives results.json, .md and .png.")
    parser.add_argument(
        "--steps_in_the_same_time",
        type=int,
        help="Print how many steps SimMIM makes in the time of this many GreenMIM steps, and exit.",
    )
    args = parser.parse_args()
    if args.steps_in_the_same_time:
        speeds = read_speeds(args.runs)
        print(round(args.steps_in_the_same_time * speeds["simmim"] / speeds["greenmim"]))
        return
    results = collect(args.runs)
    tables = make_tables(results)
    (args.runs / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (args.runs / "results.md").write_text(tables + "\n")
    draw(results).savefig(args.runs / "results.png", dpi=120)
    print(f"{tables}\n\nWritten to {args.runs}: results.json, results.md, results.png")


if __name__ == "__main__":
    main()
