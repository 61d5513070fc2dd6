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
"""The oracle: attention between all pairs of tokens of the full grid, with everything forbidden masked out.

It shares the weights of a model, but none of its code for windows, groups, orders or plans. Windows follow Swin: pad the
grid to whole windows, roll it, cut it, and label the regions that the roll has brought together.
"""

import torch
from torch import nn

from modeling_greenmim.configuration_greenmim import GreenMimConfig
from modeling_greenmim.modeling_greenmim import GreenMimModel


def label_axis(length: int, window: int, shift: int) -> torch.Tensor:
    """A label for each place along an axis: places attend to each other if their labels are equal along both axes."""
    padded = -(-length // window) * window
    regions = torch.zeros(padded, dtype=torch.long)
    if shift:
        regions[padded - window : padded - shift] = 1
        regions[padded - shift :] = 2
    rolled_place = torch.arange(padded).roll(shift)  # where place i of the grid has gone
    window_of_rolled = torch.arange(padded) // window
    return (window_of_rolled * 3 + regions)[rolled_place][:length]


def brute_force_encoder(
    model: GreenMimModel, pixel_values: torch.Tensor, unit_mask: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """
    Encodes the full grid with hidden tokens masked out of every softmax.

    Returns the normalized last stage, `(batch, units, channels)`, and the output of each stage, `(batch, h, w, channels)`,
    both row-major. What they hold for hidden units means nothing.
    """
    config: GreenMimConfig = model.config
    num_stages = config.num_layers
    unit = config.patch_size * 2 ** (num_stages - 1)
    rows, columns = pixel_values.shape[2] // unit, pixel_values.shape[3] // unit
    unit_mask = unit_mask.view(-1, rows, columns)

    embeddings = model.embeddings
    states = embeddings.norm(embeddings.patch_embeddings.projection(pixel_values).permute(0, 2, 3, 1))
    if embeddings.position_embeddings is not None:
        states = states + embeddings.position_embeddings.view(1, *states.shape[1:3], -1)
    outputs = []
    for stage, module in enumerate(model.encoder.layers):
        side = 2 ** (num_stages - 1 - stage)
        hidden = unit_mask.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)
        for layer, block in enumerate(module.blocks):
            states = states + _window_attention(config, block, states, hidden, shifted=layer % 2 == 1)
            mlp = block.mlp
            states = states + mlp.fc2(nn.functional.gelu(mlp.fc1(block.layernorm_after(states))))
        if module.downsample is not None:
            quarters = [states[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
            states = module.downsample.reduction(module.downsample.norm(torch.cat(quarters, dim=-1)))
        outputs.append(states)
    return model.layernorm(states.flatten(1, 2)), outputs


def _window_attention(config, block, states, hidden, shifted):
    batch, height, width, channels = states.shape
    attention, window = block.attention, config.window_size
    shift = window // 2 if shifted and min(height, width) > window else 0
    row_labels = label_axis(height, min(window, height), shift)
    column_labels = label_axis(width, min(window, width), shift)
    labels = (row_labels[:, None] * 10_000 + column_labels).flatten()
    row = torch.arange(height).repeat_interleave(width)
    column = torch.arange(width).repeat(height)

    normed = block.layernorm_before(states).flatten(1, 2)
    query, key, value = (
        projection(normed).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    row_offset = (row[:, None] - row).clamp(1 - window, window - 1) + window - 1
    column_offset = (column[:, None] - column).clamp(1 - window, window - 1) + window - 1
    table = attention.relative_position_bias.relative_position_bias_table.unflatten(0, (2 * window - 1,) * 2)
    scores = scores + table[row_offset, column_offset].permute(2, 0, 1)
    allowed = (labels[:, None] == labels) & ~hidden[:, None, None, :]
    # hidden tokens attend to nothing: give them themselves, their output is not looked at
    allowed = allowed | torch.eye(height * width, dtype=torch.bool)
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    output = (weights @ value).transpose(1, 2).flatten(2)
    return attention.o_proj(output).view(batch, height, width, channels)
