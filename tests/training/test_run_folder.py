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
"""The run folder: locked, and never a folder with other content."""

import json
import os

import pytest

from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.run_folder import check_run_folder, lock_run, start_run_folder


@pytest.fixture
def used(tmp_path):
    """Create a run folder with a file of the user."""
    start_run_folder(tmp_path, overwrite=False, arguments={"command": "python"})
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "metrics.json").touch()
    (tmp_path / "notes.txt").touch()
    return tmp_path


def test_a_new_folder_may_be_missing_or_hold_other_files(tmp_path):
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "missing"):
        check_run_folder(folder, overwrite=False, resume=False)


def test_a_run_is_resumed_or_discarded_only_when_asked_for(used):
    check_run_folder(used, overwrite=True, resume=False)
    check_run_folder(used, overwrite=False, resume=True)
    with pytest.raises(
        UserError, match="already contains a run. Resume it with .*latest, discard it with --overwrite_output_dir"
    ):
        check_run_folder(used, overwrite=False, resume=False)


def test_a_folder_that_is_not_of_a_run_is_left_alone(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="contains 'model', but no run"):
        check_run_folder(tmp_path, overwrite=True, resume=False)


def test_results_are_discarded_and_nothing_else(used):
    start_run_folder(used, overwrite=True, arguments={"command": "new"})
    assert sorted(path.name for path in used.iterdir()) == ["arguments.json", "notes.txt"]
    assert json.loads((used / "arguments.json").read_text()) == {"command": "new"}


def test_the_target_of_a_link_is_not_discarded(used, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    (target / "precious").touch()
    (used / "model").symlink_to(target)
    start_run_folder(used, overwrite=True, arguments={})
    assert (target / "precious").is_file() and not (used / "model").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write to --output_dir .*file/run"):
        lock_run(tmp_path / "file" / "run")


def test_a_locked_folder_is_refused_with_its_process_until_that_is_killed(tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        lock = lock_run(tmp_path)
        os.write(writer, b"1")
        signal_from_parent = os.pipe()
        os.read(signal_from_parent[0], 1)  # until it is killed
        os._exit(lock is None)
    os.read(reader, 1)
    with pytest.raises(UserError, match=f"another run is using it .process {child} on "):
        lock_run(tmp_path)
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert not lock_run(tmp_path).closed
