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
"""Save and convert models, and read them without this package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny_models import make_config, randomize


ROOT = Path(__file__).parents[2]
# other environments, created by `make test-all`
ENVIRONMENTS = {
    "here": Path(sys.executable),
    "transformers 4.57": ROOT / ".venv-4.57/bin/python",
    "transformers 5.17": ROOT / ".venv-oldest/bin/python",
}


def save_model(model_class, folder, std=0.1, **settings):
    model = randomize(model_class(make_config(num_labels=5, out_features=["stage1", "stage3"], **settings)), std)
    model.save_pretrained(folder)
    return model


def read_elsewhere(environment, auto_class, folder, pixel_values, tmp_path):
    if not ENVIRONMENTS[environment].exists():
        pytest.skip("`make test-all` makes this environment")
    torch.save(pixel_values, tmp_path / "images.pt")
    script = ROOT / "tests" / "helpers" / "read_folder.py"
    result = subprocess.run(
        [ENVIRONMENTS[environment], script, auto_class, folder, tmp_path / "images.pt", tmp_path / "outputs.pt"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "newly initialized" not in result.stderr
    return torch.load(tmp_path / "outputs.pt")
