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
`import modeling_greenmim` imports neither torch nor transformers, yet transformers' Auto classes find its classes.
"""

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import MODEL_MAPPING

import modeling_greenmim
from modeling_greenmim.auto_classes import MODEL_CLASSES, UnimportedModel


USE_AUTO_CLASSES = """
from transformers import AutoConfig, {names}
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
config = AutoConfig.for_model("greenmim", depths=(1, 1, 1, 1))
assert type(config) in IMAGE_PROCESSOR_MAPPING
print(*[type(auto_class.from_config(config)).__name__ for auto_class in ({names})])
"""


def run_python(script: str) -> str:
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@pytest.mark.parametrize("module", ["modeling_greenmim", "modeling_greenmim.training"])
def test_importing_the_package_imports_no_framework(module):
    script = f"import sys, {module}; print([name for name in ('torch', 'transformers', 'PIL') if name in sys.modules])"
    assert run_python(script) == "[]"


def test_using_the_package_does_not_import_the_training_library():
    script = "import sys; from modeling_greenmim import *; print('modeling_greenmim.training' in sys.modules)"
    assert run_python(script) == "False"


@pytest.mark.parametrize(
    "imports",
    [
        "import modeling_greenmim",
        # imports the Auto classes on its way
        pytest.param("import modeling_greenmim; from transformers import SwinModel", marks=pytest.mark.slow),
        pytest.param(
            "from transformers import AutoModel, AutoImageProcessor; import modeling_greenmim", marks=pytest.mark.slow
        ),
        pytest.param("from modeling_greenmim import GreenMimModel", marks=pytest.mark.slow),
    ],
)
def test_auto_classes_know_the_package_whichever_is_imported_first(imports):
    names = ", ".join(MODEL_CLASSES)
    assert run_python(imports + USE_AUTO_CLASSES.format(names=names)) == " ".join(MODEL_CLASSES.values())


def test_importing_auto_classes_imports_no_model():
    script = "import sys, modeling_greenmim; from transformers import AutoModel; print('modeling_greenmim.modeling_greenmim' in sys.modules)"
    assert run_python(script) == "False"


def test_an_imported_model_class_takes_its_place():
    assert MODEL_MAPPING[modeling_greenmim.GreenMimConfig] is modeling_greenmim.GreenMimModel


def test_an_unimported_model_has_the_attributes_of_its_class():
    model = pickle.loads(pickle.dumps(UnimportedModel("GreenMimModel")))
    assert model.__name__ == "GreenMimModel"
    assert model.config_class is modeling_greenmim.GreenMimConfig


def test_type_checkers_see_every_public_name():
    tree = ast.parse(Path(modeling_greenmim.__file__).read_text())
    (block,) = [
        node for node in tree.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    assert {alias.name: node.module for node in block.body for alias in node.names} == modeling_greenmim._MODULES
    assert set(modeling_greenmim.__all__) | {"GreenMimImageProcessor"} == set(modeling_greenmim._MODULES)


def test_the_package_has_no_other_names():
    assert not hasattr(modeling_greenmim, "GreenMimModels")
