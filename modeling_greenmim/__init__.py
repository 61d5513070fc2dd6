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
"""GreenMIM for transformers: masked image modeling for hierarchical vision transformers, on the visible patches only.

The way from a mask to attention, with the module of each step:

    sample_masks ──▶ bool_masked_pos, (batch_size, num_units), True where a mask unit is hidden          masking
          │
          ▼ make_plan: get_unit_mask, then for each stage                                                planning, layout
    TokenLayout ──TokenMixer.make_plan──▶ plan["stage1"]["window"]: who attends to whom, as integers     mixer_*, packing
          │                               (in the workers of a data loader)
          ▼ forward(pixel_values, bool_masked_pos, plan)                                                 modeling
    GreenMimStage ──TokenMixer.prepare──▶ what the layers of the stage share                             mixer_*
          │
          ▼
    GreenMimLayer ──TokenMixer.forward──▶ mixed tokens                                                   mixer_*, position_bias
          │
          ▼
    GreenMimDecoder ────────────────────▶ predicted pixels of every mask unit                            reconstruction

Importing the package registers its classes with the Auto classes of transformers.
"""

from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForMaskedImageModeling,
    AutoModelForPreTraining,
)

# not from the top level, where transformers 5.17 has only a placeholder for it if there is no torchvision
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import is_torchvision_available

from .configuration_greenmim import GreenMimConfig
from .data_collator import GreenMimDataCollator
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

_image_processor_classes = {"pil": GreenMimImageProcessorPil}
if is_torchvision_available():
    from .image_processing_greenmim import GreenMimImageProcessor

    __all__ += ["GreenMimImageProcessor"]
    _image_processor_classes["torchvision"] = GreenMimImageProcessor

AutoConfig.register("greenmim", GreenMimConfig, exist_ok=True)
AutoModel.register(GreenMimConfig, GreenMimModel, exist_ok=True)
AutoModelForMaskedImageModeling.register(GreenMimConfig, GreenMimForMaskedImageModeling, exist_ok=True)
AutoModelForPreTraining.register(GreenMimConfig, GreenMimForMaskedImageModeling, exist_ok=True)
AutoModelForImageClassification.register(GreenMimConfig, GreenMimForImageClassification, exist_ok=True)
AutoBackbone.register(GreenMimConfig, GreenMimBackbone, exist_ok=True)
AutoImageProcessor.register(GreenMimConfig, image_processor_classes=_image_processor_classes, exist_ok=True)
