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
"""One run in an output folder at a time."""

import fcntl
import os
import socket
from pathlib import Path
from typing import TextIO

from .errors import UserError


def lock_run(folder: Path) -> TextIO:
    """
    Locks the folder of a run until the process ends, however it ends.

    It is a POSIX record lock, which belongs to the process: workers do not inherit it, as they would one of `flock`, and keep it for
    seconds after the process was killed.

    Args:
        folder (`Path`):
            The folder.

    Returns:
        The locked file. Keep it: closing it releases the lock. (So would closing any other descriptor of the file.)

    Raises:
        [`UserError`]: if another process has locked it.
    """
    file = (folder / ".lock").open("a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        raise UserError(
            f"Cannot write to {folder} because another run does ({file.read().strip() or 'unknown'}). Wait for its end, stop it, or "
            "choose another --output_dir."
        ) from error
    except OSError:
        return file  # a network disk without locks
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
