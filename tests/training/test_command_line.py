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
"""The command line: messages that users read instead of a traceback."""

import os
import shlex
import signal
from dataclasses import dataclass

import pytest
from transformers.hf_argparser import HfArg

from modeling_greenmim.redaction import redact_command
from modeling_greenmim.training.command_line import (
    StoppedBySignal,
    check_num_processes,
    check_range,
    get_name,
    run_command,
)
from modeling_greenmim.training.errors import UserError


@dataclass
class Arguments:
    """Arguments of the tests."""

    size: int = HfArg(default=4, help="A size, 5%% larger.")


def run_with(run, *arguments):
    run_command(run, (Arguments,), "A description.", arguments)


def test_arguments_and_the_command_are_passed():
    passed = []
    run_with(lambda *values: passed.extend(values), "--size", "7")
    assert passed[0] == Arguments(7)
    assert passed[1].startswith("python ") and passed[1].endswith("--size 7")


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit):
        run_with(print, "--help")
    assert "A size, 5% larger. (default: 4)" in capsys.readouterr().out


def test_unknown_arguments_are_refused():
    with pytest.raises(SystemExit, match="unknown arguments: --sise=1"):
        run_with(print, "--sise=1")


def test_abbreviated_arguments_are_refused():
    with pytest.raises(SystemExit, match="unknown arguments: --siz=1"):
        run_with(print, "--siz=1")


def test_an_error_of_a_worker_is_shown_without_its_traceback():
    def fail(*values):
        try:
            raise UserError("a reason.")
        except UserError as error:
            name = f"{UserError.__module__}.UserError"
            raise UserError(f"Caught UserError in worker\nTraceback\n{name}: {error}\n") from error

    with pytest.raises(SystemExit) as caught:
        run_with(fail)
    assert str(caught.value).endswith(": a reason.") and "Traceback" not in str(caught.value)


def test_a_stopped_run_exits_as_a_shell_reports_the_signal(capsys):
    def stop(*values):
        raise StoppedBySignal("Stopped after step 3.", signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        run_with(stop)
    assert caught.value.code == 128 + signal.SIGTERM
    assert "Stopped after step 3." in capsys.readouterr().err


def test_an_interrupt_says_how_to_resume():
    def interrupt(*values):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="Resume with --resume_from_checkpoint latest"):
        run_with(interrupt)


@pytest.mark.parametrize(
    ("size", "limits", "message"),
    [
        (0, (1,), "--size must be at least 1, got 0"),
        (3, (0, 2), "--size must be from 0 to 2, got 3"),
        (float("nan"), (0, 2), "--size must be from 0 to 2, got nan"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_limits(size, limits, message):
    with pytest.raises(UserError, match=message):
        check_range(Arguments(size), "size", *limits)


def test_limits_themselves_and_no_value_are_in_range():
    for size in (0, 2, None):
        check_range(Arguments(size), "size", 0, 2)


def test_folders_are_named_without_their_place(tmp_path):
    (tmp_path / "my_run" / "model").mkdir(parents=True)
    assert get_name(str(tmp_path / "my_run")) == "my_run"
    assert get_name(str(tmp_path / "my_run" / "model")) == "my_run/model"
    assert get_name("me/repository") == "me/repository"


@pytest.mark.parametrize(
    ("argument", "redacted"),
    [
        ("https://me:SECRET@host:80/a/0.parquet?token=SECRET#SECRET", "https://host:80/a/0.parquet"),
        ("simplecache::http://SECRET@host/0.parquet", "simplecache::http://host/0.parquet"),
        ("hf://datasets/me/images@main/data/*.parquet", "hf://datasets/me/images@main/data/*.parquet"),
        ("/home/SECRET/images/0.parquet", "path/to/0.parquet"),
        ("file:///home/SECRET/images/0.parquet", "path/to/0.parquet"),
        ("--train_dir=/home/SECRET/images", "--train_dir=path/to/images"),
        ("data/images", "data/images"),
        ("1e-3", "1e-3"),
    ],
)
def test_commands_have_no_secrets_and_places(argument, redacted):
    assert redact_command(["python", argument]) == shlex.join(["python", redacted])


def test_commands_have_no_tokens():
    command = redact_command(["run.py", "--hub_token", "SECRET", "--seed=1", "--hub_token=SECRET", "hf_" + "a" * 30])
    assert command == "run.py --hub_token TOKEN --seed=1 --hub_token=TOKEN '<TOKEN>'"


def test_errors_have_no_secrets():
    def fail(_, command):
        raise UserError("Cannot stream https://me:SECRET@host/0.parquet?key=SECRET (404).")

    with pytest.raises(SystemExit, match=r"Cannot stream https://host/0.parquet \(404\)."):
        run_command(fail, [Arguments], "", [])


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    monkeypatch.setattr(os, "environ", {**os.environ, "WORLD_SIZE": "2", "RANK": "0"})
    with pytest.raises(UserError, match="2 processes were started, but 1 train together"):
        check_num_processes(1)
    check_num_processes(2)
