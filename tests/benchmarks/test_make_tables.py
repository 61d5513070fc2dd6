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
"""The published speeds, compared with the files of the measurements."""

import re

import pytest

from benchmarks.make_tables import make_tables, read_results
from tests.helpers.scripts import ROOT


TABLES = make_tables()


@pytest.mark.parametrize("title", TABLES)
def test_the_documentation_has_the_measured_table(title):
    rows = TABLES[title].splitlines()
    assert len(rows) > 3 and TABLES[title] in (ROOT / "docs" / "performance.md").read_text()


def test_no_page_names_a_folder_of_the_machine():
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert not re.search(r'"/\w', path.read_text()), path


def test_the_readme_has_the_range_of_the_measured_ratios():
    results = [result for run in read_results("training_step") for result in run["results"]]
    ratios = [result["faster"] for result in results if result["peer"]["model"] == "simmim"]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"{min(ratios):.1f} to {max(ratios):.1f} times faster than SimMIM" in text
