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
Overlapping patches and merging on full images, their masks and configurations; `test_token_mixers.py` tests the full
grid.
"""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimModel, sample_masks
from modeling_greenmim.leak_detection import find_leaks
from modeling_greenmim.masking_greenmim import sample_secondary_masks
from modeling_greenmim.swin_families import get_family
from tests.helpers.brute_force import brute_force_encoder
from tests.helpers.tiny_models import make_config, randomize


OVERLAPPING = {"patch_kernel_size": 7, "merging_kernel_size": 3, "patch_size": 4, "token_mixers": "global"}


def make_images(*image_size):
    return torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("image_size", [(64, 64), (32, 80)])
def test_patches_of_full_images_are_the_soft_split_of_t2t_vit(image_size):
    """A kernel of 7, a stride of 4 and a padding of 2."""
    model = randomize(GreenMimModel(make_config(**OVERLAPPING)))
    projection, pixel_values = model.embeddings.patch_embeddings.projection, make_images(*image_size)
    expected = nn.functional.conv2d(pixel_values, projection.weight, projection.bias, stride=4, padding=2)
    with torch.no_grad():
        actual = model.embeddings.patch_embeddings(pixel_values)
    torch.testing.assert_close(actual, expected.flatten(2).mT)


def test_merging_of_full_images_has_a_kernel_of_3_a_stride_of_2_and_a_padding_of_1():
    model = randomize(GreenMimModel(make_config(**OVERLAPPING, merging_norm_placement="after")))
    merging, tokens = model.encoder.layers[0].downsample, torch.randn(2, 8 * 10, 16)
    maps = nn.functional.conv2d(tokens.mT.unflatten(2, (8, 10)), merging.reduction.weight, stride=2, padding=1)
    with torch.no_grad():
        torch.testing.assert_close(merging(tokens, (8, 10)), merging.norm(maps.flatten(2).mT))


def test_kernels_that_are_no_larger_than_patches_are_the_patches():
    settings = {"patch_size": 4, "token_mixers": "global"}
    plain, model = (randomize(GreenMimModel(make_config(**settings, patch_kernel_size=size))) for size in (None, 4))
    pixel_values, mask = make_images(64, 64), torch.from_numpy(sample_masks(2, (4, 4), 0.75, seed=0))
    with torch.no_grad():
        for masks in (None, mask):
            expected = plain(pixel_values, masks).last_hidden_state
            torch.testing.assert_close(model(pixel_values, masks).last_hidden_state, expected)


def make_masked_inputs():
    mask = sample_masks(2, (4, 4), 0.75, "uniform", seed=0)
    return make_images(64, 64), *map(torch.from_numpy, (mask, sample_secondary_masks(mask, 0.25, seed=0)))


def make_encoder():
    return randomize(GreenMimModel(make_config(**OVERLAPPING, secondary_mask_ratio=0.25), use_mask_token=True))


def test_pixels_of_units_that_are_replaced_by_a_token_are_zero_for_their_neighbors():
    model, (pixel_values, mask, secondary_mask) = make_encoder().double(), make_masked_inputs()
    with torch.no_grad():
        outputs = model(pixel_values.double(), mask, secondary_masked_pos=secondary_mask)
        expected, _ = brute_force_encoder(model, pixel_values.double(), mask, secondary_mask)
    expected = expected[torch.arange(2)[:, None], outputs.visible_indices]
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=0, atol=1e-10)


def test_units_that_are_replaced_by_a_token_do_not_leak():
    model, (pixel_values, mask, secondary_mask) = make_encoder(), make_masked_inputs()

    def encode(images, _):
        return model(images, mask, secondary_masked_pos=secondary_mask).last_hidden_state

    assert find_leaks(encode, pixel_values, mask | secondary_mask) == []


def test_values_of_hidden_pixels_need_not_be_finite():
    model = GreenMimForMaskedImageModeling(make_config(**OVERLAPPING)).greenmim
    pixel_values, mask, _ = make_masked_inputs()
    changed = GreenMimForMaskedImageModeling.mask_pixels(model, pixel_values, mask, value=float("nan"))
    with torch.no_grad():
        expected = model(pixel_values, mask).last_hidden_state
        assert torch.equal(model(changed, mask).last_hidden_state, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_kernel_size": 3, "patch_size": 4}, "`patch_kernel_size` must be an integer of at least 4, got 3"),
        ({"merging_kernel_size": 1}, "2, got 1"),
    ],
)
def test_kernels_smaller_than_their_stride_are_refused(settings, message):
    with pytest.raises(StrictDataclassError, match=message):
        make_config(**settings)


@pytest.mark.parametrize("settings", [{"patch_kernel_size": 3}, {"merging_kernel_size": 3}])
def test_it_is_no_ordinary_swin(settings):
    with pytest.raises(ValueError, match="Cannot convert to a Swin.*kernel_size=3"):
        get_family(make_config(**settings))
