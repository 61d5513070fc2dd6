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
Unpack the common tests of the installed transformers into an ignored folder, for `test_common_*.py`.

They are part of the source distribution, not of the installed package, and cannot be committed here:

    python -m tests.helpers.transformers_tests

Small stand-ins replace imports from parts of the repository that the source distribution omits.
"""

import importlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import transformers


FOLDER = Path(__file__).parents[2] / ".transformers_tests" / transformers.__version__
PACKAGE = "transformers_tests"

STAND_INS = {
    # export and generation have separate test suites, which are not distributed
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    # the keywords that `ConfigTester` passes to every configuration
    "utils/test_configuration_utils.py": (
        "config_common_kwargs = {\n"
        '    "return_dict": False,\n'
        '    "output_hidden_states": True,\n'
        '    "output_attentions": True,\n'
        '    "dtype": "float16",\n'
        '    "chunk_size_feed_forward": 5,\n'
        '    "architectures": ["BertModel"],\n'
        '    "id2label": {0: "label"},\n'
        '    "label2id": {"label": "0"},\n'
        '    "problem_type": "regression",\n'
        "}\n"
    ),
    # finds images of the Hub in a cache; the tests that need one are not run
    "../utils/fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


def fetch():
    """Download the source distribution from the package index, and unpack its tests."""
    with tempfile.TemporaryDirectory() as download:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"),
                *("--dest", download, f"transformers=={transformers.__version__}"),
            ],
            check=True,
        )
        (archive,) = Path(download).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tests = [member for member in tar if "/tests/" in member.name and member.name.endswith(".py")]
            # early patch releases of Python 3.10 and 3.11 have no filters
            tar.extractall(download, members=tests, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        (unpacked,) = Path(download).glob("*/tests")
        package = Path(download) / PACKAGE
        unpacked.rename(package)
        for name, content in STAND_INS.items():
            (package / name).parent.mkdir(exist_ok=True)
            (package / name).write_text(content)
        for folder in {(package / name).parent for name in STAND_INS if not name.startswith("..")} | {package}:
            (folder / "__init__.py").touch()
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        for part in (package.parent / "utils", package):  # the package last: if it exists, everything exists
            shutil.move(part, FOLDER / part.name)


def load_package(name: str):
    """Make a package in the folder importable by name."""
    spec = ModuleSpec(name, loader=None, is_package=True)
    spec.submodule_search_locations = [str(FOLDER / name)]
    sys.modules[name] = importlib.util.module_from_spec(spec)


def import_or_skip(module: str) -> ModuleType:
    """Import a module of the common tests. If it does not exist, skip the tests that need it."""
    if not (FOLDER / PACKAGE).exists():
        pytest.skip(
            f"the common tests of transformers {transformers.__version__} are not there: `make transformers-tests` "
            "fetches them from the package index",
            allow_module_level=True,
        )
    for package in (PACKAGE, "utils"):  # the tests import `utils`, as at the root of their repository
        if package not in sys.modules:
            load_package(package)
    return importlib.import_module(f"{PACKAGE}.{module}")


if __name__ == "__main__":
    if not (FOLDER / PACKAGE).exists():
        try:
            fetch()
        except subprocess.CalledProcessError:
            sys.exit(f"the package index gave no source distribution of transformers {transformers.__version__}")
