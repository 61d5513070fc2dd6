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
"""Sharded training (FSDP2) on a CPU with torch's `fully_shard`: on a CPU, Accelerate silently uses DDP."""

import copy
import os
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from modeling_greenmim import GreenMimConfig, GreenMimDataCollator, GreenMimForMaskedImageModeling


NUM_STEPS = 4


def make_model() -> GreenMimForMaskedImageModeling:
    torch.manual_seed(0)
    config = GreenMimConfig(
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        decoder_hidden_size=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    return GreenMimForMaskedImageModeling(config).train()


def train(model: torch.nn.Module, config: GreenMimConfig, rank: int, world_size: int):
    """Train a few steps on this process's part of each step's images."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-3)
    collator = GreenMimDataCollator(config)
    for step in range(NUM_STEPS):
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        examples = [{"pixel_values": image, "mask_seed": (step, index)} for index, image in enumerate(images)]
        model(**collator(examples[rank::world_size])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def train_sharded(rank: int, folder: str):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = make_model()
    config = copy.deepcopy(model.config)
    mesh = init_device_mesh("cpu", (2,))
    for module in model.modules():
        if type(module).__name__ in model._no_split_modules:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    table = next(parameter for name, parameter in model.named_parameters() if name.endswith("mlp.fc1.weight"))
    assert table.to_local().numel() == table.numel() // 2
    train(model, config, rank, world_size=2)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state_dict = get_model_state_dict(model, options=options)
    if rank == 0:
        make_model().save_pretrained(Path(folder) / "model", state_dict=state_dict)
    distributed.barrier()
    distributed.destroy_process_group()
    # skip the interpreter's shutdown, which a gloo thread can abort ("terminate called without an active exception";
    # seen once)
    os._exit(0)


def test_sharded_training_is_that_of_one_process(tmp_path):
    torch.multiprocessing.spawn(train_sharded, (str(tmp_path),), nprocs=2)
    sharded = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "model")
    reference, start = make_model(), make_model()
    train(reference, reference.config, rank=0, world_size=1)
    for (name, expected), actual, before in zip(
        reference.named_parameters(), sharded.parameters(), start.parameters()
    ):
        assert not torch.equal(expected, before), name
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
