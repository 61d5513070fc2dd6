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
Collect the Makefile's runs in results.json, next to this file. Create Markdown tables and plots from that file only.

python summarize_results.py runs
"""

import argparse
import json
import statistics
from pathlib import Path

from matplotlib.figure import Figure
from own_images import (
    LABELS,
    NUM_PARTS,
    RECIPES,
    SECONDS,
    WATCHED,
    Study,
    list_runs,
    read_speeds,
)


FOLDER = Path(__file__).parent
TITLES = {
    "untrained_seed0": "untrained",
    "scratch": "from scratch",
    "scratch_whole": "from scratch, for the whole time",
    "teacher_itself_seed0": "the teacher itself, trained on CIFAR-10",
    "simmim_seed0": "SimMIM",
    "simclr_seed0": "SimCLR",
    "greenmim_seed0": "GreenMIM",
    "greenmim_best_seed0": "GreenMIM with the teacher",
    "greenmim_seed1": "GreenMIM, second seed",
    "greenmim_tenth_seed0": "GreenMIM, a tenth of the images",
    "cifar10_continued_seed0": "GreenMIM, CIFAR-10's model continued",
    "cifar10_model_seed0": "GreenMIM, CIFAR-10's architecture from scratch",
}
COLORS = {
    "scratch": "tab:gray",
    "scratch_whole": "black",
    "simmim_seed0": "tab:orange",
    "simclr_seed0": "tab:blue",
    "greenmim_seed0": "tab:green",
    "greenmim_best_seed0": "darkgreen",
}
KINDS = {"linear": "frozen, linear", "knn": "frozen, k-NN", "fine_tuned": "fine-tuned"}
DENSE_METRICS = {"segmentation": "mean_iou", "detection": "map"}
METRIC_TITLES = {"mean_iou": "mean IoU", "map": "COCO mAP"}


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


def collect_probe(path: Path, model: str) -> dict:
    """Read the frozen-feature accuracies of one model in a file, by the model's folder name."""
    if not path.is_file():
        return {}
    accuracies = {Path(name).name: value for name, value in read_json(path)["accuracy"].items()}
    return accuracies.get(model, {})


def collect_metric(runs: Path, kind: str, metric: str) -> dict:
    """Collect lists of results over the seeds, by the parts of the run names. The last part of a name is the seed."""
    results: dict = {}
    for name in list_runs(kind):
        if (path := runs / name / "eval_results.json").is_file():
            *parts, last = name.split("/")[1:]
            parts += [part for part in [last.partition("seed")[0].rstrip("_")] if part]
            place = results
            for part in parts[:-1]:
                place = place.setdefault(part, {})
            place.setdefault(parts[-1], []).append(read_json(path)[f"eval_{metric}"])
    return results


def collect_hours(runs: Path, fine_tuning: dict) -> list[dict]:
    """Collect EuroSAT accuracies with 10% of the labels and seed 0 after each part of a pre-training."""
    dataset, start = WATCHED.split("/")
    labels, study, points = str(list(LABELS[dataset])[1]), Study(), []
    for part in range(NUM_PARTS + 1):
        name, path, model = f"{start}_part{part}", runs / "probes" / f"{WATCHED}.json", "model"
        if part == 0:
            name, path = "scratch", runs / "probes" / dataset / "untrained_seed0.json"
        elif part == NUM_PARTS:
            name = start
        else:
            model = Path(study.get_checkpoint(part)).name
        point = collect_probe(path, model)
        if accuracies := fine_tuning.get(dataset, {}).get(name, {}).get(labels):
            point["fine_tuned"] = accuracies[0]
        if point:
            points.append({"hours": part / NUM_PARTS * SECONDS[dataset] / 3600} | point)
    return points


def collect(runs: Path) -> dict:
    """Collect the results so far."""
    fine_tuning = collect_metric(runs, "fine_tuning", "accuracy")
    hours = collect_hours(runs, fine_tuning)
    for start in [start for start in fine_tuning.get("eurosat", {}) if "_part" in start]:
        del fine_tuning["eurosat"][start]  # they are in `hours`
    probes: dict = {}
    for name in list_runs("probes"):
        _, dataset, start = name.split("/")
        if accuracies := collect_probe(runs / f"{name}.json", "model"):
            probes.setdefault(dataset, {})[start] = accuracies
    images = {}
    for name in list_runs("pretraining"):
        for file in ("metrics.json", "train_results.json", "swin/train_results.json"):
            if (path := runs / name / file).is_file():
                images[name.partition("/")[2]] = read_json(path)["images_seen"]
    return {
        "speeds": read_speeds(),
        "images_seen": images,
        "probes": probes,
        "fine_tuning": fine_tuning,
        "hours": hours,
        "recipes": collect_metric(runs, "recipes", "accuracy"),
        **{task: collect_metric(runs, task, metric) for task, metric in DENSE_METRICS.items()},
    }


def describe(values: list[float]) -> str:
    """Format mean and standard deviation in percent."""
    values = [100 * value for value in values]
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}" if values else ""


def make_table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def make_tables(results: dict) -> str:
    """Create Markdown tables in percent."""
    parts = []
    for dataset, epochs in LABELS.items():
        probes, fine_tuning = results["probes"].get(dataset, {}), results["fine_tuning"].get(dataset, {})
        rows = []
        for start in TITLES:
            if start in probes or start in fine_tuning:
                number = results["images_seen"].get(f"{dataset}/{start}")
                frozen = [describe([value]) for value in probes.get(start, {}).values()]
                tuned = [describe(fine_tuning.get(start, {}).get(str(labels), [])) for labels in epochs]
                rows.append([TITLES[start], f"{number:,}" if number else "", *(frozen or ["", ""]), *tuned])
        titles = ["start", "images seen", "linear", "k-NN", *(f"{labels:,} labels" for labels in epochs)]
        parts.append(f"Accuracy, {dataset}:\n\n{make_table(titles, rows)}")
    rows = [
        [f"{point['hours']:.2f}", *(describe([point[kind]]) if kind in point else "" for kind in KINDS)]
        for point in results["hours"]
    ]
    parts.append(f"GreenMIM on EuroSAT, 10% of the labels:\n\n{make_table(['hours', *KINDS.values()], rows)}")
    for task, metric in DENSE_METRICS.items():
        rows = [[TITLES[start], describe(values)] for start, values in results[task].items()]
        parts.append(f"{task.capitalize()}:\n\n{make_table(['start', METRIC_TITLES[metric]], rows)}")
    starts = list(results["recipes"])
    rows = [[recipe, *(describe(results["recipes"][start].get(recipe, [])) for start in starts)] for recipe in RECIPES]
    titles = ["recipe", *(TITLES[start] for start in starts)]
    parts.append(f"Recipes, accuracy on held-out training images:\n\n{make_table(titles, rows)}")
    return "\n\n".join(parts)


def draw_hours(results: dict) -> Figure:
    """Plot EuroSAT accuracy over the hours of pre-training."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind, title in KINDS.items():
        points = [(point["hours"], 100 * point[kind]) for point in results["hours"] if kind in point]
        if points:
            axes.plot(*zip(*points), marker="o", label=title)
    dataset = WATCHED.partition("/")[0]
    labels = str(list(LABELS[dataset])[1])
    for start, marker in (("scratch_whole", "s"), ("greenmim_tenth_seed0", "^")):
        if accuracies := results["fine_tuning"].get(dataset, {}).get(start, {}).get(labels):
            axes.plot(SECONDS[dataset] / 3600, 100 * accuracies[0], marker, color="black", label=TITLES[start])
    axes.set(xlabel="hours of pre-training, one core", ylabel="test accuracy on EuroSAT, 10% of the labels, %")
    return finish(figure)


def draw_labels(results: dict) -> Figure:
    """Plot accuracy over the number of labels for each start."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, dataset in zip(figure.subplots(1, 2), LABELS):
        for start, color in COLORS.items():
            if accuracies := results["fine_tuning"].get(dataset, {}).get(start):
                means = [100 * statistics.mean(values) for values in accuracies.values()]
                spreads = [100 * statistics.stdev(values) if len(values) > 1 else 0 for values in accuracies.values()]
                numbers = [int(labels) for labels in accuracies]
                axes.errorbar(numbers, means, spreads, marker="o", capsize=3, color=color, label=TITLES[start])
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(list(LABELS[dataset]), [f"{labels:,}" for labels in LABELS[dataset]])
        axes.set(title=dataset, xlabel="images with labels", ylabel="test accuracy, %")
    return finish(figure)


def finish(figure: Figure) -> Figure:
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    return figure


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("runs", type=Path)
    path = FOLDER / "results.json"
    path.write_text(json.dumps(collect(parser.parse_args().runs), indent=2) + "\n")
    results = read_json(path)
    print(make_tables(results))
    draw_hours(results).savefig(FOLDER / "accuracy_over_hours.png", dpi=120)
    draw_labels(results).savefig(FOLDER / "accuracy_over_labels.png", dpi=120)


if __name__ == "__main__":
    main()
