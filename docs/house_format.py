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
"""A Griffe extension that converts docstrings from transformers' format to Markdown for the API pages (see mkdocs.yml)."""

import inspect
import re
from collections.abc import Mapping

import griffe


HEADINGS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Yields": "Yields",
    "Raises": "Raises",
    "Example": "Example",
}
SECTION = re.compile(rf"({'|'.join(HEADINGS)}):")
# "name (`type`, *optional*, defaults to `x`):"
ARGUMENT = re.compile(r"(?P<names>\*{0,2}\w+(?:, \w+)*)(?: \((?P<type>.+)\))?:")
EXCEPTION = re.compile(r"`\w+`:")
REFERENCE = re.compile(r"\[`(~?)([\w.]+)`\](?![\[(])")


def get_arguments(docstring: str) -> list[str]:
    """Return the names of the arguments that a docstring describes."""
    names = []
    for heading, lines in _split_sections(inspect.cleandoc(docstring)):
        if heading == "Args" or _starts_with_argument(lines):
            matches = map(ARGUMENT.fullmatch, lines)
            names += [name for match in matches if match for name in match["names"].replace("*", "").split(", ")]
    return names


def to_markdown(docstring: str, paths: Mapping[str, str]) -> str:
    """
    Convert a docstring to Markdown.

    Args:
        docstring (`str`):
            A docstring in the format of transformers.
        paths (`Mapping[str, str]`):
            Maps the name of each object on an API page, as references write it, to the object's path.
    """
    blocks = []
    for heading, lines in _split_sections(inspect.cleandoc(docstring)):
        if heading is not None:
            blocks.append(f"**{HEADINGS[heading]}**")
        if heading in ("Args", "Attributes") or _starts_with_argument(lines):
            lines = _list_arguments(lines)
        elif heading == "Raises":
            lines = [("- " if EXCEPTION.match(line) else "  ") + line for line in lines]
        blocks.append("\n".join(lines).strip("\n"))
    markdown = re.sub(r"```python(?=\n *>>>)", "```pycon", "\n\n".join(blocks))
    markdown = re.sub(r" *# doctest: \+\w+", "", markdown)
    return REFERENCE.sub(lambda match: _make_link(match[2], bool(match[1]), paths), markdown)


def _split_sections(docstring: str) -> list[tuple[str | None, list[str]]]:
    """Split a docstring into headings and dedented lines. The heading of the text before the first section is `None`."""
    sections = [(None, [])]
    for line in docstring.splitlines():
        if match := SECTION.fullmatch(line):
            sections.append((match[1], []))
        else:
            sections[-1][1].append(line)
    return [(heading, inspect.cleandoc("\n".join(lines)).splitlines()) for heading, lines in sections]


def _starts_with_argument(lines: list[str]) -> bool:
    """Whether a section lists arguments without a heading, as the docstring of an image processor's keyword arguments does."""
    return bool(lines) and ARGUMENT.fullmatch(lines[0]) is not None


def _list_arguments(lines: list[str]) -> list[str]:
    """Make each argument a list entry. Its description is indented by four, so it already belongs to the entry."""
    listed = []
    for line in lines:
        if match := ARGUMENT.fullmatch(line):
            names = ", ".join(f"**`{name}`**" for name in match["names"].split(", "))
            line = f"- {names}" + (f" ({match['type']})" if match["type"] else "") + ":"
        listed.append(line)
    return listed


def _make_link(name: str, is_short: bool, paths: Mapping[str, str]) -> str:
    text = f"`{name.rpartition('.')[2] if is_short else name}`"
    return f"[{text}][{paths[name]}]" if name in paths else text


class HouseFormat(griffe.Extension):
    """Rewrites all docstrings of a package. References link to public objects of its modules and to their methods."""

    def on_package(self, *, pkg: griffe.Module, **kwargs):
        modules = _get_modules(pkg)
        members = [member for module in modules for member in _get_own_members(module) if not member.is_module]
        methods = [method for member in members if member.is_class for method in _get_own_members(member)]
        paths = {member.name: member.path for member in members if member.is_public}
        paths |= {f"{method.parent.name}.{method.name}": method.path for method in methods}
        for documented in [*modules, *members, *methods]:
            if documented.docstring is not None:
                documented.docstring.value = to_markdown(documented.docstring.value, paths)


def _get_modules(package: griffe.Module) -> list[griffe.Module]:
    """List the modules of a package and of its subpackages."""
    modules = list(package.modules.values())
    return modules + [submodule for module in modules for submodule in _get_modules(module)]


def _get_own_members(parent: griffe.Object) -> list[griffe.Object]:
    return [member for member in parent.members.values() if not member.is_alias]
