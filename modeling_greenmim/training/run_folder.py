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
"""The folder of a run: one run at a time, and no results of a different run."""

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
    """Raises a [`UserError`] if the folder has results that are neither discarded nor resumed, or not from a run."""
    found = [path.name for pattern in RESULTS for path in folder.glob(pattern)]
    if found and not (folder / ARGUMENTS_FILE).is_file():
        raise UserError(f"--output_dir {folder} contains {found[0]!r}, but no run. Choose a different folder.")
    if found and not overwrite and not resume:
        raise UserError(
            f"--output_dir {folder} already contains a run. Resume it with --resume_from_checkpoint latest, discard it "
            "with --overwrite_output_dir, or choose a different folder."
        )


def start_run_folder(folder: Path, overwrite: bool, arguments: dict):
    """
    Writes the arguments, which mark the folder as the folder of a run. With `overwrite`, first discards the results of
    an earlier run. Call it after checking the arguments.
    """
    if overwrite:
        for path in [path for pattern in RESULTS for path in folder.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / ARGUMENTS_FILE).write_text(json.dumps(arguments, indent=2))


def lock_run(folder: Path) -> TextIO:
    """
    Creates the folder of a run, and locks it until the process ends, however it ends, or the returned file is closed.

    The POSIX record lock belongs to the process. Workers would inherit a `flock` lock, and keep it for seconds after
    the process was killed. Closing any other descriptor of the file also releases the lock.

    Raises:
        [`UserError`]: if another process holds the lock, or the folder is not writable.
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
        message = f"Cannot write to {folder} because another run is using it ({file.read().strip() or 'unknown'})."
        raise UserError(f"{message} Wait until it ends, stop it, or choose a different --output_dir.") from error
    except OSError:
        return file  # a network disk without locks
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
