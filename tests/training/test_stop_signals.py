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
"""Stop signals are recorded without interrupting the step."""

import os
import signal

import pytest

from modeling_greenmim.training.stop_signals import STOP_SIGNALS, StopSignals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_asks_to_stop_and_is_handled_as_before_afterwards(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.get_agreed() == 0
        os.kill(os.getpid(), number)
        assert signals.get_agreed() == number
    assert signal.getsignal(number) == before


def test_a_second_interrupt_stops_at_once():
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_stays_ignored():
    """For example, SIGHUP under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.get_agreed() == 0
    finally:
        signal.signal(signal.SIGHUP, before)
