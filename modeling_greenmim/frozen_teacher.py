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
"""A frozen teacher: any transformers vision model. A GreenMIM model learns to predict its full-image features."""

from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoModel, PreTrainedModel

from .checkpoint_folders import read_image_processor_settings


class Teacher(nn.Module):
    """
    Compute features with a frozen model. The model receives no gradients and is not saved in checkpoints.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            Teacher model. Its features are its `pooler_output`, or else the mean of its last hidden state over the
            tokens.
        student_statistics, teacher_statistics (`tuple[list[float], list[float]]`):
            Mean and standard deviation of each channel that normalize the input images and the teacher's images.

    Example:

    ```python
    >>> import torch
    >>> from transformers import SwinConfig, SwinModel
    >>> from modeling_greenmim.frozen_teacher import Teacher

    >>> model = SwinModel(SwinConfig(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)))
    >>> statistics = [0.5] * 3, [0.5] * 3
    >>> Teacher(model, statistics, statistics)(torch.randn(2, 3, 224, 224)).shape
    torch.Size([2, 192])
    ```"""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        student_statistics: tuple[list[float], list[float]],
        teacher_statistics: tuple[list[float], list[float]],
    ):
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        (student_mean, student_std), (teacher_mean, teacher_std) = (
            [torch.tensor(values).view(-1, 1, 1) for values in statistics]
            for statistics in (student_statistics, teacher_statistics)
        )
        self.register_buffer("scale", student_std / teacher_std)
        self.register_buffer("shift", (student_mean - teacher_mean) / teacher_std)

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Compute features `(batch_size, hidden_size)` from images `(batch_size, num_channels, height, width)`."""
        outputs = self.model(pixel_values=pixel_values * self.scale + self.shift)
        features = getattr(outputs, "pooler_output", None)
        if features is None:
            features = outputs.last_hidden_state
            features = features.flatten(2).mean(dim=2) if features.ndim == 4 else features.mean(dim=1)
        return features.flatten(1)

    def train(self, mode: bool = True) -> "Teacher":
        return self  # dropout and batch norm always stay in evaluation mode


def load_teacher(
    name: str | Path,
    student_statistics: tuple[list[float], list[float]],
    num_channels: int,
    image_size: tuple[int, int],
) -> tuple[Teacher, int]:
    """
    Load a teacher and check it on a test image.

    Args:
        name (`str` or `Path`):
            Folder or Hub repository of any model that [`~transformers.AutoModel`] loads.
        student_statistics (`tuple[list[float], list[float]]`):
            Mean and standard deviation that normalize the input images. The teacher's values come from its
            `preprocessor_config.json`, or equal the student's if it has none.
        num_channels (`int`), image_size (`tuple[int, int]`):
            Number of channels, and height and width of the images.

    Returns:
        `tuple`: the [`Teacher`] and its number of features, which is the `teacher_hidden_size` of the student's
        configuration.

    Raises:
        `ValueError`: if the model cannot be loaded or does not accept such images.
    """
    try:
        settings = read_image_processor_settings(name)
        mean, std = (settings.get(key, value) for key, value in zip(("image_mean", "image_std"), student_statistics))
        teacher = Teacher(AutoModel.from_pretrained(name), student_statistics, (mean, std))
        features = teacher(torch.zeros(1, num_channels, *image_size))
    except (OSError, ValueError, TypeError, RuntimeError, AttributeError, StrictDataclassError) as error:
        raise ValueError(
            f"Cannot use {name} as a teacher because it returns no features for {num_channels} x {image_size[0]} x "
            f"{image_size[1]} images ({' '.join(str(error).split())}). Use a transformers vision model that accepts "
            "images of this size."
        ) from error
    return teacher, features.shape[1]
