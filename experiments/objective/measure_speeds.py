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
Measure the images per second of every objective, in turn, and write speeds.json. Run once, on a quiet machine.

    OMP_NUM_THREADS=1 python measure_speeds.py path/to/data --teacher runs/teacher/model

A step reads, crops, masks and trains, as in the pre-training script. The fastest round counts because other load
affects it least.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from objectives import BATCH_SIZE, IMAGE_SIZES, OBJECTIVES, make_settings
from run_fusion import make_decoder

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.reconstruction_greenmim import DECODERS, GreenMimDecoder
from modeling_greenmim.training.micro_batches import prepare_inputs
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data


class Run:
    """Train one objective, a few steps at a time."""

    def __init__(self, dataset: str, objective: str, data: Path, teacher: str):
        DECODERS["self"] = make_decoder if objective == "fusion" else GreenMimDecoder
        args = ModelArguments(teacher_model_name_or_path=teacher if objective.startswith("teacher") else None)
        config = GreenMimConfig(**make_settings(objective, dataset))
        self.pretrained = make_pretrained_model(args, seed=0, config=config)
        self.model = self.pretrained.model.train()
        data_args = DataArguments(data_files=[str(data / dataset / "train-*.parquet")], min_crop_scale=0.5)
        images = open_data(data_args, config, seed=0)
        collator = self.pretrained.make_collator(args)
        self.batches = iter(images.make_loader(collator, BATCH_SIZE, range(1_000_000), (1, BATCH_SIZE)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.accelerator = Accelerator(cpu=True)

    def measure(self, num_steps: int) -> float:
        """Measure images per second."""
        start = time.perf_counter()
        for _ in range(num_steps):
            inputs = prepare_inputs(next(self.batches)["inputs"], self.accelerator, self.pretrained.teacher)
            self.model(**inputs).loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return num_steps * BATCH_SIZE / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("data", type=Path, help="Folder with a folder of parquet files for each dataset.")
    parser.add_argument("--teacher", required=True, help="Folder of the teacher.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="Steps of each objective in a round.")
    args = parser.parse_args()
    speeds = {}
    for dataset in IMAGE_SIZES:
        runs = {objective: Run(dataset, objective, args.data, args.teacher) for objective in OBJECTIVES}
        for run in runs.values():
            run.measure(1)  # to warm up
        rounds = [{name: run.measure(args.steps) for name, run in runs.items()} for _ in range(args.rounds)]
        speeds[dataset] = {name: round(max(values[name] for values in rounds), 1) for name in OBJECTIVES}
        for name, speed in speeds[dataset].items():
            print(f"{dataset} {name}: {speed} images per second", flush=True)
    (Path(__file__).parent / "speeds.json").write_text(json.dumps(speeds, indent=2) + "\n")


if __name__ == "__main__":
    main()
