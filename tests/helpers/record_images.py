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
"""Run the pre-training script, and record the epoch and checksum of every training image.

    python -m tests.helpers.record_images FOLDER --train_dir ...

Each process writes to `FOLDER/{rank}.txt`.
"""

import os
import sys
from pathlib import Path

from modeling_greenmim.training.progress import Progress
from tests.helpers.pretraining import SCRIPT
from tests.helpers.scripts import import_script


def iterate(self, loader):
    with (folder / f"{os.environ.get('RANK', 0)}.txt").open("w") as file:
        for batch in original(self, loader):
            for epoch, checksum in zip(batch["epochs"], batch["checksums"]):
                print(epoch, checksum, file=file, flush=True)
            yield batch


folder = Path(sys.argv.pop(1))
original, Progress.iterate = Progress.iterate, iterate
import_script(SCRIPT).main()
