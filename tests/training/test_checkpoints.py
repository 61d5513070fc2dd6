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
"""Checkpoints: restored state, rejected files, no code execution, and errors when writing fails."""

import io
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import get_scheduler

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from modeling_greenmim.parameter_groups import make_parameter_groups
from modeling_greenmim.training import checkpoints as checkpoints_module
from modeling_greenmim.training.checkpoints import Checkpoints, check_same_run_config
from modeling_greenmim.training.errors import UserError


CONFIG = GreenMimConfig(
    image_size=32,
    patch_size=2,
    embed_dim=8,
    depths=(1, 1),
    num_heads=(1, 2),
    window_size=4,
    decoder_hidden_size=16,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=32,
)
RUN_CONFIG = {"a": 1, "b": 3}


class Training:
    """A model, an optimizer and a schedule; each step draws its gradients from the step number."""

    def __init__(self, folder: Path, seed: int = 0, model=None):
        torch.manual_seed(seed)
        self.model = model or GreenMimForMaskedImageModeling(CONFIG)
        accelerator = Accelerator(cpu=True)
        optimizer = torch.optim.AdamW(make_parameter_groups(self.model, 1e-3, 0.05), betas=(0.9, 0.95))
        self.scheduler = get_scheduler("cosine", optimizer, 2, 10)
        self.optimizer = accelerator.prepare(optimizer) if model is None else optimizer
        self.checkpoints = Checkpoints(
            accelerator, folder, 2, GreenMimImageProcessorPil(), self.model, optimizer, self.scheduler
        )

    def step(self, number: int):
        for index, parameter in enumerate(self.model.parameters()):
            full = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * number + index))
            if isinstance(parameter, DTensor):
                full = distributed.tensor.distribute_tensor(full, parameter.device_mesh, parameter.placements)
            parameter.grad = full
        self.optimizer.step()
        self.scheduler.step()

    def save(self, step: int, process_state: dict | None = None) -> Path:
        return self.checkpoints.save(step, {"run_config": RUN_CONFIG, "progress": {"step": step}}, process_state)

    def load(self, folder: Path, run_config: dict | None = None):
        return self.checkpoints.load(folder, RUN_CONFIG if run_config is None else run_config)


def get_weights(model) -> dict[str, torch.Tensor]:
    state_dict = model.state_dict()
    return {
        name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for name, tensor in state_dict.items()
    }


def assert_same(first, second):
    first, second = get_weights(first), get_weights(second)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_restored_training_continues_bit_for_bit(tmp_path):
    training = Training(tmp_path)
    for number in range(3):
        training.step(number)
    folder = training.save(3, {"loader": [1, 2]})
    restored = Training(tmp_path, seed=1)
    run_state, process_state = restored.load(folder)
    assert run_state["progress"] == {"step": 3} and process_state == {"loader": [1, 2]}
    for number in range(3, 6):
        training.step(number)
        restored.step(number)
    assert_same(training.model, restored.model)
    assert training.scheduler.state_dict() == restored.scheduler.state_dict()
    GreenMimForMaskedImageModeling.from_pretrained(folder)


def test_old_checkpoints_are_removed_and_leftovers_too(tmp_path):
    (tmp_path / ".new-checkpoint-9").mkdir()
    (tmp_path / ".old-checkpoint-8").mkdir()
    (tmp_path / "checkpoint-best").mkdir()  # of the user
    training = Training(tmp_path)
    for step in (1, 2, 10):
        training.save(step)
    assert [folder.name for folder in training.checkpoints.list()] == ["checkpoint-2", "checkpoint-10"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2", "checkpoint-best"]


class Marker:
    """Hostile object in a checkpoint: it creates a marker file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [lambda content, path: path.write_bytes(pickle.dumps(content)), torch.save])
def test_no_pickle_of_a_checkpoint_is_executed(tmp_path, write):
    """Plant one in every file of the checkpoint, and in the files of version 0.1 and Accelerate."""
    training = Training(tmp_path)
    folder = training.save(1, {"loader": 1})
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert {"run.json", "training_state.pt", "model.safetensors"} <= set(names)
    names += [
        "custom_checkpoint_0.pkl",
        "random_states_0.pkl",
        "process0.pt",
        "optimizer.pt",
        "optimizer.bin",
        "scheduler.bin",
        "pytorch_model.bin",
    ]
    mark = tmp_path / "executed"
    refused = []
    for name in names:
        path = folder / name
        content = path.read_bytes() if path.is_file() else None
        write(Marker(mark), path)
        try:
            Training(tmp_path).load(folder)
        except UserError as error:
            assert "damaged" in str(error)
            refused.append(name)
        assert not mark.exists(), name
        path.unlink() if content is None else path.write_bytes(content)
    assert sorted(refused) == ["model.safetensors", "run.json", "training_state.pt"]
    pickle.loads(pickle.dumps(Marker(mark)))
    assert mark.exists(), "the marker does not work"


@pytest.mark.parametrize("name", ["run.json", "model.safetensors", "training_state.pt"])
def test_a_damaged_checkpoint_is_named_with_the_others(tmp_path, name):
    training = Training(tmp_path)
    training.save(1, {"loader": 1})
    folder = training.save(2, {"loader": 1})
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(
        UserError, match="checkpoint-2 because it is damaged .*resume from another one: .*checkpoint-1"
    ):
        training.load(folder)


def test_a_checkpoint_of_0_1_is_refused_clearly(tmp_path):
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"run_config": {}, "progress": {"step": 7}}))
    with pytest.raises(
        UserError,
        match="because a different version .0.1, or a newer one. wrote it.*--model_name_or_path .*checkpoint-7",
    ):
        Training(tmp_path).load(folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_full_disk_is_called_so_although_torch_does_not(tmp_path, monkeypatch):
    """One write succeeds and the next fails: torch then reports its position in the file."""
    training = Training(tmp_path)
    training.save(1)

    class FullFile(io.FileIO):
        def write(self, content):
            if self.tell() + len(content) <= 1000:
                return super().write(content)
            with open("/dev/full", "wb", buffering=0) as full:
                return full.write(content)

    save = torch.save
    monkeypatch.setattr(checkpoints_module.torch, "save", lambda state, file: save(state, FullFile(file.name, "w")))
    with pytest.raises(
        UserError, match="Cannot write .*checkpoint-2 .*No space left.*last good checkpoint is .*checkpoint-1"
    ):
        training.save(2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


# Settings that a run depends on


def test_a_checkpoint_of_other_settings_is_refused_with_what_differs(tmp_path):
    training = Training(tmp_path)
    folder = training.save(1)
    with pytest.raises(
        UserError, match="checkpoint-1: a is 1 in the checkpoint, 2 now; c is None in .*, 4 now. Use the"
    ):
        training.load(folder, {**RUN_CONFIG, "a": 2, "c": 4})


def test_a_field_that_a_later_version_gave_the_configuration_has_its_default_in_older_checkpoints(tmp_path):
    training = Training(tmp_path)
    folder = training.save(1)
    training.load(folder, {**RUN_CONFIG, "norm_placement": "before"})
    with pytest.raises(UserError, match="norm_placement is before in the checkpoint, after now"):
        training.load(folder, {**RUN_CONFIG, "norm_placement": "after"})


def test_processes_that_see_different_data_are_told_what_differs(monkeypatch):
    run_configs = [{"files (checksum of names)": 1, "seed": 0}, {"files (checksum of names)": 1, "seed": 0}]
    monkeypatch.setattr(checkpoints_module, "gather_object", lambda objects: run_configs)
    check_same_run_config(run_configs[0])
    run_configs.append({"files (checksum of names)": 2, "seed": 0})
    with pytest.raises(UserError, match="processes 0 and 2 see .*names. is 1 in process 0, 2 in process 2"):
        check_same_run_config(run_configs[0])


# Sharded weights


def train_sharded(rank: int, folder: str, checkpoint: str):
    """Two processes with sharded weights resume from a one-process checkpoint and write a new one."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(1)
    model = GreenMimForMaskedImageModeling(CONFIG)
    mesh = init_device_mesh("cpu", (2,))
    for module in model.modules():
        if type(module).__name__ in model._no_split_modules:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    training = Training(Path(folder), model=model)
    training.load(Path(checkpoint))
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    training.step(2)
    training.save(3)
    distributed.barrier()
    os._exit(0)  # skip gloo's shutdown, which can abort


def test_a_checkpoint_of_one_process_is_continued_by_two_that_shard_and_by_one_again(tmp_path):
    training = Training(tmp_path / "one")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for number in range(2):
        training.step(number)
    folder = training.save(2)
    arguments = (str(tmp_path / "two"), str(folder))
    torch.multiprocessing.spawn(train_sharded, arguments, nprocs=2)
    restored = Training(tmp_path / "two", seed=1)
    restored.load(tmp_path / "two" / "checkpoint-3")
    for number in range(2, 4):
        training.step(number)
    restored.step(3)
    for (name, expected), actual in zip(training.model.named_parameters(), restored.model.parameters()):
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8, msg=name)
