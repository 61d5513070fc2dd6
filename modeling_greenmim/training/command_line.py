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
"""The command line of the examples: arguments, and errors that a user can mend as one line, without a traceback."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path

from transformers import HfArgumentParser

from .errors import UserError


class StoppedBySignal(Exception):
    """
    The run was asked to stop, and did.

    Args:
        message (`str`):
            How to go on.
        number (`int`):
            Number of the signal.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


def argument(help: str, default=None):
    """A field whose help is shown by `--help`."""
    shown = "" if default is None else f" [{default}]"
    return field(default=default, metadata={"help": help.replace("%", "%%") + shown})


def check_range(arguments, name: str, smallest: float, largest: float | None = None):
    """Raises an error that names the value and the limit."""
    value = getattr(arguments, name)
    if value is None or (value >= smallest and (largest is None or value <= largest)):
        return
    limit = f"at least {smallest}" if largest is None else f"from {smallest} to {largest}"
    raise UserError(f"--{name} must be {limit}, but is {value}.")


def run_command(
    run: Callable,
    argument_classes: Sequence[type],
    description: str,
    arguments: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
):
    """
    Parses arguments, and runs.

    Args:
        run (`Callable`):
            Takes one instance of each class, and the command as a string.
        argument_classes (`Sequence[type]`):
            Dataclasses of arguments.
        description (`str`):
            For `--help`.
        arguments (`Sequence[str]`, *optional*):
            Those of the command line by default.
        command (`Sequence[str]`, *optional*):
            What the model card tells as the command, if it was another one.
    """
    parser = HfArgumentParser(
        argument_classes, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name, rank = Path(sys.argv[0]).name, os.environ.get("RANK", "0")
    command = shlex.join(command or ["python", name, *arguments])
    if (processes := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        command = f"# in each of {processes} processes\n{command}"
    try:
        if unknown := parser.parse_known_args(arguments)[1]:
            raise UserError(f"unknown arguments: {' '.join(unknown)}. --help lists those there are.")
        run(*parser.parse_args_into_dataclasses(arguments, look_for_args_file=False), command)
    except UserError as error:
        sys.exit(f"{name}: {'' if rank == '0' else f'process {rank}: '}{get_message(error)}")
    except StoppedBySignal as stop:
        if rank == "0":
            print(f"\n{name}: {stop}", file=sys.stderr)
        sys.exit(128 + stop.number)  # as a shell tells it
    except KeyboardInterrupt:
        sys.exit(
            f"{name}: interrupted. Checkpoints that are there are whole: --resume_from_checkpoint latest goes on."
        )


def get_message(error: UserError) -> str:
    """The message, of an error in a worker without the traceback that it comes with."""
    _, is_of_worker, message = str(error).rpartition(f"{UserError.__module__}.UserError: ")
    return message.strip() if is_of_worker else str(error).strip()


def get_name(name: str) -> str:
    """
    The name of a folder, without where it is on this machine, or that of a repository. Runs call their models `model`: these are
    named with the run.
    """
    folder = Path(name).resolve()
    if not folder.is_dir():
        return name
    return f"{folder.parent.name}/model" if folder.name == "model" else folder.name


def check_num_processes(num_processes: int):
    """Raises an error if processes were started together that do not train together: each would write over the others."""
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started != num_processes:
        raise UserError(
            f"{started} processes were started, but {num_processes} train together. Start them with `torchrun` or `accelerate "
            "launch`, and look at `accelerate env` for a configuration that says otherwise; the Trainer, on a CPU, needs --use_cpu."
        )
