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
"""Registration of the package's classes with the Auto classes of transformers, as soon as transformers imports those.

`import modeling_greenmim` imports neither torch nor transformers. `from transformers import AutoModel` imports both.
`AutoModel.from_pretrained` finds our classes in either order of these lines.

Models cannot be imported at that moment, because transformers imports its Auto classes while it imports the modules
that models are built on. An [`UnimportedModel`] stands in for each model class until something needs it.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from wrapt import when_imported


MODELS = "modeling_greenmim.modeling_greenmim"
MODEL_CLASSES = {
    "AutoModel": "GreenMimModel",
    "AutoModelForMaskedImageModeling": "GreenMimForMaskedImageModeling",
    "AutoModelForPreTraining": "GreenMimForMaskedImageModeling",
    "AutoModelForImageClassification": "GreenMimForImageClassification",
    "AutoBackbone": "GreenMimBackbone",
}


class UnimportedModel:
    """
    Placeholder for a model class whose module has not been imported. Reading an attribute, such as `from_pretrained`,
    imports the module.

    Args:
        name (`str`):
            Name of the class.
    """

    def __init__(self, name: str):
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(import_module(MODELS), self.__name__), name)

    def __reduce__(self) -> tuple:
        return UnimportedModel, (self.__name__,)


@when_imported("transformers.models.auto.configuration_auto")
def register_configuration(configuration_auto: ModuleType):
    from .configuration_greenmim import GreenMimConfig

    configuration_auto.AutoConfig.register("greenmim", GreenMimConfig, exist_ok=True)


@when_imported("transformers.models.auto.modeling_auto")
def register_model_names(modeling_auto: ModuleType):
    from .configuration_greenmim import GreenMimConfig

    for auto_class, name in MODEL_CLASSES.items():
        # not `AutoModel.register`, which reads an attribute of the class
        mapping = getattr(modeling_auto, auto_class)._model_mapping
        mapping.register(GreenMimConfig, UnimportedModel(name), exist_ok=True)


@when_imported(MODELS)
def register_model_classes(models: ModuleType):
    from transformers.models.auto import modeling_auto

    for auto_class, name in MODEL_CLASSES.items():
        getattr(modeling_auto, auto_class).register(models.GreenMimConfig, getattr(models, name), exist_ok=True)


@when_imported("transformers.models.auto.image_processing_auto")
def register_image_processors(image_processing_auto: ModuleType):
    from transformers.utils import is_torchvision_available

    from .configuration_greenmim import GreenMimConfig
    from .image_processing_pil_greenmim import GreenMimImageProcessorPil

    classes: dict[str, type] = {"pil": GreenMimImageProcessorPil}
    if is_torchvision_available():
        from .image_processing_greenmim import GreenMimImageProcessor

        classes["torchvision"] = GreenMimImageProcessor
    image_processing_auto.AutoImageProcessor.register(GreenMimConfig, image_processor_classes=classes, exist_ok=True)
