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
"""Settings of all tests: no network, one thread per test process, and no state left over from Accelerate."""

import os
import sys

import pytest


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs the Hub, and offline, a typo does not wait for time-outs
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    # those of the common tests of transformers
    for marker in (
        "accelerate_tests",
        "flash_attn_test",
        "flash_attn_3_test",
        "flash_attn_4_test",
        "torch_compile_test",
    ):
        config.addinivalue_line("markers", f"{marker}: of transformers")


@pytest.fixture(autouse=True)
def reset_accelerate():
    """Reset the global `Accelerator` settings before and after each test."""

    def reset():
        if "accelerate.state" in sys.modules:
            state = sys.modules["accelerate.state"]
            state.AcceleratorState._reset_state(reset_partial_state=True)
            state.GradientState._reset_state()

    reset()
    yield
    reset()


@pytest.fixture(scope="session")
def image_folders(tmp_path_factory):
    """Create twenty images as `files`, `parquet` and `tars`."""
    from tests.helpers.training_images import write_folders  # imports `datasets`, which reads the settings above

    return write_folders(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def labeled_folders(tmp_path_factory):
    """Create images of three colors as `files` and `parquet`, and `greenmim`, `swin` and `config` to start from."""
    from tests.helpers.labeled_images import write_labeled_folders

    return write_labeled_folders(tmp_path_factory.mktemp("labeled_images"))
