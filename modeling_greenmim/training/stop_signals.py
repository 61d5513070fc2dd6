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
"""Stop signals (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1), which all processes notice after the same step."""

import signal

import torch
from torch import distributed


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class StopSignals:
    """Context manager that only records stop signals. A second Ctrl-C interrupts at once."""

    def __init__(self):
        self.received = 0
        # on the CPU: on the device, every step would wait for it
        self.group = distributed.new_group(backend="gloo") if distributed.is_initialized() else None

    def __enter__(self) -> "StopSignals":
        # an ignored signal stays ignored, such as SIGHUP under nohup
        numbers = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self.previous = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, *exception):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame):
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def get_agreed(self) -> int:
        """The signal that any process received, or 0. Collective: every process must call it."""
        received = torch.tensor(self.received)
        if self.group is not None:
            distributed.all_reduce(received, op=distributed.ReduceOp.MAX, group=self.group)
        return int(received)
