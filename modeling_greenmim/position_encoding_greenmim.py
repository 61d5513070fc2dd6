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
"""Position encoding by a convolution, for images of any size."""

import torch
from torch import nn

from .configuration_greenmim import GreenMimConfig
from .gathering_greenmim import select_tokens
from .layout_greenmim import get_visible_cells


class GreenMimConditionalPositionEncoding(nn.Module):
    """
    Applies a 3 x 3 depth-wise convolution to the tokens of a stage and adds the result to them: the position encoding
    generator of CPVT (https://huggingface.co/papers/2102.10882), as used in Twins. Hidden tokens contribute zero, like
    those outside the image.
    """

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        hidden_size = config.hidden_sizes[stage]
        self.unit_side = config.get_unit_side(stage)
        self.convolution = nn.Conv2d(hidden_size, hidden_size, kernel_size=3, padding=1, groups=hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, grid_size: tuple[int, int], visible_indices: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_tokens, channels)`):
                Tokens: those of visible units in Z-order, or all tokens of a full image, row-major.
            grid_size (`tuple[int, int]`):
                Rows and columns of tokens of the full image.
            visible_indices (`torch.Tensor` of `int64` and shape `(batch_size, num_visible_units)`, *optional*):
                The visible mask units. `None` for full images.

        Returns:
            `torch.Tensor` of the shape of the hidden states.
        """
        tokens, cells = hidden_states, None
        if visible_indices is not None:
            cells = get_visible_cells(visible_indices, grid_size, self.unit_side)
            batch_size, _, channels = hidden_states.shape
            tokens = hidden_states.new_zeros(batch_size, grid_size[0] * grid_size[1], channels)
            tokens = tokens.scatter(1, cells[:, :, None].expand(-1, -1, channels), hidden_states)
        encoding = self.convolution(tokens.transpose(1, 2).unflatten(2, grid_size)).flatten(2).transpose(1, 2)
        return hidden_states + (encoding if cells is None else select_tokens(encoding, cells))


__all__ = ["GreenMimConditionalPositionEncoding"]
