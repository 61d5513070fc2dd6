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
"""Runs the pre-training script, and writes down the epoch and the checksum of every image that is trained on.

    python record_images.py FOLDER --train_dir ...

Each process writes to `FOLDER/{rank}.txt`.
"""

import os
import sys
from pathlib import Path


EXAMPLES = Path(__file__).parents[2] / "examples"
import run_pretraining_no_trainer
from pretraining_run import PretrainingRun


def record(batches, path: Path):
    with path.open("w") as file:
        for batch in batches:
            for epoch, checksum in zip(batch["epochs"], batch["checksums"]):
                print(epoch, checksum, file=file, flush=True)
            yield batch


def train_step(self, batches, metrics):
    if not hasattr(self, "recorded"):
        self.recorded = record(batches, folder / f"{os.environ.get('RANK', 0)}.txt")
    return original(self, self.recorded, metrics)


folder = Path(sys.argv.pop(1))
original, PretrainingRun.train_step = PretrainingRun.train_step, train_step
run_pretraining_no_trainer.main()
