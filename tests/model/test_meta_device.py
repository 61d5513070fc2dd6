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
The training step on `meta` tensors, which have shapes and no values.

Operations that would make a GPU wait (reading a value, boolean indexing) raise there, and so do tensors left on the
CPU. `test_fake_cuda.py` detects more, and needs more.
"""

import pytest
import torch
from accelerate.utils import send_to_device
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
    sample_masks,
)
from modeling_greenmim.mixer_window_greenmim import GreenMimWindowAttention
from tests.helpers.tiny_models import FAMILIES


SETTINGS = {
    "image_size": 64,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": (2, 2, 2),
    "num_heads": (1, 2, 4),
    "window_size": 4,
    "decoder_hidden_size": 32,
    "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 64,
}


class MetaOnly(TorchDispatchMode):
    """Raises where an operator returns a tensor on a different device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                raise AssertionError(f"{func} returned a tensor on {tensor.device}")
        return outputs


def make_masked_inputs(config: GreenMimConfig, per_sample: bool = True) -> dict:
    mask = torch.from_numpy(sample_masks(4, (8, 8), 0.75, seed=0, per_sample=per_sample))
    inputs = {"pixel_values": torch.empty(4, 3, 64, 64), "bool_masked_pos": mask, "plan": make_plan(mask, config)}
    return send_to_device(inputs, "meta")


def take_step(model: torch.nn.Module, inputs: dict, get_loss=lambda outputs: outputs.loss):
    """Forward and backward of a model on the meta device; every parameter gets its gradient there."""
    model = model.to("meta").train()
    with MetaOnly():
        get_loss(model(**inputs)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.device.type == "meta", name


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("per_sample", [True, False], ids=["own masks", "shared mask"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"token_mixers": "window"},
        {"token_mixers": "mask_unit"},
        {"token_mixers": "global"},
        {"use_absolute_embeddings": True, "drop_path_rate": 0.1, "hidden_dropout_prob": 0.1},
        FAMILIES["swin_v2"],
        FAMILIES["twins"],
    ],
    ids=["swin", "window", "mask_unit", "global", "positions and dropout", "swin_v2", "twins"],
)
def test_a_masked_step_waits_for_nothing(settings, per_sample, attn_implementation):
    config = GreenMimConfig(**SETTINGS, **settings, attn_implementation=attn_implementation)
    take_step(GreenMimForMaskedImageModeling(config), make_masked_inputs(config, per_sample))


OTHER_OPERATORS = {
    "dilated": {"token_mixers": "dilated", "embed_dim": 24, "num_heads": 3},
    "cluster": {"token_mixers": "cluster", "norm_type": "group"},
    "gaussian_mixture": {"score_modulation": "gaussian_mixture"},
}


@pytest.mark.parametrize("per_sample", [True, False], ids=["own masks", "shared mask"])
@pytest.mark.parametrize("name", OTHER_OPERATORS)
def test_a_masked_step_of_other_operators_waits_for_nothing(name, per_sample):
    config = GreenMimConfig(**{**SETTINGS, **OTHER_OPERATORS[name]})
    take_step(GreenMimForMaskedImageModeling(config), make_masked_inputs(config, per_sample))


@pytest.mark.parametrize("image_size", [(64, 64), (61, 67)], ids=["whole windows", "padded"])
@pytest.mark.parametrize("name", OTHER_OPERATORS)
def test_a_step_of_other_operators_on_full_images_waits_for_nothing(name, image_size):
    model = GreenMimModel(GreenMimConfig(**{**SETTINGS, **OTHER_OPERATORS[name]}))
    inputs = {"pixel_values": torch.empty(4, 3, *image_size, device="meta")}
    take_step(model, inputs, lambda outputs: outputs.pooler_output.mean())


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
def test_a_step_with_gradient_checkpointing_waits_for_nothing():
    model = GreenMimForMaskedImageModeling(GreenMimConfig(**SETTINGS))
    model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    take_step(model, make_masked_inputs(model.config))


@pytest.mark.parametrize("image_size", [(64, 64), (61, 67)], ids=["whole windows", "padded"])
@pytest.mark.parametrize("token_mixers", [None, "mask_unit", "global"])
def test_a_step_on_full_images_waits_for_nothing(token_mixers, image_size):
    model = GreenMimForImageClassification(GreenMimConfig(**SETTINGS, token_mixers=token_mixers))
    labels = torch.zeros(4, dtype=torch.long, device="meta")
    take_step(model, {"pixel_values": torch.empty(4, 3, *image_size, device="meta"), "labels": labels})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_of_a_backbone_waits_for_nothing(family):
    model = GreenMimBackbone(
        GreenMimConfig(**SETTINGS, **FAMILIES[family], out_features=["stage1", "stage2", "stage3"])
    )
    inputs = {"pixel_values": torch.empty(2, 3, 61, 67, device="meta")}
    take_step(model, inputs, lambda outputs: sum(feature_map.mean() for feature_map in outputs.feature_maps))


def leave_on_the_cpu(index):
    return index + torch.arange(1)


def read_a_value(index):
    return index.clamp(max=int(index.max()))


def index_by_booleans(index):
    return index[index >= 0]


def move_through_the_host(index):
    return index.cpu().to(index.device)


@pytest.mark.parametrize("fault", [leave_on_the_cpu, read_a_value, index_by_booleans, move_through_the_host])
def test_planted_faults_are_found(monkeypatch, fault):
    prepare = GreenMimWindowAttention.prepare.__func__

    def prepare_with_a_fault(cls, *args):
        groups = prepare(cls, *args)
        return groups._replace(scatter_index=fault(groups.scatter_index))

    monkeypatch.setattr(GreenMimWindowAttention, "prepare", classmethod(prepare_with_a_fault))
    config = GreenMimConfig(**SETTINGS)
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
        take_step(GreenMimForMaskedImageModeling(config), make_masked_inputs(config))
