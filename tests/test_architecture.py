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
"""The structure described in CONTRIBUTING: imports run one way, and a token mixer is named in few places."""

import ast
from pathlib import Path

import pytest


PACKAGE = Path(__file__).parents[1] / "modeling_greenmim"
# files that are copied into model repositories; each may import only those above it
LAYERS = [
    ["validation_greenmim"],
    ["configuration_greenmim", "gathering_greenmim", "masking_greenmim", "packing_greenmim"]
    + ["normalization_greenmim"],
    ["position_bias_greenmim"],
    ["input_checks_greenmim", "group_bias_greenmim", "image_conversion_greenmim", "layout_greenmim"],
    ["image_processing_pil_greenmim", "mixer_greenmim", "overlapping_greenmim", "teacher_greenmim"]
    + ["neighbors_greenmim"],
    ["embeddings_greenmim", "image_processing_greenmim", "mixer_window_greenmim", "mixer_global_greenmim"]
    + ["reconstruction_greenmim", "mixer_spatial_reduction_greenmim", "position_encoding_greenmim"]
    + ["mixer_dilated_greenmim", "mixer_cluster_greenmim"],
    ["score_modulation_greenmim"],
    ["planning_greenmim"],
    ["modeling_greenmim"],
]
COPIED = [module for layer in LAYERS for module in layer]


def read(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def test_every_copied_file_has_its_layer():
    assert {path.stem for path in PACKAGE.glob("*_greenmim.py") if not path.stem.startswith("convert_")} == set(COPIED)


@pytest.mark.parametrize("module", COPIED)
def test_imports_run_one_way(module):
    layer = next(number for number, modules in enumerate(LAYERS) if module in modules)
    imported = {node.module for node in ast.walk(read(module)) if isinstance(node, ast.ImportFrom) and node.level}
    assert imported <= {name for modules in LAYERS[:layer] for name in modules}


@pytest.mark.parametrize("module", COPIED)
def test_shifted_windows_are_named_where_they_are_defined_only(module):
    words = set()
    for node in ast.walk(read(module)):
        if isinstance(node, ast.Constant) and node.value == "shifted_window":
            words.add(node.value)
        elif isinstance(node, (ast.Name, ast.Attribute, ast.ClassDef, ast.FunctionDef)):
            name = getattr(node, "id", getattr(node, "attr", getattr(node, "name", "")))
            words |= {name} if "shifted" in name.lower() else set()
    modules = ("configuration_greenmim", "mixer_window_greenmim", "planning_greenmim", "score_modulation_greenmim")
    assert not words or module in modules


def test_the_network_is_shorter_than_900_lines():
    assert len((PACKAGE / "modeling_greenmim.py").read_text().splitlines()) < 900


COMMANDS = [
    *(
        path
        for folder in ("benchmarks", "experiments", "examples")
        for path in (PACKAGE.parent / folder).rglob("*.py")
    ),
    *PACKAGE.rglob("*.py"),
]


def test_every_command_refuses_abbreviated_options():
    calls = [node for path in COMMANDS for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    parsers = [call for call in calls if getattr(call.func, "attr", getattr(call.func, "id", "")) == "ArgumentParser"]
    assert len(parsers) > 10
    for parser in parsers:
        assert "allow_abbrev=False" in ast.unparse(parser)
