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
"""

import os


# before PyTorch is loaded: its threads sleep while they wait, and do not slow each other down on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm
from transformers import AutoModel, get_cosine_schedule_with_warmup, set_seed
from transformers.image_utils import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD
from transformers.utils import logging

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from quickstart_data import (
    ImageData,
    MaskingCollator,
    QuickstartError,
    make_batch,
    open_images,
    read_images,
    write_digits,
)
from quickstart_figures import plot_loss_curve, plot_reconstructions


DEFAULT_IMAGE_SIZES = (32, 64, 224)
NUM_EVALUATIONS = 8
NUM_PICTURES = 10
MAX_GRAD_NORM = 1.0


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Pre-trains a small GreenMIM model and shows what it has learned.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--train_dir",
        type=Path,
        help="Folder of images (at any depth, of any size, colour or grey) or of parquet files with an image column. "
        "Without it, scikit-learn's handwritten digits are used.",
    )
    data.add_argument("--image_column_name", default="image", help="Column of the images in parquet files.")
    data.add_argument(
        "--image_size",
        type=int,
        help="Side of the images in pixels, made of whole mask units: 4 pixels below a size of 48, 8 below 128, 32 from "
        "there on. Without it, 64 for the digits, and for your images the largest of 32, 64 and 224 that most of them "
        "need not be enlarged to.",
    )
    data.add_argument(
        "--no_augmentation",
        action="store_true",
        help="Train on whole images. Otherwise your images are cropped to 20 to 100 %% of their area and flipped at "
        "random, and the digits, where a flip is another sign, are cropped a little.",
    )
    data.add_argument("--num_workers", type=int, default=0, help="Processes that decode images beside the training.")

    task = parser.add_argument_group("task")
    task.add_argument(
        "--mask_ratio",
        type=float,
        default=0.6,
        help="Share of the mask units to hide. The encoder computes on the others alone: more is faster, and harder.",
    )
    task.add_argument(
        "--norm_pix_loss",
        action="store_true",
        help="Predict pixels normalized by the mean and variance of their unit, as the paper does: better features for "
        "photos. Pictures then borrow mean and variance from the image itself. Flat units, as in the digits, have no "
        "normalized pixels worth learning.",
    )

    training = parser.add_argument_group("training")
    training.add_argument("--per_device_train_batch_size", type=int, default=32, help="Images in a step.")
    training.add_argument("--max_train_steps", type=int, default=700, help="Steps to train. Ctrl-C stops earlier.")
    training.add_argument(
        "--learning_rate", type=float, default=2e-3, help="Highest learning rate, after the warm-up."
    )
    training.add_argument(
        "--num_warmup_steps",
        type=int,
        default=50,
        help="Steps in which the learning rate rises from 0; then it falls to 0 along a cosine.",
    )
    training.add_argument(
        "--weight_decay", type=float, default=0.05, help="Weight decay of AdamW; norms, biases and tokens have none."
    )
    training.add_argument(
        "--mixed_precision",
        choices=["no", "bf16", "fp16"],
        default="no",
        help="bf16 is faster on a recent GPU; on a CPU, leave it.",
    )
    training.add_argument("--seed", type=int, default=0, help="Seed of weights, order, crops and masks.")
    parser.add_argument("--output_dir", type=Path, default=Path("quickstart"), help="Where everything is stored.")
    args = parser.parse_args(arguments)
    for name, smallest in {
        "image_size": 8,
        "per_device_train_batch_size": 1,
        "max_train_steps": 1,
        "num_warmup_steps": 0,
        "num_workers": 0,
        "seed": 0,
    }.items():
        if getattr(args, name) is not None and getattr(args, name) < smallest:
            parser.error(f"--{name} must be at least {smallest}, but is {getattr(args, name)}")
    if not 0.0 < args.mask_ratio < 1.0:
        parser.error(f"--mask_ratio must lie between 0 and 1, both excluded, but is {args.mask_ratio}")
    return args


def make_output_dir(output_dir: Path):
    """Makes the folder, and finds out now, not after the training, whether files can be written there."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir) as file:
            file.write(b"0")
    except OSError as error:
        raise QuickstartError(f"Cannot write to --output_dir {output_dir}: {error}") from error


def load_images(args: argparse.Namespace) -> ImageData:
    """The images of `--train_dir`, or the digits, which take the same way: they are stored as parquet first."""
    if args.train_dir is not None:
        return open_images(args.train_dir, args.image_column_name, args.seed)
    write_digits(args.output_dir / "digits", args.image_size or 64)
    return open_images(args.output_dir / "digits", "image", args.seed)


def choose_image_size(data: ImageData) -> int:
    """The largest of the default sizes that most of the held-out images need not be enlarged to."""
    shorter_sides, _ = read_images(data.held_out, transform=lambda image: min(image.size))
    shorter_side = np.median(shorter_sides) if shorter_sides else 0
    return max([size for size in DEFAULT_IMAGE_SIZES if size <= shorter_side], default=DEFAULT_IMAGE_SIZES[0])


def make_config(image_size: int, mask_ratio: float, norm_pix_loss: bool) -> GreenMimConfig:
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
        mask_ratio=mask_ratio,
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
        raise QuickstartError(
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
        mask_ratio=config.mask_ratio,
        mask_unit_size=config.mask_unit_size,
    )


def read_held_out_images(data: ImageData, image_size: int) -> list[PIL.Image.Image]:
    """Reads the held-out images, the square in the middle at the size of the model: large photos would fill the memory."""
    images, unreadable = read_images(data.held_out, lambda image: PIL.ImageOps.fit(image, (image_size, image_size)))
    data.unreadable.update(unreadable)
    if not images:
        raise QuickstartError(f"None of the held-out images can be read. {describe_unreadable(data)}")
    return images


def make_held_out_batches(
    images: list[PIL.Image.Image],
    image_processor: GreenMimImageProcessorPil,
    config: GreenMimConfig,
    args: argparse.Namespace,
) -> list[dict]:
    """The held-out images with masks that stay the same, so that their losses can be compared."""
    size = args.per_device_train_batch_size
    return [
        make_batch(images[start : start + size], image_processor, config, mask_seed=[args.seed, start])
        for start in range(0, len(images), size)
    ]


def get_parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for the weight matrices alone: not for norms, biases, tables of relative positions and tokens."""
    matrices = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
        for parameter in module.parameters(recurse=False)
        if parameter.ndim > 1
    }
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in matrices], "weight_decay": 0.0},
    ]


def iterate_batches(data: ImageData, collator: MaskingCollator, args: argparse.Namespace) -> Iterator[dict]:
    """Batches without end: in every epoch another order, other crops and other masks."""
    is_stream = isinstance(data.train, IterableDataset)
    loader = DataLoader(
        data.train,
        batch_size=args.per_device_train_batch_size,
        shuffle=not is_stream,
        collate_fn=collator,
        num_workers=args.num_workers,
        generator=torch.Generator().manual_seed(args.seed),
    )
    epoch = 0
    while True:
        collator.start_epoch(epoch)
        if is_stream:
            data.train.set_epoch(epoch)
        num_images = 0
        for batch in loader:
            for name, reason in batch["unreadable"].items():
                if name not in data.unreadable:
                    tqdm.write(f"Skipped {name} ({reason})")
                data.unreadable[name] = reason
            num_images += batch["num_images"]
            if batch["inputs"] is not None:
                yield batch["inputs"]
        if num_images == 0:
            raise QuickstartError(f"None of the images to train on can be read. {describe_unreadable(data)}")
        epoch += 1


@torch.no_grad()
def evaluate(model: nn.Module, batches: list[dict], device: torch.device) -> float:
    """Loss on the held-out images."""
    model.eval()
    losses = [model(**send_to_device(batch, device)).loss.item() for batch in batches]
    model.train()
    return float(np.average(losses, weights=[len(batch["pixel_values"]) for batch in batches]))


def check_finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise QuickstartError(
            f"The loss is {loss} after {step} steps: the training has diverged, nothing was saved. Use a lower "
            "--learning_rate, more --num_warmup_steps, or --mixed_precision no."
        )
    return loss


def train(
    model: nn.Module, batches: Iterator[dict], held_out: list[dict], accelerator: Accelerator, args: argparse.Namespace
) -> dict:
    """Trains for `max_train_steps` or until Ctrl-C. Returns losses, speed, and whether it was interrupted."""
    optimizer = torch.optim.AdamW(
        get_parameter_groups(model, args.weight_decay), lr=args.learning_rate, betas=(0.9, 0.95)
    )
    scheduler = get_cosine_schedule_with_warmup(optimizer, args.num_warmup_steps, args.max_train_steps)
    model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)

    def train_step(inputs: dict) -> float:
        loss = model(**send_to_device(inputs, accelerator.device)).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        return loss.item()

    train_losses, num_images, seconds, interrupted = [], 0, 0.0, False
    held_out_losses = {0: evaluate(model, held_out, accelerator.device)}
    evaluation_steps = {round(args.max_train_steps * part / NUM_EVALUATIONS) for part in range(1, NUM_EVALUATIONS)}
    with tqdm(total=args.max_train_steps, desc="Training", unit="step") as progress:
        try:
            for step in range(1, args.max_train_steps + 1):
                start = time.perf_counter()
                inputs = next(batches)
                train_losses.append(check_finite(train_step(inputs), step))
                num_images += len(inputs["pixel_values"])
                seconds += time.perf_counter() - start
                progress.set_postfix_str(f"loss {train_losses[-1]:.4f}, {num_images / seconds:.0f} images/s")
                progress.update()
                if step in evaluation_steps:
                    held_out_losses[step] = evaluate(model, held_out, accelerator.device)
        except KeyboardInterrupt:
            interrupted = True
            tqdm.write("Ctrl-C: stopping here. What there is will be evaluated and saved.")
    num_steps = len(train_losses)
    held_out_losses[num_steps] = check_finite(evaluate(model, held_out, accelerator.device), num_steps)
    return {
        "train_losses": train_losses,
        "held_out_losses": held_out_losses,
        "images_per_second": num_images / seconds if seconds else 0.0,
        "seconds": seconds,
        "interrupted": interrupted,
    }


@torch.no_grad()
def plot_held_out(path: Path, model: GreenMimForMaskedImageModeling, batch: dict):
    """Stores a picture of held-out images: original, what the encoder sees, and the reconstruction."""
    pixel_values = batch["pixel_values"][:NUM_PICTURES]
    outputs = model.eval()(pixel_values, bool_masked_pos=batch["bool_masked_pos"][:NUM_PICTURES])
    hidden = outputs.mask[:, :, None].expand_as(outputs.logits)
    hidden = model.unpatchify(hidden, image_size=tuple(pixel_values.shape[-2:]))
    rows = {
        "original": pixel_values,
        "masked": pixel_values.masked_fill(hidden, 0.0),
        "reconstruction": model.reconstruct(pixel_values, outputs),
    }
    note = "Held-out images. Reconstruction: visible units from the image, hidden units as predicted"
    if model.config.norm_pix_loss:
        note += (
            ",\nbut with their true mean and variance, taken from the image itself (norm_pix_loss): "
            "the picture shows more than the model knows."
        )
    else:
        note += "; nothing of them is taken from the image."
    plot_reconstructions(path, {title: images * 0.5 + 0.5 for title, images in rows.items()}, note)


def describe_unreadable(data: ImageData) -> str:
    """One line for the report: how many files (or rows) were skipped, and the first of them."""
    if not data.unreadable:
        return "Unreadable files: none."
    name, reason = next(iter(data.unreadable.items()))
    return f"Unreadable files, skipped: {len(data.unreadable)}, such as {name} ({reason})."


@torch.no_grad()
def load_again(model_dir: Path, trained: GreenMimForMaskedImageModeling, image: PIL.Image.Image) -> str:
    """Loads the encoder as a user would, without the decoder, and makes sure that it is the one that was trained."""
    image_processor = GreenMimImageProcessorPil.from_pretrained(model_dir)
    model = AutoModel.from_pretrained(model_dir).eval()
    inputs = image_processor(image, return_tensors="pt")
    last_hidden_state = model(**inputs).last_hidden_state
    torch.testing.assert_close(last_hidden_state, trained.eval().greenmim(**inputs).last_hidden_state)
    return f"{type(model).__name__}, last_hidden_state of a held-out image: {tuple(last_hidden_state.shape)}"


def run(args: argparse.Namespace):
    """The quickstart from top to bottom."""
    accelerator = Accelerator(mixed_precision=args.mixed_precision)
    if accelerator.num_processes > 1:
        raise QuickstartError("The quickstart runs in one process: start it with `python`, on one device.")
    set_seed(args.seed)
    make_output_dir(args.output_dir)
    # one progress bar is enough: that of the training
    datasets.disable_progress_bars()
    logging.disable_progress_bar()

    # 1. data, model and image processor
    data = load_images(args)
    config = make_config(args.image_size or choose_image_size(data), args.mask_ratio, args.norm_pix_loss)
    image_processor = make_image_processor(config)
    model = GreenMimForMaskedImageModeling(config)
    print(
        f"{data.num_images} images, scaled to {config.image_size} px. Model of {model.num_parameters() / 1e6:.1f} M "
        f"parameters with mask units of {config.mask_unit_size} px, on {accelerator.device}."
    )

    # 2. images that are never trained on
    held_out_images = read_held_out_images(data, config.image_size)
    held_out = make_held_out_batches(held_out_images, image_processor, config, args)
    print(f"{len(held_out_images)} held-out images measure the loss.")

    # 3. training, with the held-out loss before and after
    if args.no_augmentation:
        min_scale, flip = 1.0, False
    elif args.train_dir is None:
        min_scale, flip = 0.7, False
    else:
        min_scale, flip = 0.2, True
    collator = MaskingCollator(image_processor, config, args.seed, min_scale, flip)
    results = train(model, iterate_batches(data, collator, args), held_out, accelerator, args)

    # 4. pictures, numbers, and a model folder
    model = accelerator.unwrap_model(model, keep_fp32_wrapper=False).cpu()
    model_dir = args.output_dir / "model"
    model.save_pretrained(model_dir)
    image_processor.save_pretrained(model_dir)
    plot_loss_curve(
        args.output_dir / "loss_curve.png", results["train_losses"], results["held_out_losses"], args.norm_pix_loss
    )
    plot_held_out(args.output_dir / "reconstructions.png", model, held_out[0])
    metrics = {"num_images": data.num_images, "num_held_out": len(held_out_images), **results}
    metrics["unreadable"] = data.unreadable
    (args.output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2))

    # 5. the model folder is what everything else starts from: load it again
    loaded = load_again(model_dir, model, held_out_images[0])
    losses = list(results["held_out_losses"].values())
    next_step = f"train for longer, or build on the encoder with AutoModel.from_pretrained({str(model_dir)!r})."
    if args.train_dir is None:
        next_step = f"the same with your own images: {sys.executable} {sys.argv[0]} --train_dir path/to/images"
    print(
        f"\nLoss on held-out images: {losses[0]:.4f} before, {losses[-1]:.4f} after {len(results['train_losses'])} steps"
        f"{' (interrupted)' if results['interrupted'] else ''}.\n"
        f"Speed: {results['images_per_second']:.0f} images per second, {results['seconds']:.0f} s of training.\n"
        f"{describe_unreadable(data)}{' All are named in metrics.json.' if data.unreadable else ''}\n"
        f"Loss curve: {args.output_dir / 'loss_curve.png'}\n"
        f"Pictures:   {args.output_dir / 'reconstructions.png'}\n"
        f"Model:      {model_dir}\n"
        f"Loaded again with AutoModel.from_pretrained: {loaded}.\n"
        f"Next: {next_step}"
    )


def main(arguments: list[str] | None = None):
    args = parse_args(arguments)
    try:
        run(args)
    except QuickstartError as error:
        sys.exit(f"quickstart.py: error: {error}")


if __name__ == "__main__":
    main()
