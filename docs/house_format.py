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
"""Docstrings in the format of transformers, as Markdown, for the API pages (a Griffe extension, see mkdocs.yml)."""

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
    """Names of the arguments that a docstring describes."""
    names = []
    for heading, lines in _split_sections(inspect.cleandoc(docstring)):
        if heading == "Args" or _starts_with_argument(lines):
            matches = map(ARGUMENT.fullmatch, lines)
            names += [name for match in matches if match for name in match["names"].replace("*", "").split(", ")]
    return names


def to_markdown(docstring: str, paths: Mapping[str, str]) -> str:
    """
    Turns a docstring into Markdown.

    Args:
        docstring (`str`):
            In the format of transformers.
        paths (`Mapping[str, str]`):
            Name, as references have it -> path of the object, for all that have a place on an API page.
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
    """Heading, `None` for what comes before the first one, and dedented lines of each section."""
    sections = [(None, [])]
    for line in docstring.splitlines():
        if match := SECTION.fullmatch(line):
            sections.append((match[1], []))
        else:
            sections[-1][1].append(line)
    return [(heading, inspect.cleandoc("\n".join(lines)).splitlines()) for heading, lines in sections]


def _starts_with_argument(lines: list[str]) -> bool:
    """Keyword arguments of image processors are a docstring without a heading."""
    return bool(lines) and ARGUMENT.fullmatch(lines[0]) is not None


def _list_arguments(lines: list[str]) -> list[str]:
    """A list entry for each argument; its description, which is indented by four, is a part of the entry as it is."""
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
    """Rewrites all docstrings of a package. References lead to public objects of its modules, and to methods."""

    def on_package(self, *, pkg: griffe.Module, **kwargs):
        members = [member for module in pkg.modules.values() for member in _get_own_members(module)]
        methods = [method for member in members if member.is_class for method in _get_own_members(member)]
        paths = {member.name: member.path for member in members if member.is_public}
        paths |= {f"{method.parent.name}.{method.name}": method.path for method in methods}
        for each in [*pkg.modules.values(), *members, *methods]:
            if each.docstring is not None:
                each.docstring.value = to_markdown(each.docstring.value, paths)


def _get_own_members(parent: griffe.Object) -> list[griffe.Object]:
    return [member for member in parent.members.values() if not member.is_alias]
