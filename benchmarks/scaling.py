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
Measure how the cost of a training step grows with the visible fraction of the image and with the image size.

Times GreenMIM and SimMIM in turn, as in `training_step.py`, at mask ratios from 0.4 to 0.9 and at sizes from 224 to
1024 pixels, with about the same number of pixels in a batch at every size. Prints tables and draws a plot.

    python -m benchmarks.scaling --plot scaling.png --json scaling.json
    python -m benchmarks.scaling --model_size base --device cuda --dtype bfloat16 --num_pixels 12845056
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.peers import SWIN_SIZES, Setting
from benchmarks.training_step import add_timing_arguments, describe_machine, run_alone, summarize, time_steps
from modeling_greenmim.masking_greenmim import get_num_visible_units


def measure(setting: Setting, args: argparse.Namespace) -> dict:
    """Measure GreenMIM and SimMIM at one setting."""
    seconds = run_alone(time_steps, ["greenmim", "simmim"], setting, args)
    ours, peer = (summarize(name, seconds[name], setting) for name in ("greenmim", "simmim"))
    num_units = (setting.image_size // 32) ** 2
    return {
        "mask_ratio": setting.mask_ratio,
        "image_size": setting.image_size,
        "batch_size": setting.batch_size,
        "visible_tokens": 64 * get_num_visible_units(num_units, setting.mask_ratio),  # in the first stage
        "ours": ours,
        "peer": peer,
        "faster": peer["median_ms"] / ours["median_ms"],
    }


def print_row(row: dict):
    def show(model: dict) -> str:
        per_image = [model[name] / row["batch_size"] for name in ("median_ms", "min_ms", "max_ms")]
        return "{:.1f} ({:.1f} - {:.1f})".format(*per_image)

    print(
        f"| {row['image_size']} | {row['batch_size']} | {row['mask_ratio']:g} | {row['visible_tokens']} | "
        f"{show(row['ours'])} | {show(row['peer'])} | {row['faster']:.2f} |",
        flush=True,
    )


def draw(path: Path, by_ratio: list[dict], by_size: list[dict]):
    """Plot milliseconds per image over its visible tokens and over its side."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, rows, name, label in zip(
        figure.subplots(1, 2),
        (by_ratio, by_size),
        ("visible_tokens", "image_size"),
        (f"visible tokens of the first stage, {by_ratio[0]['image_size']} px", "side of the image, px"),
    ):
        for model, title, color in (("ours", "GreenMIM", "tab:green"), ("peer", "SimMIM", "tab:gray")):
            values = [row[model]["median_ms"] / row["batch_size"] for row in rows]
            axes.plot([row[name] for row in rows], values, marker="o", color=color, label=title)
        axes.set(xlabel=label, ylabel="forward and backward, ms for an image", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    defaults = Setting()
    parser.add_argument(
        "--model_size", choices=SWIN_SIZES, default=defaults.model_size, help="Size of the model. [%(default)s]"
    )
    parser.add_argument("--mask_ratios", type=float, nargs="+", default=[0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9])
    parser.add_argument("--image_sizes", type=int, nargs="+", default=[224, 384, 512, 768, 1024])
    parser.add_argument(
        "--num_pixels",
        type=int,
        default=8 * 224**2,
        help="Approximate number of pixels in a batch, which has at least one image. [%(default)s]",
    )
    parser.add_argument("--plot", type=Path, help="PNG file to write the plot to.")
    parser.add_argument("--json", type=Path, help="JSON file to write settings, machine and results to.")
    add_timing_arguments(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    machine = describe_machine(args.device)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{args.model_size}, {args.dtype}{', compiled' if args.compile else ''}, {args.repeats} steps in turn\n")
    print(
        "| px | batch | mask ratio | visible tokens | ours, ms for an image, median (min - max) | SimMIM | times "
        "faster |\n|---|---|---|---|---|---|---|"
    )
    base = Setting(model_size=args.model_size, device=args.device)

    def measure_at(image_size: int, mask_ratio: float) -> dict:
        batch_size = max(1, args.num_pixels // image_size**2)
        setting = replace(base, image_size=image_size, mask_ratio=mask_ratio, batch_size=batch_size)
        row = measure(setting, args)
        print_row(row)
        return row

    by_ratio = [measure_at(args.image_sizes[0], mask_ratio) for mask_ratio in args.mask_ratios]
    by_size = [measure_at(image_size, base.mask_ratio) for image_size in args.image_sizes]
    if args.plot:
        draw(args.plot, by_ratio, by_size)
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name not in ("json", "plot")}
        results = {"by_mask_ratio": by_ratio, "by_image_size": by_size}
        args.json.write_text(json.dumps({"settings": settings, "machine": machine, "results": results}, indent=2))


if __name__ == "__main__":
    main()
