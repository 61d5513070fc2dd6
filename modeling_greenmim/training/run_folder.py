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
"""The folder of a run: one run at a time, and no results of another one."""

import fcntl
import json
import os
import shutil
import socket
from pathlib import Path
from typing import TextIO

from .errors import UserError


ARGUMENTS_FILE = "arguments.json"
RESULTS = ("checkpoint-*", "reconstructions", "logs", "model", "metrics.json", "loss_curve.png")


def check_run_folder(folder: Path, overwrite: bool, resume: bool):
    """Raises a [`UserError`] if the folder has results of a run that is neither discarded nor resumed, or of something else."""
    found = [path.name for pattern in RESULTS for path in folder.glob(pattern)]
    if found and not (folder / ARGUMENTS_FILE).is_file():
        raise UserError(f"--output_dir {folder} has a {found[0]!r} of no run of this script. Choose another folder.")
    if found and not overwrite and not resume:
        raise UserError(
            f"--output_dir {folder} holds a run already. Resume it: --resume_from_checkpoint latest. Discard it: "
            "--overwrite_output_dir. Or choose a different folder."
        )


def start_run_folder(folder: Path, overwrite: bool, arguments: dict):
    """
    Discards the results of an earlier run, if that is wanted, and writes the arguments, which mark the folder as that of a run. Call it
    when the arguments have been checked.
    """
    if overwrite:
        for path in [path for pattern in RESULTS for path in folder.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / ARGUMENTS_FILE).write_text(json.dumps(arguments, indent=2))


def lock_run(folder: Path) -> TextIO:
    """
    Makes the folder of a run, and locks it until the process ends, however it ends, or the returned file is closed.

    It is a POSIX record lock, which belongs to the process: workers do not inherit it, as they would one of `flock`, and keep it for
    seconds after the process was killed. Closing any other descriptor of the file releases it, too.

    Raises:
        [`UserError`]: if another process has locked it, or no file can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"Cannot write to --output_dir {folder}: {error}") from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        message = f"Cannot write to {folder} because another run does ({file.read().strip() or 'unknown'})."
        raise UserError(f"{message} Wait for its end, stop it, or choose a different --output_dir.") from error
    except OSError:
        return file  # a network disk without locks
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
