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
"""Pre-trains with SimMIM, transformers' `SwinForMaskedImageModeling`, on the images, crops and masks of GreenMIM: the peer of an
experiment. The encoder computes the whole grid, with mask tokens in the place of hidden patches.

    python run_simmim.py --data_files 'cifar10/train-*.parquet' --config_name_or_path greenmim_cifar10.json --output_dir simmim \\
        --max_steps 1000 --learning_rate 1.5e-3

Arguments are those of examples/pretraining/run_pretraining.py. The configuration is that of a GreenMIM model, whose Swin is
trained.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from transformers import SwinConfig, SwinForMaskedImageModeling, TrainerCallback, TrainingArguments, set_seed

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.checkpoint_folders import create_folder
from modeling_greenmim.training.command_line import UserError, check_num_processes, run_command
from modeling_greenmim.training.micro_batches import PretrainingCollator
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_data import open_data
from modeling_greenmim.training.pretraining_model import make_pretrained_model
from modeling_greenmim.training.trainer import find_checkpoint, train

from run_pretraining import PretrainingTrainer


SHARED_SETTINGS = (
    *("image_size", "patch_size", "num_channels", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio"),
    *("qkv_bias", "drop_path_rate", "layer_norm_eps"),
)


@dataclass
class PatchMasks:
    """
    Makes the arguments of [`~transformers.SwinForMaskedImageModeling`] of crops: the masks of GreenMIM, patch by patch.

    Args:
        collator ([`PretrainingCollator`]):
            That of GreenMIM.
        patches_per_unit (`int`):
            Patches along the side of a mask unit.
        units_per_row (`int`):
            Mask units along the side of an image.
    """

    collator: PretrainingCollator
    patches_per_unit: int
    units_per_row: int

    def __call__(self, examples: Sequence[dict]) -> dict:
        batch = self.collator(examples)
        masks = batch["inputs"]["bool_masked_pos"].unflatten(1, (-1, self.units_per_row))
        masks = (
            masks.repeat_interleave(self.patches_per_unit, 1).repeat_interleave(self.patches_per_unit, 2).flatten(1)
        )
        if batch["image_weights"] is not None:
            masks &= batch["image_weights"][:, None] > 0  # its loss is that of masked patches only
        inputs = {"pixel_values": batch["inputs"]["pixel_values"], "bool_masked_pos": masks}
        return {**batch, "inputs": inputs, "image_weights": None}


class StepClock(TrainerCallback):
    """Times steps, from the end of one to the end of the next. The median leaves out what happens now and then: checkpoints."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())

    def get_median_seconds(self) -> float:
        return statistics.median(end - start for start, end in pairwise(self.ends))


def make_simmim(config: GreenMimConfig) -> SwinForMaskedImageModeling:
    """A SimMIM model with the Swin of a GreenMIM configuration."""
    settings = {name: getattr(config, name) for name in SHARED_SETTINGS}
    return SwinForMaskedImageModeling(SwinConfig(**settings, encoder_stride=config.mask_unit_size))


def run(data_args: DataArguments, model_args: ModelArguments, args: TrainingArguments, command: str):
    """A run from top to bottom."""
    check_num_processes(args.world_size)
    checkpoint = find_checkpoint(args.output_dir, args.resume_from_checkpoint)
    if args.max_steps <= 0:
        raise UserError("Give --max_steps.")
    args.remove_unused_columns = False  # images are cropped in the collator
    start = make_pretrained_model(model_args, args.seed)
    config = start.model.config
    data = open_data(data_args, config, args.seed)
    collator = PatchMasks(
        PretrainingCollator(config, start.image_processor),
        config.mask_unit_size // config.patch_size,
        config.image_height_and_width[1] // config.mask_unit_size,
    )
    set_seed(args.seed)
    first_step = 0 if checkpoint is None else int(Path(checkpoint).name.rpartition("-")[2])
    trainer = PretrainingTrainer(
        data, collator, first_step, model=make_simmim(config), args=args, processing_class=start.image_processor
    )
    clock = StepClock()
    trainer.add_callback(clock)
    metrics = train(trainer, checkpoint)
    images_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    if len(clock.ends) > 1:
        metrics["images_per_second"] = images_per_step / clock.get_median_seconds()
    trainer.save_metrics("train", metrics)
    with create_folder(Path(args.output_dir) / "model") as folder:
        trainer.save_model(str(folder))


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
