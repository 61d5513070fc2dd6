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
"""The loop of a pre-training: steps, records, evaluations, checkpoints."""

import math
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, send_to_device
from matplotlib.figure import Figure
from torch.distributed.tensor import DTensor
from tqdm.auto import tqdm
from transformers import get_scheduler
from transformers.utils import logging

from modeling_greenmim.parameter_groups import make_parameter_groups
from modeling_greenmim.training.checkpoints import Checkpoints
from modeling_greenmim.training.command_line import StoppedBySignal, UserError
from modeling_greenmim.training.errors import check_unreadable
from modeling_greenmim.training.evaluation import Evaluation
from modeling_greenmim.training.micro_batches import PretrainingCollator, get_weighted_loss, seed_micro_batch
from modeling_greenmim.training.pretraining_arguments import ModelArguments, RunArguments
from modeling_greenmim.training.pretraining_data import PretrainingData
from modeling_greenmim.training.pretraining_model import PretrainedModel
from modeling_greenmim.training.pretraining_report import get_picture_path
from modeling_greenmim.training.stop_signals import StopSignals


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity

DEFAULT_EPOCHS = 100.0
WARMUP_SHARE = 0.05
NUM_EVALUATIONS = 10
NUM_NAMED_UNREADABLE = 10


@dataclass
class Schedule:
    """How long a run is, and how fast it learns."""

    max_train_steps: int
    num_warmup_steps: int
    learning_rate: float
    eval_steps: int


def count_steps(
    images_per_step: int, num_train_images: int | None, max_train_steps: int | None, num_train_epochs: float
) -> int:
    """
    Counts the steps of a run.

    Args:
        images_per_step (`int`):
            Images in a step over all processes.
        num_train_images (`int`, *optional*):
            Images that are trained on, where that is known.
        max_train_steps (`int`, *optional*):
            The steps, if they are given.
        num_train_epochs (`float`):
            The epochs, if they are not.

    Raises:
        [`UserError`]: if an epoch is less than a step, or unknown and asked for.
    """
    if num_train_images is not None and num_train_images < images_per_step:
        raise UserError(
            f"There are {num_train_images} images to train on, fewer than the {images_per_step} in a step over all processes: "
            "lower --per_device_train_batch_size or --gradient_accumulation_steps, or --max_eval_samples, which are held out."
        )
    if max_train_steps is not None:
        return max_train_steps
    if num_train_images is None:
        raise UserError(
            "These data do not tell how many images they hold: give --max_train_steps in place of epochs (with the "
            "Trainer, --max_steps)."
        )
    return math.ceil(num_train_epochs * num_train_images / images_per_step)


def make_schedule(args: RunArguments, images_per_step: int, num_train_images: int | None) -> Schedule:
    """Steps and learning rate of a run. Arguments and errors as of [`count_steps`]."""
    max_train_steps = count_steps(
        images_per_step, num_train_images, args.max_train_steps, args.num_train_epochs or DEFAULT_EPOCHS
    )
    num_warmup_steps = args.num_warmup_steps
    return Schedule(
        max_train_steps,
        round(WARMUP_SHARE * max_train_steps) if num_warmup_steps is None else num_warmup_steps,
        args.learning_rate or args.base_learning_rate * images_per_step / 256,
        args.eval_steps or math.ceil(max_train_steps / NUM_EVALUATIONS),
    )


@dataclass
class Progress:
    """How far a run is: what a checkpoint keeps beside weights and random states."""

    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)


class StepMetrics:
    """What has been measured since the last record. Losses stay on the device until then: reading one waits for it."""

    def __init__(self):
        self.losses: list[torch.Tensor] = []
        self.filled: list[float] = []  # fraction of the places of each micro-batch that hold an image
        self.grad_norms: list[torch.Tensor] = []
        self.fills: list[float] = []
        self.num_images = 0
        self.seconds_waited = 0.0
        self.start = time.perf_counter()


class PretrainingRun:
    """
    One run, from the first step or from a checkpoint.

    Args:
        accelerator ([`~accelerate.Accelerator`]):
            What it runs on.
        start ([`PretrainedModel`]):
            Model and image processor.
        data ([`PretrainingData`]):
            The images of this process.
        schedule ([`Schedule`]):
            How long it is.
        model_args ([`ModelArguments`]):
            How images are masked.
        args ([`RunArguments`]):
            Everything else.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        start: PretrainedModel,
        data: PretrainingData,
        schedule: Schedule,
        model_args: ModelArguments,
        args: RunArguments,
    ):
        self.accelerator = accelerator
        self.schedule = schedule
        self.args = args
        self.output_dir = Path(args.output_dir)
        self.data = data
        self.collator = collator = PretrainingCollator(
            start.model.config,
            start.image_processor,
            mask_sampler=model_args.mask_sampler,
            per_sample=model_args.mask_per_sample,
            static_shapes=args.torch_compile and model_args.mask_per_sample,
        )
        # a row group is read by one worker only, as long as there are this many
        num_readers = accelerator.num_processes * max(1, args.num_workers)
        self.lanes = data.choose_lanes(num_readers, args.per_device_train_batch_size)
        self.micro_batches_per_step = accelerator.num_processes * args.gradient_accumulation_steps
        batch_size = args.per_device_eval_batch_size or args.per_device_train_batch_size
        self.evaluation = None
        if data.held_out.examples:
            self.evaluation = Evaluation(data.held_out, collator, batch_size, args.knn)

        if args.gradient_checkpointing:
            start.model.gradient_checkpointing_enable()
        if args.torch_compile:
            start.model.compile(mode=args.torch_compile_mode)  # in place: the names of the weights stay
        optimizer = torch.optim.AdamW(
            make_parameter_groups(start.model, schedule.learning_rate, args.weight_decay),
            betas=(args.adam_beta1, args.adam_beta2),
            fused=True,
        )
        self.bare_model = start.model
        self.model, self.optimizer = accelerator.prepare(start.model, optimizer)
        # not prepared: Accelerate would step it once for each process
        self.scheduler = get_scheduler(
            args.lr_scheduler_type, optimizer, schedule.num_warmup_steps, schedule.max_train_steps
        )
        self.checkpoints = Checkpoints(
            accelerator,
            self.output_dir,
            args.checkpoints_total_limit,
            start.image_processor,
            self.model,
            optimizer,
            self.scheduler,
        )
        self.progress = Progress()
        self.unreadable: dict[str, str] = {}  # of all processes
        self.new_unreadable = dict(data.held_out.unreadable)  # of this process, since the last record
        self.num_sampled = len(data.held_out.examples) + len(data.held_out.unreadable)
        self.loader_state = None

    def start_or_resume(self, run_config: dict):
        """Restores the checkpoint that is asked for, if any. `run_config` has every setting that the run depends on."""
        self.run_config = run_config
        folder = self.checkpoints.find(self.args.resume_from_checkpoint)
        if folder is None:
            if self.args.resume_from_checkpoint:
                self.accelerator.print(f"There is no checkpoint in {self.output_dir} yet: starting at the first step.")
            return
        run_state, self.loader_state = self.checkpoints.load(folder, run_config)
        self.progress = Progress(**run_state["progress"])
        self.unreadable = run_state["unreadable"]
        self.lanes = tuple(run_state["lanes"])
        self.accelerator.print(f"Resuming after step {self.progress.step}, from {folder}.")

    def make_loader(self):
        """The loader of this process, from the next step on."""
        first, last = (
            step * self.micro_batches_per_step for step in (self.progress.step, self.schedule.max_train_steps)
        )
        loader = self.data.make_loader(
            self.collator,
            self.args.per_device_train_batch_size,
            range(first, last),
            self.lanes,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            num_workers=self.args.num_workers,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        if self.loader_state is not None:
            loader.load_state_dict(self.loader_state)
        return loader

    def train(self):
        """
        Trains to the end.

        Raises:
            [`UserError`]: if the loss is not finite, or a checkpoint cannot be written.
            [`StoppedBySignal`]: after a signal to stop, when the checkpoint is written.
        """
        progress, args = self.progress, self.args
        if progress.step == 0:
            self.evaluate()
        self.loader = self.make_loader()
        batches = iter(self.loader)
        with (
            StopSignals() as signals,
            tqdm(
                total=self.schedule.max_train_steps,
                initial=progress.step,
                desc="Training",
                unit="step",
                disable=not self.accelerator.is_main_process,
            ) as bar,
        ):
            metrics = StepMetrics()
            while progress.step < self.schedule.max_train_steps:
                epoch = self.train_step(batches, metrics)
                progress.step += 1
                bar.update()
                stopped_by = signals.get_agreed()
                is_last = progress.step == self.schedule.max_train_steps
                is_stopping = stopped_by and not is_last
                is_evaluated = is_last or (progress.step % self.schedule.eval_steps == 0 and not is_stopping)
                is_saved = is_last or is_stopping or progress.step % args.checkpointing_steps == 0
                if is_evaluated or is_saved or progress.step % args.logging_steps == 0:
                    record = self.record(metrics)
                    bar.set_postfix_str(
                        f"epoch {epoch}, loss {record['loss']:.4f}, {record['images_per_second']:.0f} images/s"
                    )
                    if is_evaluated:
                        self.evaluate()
                    if is_saved:
                        self.save_checkpoint()
                    metrics = StepMetrics()
                if is_stopping:
                    raise StoppedBySignal(
                        f"Stopped after step {progress.step}, as asked. {self.checkpoints.describe_last()}", stopped_by
                    )

    def get_next(self, batches: Iterator[dict]) -> dict | None:
        """The next micro-batch, `None` at the end of a stream."""
        try:
            return next(batches, None)
        except (RuntimeError, ConnectionError) as error:
            if "DataLoader worker" not in str(error) and not isinstance(error, ConnectionError):
                raise
            raise UserError(
                f"A worker that decodes images was killed, probably because memory ran out: lower --num_workers or --max_pixels. "
                f"{self.checkpoints.describe_last()}"
            ) from error

    def train_step(self, batches: Iterator[dict], metrics: StepMetrics) -> int:
        """One update of the weights. Returns the epoch that its last batch is of."""
        accelerator = self.accelerator
        first = self.progress.step * self.micro_batches_per_step + accelerator.process_index
        for number in range(self.args.gradient_accumulation_steps):
            start = time.perf_counter()
            batch = self.get_next(batches)
            metrics.seconds_waited += time.perf_counter() - start
            if batch is None:
                raise UserError(
                    f"Process {self.accelerator.process_index} has no image to train on: all are held out (--max_eval_samples), or "
                    "there are fewer images, or files of images, than processes."
                )
            self.new_unreadable |= batch["unreadable"]
            inputs, image_weights = batch["inputs"], batch["image_weights"]
            inputs = send_to_device(inputs, accelerator.device, non_blocking=True)
            seed_micro_batch(self.args.seed, first + number * accelerator.num_processes)
            with accelerator.accumulate(self.model):
                outputs = self.model(**inputs)
                loss = get_weighted_loss(self.bare_model, inputs, outputs, image_weights)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    grad_norm = accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                    metrics.grad_norms.append(grad_norm.full_tensor() if isinstance(grad_norm, DTensor) else grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad()
            metrics.losses.append(loss.detach())
            metrics.filled.append(1.0 if image_weights is None else image_weights.mean().item())
            metrics.fills.append(batch["fill"])
            metrics.num_images += len(batch["epochs"]) * accelerator.num_processes
        if not accelerator.optimizer_step_was_skipped:
            self.scheduler.step()
        return batch["epochs"][-1]

    def record(self, metrics: StepMetrics) -> dict:
        """Makes sure that all is finite, and adds what was measured to history and trackers."""
        losses = torch.stack(metrics.losses).float()
        losses = torch.stack([losses, torch.tensor(metrics.filled, device=losses.device)])
        losses, filled = self.accelerator.gather(losses[None]).cpu().unbind(dim=1)
        losses = losses.reshape(self.accelerator.num_processes, -1, self.args.gradient_accumulation_steps)
        grad_norms = torch.stack(metrics.grad_norms).float().cpu()
        self.check_finite(losses.mean(dim=-1), grad_norms)
        seconds = time.perf_counter() - metrics.start
        self.progress.seconds += seconds
        self.progress.images_seen += metrics.num_images
        self.log_unreadable()
        record = {
            "step": self.progress.step,
            "loss": losses.sum().item() / max(filled.sum().item(), 1e-9),  # the mean over images
            "learning_rate": self.scheduler.get_last_lr()[0],
            "grad_norm": grad_norms[-1].item(),
            "images_per_second": metrics.num_images / seconds,
            "data_wait_share": metrics.seconds_waited / seconds,
            "peak_memory_gib": get_peak_memory(self.accelerator.device),
            "group_fill": float(np.mean(metrics.fills)),
        }
        self.progress.history.append(record)
        self.log({name: value for name, value in record.items() if name != "step"}, record["step"])
        return record

    def log(self, values: dict, step: int):
        """Reports to the trackers. A log that cannot be written is no reason to stop."""
        try:
            self.accelerator.log(values, step=step)
        except OSError as error:
            logger.warning(f"Cannot write the log of step {step}: {error}")

    def check_finite(self, losses: torch.Tensor, grad_norms: torch.Tensor):
        """Names step and process of the first loss or gradient that is not finite."""
        first_step = self.progress.step - losses.shape[1] + 1
        for index, (step_losses, grad_norm) in enumerate(zip(losses.T.tolist(), grad_norms.tolist())):
            wrong = [rank for rank, loss in enumerate(step_losses) if not math.isfinite(loss)]
            if wrong:
                problem = f"The loss of process {wrong[0]} is {step_losses[wrong[0]]}"
            # with loss scaling (fp16), steps with too large gradients are skipped
            elif not math.isfinite(grad_norm) and self.accelerator.scaler is None:
                problem = f"The norm of the gradients is {grad_norm}"
            else:
                continue
            raise UserError(
                f"{problem} at step {first_step + index}: the training has diverged. {self.checkpoints.describe_last()} "
                "A lower --learning_rate (or --base_learning_rate), more --num_warmup_steps, or --mixed_precision no may help."
            )

    def evaluate(self):
        """Measures the loss on the held-out images, and draws them."""
        if self.evaluation is None:
            return
        step = self.progress.step
        results = self.evaluation.measure(self.model, self.accelerator)
        self.progress.history.append({"step": step, **results})
        self.log(results, step)
        figure = self.evaluation.draw(self.model, self.accelerator)
        if self.accelerator.is_main_process:
            try:
                self.save_figure(figure, step)
            except OSError as error:
                logger.warning(f"Cannot write the reconstructions of step {step}: {error}")

    def save_figure(self, figure: Figure, step: int):
        path = get_picture_path(self.output_dir, step)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=100)
        pixels = np.asarray(PIL.Image.open(path).convert("RGB"))[None]
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                settings = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({"reconstructions": pixels}, step=step, **settings)

    def log_unreadable(self):
        """Reports images that could not be read in any process, the first ones by name. Collective."""
        for unreadable in gather_object([self.new_unreadable]):
            for name, reason in unreadable.items():
                is_new = name not in self.unreadable
                if is_new and len(self.unreadable) < NUM_NAMED_UNREADABLE and self.accelerator.is_main_process:
                    tqdm.write(f"Skipped {name} ({reason})", file=sys.stderr)
                self.unreadable[name] = reason
        self.new_unreadable = {}
        # of all images: a damaged row group may be the first one that is read
        num_images = self.data.images.num_images or self.progress.images_seen + self.num_sampled
        check_unreadable(self.unreadable, num_images, self.data.args.max_unreadable)

    def save_checkpoint(self):
        run_state = {
            "run_config": self.run_config,
            "progress": asdict(self.progress),
            "unreadable": self.unreadable,
            "lanes": self.lanes,
        }
        loader_state = self.loader.state_dict() if self.data.is_stream else None
        self.checkpoints.save(self.progress.step, run_state, loader_state)


def get_peak_memory(device: torch.device) -> float:
    """Largest memory so far in GiB: of the device, or on a CPU of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
