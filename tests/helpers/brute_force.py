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
"""
Token mixers over the full grid with every hidden token masked out: the encoder's outputs at full cost.

It shares the weights of a model, but none of its code for windows, groups, orders or plans. Windows follow Swin: pad
the grid to full windows, roll it, cut it, and label the regions that the roll brings together.
"""

import itertools
import math
from collections.abc import Callable

import torch
from torch import nn

from modeling_greenmim.configuration_greenmim import GreenMimConfig
from modeling_greenmim.modeling_greenmim import GreenMimModel


def label_axis(length: int, window: int, shift: int) -> torch.Tensor:
    """Label each position along an axis. Positions attend to each other if their labels are equal along both axes."""
    padded = -(-length // window) * window
    regions = torch.zeros(padded, dtype=torch.long)
    if shift:
        regions[padded - window : padded - shift] = 1
        regions[padded - shift :] = 2
    rolled_place = torch.arange(padded).roll(shift)  # new index of grid position i
    window_of_rolled = torch.arange(padded) // window
    return (window_of_rolled * 3 + regions)[rolled_place][:length]


def get_scores(attention, query, key):
    """Scaled dot products or cosines of queries and keys, each `(batch, heads, n, head_dim)`."""
    if attention.similarity is None:
        return query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    lengths = query.norm(dim=-1)[..., None] * key.norm(dim=-1)[:, :, None, :]
    scales = attention.similarity.logit_scale.exp().clamp(max=100)
    return scales * (query @ key.transpose(2, 3)) / lengths


def attend(attention, states, hidden, labels, bias=None):
    """Attention between tokens of equal labels that are not hidden; `bias` is added to the scores, `(heads, n, n)`."""
    batch, height, width, _ = states.shape
    tokens = states.flatten(1, 2)
    query, key, value = (
        projection(tokens).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = get_scores(attention, query, key) * get_modulation(attention, height, width)
    if bias is not None:
        scores = scores + bias
    allowed = (labels[:, None] == labels) & ~hidden[:, None, None, :]
    # hidden tokens attend only to themselves: their output is ignored
    allowed = allowed | torch.eye(height * width, dtype=torch.bool)
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    output = (weights @ value).transpose(1, 2).flatten(2)
    return attention.o_proj(output).view(batch, height, width, -1)


def get_modulation(attention: nn.Module, height: int, width: int) -> torch.Tensor | float:
    """The Gaussian mixture that multiplies the scores of all pairs of positions, `(heads, n, n)`, or 1."""
    mixture = getattr(attention, "score_modulation", None)
    if mixture is None:
        return 1.0
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
    squares = torch.cdist(places, places).square()
    kernels = zip(mixture.alpha[..., None, None], mixture.sigma[..., None, None])
    return sum(alpha * (-squares / (2 * (sigma**2 + 1e-5))).exp() for alpha, sigma in kernels)


def get_offset_bias(table: torch.Tensor, side: int, height: int, width: int) -> torch.Tensor:
    """Biases of all pairs of positions, `(heads, n, n)`, from an offset table for windows of `side` tokens."""
    row, column = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    row_offset, column_offset = (
        (place[:, None] - place).clamp(1 - side, side - 1) + side - 1 for place in (row, column)
    )
    return table.unflatten(0, (2 * side - 1,) * 2)[row_offset, column_offset].permute(2, 0, 1)


def get_bias(bias: nn.Module | None, side: int, height: int, width: int) -> torch.Tensor | None:
    """Biases of all pairs of positions, `(heads, n, n)`, from an offset table or Swin V2's MLP, or `None`."""
    if bias is None:
        return None
    if hasattr(bias, "relative_position_bias_table"):
        return get_offset_bias(bias.relative_position_bias_table, side, height, width)
    rows, columns = (torch.arange(1 - length, length).double() for length in (height, width))
    offsets = torch.stack(
        torch.meshgrid(rows, columns, indexing="ij"), dim=-1
    )  # only the offsets that occur: there are too many pairs
    offsets = 8 * offsets / max(bias.bias_window_size - 1, 1)
    offsets = offsets.sign() * (1 + offsets.abs()).log() / math.log(8)
    hidden = nn.functional.linear(offsets, bias.fc1.weight, bias.fc1.bias).clamp(min=0)
    biases = 16 / (1 + (-hidden @ bias.fc2.weight.T).exp())
    row, column = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    row_offset, column_offset = (place[:, None] - place for place in (row, column))
    return biases[row_offset + height - 1, column_offset + width - 1].permute(2, 0, 1)


def mix_windows(config, stage, mixer, states, hidden, shifted=False):
    _, height, width, _ = states.shape
    window = config.window_size
    shift = window // 2 if shifted and min(height, width) > window else 0
    row_labels = label_axis(height, min(window, height), shift)
    column_labels = label_axis(width, min(window, width), shift)
    labels = (row_labels[:, None] * 10_000 + column_labels).flatten()
    bias = get_bias(mixer.relative_position_bias, window, height, width)
    return attend(mixer, states, hidden, labels, bias)


def mix_shifted_windows(config, stage, mixer, states, hidden):
    return mix_windows(config, stage, mixer, states, hidden, shifted=True)


def mix_mask_units(config, stage, mixer, states, hidden):
    _, height, width, _ = states.shape
    side = 2 ** (len(config.depths) - 1 - stage)
    labels = (torch.arange(height)[:, None] // side * 10_000 + torch.arange(width) // side).flatten()
    bias = None
    if side > 1:
        bias = get_bias(mixer.relative_position_bias, side, height, width)
    return attend(mixer, states, hidden, labels, bias)


def mix_globally(config, stage, mixer, states, hidden):
    return attend(mixer, states, hidden, torch.zeros(states.shape[1] * states.shape[2]))


def mix_with_reduced_keys(config, stage, mixer, states, hidden):
    """
    Twins: keys and values from a convolution whose kernel and stride are a mask unit, with hidden units masked out.
    """
    batch, height, width, channels = states.shape
    side = 2 ** (len(config.depths) - 1 - stage)
    if side == 1:
        return mix_globally(config, stage, mixer, states, hidden)
    reduced = nn.functional.conv2d(
        pad_to_multiple(states, side).permute(0, 3, 1, 2),
        make_kernel(mixer.reduction.weight, side, channels),
        mixer.reduction.bias,
        stride=side,
    )
    reduced = mixer.norm(reduced.flatten(2).transpose(1, 2))
    is_hidden = nn.functional.max_pool2d(hidden.view(batch, height, width).double(), side, side, ceil_mode=True) > 0
    query, key, value = (
        projection(tokens).unflatten(2, (mixer.num_heads, -1)).transpose(1, 2)
        for projection, tokens in (
            (mixer.q_proj, states.flatten(1, 2)),
            (mixer.k_proj, reduced),
            (mixer.v_proj, reduced),
        )
    )
    scores = get_scores(mixer, query, key)
    weights = scores.masked_fill(is_hidden.flatten(1)[:, None, None], float("-inf")).softmax(-1)
    output = (weights @ value).transpose(1, 2).flatten(2)
    return mixer.o_proj(output).view(batch, height, width, -1)


def mix_dilated_neighbors(config, stage, mixer, states, hidden):
    """
    DilateFormer: each third of the heads attends to the 3 x 3 neighbors at its dilation. Neighbors beyond the border
    are zero.
    """
    batch, height, width, channels = states.shape
    query, key, value = (
        projection(states).permute(0, 3, 1, 2) for projection in (mixer.q_proj, mixer.k_proj, mixer.v_proj)
    )
    visible = (~hidden).view(batch, 1, height, width).to(states.dtype)
    thirds = []
    for dilation, third in zip((1, 2, 3), torch.arange(channels).chunk(3)):
        heads = mixer.num_heads // 3
        keys, values, is_visible, is_inside = (
            nn.functional.unfold(maps, 3, dilation, padding=dilation).unflatten(1, (-1, 9)).movedim(3, 1)
            for maps in (key[:, third], value[:, third], visible, torch.ones_like(visible))
        )  # (batch, tokens, channels, 9)
        queries = query[:, third].flatten(2).transpose(1, 2).unflatten(2, (heads, -1))
        keys, values = (states.unflatten(2, (heads, -1)) for states in (keys, values))  # (batch, tokens, heads, d, 9)
        scores = (queries[..., None] * keys).sum(3)
        if mixer.similarity is None:
            scores = scores / queries.shape[-1] ** 0.5
        else:
            scale = mixer.similarity.logit_scale.exp().clamp(max=100).view(3, heads)[dilation - 1]
            lengths = queries.norm(dim=-1)[..., None] * keys.norm(dim=3)
            scores = scores / lengths.where(lengths > 0, 1) * scale[:, None]  # the score of a zero key is 0
        is_hidden = (is_inside == 1) & (is_visible == 0)
        is_hidden[..., 4] = False  # hidden tokens attend at least to themselves: their output is ignored
        weights = scores.masked_fill(is_hidden, float("-inf")).softmax(-1)
        thirds.append((weights[:, :, :, None] * values).sum(-1).flatten(2))
    return mixer.o_proj(torch.cat(thirds, dim=-1)).view(states.shape)


def mix_clusters(config, stage, mixer, states, hidden):
    """Context Clusters, one region and head at a time, with the means of visible tokens as centers."""
    batch, height, width, channels = states.shape
    features, values = mixer.feature_proj(states), mixer.value_proj(states)
    visible = ~hidden.view(batch, height, width)
    mixed = torch.zeros_like(states)
    side = config.window_size
    row_side, column_side = min(side, height), min(side, width)
    for image, top, left, head in itertools.product(
        range(batch), range(0, height, row_side), range(0, width, column_side), range(config.num_heads[stage])
    ):
        rows, columns = slice(top, top + row_side), slice(left, left + column_side)
        channel = torch.arange(channels).chunk(config.num_heads[stage])[head]
        is_visible = visible[image, rows, columns]
        feature, value = (maps[image, rows, columns][..., channel] for maps in (features, values))
        centers = {}  # by their tokens
        for row_cell, column_cell in itertools.product(
            *((slice(0, -(-length // 2)), slice(length // 2, length)) for length in (row_side, column_side))
        ):
            is_member = torch.zeros_like(is_visible)
            is_member[row_cell, column_cell] = is_visible[row_cell, column_cell]
            if is_member.any():
                centers[tuple(is_member.flatten().tolist())] = feature[is_member].mean(0), value[is_member].mean(0)
        if not centers:
            continue
        center_feature, center_value = (torch.stack(means) for means in zip(*centers.values()))
        cosine = nn.functional.cosine_similarity(feature[is_visible][:, None], center_feature, dim=-1)
        similarity = 1 / (1 + (-mixer.similarity_scale * cosine - mixer.similarity_bias).exp())
        similarity, choice = similarity.max(-1)
        dispatched = torch.zeros_like(value[is_visible])
        for center in range(len(center_value)):
            weights = similarity[choice == center][:, None]
            total = center_value[center] + (weights * value[is_visible][choice == center]).sum(0)
            dispatched[choice == center] = weights * total / (1 + weights.sum())
        index = torch.nonzero(is_visible) + torch.tensor([top, left])
        mixed[image, index[:, 0, None], index[:, 1, None], channel] = dispatched
    return mixer.output_proj(mixed)


def make_kernel(weight: torch.Tensor, side: int, channels: int) -> torch.Tensor:
    """
    Convert a linear layer over a unit's tokens, whose index interleaves column and row bits, to a convolution kernel.
    """
    kernel = weight.new_zeros(len(weight), channels, side, side)
    for row in range(side):
        for column in range(side):
            place = sum(((column >> bit & 1) * 2 + (row >> bit & 1)) * 4**bit for bit in range(side.bit_length() - 1))
            kernel[:, :, row, column] = weight[:, place * channels : (place + 1) * channels]
    return kernel


def normalize(norm: nn.Module, states: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Apply a layer's norm. A group norm uses the mean and variance of visible tokens over all channels."""
    if not isinstance(norm, nn.GroupNorm):
        return norm(states)
    visible = (~hidden).view(*states.shape[:3], 1).to(states.dtype)
    count = visible.sum((1, 2, 3), keepdim=True) * states.shape[-1]
    mean = (states * visible).sum((1, 2, 3), keepdim=True) / count
    variance = ((states - mean).square() * visible).sum((1, 2, 3), keepdim=True) / count
    return (states - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias


def encode_positions(module: nn.Module, states: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """PEG: the tokens plus their convolution, with zeros for hidden tokens."""
    visible = states * ~hidden.view(*states.shape[:3], 1)
    kernel, bias = module.convolution.weight, module.convolution.bias
    encoding = nn.functional.conv2d(visible.permute(0, 3, 1, 2), kernel, bias, padding=1, groups=len(kernel))
    return states + encoding.permute(0, 2, 3, 1)


# (config, stage, mixer, states (batch, h, w, channels), hidden (batch, h * w)) -> mixed states; one row for each token
# mixer
FULL_GRID_MIXERS: dict[str, Callable] = {
    "window": mix_windows,
    "shifted_window": mix_shifted_windows,
    "mask_unit": mix_mask_units,
    "global": mix_globally,
    "spatial_reduction": mix_with_reduced_keys,
    "dilated": mix_dilated_neighbors,
    "cluster": mix_clusters,
}


def pad_to_multiple(states: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad rows and columns of `(batch, h, w, channels)` with zeros."""
    return nn.functional.pad(states, (0, 0, 0, -states.shape[2] % multiple, 0, -states.shape[1] % multiple))


def convolve(module: nn.Module, maps: torch.Tensor, stride: int) -> torch.Tensor:
    """Convolve `(batch, channels, h, w)`, zero-padded to full strides, to `(batch, rows, columns, channels)`."""
    rows, columns = (side // stride for side in maps.shape[-2:])
    padding = (module.weight.shape[-1] - stride + 1) // 2
    maps = nn.functional.conv2d(maps, module.weight, module.bias, stride, padding)
    return maps[:, :, :rows, :columns].permute(0, 2, 3, 1)


def merge(config: GreenMimConfig, merging: nn.Module, states: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """
    Merge the tokens of a stage for the next one: Swin's four quarters, or a convolution with zeros for hidden tokens.
    """
    is_first, visible = config.merging_norm_placement == "before", ~hidden.view(*states.shape[:3], 1)
    if config.merging_kernel_size is not None:
        states = (merging.norm(states) if is_first else states) * visible
        states = convolve(merging.reduction, pad_to_multiple(states, 2).permute(0, 3, 1, 2), stride=2)
        return states if is_first else merging.norm(states)
    if config.merging == "mean":
        rows, columns = ((side + 1) // 2 for side in states.shape[1:3])
        blocks = [[states[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for j in range(columns)] for i in range(rows)]
        return torch.stack([torch.stack([block.mean(dim=(1, 2)) for block in row], dim=1) for row in blocks], dim=1)
    padded = pad_to_multiple(states, 2)
    states = torch.cat([padded[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
    return merging.reduction(merging.norm(states)) if is_first else merging.norm(merging.reduction(states))


def brute_force_encoder(
    model: GreenMimModel,
    pixel_values: torch.Tensor,
    unit_mask: torch.Tensor | None = None,
    secondary_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """
    Encode the full grid with hidden tokens masked out in every mixer. Without a mask, images may have any size.

    Returns the normalized last stage, `(batch, units, channels)`, and the output of each stage, `(batch, h, w,
    channels)`, both row-major. Values for hidden units are meaningless.
    """
    config: GreenMimConfig = model.config
    num_stages = len(config.depths)
    unit = config.patch_size * 2 ** (num_stages - 1)
    if unit_mask is not None:
        unit_mask = unit_mask.view(-1, pixel_values.shape[2] // unit, pixel_values.shape[3] // unit)

    embeddings = model.embeddings
    padded = pad_to_multiple(pixel_values.permute(0, 2, 3, 1), config.patch_size).permute(0, 3, 1, 2)
    if unit_mask is not None:
        hidden = unit_mask if secondary_mask is None else unit_mask | secondary_mask.view(unit_mask.shape)
        padded = padded * ~hidden.repeat_interleave(unit, 1).repeat_interleave(unit, 2)[:, None]
    states = convolve(embeddings.patch_embeddings.projection, padded, config.patch_size)
    if secondary_mask is not None:
        side = unit // config.patch_size
        is_replaced = secondary_mask.view(unit_mask.shape).repeat_interleave(side, 1).repeat_interleave(side, 2)
        states = torch.where(is_replaced[..., None], embeddings.mask_token, states)
    states = embeddings.norm(states)
    if embeddings.position_embeddings is not None:
        states = states + embeddings.position_embeddings.view(1, *states.shape[1:3], -1)
    outputs = []
    for stage, module in enumerate(model.encoder.layers):
        hidden = torch.zeros(len(states), states.shape[1] * states.shape[2], dtype=torch.bool)
        if unit_mask is not None:
            side = 2 ** (num_stages - 1 - stage)
            hidden = unit_mask.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)
        names = config.token_mixers[stage]
        for layer, block in enumerate(module.blocks):
            mix = FULL_GRID_MIXERS[names[layer % len(names)]]
            mlp, norms = block.mlp, (block.layernorm_before, block.layernorm_after)
            branches = (
                lambda x: mix(config, stage, block.attention, x, hidden),  # noqa: B023 - called at once
                lambda x: mlp.fc2(nn.functional.gelu(mlp.fc1(x))),  # noqa: B023
            )
            for norm, branch in zip(norms, branches):
                is_first = config.norm_placement == "before"
                branch_input = normalize(norm, states, hidden) if is_first else states
                output = branch(branch_input)
                states = states + (output if is_first else normalize(norm, output, hidden))
            if layer == 0 and module.position_encoding is not None:
                states = encode_positions(module.position_encoding, states, hidden)
        if module.downsample is not None:
            states = merge(config, module.downsample, states, hidden)
        outputs.append(states)
    return model.layernorm(states.flatten(1, 2)), outputs
