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
A MkDocs hook for links from docs/ to other files of the repository (see mkdocs.yml). The links are relative, so they work when
reading the repository. On the site, they lead to `repo_url`. Without one, they become text that names the file.
"""

import re
from pathlib import Path

from mkdocs.exceptions import PluginError


# code comes first, so that links in code are ignored
LINK = re.compile(
    r"^```.*?^```|`[^`\n]+`(?!\])|(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL
)


def rewrite_links(markdown: str, page: Path, docs: Path, repo_url: str | None) -> str:
    """Rewrite the links of a page that leave `docs`. Raises a `PluginError` if the file does not exist."""
    root = docs.parent

    def rewrite(match: re.Match) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z]+:|#|/", target):
            return match[0]
        path = (page.parent / target.partition("#")[0]).resolve()
        if path.is_relative_to(docs):
            return match[0]
        if not path.is_relative_to(root) or not path.exists():
            raise PluginError(f"{page.relative_to(root)} links to {target}, which does not exist.")
        name = path.relative_to(root).as_posix()
        if repo_url is not None:
            return f"[{match['text']}]({repo_url.rstrip('/')}/tree/main/{name})"
        return match["text"] if name in match["text"] else f"{match['text']} (`{name}`)"

    return LINK.sub(rewrite, markdown)


def on_page_markdown(markdown: str, page, config, files) -> str:
    return rewrite_links(markdown, Path(page.file.abs_src_path), Path(config.docs_dir), config.repo_url)
