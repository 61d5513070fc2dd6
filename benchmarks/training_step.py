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
"""Time and memory of one training step, ours beside its peers.

All models run in one process, in turn (A B C A B C ...), so that what else the machine does meets all of them. A step is
forward, backward and AdamW, on images that are there already; drawing the mask and, for ours, making the group plan is part
of the forward. Ratios are those of forward and backward: the optimizer costs the same for all models of one size. The peak
memory of each model is measured in a process of its own: on the CPU the resident set over that of the idle model (weights
and gradients), on a GPU what its allocator had given out at most.

    python benchmarks/training_step.py --model_size tiny --batch_size 8 --models greenmim simmim
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers
from peers import PEERS, SWIN_SIZES, Peer, Setting
from torch.utils.flop_counter import FlopCounterMode

import modeling_greenmim


DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def make_step(peer: Peer, dtype: str, compile_model: bool) -> Callable[[int], tuple[float, float]]:
    """A training step that returns the seconds of forward and backward, and of the whole step."""
    module = peer.module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-5)
    forward = torch.compile(module) if compile_model else module
    device_type = next(module.parameters()).device.type

    def read_clock() -> float:
        if device_type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step(index: int) -> tuple[float, float]:
        start = read_clock()
        inputs = peer.make_inputs(index)
        with torch.autocast(device_type, dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
            loss = peer.get_loss(forward(**inputs))
        loss.backward()
        backward_done = read_clock()
        optimizer.step()
        optimizer.zero_grad()
        return backward_done - start, read_clock() - start

    return step


def time_steps(
    steps: dict[str, Callable[[int], tuple[float, float]]], repeats: int, warmup: int
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each counted step, all models in turn."""
    seconds = {name: [] for name in steps}
    for index in range(warmup + repeats):
        for name, step in steps.items():
            result = step(index)
            if index >= warmup:
                seconds[name].append(result)
    return seconds


def count_multiply_adds(name: str, setting: Setting) -> float:
    """Multiply-adds of the matrix products of forward and backward, for one image of the batch, in units of 1e9."""
    peer = PEERS[name](replace(setting, batch_size=1, per_sample=False, attn_implementation="eager", device="cpu"))
    with FlopCounterMode(display=False) as counter:
        peer.get_loss(peer.module.train()(**peer.make_inputs(0))).backward()
    return counter.get_total_flops() / 2e9


def measure_peak_memory(name: str, setting: Setting, dtype: str, queue: multiprocessing.Queue):
    """Runs forward and backward twice and puts the peak memory over the idle model into the queue, in MiB."""
    torch.manual_seed(0)
    peer = PEERS[name](setting)
    peer.module.to(setting.device).train()

    def step():
        with torch.autocast(setting.device, dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
            loss = peer.get_loss(peer.module(**peer.make_inputs(0)))
        loss.backward()
        peer.module.zero_grad(set_to_none=False)

    if setting.device == "cuda":
        step()
        idle = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        queue.put((torch.cuda.max_memory_allocated() - idle) / 2**20)
        return
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        queue.put(None)  # only Linux tells the peak of a resident set, and lets it be reset
        return

    def read(field: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))

    for parameter in peer.module.parameters():  # gradients are part of the idle model: they are there in any training
        parameter.grad = torch.zeros_like(parameter).add_(0)
    idle = read("VmRSS")
    clear.write_text("5")
    step()
    queue.put((read("VmHWM") - idle) / 2**10)


def run_in_process(function: Callable, *arguments) -> float | None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=function, args=(*arguments, queue))
    process.start()
    while process.is_alive() and queue.empty():
        process.join(timeout=0.1)
    result = None if queue.empty() else queue.get()
    process.join()
    return result


def describe_machine(device: str) -> dict:
    if device == "cuda":
        processor = torch.cuda.get_device_name()
    else:
        cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        names = [line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
        processor = f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"
    return {
        "processor": processor,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "modeling_greenmim": modeling_greenmim.__version__,
    }


def print_table(rows: list[dict], reference: str):
    print(
        f"\n| model | forward + backward, ms: median (min - max) | images/s | {reference} / this | by arithmetic "
        "| with AdamW, ms | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        peak = "not measured" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        print(
            f"| {row['model']} | {row['median_ms']:.0f} ({row['min_ms']:.0f} - {row['max_ms']:.0f}) "
            f"| {row['images_per_second']:.1f} | {row['speed_ratio']:.2f} | {row['arithmetic_ratio']:.2f} "
            f"| {row['step_median_ms']:.0f} | {peak} |"
        )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Setting()
    parser.add_argument("--models", nargs="+", choices=PEERS, default=["greenmim", "simmim"], help="What to compare.")
    parser.add_argument("--reference", choices=PEERS, help="The model that ratios refer to. Default: the last one.")
    parser.add_argument("--model_size", choices=SWIN_SIZES, default=defaults.model_size)
    parser.add_argument("--image_size", type=int, default=defaults.image_size, help="A multiple of 32. [%(default)s]")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="[%(default)s]")
    parser.add_argument("--mask_ratio", type=float, default=defaults.mask_ratio, help="Of GreenMIM. [%(default)s]")
    parser.add_argument("--per_sample", action="store_true", help="A mask for each image, not one for the batch.")
    parser.add_argument("--attn_implementation", choices=["eager", "sdpa"], default=defaults.attn_implementation)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="Other than float32: autocast.")
    parser.add_argument("--compile", action="store_true", help="torch.compile all models.")
    parser.add_argument("--repeats", type=int, default=9, help="Counted steps of each model. [%(default)s]")
    parser.add_argument("--warmup", type=int, default=2, help="Steps before them. [%(default)s]")
    parser.add_argument("--no_memory", action="store_true", help="Do not measure the peak memory.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="Threads on the CPU. Default: torch's own choice.")
    parser.add_argument("--json", type=Path, help="File to write settings, machine and results to.")
    args = parser.parse_args()
    if args.image_size % 32:
        parser.error(f"--image_size must be a multiple of 32, but is {args.image_size}")
    args.reference = args.reference or args.models[-1]
    if args.reference not in args.models:
        parser.error(f"--reference {args.reference} is not among --models")
    return args


def main():
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    setting = Setting(**{name: getattr(args, name) for name in asdict(Setting())})
    machine = describe_machine(args.device)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(
        f"{args.model_size}, {args.image_size} px, batch {args.batch_size}, {args.dtype}, {args.attn_implementation}"
        f"{', compiled' if args.compile else ''}, a mask for {'each image' if args.per_sample else 'the batch'}, "
        f"{args.repeats} steps in turn"
    )
    steps = {}
    for name in args.models:
        torch.manual_seed(0)
        peer = PEERS[name](setting)
        peer.module.to(args.device)
        steps[name] = make_step(peer, args.dtype, args.compile)
    seconds = time_steps(steps, args.repeats, args.warmup)
    multiply_adds = {name: count_multiply_adds(name, setting) for name in args.models}
    rows = []
    medians = {name: statistics.median(first for first, _ in seconds[name]) for name in args.models}
    for name in args.models:
        forward_backward, whole = zip(*seconds[name])
        rows.append(
            {
                "model": name,
                "median_ms": 1e3 * medians[name],
                "min_ms": 1e3 * min(forward_backward),
                "max_ms": 1e3 * max(forward_backward),
                "step_median_ms": 1e3 * statistics.median(whole),
                "images_per_second": args.batch_size / medians[name],
                "speed_ratio": medians[args.reference] / medians[name],
                "multiply_adds_per_image_1e9": multiply_adds[name],
                "arithmetic_ratio": multiply_adds[args.reference] / multiply_adds[name],
                "peak_mib": None if args.no_memory else run_in_process(measure_peak_memory, name, setting, args.dtype),
            }
        )
    print_table(rows, args.reference)
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name != "json"}
        args.json.write_text(json.dumps({"settings": settings, "machine": machine, "results": rows}, indent=2))


if __name__ == "__main__":
    main()
