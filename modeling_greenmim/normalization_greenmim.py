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
"""Normalization inside encoder layers."""

import torch
from torch import nn


class GreenMimGroupNorm(nn.GroupNorm):
    """
    Group normalization with one group: over all channels of all tokens of an image, without its hidden tokens, and
    with a weight and a bias for each channel.

    Args:
        num_channels (`int`):
            Number of channels.
        eps (`float`):
            Value added to the variance.
    """

    def __init__(self, num_channels: int, eps: float):
        super().__init__(1, num_channels, eps=eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Normalize `(batch_size, num_tokens, num_channels)`."""
        return super().forward(hidden_states.transpose(1, 2)).transpose(1, 2)


LAYER_NORMS = {"layer": nn.LayerNorm, "group": GreenMimGroupNorm}

__all__ = ["LAYER_NORMS", "GreenMimGroupNorm"]
