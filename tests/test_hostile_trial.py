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
"""The hostile trial: its numbers in the documentation, and a complete repetition."""

import json

import pytest

from tests import hostile_trial
from tests.helpers.scripts import ROOT


def test_the_page_has_the_numbers_of_the_trial():
    results = json.loads(hostile_trial.RESULTS.read_text())
    page = (ROOT / "docs" / "security.md").read_text()
    assert results["unclear or wrong"] == results["executed"] == results["leaks"] == []
    rows = [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| ")][-3:]
    assert rows == [f"{results[name]:,}" for name in ("calls", "planted", "searched")]


@pytest.mark.slow
def test_no_wrong_call_is_silent():
    number, failures = hostile_trial.find_wrong_calls()
    assert not failures and number > 221


@pytest.mark.slow
def test_no_planted_code_is_executed():
    number, executed = hostile_trial.find_executed()
    assert not executed and number > 16


@pytest.mark.slow
def test_no_secret_gets_out():
    pytest.importorskip("aiohttp")  # with which addresses are read
    number, leaks = hostile_trial.find_leaks()
    assert not leaks and number > 10
