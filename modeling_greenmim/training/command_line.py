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
"""Command line of the examples: argument parsing, and one-line messages for errors that a user can fix."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import HfArgumentParser

from ..redaction import redact_addresses, redact_command
from .errors import UserError


HOW_TO_RESUME = "All checkpoints are complete. Resume with --resume_from_checkpoint latest."


class StoppedBySignal(Exception):
    """Raised when signal `number` has stopped a run. The message explains how to resume."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.number = number


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the line breaks of a script's docstring, and shows defaults."""


def run_command(
    run: Callable, argument_classes: Sequence[type], description: str, arguments: Sequence[str] | None = None
):
    """
    Parses arguments and calls `run`. An error that the user can fix ends the process with a one-line message.

    Args:
        run (`Callable`), argument_classes (`Sequence[type]`):
            `run` takes one instance of each dataclass, and the command as a string.
        description (`str`):
            Text for `--help`.
        arguments (`Sequence[str]`, *optional*):
            By default, those of the command line.
    """
    settings = {"description": description, "formatter_class": HelpFormatter, "allow_abbrev": False}
    parser = HfArgumentParser(argument_classes, **settings)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name, rank = Path(sys.argv[0]).name, os.environ.get("RANK", "0")
    command = redact_command(["python", name, *arguments])
    if (num_processes := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        command = f"# in each of {num_processes} processes\n{command}"
    try:
        if unknown := parser.parse_known_args(arguments)[1]:
            raise UserError(f"unknown arguments: {' '.join(unknown)}. --help lists the known ones.")
        run(*parser.parse_args_into_dataclasses(arguments, look_for_args_file=False), command)
    except UserError as error:
        # drop the traceback that precedes an error in a worker
        message = redact_addresses(str(error).rpartition(f"{UserError.__module__}.UserError: ")[2].strip())
        sys.exit(f"{name}: {'' if rank == '0' else f'process {rank}: '}{message}")
    except StoppedBySignal as stop:
        if rank == "0":
            print(f"\n{name}: {stop}", file=sys.stderr)
        sys.exit(128 + stop.number)  # as a shell reports it
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted. {HOW_TO_RESUME}")
    except RuntimeError as error:
        if num_processes == 1 or "timed out" not in str(error).lower():
            raise
        sys.exit(
            f"{name}: process {rank}: another process did not respond within --ddp_timeout. Check its log for the "
            f"reason. {HOW_TO_RESUME}"
        )


def check_range(arguments, name: str, smallest: float, largest: float | None = None):
    """Raises a [`UserError`] if an argument is given and outside its limits (inclusive)."""
    value = getattr(arguments, name)
    if value is not None and not smallest <= value <= (math.inf if largest is None else largest):
        limit = f"at least {smallest}" if largest is None else f"from {smallest} to {largest}"
        raise UserError(f"--{name} must be {limit}, got {value}.")


def get_name(name: str) -> str:
    """Name of a repository, or of a folder without its path. A `model` folder is named together with its run."""
    folder = Path(name).resolve()
    if not folder.is_dir():
        return name
    return f"{folder.parent.name}/model" if folder.name == "model" else folder.name


def check_num_processes(num_processes: int):
    """Raises a [`UserError`] if processes started together do not train together, as they would overwrite files."""
    if (started := int(os.environ.get("WORLD_SIZE", 1))) != num_processes:
        raise UserError(
            f"{started} processes were started, but {num_processes} train together. Use `torchrun` or `accelerate launch`, and "
            "check `accelerate env` for a conflicting configuration. On a CPU, the Trainer needs --use_cpu."
        )
