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
"""Fine-tuning with transformers' Trainer: layer-wise learning rates and averaged weights."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainingArguments
from transformers.hf_argparser import HfArg

from ..parameter_groups import make_parameter_groups
from .errors import UserError
from .trainer import CheckpointTrainer


AVERAGE_FILE = "ema.pt"
SETTINGS_FILE = "arguments.json"
# fmt: off
PLACES = (
    "dataset_name", "train_dir", "validation_dir", "id2label_file",
    "model_name_or_path", "config_name", "image_processor_name",
)
REPORTED_SETTINGS = (
    "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
    "layer_decay", "weight_decay", "lr_scheduler_type", "warmup_steps", "label_smoothing_factor", "ema_decay",
    "max_grad_norm", "bf16", "fp16", "seed",
)
# fmt: on


@dataclass
class FineTuningArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] with options and defaults for fine-tuning hierarchical models."""

    layer_decay: float = HfArg(default=0.8, help="Factor of the learning rate from each layer to the one below.")
    ema_decay: float | None = HfArg(default=None, help="Decay of averaged weights, to evaluate and save instead.")
    public_pictures: bool = HfArg(
        default=False, help="Show evaluation images in a model folder that is uploaded publicly."
    )
    num_train_epochs: float = HfArg(default=30.0, help="Number of epochs to train.")
    learning_rate: float = HfArg(default=1e-3, help="Peak learning rate, of the last layer.")
    weight_decay: float = HfArg(default=0.05, help="Weight decay of AdamW, only for weight matrices.")
    lr_scheduler_type: str = HfArg(default="cosine", help="Learning rate schedule.")
    warmup_steps: float = HfArg(default=0.1, help="Number of warmup steps or, below 1, their fraction of all steps.")
    eval_strategy: str = HfArg(default="epoch", help="When to evaluate: epoch, steps or no.")
    save_strategy: str = HfArg(default="epoch", help="When to write checkpoints: epoch, steps, best or no.")
    save_total_limit: int | None = HfArg(default=2, help="Number of checkpoints to keep in addition to the best.")
    load_best_model_at_end: bool = HfArg(default=True, help="Keep the best evaluated model instead of the last.")
    resume_from_checkpoint: str | None = HfArg(
        default=None, help="Checkpoint to resume from: 'latest' (without one, the run starts), or a folder."
    )
    remove_unused_columns: bool = HfArg(default=False, help="Must be false, as images are decoded from the columns.")

    def __post_init__(self):
        if self.load_best_model_at_end and self.eval_strategy == "no":
            raise UserError("--load_best_model_at_end must be false with --eval_strategy no, got true.")
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"--layer_decay must be above 0 and at most 1, got {self.layer_decay}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise UserError(f"--ema_decay must be above 0 and below 1, got {self.ema_decay}.")
        if self.remove_unused_columns:
            raise UserError("--remove_unused_columns must be false because images are decoded from the columns.")
        try:
            super().__post_init__()
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from error


class FineTuningTrainer(CheckpointTrainer):
    """
    Trainer with layer-wise learning rates. With `--ema_decay`, it evaluates and keeps averaged weights. Takes the
    arguments of [`~transformers.Trainer`], with [`FineTuningArguments`].
    """

    # losses are means over a batch: the Trainer must divide them when gradients are accumulated
    loss_is_scaled_for_ga = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # the same, for older releases
        self.average = None if self.args.ema_decay is None else make_average(self.model, self.args.ema_decay)
        self.add_callback(FineTuningCallback(self.train_dataset, self.average))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            args, model = self.args, model or self.model
            optimizer_class, settings = self.get_optimizer_cls_and_kwargs(args, model)
            if own := settings.keys() & {"params", "model", "optimizer_dict"}:
                raise UserError(f"--optim must allow learning rates by layer, but {args.optim} sets {', '.join(own)}.")
            groups = make_parameter_groups(model, args.learning_rate, args.weight_decay, args.layer_decay)
            self.optimizer = optimizer_class(groups, **settings)
        return self.optimizer

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        if self.average is None:
            return super().evaluate(*args, **kwargs)
        weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.keep_average()
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self.model.load_state_dict(weights)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False):
        # with the model: before the state, which completes a checkpoint, and before old checkpoints are removed
        super().save_model(output_dir, _internal_call)
        if self.average is not None and self.args.should_save:
            torch.save(self.average.state_dict(), Path(output_dir or self.args.output_dir) / AVERAGE_FILE)

    def _load_weights(self, checkpoint: str):
        super()._load_weights(checkpoint)
        if self.average is not None:
            path = Path(checkpoint) / AVERAGE_FILE
            self.average.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def keep_average(self):
        """Replaces the model's weights by their average, if there is one."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())

    def evaluate_at_end(self, train_metrics: dict[str, float]) -> dict[str, float]:
        """Evaluates the final model. Prints and saves metrics, like transformers' scripts."""
        self.keep_average()
        eval_metrics = self.evaluate()
        for split, metrics in (("train", train_metrics), ("eval", eval_metrics)):
            self.log_metrics(split, metrics)
            self.save_metrics(split, metrics)
        return eval_metrics

    def get_reported_settings(self) -> dict:
        """Values of the `REPORTED_SETTINGS`, by name."""
        settings = {name: getattr(self.args, name) for name in REPORTED_SETTINGS}
        return settings | {"lr_scheduler_type": self.args.lr_scheduler_type.value}

    def save_or_compare_settings(self, checkpoint: str | None, *others):
        """
        Writes the settings of a new run into its folder, or compares them with those of a resumed run.

        Args:
            checkpoint (`str`, *optional*):
                Checkpoint that the run resumes from.
            *others:
                Other argument dataclasses. Paths may differ, because folders are moved.

        Raises:
            [`UserError`]: if a setting differs from that of the run.
        """
        path, settings = Path(self.args.output_dir) / SETTINGS_FILE, self.get_reported_settings()
        for arguments in others:
            settings |= {name: value for name, value in vars(arguments).items() if name not in PLACES}
        if checkpoint is None:
            if self.is_world_process_zero():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(settings, indent=2))
            return
        saved = json.loads(path.read_text()) if path.is_file() else {}
        for name, value in saved.items():
            if settings.get(name) != value:
                raise UserError(
                    f"--{name} must be {value}, as when this run started, got {settings.get(name)}. Pass the same value, "
                    "or a different --output_dir."
                )


def make_average(model: nn.Module, decay: float) -> AveragedModel:
    """
    Makes an exponential moving average of the weights of a model. The decay grows with the steps: after `n` steps, it
    is at most `(1 + n) / (10 + n)`.
    """

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], num_averaged: torch.Tensor):
        number = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + number) / (10 + number)))(averaged, current, num_averaged)

    return AveragedModel(model, multi_avg_fn=average)


class FineTuningCallback(TrainerCallback):
    """Averages weights after each step, and sets the dataset's epoch (Accelerate does so only in a single process)."""

    def __init__(self, dataset, average: AveragedModel | None):
        self.dataset = dataset
        self.average = average

    def on_epoch_begin(self, args, state, control, **kwargs):
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(int(state.epoch or 0))

    def on_step_end(self, args, state, control, model: nn.Module, **kwargs):
        if self.average is not None:
            self.average.update_parameters(model)
