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
"""The notebook runs with small sizes, and its committed outputs come from its current cells."""

import os
import re
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from tests.helpers.scripts import ROOT


nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
for name in ("ipykernel", "datasets", "matplotlib", "sklearn"):
    pytest.importorskip(name)

PATH = ROOT / "examples" / "notebooks" / "greenmim_in_ten_minutes.ipynb"
NUM_FIGURES = 5
SMALL = {
    "image_size": 16,
    "embed_dim": 16,
    "depths": (1, 1),
    "num_heads": (1, 2),
    "pretraining_steps": 4,
    "fine_tuning_steps": 2,
}
# loads a folder with the pipeline without this package
CLASSIFY = """
import sys

sys.modules["modeling_greenmim"] = None
import PIL.Image
from transformers import pipeline

classifier = pipeline("image-classification", model=sys.argv[1], trust_remote_code=True)
print(len(classifier(PIL.Image.effect_noise((40, 30), 90).convert("RGB"), top_k=100)), "classes")
"""


def get_code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def find_parameters(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return cell


def get_outputs(notebook) -> list:
    return [output for cell in get_code_cells(notebook) for output in cell.outputs]


def read_text(notebook) -> str:
    """Return the printed text, and check that there were no warnings."""
    outputs = [output for output in get_outputs(notebook) if output.output_type == "stream"]
    assert {output.name for output in outputs} == {"stdout"}
    return "".join(output.text for output in outputs)


def check_outputs(notebook):
    """Check that figures and numbers exist."""
    figures = [output.data for output in get_outputs(notebook) if "data" in output and "image/png" in output.data]
    assert len(figures) == NUM_FIGURES
    text = read_text(notebook)
    for pattern in (r"from the pre-trained model: +(\S+)%", r"from scratch: +(\S+)%"):
        (accuracy,) = re.findall(pattern, text)
        assert 0 <= float(accuracy) <= 100
    before, after = map(float, re.search(r"held-out images: (\S+) before, (\S+) after", text).groups())
    assert 0 < after < before
    assert "model.safetensors" in text and "modeling_greenmim.py" in text  # the published folder's


def run(folder, monkeypatch, **sizes):
    """Run the notebook in a folder with different parameters."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("HF_HOME", str(folder / "huggingface"))
    notebook = nbformat.read(PATH, as_version=4)
    parameters = find_parameters(notebook)
    names = {}
    exec(parameters.source, names)
    assert set(sizes) <= set(names)
    parameters.source += "".join(f"\n{name} = {value!r}" for name, value in sizes.items())
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


@pytest.mark.slow
def test_it_publishes_a_classifier_that_loads_without_the_package(tmp_path, monkeypatch):
    notebook = run(tmp_path, monkeypatch, **SMALL)
    check_outputs(notebook)
    result = subprocess.run(
        [sys.executable, "-c", CLASSIFY, str(tmp_path / "greenmim_in_ten_minutes" / "published")],
        cwd=tmp_path,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "10 classes" in result.stdout


@pytest.mark.slow
def test_it_runs_on_images_of_all_kinds(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for name, mode in {"cat": "RGB", "dog": "L", "bird": "RGBA"}.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(20):
            size = tuple(int(side) for side in generator.integers(10, 90, 2))
            PIL.Image.effect_noise(size, 90).convert(mode).save(tmp_path / "images" / name / f"{number}.png")
    sizes = SMALL | {
        "image_folder": str(tmp_path / "images"),
        "reconstruction_target": "normalized_pixels",
        "labeled_fraction": 0.5,
    }
    notebook = run(tmp_path, monkeypatch, **sizes)
    assert "3 classes: bird, cat, dog" in read_text(notebook)


def test_committed_outputs_are_those_of_one_run_and_name_no_path():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    cells = get_code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for output in get_outputs(notebook))
    check_outputs(notebook)
    names = {}
    exec(find_parameters(notebook).source, names)
    text = read_text(notebook)
    assert f"\n{names['pretraining_steps']} steps, " in text
    num_images = int(re.search(r"(\d+) images to train on", text).group(1))
    assert f"trained on {int(names['labeled_fraction'] * num_images)} labeled images" in text
    channels = names["embed_dim"] * 2 ** (len(names["depths"]) - 1)
    num_units = (names["image_size"] // (names["patch_size"] * 2 ** (len(names["depths"]) - 1))) ** 2
    assert f"Features: (8, {num_units}, {channels})" in text
    assert not re.search(r"/(root|home|tmp|work|opt|usr)/|Warning", PATH.read_text())
    assert PATH.stat().st_size < 600_000
