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
"""Progress of a run: its steps and their measurements, checked, logged and saved in checkpoints."""

import math
import resource
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.distributed.tensor import DTensor
from tqdm.auto import tqdm
from transformers.utils import logging

from .checkpoints import Checkpoints
from .errors import UserError, check_unreadable
from .pretraining_setup import PretrainingData


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

NUM_NAMED_UNREADABLE = 10
STATE = ("step", "images_seen", "seconds", "history", "unreadable")


class Progress:
    """Progress of a run. Losses stay on the device until they are recorded, because reading one waits for it."""

    def __init__(self, accelerator: Accelerator, checkpoints: Checkpoints, data: PretrainingData):
        self.accelerator, self.checkpoints, self.data = accelerator, checkpoints, data
        self.step, self.images_seen, self.seconds = 0, 0, 0.0  # as of the last record
        self.history: list[dict] = []  # records of training and evaluations
        self.unreadable: dict[str, str] = {}  # images that could not be read in any process, and why
        self.new_unreadable = dict(data.held_out.unreadable)  # of this process, since the last record
        for name, reason in list(data.images.unreadable.items())[:NUM_NAMED_UNREADABLE]:
            accelerator.print(f"Skipped {name} ({reason})", file=sys.stderr)
        self.restart()

    def restart(self):
        """Discards the measurements since the last record. Call it after work other than training."""
        self.losses: list[torch.Tensor] = []
        self.filled: list[float] = []  # fraction of the places of a micro-batch that hold an image
        self.group_fills: list[float] = []
        self.grad_norms: list[torch.Tensor] = []
        self.num_images, self.seconds_waited, self.start = 0, 0.0, time.perf_counter()

    def iterate(self, loader: Iterable[dict]) -> Iterator[dict]:
        """
        Iterates over micro-batches, and measures how long the training waits for them. Raises a [`UserError`] if there
        are none, or if a worker was killed.
        """
        batches = iter(loader)
        while True:
            start = time.perf_counter()
            try:
                batch = next(batches, None)
            except (RuntimeError, ConnectionError) as error:
                if "DataLoader worker" not in str(error) and not isinstance(error, ConnectionError):
                    raise
                raise UserError(
                    "A worker that decodes images was killed, probably because memory ran out. Lower --num_workers or "
                    f"--max_pixels. {self.checkpoints.describe_last()}"
                ) from error
            self.seconds_waited += time.perf_counter() - start
            if batch is None:
                raise UserError(
                    f"Process {self.accelerator.process_index} has no images to train on: all are held out, or there "
                    "are fewer images or files than processes. Lower --max_eval_samples, or use fewer processes."
                )
            yield batch

    def add_micro_batch(self, batch: dict, loss: torch.Tensor):
        """Adds a micro-batch of this process and its loss."""
        weights = batch["image_weights"]
        self.losses.append(loss.detach())
        self.filled.append(1.0 if weights is None else weights.mean().item())
        self.group_fills.append(batch["fill"])
        self.num_images += len(batch["epochs"]) * self.accelerator.num_processes
        self.new_unreadable |= batch["unreadable"]

    def add_step(self, grad_norm: torch.Tensor | DTensor):
        """Completes a step."""
        self.grad_norms.append(grad_norm.full_tensor() if isinstance(grad_norm, DTensor) else grad_norm)
        self.step += 1

    def record(self, learning_rate: float) -> dict:
        """
        Records the steps since the last record. Collective. Raises a [`UserError`] if a loss or a gradient was not
        finite, or if too many images could not be read.
        """
        losses = torch.stack(self.losses).float()
        losses = torch.stack([losses, torch.tensor(self.filled, device=losses.device)])
        losses, filled = self.accelerator.gather(losses[None]).cpu().unbind(dim=1)
        grad_norms = torch.stack(self.grad_norms).float().cpu()
        self._check_finite(losses.unflatten(1, (len(grad_norms), -1)).mean(dim=-1), grad_norms)
        seconds = time.perf_counter() - self.start
        self.seconds += seconds
        self.images_seen += self.num_images
        self._collect_unreadable()
        record = {
            "loss": losses.sum().item() / max(filled.sum().item(), 1e-9),  # the mean over images
            "learning_rate": learning_rate,
            "grad_norm": grad_norms[-1].item(),
            "images_per_second": self.num_images / seconds,
            "data_wait_share": self.seconds_waited / seconds,
            "peak_memory_gib": get_peak_memory(self.accelerator.device),
            "group_fill": float(np.mean(self.group_fills)),
        }
        self.log(record)
        self.restart()
        return record

    def log(self, values: dict):
        """Adds values to the history and the trackers. A log that cannot be written is only a warning."""
        self.history.append({"step": self.step, **values})
        try:
            self.accelerator.log(values, step=self.step)
        except OSError as error:
            logger.warning(f"Cannot write the log of step {self.step}: {error}")

    def state_dict(self) -> dict:
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state_dict: dict):
        for name in STATE:
            setattr(self, name, state_dict[name])

    def _check_finite(self, losses: torch.Tensor, grad_norms: torch.Tensor):
        """Reports the first loss or gradient that is not finite. `losses`: `(num_processes, num_steps)`."""
        first_step = self.step - len(grad_norms) + 1
        for step, (step_losses, grad_norm) in enumerate(zip(losses.T.tolist(), grad_norms.tolist()), first_step):
            problems = [
                f"loss of process {rank} is {loss}" for rank, loss in enumerate(step_losses) if not math.isfinite(loss)
            ]
            # loss scaling (fp16) skips steps whose gradients are too large
            if not math.isfinite(grad_norm) and self.accelerator.scaler is None:
                problems.append(f"gradient norm is {grad_norm}")
            if problems:
                raise UserError(
                    f"The {problems[0]} at step {step}: the training has diverged. {self.checkpoints.describe_last()} "
                    "Try a lower --learning_rate, more --num_warmup_steps, or --mixed_precision no."
                )

    def _collect_unreadable(self):
        """Collects the unreadable images of all processes, and reports the first ones by name."""
        for unreadable in gather_object([self.new_unreadable]):
            for name, reason in unreadable.items():
                is_new = name not in self.unreadable
                if is_new and len(self.unreadable) < NUM_NAMED_UNREADABLE and self.accelerator.is_main_process:
                    tqdm.write(f"Skipped {name} ({reason})", file=sys.stderr)
                self.unreadable[name] = reason
        self.new_unreadable = {}
        held_out = self.data.held_out
        num_images = self.images_seen + len(held_out.examples) + len(held_out.unreadable)
        # compared with all images, if their number is known: the first row group that is read may be damaged
        check_unreadable(self.unreadable, self.data.images.num_images or num_images, self.data.args.max_unreadable)


def get_peak_memory(device: torch.device) -> float:
    """Peak memory so far in GiB, of the device or, on a CPU, of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
