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
"""Score modulation: factors that multiply the score of two tokens according to their offset.

The Gaussian mixture comes from "RetNet viewed through convolution" (https://huggingface.co/papers/2309.05375). As in
that paper's Swin, scores are multiplied before the position bias and the mask between windows are added.
"""

import torch
from torch import nn
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_greenmim import GreenMimConfig
from .group_bias_greenmim import look_up_bias
from .mixer_greenmim import GreenMimTokenMixer, get_compute_dtype
from .mixer_window_greenmim import (
    GreenMimMaskUnitAttention,
    GreenMimShiftedWindowAttention,
    GreenMimWindowAttention,
    WindowGroups,
)


class GreenMimGaussianMixture(nn.Module):
    """
    Learned mixture of Gaussians over the distance `d` of two tokens, for each head: the sum of
    `alpha * exp(-d**2 / (2 * (sigma**2 + 1e-5)))` over five kernels.

    Args:
        num_heads (`int`):
            Number of attention heads.
        window_size (`int`):
            Side of the windows in tokens.
    """

    NUM_KERNELS = 5
    EPS = 1e-5

    def __init__(self, num_heads: int, window_size: int):
        super().__init__()
        self.window_size = window_size
        self.alpha = nn.Parameter(torch.zeros(self.NUM_KERNELS, num_heads))
        self.sigma = nn.Parameter(torch.zeros(self.NUM_KERNELS, num_heads))

    def init_weights(self, std: float):
        init.normal_(self.alpha, std=2.0)
        init.normal_(self.sigma, mean=10.0, std=10.0)

    def forward(self) -> torch.Tensor:
        """Factors of all offsets, row-major, `((2 * window_size - 1)**2, num_heads)`."""
        dtype = torch.promote_types(self.sigma.dtype, torch.float32)
        squares = torch.arange(1 - self.window_size, self.window_size, device=self.sigma.device, dtype=dtype).square()
        distances = (squares[:, None] + squares).flatten()[:, None, None]
        gaussians = (-distances / (2 * (self.sigma.to(dtype).square() + self.EPS))).exp()
        return (self.alpha * gaussians).sum(dim=1).to(self.sigma.dtype)


class GreenMimModulatedWindowAttention(GreenMimWindowAttention):
    """Attention inside windows with modulated scores."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, stage)
        self.score_modulation = GreenMimGaussianMixture(self.num_heads, config.window_size)

    def forward(
        self, hidden_states: torch.Tensor, prepared: WindowGroups, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        dtype = get_compute_dtype(hidden_states)
        # 0 between windows, where the attention mask applies
        factors = look_up_bias(self.score_modulation(), prepared.pairs, dtype, masked_value=0.0)
        if prepared.num_copies > 1:  # groups are additional heads
            factors = factors.flatten(0, 1)[None]
        return super().forward(hidden_states, prepared, score_modulation=factors, **kwargs)  # type: ignore[call-arg]


class GreenMimModulatedShiftedWindowAttention(GreenMimModulatedWindowAttention, GreenMimShiftedWindowAttention):
    """Attention inside shifted windows with modulated scores."""


class GreenMimModulatedMaskUnitAttention(GreenMimMaskUnitAttention):
    """
    Attention inside mask units with modulated scores. The last stage, where a unit is one token, has no modulation.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__(config, stage)
        side = config.get_unit_side(stage)
        self.score_modulation = GreenMimGaussianMixture(self.num_heads, side) if side > 1 else None

    def forward(
        self, hidden_states: torch.Tensor, prepared: dict[str, torch.Tensor], **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.score_modulation is None:
            return super().forward(hidden_states, prepared, **kwargs)
        index = prepared["relative_position_index"]
        factors = self.score_modulation()[index.flatten()].view(*index.shape, -1).permute(2, 0, 1)[None]
        return super().forward(hidden_states, prepared, score_modulation=factors, **kwargs)  # type: ignore[call-arg]


MODULATED_MIXERS: dict[type[GreenMimTokenMixer], type[GreenMimTokenMixer]] = {
    GreenMimWindowAttention: GreenMimModulatedWindowAttention,
    GreenMimShiftedWindowAttention: GreenMimModulatedShiftedWindowAttention,
    GreenMimMaskUnitAttention: GreenMimModulatedMaskUnitAttention,
}

__all__ = ["MODULATED_MIXERS", "GreenMimGaussianMixture"]
