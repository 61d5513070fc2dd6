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
"""The wheel and the source distribution build from the repository, have the expected files, install and import."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    process = subprocess.run(build, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture(scope="module", params=[".whl", ".gz"])
def installed(distributions, request, tmp_path_factory):
    """Install a distribution without its dependencies, which the test environment has, and return its folder."""
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    process = subprocess.run(
        [*install, str(folder), str(distributions[request.param])], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return folder


def run_installed(script: str, installed: Path, folder: Path) -> str:
    """Run a script outside the repository, with the installed package ahead of the environment's."""
    process = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def list_modules() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / "modeling_greenmim").rglob("*.py")}


def test_the_wheel_holds_the_package_only(distributions):
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        names = set(wheel.namelist())
    assert list_modules() | {"modeling_greenmim/py.typed", "modeling_greenmim/templates/model_card.md"} <= names
    assert all(name.startswith("modeling_greenmim") for name in names)


def test_the_source_distribution_holds_the_repository(distributions):
    with tarfile.open(distributions[".gz"]) as source:
        names = {name.split("/", 1)[1] for name in source.getnames() if "/" in name}
    expected = {"LICENSE", "README.md", "setup.cfg", "tests/helpers/brute_force.py", "benchmarks/training_step.py"}
    assert list_modules() | expected <= names
    assert {f"examples/configs/{path.name}" for path in (ROOT / "examples" / "configs").glob("*.json")} <= names


def test_an_installed_package_makes_a_model(installed, tmp_path):
    script = (
        "import modeling_greenmim; print(modeling_greenmim.__file__); from modeling_greenmim import GreenMimConfig, "
        "GreenMimModel; GreenMimModel(GreenMimConfig(depths=(1, 1, 1, 1)))"
    )
    assert str(installed) in run_installed(script, installed, tmp_path)


def test_an_installed_package_has_its_training_library(installed, tmp_path):
    script = (
        "import importlib, pkgutil, modeling_greenmim.training as training; print(training.__file__)\n"
        "for module in pkgutil.iter_modules(training.__path__, 'modeling_greenmim.training.'):\n"
        "    importlib.import_module(module.name)"
    )
    assert str(installed) in run_installed(script, installed, tmp_path)
