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
The documentation site: docstrings become Markdown without loss, links work, and nothing is loaded from other servers.
"""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import is_typeddict

import pytest
from transformers.processing_utils import ImagesKwargs

import modeling_greenmim
from modeling_greenmim import (
    convert_greenmim_original_to_hf,
    convert_greenmim_to_swin,
    convert_greenmim_to_twins,
    convert_swin_to_greenmim,
    convert_twins_to_greenmim,
    convert_vit_to_greenmim,
    data_collator,
    image_processing_pil_greenmim,
    layout_greenmim,
    leak_detection,
    masking_greenmim,
    mixer_greenmim,
    model_card,
    original_swin,
    overlapping_greenmim,
    packing_greenmim,
    parameter_groups,
    plain_vit,
    planning_greenmim,
    plotting,
    position_bias_greenmim,
    publish,
)


pytest.importorskip("griffe")
pytest.importorskip("mkdocs")

ROOT = Path(__file__).parents[2]
MODULES = (
    *(convert_greenmim_original_to_hf, convert_greenmim_to_swin, convert_swin_to_greenmim, data_collator),
    *(convert_greenmim_to_twins, convert_twins_to_greenmim, convert_vit_to_greenmim, plain_vit),
    *(image_processing_pil_greenmim, layout_greenmim, masking_greenmim, mixer_greenmim, model_card, packing_greenmim),
    *(leak_detection, original_swin, overlapping_greenmim),
    *(parameter_groups, planning_greenmim, plotting, position_bias_greenmim, publish),
)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


house_format, repository_links = load_script("house_format"), load_script("repository_links")


def list_documented():
    """Map names to all public classes, functions and methods."""
    found = {name: getattr(modeling_greenmim, name) for name in modeling_greenmim.__all__}
    for module in MODULES:
        for name, each in inspect.getmembers(module, lambda each: inspect.isclass(each) or inspect.isfunction(each)):
            if each.__module__ == module.__name__ and not name.startswith("_") and name != "main":
                found[name] = each
    for name, each in list(found.items()):
        if inspect.isclass(each):
            methods = {key: value for key, value in vars(each).items() if inspect.isfunction(value)}
            found |= {f"{name}.{key}": value for key, value in methods.items() if not key.startswith("_")}
    return {name: each for name, each in found.items() if callable(each) and each.__doc__}


DOCUMENTED = list_documented()


def get_parameters(each):
    """Return the names of explicit parameters, and whether there are variadic ones."""
    if each is modeling_greenmim.GreenMimConfig:
        return {field.lstrip("_") for field in each.__annotations__}, True
    if is_typeddict(each):
        return set(each.__annotations__) - set(ImagesKwargs.__annotations__), False
    parameters = inspect.signature(each).parameters.values()
    names = {parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD}
    return names - {"self"}, len(names) < len(parameters)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_argument_is_found(name):
    each = DOCUMENTED[name]
    documented = house_format.get_arguments(each.__doc__)
    assert len(documented) == len(set(documented))
    names, takes_others = get_parameters(each)
    assert not documented or names <= set(documented)
    assert not documented or takes_others or names == set(documented)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_nothing_of_the_format_is_left(name):
    markdown = house_format.to_markdown(DOCUMENTED[name].__doc__, {})
    assert not re.search(r"^\s*(Args|Attributes|Returns|Yields|Raises|Example):", markdown, flags=re.MULTILINE)
    assert "[`" not in markdown and "doctest" not in markdown
    for argument in house_format.get_arguments(DOCUMENTED[name].__doc__):
        assert re.search(rf"^- .*\*\*`\*{{0,2}}{argument}`\*\*", markdown, flags=re.MULTILINE)


def test_the_whole_format():
    docstring = """
    One line, see [`~Known.method`] and [`torch.Tensor`].

    Args:
        size (`dict` of shape `(a, b)`, *optional*, defaults to `{"height": 1}`):
            Size: of
            two lines.
        rows, columns (`int`):
            Both.
        **kwargs:
            Others.

    Returns:
        [`Known`]

    Raises:
        `ValueError`: if one
        thing.
        `TypeError`: if another.

    Example:

    ```python
    >>> f()  # doctest: +SKIP
    ```"""
    assert house_format.get_arguments(docstring) == ["size", "rows", "columns", "kwargs"]
    assert house_format.to_markdown(
        docstring, {"Known": "a.Known", "Known.method": "a.Known.method"}
    ) == inspect.cleandoc(
        """
        One line, see [`method`][a.Known.method] and `torch.Tensor`.

        **Arguments**

        - **`size`** (`dict` of shape `(a, b)`, *optional*, defaults to `{"height": 1}`):
            Size: of
            two lines.
        - **`rows`**, **`columns`** (`int`):
            Both.
        - **`**kwargs`**:
            Others.

        **Returns**

        [`Known`][a.Known]

        **Raises**

        - `ValueError`: if one
          thing.
        - `TypeError`: if another.

        **Example**

        ```pycon
        >>> f()
        ```"""
    )


def test_links_to_the_repository(tmp_path):
    docs = tmp_path / "docs"
    (tmp_path / "examples").mkdir()
    (docs / "guides").mkdir(parents=True)
    page = docs / "guides" / "page.md"
    markdown = "[scripts](../../examples), [`examples`](../../examples), [other](other.md#a), [web](https://a.b) and `[a](../..)`"

    def rewrite(markdown, repo_url=None):
        return repository_links.rewrite_links(markdown, page, docs, repo_url)

    kept = "[other](other.md#a), [web](https://a.b) and `[a](../..)`"
    assert rewrite(markdown) == f"scripts (`examples`), `examples`, {kept}"
    address = "https://a.b/c/tree/main/examples"
    assert rewrite(markdown, "https://a.b/c") == f"[scripts]({address}), [`examples`]({address}), {kept}"
    for target in ("../../missing", "../../../elsewhere"):
        with pytest.raises(repository_links.PluginError, match="does not exist"):
            rewrite(f"[a]({target})")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def test_the_site_shows_arguments_and_links(site):
    page = (site / "greenmim.html").read_text()
    for name in house_format.get_arguments(modeling_greenmim.GreenMimConfig.__doc__):
        assert f"<li><strong><code>{name}</code></strong> (" in re.sub(r"<li>\s*(<p>)?", "<li>", page)
    assert 'href="#modeling_greenmim.modeling_greenmim.GreenMimModelOutput"' in page
    for path in site.rglob("*.html"):
        text = re.sub(r"<[^>]+>", "", re.sub(r"<pre.*?</pre>", "", path.read_text(), flags=re.DOTALL))
        assert not re.search(r"^\s*(Args|Returns|Raises|Example):", text, flags=re.MULTILINE), path
        assert "[`" not in text and "```" not in text and "|---" not in text, path


def list_imported_names():
    """Classes and functions of the package that the pages import."""
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    blocks = re.findall(r"^```python\n(.*?)^```", pages, flags=re.MULTILINE | re.DOTALL)
    imports = [node for node in ast.walk(ast.parse("\n".join(blocks))) if isinstance(node, ast.ImportFrom)]
    names = {(node.module, alias.name) for node in imports for alias in node.names}
    return {
        name
        for module, name in names
        if module.partition(".")[0] == "modeling_greenmim" and not (ROOT / "modeling_greenmim" / f"{name}.py").exists()
    }


def test_the_reference_has_every_name_that_users_import(site):
    pages = "".join(path.read_text() for path in site.glob("*.html"))
    names = list_imported_names() | set(modeling_greenmim.__all__)
    assert len(names) > 20
    assert not [name for name in sorted(names) if not re.search(rf'id="modeling_greenmim\.([\w.]+\.)?{name}"', pages)]


def test_the_site_loads_nothing_from_other_servers(site):
    for path in site.rglob("*.html"):
        assert not re.search(r'<(?!a )[^>]* (src|href)="(https?:)?//', path.read_text()), path
    assert not list(site.rglob("*.py"))


def list_anchors(path):
    """Compute the anchors that a repository host gives to a file's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks" / "NOTES.md",
        *(ROOT / "examples").rglob("README.md"),
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_of_the_repository(path):
    for match in LINK.finditer(FENCE.sub("", path.read_text())):
        if not re.match(r"[a-z]+:", match["target"]):
            name, _, anchor = match["target"].partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), match["target"]
            assert not anchor or anchor in list_anchors(target), match["target"]
