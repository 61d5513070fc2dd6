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
"""Prediction of a frozen teacher's features, and its loss."""

import torch
from torch import nn

from .configuration_greenmim import GreenMimConfig
from .validation_greenmim import describe


class GreenMimTeacherProjection(nn.Linear):
    """
    Predicts a frozen teacher's features of the full images from the visible tokens, as in GFM (arXiv 2302.04476).
    """

    def get_losses(self, hidden_states: torch.Tensor, teacher_features: torch.Tensor) -> torch.Tensor:
        """
        Compare the projected mean of the tokens with the features.

        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_tokens, hidden_size)`):
                Last hidden state of the visible tokens.
            teacher_features (`torch.Tensor` of shape `(batch_size, teacher_hidden_size)`):
                Features of the teacher.

        Returns:
            `torch.Tensor` of shape `(batch_size,)`: 1 minus the cosine similarity, in at least float32.
        """
        prediction = self(hidden_states.mean(dim=1))
        prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        return 1.0 - nn.functional.cosine_similarity(prediction, teacher_features.to(prediction.dtype), dim=1)


def check_teacher_features(
    teacher_features: torch.Tensor | None, config: GreenMimConfig, batch_size: int, training: bool
):
    """Raise a `ValueError` if teacher features are missing in training, not expected, or of the wrong shape."""
    size = config.teacher_hidden_size
    if teacher_features is None:
        if size is not None and training:
            raise ValueError(
                f"`teacher_features` of shape ({batch_size}, {size}) are required to train a model with "
                f"`teacher_hidden_size={size}`. To train without a teacher, load the model with "
                "`teacher_hidden_size=None`."
            )
    elif size is None:
        raise ValueError(
            "`teacher_features` must be omitted for a model without `teacher_hidden_size`, got "
            f"{describe(teacher_features)}. Set `teacher_hidden_size` in the configuration to the number of features "
            "per image."
        )
    elif not isinstance(teacher_features, torch.Tensor) or tuple(teacher_features.shape) != (batch_size, size):
        raise ValueError(
            f"`teacher_features` must have the shape ({batch_size}, {size}) for `teacher_hidden_size={size}`, got "
            f"{describe(teacher_features)}."
        )


__all__ = ["GreenMimTeacherProjection", "check_teacher_features"]
