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
"""Run the pre-training script with a Hub dataset `me/images` that is in fact a local folder of parquet files.

python -m tests.helpers.fake_hub FOLDER --dataset_name me/images ...
"""

import sys
from pathlib import Path

import datasets

from tests.helpers.pretraining import SCRIPT
from tests.helpers.scripts import import_script


def load_dataset(path, *args, **kwargs):
    if path != "me/images":
        return original(path, *args, **kwargs)
    assert kwargs["streaming"]
    return original("parquet", data_files=files, split="train", streaming=True)


files = sorted(map(str, Path(sys.argv.pop(1)).glob("*.parquet")))
original, datasets.load_dataset = datasets.load_dataset, load_dataset
import_script(SCRIPT).main()
