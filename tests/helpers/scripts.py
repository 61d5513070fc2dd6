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
"""Import example scripts, which are not in a package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


ROOT = Path(__file__).parents[2]


def import_script(path: str) -> ModuleType:
    """
    Import a script.

    Args:
        path (`str`):
            Path in the repository, such as `examples/quickstart/quickstart.py`.

    Returns:
        The module, registered under the file's name so that its classes can be pickled.
    """
    name = Path(path).stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
