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
"""Global attention: every token of an image attends to every other, as in the last stages of Hiera and HiViT."""

import torch
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .mixer_greenmim import GreenMimAttention, GreenMimTokenMixer


class GreenMimGlobalAttention(GreenMimAttention, GreenMimTokenMixer):
    """
    Attention among all tokens of an image. All images of a batch have the same number of visible tokens, so there is
    no plan. There is no position bias, because offsets are unbounded.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, config.hidden_sizes[stage], config.num_heads[stage], config.attention_similarity)  # type: ignore[index]

    def forward(
        self, hidden_states: torch.Tensor, prepared: dict, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return super().forward(hidden_states, **kwargs)


__all__ = ["GreenMimGlobalAttention"]
