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
Pre-train with SimCLR from the lightly library on GreenMIM's images. The encoder processes all patches of two views of
each image.

    python run_simclr.py --data_files 'eurosat/train-*.parquet' --config_name_or_path greenmim.json --output_dir simclr --max_steps 1000

The configuration describes a GreenMIM model; its encoder is trained. Images, configuration and schedule have the same
arguments as in examples/pretraining/run_pretraining.py. Crops are SimCLR's and respect `--min_crop_scale`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from run_simmim import StepClock  # of ../cifar10
from torchvision.transforms.v2.functional import to_pil_image
from transformers import TrainingArguments, set_seed

from modeling_greenmim import GreenMimConfig, GreenMimModel
from modeling_greenmim.checkpoint_folders import create_folder
from modeling_greenmim.modeling_greenmim import GreenMimPreTrainedModel
from modeling_greenmim.training.command_line import run_command
from modeling_greenmim.training.image_decoding import CenterCrop
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data
from modeling_greenmim.training.pretraining_trainer import PretrainingTrainer, start_pretraining
from modeling_greenmim.training.trainer import train


PROJECTION_SIZE = 128


class SimClr(GreenMimPreTrainedModel):
    """An encoder with a projection of its mean token."""

    def __init__(self, config: GreenMimConfig):
        super().__init__(config)
        self.greenmim = GreenMimModel(config)
        self.head = SimCLRProjectionHead(config.hidden_size, config.hidden_size, PROJECTION_SIZE)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Project images to shape `(batch_size, PROJECTION_SIZE)`."""
        return self.head(self.greenmim(pixel_values).last_hidden_state.mean(dim=1))


class ViewsCollator:
    """Collate `first` and `second` views of images. They depend only on the seed, the epoch and the image."""

    def __init__(self, image_size: tuple[int, int], min_crop_scale: float):
        # colors change less than by default, as in SimCLR's own runs on small images. Images from above and of cells
        # have no upper side: they are turned and flipped. There is nothing to blur in images of this size.
        self.transform = SimCLRTransform(
            input_size=image_size,
            min_scale=min_crop_scale,
            cj_strength=0.5,
            gaussian_blur=0.0,
            vf_prob=0.5,
            rr_prob=0.5,
        )

    def make_views(self, pixels: np.ndarray, seed: Sequence[int]) -> list[torch.Tensor]:
        torch_seed, numpy_seed = np.random.default_rng(seed).integers(2**32, size=2).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch_seed)
            np.random.seed(numpy_seed)  # lightly turns images by the random numbers of NumPy
            return self.transform(to_pil_image(torch.from_numpy(pixels)))

    def __call__(self, examples: Sequence[dict]) -> dict:
        readable = [example for example in examples if example["pixels"] is not None]
        views = [self.make_views(example["pixels"], example["mask_seed"]) for example in readable]
        first, second = map(torch.stack, zip(*views))
        return {
            "inputs": {"first": first, "second": second},
            "image_weights": None,
            "epochs": [example["epoch"] for example in examples],
            "unreadable": {name: reason for example in examples for name, reason in example["unreadable"].items()},
        }


class SimClrTrainer(PretrainingTrainer):
    """GreenMIM's pre-training Trainer with SimCLR's loss on the same images."""

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        projections = model(torch.cat([inputs["first"], inputs["second"]]))
        loss = NTXentLoss()(*projections.chunk(2))
        return (loss, projections) if return_outputs else loss


def run(data_args: DataArguments, model_args: ModelArguments, args: TrainingArguments, command: str):
    """Execute a complete run."""
    checkpoint, _, lock = start_pretraining(args)  # the lock is held until the end
    start = make_pretrained_model(model_args, args.seed)
    config = start.model.config
    image_size = config.image_height_and_width
    data = open_data(data_args, config, args.seed)
    data.make_example = replace(data.make_example, crop=CenterCrop(image_size))
    set_seed(args.seed)
    collator = ViewsCollator(image_size, data_args.min_crop_scale)
    trainer = SimClrTrainer(start, data, collator, args, command, model=SimClr(config))
    clock = StepClock()
    trainer.add_callback(clock)
    metrics = train(trainer, checkpoint) | clock.measure(trainer)
    trainer.save_metrics("train", metrics)
    with create_folder(Path(args.output_dir) / "model") as folder:
        trainer.model.greenmim.save_pretrained(folder)
        start.image_processor.save_pretrained(folder)


if __name__ == "__main__":
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__)
