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
"""torch.compile: one full graph, few compilations over many masks, and the same results."""

import pytest
import torch
from torch._dynamo.utils import counters

from modeling_greenmim import GreenMimForMaskedImageModeling, make_plan, sample_masks
from tests.helpers.tiny_models import FAMILIES, FAMILY_ROWS, make_config


ARCHITECTURES = {**FAMILIES, "twins_pcpvt": {**FAMILIES["twins"], "token_mixers": ["spatial_reduction"] * 3}}


@pytest.fixture(params=FAMILY_ROWS)
def model(request):
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    return GreenMimForMaskedImageModeling(make_config(**ARCHITECTURES[request.param])).train()


def make_inputs(config, seed, per_sample):
    mask = torch.from_numpy(sample_masks(4, (8, 8), 0.6, seed=seed, per_sample=per_sample))
    plan = make_plan(mask, config, image_size=(64, 64))
    pixel_values = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return {"pixel_values": pixel_values, "bool_masked_pos": mask, "plan": plan}


@pytest.mark.slow
@pytest.mark.parametrize("per_sample", [False, True])
def test_200_masks_need_few_graphs(model, per_sample):
    """Plans differ in the number and size of their groups. These become dynamic; everything else stays static."""
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for seed in range(200):
        inputs = make_inputs(model.config, seed, per_sample)
        loss = compiled(**inputs).loss
        if seed % 40 == 0:
            torch.testing.assert_close(loss, model(**inputs).loss)
    assert counters["stats"]["unique_graphs"] <= 8
    assert not counters["graph_break"]


def test_full_images_compile(model):
    compiled = torch.compile(model.greenmim, backend="eager", fullgraph=True, dynamic=False)
    for image_size in ((64, 64), (60, 52)):
        pixel_values = torch.randn(2, 3, *image_size)
        expected = model.greenmim(pixel_values).last_hidden_state
        torch.testing.assert_close(compiled(pixel_values).last_hidden_state, expected)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["swin", "swin_v2", "twins_pcpvt"], indirect=True)
@pytest.mark.parametrize("per_sample", [False, True])
def test_inductor_trains_the_same(model, per_sample):
    compiled = torch.compile(model, fullgraph=True)
    for seed in range(3):
        inputs = make_inputs(model.config, seed, per_sample)
        gradients = []
        for forward in (model, compiled):
            model.zero_grad()
            forward(**inputs).loss.backward()
            gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
