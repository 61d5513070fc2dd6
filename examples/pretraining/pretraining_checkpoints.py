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
"""Checkpoints of a run: written whole or not at all, and enough to go on exactly, in every process."""

import json
import os
import pickle
import shutil
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object, load
from accelerate.utils.constants import RNG_STATE_NAME
from safetensors import SafetensorError
from safetensors.torch import load_model

from example_command import UserError


RUN_FILE = "run.json"
# those of torch and safetensors on a full disk, too
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)


class Checkpoints:
    """
    Writes and reads the checkpoints of a run, in folders `checkpoint-{step}`.

    A checkpoint has weights, optimizer, schedule and random states as Accelerate writes them (the weights, but for FSDP, as
    `save_pretrained` does, so that a checkpoint is also a model folder); `run.json` with what all processes have in common; and
    `process{rank}.pt` with what each has of its own, above all the state of its loader, which Accelerate would write to one
    file for all.

    Args:
        accelerator ([`~accelerate.Accelerator`]):
            With model, optimizer and schedule prepared or registered.
        output_dir (`Path`):
            Folder of the run, shared by all processes.
        total_limit (`int`):
            Number of checkpoints to keep.
        image_processor ([`GreenMimImageProcessorPil`]):
            Saved beside the weights.
    """

    def __init__(self, accelerator: Accelerator, output_dir: Path, total_limit: int, image_processor):
        self.accelerator = accelerator
        self.output_dir = output_dir
        self.total_limit = total_limit
        self.image_processor = image_processor
        if accelerator.distributed_type != DistributedType.FSDP:
            accelerator.register_save_state_pre_hook(self._save_weights)
            accelerator.register_load_state_pre_hook(self._load_weights)
        if accelerator.is_main_process:
            # what a killed process has left half written, or half removed
            for folder in (*output_dir.glob(".new-*"), *output_dir.glob(".old-*")):
                shutil.rmtree(folder, ignore_errors=True)

    def save(self, step: int, run_state: dict, process_state: dict) -> Path:
        """
        Writes a checkpoint, and removes those above the limit.

        Args:
            step (`int`):
                The step it is of.
            run_state (`dict`):
                For `run.json`; the same in every process.
            process_state (`dict`):
                What this process has of its own.

        Returns:
            `Path`: the folder.

        Raises:
            [`UserError`]: in every process, if any could not write. The checkpoints before it stay.
        """
        folder = self.output_dir / f"checkpoint-{step}"
        new = self.output_dir / f".new-{folder.name}"
        rank = self.accelerator.process_index

        def create():
            if self.accelerator.is_main_process:
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()

        def write():
            # first, as the state of the loader is not a copy, and goes on to change
            torch.save(process_state, new / f"process{rank}.pt")
            self.accelerator.save_state(str(new))
            if self.accelerator.is_main_process:
                (new / RUN_FILE).write_text(json.dumps(run_state))

        def put_in_place():
            if self.accelerator.is_main_process:
                _flush(*new.rglob("*"), new)
                _remove(folder)
                new.rename(folder)
                _flush(self.output_dir)
                for old in self.list()[: -self.total_limit]:
                    _remove(old)

        for part in (create, write, put_in_place):
            self._run_everywhere(part, folder, new)
        return folder

    def list(self) -> list[Path]:
        """The checkpoints there are, the oldest first."""
        folders = [folder for folder in self.output_dir.glob("checkpoint-*") if (folder / RUN_FILE).is_file()]
        return sorted((folder for folder in folders if _get_step(folder) is not None), key=_get_step)

    def describe_last(self) -> str:
        """How to go on, for a message."""
        if not (folders := self.list()):
            return "There is no checkpoint yet."
        return f"The last good checkpoint is {folders[-1]}: go on from it with --resume_from_checkpoint latest."

    def find(self, resume_from_checkpoint: str | None) -> Path | None:
        """The folder that `--resume_from_checkpoint` means; `None` if it is not given, or there is none yet."""
        if resume_from_checkpoint == "latest":
            return folders[-1] if (folders := self.list()) else None
        if resume_from_checkpoint is None:
            return None
        folder = Path(resume_from_checkpoint)
        if not (folder / RUN_FILE).is_file():
            known = ", ".join(str(each) for each in self.list()) or "none"
            raise UserError(
                f"--resume_from_checkpoint {folder} is not a checkpoint: it has no {RUN_FILE}. Those of this run: {known}."
            )
        step = _get_step(folder)
        newer = [each for each in self.list() if step is not None and _get_step(each) > step]
        if newer:
            raise UserError(
                f"--resume_from_checkpoint {folder}: {self.output_dir} has checkpoints of later steps, such as {newer[-1].name}. "
                "Remove them, or give another --output_dir."
            )
        return folder

    def load(self, folder: Path, run_config: dict) -> tuple[dict, dict]:
        """
        Puts model, optimizer, schedule and random states back.

        Args:
            folder (`Path`):
                A checkpoint.
            run_config (`dict`):
                Every setting that the run depends on. It must be that of the checkpoint.

        Returns:
            The two states given to `save`.

        Raises:
            [`UserError`]: if the run_config is another one, or the checkpoint is damaged.
        """
        try:
            run_state = json.loads((folder / RUN_FILE).read_text())
            check_run_config(run_state["run_config"], run_config, folder)
            # Accelerate would go on without them, with a line in its log
            load(folder / f"{RNG_STATE_NAME}_{self.accelerator.process_index}.pkl")
            self.accelerator.load_state(str(folder))
            path = folder / f"process{self.accelerator.process_index}.pt"
            return run_state, torch.load(path, weights_only=True)
        except (*WRITE_ERRORS, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no more is known'}"
            others = ", ".join(str(each) for each in self.list() if each.name != folder.name) or "none"
            raise UserError(
                f"{folder} cannot be loaded: it is damaged ({reason}). Remove it, and go on from another one: {others}."
            ) from error

    def _run_everywhere(self, part, folder: Path, new: Path):
        """Runs a part of the writing in all processes, and raises in all of them if it failed in one."""
        error = None
        try:
            part()
        except WRITE_ERRORS as caught:
            error = f"{type(caught).__name__}: {caught}".splitlines()[0]
        failures = [each for each in gather_object([error]) if each is not None]
        if failures:
            if self.accelerator.is_main_process:
                shutil.rmtree(new, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            raise UserError(
                f"{folder} could not be written ({failures[0]}). Make room, or write somewhere else. {self.describe_last()}"
            )

    def _save_weights(self, models: list, weights: list, output_dir: str):
        weights.clear()
        if self.accelerator.is_main_process:
            self.accelerator.unwrap_model(models[0]).save_pretrained(output_dir)
            self.image_processor.save_pretrained(output_dir)

    def _load_weights(self, models: list, input_dir: str):
        load_model(self.accelerator.unwrap_model(models.pop()), Path(input_dir) / "model.safetensors")


def check_run_config(saved: dict, current: dict, folder: Path):
    """Raises an error that names what differs from the run that a checkpoint is of."""
    names = [name for name in {**saved, **current} if saved.get(name) != current.get(name)]
    if names:
        changes = "; ".join(f"{name} was {saved.get(name)}, is {current.get(name)}" for name in names)
        raise UserError(
            f"{folder} is of a run that these settings would not go on with: {changes}. Go on with those of the checkpoint, or "
            f"start a new run from its weights: --model_name_or_path {folder}, with another --output_dir."
        )


def _get_step(folder: Path) -> int | None:
    """The step that a folder is named after; `None` for other names."""
    number = folder.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else None


def _flush(*paths: Path):
    """Makes sure that files and folders are on the disk, should the power fail."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _remove(folder: Path):
    """Removes a checkpoint; its name goes first, so that a half removed one cannot be taken for a whole one."""
    if folder.exists():
        old = folder.with_name(f".old-{folder.name}")
        folder.rename(old)
        shutil.rmtree(old)
