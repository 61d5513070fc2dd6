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
Benchmark one GPU with one command in ten minutes: values, reproducibility, and every speed and memory goal.

The benchmark first checks values (eager against SDPA attention, with and without gradients, and the GPU against the
CPU) and whether training steps from the same state give the same bits. If a check fails, the run is marked as failed,
and the exit status is 1. Then come the comparisons with peers, the most important first: training steps in bfloat16
(autocast), with a mask for each image, and with masks and plans made ahead, as loader workers do. They run uncompiled,
compiled, and compiled with CUDA graphs on plans of static shapes. Each row runs in its own process. If a model cannot
run, only its own numbers are missing, and the reason is printed. Results are written after every row.

    python -m benchmarks.gpu --json gpu.json --plot gpu.png

To test the rows on a machine without a GPU, run:

    python -m benchmarks.gpu --device cpu --model_sizes tiny --batch_sizes 2 --image_sizes 224 256 --dtype float32 --compile_modes none
"""

import argparse
import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.gpu_checks import check_determinism, check_values
from benchmarks.peers import PEERS, SWIN_SIZES, Peer, Setting
from benchmarks.training_step import (
    DTYPES,
    describe_machine,
    make_ahead,
    make_backward,
    make_training_step,
    measure_peak,
    measure_peak_memory,
    run_alone,
    summarize,
)


INPUTS_AHEAD = 4
CHECKED_IMAGES = 8
PROFILED_STEPS = 3
# torch.compile modes and their names in the table
COMPILE_MODES = {"none": "no", "default": "yes", "reduce-overhead": "CUDA graphs"}
# Training images per second from an independent table
PUBLISHED = {"image_size": 512, "batch_size": 32, "processor": "H100", "original GreenMIM": 76, "HiViT": 318}
TIME_IS_OVER = "time is over"


@dataclass(frozen=True)
class Row:
    """A comparison of GreenMIM and a peer at one setting."""

    title: str
    peer: str
    setting: Setting
    goal: float | None = None
    ours: str = "greenmim"
    compile_mode: str = "none"
    largest_batch: bool = False


def make_rows(args: argparse.Namespace) -> list[Row]:
    """List all comparisons, the most important first, because time may run out."""
    size, (image_size, large_image_size) = args.model_sizes[0], args.image_sizes
    batch_size, *smaller_batches = sorted(args.batch_sizes, reverse=True)
    base = Setting(model_size=size, image_size=image_size, batch_size=batch_size, per_sample=True, device=args.device)
    large_images = replace(base, image_size=large_image_size, batch_size=min(PUBLISHED["batch_size"], batch_size))
    static = replace(base, static_plans=True)
    name, large_name = f"{size}, {image_size} px", f"{size}, {large_image_size} px"
    graphs = "reduce-overhead"
    rows = [
        Row(f"{name}, SimMIM", "simmim", base, 3.0),
        Row(f"{large_name}, SimMIM", "simmim", large_images, 3.0),
        *(Row(f"{name}, SimMIM", "simmim", replace(base, batch_size=batch)) for batch in smaller_batches),
        Row(f"{name}, SimMIM", "simmim", static, 3.0, compile_mode=graphs),
        Row(f"{name}, one mask for the batch", "greenmim_shared_mask", base, 0.87),
        Row(f"{name}, Hiera", "hiera", base, 1.1),
        Row(f"{name}, ViT-MAE", "vit_mae", base, 1.5),
        Row(f"{name}, full images, Swin", "swin_full", base, 1.0, ours="greenmim_full"),
        *(
            Row(f"{name}, SimMIM", "simmim", replace(static, batch_size=batch), compile_mode=graphs)
            for batch in smaller_batches
        ),
        # transformers' Swin cannot run windows of 14 at 224 pixels
        *(
            Row(
                f"{other}, {image_size} px, window 7, SimMIM",
                "simmim",
                replace(base, model_size=other, window_size=7),
                3.0,
            )
            for other in args.model_sizes[1:]
        ),
        Row(f"{name}, SimMIM", "simmim", static, 3.0, compile_mode="default"),
        Row(f"{large_name}, SimMIM", "simmim", replace(large_images, static_plans=True), 3.0, compile_mode=graphs),
    ]
    if args.device == "cuda":
        rows.append(Row(f"{name}, SimMIM, largest batch", "simmim", base, 3.0, largest_batch=True))
    return [row for row in rows if row.compile_mode in args.compile_modes]


def describe_error(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".replace("|", "/")[:200]


def get_largest_batch(name: str, setting: Setting, dtype: str, timeout: float, share: float = 0.8) -> int:
    """
    Estimate the largest multiple of 8 that uses at most `share` of the memory, from the peaks at 8 and 16 images.
    """
    small, large = (
        run_alone(measure_peak_memory, name, replace(setting, batch_size=batch_size), dtype, timeout=timeout)
        for batch_size in (8, 16)
    )
    per_image = (large - small) / 8
    total = torch.cuda.get_device_properties(0).total_memory / 2**20
    idle = 4 * sum(p.numel() for p in PEERS[name](replace(setting, device="cpu")).module.parameters()) * 4 / 2**20
    return max(8, int((share * total - idle - small + 8 * per_image) / per_image / 8) * 8)


class Contestant:
    """A model of a row on the device, with inputs made ahead."""

    def __init__(self, name: str, row: Row, dtype: str):
        torch.manual_seed(0)
        self.device, self.uses_graphs = row.setting.device, row.compile_mode == "reduce-overhead"
        peer: Peer = PEERS[name](row.setting)
        self.module = peer.module.to(self.device)
        peer = replace(peer, make_inputs=make_ahead(peer.make_inputs, INPUTS_AHEAD))
        forward = self.module if row.compile_mode == "none" else compile_module(self.module, row.compile_mode)
        self.step = make_training_step(peer, forward, self.device, dtype)
        self.take_backward = make_backward(peer, forward, self.device, dtype)

    def measure_peak(self) -> float | None:
        """
        Measure the peak memory in MiB on a GPU. Returns `None` with CUDA graphs, which keep their memory between
        steps, and on a CPU, where the resident set includes memory of earlier steps: neither peak describes one step.
        """
        if self.uses_graphs or self.device != "cuda":
            return None
        return measure_peak(self.take_backward, self.module, self.device)

    def measure_idle_share(self) -> float | None:
        """Measure the fraction of some training steps in which no kernel runs on the GPU, with torch's profiler."""
        if self.device != "cuda":
            return None
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-5, fused=True)

        def take_steps():
            for index in range(PROFILED_STEPS):
                self.take_backward(index)
                optimizer.step()
                optimizer.zero_grad()
            torch.cuda.synchronize()

        take_steps()
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            take_steps()
        return get_idle_share(
            (event.time_range.start, event.time_range.end)
            for event in profile.events()
            if event.device_type == torch.autograd.DeviceType.CUDA
        )


def compile_module(module: torch.nn.Module, mode: str) -> Callable:
    compiled = torch.compile(module, mode=mode)

    def forward(**inputs):
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(**inputs)

    return forward


def get_idle_share(intervals) -> float:
    """Fraction of the time between the first start and the last end that no interval covers."""
    intervals = sorted(intervals)
    start = end = intervals[0][0]
    busy = 0.0
    for begin, stop in intervals:
        busy += max(0.0, stop - max(begin, end))
        end = max(end, stop)
    return 1 - busy / (end - start)


def measure_pair(row: Row, args: argparse.Namespace) -> dict[str, dict]:
    """Measure times, in turn, and memory of both models of a row. If a model cannot run, return the reason."""
    results = {name: {"model": name} for name in (row.ours, row.peer)}
    contestants: dict[str, Contestant] = {}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in results}

    @contextlib.contextmanager
    def drop_if_it_fails(name: str):
        try:
            yield
        except Exception as error:
            results[name]["not_measured"] = describe_error(error)
            contestants.pop(name, None)
        if "not_measured" in results[name]:
            gc.collect()
            if args.device == "cuda":
                torch.cuda.empty_cache()

    for name in results:
        with drop_if_it_fails(name):
            contestants[name] = Contestant(name, row, args.dtype)
    # A compiled model sees all inputs twice before the clock starts
    warmup = args.warmup if row.compile_mode == "none" else 2 * INPUTS_AHEAD
    for index in range(warmup + args.repeats):
        for name in list(contestants):
            with drop_if_it_fails(name):
                times = contestants[name].step(index)
                if index >= warmup:
                    seconds[name].append(times)
    for name, contestant in contestants.items():
        results[name] |= summarize(name, seconds[name], row.setting)
        for key, measure in (("peak_mib", contestant.measure_peak), ("idle_share", contestant.measure_idle_share)):
            try:
                results[name][key] = measure()
            except Exception as error:
                results[name] |= {key: None, f"{key}_not_measured": describe_error(error)}
    return results


def measure(row: Row, args: argparse.Namespace, timeout: float) -> dict:
    """Measure times, memory and ratios of a row. An exception becomes the reason why it was not measured."""
    results = {name: {"model": name, "not_measured": TIME_IS_OVER} for name in (row.ours, row.peer)}
    if timeout > 0:
        try:
            if row.largest_batch:
                batch_size = get_largest_batch(row.peer, row.setting, args.dtype, timeout)
                row = replace(row, setting=replace(row.setting, batch_size=batch_size))
            results = run_alone(measure_pair, row, args, timeout=timeout)
        except Exception as error:
            results = {name: {"model": name, "not_measured": describe_error(error)} for name in results}
    ours, peer = results[row.ours], results[row.peer]

    def divide(name: str, above: dict, below: dict) -> float | None:
        return above[name] / below[name] if above.get(name) and below.get(name) else None

    return {
        "title": row.title,
        "compile_mode": row.compile_mode,
        "goal": row.goal,
        **asdict(row.setting),
        "ours": ours,
        "peer": peer,
        "faster": divide("median_ms", peer, ours),
        "share_of_memory": divide("peak_mib", ours, peer),
    }


def run_check(function: Callable, *arguments, timeout: float) -> tuple[object, str | None]:
    """Return the result of a check, or the reason why there is none."""
    if timeout <= 0:
        return None, TIME_IS_OVER
    try:
        return run_alone(function, *arguments, timeout=timeout), None
    except Exception as error:
        return None, describe_error(error)


def run_checks(args: argparse.Namespace, get_time_left: Callable[[], float]) -> dict:
    """Check values and reproducibility and print the results. `failed` is set if a check fails or cannot run."""
    setting = Setting(
        model_size=args.model_sizes[0],
        image_size=args.image_sizes[0],
        batch_size=min(CHECKED_IMAGES, max(args.batch_sizes)),
        per_sample=True,
        device=args.device,
    )
    values, reason = run_check(check_values, setting, args.dtype, timeout=get_time_left())
    print("| values | difference | at most | |\n|---|---|---|---|")
    for result in values or ():
        verdict = "passed" if result["passed"] else "FAILED"
        print(f"| {result['name']} | {result['difference']:.1e} | {result['tolerance']:.1e} | {verdict} |")
    if reason:
        print(f"| not measured: {reason} | | | FAILED |")
    checks = {
        "values": values,
        "values_not_measured": reason,
        "failed": reason is not None or not all(result["passed"] for result in values),
    }
    print("\n| two training steps, twice from the same state | |\n|---|---|")
    setting = replace(setting, batch_size=min(64, max(args.batch_sizes)))
    for key, deterministic, title in (
        ("deterministic", True, "use_deterministic_algorithms(True), CUBLAS_WORKSPACE_CONFIG set"),
        ("default", False, "torch's defaults"),
    ):
        result, reason = run_check(check_determinism, setting, args.dtype, deterministic, timeout=get_time_left())
        if result is None:
            outcome = f"not measured: {reason}"
        else:
            outcome = "equal bits" if result["equal"] else f"differ by up to {result['largest_difference']:.1e}"
        if deterministic and (result is None or not result["equal"]):
            checks["failed"] = True
            outcome += ", FAILED"
        print(f"| {title} | {outcome} |")
        checks[key] = result if result is not None else {"not_measured": reason}
    print(flush=True)
    return checks


def format_row(result: dict) -> str:
    models = (result["ours"], result["peer"])

    def show(model: dict) -> str:
        if "not_measured" in model:
            return f"not measured: {model['not_measured']}"
        return "{:.1f} ({:.1f} - {:.1f})".format(*(model[name] for name in ("median_ms", "min_ms", "max_ms")))

    def show_both(name: str, pattern: str) -> str:
        return " / ".join("-" if model.get(name) is None else pattern.format(model[name]) for model in models)

    memory = show_both("peak_mib", "{:.0f}")
    if result["share_of_memory"] is not None:
        memory += f" = {result['share_of_memory']:.2f}"
    cells = [
        result["title"],
        COMPILE_MODES[result["compile_mode"]],
        result["batch_size"],
        *map(show, models),
        show_both("images_per_second", "{:.0f}"),
        "-" if result["faster"] is None else f"{result['faster']:.2f}",
        "-" if result["goal"] is None else f"{result['goal']:g}",
        memory,
        show_both("idle_share", "{:.1%}"),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def format_published(rows: list[dict]) -> list[str]:
    """Compare images per second with published numbers for the same size and batch."""
    return [
        f"{row['title']}, batch {row['batch_size']}, compiled: {COMPILE_MODES[row['compile_mode']]}: "
        f"{row['ours']['images_per_second']:.0f} images/s here (forward and backward). Published in an independent "
        f"table ({PUBLISHED['image_size']} px, batch {PUBLISHED['batch_size']}, {PUBLISHED['processor']}): original "
        f"GreenMIM {PUBLISHED['original GreenMIM']}, HiViT {PUBLISHED['HiViT']}."
        for row in rows
        if row["image_size"] == PUBLISHED["image_size"] and "images_per_second" in row["ours"]
    ]


def draw(path: Path, results: list[dict], machine: dict):
    """Plot the speedup over each peer."""
    figure = Figure(figsize=(8, 0.4 * len(results) + 1.2), layout="constrained")
    axes = figure.subplots()
    titles = [
        f"{result['title']}, batch {result['batch_size']}, compiled: {COMPILE_MODES[result['compile_mode']]}"
        for result in results
    ]
    axes.barh(titles, [result["faster"] for result in results], color="tab:green")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set(xlabel=f"times faster ({machine['processor']})")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--model_sizes",
        nargs="+",
        choices=SWIN_SIZES,
        default=["base", "large"],
        help="Model sizes: all rows for the first, one row for each other. %(default)s",
    )
    parser.add_argument(
        "--batch_sizes", type=int, nargs="+", default=[256, 32, 64], help="Images in a batch. %(default)s"
    )
    parser.add_argument(
        "--image_sizes",
        type=int,
        nargs=2,
        default=[224, 512],
        help="Image sides in pixels: the first for most rows, the second for some. %(default)s",
    )
    parser.add_argument(
        "--compile_modes",
        nargs="+",
        choices=COMPILE_MODES,
        default=list(COMPILE_MODES),
        help="Modes of torch.compile. %(default)s",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="Data type of autocast. [%(default)s]")
    parser.add_argument("--repeats", type=int, default=7, help="Timed steps of each model. [%(default)s]")
    parser.add_argument("--warmup", type=int, default=3, help="Warmup steps before the timed ones. [%(default)s]")
    parser.add_argument(
        "--time_limit", type=float, default=570, help="Seconds after which measurements stop. [%(default)s]"
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="Device to run on. [%(default)s]")
    parser.add_argument(
        "--json", type=Path, help="JSON file to write settings, machine and results to after every row."
    )
    parser.add_argument("--plot", type=Path, help="PNG file to write the plot to.")
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "Cannot use --device cuda because torch finds no GPU. Use --device cpu to run the same rows on the CPU"
        )
    return args


def main(arguments: list[str] | None = None) -> int:
    """Run everything, print and write the results, and return 1 if a check failed."""
    args = parse_args(arguments)
    start, machine = time.monotonic(), describe_machine(args.device)
    settings = {name: value for name, value in vars(args).items() if name not in ("json", "plot")}
    results: dict = {"published_images_per_second": PUBLISHED, "rows": []}

    def get_time_left() -> float:
        return args.time_limit - (time.monotonic() - start)

    def save():
        if args.json:
            args.json.write_text(json.dumps({"settings": settings, "machine": machine, "results": results}, indent=2))

    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{args.dtype}, a mask for each image, masks and plans made ahead, {args.repeats} steps in turn\n")
    results["checks"] = run_checks(args, get_time_left)
    results["failed"] = results["checks"]["failed"]
    save()
    print(
        "| | compiled | batch | ours: forward + backward, ms, median (min - max) | peer | images/s | times faster | "
        "must | peak memory, MiB | GPU idle |\n|---|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    rows = results["rows"]
    for row in make_rows(args):
        rows.append(measure(row, args, get_time_left()))
        print(format_row(rows[-1]), flush=True)
        save()
    print("", *format_published(rows), sep="\n")
    compared = [row for row in rows if row["faster"] is not None]
    if args.plot and compared:
        draw(args.plot, compared, machine)
    if results["failed"]:
        print("FAILED: a check of values or reproducibility did not pass. Do not trust these times.")
    return int(results["failed"])


if __name__ == "__main__":
    sys.exit(main())
