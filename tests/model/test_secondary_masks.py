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
Visible units that pre-training replaces by a learned token (UM-MAE): brute force, no leak, and which models have the
token.
"""

import pytest
import torch
from transformers import AutoModel

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    sample_masks,
)
from modeling_greenmim.masking_greenmim import sample_secondary_masks
from tests.helpers.brute_force import brute_force_encoder
from tests.helpers.tiny_models import FAMILIES, make_config, randomize


MIXERS = pytest.mark.parametrize(
    "settings",
    [
        *FAMILIES.values(),
        {"token_mixers": ["mask_unit", "mask_unit", "global"]},
        {"use_absolute_embeddings": True},
        {"patch_size": 8, "depths": [2], "num_heads": [2], "token_mixers": ["global"]},
    ],
    ids=[*FAMILIES, "hiera", "positions", "one-stage"],
)


def make_inputs(sampler="uniform"):
    generator = torch.Generator().manual_seed(1)
    masks = sample_masks(3, (8, 8), 0.75, sampler, seed=2)
    secondary_masks = sample_secondary_masks(masks, 0.25, seed=2)
    pixel_values = torch.randn(3, 3, 64, 64, generator=generator, dtype=torch.float64)
    return pixel_values, torch.from_numpy(masks), torch.from_numpy(secondary_masks)


def make_encoder(**settings):
    config = make_config(**{"secondary_mask_ratio": 0.25, **settings})
    return randomize(GreenMimModel(config, use_mask_token=True)).double()


@pytest.mark.parametrize("sampler", ["uniform", "random"])
@MIXERS
def test_visible_tokens_equal_the_full_grid(settings, sampler):
    model, (pixel_values, mask, secondary_mask) = make_encoder(**settings), make_inputs(sampler)
    with torch.no_grad():
        outputs = model(pixel_values, mask, secondary_masked_pos=secondary_mask)
        expected, _ = brute_force_encoder(model, pixel_values, mask, secondary_mask)
    expected = expected[torch.arange(3)[:, None], outputs.visible_indices]
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=0, atol=1e-10)


@MIXERS
def test_pixels_of_replaced_units_do_not_change_one_bit(settings):
    model, (pixel_values, mask, secondary_mask) = make_encoder(**settings), make_inputs()
    changed = GreenMimForMaskedImageModeling.mask_pixels(model, pixel_values, mask | secondary_mask, value=1e6)
    with torch.no_grad():
        before = model(pixel_values, mask, secondary_masked_pos=secondary_mask).last_hidden_state
        after = model(changed, mask, secondary_masked_pos=secondary_mask).last_hidden_state
        without = model(changed, mask).last_hidden_state
    assert torch.equal(before, after)
    assert not torch.equal(before, without)


def test_without_a_secondary_mask_nothing_is_replaced():
    pixel_values, mask, _ = make_inputs()
    model, plain = make_encoder(), randomize(GreenMimModel(make_config())).double()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "mask_token" not in name})
    with torch.no_grad():
        assert torch.equal(model(pixel_values, mask).last_hidden_state, plain(pixel_values, mask).last_hidden_state)


def test_the_loss_reaches_the_token_and_is_that_of_the_hidden_units():
    model = GreenMimForMaskedImageModeling(make_config(secondary_mask_ratio=0.25)).double()
    pixel_values, mask, secondary_mask = make_inputs()
    outputs = model(pixel_values, mask, secondary_masked_pos=secondary_mask)
    outputs.loss.backward()
    assert model.greenmim.embeddings.mask_token.grad.abs().sum() > 0
    assert torch.equal(outputs.mask.bool(), mask)
    changed = model.mask_pixels(pixel_values, secondary_mask, value=1e6)
    assert torch.equal(model(changed, mask, secondary_masked_pos=secondary_mask).loss, outputs.loss)


@pytest.mark.parametrize("ratio", [0.0, 0.25])
def test_the_token_exists_in_pretraining_with_a_ratio_only(ratio):
    config = make_config(secondary_mask_ratio=ratio)
    for model_class in (
        GreenMimModel,
        GreenMimBackbone,
        GreenMimForImageClassification,
        GreenMimForMaskedImageModeling,
    ):
        names = [name for name, _ in model_class(config).named_parameters() if name.endswith("embeddings.mask_token")]
        has_token = ratio > 0 and model_class is GreenMimForMaskedImageModeling
        assert names == (["greenmim.embeddings.mask_token"] if has_token else [])


@pytest.mark.parametrize("model_class", [GreenMimModel, GreenMimBackbone, GreenMimForImageClassification])
def test_other_models_load_from_pretraining_with_a_token(tmp_path, model_class, caplog):
    model = randomize(GreenMimForMaskedImageModeling(make_config(secondary_mask_ratio=0.25)))
    model.save_pretrained(tmp_path)
    loaded, info = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]
    encoder = loaded if not hasattr(loaded, "greenmim") else loaded.greenmim
    for name, value in model.greenmim.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, encoder.state_dict()[name])
    assert type(AutoModel.from_pretrained(tmp_path)) is GreenMimModel


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask, secondary: {"secondary_masked_pos": secondary.float()}, "must be a boolean tensor"),
        (lambda mask, secondary: {"secondary_masked_pos": secondary[:, :-1]}, r"shape \(3, 64\)"),
        (lambda mask, secondary: {"secondary_masked_pos": mask}, "only for visible units"),
        (lambda mask, secondary: {"bool_masked_pos": None}, "`bool_masked_pos` is missing"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    pixel_values, mask, secondary_mask = make_inputs()
    inputs = {"bool_masked_pos": mask, "secondary_masked_pos": secondary_mask, **change(mask, secondary_mask)}
    with pytest.raises(ValueError, match=message):
        make_encoder()(pixel_values, **inputs)


def test_a_model_without_a_token_and_one_of_full_images_refuse_it():
    pixel_values, mask, secondary_mask = make_inputs()
    with pytest.raises(ValueError, match="no mask token.*secondary_mask_ratio.*use_mask_token=True"):
        GreenMimModel(make_config()).double()(pixel_values, mask, secondary_masked_pos=secondary_mask)
    with pytest.raises(ValueError, match="secondary_masked_pos.*full images"):
        GreenMimForImageClassification(make_config()).double()(pixel_values, secondary_masked_pos=secondary_mask)


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_a_ratio_outside_of_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match="`secondary_mask_ratio` must be a number of at least 0 and below 1"):
        make_config(secondary_mask_ratio=ratio)
