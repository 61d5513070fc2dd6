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
Measure the time and quality of group plans over the number of images, resolution and window size.

For every setting, measure the time to plan all four stages on one core. For each stage and token mixer, report the
group size that the search chose, its fill (fraction of slots that hold a token) and its cost relative to a lower bound
for any packing: full groups of the cheapest size. For comparison, measure the packing as published: groups of fixed
size, filled one at a time by a dynamic program over nested lists.

    python -m benchmarks.planning --num_images 1 64 --image_size 224 896
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.training_step import describe_machine
from modeling_greenmim import GreenMimConfig, make_plan, sample_masks
from modeling_greenmim.packing_greenmim import get_group_cost


def published_packing(window_tokens: list[int], group_size: int) -> int:
    """Count groups that are each filled with the remaining windows' subset of the largest sum, as in the paper."""
    remaining, num_groups = list(window_tokens), 0
    while remaining:
        table = [[0] * (group_size + 1) for _ in range(len(remaining) + 1)]
        for row, size in enumerate(remaining, start=1):
            for capacity in range(group_size + 1):
                table[row][capacity] = table[row - 1][capacity]
                if size <= capacity:
                    table[row][capacity] = max(table[row][capacity], table[row - 1][capacity - size] + size)
        capacity, kept = group_size, []
        for row in range(len(remaining), 0, -1):
            if table[row][capacity] == table[row - 1][capacity]:
                kept.append(remaining[row - 1])
            else:
                capacity -= remaining[row - 1]
        remaining, num_groups = kept[::-1], num_groups + 1
    return num_groups


def measure(num_images: int, image_size: int, window_size: int, args: argparse.Namespace) -> dict:
    grid = (image_size // 32,) * 2
    config = GreenMimConfig(
        image_size=image_size, embed_dim=args.embed_dim, depths=(2, 2, 2, 2), num_heads=1, window_size=window_size
    )
    seconds = []
    for seed in range(args.repeats):
        mask = sample_masks(num_images, grid, args.mask_ratio, seed=seed)
        start = time.perf_counter()
        plan = make_plan(mask, config)
        seconds.append(time.perf_counter() - start)
    shapes = {"window": (None, window_size**2), "shifted_window": (None, window_size**2)}
    fixed = make_plan(mask, config, group_shapes=dict.fromkeys(config.stage_names[1:], shapes))

    layouts, published_seconds = [], 0.0
    for stage, hidden_size in zip(config.stage_names[1:], config.hidden_sizes):
        for token_mixer, mixer_plan in plan[stage].items():
            num_groups, group_size = mixer_plan["gather_index"].shape
            num_tokens = mixer_plan["scatter_index"].numel()
            window = mixer_plan["set_index"]
            window_tokens = torch.unique(window[window >= 0], return_counts=True)[1].tolist()
            largest = max(window_tokens)
            bound = num_tokens / largest * get_group_cost(largest, hidden_size)
            start = time.perf_counter()
            if num_images <= args.published_up_to:
                published_packing(window_tokens, largest)
            published_seconds += time.perf_counter() - start
            layouts.append(
                {
                    "layout": f"{stage}_{token_mixer}",
                    "windows": len(window_tokens),
                    "group_size": group_size,
                    "groups": num_groups,
                    "fill": num_tokens / (group_size * num_groups),
                    "cost_over_bound": num_groups * get_group_cost(group_size, hidden_size) / bound,
                    "fill_at_window_area": num_tokens / fixed[stage][token_mixer]["gather_index"].numel(),
                }
            )
    return {
        "num_images": num_images,
        "image_size": image_size,
        "window_size": window_size,
        "median_ms": 1e3 * statistics.median(seconds),
        "min_ms": 1e3 * min(seconds),
        "max_ms": 1e3 * max(seconds),
        "published_ms": 1e3 * published_seconds if num_images <= args.published_up_to else None,
        "layouts": layouts,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--num_images", type=int, nargs="+", default=[1, 8, 64, 256], help="Numbers of images packed together."
    )
    parser.add_argument(
        "--image_size", type=int, nargs="+", default=[224, 512, 896], help="Image sides in pixels, multiples of 32."
    )
    parser.add_argument("--window_size", type=int, nargs="+", default=[7, 14], help="Window sides in tokens.")
    parser.add_argument("--embed_dim", type=int, default=96, help="Channels of the first stage. [%(default)s]")
    parser.add_argument("--mask_ratio", type=float, default=0.75, help="Fraction of hidden mask units. [%(default)s]")
    parser.add_argument(
        "--repeats", type=int, default=5, help="Number of plans, each with different masks. [%(default)s]"
    )
    parser.add_argument(
        "--published_up_to", type=int, default=1, help="Largest number of images to time the published packing for."
    )
    parser.add_argument("--json", type=Path, help="JSON file to write settings, machine and results to.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe_machine("cpu")
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"a mask for each image, {args.mask_ratio:.0%} hidden, {args.embed_dim} channels, {args.repeats} plans\n")
    print(
        "| images | px | window | plan, ms: median (min - max) | published packing, ms | group sizes | fill | cost / "
        "bound | fill at window^2 |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    results = []
    for image_size in args.image_size:
        for window_size in args.window_size:
            for num_images in args.num_images:
                row = measure(num_images, image_size, window_size, args)
                results.append(row)
                columns = {
                    name: " ".join(f"{layout[name]:{form}}" for layout in row["layouts"])
                    for name, form in [("group_size", "d"), ("fill", ".2f"), ("cost_over_bound", ".2f")]
                }
                at_window = np.array([layout["fill_at_window_area"] for layout in row["layouts"]])
                published = "not measured" if row["published_ms"] is None else f"{row['published_ms']:.0f}"
                print(
                    f"| {num_images} | {image_size} | {window_size} "
                    f"| {row['median_ms']:.1f} ({row['min_ms']:.1f} - {row['max_ms']:.1f}) | {published} "
                    f"| {columns['group_size']} | {columns['fill']} | {columns['cost_over_bound']} "
                    f"| {' '.join(f'{value:.3f}' for value in at_window)} |"
                )
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name != "json"}
        args.json.write_text(json.dumps({"settings": settings, "machine": machine, "results": results}, indent=2))


if __name__ == "__main__":
    main()
