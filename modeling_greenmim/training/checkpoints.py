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
"""Checkpoints of a run: written atomically, and read without trusting them, by any number of processes."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_file
from torch.distributed.checkpoint import state_dict as distributed_states
from transformers import BaseImageProcessor, PreTrainedModel

from .. import GreenMimConfig
from .errors import UserError


RUN_FILE = "run.json"
STATE_FILE = "training_state.pt"
FORMAT = 2  # version 0.1 wrote none


@dataclass
class Checkpoints:
    """
    Writes and reads the checkpoints of a run, in folders `checkpoint-{step}`.

    A checkpoint is a model folder with `run.json` and `training_state.pt`: optimizer, schedule and, for streams, the
    loader state of each process. Weights and optimizer are saved whole, however they are sharded. Random states follow
    from the seed and the step. Nothing is unpickled: `torch.load` reads with `weights_only=True`. (Accelerate's
    `save_state` unpickles, writes in place, and keeps one state for the loaders of all processes.)
    """

    accelerator: Accelerator
    output_dir: Path  # of the run, shared by all processes
    total_limit: int  # number of checkpoints to keep
    image_processor: BaseImageProcessor  # saved next to the weights
    model: PreTrainedModel  # as prepared by the accelerator
    optimizer: torch.optim.Optimizer  # torch's own, like the scheduler
    scheduler: torch.optim.lr_scheduler.LRScheduler

    def __post_init__(self):
        self._clean()

    def save(self, step: int, run_state: dict, process_state: dict | None = None) -> Path:
        """
        Writes the checkpoint of a step, and removes old ones beyond the limit. Collective. `run_state`, for `run.json`
        and with a `run_config`, is the same in all processes; `process_state` is specific to this process. Raises a
        [`UserError`] in all processes if the checkpoint cannot be written; earlier ones stay.
        """
        folder, new = self.output_dir / f"checkpoint-{step}", self.output_dir / f".new-checkpoint-{step}"
        # collective, so not only in the main process
        options = distributed_states.StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, optimizer_state = distributed_states.get_state_dict(self.model, self.optimizer, options=options)
        training_state = {
            "optimizer": optimizer_state,
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler and self.accelerator.scaler.state_dict(),
            "processes": gather_object([process_state]),
        }

        def write():
            if not self.accelerator.is_main_process:
                return
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            self.accelerator.unwrap_model(self.model).save_pretrained(new, state_dict=weights)
            self.image_processor.save_pretrained(new)
            with (new / STATE_FILE).open("wb") as file:
                torch.save(training_state, file)
            (new / RUN_FILE).write_text(json.dumps({**run_state, "format": FORMAT}))
            _flush(*new.rglob("*"), new)
            _remove(folder)
            new.rename(folder)
            _flush(self.output_dir)
            for old in self.list()[: -self.total_limit]:
                _remove(old)

        self._run_everywhere(write, f"Cannot write {folder}", self.describe_last())
        return folder

    def list(self) -> list[Path]:
        """Existing checkpoints, oldest first."""
        folders = [folder for folder in self.output_dir.glob("checkpoint-*") if (folder / RUN_FILE).is_file()]
        return sorted((folder for folder in folders if _get_step(folder) is not None), key=_get_step)

    def describe_last(self) -> str:
        """How to resume, for a message."""
        if not (folders := self.list()):
            return "There is no checkpoint yet."
        return f"The last good checkpoint is {folders[-1]}. Resume from it with --resume_from_checkpoint latest."

    def find(self, resume_from_checkpoint: str | None) -> Path | None:
        """
        Finds the folder of `--resume_from_checkpoint`. Returns `None` if it is not given, or if it is `latest` and no
        checkpoint exists yet. Raises a [`UserError`] if it is not a checkpoint, or not the last one.
        """
        folders = self.list()
        if resume_from_checkpoint is None or (resume_from_checkpoint == "latest" and not folders):
            return None
        if resume_from_checkpoint == "latest":
            return folders[-1]
        folder = Path(resume_from_checkpoint)
        if not (folder / RUN_FILE).is_file():
            known = ", ".join(map(str, folders)) or "none"
            raise UserError(
                f"--resume_from_checkpoint must be a checkpoint, got {folder}, which has no {RUN_FILE}. "
                f"Checkpoints of this run: {known}."
            )
        step = _get_step(folder)
        if step is not None and folders and _get_step(folders[-1]) > step:
            raise UserError(
                f"Cannot resume from {folder} because {self.output_dir} has checkpoints of later steps, such as "
                f"{folders[-1].name}. Remove them, or choose a different --output_dir."
            )
        return folder

    def load(self, folder: Path, run_config: dict) -> tuple[dict, dict | None]:
        """
        Restores model, optimizer and schedule. Collective. Returns both states passed to `save`, the second only for
        streams. Raises a [`UserError`] in all processes if the checkpoint is damaged, or its run or version differs.
        """
        others = ", ".join(str(other) for other in self.list() if other.name != folder.name) or "none"
        messages = f"Cannot load {folder} because it is damaged", f"Remove it, and resume from another one: {others}."
        run_state = self._run_everywhere(lambda: json.loads((folder / RUN_FILE).read_text()), *messages)
        new_run = f"start a new run from its weights, with --model_name_or_path {folder} and a different --output_dir."
        if run_state.get("format") != FORMAT:
            version = "a different version (0.1, or a newer one) wrote it. Finish the run with that version"
            raise UserError(f"Cannot resume from {folder} because {version}, or {new_run}")
        saved = _add_newer_fields(run_state["run_config"], run_config)
        if changes := describe_changes(saved, run_config, "in the checkpoint", "now"):
            raise UserError(
                f"Cannot resume from {folder}: {changes}. Use the settings of the checkpoint (for streams, also the "
                f"same number of processes and workers), or {new_run}"
            )

        def read() -> tuple[dict, dict]:
            return load_file(folder / "model.safetensors"), torch.load(folder / STATE_FILE, "cpu", weights_only=True)

        def restore() -> dict | None:
            options = distributed_states.StateDictOptions(full_state_dict=True)
            states = {"model_state_dict": weights, "optim_state_dict": state["optimizer"]}
            distributed_states.set_state_dict(self.model, self.optimizer, **states, options=options)
            self.scheduler.load_state_dict(state["scheduler"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            return dict(enumerate(state["processes"])).get(self.accelerator.process_index)

        weights, state = self._run_everywhere(read, *messages)
        return run_state, self._run_everywhere(restore, *messages)

    def _run_everywhere(self, part: Callable, failure: str, remedy: str):
        """Runs `part` in all processes, and returns its result. Raises a [`UserError`] in all if one fails."""
        result = reason = None
        try:
            result = part()
        except Exception as error:  # damaged files raise exceptions of any type
            # torch reports a consequence of the disk error
            error = error.__context__ if isinstance(error.__context__, OSError) else error
            reason = f"{type(error).__name__}: {str(error).strip() or 'no details'}".splitlines()[0]
        reasons = [reason for reason in gather_object([reason]) if reason is not None]
        if reasons:
            self._clean()
            self.accelerator.wait_for_everyone()
            raise UserError(f"{failure} ({reasons[0]}). {remedy}")
        return result

    def _clean(self):
        """Removes partly written and partly removed checkpoints."""
        if self.accelerator.is_main_process:
            for folder in self.output_dir.glob(".*-checkpoint-*"):
                shutil.rmtree(folder, ignore_errors=True)


def check_same_run_config(run_config: dict):
    """
    Compares every setting that the run depends on across processes. Collective. Raises a [`UserError`] in all
    processes if they differ.
    """
    run_configs = gather_object([run_config])
    for rank, other in enumerate(run_configs):
        if changes := describe_changes(run_configs[0], other, "in process 0", f"in process {rank}"):
            raise UserError(
                f"Cannot train because processes 0 and {rank} see different data or settings: {changes}. Use the same "
                "files, command and versions on all nodes."
            )


def describe_changes(first: dict, second: dict, in_first: str, in_second: str) -> str:
    """Describes the differences in words."""
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return "; ".join(f"{name} is {first.get(name)} {in_first}, {second.get(name)} {in_second}" for name in names)


def _add_newer_fields(saved: dict, run_config: dict) -> dict:
    """Adds the model configuration fields that an older checkpoint lacks, with their defaults."""
    names = GreenMimConfig().to_dict().keys()
    config = GreenMimConfig.from_dict({name: value for name, value in saved.items() if name in names}).to_dict()
    return {**{name: config[name] for name in names & run_config.keys()}, **saved}


def _get_step(folder: Path) -> int | None:
    """Step in the name of a folder; `None` for other names."""
    number = folder.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else None


def _flush(*paths: Path):
    """Flushes files and folders to the disk, so that they survive a power failure."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _remove(folder: Path):
    """Removes a checkpoint. It is renamed first, so that a partly removed one is not taken for a complete one."""
    if folder.exists():
        old = folder.with_name(f".old-{folder.name}")
        folder.rename(old)
        shutil.rmtree(old)
