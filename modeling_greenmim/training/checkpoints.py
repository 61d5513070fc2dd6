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
"""Checkpoints of a run: written whole or not at all, read without trusting them, by any number of processes."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from transformers import BaseImageProcessor, PreTrainedModel

from .errors import UserError


RUN_FILE = "run.json"
FORMAT = 2  # 0.1 wrote none
# also those of torch and safetensors on a full disk
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)


@dataclass
class Checkpoints:
    """
    Writes and reads the checkpoints of a run, in folders `checkpoint-{step}`.

    A checkpoint is a model folder, with `optimizer.pt`; `run.json` with what all processes have in common, also the schedule; and, for
    streams, `process{rank}.pt` with the state of the loader of each process. Weights and optimizer are those of one process, whatever
    they are divided among. There are no random states: those of a step follow from the seed and its number. Nothing is unpickled:
    `torch.load` reads with `weights_only=True`.

    Args:
        accelerator ([`~accelerate.Accelerator`]):
            Knows the processes.
        output_dir (`Path`):
            Folder of the run, shared by all processes.
        total_limit (`int`):
            Number of checkpoints to keep.
        image_processor ([`GreenMimImageProcessorPil`]):
            Saved next to the weights.
        model, optimizer, scheduler:
            What is trained; model and optimizer as prepared by the accelerator.
    """

    accelerator: Accelerator
    output_dir: Path
    total_limit: int
    image_processor: BaseImageProcessor
    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler

    def __post_init__(self):
        self.optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # that of torch, not of Accelerate
        self._clean()

    def save(self, step: int, run_state: dict, process_state: dict | None = None) -> Path:
        """
        Writes a checkpoint, and removes those above the limit. Collective.

        Args:
            step (`int`):
                The step it is of.
            run_state (`dict`):
                For `run.json`; the same in every process.
            process_state (`dict`, *optional*):
                What this process has of its own.

        Returns:
            `Path`: the folder.

        Raises:
            [`UserError`]: in every process, if any could not write. The checkpoints before it stay.
        """
        folder = self.output_dir / f"checkpoint-{step}"
        new = self.output_dir / f".new-{folder.name}"
        is_main = self.accelerator.is_main_process
        # collective, so not in the parts below, which may fail in one process
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights = get_model_state_dict(self.model, options=options)
        optimizer_state = get_optimizer_state_dict(self.model, self.optimizer, options=options)

        def create():
            if is_main:
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()

        def write():
            if process_state is not None:
                torch.save(process_state, new / f"process{self.accelerator.process_index}.pt")
            if is_main:
                self.accelerator.unwrap_model(self.model).save_pretrained(new, state_dict=weights)
                self.image_processor.save_pretrained(new)
                torch.save(optimizer_state, new / "optimizer.pt")
                scaler_state = self.accelerator.scaler and self.accelerator.scaler.state_dict()
                states = {"scheduler": self.scheduler.state_dict(), "scaler": scaler_state}
                content = {**run_state, **states, "format": FORMAT, "has_process_states": process_state is not None}
                (new / RUN_FILE).write_text(json.dumps(content))

        def put_in_place():
            if is_main:
                _flush(*new.rglob("*"), new)
                _remove(folder)
                new.rename(folder)
                _flush(self.output_dir)
                for old in self.list()[: -self.total_limit]:
                    _remove(old)

        for part in (create, write, put_in_place):
            self._run_everywhere(part, f"Cannot write {folder}", self.describe_last())
        return folder

    def list(self) -> list[Path]:
        """The checkpoints there are, the oldest first."""
        folders = [folder for folder in self.output_dir.glob("checkpoint-*") if (folder / RUN_FILE).is_file()]
        return sorted((folder for folder in folders if _get_step(folder) is not None), key=_get_step)

    def describe_last(self) -> str:
        """How to resume, for a message."""
        if not (folders := self.list()):
            return "There is no checkpoint yet."
        return f"The last good checkpoint is {folders[-1]}: resume from it with --resume_from_checkpoint latest."

    def find(self, resume_from_checkpoint: str | None) -> Path | None:
        """The folder that `--resume_from_checkpoint` means; `None` if it is not given, or there is none yet."""
        if resume_from_checkpoint == "latest":
            return folders[-1] if (folders := self.list()) else None
        if resume_from_checkpoint is None:
            return None
        folder = Path(resume_from_checkpoint)
        if not (folder / RUN_FILE).is_file():
            known = ", ".join(map(str, self.list())) or "none"
            raise UserError(
                f"--resume_from_checkpoint must be a checkpoint, got {folder}, which has no {RUN_FILE}. Those of this run: {known}."
            )
        step = _get_step(folder)
        newer = [other for other in self.list() if step is not None and _get_step(other) > step]
        if newer:
            raise UserError(
                f"Cannot resume from {folder} because {self.output_dir} has checkpoints of later steps, such as {newer[-1].name}. "
                "Remove them, or choose another --output_dir."
            )
        return folder

    def read(self, folder: Path) -> dict:
        """
        Reads what all processes have in common.

        Raises:
            [`UserError`]: if the checkpoint is damaged, or of a version that cannot be resumed.
        """
        run_state = self._read_everywhere(lambda: json.loads((folder / RUN_FILE).read_text()), folder)
        if run_state.get("format") != FORMAT:
            raise UserError(
                f"Cannot resume from {folder} because version 0.1, or a later one, wrote it. Finish the run with that version, or start a new one from "
                f"its weights: --model_name_or_path {folder}, with another --output_dir."
            )
        return run_state

    def load(self, folder: Path, run_state: dict) -> dict | None:
        """
        Restores model, optimizer and schedule. Collective.

        Args:
            folder (`Path`):
                A checkpoint.
            run_state (`dict`):
                What `read` returned.

        Returns:
            The state of this process that was given to `save`, `None` if there was none.

        Raises:
            [`UserError`]: if the checkpoint is damaged.
        """

        def read() -> tuple[dict, dict, dict | None]:
            process_state, optimizer_state = None, torch.load(folder / "optimizer.pt", "cpu", weights_only=True)
            if run_state["has_process_states"]:
                path = folder / f"process{self.accelerator.process_index}.pt"
                process_state = torch.load(path, "cpu", weights_only=True)
            return load_file(folder / "model.safetensors"), optimizer_state, process_state

        def restore():
            set_model_state_dict(self.model, weights, options=options)
            set_optimizer_state_dict(self.model, self.optimizer, optimizer_state, options=options)
            self.scheduler.load_state_dict(run_state["scheduler"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(run_state["scaler"])

        options = StateDictOptions(full_state_dict=True)
        weights, optimizer_state, process_state = self._read_everywhere(read, folder)
        self._read_everywhere(restore, folder)
        return process_state

    def _run_everywhere(self, part: Callable, failure: str, remedy: str, errors=WRITE_ERRORS):
        """Runs a part in all processes, and raises a [`UserError`] in all of them if it failed in one. Returns its result."""
        result = reason = None
        try:
            result = part()
        except errors as error:
            reason = self._find_reason(error)
        reasons = [reason for reason in gather_object([reason]) if reason is not None]
        if reasons:
            self._clean()
            self.accelerator.wait_for_everyone()
            raise UserError(f"{failure} ({reasons[0]}). {remedy}")
        return result

    def _read_everywhere(self, part: Callable, folder: Path):
        others = ", ".join(str(other) for other in self.list() if other.name != folder.name) or "none"
        remedy = f"Remove it, and resume from another one: {others}."
        # damaged files raise anything
        return self._run_everywhere(part, f"Cannot load {folder} because it is damaged", remedy, Exception)

    def _clean(self):
        """Removes what is half written, or half removed."""
        if self.accelerator.is_main_process:
            for folder in (*self.output_dir.glob(".new-checkpoint-*"), *self.output_dir.glob(".old-checkpoint-*")):
                shutil.rmtree(folder, ignore_errors=True)

    def _find_reason(self, error: Exception) -> str:
        """What went wrong; torch and safetensors do not tell when the disk is full."""
        if isinstance(error, WRITE_ERRORS) and not isinstance(error, OSError):
            try:
                with tempfile.TemporaryFile(dir=self.output_dir) as file:
                    file.write(bytes(2**20))
            except OSError as found:
                error = found
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space left for {self.output_dir}: make room"
        return f"{type(error).__name__}: {str(error).strip() or 'no more is known'}".splitlines()[0]


def check_same_run_config(run_config: dict):
    """
    Compares what the processes are about to train on. Collective.

    Args:
        run_config (`dict`):
            Every setting that the run depends on, of this process.

    Raises:
        [`UserError`]: in every process, if it differs.
    """
    run_configs = gather_object([run_config])
    for rank, other in enumerate(run_configs):
        if changes := describe_changes(run_configs[0], other, "in process 0", f"in process {rank}"):
            raise UserError(
                f"Cannot train because processes 0 and {rank} see different data or settings: {changes}. All nodes need the same "
                "files, command and versions."
            )


def check_run_config(saved: dict, current: dict, folder: Path, remedy: str):
    """Raises an error that names what differs from the run that a checkpoint is of."""
    if changes := describe_changes(saved, current, "in the checkpoint", "now"):
        raise UserError(
            f"Cannot resume from {folder}: {changes}. {remedy}, or start a new run from its weights: "
            f"--model_name_or_path {folder}, with another --output_dir."
        )


def describe_changes(first: dict, second: dict, in_first: str, in_second: str) -> str:
    """What differs, in words; an empty string if nothing does."""
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return "; ".join(f"{name} is {first.get(name)} {in_first}, {second.get(name)} {in_second}" for name in names)


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
