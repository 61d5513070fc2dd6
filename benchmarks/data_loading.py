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
Measure whether the loader or the model limits pre-training.

Time only the loader, for each number of workers; only the model, on one prepared batch; and both together, with the
fraction of the time that the model waits. Also time each processing step of an image: read, decode, crop and, in the
batch, rescale, mask and plan.

    python -m benchmarks.data_loading --train_dir path/to/images --num_workers 0 1 2
    python -m benchmarks.data_loading --data_files 'path/to/*.parquet' --config_name_or_path my_config.json
    python -m benchmarks.data_loading --train_dir path/to/images --masks_per_image 4
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from benchmarks.training_step import describe_machine
from modeling_greenmim.training.command_line import UserError
from modeling_greenmim.training.image_decoding import read_image
from modeling_greenmim.training.micro_batches import prepare_inputs
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments
from modeling_greenmim.training.pretraining_setup import PretrainingData, make_pretrained_model, open_data


NUM_MICRO_BATCHES = 10**9  # practically endless


def time_parts(data: PretrainingData, collator, num_channels: int, num_images: int) -> dict[str, float]:
    """Measure the milliseconds of each processing step of an image: medians over images, on one core."""
    seconds = {"read": [], "decode": [], "crop": []}
    examples = []
    images = data.images.sample(num_images, seed=0)
    for _ in range(num_images):
        times = [time.perf_counter()]
        if (image := next(images, None)) is None:
            break
        content = image.read()
        times.append(time.perf_counter())
        pixels = read_image(content, num_channels)
        times.append(time.perf_counter())
        cropped = data.make_example.crop(pixels, (len(examples),))
        times.append(time.perf_counter())
        for name, start, end in zip(seconds, times, times[1:]):
            seconds[name].append(end - start)
        examples.append({"pixels": cropped, "mask_seed": (0, 0, len(examples)), "epoch": 0, "unreadable": {}})
    parts = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    start = time.perf_counter()
    collator(examples)
    return parts | {"rescale, mask, plan": 1e3 * (time.perf_counter() - start) / len(examples)}


def take_steps(batches, model, optimizer, num_steps: int, device: str) -> tuple[float, float]:
    """
    Train on an iterator's batches. Returns images per second and the fraction of the time spent waiting for batches.
    """
    accelerator = Accelerator(cpu=device == "cpu")
    num_images, waited, start = 0, 0.0, time.perf_counter()
    for _ in range(num_steps):
        waiting = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - waiting
        num_images += len(batch["epochs"])
        if model is not None:
            model(**prepare_inputs(batch["inputs"], accelerator, teacher=None)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return num_images / seconds, waited / seconds


def measure(batches, model, optimizer, args: argparse.Namespace) -> dict[str, float]:
    """
    Repeat [`take_steps`] after two warmup steps. Returns the median, slowest and fastest speeds and the median wait.
    """
    device = "cpu" if model is None else args.device
    take_steps(batches, model, optimizer, 2, device)
    speeds, waits = zip(*(take_steps(batches, model, optimizer, args.num_steps, device) for _ in range(args.repeats)))
    return {
        "images_per_second": statistics.median(speeds),
        "images_per_second_min": min(speeds),
        "images_per_second_max": max(speeds),
        "data_wait_share": statistics.median(waits),
    }


def show(result: dict[str, float]) -> str:
    median, low, high = (result[f"images_per_second{part}"] for part in ("", "_min", "_max"))
    return f"{median:.0f} ({low:.0f} - {high:.0f})"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--train_dir", help="Folder with images, as in run_pretraining_no_trainer.py.")
    parser.add_argument(
        "--data_files", nargs="+", help="Parquet files with images, as in run_pretraining_no_trainer.py."
    )
    parser.add_argument("--config_name_or_path", help="Configuration of the model. Default: Swin-B.")
    parser.add_argument("--batch_size", type=int, default=32, help="Images in a batch. [%(default)s]")
    parser.add_argument(
        "--masks_per_image",
        type=int,
        default=1,
        help="Masks for each image, as in run_pretraining_no_trainer.py. [%(default)s]",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        help="Numbers of loader workers to measure. %(default)s",
    )
    parser.add_argument("--num_steps", type=int, default=10, help="Batches in each measurement. [%(default)s]")
    parser.add_argument("--repeats", type=int, default=3, help="Number of measurements. [%(default)s]")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="JSON file to write settings, machine and results to.")
    return parser.parse_args()


def main():
    args = parse_args()
    try:
        data_args = DataArguments(train_dir=args.train_dir, data_files=args.data_files, max_eval_samples=0)
        model_args = ModelArguments(config_name_or_path=args.config_name_or_path, masks_per_image=args.masks_per_image)
        start = make_pretrained_model(model_args, seed=0)
        config = start.model.config
        collator = start.make_collator(model_args)
        machine = describe_machine(args.device)
        print(", ".join(f"{name} {value}" for name, value in machine.items()))
        print(
            f"{' x '.join(map(str, config.image_height_and_width))} pixels, batch {args.batch_size}, "
            f"{args.masks_per_image} masks of an image, {args.device}\n"
        )

        data = open_data(data_args, config, seed=0)
        parts = time_parts(data, collator, config.num_channels, args.batch_size)
        print("| part, for one image on one core | ms |\n|---|---|")
        print("\n".join(f"| {name} | {milliseconds:.3f} |" for name, milliseconds in parts.items()), "\n")

        model = start.model.to(args.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        settings = (collator, args.batch_size, range(NUM_MICRO_BATCHES))
        batch = next(iter(data.make_loader(*settings, data.choose_lanes(1, 0, args.batch_size))))
        alone = measure(itertools.repeat(batch), model, optimizer, args)
        print(f"model alone, images/s, median (min - max): {show(alone)}\n")

        print(
            "| workers | loader alone, images/s | both, images/s | both, masks/s | waits for data | bound by |"
            "\n|---|---|---|---|---|---|"
        )
        rows = []
        for num_workers in args.num_workers:

            def iterate(num_workers=num_workers):
                lanes = data.choose_lanes(1, num_workers, args.batch_size)
                pin_memory = args.device == "cuda"
                return iter(data.make_loader(*settings, lanes, num_workers=num_workers, pin_memory=pin_memory))

            loader = measure(iterate(), None, None, args)
            both = measure(iterate(), model, optimizer, args)
            rows.append({"num_workers": num_workers, "loader": loader, "both": both})
            bound = "loader" if loader["images_per_second"] < alone["images_per_second"] else "model"
            waits = 100 * both["data_wait_share"]
            masks = f"{args.masks_per_image * both['images_per_second']:.0f}"
            print(f"| {num_workers} | {show(loader)} | {show(both)} | {masks} | {waits:.1f}% | {bound} |", flush=True)
    except UserError as error:
        sys.exit(f"data_loading.py: {error}")
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name != "json"}
        results = {"parts_ms": parts, "model": alone, "loaders": rows}
        args.json.write_text(json.dumps({"settings": settings, "machine": machine, "results": results}, indent=2))


if __name__ == "__main__":
    main()
