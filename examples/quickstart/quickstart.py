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
# /// script
# requires-python = ">=3.10"
# dependencies = ["modeling-greenmim[training]"]
# ///
"""Masked image modeling on a laptop: pre-trains a small Swin Transformer, shows what it has learned, and saves it.

Without arguments, it trains on scikit-learn's digits, without a download, in two to three minutes on two idle cores:

    python quickstart.py

With `--train_dir`, it trains on your own images, in a folder or in parquet files:

    python quickstart.py --train_dir path/to/images --output_dir my_images

It chooses a small model for the images, and calls `modeling_greenmim.training.pretrain`. For anything larger, call
that function yourself, or run examples/pretraining/run_pretraining.py.
"""

import os


# set before PyTorch is loaded: waiting threads sleep, and leave the cores of a busy machine to others
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from transformers.hf_argparser import HfArg

from modeling_greenmim.training.command_line import check_range, run_command
from modeling_greenmim.training.errors import UserError


DEFAULT_IMAGE_SIZES = (32, 64, 224)
DIGITS_SIZE = 64
NUM_SAMPLED = 64  # images whose sizes are checked


@dataclass
class QuickstartArguments:
    """Arguments to change first."""

    train_dir: str | None = HfArg(
        default=None, help="Folder of images, parquet files or tars. By default, scikit-learn's handwritten digits."
    )
    image_column_name: str | None = HfArg(default=None, help="Column of the images in parquet files.")
    output_dir: str = HfArg(default="quickstart", help="Folder of the run.")
    overwrite_output_dir: bool = HfArg(default=False, help="Discard the run in --output_dir.")
    resume_from_checkpoint: str | None = HfArg(
        default=None,
        help="Checkpoint to resume from: 'latest' in --output_dir (without one, the run starts), or a folder.",
    )
    image_size: int | None = HfArg(
        default=None,
        help="Side of the images in pixels, a multiple of the mask unit: 4 pixels for sizes below 48, 8 below 128, else 32. "
        "By default, 64 for the digits; for your images, the largest of 32, 64 and 224 that most of them reach.",
    )
    mask_ratio: float = HfArg(default=0.6, help="Fraction of the mask units to hide.")
    reconstruction_target: Literal["pixels", "normalized_pixels"] = HfArg(
        default="pixels",
        help="Predict pixels, or, as in the paper, pixels normalized by the mean and variance of their unit: better "
        "features for photos, but reconstructions take both from the image itself. Not for the digits, whose units are flat.",
    )
    max_train_steps: int = HfArg(default=700, help="Number of steps to train.")
    num_warmup_steps: int = HfArg(default=50, help="Number of warmup steps.")
    learning_rate: float = HfArg(default=2e-3, help="Peak learning rate.")
    per_device_train_batch_size: int = HfArg(default=32, help="Number of images in a step.")
    checkpointing_steps: int = HfArg(default=350, help="Number of steps between checkpoints.")
    num_workers: int = HfArg(default=0, help="Number of processes that decode images.")
    mixed_precision: Literal["no", "bf16", "fp16"] = HfArg(default="no", help="Precision of the computation.")
    seed: int = HfArg(default=0, help="Seed of weights, image order, crops and masks.")

    def __post_init__(self):
        check_range(self, "image_size", 8)
        for name in ("max_train_steps", "per_device_train_batch_size", "checkpointing_steps"):
            check_range(self, name, 1)


def write_digits(folder: Path, image_size: int, num_files: int = 4):
    """Stores scikit-learn's 1,797 handwritten digits (8 x 8 pixels, part of the package), enlarged, as parquet."""
    import numpy as np
    import PIL.Image
    from datasets import ClassLabel, Dataset, Features, Image, disable_progress_bars
    from sklearn.datasets import load_digits

    disable_progress_bars()
    digits = load_digits()
    images = [PIL.Image.fromarray(np.uint8(np.round(image * 255 / 16))) for image in digits.images]
    images = [image.resize((image_size, image_size), PIL.Image.Resampling.BICUBIC) for image in images]
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
    dataset = Dataset.from_dict({"image": images, "label": digits.target}, features=features)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(num_files):
        dataset.shard(num_files, index).to_parquet(folder / f"train-{index:05d}-of-{num_files:05d}.parquet")


def choose_image_size(train_dir: str, image_column_name: str | None) -> int:
    """The largest default size to which most images need not be enlarged."""
    import PIL.Image

    from modeling_greenmim.training.pretraining_arguments import DataArguments
    from modeling_greenmim.training.pretraining_setup import open_images

    shorter_sides = []
    data_args = DataArguments(train_dir=train_dir, image_column_name=image_column_name)
    for encoded in open_images(data_args, [train_dir], "--train_dir").sample(NUM_SAMPLED, seed=0):
        try:
            with PIL.Image.open(io.BytesIO(encoded.read())) as image:
                shorter_sides.append(min(image.size))
        except Exception:
            continue  # the training reports it
    shorter_side = sorted(shorter_sides)[len(shorter_sides) // 2] if shorter_sides else 0
    return max([size for size in DEFAULT_IMAGE_SIZES if size <= shorter_side], default=DEFAULT_IMAGE_SIZES[0])


def make_config(image_size: int, mask_ratio: float = 0.6, reconstruction_target: str = "pixels"):
    """The [`GreenMimConfig`] of a model small enough for a CPU: two layers in each stage, and a narrow decoder."""
    from huggingface_hub.errors import StrictDataclassError

    from modeling_greenmim import GreenMimConfig

    if image_size < 128:  # two stages: mask units of 4 or 8 pixels
        settings = {"patch_size": 2 if image_size < 48 else 4, "embed_dim": 64, "window_size": 4}
        settings |= {"depths": (2, 2), "num_heads": (2, 4), "decoder_hidden_size": 128}
    else:  # four stages, as in the paper: mask units of 32 pixels
        settings = {"embed_dim": 48, "depths": (2, 2, 2, 2), "num_heads": (2, 4, 8, 16), "decoder_hidden_size": 256}
    settings |= {"decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 4}
    settings |= {"decoder_intermediate_size": 4 * settings["decoder_hidden_size"]}
    settings |= {"image_size": image_size, "mask_ratio": mask_ratio, "reconstruction_target": reconstruction_target}
    try:
        config = GreenMimConfig(**settings)
    except StrictDataclassError as error:  # for a `mask_ratio` that hides nothing or everything
        raise UserError(str(error.__cause__)) from error
    unit = config.mask_unit_size
    if image_size % unit:
        below = image_size // unit * unit
        rule = f"--image_size must be a multiple of the mask unit of {unit} pixels, got {image_size}"
        raise UserError(f"{rule}. Use {below} or {below + unit}.")
    return config


def run(args: QuickstartArguments, command: str):
    from modeling_greenmim.training import pretrain
    from modeling_greenmim.training.run_folder import check_run_folder, start_run_folder

    # 1. Images and model
    output_dir, train_dir, settings = Path(args.output_dir), args.train_dir, {}
    check_run_folder(output_dir, args.overwrite_output_dir, args.resume_from_checkpoint is not None)
    if train_dir is None:
        image_size = args.image_size or DIGITS_SIZE
    else:
        image_size = args.image_size or choose_image_size(train_dir, args.image_column_name)
    config = make_config(image_size, args.mask_ratio, args.reconstruction_target)
    output_dir.mkdir(parents=True, exist_ok=True)
    start_run_folder(output_dir, args.overwrite_output_dir, asdict(args))
    config.save_pretrained(output_dir)
    if train_dir is None:
        write_digits(train_dir := output_dir / "digits", image_size)
        settings |= {"min_crop_scale": 0.7, "flip": False}  # flipping turns most digits into different symbols
    if args.mixed_precision != "no":
        settings |= {args.mixed_precision: True}

    # 2. Training
    pretrain(
        train_dir,
        output_dir,
        output_dir / "config.json",
        image_column_name=args.image_column_name,
        train_val_split=0.05,
        max_eval_samples=128,
        max_steps=args.max_train_steps,
        warmup_steps=args.num_warmup_steps,
        learning_rate=args.learning_rate,
        per_device_train_batch_size=args.per_device_train_batch_size,
        dataloader_num_workers=args.num_workers,
        eval_on_start=True,
        logging_steps=50,
        save_steps=args.checkpointing_steps,
        resume_from_checkpoint=args.resume_from_checkpoint,
        report_to="none",
        seed=args.seed,
        **settings,
    )
    if args.train_dir is None:
        command = f"{sys.executable} {sys.argv[0]}"
        print(f"Next, with your own images: {command} --train_dir path/to/images --output_dir my_images")


def main(arguments: Sequence[str] | None = None):
    run_command(run, (QuickstartArguments,), __doc__, arguments)


if __name__ == "__main__":
    main()
