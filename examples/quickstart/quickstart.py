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
"""Masked image modeling on a laptop: pre-trains a small Swin Transformer, shows what it has learned, and saves it.

Without arguments, it learns from scikit-learn's handwritten digits, in two to three minutes on a CPU and without a download:

    python quickstart.py

With `--train_dir`, it learns from your own images, in a folder or in parquet files:

    python quickstart.py --train_dir path/to/images --output_dir my_images

It chooses a small model and starts `examples/pretraining/run_pretraining_no_trainer.py`, which is the script for everything
larger. What that script takes for the training may be given here too, such as `--mask_ratio 0.75` or `--resume_from_checkpoint latest`.
"""

import os


# before PyTorch is loaded: its threads sleep while they wait, and do not slow each other down on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
from datasets import ClassLabel, Dataset, Features, Image, disable_progress_bars
from sklearn.datasets import load_digits
from transformers.image_utils import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD

from modeling_greenmim import GreenMimConfig, GreenMimImageProcessorPil
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.pretraining_arguments import DataArguments
from modeling_greenmim.training.pretraining_data import open_images

import run_pretraining_no_trainer as pretraining


DEFAULT_IMAGE_SIZES = (32, 64, 224)
NUM_LOOKED_AT = 64
# of run_pretraining_no_trainer.py, where a laptop wants something else
DEFAULTS = {
    "max_train_steps": 700,
    "num_warmup_steps": 50,
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 32,
    "num_workers": 0,
    "mixed_precision": "no",
    "max_eval_samples": 128,
    "train_val_split": 0.05,
    "checkpointing_steps": 350,
    "mask_ratio": 0.6,
}
# a flip makes another sign of most digits
DIGITS_DEFAULTS = {"min_crop_scale": 0.7, "flip": "false"}


def parse_args(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the arguments of this script, and those for the other one."""
    parser = argparse.ArgumentParser(
        description="Pre-trains a small GreenMIM model and shows what it has learned.",
        epilog="Arguments of examples/pretraining/run_pretraining_no_trainer.py may follow, but for those that choose the model "
        "and where its images come from (its --help explains them). Defaults "
        f"here: {', '.join(f'--{name} {value}' for name, value in DEFAULTS.items())}.",
    )
    parser.add_argument(
        "--train_dir",
        type=Path,
        help="Folder of images (at any depth, of any size, color or gray), of parquet files with an image column, or of tars. "
        "Without it, scikit-learn's handwritten digits are used.",
    )
    parser.add_argument(
        "--image_size",
        type=int,
        help="Side of the images in pixels, made of whole mask units: 4 pixels below a size of 48, 8 below 128, 32 from "
        "there on. Without it, 64 for the digits, and for your images the largest of 32, 64 and 224 that most of them "
        "need not be enlarged to.",
    )
    parser.add_argument(
        "--norm_pix_loss",
        action="store_true",
        help="Predict pixels normalized by the mean and variance of their unit, as the paper does: better features for "
        "photos. Pictures then borrow mean and variance from the image itself. Flat units, as in the digits, have no "
        "normalized pixels worth learning.",
    )
    parser.add_argument("--image_column_name", help="Column of the images in parquet files.")
    parser.add_argument("--output_dir", type=Path, default=Path("quickstart"), help="Folder of the run. [quickstart]")
    args, others = parser.parse_known_args(arguments)
    if args.image_size is not None and args.image_size < 8:
        parser.error(f"--image_size must be at least 8, but is {args.image_size}")
    return args, others


def write_digits(folder: Path, image_size: int, num_files: int = 4):
    """Stores scikit-learn's 1,797 handwritten digits (8 x 8 pixels, part of the package), enlarged, as parquet."""
    disable_progress_bars()
    digits = load_digits()
    images = [PIL.Image.fromarray(np.uint8(np.round(image * 255 / 16))) for image in digits.images]
    images = [image.resize((image_size, image_size), PIL.Image.Resampling.BICUBIC) for image in images]
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
    dataset = Dataset.from_dict({"image": images, "label": digits.target}, features=features)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(num_files):
        path = folder / f"train-{index:05d}-of-{num_files:05d}.parquet"
        dataset.shard(num_files, index).to_parquet(path)


def choose_image_size(train_dir: Path, image_column_name: str | None) -> int:
    """The largest of the default sizes that most images need not be enlarged to."""
    shorter_sides = []
    args = DataArguments(train_dir=str(train_dir), image_column_name=image_column_name)
    images = open_images(args, [args.train_dir], "--train_dir")
    for encoded in images.sample(NUM_LOOKED_AT, seed=0):
        try:
            with PIL.Image.open(io.BytesIO(encoded.read())) as image:
                shorter_sides.append(min(image.size))
        except Exception:
            continue  # the training will name it
    shorter_side = np.median(shorter_sides) if shorter_sides else 0
    return max([size for size in DEFAULT_IMAGE_SIZES if size <= shorter_side], default=DEFAULT_IMAGE_SIZES[0])


def make_config(image_size: int, norm_pix_loss: bool) -> GreenMimConfig:
    """A model small enough for a CPU: two layers in each stage, and a narrow decoder."""
    if image_size < 128:  # two stages: mask units of 4 or 8 pixels
        patch_size = 2 if image_size < 48 else 4
        encoder = {"patch_size": patch_size, "embed_dim": 64, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
        decoder_hidden_size = 128
    else:  # four stages, as in the paper: mask units of 32 pixels
        encoder = {"embed_dim": 48, "depths": (2, 2, 2, 2), "num_heads": (2, 4, 8, 16)}
        decoder_hidden_size = 256
    config = GreenMimConfig(
        image_size=image_size,
        norm_pix_loss=norm_pix_loss,
        decoder_hidden_size=decoder_hidden_size,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=4 * decoder_hidden_size,
        **encoder,
    )
    unit = config.mask_unit_size
    if image_size % unit:
        below = image_size // unit * unit
        raise UserError(
            f"--image_size {image_size} is not made of whole mask units of {unit} x {unit} pixels. "
            f"Nearest: {below} or {below + unit}."
        )
    return config


def make_image_processor(config: GreenMimConfig) -> GreenMimImageProcessorPil:
    """Scales images to the size of the model, crops the square in the middle, and maps pixels to values from -1 to 1."""
    return GreenMimImageProcessorPil(
        size={"shortest_edge": config.image_size},
        do_center_crop=True,
        crop_size={"height": config.image_size, "width": config.image_size},
        image_mean=IMAGENET_STANDARD_MEAN,
        image_std=IMAGENET_STANDARD_STD,
    )


def run(args: argparse.Namespace, others: list[str], arguments: list[str]):
    """Chooses data and model, and trains."""
    train_dir, defaults = args.train_dir, DEFAULTS
    if train_dir is None:
        train_dir, defaults = args.output_dir / "digits", DEFAULTS | DIGITS_DEFAULTS
        image_size = args.image_size or 64
        config = make_config(image_size, args.norm_pix_loss)
        write_digits(train_dir, image_size)
    else:
        config = make_config(
            args.image_size or choose_image_size(train_dir, args.image_column_name), args.norm_pix_loss
        )
    for option, default in {
        "--num_train_epochs": "max_train_steps",
        "--base_learning_rate": "learning_rate",
    }.items():
        if any(other.startswith(option) for other in others):
            defaults = {name: value for name, value in defaults.items() if name != default}
    if args.image_column_name is not None:
        others = [f"--image_column_name={args.image_column_name}", *others]
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        make_image_processor(config).save_pretrained(folder)
        pretraining.main(
            [
                *(f"--train_dir={train_dir}", f"--output_dir={args.output_dir}"),
                *(f"--config_name_or_path={folder}", f"--image_processor_name={folder}"),
                *(f"--{name}={value}" for name, value in defaults.items()),
                *others,
            ],
            command=["python", Path(sys.argv[0]).name, *arguments],
        )
    if args.train_dir is None:
        print(
            f"Next: the same with your own images: {sys.executable} {sys.argv[0]} --train_dir path/to/images --output_dir my_images"
        )


def main(arguments: list[str] | None = None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args, others = parse_args(arguments)
    try:
        run(args, others, arguments)
    except (UserError, OSError) as error:
        sys.exit(f"quickstart.py: {error}")


if __name__ == "__main__":
    main()
