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
"""What transformers' Trainer is missing for runs that are stopped: a stop that saves, and checkpoints that are known to be whole."""

from pathlib import Path

from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from ..checkpoint_folders import load_checkpoint
from .command_line import StoppedBySignal, UserError
from .stop_signals import StopSignals


STATE_FILE = "trainer_state.json"  # what the Trainer writes last


def find_checkpoint(output_dir: str | Path, wanted: str | None) -> str | None:
    """
    The checkpoint that `--resume_from_checkpoint` means.

    Args:
        output_dir (`str` or `Path`):
            Folder of the run.
        wanted (`str`, *optional*):
            `latest`, or a folder.

    Returns:
        `str`, or `None` if the run starts: also where `latest` finds none that was written whole.

    Raises:
        [`UserError`]: if a run would be written over, or there is no such checkpoint.
    """
    output_dir = Path(output_dir)
    if (output_dir / "model").exists():
        raise UserError(f"--output_dir {output_dir} has a model already. Choose another folder.")
    found = [path for path in output_dir.glob("checkpoint-*") if path.name.rpartition("-")[2].isdigit()]
    found = sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / STATE_FILE).is_file()]
    if wanted is None and found:
        raise UserError(
            f"--output_dir {output_dir} holds a run already. Go on with it: --resume_from_checkpoint latest. Or choose another "
            "folder."
        )
    if wanted is None:
        return None
    if wanted == "latest":
        return str(whole[-1]) if whole else None
    if Path(wanted).resolve() not in [path.resolve() for path in whole]:
        raise UserError(
            f"--resume_from_checkpoint {wanted} is not a checkpoint that this run can go on from: one in {output_dir}, with a "
            f"{STATE_FILE}. There are: {', '.join(path.name for path in whole) or 'none'}."
        )
    return wanted


class CheckpointTrainer(Trainer):
    """
    A Trainer that takes all weights of a checkpoint. transformers 5 stores those of Swin under the names that they had in release
    4, and its Trainer looks for those that they have now: it would go on without most of the encoder, or end without it. Arguments
    are those of [`~transformers.Trainer`].
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
        """Raises a [`UserError`] if they are those of another model."""
        try:
            loaded = load_checkpoint(type(self.model), checkpoint, dtype=self.model.dtype)
            self.model.load_state_dict(loaded.state_dict())
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{checkpoint} is not of the model of this run: {' '.join(str(error).split())} A run goes on with the arguments that "
                "it began with."
            ) from error


class StopCallback(TrainerCallback):
    """
    After Ctrl-C or SIGTERM, saves a checkpoint at the end of the step, and ends the training.

    Args:
        signals ([`StopSignals`]):
            What tells that it is asked for.

    Attributes:
        stopped_by (`int`):
            Number of the signal that ended the training, 0 for none.
    """

    def __init__(self, signals: StopSignals):
        self.signals = signals
        self.stopped_by = 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs):
        stopped_by = self.signals.get_agreed()
        if stopped_by and state.global_step < state.max_steps:
            self.stopped_by = stopped_by
            control.should_save = control.should_training_stop = True
            # else the Trainer would remove this checkpoint at the end, if it is not the best
            args.save_total_limit, args.load_best_model_at_end = None, False

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs):
        # in the middle of an epoch, which the Trainer takes for its end
        if self.stopped_by and state.epoch % 1 > 0:
            control.should_evaluate = control.should_save = False


def train(trainer: Trainer, checkpoint: str | None) -> dict[str, float]:
    """
    Trains to the end.

    Args:
        trainer ([`~transformers.Trainer`]):
            The Trainer.
        checkpoint (`str`, *optional*):
            What to go on from.

    Returns:
        `dict[str, float]`: metrics of the training.

    Raises:
        [`StoppedBySignal`]: after Ctrl-C or SIGTERM, when a checkpoint is written.
    """
    with StopSignals() as signals:
        callback = StopCallback(signals)
        trainer.add_callback(callback)
        metrics = trainer.train(checkpoint).metrics
    if callback.stopped_by:
        raise StoppedBySignal(
            f"Stopped after step {trainer.state.global_step}, as asked. --resume_from_checkpoint latest goes on.",
            callback.stopped_by,
        )
    return metrics
