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
"""The public leak test: it names exactly the leaking units, also in backbones of other libraries."""

import pytest
import torch
from torch import nn

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimModel, sample_masks
from modeling_greenmim.leak_detection import Leak, find_leaks
from tests.helpers.tiny_models import make_config, randomize


def make_inputs(batch_size=2, grid_size=(4, 6), unit_size=8):
    generator = torch.Generator().manual_seed(0)
    masks = torch.from_numpy(sample_masks(batch_size, grid_size, 0.6, seed=0))
    pixel_values = torch.randn(batch_size, 3, *(unit_size * side for side in grid_size), generator=generator)
    return pixel_values, masks


class LeakingEncoder(nn.Module):
    """Overlapping patches that read the pixels of hidden neighbors: one pixel to the left and one above a unit."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Conv2d(3, 8, kernel_size=9, stride=8, padding=1)

    def forward(self, pixel_values, bool_masked_pos):
        return {"tokens": [self.projection(pixel_values).flatten(2).mT[~bool_masked_pos]]}


def test_the_leaking_units_are_named():
    pixel_values, masks = make_inputs()
    expected = set()
    for image, mask in enumerate(masks.view(2, 4, 6)):
        for row, column in (~mask).nonzero().tolist():
            neighbors = {(row - 1, column), (row, column - 1), (row - 1, column - 1)}
            expected |= {(image, *place) for place in neighbors if min(place) >= 0 and mask[place]}
    leaks = find_leaks(LeakingEncoder(), pixel_values, masks)
    assert leaks and {leak[:3] for leak in leaks} == expected
    assert all(isinstance(leak, Leak) and leak.largest_change > 0 for leak in leaks)


def test_a_statistic_over_the_whole_image_leaks_every_hidden_unit():
    def encode(pixel_values, bool_masked_pos):
        return pixel_values - pixel_values.mean(dim=(1, 2, 3), keepdim=True)  # also returns the hidden pixels

    pixel_values, masks = make_inputs()
    leaks = find_leaks(encode, pixel_values, masks)
    assert [leak[:3] for leak in leaks] == [(i, unit // 6, unit % 6) for i, unit in masks.nonzero().tolist()]


def test_a_leak_into_another_image_is_that_of_its_image():
    def encode(pixel_values, bool_masked_pos):
        return pixel_values[1, :, :8, :8] + pixel_values[0, :, :8, -8:]

    masks = torch.zeros(2, 24, dtype=torch.bool)
    masks[0, 5] = masks[1, 7] = True
    assert [leak[:3] for leak in find_leaks(encode, make_inputs()[0], masks)] == [(0, 0, 5)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"patch_kernel_size": 7, "merging_kernel_size": 3},
        {"conditional_position_encoding": True, "patch_kernel_size": 8, "merging_kernel_size": 5},
    ],
)
def test_our_encoders_do_not_leak(settings):
    pixel_values, masks = make_inputs()
    model = randomize(GreenMimModel(make_config(**settings)))
    assert find_leaks(model, pixel_values, masks) == []


def test_an_overlapping_embedding_that_sees_hidden_pixels_is_caught(monkeypatch):
    """The network is GreenMIM's without the line that zeroes hidden pixels."""
    monkeypatch.setattr(
        "modeling_greenmim.overlapping_greenmim.get_hidden_pixels",
        lambda mask, image_size, unit_size: torch.zeros(1, dtype=torch.bool),
    )
    pixel_values, masks = make_inputs()
    leaks = find_leaks(randomize(GreenMimModel(make_config(patch_kernel_size=4))), pixel_values, masks)
    beyond_visible = nn.functional.max_pool2d((~masks).view(2, 1, 4, 6).float(), 3, stride=1, padding=1) > 0
    hidden_neighbors = (masks.view(2, 4, 6) & beyond_visible[:, 0]).nonzero().tolist()
    assert [list(leak[:3]) for leak in leaks] == hidden_neighbors


def test_hiera_of_timm_does_not_leak():
    """A backbone of a different library masks the convolution in its overlapping stem."""
    timm = pytest.importorskip("timm")
    settings = {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 1, 1), "img_size": (128, 192)}
    model = timm.models.hiera.Hiera(**settings, num_classes=0).eval()
    pixel_values, masks = make_inputs(unit_size=32)
    assert find_leaks(lambda images, mask: model.forward_features(images, mask=~mask), pixel_values, masks) == []


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda pixel_values, mask: torch.rand(3), "not deterministic.*eval"),
        (lambda pixel_values, mask: torch.ones(3), "visible pixels do not change"),
    ],
)
def test_a_test_that_would_say_nothing_is_refused(encode, message):
    with pytest.raises(ValueError, match=message):
        find_leaks(encode, *make_inputs())


def test_a_model_with_a_loss_is_refused():
    """The loss compares the prediction with hidden pixels: each hidden unit would count as a leak."""
    model = GreenMimForMaskedImageModeling(make_config()).eval()
    with pytest.raises(ValueError, match="outputs contain a `loss`.*Pass the encoder"):
        find_leaks(model, *make_inputs())
    assert find_leaks(model.greenmim, *make_inputs()) == []


def test_a_mask_of_numpy_is_refused():
    pixel_values, masks = make_inputs()
    with pytest.raises(ValueError, match="must be a torch tensor, got ndarray of bool"):
        find_leaks(LeakingEncoder(), pixel_values, masks.numpy())


@pytest.mark.parametrize("change", [lambda mask: mask.float(), lambda mask: mask[:1], lambda mask: mask[:, :-1]])
def test_a_mask_that_does_not_fit_is_refused(change):
    pixel_values, masks = make_inputs()
    with pytest.raises(ValueError, match="bool_masked_pos.*2 images.*32 x 48 pixels"):
        find_leaks(LeakingEncoder(), pixel_values, change(masks))
