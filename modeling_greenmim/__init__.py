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
"""GreenMIM for transformers: masked image modeling for hierarchical vision transformers, on only the visible patches.

The steps from a mask to attention, with the module of each:

    sample_masks ──▶ bool_masked_pos, (batch_size, num_units), True where a mask unit is hidden          masking
          │
          ▼ make_plan: get_unit_mask, then for each stage                                                planning, layout
    TokenLayout ──TokenMixer.make_plan──▶ plan["stage1"]["window"]: who attends to whom, as integers     mixer_*, packing
          │                               (in data loader workers)
          ▼ forward(pixel_values, bool_masked_pos, plan)                                                 modeling
    GreenMimStage ──TokenMixer.prepare──▶ values that the layers of the stage share                      mixer_*
          │
          ▼
    GreenMimLayer ──TokenMixer.forward──▶ mixed tokens                                                   mixer_*, position_bias
          │
          ▼
    GreenMimDecoder ────────────────────▶ predicted pixels of every mask unit                            reconstruction

`import modeling_greenmim` registers these classes with the Auto classes of transformers (`auto_classes`). It imports
torch and transformers when one of them is used.
"""

import importlib.util
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .configuration_greenmim import GreenMimConfig
    from .data_collator import GreenMimDataCollator
    from .image_processing_greenmim import GreenMimImageProcessor
    from .image_processing_pil_greenmim import GreenMimImageProcessorPil
    from .masking_greenmim import sample_masks
    from .modeling_greenmim import (
        GreenMimBackbone,
        GreenMimForImageClassification,
        GreenMimForMaskedImageModeling,
        GreenMimModel,
        GreenMimPreTrainedModel,
    )
    from .planning_greenmim import TOKEN_MIXERS, make_plan


__version__ = "0.2.0.dev0"

__all__ = [
    "TOKEN_MIXERS",
    "GreenMimBackbone",
    "GreenMimConfig",
    "GreenMimDataCollator",
    "GreenMimForImageClassification",
    "GreenMimForMaskedImageModeling",
    "GreenMimImageProcessorPil",
    "GreenMimModel",
    "GreenMimPreTrainedModel",
    "make_plan",
    "sample_masks",
]
if importlib.util.find_spec("torchvision") is not None:
    __all__ += ["GreenMimImageProcessor"]

_MODULES = {
    "GreenMimBackbone": "modeling_greenmim",
    "GreenMimConfig": "configuration_greenmim",
    "GreenMimDataCollator": "data_collator",
    "GreenMimForImageClassification": "modeling_greenmim",
    "GreenMimForMaskedImageModeling": "modeling_greenmim",
    "GreenMimImageProcessor": "image_processing_greenmim",
    "GreenMimImageProcessorPil": "image_processing_pil_greenmim",
    "GreenMimModel": "modeling_greenmim",
    "GreenMimPreTrainedModel": "modeling_greenmim",
    "TOKEN_MIXERS": "planning_greenmim",
    "make_plan": "planning_greenmim",
    "sample_masks": "masking_greenmim",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


from . import auto_classes  # noqa: E402, F401 - its hooks run now where transformers has been imported already
