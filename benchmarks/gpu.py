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
"""The table of one GPU, in one command and ten minutes: every goal of speed and memory, beside its peer.

Training steps in bfloat16 (autocast) with masks and plans made ahead, as the workers of a loader do; compiled and not; at batch
256, and at the largest batch that both models hold. Each row runs in a process of its own. What the time did not suffice for,
and what did not fit into memory, is said.

    python benchmarks/gpu.py --json gpu.json --plot gpu.png

On a machine without a GPU, `--device cpu --model_sizes tiny --batch_size 2 --dtype float32` runs the same rows, to see that they run.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from peers import PEERS, SWIN_SIZES, Setting
from training_step import DTYPES, describe_machine, measure_peak_memory, run_alone, summarize, time_steps


INPUTS_AHEAD = 4


@dataclass(frozen=True)
class Row:
    """One comparison: ours and a peer at a setting."""

    title: str
    ours: str
    peer: str
    setting: Setting
    compile: bool
    goal: float | None = None
    largest_batch: bool = False


def make_rows(args: argparse.Namespace) -> list[Row]:
    """All comparisons, the most important first: the time may end."""
    size = args.model_sizes[0]
    base = Setting(model_size=size, batch_size=args.batch_size, device=args.device)
    rows = []
    for compile in (False, True):
        rows += [
            Row(f"{size}, 224 px, SimMIM", "greenmim", "simmim", base, compile, 3.0),
            Row(f"{size}, 224 px, Hiera", "greenmim", "hiera", base, compile, 1.1),
            Row(f"{size}, 224 px, ViT-MAE", "greenmim", "vit_mae", base, compile, 1.5),
            Row(f"{size}, 224 px, full images, Swin", "greenmim_full", "swin_full", base, compile, 1.0),
            Row(f"{size}, 224 px, SimMIM, largest batch", "greenmim", "simmim", base, compile, 3.0, True),
        ]
        for other in args.model_sizes[1:]:
            setting = replace(base, model_size=other)
            rows.append(
                Row(f"{other}, 224 px, SimMIM, largest batch", "greenmim", "simmim", setting, compile, 3.0, True)
            )
        if not args.only_224:
            setting = replace(base, image_size=512)
            rows.append(
                Row(f"{size}, 512 px, SimMIM, largest batch", "greenmim", "simmim", setting, compile, 3.0, True)
            )
    return rows


def get_largest_batch(name: str, setting: Setting, dtype: str, share: float = 0.8) -> int:
    """The largest multiple of 8 that leaves a part of the memory free, by the peaks at 8 and 16 images."""
    small, large = (
        run_alone(measure_peak_memory, name, replace(setting, batch_size=batch_size), dtype) for batch_size in (8, 16)
    )
    per_image = (large - small) / 8
    total = torch.cuda.get_device_properties(0).total_memory / 2**20
    idle = 4 * sum(p.numel() for p in PEERS[name](replace(setting, device="cpu")).module.parameters()) * 4 / 2**20
    return max(8, int((share * total - idle - small + 8 * per_image) / per_image / 8) * 8)


def get_timing(args: argparse.Namespace, compile: bool) -> argparse.Namespace:
    """What [`time_steps`] reads. Compiled, every shape of a plan is met twice before the clock starts."""
    return argparse.Namespace(
        threads=None,
        compile=compile,
        inference=False,
        dtype=args.dtype,
        warmup=2 * INPUTS_AHEAD if compile else args.warmup,
        repeats=args.repeats,
        inputs_ahead=INPUTS_AHEAD,
    )


def measure(row: Row, args: argparse.Namespace) -> dict:
    """Times, memory and ratios of a row."""
    setting = row.setting
    if row.largest_batch and args.device == "cuda":
        setting = replace(setting, batch_size=get_largest_batch(row.peer, setting, args.dtype))
    timing = get_timing(args, row.compile)
    seconds = run_alone(time_steps, [row.ours, row.peer], setting, timing)
    ours, peer = (summarize(name, seconds[name], setting) for name in (row.ours, row.peer))
    for result in (ours, peer):
        result["peak_mib"] = run_alone(measure_peak_memory, result["model"], setting, args.dtype)
    return {
        "title": row.title,
        "compiled": row.compile,
        "goal": row.goal,
        **asdict(setting),
        "ours": ours,
        "peer": peer,
        "faster": peer["median_ms"] / ours["median_ms"],
        "share_of_memory": ours["peak_mib"] / peer["peak_mib"] if peer["peak_mib"] else None,
    }


def compare_masks(args: argparse.Namespace) -> dict:
    """A mask for each image against one for the batch."""
    results = {}
    for per_sample in (False, True):
        setting = Setting(
            model_size=args.model_sizes[0], batch_size=args.batch_size, per_sample=per_sample, device=args.device
        )
        timing = get_timing(args, compile=False)
        seconds = run_alone(time_steps, ["greenmim"], setting, timing)
        results["per_sample" if per_sample else "per_batch"] = summarize("greenmim", seconds["greenmim"], setting)
    return results | {"slower": results["per_sample"]["median_ms"] / results["per_batch"]["median_ms"]}


def get_idle_share(model_size: str, batch_size: int, dtype: str, num_steps: int = 5) -> float:
    """Share of the time of some training steps in which no kernel runs on the GPU, by torch's profiler."""
    setting = Setting(model_size=model_size, batch_size=batch_size, per_sample=True, device="cuda")
    peer = PEERS["greenmim"](setting)
    model = peer.module.to("cuda").train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs = [peer.make_inputs(step) for step in range(num_steps)]

    def take_steps():
        for each in inputs:
            with torch.autocast("cuda", dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
                loss = model(**each).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()

    take_steps()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        take_steps()
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    busy, end = 0.0, kernels[0][0]
    for start, stop in kernels:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return 1 - busy / (end - kernels[0][0])


def print_result(result: dict):
    def show(model: dict) -> str:
        return "{:.1f} ({:.1f} - {:.1f})".format(*(model[name] for name in ("median_ms", "min_ms", "max_ms")))

    memory = "not measured" if result["share_of_memory"] is None else f"{result['share_of_memory']:.2f}"
    print(
        f"| {result['title']} | {'yes' if result['compiled'] else 'no'} | {result['batch_size']} | {show(result['ours'])} "
        f"| {show(result['peer'])} | {result['ours']['images_per_second']:.0f} / {result['peer']['images_per_second']:.0f} "
        f"| {result['faster']:.2f} | {result['goal']:g} | {memory} |",
        flush=True,
    )


def draw(path: Path, results: list[dict], machine: dict):
    """Times faster than each peer."""
    figure = Figure(figsize=(8, 0.4 * len(results) + 1.2), layout="constrained")
    axes = figure.subplots()
    titles = [f"{result['title']}{', compiled' if result['compiled'] else ''}" for result in results]
    axes.barh(titles, [result["faster"] for result in results], color="tab:green")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set(xlabel=f"times faster ({machine['processor']})")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_sizes", nargs="+", choices=SWIN_SIZES, default=["base", "large"], help="%(default)s")
    parser.add_argument("--batch_size", type=int, default=256, help="[%(default)s]")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="[%(default)s]")
    parser.add_argument("--repeats", type=int, default=7, help="Counted steps of each model. [%(default)s]")
    parser.add_argument("--warmup", type=int, default=3, help="Steps before them. [%(default)s]")
    parser.add_argument(
        "--time_limit", type=float, default=540, help="Seconds after which no row begins. [%(default)s]"
    )
    parser.add_argument("--only_224", action="store_true", help="Leave out the images of 512 pixels.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="[%(default)s]")
    parser.add_argument("--json", type=Path, help="File to write settings, machine and results to, after every row.")
    parser.add_argument("--plot", type=Path, help="PNG to draw.")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use; --device cpu runs the same rows on the CPU")
    return args


def main():
    args = parse_args()
    start, machine = time.monotonic(), describe_machine(args.device)
    settings = {name: value for name, value in vars(args).items() if name not in ("json", "plot")}
    results, others = [], {}

    def is_over() -> bool:
        return time.monotonic() - start > args.time_limit

    def save():
        if args.json:
            content = {"settings": settings, "machine": machine, "results": {"rows": results, **others}}
            args.json.write_text(json.dumps(content, indent=2))

    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{args.dtype}, masks and plans made ahead, {args.repeats} steps in turn\n")
    print(
        "| | compiled | batch | ours: forward + backward, ms, median (min - max) | peer | images/s | times faster | must "
        "| share of memory |\n|---|---|---|---|---|---|---|---|---|"
    )
    for row in make_rows(args):
        if is_over():
            print(f"| {row.title} | {'yes' if row.compile else 'no'} | not measured: time is over |||||||")
            continue
        try:
            results.append(measure(row, args))
        except torch.OutOfMemoryError as error:
            print(
                f"| {row.title} | {'yes' if row.compile else 'no'} | not measured: {str(error).split('.')[0]} |||||||"
            )
            continue
        print_result(results[-1])
        save()
    print()
    if not is_over():
        others["masks"] = compare_masks(args)
        print(
            f"A mask for each image takes {others['masks']['slower']:.2f} times as long as one for the batch (must: 1.15)."
        )
    if args.device == "cuda" and not is_over():
        others["idle_share"] = run_alone(get_idle_share, args.model_sizes[0], args.batch_size, args.dtype)
        print(f"The GPU waits for {100 * others['idle_share']:.1f} % of a training step (must: 3 %).")
    save()
    if args.plot and results:
        draw(args.plot, results, machine)


if __name__ == "__main__":
    main()
