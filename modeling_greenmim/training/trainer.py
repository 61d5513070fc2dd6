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
"""Stopping and resuming transformers' Trainer: complete checkpoints, and a checkpoint at each stop."""

import json
from pathlib import Path

from huggingface_hub import get_token
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.trainer_utils import sort_checkpoints
from transformers.utils import logging

from ..checkpoint_folders import load_checkpoint
from .command_line import StoppedBySignal, check_num_processes
from .errors import UserError
from .stop_signals import StopSignals


STATE_FILE = "trainer_state.json"  # the Trainer writes it last


def start_run(args: TrainingArguments) -> tuple[str | None, str | None]:
    """
    Checks the settings of a run before anything is loaded. The Trainer itself uploads nothing.

    Returns:
        `str`, *optional*: the checkpoint to resume from; and `str`, *optional*: the repository to upload the model to.

    Raises:
        [`UserError`]: if processes train apart, a run would be overwritten, or nothing could be logged or uploaded.
    """
    if Path(args.output_dir).exists() and not Path(args.output_dir).is_dir():
        raise UserError(f"--output_dir must be a folder, got {args.output_dir}, which is a file.")
    if missing := set(args.report_to) - set(get_available_reporting_integrations()):
        raise UserError(
            f"--report_to {', '.join(missing)}: not installed. Install it, or use TensorBoard, which needs no "
            "account (`pip install tensorboard`)."
        )
    if args.push_to_hub and (args.hub_model_id is None or get_token() is None):
        raise UserError("--push_to_hub needs --hub_model_id and a token. Run `hf auth login`, or set HF_TOKEN.")
    check_num_processes(args.world_size)
    hub_model_id = args.hub_model_id if args.push_to_hub else None
    args.push_to_hub = False
    args.dataloader_pin_memory = args.dataloader_pin_memory and args.device.type != "cpu"
    logging.disable_progress_bar()  # of loading and saving
    return find_checkpoint(args.output_dir, args.resume_from_checkpoint), hub_model_id


def find_checkpoint(output_dir: str | Path, wanted: str | None) -> str | None:
    """
    Finds the checkpoint in the folder of a run that `--resume_from_checkpoint` names: `latest`, or a folder. Returns
    `None` if the run starts from the beginning, also if `latest` finds no complete checkpoint.

    Raises:
        [`UserError`]: if a run would be overwritten, or there is no such checkpoint.
    """
    output_dir = Path(output_dir)
    checkpoints, is_complete = sort_checkpoints(str(output_dir)), (output_dir / "model").exists()
    if is_complete or (wanted is None and checkpoints):
        found = "the model of a complete run. Choose"
        if not is_complete:
            found = "a run. Resume it with --resume_from_checkpoint latest, choose"
        raise UserError(
            f"--output_dir {output_dir} already contains {found} a different --output_dir, or "
            "remove this one to discard the run."
        )
    if wanted is None:
        return None
    whole = [path for path in checkpoints if _is_whole(path)]  # unlike `get_last_checkpoint`
    if wanted == "latest":
        return whole[-1] if whole else None
    if Path(wanted).resolve() not in [Path(path).resolve() for path in whole]:
        raise UserError(
            f"--resume_from_checkpoint must be a complete checkpoint in {output_dir}, with a {STATE_FILE}, got "
            f"{wanted}. Complete checkpoints: {', '.join(Path(path).name for path in whole) or 'none'}."
        )
    return wanted


def _is_whole(checkpoint: str) -> bool:
    try:
        return bool(json.loads((Path(checkpoint) / STATE_FILE).read_text()))
    except (OSError, ValueError):
        return False


class CheckpointTrainer(Trainer):
    """
    Trainer that loads every weight of a checkpoint. transformers 5 saves Swin weights under their names in release 4,
    but its Trainer looks for the current names: it would resume, or end, without most of the encoder. Takes the
    arguments of [`~transformers.Trainer`].
    """

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None):
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_weights(resume_from_checkpoint)

    def _load_best_model(self):
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            self._load_weights(self.state.best_model_checkpoint)

    def _load_weights(self, checkpoint: str):
        """Raises a [`UserError`] if the weights are those of a different model."""
        try:
            loaded = load_checkpoint(type(self.model), checkpoint, dtype=self.model.dtype)
            self.model.load_state_dict(loaded.state_dict())
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{checkpoint} does not match this model: {' '.join(str(error).split())} Resume with the original arguments."
            ) from error

    def _save_rng_state(self, output_dir: str):
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # the state, which completes a checkpoint, comes last


class StopCallback(TrainerCallback):
    """After a stop signal, saves a checkpoint at the end of the step, and ends the training."""

    def __init__(self, signals: StopSignals):
        self.signals = signals
        self.stopped_by = 0  # number of the signal that ended the training

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs):
        stopped_by = self.signals.get_agreed()
        if stopped_by and state.global_step < state.max_steps:
            self.stopped_by = stopped_by
            control.should_save = control.should_training_stop = True
            # otherwise the Trainer would remove this checkpoint at the end, if it is not the best
            args.save_total_limit, args.load_best_model_at_end = None, False

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs):
        # stopped mid-epoch, which the Trainer takes for the end of the epoch
        if self.stopped_by and state.epoch % 1 > 0:
            control.should_evaluate = control.should_save = False


def train(trainer: Trainer, checkpoint: str | None) -> dict[str, float]:
    """
    Trains from a checkpoint or from the start, and returns the training metrics.

    Raises:
        [`StoppedBySignal`]: after a stop signal, once a checkpoint is written.
    """
    with StopSignals() as signals:
        callback = StopCallback(signals)
        trainer.add_callback(callback)
        metrics = trainer.train(checkpoint).metrics
    if callback.stopped_by:
        message = f"Stopped after step {trainer.state.global_step}. Resume with --resume_from_checkpoint latest."
        raise StoppedBySignal(message, callback.stopped_by)
    return metrics
