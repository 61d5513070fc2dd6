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
"""Python blocks in Markdown files and examples in docstrings run and print the stated output."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from transformers.utils import is_torchvision_available

import modeling_greenmim


ROOT = Path(__file__).parents[2]
BLOCKS = [
    (path, block)
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
]
# a block that starts with the name of a file, which other blocks of the page import
FILES = [(path, block.split("\n", 1)[0][2:], block) for path, block in BLOCKS if re.match(r"# \w+\.py\n", block)]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(modeling_greenmim.__path__, "modeling_greenmim.")
    if is_torchvision_available() or module.name != "modeling_greenmim.image_processing_greenmim"
]


# exporting and publishing take half a minute
@pytest.mark.parametrize(
    ("path", "block"),
    [
        pytest.param(
            *row, id=f"{row[0].name}-{i}", marks=[pytest.mark.slow] * (row[0].name in ("export.md", "publishing.md"))
        )
        for i, row in enumerate(BLOCKS)
    ],
)
def test_python_blocks_run(path, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("examples", "experiments"):  # as at the root of a clone
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.syspath_prepend(tmp_path)
    for page, name, content in FILES:
        if page == path and content != block:
            (tmp_path / name).write_text(content)
    block = re.sub(r"max_steps=\d+", "max_steps=2", block)  # minutes of training
    exec(compile(block, str(path), "exec"), {"__name__": "__main__"})


@pytest.mark.slow
def test_the_readme_pretrains_and_fine_tunes_as_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = (block for path, block in BLOCKS if path.name == "README.md" and "pretrain(" in block)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    assert float(capsys.readouterr().out.split()[-1]) > 0.5  # chance: 0.1


def test_all_blocks_are_found():
    """Blocks that no test runs have a different fence than Python's."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    fences = re.findall(r"^ *```py.*$", "\n".join(path.read_text() for path in pages), flags=re.MULTILINE)
    assert len(BLOCKS) == len(fences) > 5


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(module, globs={}):
        for example in test.examples:  # the closing fence of an example is not output
            example.want = re.sub(r"^\s*```.*\Z", "", example.want, flags=re.MULTILINE | re.DOTALL)
        runner.run(test)
    assert runner.failures == 0


def test_public_classes_and_functions_are_documented():
    for name in modeling_greenmim.__all__:
        documentation = getattr(modeling_greenmim, name).__doc__
        assert documentation and len(documentation) > 80, name
