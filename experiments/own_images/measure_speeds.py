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
Measure the images per second of every training in the study, in turn, and write speeds.json. Run once, on a quiet
machine.

    OMP_NUM_THREADS=1 make speeds.json DATA=path/to/data

Each measurement is a short Makefile run. The fastest round counts because other load affects it least.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


RUNS = {
    "eurosat": {
        "greenmim": "pretraining/eurosat/greenmim_seed0",
        "greenmim_best": "pretraining/eurosat/greenmim_best_seed0",
        "simmim": "pretraining/eurosat/simmim_seed0/swin",
        "simclr": "pretraining/eurosat/simclr_seed0",
        "cifar10_model": "pretraining/eurosat/cifar10_model_seed0",
        "fine_tuning": "fine_tuning/eurosat/scratch/21600_seed0",
        "segmentation": "segmentation/scratch/seed0",
    },
    "blood_cells": {
        "greenmim": "pretraining/blood_cells/greenmim_seed0",
        "greenmim_best": "pretraining/blood_cells/greenmim_best_seed0",
        "simmim": "pretraining/blood_cells/simmim_seed0/swin",
        "simclr": "pretraining/blood_cells/simclr_seed0",
        "fine_tuning": "fine_tuning/blood_cells/scratch/8000_seed0",
        "detection": "detection/scratch/seed0",
    },
}


def read_speed(run: Path) -> float:
    """Read images per second; for pre-training, the median over the steps."""
    if (results := run / "train_results.json").is_file():
        metrics = json.loads(results.read_text())
        return metrics.get("images_per_second") or metrics["train_samples_per_second"]
    history = json.loads((run / "metrics.json").read_text())["history"]
    return statistics.median(record["images_per_second"] for record in history if "loss" in record)


def measure(data: Path, run: str, steps: int, folder: Path) -> float:
    variables = [f"DATA={data.resolve()}", f"RUNS={folder}", f"STEPS={steps}", f"PYTHON={sys.executable}"]
    command = ["make", "-C", str(Path(__file__).parent), f"{folder}/{run}/model/config.json", *variables]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_speed(folder / run)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("data", type=Path, help="Folder with a folder of parquet files for each dataset.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="Steps of each run.")
    args = parser.parse_args()
    speeds = {dataset: dict.fromkeys(runs, 0.0) for dataset, runs in RUNS.items()}
    for number in range(args.rounds):
        for dataset, runs in RUNS.items():
            for name, run in runs.items():
                with tempfile.TemporaryDirectory() as folder:
                    speed = measure(args.data, run, args.steps, Path(folder))
                speeds[dataset][name] = max(speeds[dataset][name], round(speed, 1))
                print(f"round {number + 1}: {dataset} {name}: {speed:.1f} images per second", flush=True)
    (Path(__file__).parent / "speeds.json").write_text(json.dumps(speeds, indent=2) + "\n")


if __name__ == "__main__":
    main()
