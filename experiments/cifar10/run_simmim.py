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
"""
Pre-train with SimMIM, transformers' `SwinForMaskedImageModeling`, on GreenMIM's images, crops and masks. The encoder
processes all patches, with mask tokens for the hidden ones.

    python run_simmim.py --data_files 'cifar10/train-*.parquet' --config_name_or_path greenmim_cifar10.json --output_dir simmim \\
        --max_steps 1000 --learning_rate 1.5e-3

The configuration describes a GreenMIM model; its Swin is trained. Images, configuration and schedule have the same
arguments as in examples/pretraining/run_pretraining.py.
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
from modeling_greenmim.training.command_line import run_command
from modeling_greenmim.training.micro_batches import PretrainingCollator
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data
from modeling_greenmim.training.pretraining_trainer import PretrainingTrainer, start_pretraining
from modeling_greenmim.training.trainer import train


# fmt: off
SWIN_SETTINGS = (
    "image_size", "patch_size", "num_channels", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias",
    "drop_path_rate", "layer_norm_eps",
)
# fmt: on


def make_simmim(config: GreenMimConfig) -> SwinForMaskedImageModeling:
    """Create a SimMIM model with the Swin of a GreenMIM configuration."""
    settings = {name: getattr(config, name) for name in SWIN_SETTINGS}
    return SwinForMaskedImageModeling(SwinConfig(**settings, encoder_stride=config.mask_unit_size))


def get_patch_masks(unit_masks: torch.Tensor, config: GreenMimConfig) -> torch.Tensor:
    """
    Convert unit masks to patch masks that hide the same pixels.

    Args:
        unit_masks (`torch.Tensor` of `bool` and shape `(batch_size, num_units)`):
            Unit masks. `True` hides a unit.
        config ([`GreenMimConfig`]):
            Configuration of the model.

    Returns:
        `torch.Tensor` of `bool` and shape `(batch_size, num_patches)`: patch masks.
    """
    patches_per_side = config.mask_unit_size // config.patch_size
    masks = unit_masks.unflatten(1, get_unit_grid(config.image_height_and_width, config.mask_unit_size))
    return masks.repeat_interleave(patches_per_side, 1).repeat_interleave(patches_per_side, 2).flatten(1)


class SimMimTrainer(PretrainingTrainer):
    """GreenMIM's pre-training Trainer with SimMIM's loss on the same micro-batches."""

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        masks = get_patch_masks(inputs["bool_masked_pos"], self.collator.collator.config)
        if "image_weights" in inputs:
            masks &= (
                inputs["image_weights"][:, None] > 0
            )  # an empty slot in the batch has no hidden patches, so no loss
        outputs = model(inputs["pixel_values"], bool_masked_pos=masks)
        return (outputs.loss, outputs) if return_outputs else outputs.loss


class StepClock(TrainerCallback):
    """Record when steps end. The median step time ignores occasional work such as checkpoints."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())

    def measure(self, trainer: PretrainingTrainer) -> dict[str, float]:
        """Return `images_seen` and, after more than one step, `images_per_second`."""
        metrics = {"images_seen": trainer.state.global_step * trainer.images_per_step}
        if seconds := [end - start for start, end in pairwise(self.ends)]:
            metrics["images_per_second"] = trainer.images_per_step / statistics.median(seconds)
        return metrics


def run(data_args: DataArguments, model_args: ModelArguments, args: TrainingArguments, command: str):
    """Execute a complete run."""
    checkpoint, _, lock = start_pretraining(args)  # the lock is held until the end
    start = make_pretrained_model(model_args, args.seed)
    config = start.model.config
    data = open_data(data_args, config, args.seed)
    set_seed(args.seed)
    collator = PretrainingCollator(config, start.image_processor)
    trainer = SimMimTrainer(start, data, collator, args, command, model=make_simmim(config))
    clock = StepClock()
    trainer.add_callback(clock)
    metrics = train(trainer, checkpoint) | clock.measure(trainer)
    trainer.save_metrics("train", metrics)
    with create_folder(Path(args.output_dir) / "model") as folder:
        trainer.save_model(str(folder))


if __name__ == "__main__":
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__)
