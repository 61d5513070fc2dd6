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
"""Pre-trains with SimMIM, transformers' `SwinForMaskedImageModeling`, on the images, crops and masks of GreenMIM. The encoder
computes all patches, with mask tokens in the places of the hidden ones.

    python run_simmim.py --data_files 'cifar10/train-*.parquet' --config_name_or_path greenmim_cifar10.json --output_dir simmim \\
        --max_steps 1000 --learning_rate 1.5e-3

The configuration is that of a GreenMIM model, whose Swin is trained. The images, the configuration and the schedule are set by the
arguments of examples/pretraining/run_pretraining.py.
"""

import statistics
import time
from itertools import pairwise
from pathlib import Path

import torch
from transformers import SwinConfig, SwinForMaskedImageModeling, TrainerCallback, TrainingArguments, set_seed

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.checkpoint_folders import create_folder
from modeling_greenmim.masking_greenmim import get_unit_grid
from modeling_greenmim.parameter_groups import get_decay_parameter_names
from modeling_greenmim.training.command_line import run_command
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.micro_batches import PretrainingCollator
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_data import PretrainingData, open_data
from modeling_greenmim.training.pretraining_model import make_pretrained_model
from modeling_greenmim.training.trainer import CheckpointTrainer, find_checkpoint, train


# fmt: off
SWIN_SETTINGS = (
    "image_size", "patch_size", "num_channels", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias",
    "drop_path_rate", "layer_norm_eps",
)
# fmt: on


def make_simmim(config: GreenMimConfig) -> SwinForMaskedImageModeling:
    """Makes a SimMIM model with the Swin of a GreenMIM configuration."""
    settings = {name: getattr(config, name) for name in SWIN_SETTINGS}
    return SwinForMaskedImageModeling(SwinConfig(**settings, encoder_stride=config.mask_unit_size))


def get_patch_masks(unit_masks: torch.Tensor, config: GreenMimConfig) -> torch.Tensor:
    """
    Converts masks of units into masks of patches that hide the same pixels.

    Args:
        unit_masks (`torch.Tensor` of `bool` and shape `(batch_size, num_units)`):
            `True` where a unit is hidden.
        config ([`GreenMimConfig`]):
            Configuration of the model.

    Returns:
        `torch.Tensor` of `bool` and shape `(batch_size, num_patches)`.
    """
    patches_per_side = config.mask_unit_size // config.patch_size
    masks = unit_masks.unflatten(1, get_unit_grid(config.image_height_and_width, config.mask_unit_size))
    return masks.repeat_interleave(patches_per_side, 1).repeat_interleave(patches_per_side, 2).flatten(1)


class SimMimTrainer(CheckpointTrainer):
    """
    A Trainer on the micro-batches of GreenMIM's pre-training, without weight decay for norms, biases, position tables and tokens.

    Args:
        data ([`PretrainingData`]):
            The images.
        first_step (`int`):
            Steps that a resumed run has made.
        **kwargs:
            Of [`~transformers.Trainer`].
    """

    def __init__(self, data: PretrainingData, first_step: int, **kwargs):
        super().__init__(
            train_dataset=data.held_out.examples, **kwargs
        )  # the Trainer asks for a data set, and does not use it
        self.data, self.first_step = data, first_step

    def get_train_dataloader(self):
        batch_size = self.args.per_device_train_batch_size
        numbers = range(self.first_step, self.args.max_steps)
        return self.data.make_loader(self.data_collator, batch_size, numbers, self.data.choose_lanes(1, batch_size))

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        masks = get_patch_masks(inputs["inputs"]["bool_masked_pos"], self.data_collator.collator.config)
        if inputs["image_weights"] is not None:
            masks &= inputs["image_weights"][:, None] > 0  # an empty place has no hidden patches, and so no loss
        outputs = model(inputs["inputs"]["pixel_values"], bool_masked_pos=masks)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def get_decay_parameter_names(self, model) -> list[str]:
        return get_decay_parameter_names(model)


class StepClock(TrainerCallback):
    """Notes when steps end. Medians omit what happens now and then, such as checkpoints."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())


def run(data_args: DataArguments, model_args: ModelArguments, args: TrainingArguments, command: str):
    """A run from top to bottom, in one process."""
    checkpoint = find_checkpoint(args.output_dir, args.resume_from_checkpoint)
    if args.max_steps <= 0:
        raise UserError(f"--max_steps must be at least 1, got {args.max_steps}")
    args.remove_unused_columns = False
    args.ignore_data_skip = True  # the loader starts with the next micro-batch
    start = make_pretrained_model(model_args, args.seed)
    config = start.model.config
    data = open_data(data_args, config, args.seed)
    set_seed(args.seed)
    trainer = SimMimTrainer(
        data,
        first_step=0 if checkpoint is None else int(Path(checkpoint).name.rpartition("-")[2]),
        model=make_simmim(config),
        args=args,
        data_collator=PretrainingCollator(config, start.image_processor),
        processing_class=start.image_processor,
    )
    clock = StepClock()
    trainer.add_callback(clock)
    metrics = train(trainer, checkpoint)
    if len(clock.ends) > 1:
        seconds = statistics.median(end - start for start, end in pairwise(clock.ends))
        metrics["images_per_second"] = args.per_device_train_batch_size / seconds
    trainer.save_metrics("train", metrics)
    with create_folder(Path(args.output_dir) / "model") as folder:
        trainer.save_model(str(folder))


if __name__ == "__main__":
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__)
