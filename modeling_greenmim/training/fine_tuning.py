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
"""Fine-tuning with transformers' Trainer: a learning rate for each layer, and averaged weights."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainingArguments

from ..parameter_groups import make_parameter_groups
from .command_line import UserError, argument
from .trainer import CheckpointTrainer


EMA_FILE = "ema.pt"


@dataclass
class FineTuningArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] with what fine-tuning of hierarchical models adds, and other defaults."""

    layer_decay: float = argument(
        "The learning rate of each layer is that of the layer above, multiplied by this. 1: the same for all.", 0.8
    )
    ema_decay: float | None = argument(
        "Evaluate and keep a moving average of the weights, with this decay, such as 0.999. Without it, the weights."
    )
    num_train_epochs: float = argument("Epochs to train.", 30.0)
    learning_rate: float = argument("Highest learning rate, that of the last layer.", 1e-3)
    weight_decay: float = argument("Of AdamW, for weight matrices alone.", 0.05)
    lr_scheduler_type: str = argument("Schedule of the learning rate.", "cosine")
    warmup_steps: float = argument("Steps, or below 1 the share of all, in which the learning rate rises.", 0.1)
    eval_strategy: str = argument("When to evaluate: epoch, steps or no.", "epoch")
    save_strategy: str = argument("When to write checkpoints: epoch, steps, best or no.", "epoch")
    save_total_limit: int | None = argument("Checkpoints to keep, beside the best one.", 2)
    load_best_model_at_end: bool = argument("Keep the best of the evaluated models, not the last one.", True)
    resume_from_checkpoint: str | None = argument(
        "'latest' (in --output_dir; if there is none, the run starts), or the folder of a checkpoint."
    )
    # images are decoded here, not by the Trainer
    remove_unused_columns: bool = field(default=False, metadata={"help": "Has to be false."})

    def __post_init__(self):
        if self.load_best_model_at_end and self.eval_strategy == "no":
            raise UserError(
                "--eval_strategy no needs --load_best_model_at_end false: no model is known to be the best."
            )
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"--layer_decay must be above 0 and at most 1, but is {self.layer_decay}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise UserError(f"--ema_decay must be above 0 and below 1, but is {self.ema_decay}.")
        if self.remove_unused_columns:
            raise UserError("--remove_unused_columns has to be false: the images are read from the columns.")
        try:
            super().__post_init__()
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from error


class FineTuningTrainer(CheckpointTrainer):
    """
    A Trainer with a learning rate for each layer, which evaluates and keeps averaged weights if that is wanted.

    Args:
        **kwargs:
            Those of [`~transformers.Trainer`], with [`FineTuningArguments`].
    """

    # losses are means over a batch: the Trainer has to divide them when gradients are accumulated
    loss_is_scaled_for_ga = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # the same, for older releases
        self.ema = None if self.args.ema_decay is None else EmaCallback(self.args.ema_decay)
        self.add_callback(EpochCallback(self.train_dataset))
        if self.ema is not None:
            self.add_callback(self.ema)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            args, model = self.args, model or self.model
            optimizer_class, settings = self.get_optimizer_cls_and_kwargs(args, model)
            if unknown := settings.keys() & {"params", "model", "optimizer_dict"}:
                raise UserError(
                    f"--optim {args.optim} chooses its own {', '.join(unknown)}, not learning rates by layer."
                )
            groups = make_parameter_groups(model, args.learning_rate, args.weight_decay, args.layer_decay)
            self.optimizer = optimizer_class(groups, **settings)
        return self.optimizer

    def train(self, resume_from_checkpoint: str | None = None, **kwargs):
        if self.ema is not None:
            self.ema.resume_from_checkpoint = resume_from_checkpoint
        return super().train(resume_from_checkpoint, **kwargs)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        if self.ema is None or not self.ema.has_begun:
            return super().evaluate(*args, **kwargs)
        with self.ema.applied_to(self.model):
            return super().evaluate(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False):
        # with the model, thus before the state of the Trainer, which makes a checkpoint a whole one, and before old ones are removed
        super().save_model(output_dir, _internal_call)
        if self.ema is not None and self.ema.has_begun and self.args.should_save:
            self.ema.save(output_dir or self.args.output_dir)

    def keep_average(self):
        """After the training: gives the model the average as its weights, of the best evaluation if that is what is kept."""
        if self.ema is not None:
            if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
                self.ema.load(self.state.best_model_checkpoint)
            self.ema.copy_to(self.model)


class EpochCallback(TrainerCallback):
    """
    Tells a data set which epoch it is.

    Args:
        dataset:
            With or without a method `set_epoch`.
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def on_epoch_begin(self, args, state, control, **kwargs):
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(int(state.epoch or 0))


class EmaCallback(TrainerCallback):
    """
    An exponential moving average of the weights, kept beside each checkpoint. It begins with a short memory, which grows with
    the steps: the decay after `n` steps is at most `(1 + n) / (10 + n)`.

    Args:
        decay (`float`):
            Weight of the average; the current weights have the rest.

    Attributes:
        resume_from_checkpoint (`str`, *optional*):
            Checkpoint to go on from.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.model = self.resume_from_checkpoint = None

    @property
    def has_begun(self) -> bool:
        return self.model is not None

    def on_train_begin(self, args, state, control, model: nn.Module, **kwargs):
        self.model = AveragedModel(model, multi_avg_fn=self._average)
        if self.resume_from_checkpoint is not None:
            self.load(self.resume_from_checkpoint)

    def on_step_end(self, args, state, control, model: nn.Module, **kwargs):
        self.model.update_parameters(model)

    def save(self, checkpoint: str | Path):
        """Keeps the average beside a checkpoint."""
        torch.save(self.model.state_dict(), Path(checkpoint) / EMA_FILE)

    def load(self, checkpoint: str | Path):
        """Goes to where the average was at a checkpoint."""
        device = next(self.model.parameters()).device
        self.model.load_state_dict(torch.load(Path(checkpoint) / EMA_FILE, map_location=device, weights_only=True))

    def copy_to(self, model: nn.Module):
        """Gives a model the average as its weights."""
        model.load_state_dict(self.model.module.state_dict())

    @contextmanager
    def applied_to(self, model: nn.Module):
        """A context in which the weights of a model are the average."""
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.copy_to(model)
        try:
            yield
        finally:
            model.load_state_dict(weights)

    def _average(self, averaged: list[torch.Tensor], current: list[torch.Tensor], num_averaged: torch.Tensor):
        number = int(num_averaged)
        decay = min(self.decay, (1 + number) / (10 + number))
        get_ema_multi_avg_fn(decay)(averaged, current, num_averaged)
