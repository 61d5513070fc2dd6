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
Wrong calls give a clear error or a correct result: calls from a user's trial of version 0.1, and calls drawn by
Hypothesis.
"""

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._pytree import tree_map

import modeling_greenmim
from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimDataCollator,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
)
from tests.helpers.call_results import IMAGES, MASK, PLAN, make_small_config
from tests.helpers.public_functions import FUNCTIONS
from tests.helpers.wrong_calls import ACCEPTED, ARRAYS, NUMBERS, OBJECTS, judge, list_failures


PROCESSORS = [getattr(modeling_greenmim, name) for name in modeling_greenmim.__all__ if "ImageProcessor" in name]


def test_every_public_name_is_called():
    assert {"GreenMimPreTrainedModel", "TOKEN_MIXERS", *FUNCTIONS} >= set(modeling_greenmim.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_odd_value_of_each_argument(name):
    assert list_failures(name, Counter()) == []


numbers = st.one_of(st.integers(-8, 8), st.floats(-8, 8, width=16), st.sampled_from(NUMBERS))
values = st.one_of(numbers, st.lists(numbers, max_size=4), st.text(max_size=3), st.sampled_from([*OBJECTS, *ARRAYS]))


def check_drawn_call(data: st.DataObject):
    name = data.draw(st.sampled_from(sorted(FUNCTIONS)))
    arguments = st.sampled_from(sorted(FUNCTIONS[name].arguments))
    verdict, reason = judge(name, data.draw(st.dictionaries(arguments, values, min_size=1, max_size=2)))
    assert verdict in ACCEPTED, reason


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_drawn_calls(data):
    check_drawn_call(data)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None, derandomize=True)
@given(st.data())
def test_many_drawn_calls(data):
    check_drawn_call(data)


# The configuration after the model was made


@pytest.mark.parametrize(
    ("model_class", "name", "value"),
    [
        (GreenMimModel, "window_size", 4),
        (GreenMimBackbone, "depths", [1, 2]),
        (GreenMimForMaskedImageModeling, "reconstruction_target", "hog"),
    ],
)
def test_a_changed_architecture_is_refused(model_class, name, value, tmp_path):
    model = model_class(make_small_config()).eval()
    before = getattr(model.config, name)
    setattr(model.config, name, value)
    for call in (lambda: model(IMAGES), lambda: model.save_pretrained(tmp_path)):
        with pytest.raises(ValueError, match=rf"`config\.{name}` must stay .*, got .*Restore it"):
            call()
    setattr(model.config, name, before)
    model(IMAGES)


def test_feature_maps_that_a_backbone_was_not_made_for_are_refused():
    model = GreenMimBackbone(make_small_config(out_features=["stage2"]))
    model.config.set_output_features_output_indices(out_features=["stage1", "stage2"], out_indices=None)
    with pytest.raises(ValueError, match="out_features.*'stage2', got 'stage1'"):
        model(IMAGES)


@pytest.mark.slow
def test_a_changed_architecture_is_refused_by_a_compiled_model():
    model = GreenMimModel(make_small_config()).eval()
    compiled = torch.compile(model, backend="eager")
    compiled(IMAGES)
    model.config.window_size = 4
    with pytest.raises(ValueError, match=r"`config\.window_size` must stay 2"):
        compiled(IMAGES)


def test_what_a_model_reads_in_each_call_may_change():
    model = GreenMimForMaskedImageModeling(make_small_config()).eval()
    loss = model(IMAGES, MASK).loss
    model.config.reconstruction_weight, model.config.mask_ratio, model.config.image_size = 2.0, 0.5, 32
    torch.testing.assert_close(model(IMAGES, MASK).loss, 2 * loss)


def test_limits_hold_when_a_configuration_is_changed():
    config = make_small_config()
    with pytest.raises(ValueError, match="mask_ratio.*above 0 and below 1, got 7"):
        config.mask_ratio = 7


# Plans


def forward_on_meta(plan):
    """No value can be read on the meta device, as none is read on a GPU."""
    model = GreenMimForMaskedImageModeling(make_small_config()).to("meta")
    inputs = {"pixel_values": IMAGES, "bool_masked_pos": torch.from_numpy(MASK), "plan": plan}
    return model(**tree_map(lambda tensor: tensor.to("meta"), inputs))


def test_plans_are_compared_on_any_device():
    assert forward_on_meta(PLAN).loss.shape == ()
    for settings_of_plan in ({"window_size": 4}, {"token_mixers": "window"}):
        plan = make_plan(MASK, make_small_config().from_dict({**make_small_config().to_dict(), **settings_of_plan}))
        with pytest.raises(ValueError, match="`plan` must (contain|be for)"):
            forward_on_meta(plan)


def test_a_plan_without_one_of_its_tensors_is_refused():
    regular = {name: tensor for name, tensor in PLAN["stage1"]["window"].items() if name != "position_index"}
    plan = {**PLAN, "stage1": {**PLAN["stage1"], "window": regular}}
    with pytest.raises(ValueError, match="`plan`.*a part was removed"):
        forward_on_meta(plan)


# Keywords


@pytest.mark.parametrize("backend", PROCESSORS)
@pytest.mark.parametrize(
    ("misspelled", "meant"), [("mask_ration", "mask_ratio"), ("do_rescaled", "do_rescale"), ("seed", "mask_seed")]
)
def test_misspelled_settings_of_a_processor_are_refused(backend, misspelled, meant):
    with pytest.raises(ValueError, match=f"`{misspelled}`.*`{meant}`"):
        backend(**{misspelled: 0.5})


@pytest.mark.parametrize(
    ("keyword", "meant"), [("bool_mask_pos", "Did you mean `bool_masked_pos`"), ("labels", "Omit")]
)
def test_unknown_keywords_of_a_forward_are_refused(keyword, meant):
    model = GreenMimForMaskedImageModeling(make_small_config())
    with pytest.raises(ValueError, match=f"does not take `{keyword}`.*{meant}"):
        model(IMAGES, **{keyword: torch.from_numpy(MASK)})


def test_misspelled_entries_of_examples_are_refused():
    collator = GreenMimDataCollator(make_small_config())
    with pytest.raises(ValueError, match="`mask_seeds`.*`mask_seed`"):
        collator([{"pixel_values": IMAGES[0], "mask_seeds": 1}])
    with pytest.raises(ValueError, match=r"must have the shape.*got \(2, 3, 16, 16\).*single images"):
        collator([{"pixel_values": IMAGES}])
    batch = collator([{"pixel_values": IMAGES[0], "mask_seed": 1, "labels": 7}])
    assert list(batch) == ["pixel_values", "bool_masked_pos", "plan"]


# Pixels


@pytest.mark.parametrize("backend", PROCESSORS)
def test_float_images_from_0_to_1_with_rescaling_warn(backend):
    image = np.random.default_rng(0).random((20, 20, 3), dtype=np.float32)
    with pytest.warns(UserWarning, match="from 0 to 1.*nearly black.*do_rescale=False"):
        backend()(image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend(do_rescale=False)(image)
        backend()(image * 255)


def test_pixels_that_were_not_normalized_warn():
    pixel_values = IMAGES.abs() * 100
    with pytest.warns(UserWarning, match="`pixel_values` reach.*Rescale and normalize"):
        GreenMimModel(make_small_config())(pixel_values, MASK)
    with pytest.warns(UserWarning, match="`pixel_values` reach"):
        GreenMimDataCollator(make_small_config())([{"pixel_values": pixel_values[0]}])


def test_errors_of_configurations_are_value_errors_with_the_message_of_the_check():
    with pytest.raises(ValueError, match="^`num_heads` must have one entry"):
        GreenMimConfig(depths=(2, 2))
    with pytest.raises(ValueError, match="^Field 'embed_dim' expected int"):
        GreenMimConfig(embed_dim=96.0)
    with pytest.raises(ValueError, match="`config` must be a `GreenMimConfig`, got str"):
        GreenMimModel("config")
