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
"""The training: with labels that may be mixed."""

from torch import nn

from modeling_greenmim.training.fine_tuning import FineTuningTrainer

from classification_transforms import MixupCutmix


class ClassificationTrainer(FineTuningTrainer):
    """
    A Trainer for images and labels.

    Args:
        mixup ([`MixupCutmix`], *optional*):
            What is done to the batches that are trained on.
        **kwargs:
            Those of [`FineTuningTrainer`].
    """

    def __init__(self, mixup: MixupCutmix | None = None, **kwargs):
        super().__init__(**kwargs)
        self.mixup = mixup

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **kwargs):
        pixel_values, labels = inputs["pixel_values"], inputs["labels"]
        label_smoothing = 0.0
        if model.training:
            label_smoothing = self.args.label_smoothing_factor
            if self.mixup is not None and len(labels) > 1:
                pixel_values, labels = self.mixup(pixel_values, labels)
        outputs = model(pixel_values=pixel_values)
        loss = nn.functional.cross_entropy(outputs.logits, labels, label_smoothing=label_smoothing)
        return (loss, {"logits": outputs.logits}) if return_outputs else loss
