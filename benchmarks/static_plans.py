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
Measure how many different shapes the plans of a run have, and the cost of static plans with one shape.

For every setting, plan `--draws` batches with a mask for each image. Report the number of different shapes of the
searched plans and of the plans with `measure_group_shapes`, and the multiply-adds of all attention layers relative to
the searched plans.

    python -m benchmarks.static_plans --json static_plans.json
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from benchmarks.peers import SWIN_SIZES
from benchmarks.training_step import describe_machine
from modeling_greenmim import GreenMimConfig, make_plan, sample_masks
from modeling_greenmim.packing_greenmim import get_group_cost
from modeling_greenmim.planning_greenmim import measure_group_shapes


FIRST_SEED = 10_000  # different from the seeds that the shapes are measured on


def get_shapes(plan: dict, config: GreenMimConfig) -> tuple:
    """Return the number and size of the groups of every stage and token mixer."""
    return tuple(
        tuple(mixer_plan["gather_index"].shape)
        for name in config.stage_names[1:]
        for mixer_plan in plan[name].values()
    )


def count_attention(plan: dict, config: GreenMimConfig) -> int:
    """Count the multiply-adds of all layers on their slots."""
    return sum(
        plan[name][mixer]["gather_index"].shape[0]
        * get_group_cost(plan[name][mixer]["gather_index"].shape[1], config.hidden_sizes[stage])
        for stage, name in enumerate(config.stage_names[1:])
        for mixer in config.get_layer_mixers(stage)
    )


def measure(model_size: str, batch_size: int, args: argparse.Namespace) -> dict:
    config = GreenMimConfig(**SWIN_SIZES[model_size], image_size=args.image_size)
    grid = (args.image_size // config.mask_unit_size,) * 2
    start = time.perf_counter()
    group_shapes = measure_group_shapes(config, batch_size, args.mask_ratio)
    seconds = time.perf_counter() - start
    searched_shapes, static_shapes, costs = set(), set(), []
    for seed in range(FIRST_SEED, FIRST_SEED + args.draws):
        mask = sample_masks(batch_size, grid, args.mask_ratio, seed=seed)
        searched, static = make_plan(mask, config), make_plan(mask, config, group_shapes=group_shapes)
        searched_shapes.add(get_shapes(searched, config))
        static_shapes.add(get_shapes(static, config))
        costs.append(count_attention(static, config) / count_attention(searched, config))
    return {
        "model_size": model_size,
        "batch_size": batch_size,
        "searched_shapes": len(searched_shapes),
        "static_shapes": len(static_shapes),
        "cost_over_searched": statistics.mean(costs),
        "seconds_to_measure": seconds,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--model_sizes", nargs="+", choices=SWIN_SIZES, default=["base", "tiny"], help="Model sizes. %(default)s"
    )
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[64, 256], help="Images in a batch. %(default)s")
    parser.add_argument("--image_size", type=int, default=224, help="Image side in pixels. [%(default)s]")
    parser.add_argument("--mask_ratio", type=float, default=0.75, help="Fraction of hidden mask units. [%(default)s]")
    parser.add_argument("--draws", type=int, default=200, help="Number of batches to plan. [%(default)s]")
    parser.add_argument("--json", type=Path, help="JSON file to write settings, machine and results to.")
    args = parser.parse_args()
    print(
        "| model | batch | shapes, searched | shapes, static | cost over searched | measured in, s "
        "|\n|---|---|---|---|---|---|"
    )
    results = []
    for model_size in args.model_sizes:
        for batch_size in args.batch_sizes:
            row = measure(model_size, batch_size, args)
            results.append(row)
            print(
                f"| {model_size} | {batch_size} | {row['searched_shapes']} of {args.draws} | {row['static_shapes']} "
                f"| +{100 * (row['cost_over_searched'] - 1):.2f}% | {row['seconds_to_measure']:.1f} |",
                flush=True,
            )
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name != "json"}
        content = {"settings": settings, "machine": describe_machine("cpu"), "results": results}
        args.json.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
