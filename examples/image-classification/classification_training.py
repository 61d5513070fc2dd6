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
"""The training: transformers' Trainer with learning rates for each layer, mixed images and averaged weights."""

from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import Trainer, TrainerCallback

from modeling_greenmim.parameter_groups import make_parameter_groups

from classification_transforms import MixupCutmix
from example_command import UserError


EMA_FILE = "ema.pt"


class FineTuningTrainer(Trainer):
    """
    A Trainer with a learning rate for each layer, and labels that may be mixed.

    Args:
        mixup ([`MixupCutmix`], *optional*):
            What is done to the batches that are trained on.
        ema ([`EmaCallback`], *optional*):
            Average of the weights, which is what is evaluated.
        **kwargs:
            Those of [`~transformers.Trainer`].
    """

    # the loss here is a mean over a batch: the Trainer has to divide it when gradients are accumulated
    loss_is_scaled_for_ga = False

    def __init__(self, mixup: MixupCutmix | None = None, ema: "EmaCallback | None" = None, **kwargs):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False  # the same, for older releases
        self.mixup = mixup
        self.ema = ema
        self.add_callback(EpochCallback(self.train_dataset))
        if ema is not None:
            self.add_callback(ema)

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

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **kwargs):
        pixel_values, labels = inputs["pixel_values"], inputs["labels"]
        label_smoothing = 0.0
        if model.training:
            label_smoothing = self.args.label_smoothing_factor
            if self.mixup is not None and len(labels) > 1:
                pixel_values, labels = self.mixup(pixel_values, labels)
        outputs = model(pixel_values=pixel_values)
        loss = nn.functional.cross_entropy(outputs.logits, labels, label_smoothing=label_smoothing)
        return (loss, {"logits": outputs.logits}) if return_outputs else loss

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        if self.ema is None or not self.ema.has_begun:
            return super().evaluate(*args, **kwargs)
        with self.ema.applied_to(self.model):
            return super().evaluate(*args, **kwargs)


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
        resume_from_checkpoint (`str`, *optional*):
            Checkpoint to go on from.
    """

    def __init__(self, decay: float, resume_from_checkpoint: str | None = None):
        self.decay = decay
        self.resume_from_checkpoint = resume_from_checkpoint
        self.model = None

    @property
    def has_begun(self) -> bool:
        return self.model is not None

    def on_train_begin(self, args, state, control, model: nn.Module, **kwargs):
        self.model = AveragedModel(model, multi_avg_fn=self._average)
        if self.resume_from_checkpoint is not None:
            self.load(self.resume_from_checkpoint)

    def on_step_end(self, args, state, control, model: nn.Module, **kwargs):
        self.model.update_parameters(model)

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            torch.save(self.model.state_dict(), folder / EMA_FILE)

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
