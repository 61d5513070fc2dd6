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
"""What the jobs have measured, as JSON, as tables in Markdown, and as a plot."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiment_jobs import (
    BATCH_SIZE,
    FINE_TUNING,
    NUM_STEPS,
    SEEDS,
    STARTS,
    get_fine_tuning_folder,
    get_images_per_second,
    get_num_steps,
    get_timed_folders,
)


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


def collect(output_dir: Path) -> dict:
    """
    Everything that is there so far: `speed`, `held_out_loss` (of GreenMIM's pre-trainings), `probes` (by step) and `fine_tuning`
    (accuracies of all seeds).
    """
    results = {"speed": {}, "held_out_loss": {}, "probes": {}, "fine_tuning": {}}
    timed = [folder for each in ("greenmim", "simmim") for folder in get_timed_folders(output_dir, each)]
    if all((folder / "model").exists() for folder in (*timed, output_dir / "simmim_same_time")):
        results["speed"] = {
            "greenmim_images_per_second": round(get_images_per_second(output_dir, "greenmim"), 1),
            "simmim_images_per_second": round(get_images_per_second(output_dir, "simmim"), 1),
            "steps": NUM_STEPS,
            "simmim_steps_in_the_same_time": get_num_steps(output_dir / "simmim_same_time"),
        }
    for start in STARTS:
        metrics = output_dir / start / "metrics.json"
        if metrics.is_file():
            history = json.loads(metrics.read_text())["history"]
            results["held_out_loss"][start] = [each["eval_loss"] for each in history if "eval_loss" in each][-1]
    for path in sorted((output_dir / "probes").glob("*.json")):
        accuracy = json.loads(path.read_text())["accuracy"]
        results["probes"][path.stem] = {_get_step(name): value for name, value in accuracy.items()}
    for start in STARTS:
        for num_labels in sorted(FINE_TUNING):
            paths = [
                get_fine_tuning_folder(output_dir, start, num_labels, seed) / "eval_results.json" for seed in SEEDS
            ]
            values = [json.loads(path.read_text())["eval_accuracy"] for path in paths if path.is_file()]
            if values:
                results["fine_tuning"].setdefault(start, {})[str(num_labels)] = values
    return results


def _get_step(model: str) -> str:
    """Of `checkpoint-{step}`; of a model without steps, 0."""
    return Path(model).name.partition("checkpoint-")[2] or "0"


def make_tables(results: dict) -> str:
    """Tables in Markdown: accuracies in percent, mean and standard deviation over the seeds."""
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
            f"| start | {' | '.join(f'{number:,} labels' for number in sorted(FINE_TUNING))} |",
            "|---" * (1 + len(FINE_TUNING)) + "|",
        ]
        for start, accuracies in results["fine_tuning"].items():
            cells = [_describe_spread(accuracies.get(str(number), [])) for number in sorted(FINE_TUNING)]
            lines.append(f"| {TITLES[start]} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    if results["probes"]:
        lines = ["| frozen features | images seen | linear | k-NN |", "|---|---|---|---|"]
        for name, by_step in sorted(results["probes"].items(), key=lambda item: list(TITLES).index(item[0])):
            step, accuracy = max(by_step.items(), key=lambda item: int(item[0]))
            lines.append(
                f"| {TITLES[name]} | {int(step) * BATCH_SIZE:,} | {100 * accuracy['linear']:.1f} | {100 * accuracy['knn']:.1f} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _describe_spread(values: list[float]) -> str:
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    number = "" if len(values) == len(SEEDS) else f" ({len(values)} seeds)"
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}{number}"


def draw(results: dict) -> Figure:
    """Accuracy after fine-tuning over the number of labels, and of frozen features along the pre-training."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_xscale("log")
    left.minorticks_off()
    for start, color in COLORS.items():
        accuracies = results["fine_tuning"].get(start, {})
        if accuracies:
            numbers = [int(number) for number in accuracies]
            means = [100 * np.mean(values) for values in accuracies.values()]
            spreads = [100 * np.std(values, ddof=min(1, len(values) - 1)) for values in accuracies.values()]
            left.errorbar(numbers, means, spreads, marker="o", capsize=3, color=color, label=TITLES[start])
    left.set_xticks(sorted(FINE_TUNING), [f"{number:,}" for number in sorted(FINE_TUNING)])
    left.set(xlabel="images with labels", ylabel="test accuracy after fine-tuning, %")
    untrained = results["probes"].get("untrained", {})
    for name in ("greenmim", "simmim_same_images"):
        by_step = {**untrained, **results["probes"].get(name, {})}
        if len(by_step) > 1:
            steps = sorted(by_step, key=int)
            images = [int(step) * BATCH_SIZE / 1e6 for step in steps]
            for kind, style in (("linear", "-"), ("knn", "--")):
                values = [100 * by_step[step][kind] for step in steps]
                label = f"{TITLES[name]}, {'linear' if kind == 'linear' else 'k-NN'}"
                right.plot(images, values, style, marker=".", color=COLORS[name], label=label)
    right.set(xlabel="millions of images seen in pre-training", ylabel="test accuracy of frozen features, %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure
