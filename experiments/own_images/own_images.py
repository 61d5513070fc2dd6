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
"""Runs of the study and their settings. Prints the options that the Makefile needs and the core-hours of each part.

python own_images.py list fine_tuning
python own_images.py options fine_tuning/eurosat/greenmim_seed0/216_seed1
python own_images.py budget
"""

import argparse
import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path


SECONDS = {"eurosat": 7200, "blood_cells": 3600}  # of a pre-training, on one core
CIFAR10_SECONDS = 1800  # of one with the model of the CIFAR-10 study
BATCH_SIZE = 256
# 2.2 M parameters in the encoder, mask units of 16 pixels
MODEL = {
    "patch_size": 4,
    "embed_dim": 64,
    "depths": [2, 2, 2],
    "num_heads": [2, 4, 8],
    "window_size": 4,
    "decoder_hidden_size": 128,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 512,
}
IMAGE_SIZES = {"eurosat": 64, "blood_cells": 96}
BEST_OBJECTIVE = "teacher"  # with the teacher of the Makefile

PAPER_RECIPE = {"min_crop_scale": 0.2, "drop_path_rate": 0.1, "layer_decay": 0.8, "learning_rate": 1e-3}
PLAIN_RECIPE = {"min_crop_scale": 0.5, "drop_path_rate": 0.0, "layer_decay": 1.0, "learning_rate": 1e-3}
FINE_TUNING = {"pretrained": PLAIN_RECIPE, "scratch": PLAIN_RECIPE}
RECIPES = {
    "paper": PAPER_RECIPE,
    "paper_crops_50": PAPER_RECIPE | {"min_crop_scale": 0.5},
    "paper_drop_path_0": PAPER_RECIPE | {"drop_path_rate": 0.0},
    "paper_layer_decay_1": PAPER_RECIPE | {"layer_decay": 1.0},
    "plain": PLAIN_RECIPE,
    "plain_rate_5e-4": PLAIN_RECIPE | {"learning_rate": 5e-4},
    "plain_rate_2e-3": PLAIN_RECIPE | {"learning_rate": 2e-3},
}
RECIPE_LABELS, RECIPE_EPOCHS = 2160, 20
# number of labels -> epochs: 1%, 10% and all
LABELS = {"eurosat": {216: 40, 2160: 10, 21600: 2}, "blood_cells": {80: 40, 800: 10, 8000: 2}}
SEEDS = (0, 1, 2)
METHODS = ("greenmim", "greenmim_best", "simmim", "simclr")
BASELINES = ("untrained", "teacher_itself")  # whose weights never saw the images
CIFAR10_MODELS = ("cifar10_continued", "cifar10_model")  # from the weights of CIFAR-10, and from scratch
EXTRA_METHODS = ("greenmim_tenth", *CIFAR10_MODELS)  # on EuroSAT only; the first learns from a tenth of the images
WATCHED, NUM_PARTS = "eurosat/greenmim_seed0", 6  # the run whose checkpoints are evaluated, and in how many parts

DENSE = {
    "segmentation": {"dataset": "eurosat", "seeds": SEEDS, "steps": 400, "batch_size": 16},
    "detection": {"dataset": "blood_cells", "seeds": (0,), "steps": 400, "batch_size": 8},
}
KINDS = ("recipes", "pretraining", "probes", "fine_tuning", *DENSE)
DENSE_STARTS = ("scratch", "greenmim_seed0", "simmim_seed0")

TEST_IMAGES = {"eurosat": 5400, "blood_cells": 1600, "segmentation": 489, "detection": 72}
START_SECONDS = 10  # of a run: imports, opening of images, writing of the model
EVALUATION_SPEED = 3  # times that of training


def list_pretrainings() -> list[str]:
    runs = [f"{dataset}/{method}_seed0" for dataset in SECONDS for method in METHODS]
    return runs + [f"eurosat/{run}" for run in ("greenmim_seed1", *(f"{name}_seed0" for name in EXTRA_METHODS))]


def list_fine_tunings() -> list[str]:
    runs = []
    for dataset, epochs in LABELS.items():
        few, more, _ = epochs
        starts = ("scratch", *(f"{method}_seed0" for method in METHODS))
        runs += [f"{dataset}/{start}/{labels}_seed{seed}" for start in starts for labels in epochs for seed in SEEDS]
        runs += [f"{dataset}/scratch_whole/{labels}_seed0" for labels in (few, more)]
        runs += [f"{dataset}/teacher_itself_seed0/{labels}_seed0" for labels in (few, more)]
    few, more, _ = LABELS["eurosat"]
    runs += [f"eurosat/greenmim_seed1/{labels}_seed0" for labels in (few, more)]
    runs += [f"eurosat/{method}_seed0/{more}_seed{seed}" for method in CIFAR10_MODELS for seed in SEEDS]
    runs += [f"eurosat/greenmim_tenth_seed0/{more}_seed0"]
    return runs + [f"eurosat/greenmim_seed0_part{part}/{more}_seed0" for part in range(1, NUM_PARTS)]


def list_runs(kind: str) -> list[str]:
    """List run names, which are also their folders."""
    if kind == "pretraining":
        runs = list_pretrainings()
    elif kind == "probes":
        runs = [f"{dataset}/{baseline}_seed0" for dataset in SECONDS for baseline in BASELINES] + list_pretrainings()
    elif kind == "fine_tuning":
        runs = list_fine_tunings()
    elif kind == "recipes":
        runs = [f"{start}/{recipe}" for start in ("scratch", "greenmim_seed0") for recipe in RECIPES]
    else:
        seeds = dict.fromkeys(DENSE_STARTS, DENSE[kind]["seeds"])
        if kind == "segmentation":
            seeds["scratch_whole"] = (0,)
        runs = [f"{start}/seed{seed}" for start, numbers in seeds.items() for seed in numbers]
    return [f"{kind}/{run}" for run in runs]


@cache
def read_speeds() -> dict:
    """Read images per second by dataset and training."""
    return json.loads((Path(__file__).parent / "speeds.json").read_text())


def get_pretraining_seconds(method: str, dataset: str) -> int:
    return CIFAR10_SECONDS if method in CIFAR10_MODELS else SECONDS[dataset]


def get_method(start: str) -> str:
    return start.partition("_seed")[0]


def get_speed_name(method: str) -> str:
    """Name of the speed at which a method pre-trains."""
    return {"greenmim_tenth": "greenmim", "cifar10_continued": "cifar10_model"}.get(method, method)


@dataclass
class Study:
    """
    Settings and options of the study's runs in the folder `runs`. `steps` overrides each run's number of steps for
    trials.
    """

    runs: str = "runs"
    steps: int | None = None

    def count_steps(self, dataset: str, method: str) -> int:
        """Number of pre-training steps at the committed speeds, a multiple of `NUM_PARTS`."""
        if self.steps:
            return self.steps
        speed = read_speeds()[dataset][get_speed_name(method)]
        return NUM_PARTS * round(get_pretraining_seconds(method, dataset) * speed / BATCH_SIZE / NUM_PARTS)

    def count_epochs(self, dataset: str, start: str, labels: int) -> int:
        epochs = LABELS[dataset][labels]
        if start == "scratch_whole" and not self.steps:
            epochs += round(SECONDS[dataset] * read_speeds()[dataset]["fine_tuning"] / labels)
        return epochs

    def count_dense_steps(self, task: str, start: str) -> int:
        if self.steps:
            return self.steps
        steps, dataset = DENSE[task]["steps"], DENSE[task]["dataset"]
        if start == "scratch_whole":
            steps += round(SECONDS[dataset] * read_speeds()[dataset][task] / DENSE[task]["batch_size"])
        return steps

    def get_checkpoint(self, part: int) -> str:
        """Checkpoint after this many of the `NUM_PARTS` parts of GreenMIM's first run on EuroSAT."""
        steps = math.ceil(self.count_steps("eurosat", "greenmim") * part / NUM_PARTS)
        return f"{self.runs}/pretraining/{WATCHED}/checkpoint-{steps}"

    def describe_start(self, dataset: str, start: str) -> dict:
        """Command-line options for a run's initial weights."""
        if start.startswith("scratch"):
            return {"config_name": f"{self.runs}/configs/{dataset}/greenmim.json"}
        start, _, part = start.partition("_part")
        model = self.get_checkpoint(int(part)) if part else f"{self.runs}/pretraining/{dataset}/{start}/model"
        return {"model_name_or_path": model}

    def describe_pretraining(self, dataset: str, run: str) -> dict:
        method, _, seed = run.partition("_seed")
        if method == "cifar10_continued":
            options = {"model_name_or_path": "../cifar10/pretrained", "image_size": IMAGE_SIZES[dataset]}
        elif method == "cifar10_model":
            config = "../cifar10/greenmim_cifar10.json"
            options = {"config_name_or_path": config, "image_size": IMAGE_SIZES[dataset]}
        else:
            name = method if method == "greenmim_best" else "greenmim"
            options = {"config_name_or_path": f"{self.runs}/configs/{dataset}/{name}.json"}
        options |= {"seed": seed, "per_device_train_batch_size": BATCH_SIZE}
        steps = self.count_steps(dataset, method)
        if method in ("simmim", "simclr"):  # with the Trainer
            return options | {"max_steps": steps, "save_steps": 200, "save_total_limit": 1}
        interval, limit = 200, 1
        if f"{dataset}/{run}" == WATCHED:
            interval, limit = max(1, steps // NUM_PARTS), 2 * NUM_PARTS
        options |= {"max_train_steps": steps, "checkpointing_steps": interval}
        return options | {"checkpoints_total_limit": limit}

    def describe_probe(self, dataset: str, run: str) -> dict:
        models = [f"{self.runs}/pretraining/{dataset}/{run}/model"]
        if f"{dataset}/{run}" == WATCHED:
            models += [self.get_checkpoint(part) for part in range(1, NUM_PARTS)]
        labels = list(LABELS[dataset])[1]
        return {"model_name_or_path": " ".join(dict.fromkeys(models)), "seed": 0, "max_train_samples": labels}

    def describe_fine_tuning(self, dataset: str, start: str, run: str) -> dict:
        labels, _, seed = run.partition("_seed")
        settings = FINE_TUNING["scratch" if start.startswith("scratch") else "pretrained"]
        epochs = self.count_epochs(dataset, start, int(labels))
        options = self.describe_start(dataset, start) | settings
        return options | {"seed": seed, "max_train_samples": labels, "num_train_epochs": epochs}

    def describe_recipe(self, start: str, recipe: str) -> dict:
        options = self.describe_start("eurosat", start) | RECIPES[recipe]
        return options | {"seed": 0, "max_train_samples": RECIPE_LABELS, "num_train_epochs": RECIPE_EPOCHS}

    def describe_dense_run(self, task: str, start: str, run: str) -> dict:
        options = self.describe_start(DENSE[task]["dataset"], start) | {"seed": run.removeprefix("seed")}
        options |= {"per_device_train_batch_size": DENSE[task]["batch_size"]}
        return options | {"max_steps": self.count_dense_steps(task, start)}

    def describe_run(self, name: str) -> dict:
        """Command-line options of a run's script."""
        kind, *parts = name.split("/")
        if kind == "pretraining":
            return self.describe_pretraining(*parts)
        if kind in DENSE:
            options = self.describe_dense_run(kind, *parts)
        else:
            describe = {"probes": self.describe_probe, "fine_tuning": self.describe_fine_tuning}
            options = describe.get(kind, self.describe_recipe)(*parts)
        if self.steps:
            options["max_eval_samples"] = 40
            options |= {"max_train_samples": 80} if kind == "probes" else {"max_steps": self.steps}
        return options


def estimate_seconds(name: str) -> float:
    """Estimate the core-seconds of a run at the committed speeds."""
    kind, *parts = name.split("/")
    if kind == "pretraining":
        return START_SECONDS + get_pretraining_seconds(get_method(parts[1]), parts[0])
    dataset, study = {"recipes": "eurosat"}.get(kind, parts[0]), Study()
    if kind in DENSE:
        dataset = DENSE[kind]["dataset"]
    speeds, images, evaluated = read_speeds()[dataset], 0, TEST_IMAGES[kind if kind in DENSE else dataset]
    speed = speeds[kind if kind in DENSE else "fine_tuning"]
    if kind == "probes":
        num_models = NUM_PARTS if name == f"probes/{WATCHED}" else 1
        evaluated = num_models * (evaluated + list(LABELS[dataset])[1])
    elif kind == "fine_tuning":
        labels = int(get_method(parts[2]))
        images = labels * study.count_epochs(dataset, parts[1], labels)
    elif kind == "recipes":
        images = RECIPE_LABELS * RECIPE_EPOCHS
    else:
        images = study.count_dense_steps(kind, parts[0]) * DENSE[kind]["batch_size"]
    return START_SECONDS + images / speed + evaluated / speed / EVALUATION_SPEED


def make_budget() -> str:
    """Create a Markdown table of core-hours by kind."""
    rows = []
    for kind in KINDS:
        for is_whole in (False, True):
            names = [name for name in list_runs(kind) if ("scratch_whole" in name) == is_whole]
            if names:
                title = kind.replace("_", "-") + (", from scratch for the whole time" if is_whole else "")
                rows.append((title, len(names), sum(map(estimate_seconds, names)) / 3600))
    _, numbers, hours = zip(*rows)
    rows.append(("all", sum(numbers), sum(hours)))
    lines = [f"| {title} | {number} | {hours:.1f} |" for title, number, hours in rows]
    return "\n".join(["| part | runs | core-hours |", "|---|---|---|", *lines])


def make_config(dataset: str, name: str) -> dict:
    """Configuration fields of a model."""
    # of ../objective, which imports transformers: the other commands need not wait for it
    from objectives import OBJECTIVES

    objective = BEST_OBJECTIVE if name == "greenmim_best" else "last_stage"
    return {"model_type": "greenmim", "image_size": IMAGE_SIZES[dataset]} | MODEL | OBJECTIVES[objective]


def take_tenth(files: list[str], output_file: str):
    """Write the first tenth of the rows of parquet files, which contains all classes."""
    import pyarrow.parquet

    table = pyarrow.concat_tables(map(pyarrow.parquet.read_table, sorted(files)))
    pyarrow.parquet.write_table(table.slice(0, len(table) // 10), output_file, row_group_size=100)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    names = commands.add_parser("list", help="print the names of runs")
    names.add_argument("kind", choices=KINDS)
    options = commands.add_parser("options", help="print options of the script of a run")
    options.add_argument("name")
    options.add_argument("--runs", default="runs", help="Folder of the runs.")
    options.add_argument("--steps", type=int, help="Steps of the run, instead of those of the study.")
    config = commands.add_parser("config", help="write the configuration of a model")
    config.add_argument("name", help="Dataset and model, such as eurosat/greenmim.")
    config.add_argument("file", type=Path)
    tenth = commands.add_parser("tenth", help="write a tenth of the rows of parquet files")
    tenth.add_argument("files", nargs="+")
    tenth.add_argument("output_file")
    commands.add_parser("budget", help="print the core-hours of each part")
    args = parser.parse_args()
    if args.command == "list":
        print(*list_runs(args.kind))
    elif args.command == "options":
        options = Study(args.runs, args.steps).describe_run(args.name)
        print(*(f"--{name} {value}" for name, value in options.items()))
    elif args.command == "config":
        args.file.parent.mkdir(parents=True, exist_ok=True)
        args.file.write_text(json.dumps(make_config(*args.name.split("/")), indent=2) + "\n")
    elif args.command == "tenth":
        take_tenth(args.files, args.output_file)
    else:
        print(make_budget())


if __name__ == "__main__":
    main()
