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
"""The wheel and the source distribution: built from the repository, they hold what they should, and install."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    process = subprocess.run(build, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return {path.suffix: path for path in folder.iterdir()}


@pytest.mark.slow
def test_contents(distributions):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "modeling_greenmim").rglob("*.py")}
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        names = set(wheel.namelist())
        assert modules | {"modeling_greenmim/py.typed"} <= names
        assert all(name.startswith("modeling_greenmim") for name in names)
    with tarfile.open(distributions[".gz"]) as source:
        names = {name.split("/", 1)[1] for name in source.getnames() if "/" in name}
    expected = {"LICENSE", "README.md", "setup.cfg", "tests/brute_force.py", "benchmarks/training_step.py"}
    assert modules | expected <= names
    assert {f"examples/configs/{path.name}" for path in (ROOT / "examples" / "configs").glob("*.json")} <= names


def test_the_package_does_not_import_the_training_library():
    script = "import sys, modeling_greenmim; print([name for name in sys.modules if name.startswith('modeling_greenmim.training')])"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".whl", ".gz"])
def test_installs_and_imports(distributions, suffix, tmp_path):
    """In an environment that has its dependencies, but not the repository."""
    venv.create(tmp_path / "venv", system_site_packages=False, with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", str(distributions[suffix])]
    subprocess.run(install, check=True, capture_output=True)
    paths = subprocess.run(
        [sys.executable, "-c", "import site; print(site.getsitepackages()[0])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    script = (
        f"import sys; sys.path.append({paths!r}); import modeling_greenmim; print(modeling_greenmim.__file__); "
        "from modeling_greenmim import GreenMimConfig, GreenMimModel; GreenMimModel(GreenMimConfig(depths=(1, 1, 1, 1)))"
    )
    process = subprocess.run([python, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert str(tmp_path / "venv") in process.stdout
