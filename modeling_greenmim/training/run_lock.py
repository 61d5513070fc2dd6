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

from .errors import UserError


class RunLock:
    """
    Locks the folder of a run until the process ends, however it ends.

    It is a POSIX record lock, which belongs to the process: workers do not inherit it, as they would one of `flock`, and keep it for
    seconds after the process was killed.

    Args:
        folder (`Path`):
            The folder.

    Raises:
        [`UserError`]: if another process has locked it.
    """

    def __init__(self, folder: Path):
        self.file = (folder / ".lock").open("a+")  # closing any descriptor of the file would release it
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self.file.seek(0)
            raise UserError(
                f"Cannot write to {folder} because another run does ({self.file.read().strip() or 'unknown'}). Wait for its end, stop "
                "it, or choose another --output_dir."
            ) from error
        except OSError:
            return  # a network disk without locks
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self.file.flush()
