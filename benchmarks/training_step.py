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
Measure the time and memory of a training step of GreenMIM and its peers.

Each peer shares a process with GreenMIM, and their steps alternate, so that other load on the machine affects both,
and no third model affects their memory. A step is forward, backward and AdamW on prepared images. Drawing the mask
and, for GreenMIM, making the group plan are part of the forward. Ratios cover forward and backward, as the optimizer
costs the same for all models of one size. "By arithmetic" is the ratio of multiply-adds. The peak memory of each model
is measured separately: on a CPU, the resident set in excess of the idle model's (weights and gradients), on a GPU, the
allocator's peak.

    python -m benchmarks.training_step --model_size tiny --batch_size 8 --peers simmim hiera vit_mae
    python -m benchmarks.training_step --model greenmim_swin_v2 --peers simmim_swin_v2 greenmim --image_size 256 --window_size 8
    python -m benchmarks.training_step --model greenmim_twins_svt --peers simmim_twins_svt greenmim
    python -m benchmarks.training_step --model greenmim_full --peers swin_full
    python -m benchmarks.training_step --model greenmim_full --peers swin_full --inference
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

import modeling_greenmim
from benchmarks.peers import PEERS, SWIN_SIZES, Peer, Setting


DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def read_clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def make_backward(peer: Peer, forward: Callable, device: str, dtype: str) -> Callable[[int], None]:
    """Run forward and backward of a training step."""

    def take(index: int):
        inputs = peer.make_inputs(index)
        with torch.autocast(device, dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
            loss = peer.get_loss(forward(**inputs))
        loss.backward()

    return take


def make_training_step(peer: Peer, forward: Callable, device: str, dtype: str) -> Callable[[int], tuple[float, float]]:
    """Create a training step that returns the seconds of forward and backward, and of the complete step."""
    peer.module.train()
    optimizer = torch.optim.AdamW(peer.module.parameters(), lr=1e-5)
    take_backward = make_backward(peer, forward, device, dtype)

    def step(index: int) -> tuple[float, float]:
        start = read_clock(device)
        take_backward(index)
        backward_done = read_clock(device)
        optimizer.step()
        optimizer.zero_grad()
        return backward_done - start, read_clock(device) - start

    return step


def make_inference_step(
    peer: Peer, forward: Callable, device: str, dtype: str
) -> Callable[[int], tuple[float, float]]:
    """Create a forward without gradients that returns its seconds twice."""
    peer.module.eval()

    @torch.inference_mode()
    def step(index: int) -> tuple[float, float]:
        start = read_clock(device)
        with torch.autocast(device, dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
            forward(**peer.make_inputs(index))
        seconds = read_clock(device) - start
        return seconds, seconds

    return step


def time_steps(names: list[str], setting: Setting, args: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Measure the seconds of each timed step of some models, in turn."""
    if args.threads:
        torch.set_num_threads(args.threads)
    steps = {}
    for name in names:
        torch.manual_seed(0)
        peer = PEERS[name](setting)
        peer.module.to(setting.device)
        if args.inputs_ahead:
            peer = replace(peer, make_inputs=make_ahead(peer.make_inputs, args.inputs_ahead))
        forward = torch.compile(peer.module) if args.compile else peer.module
        make_step = make_inference_step if args.inference else make_training_step
        steps[name] = make_step(peer, forward, setting.device, args.dtype)
    seconds = {name: [] for name in names}
    for index in range(args.warmup + args.repeats):
        for name, step in steps.items():
            result = step(index)
            if index >= args.warmup:
                seconds[name].append(result)
    return seconds


def make_ahead(make_inputs: Callable[[int], dict], number: int) -> Callable[[int], dict]:
    """Make the inputs of this many steps now, and return them in turn."""
    inputs = [make_inputs(step) for step in range(number)]
    return lambda step: inputs[step % number]


def count_multiply_adds(name: str, setting: Setting) -> float:
    """Count multiply-adds of the matrix products in forward and backward per image, in units of 1e9."""
    peer = PEERS[name](replace(setting, batch_size=1, per_sample=False, attn_implementation="eager", device="cpu"))
    with FlopCounterMode(display=False) as counter:
        peer.get_loss(peer.module.train()(**peer.make_inputs(0))).backward()
    return counter.get_total_flops() / 2e9


def measure_peak_memory(name: str, setting: Setting, dtype: str) -> float | None:
    """Peak memory of forward and backward in excess of the idle model's (weights and gradients), in MiB, or `None`."""
    torch.manual_seed(0)
    peer = PEERS[name](setting)
    peer.module.to(setting.device).train()
    return measure_peak(make_backward(peer, peer.module, setting.device, dtype), peer.module, setting.device)


def measure_peak(take_backward: Callable[[int], None], module: torch.nn.Module, device: str) -> float | None:
    """Peak memory of forward and backward in excess of the memory before (with gradients), in MiB, or `None`."""
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)  # ones: pages of zeros would not count as resident
    if device == "cuda":
        take_backward(0)
        idle = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        take_backward(0)
        return (torch.cuda.max_memory_allocated() - idle) / 2**20
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return None  # only Linux reports and resets the peak of the resident set

    def read(field: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))

    idle = read("VmRSS")
    clear.write_text("5")
    take_backward(0)
    return (read("VmHWM") - idle) / 2**10


def run_alone(function: Callable, *arguments, timeout: float | None = None):
    """Return the result of a function that runs in a separate process, which is killed after `timeout` seconds."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as executor:
        future = executor.submit(function, *arguments)
        try:
            return future.result(timeout)
        except FutureTimeoutError as error:
            for process in multiprocessing.active_children():
                process.kill()
            raise TimeoutError(f"it took longer than {timeout:.0f} seconds") from error


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


def summarize(name: str, seconds: list[tuple[float, float]], setting: Setting) -> dict:
    forward_backward, whole = zip(*seconds)
    median = statistics.median(forward_backward)
    return {
        "model": name,
        "median_ms": 1e3 * median,
        "min_ms": 1e3 * min(forward_backward),
        "max_ms": 1e3 * max(forward_backward),
        "step_median_ms": 1e3 * statistics.median(whole),
        "images_per_second": setting.batch_size / median,
    }


def compare(peer: str, setting: Setting, args: argparse.Namespace) -> dict:
    """Time GreenMIM and one peer in turn in one process."""
    seconds = run_alone(time_steps, [args.model, peer], setting, args)
    ours, theirs = (summarize(name, seconds[name], setting) for name in (args.model, peer))
    adds = [count_multiply_adds(name, setting) for name in (args.model, peer)]
    peaks = [None, None]
    if not (args.no_memory or args.inference):
        peaks = [run_alone(measure_peak_memory, name, setting, args.dtype) for name in (args.model, peer)]
    for row, multiply_adds, peak in zip((ours, theirs), adds, peaks):
        row |= {"multiply_adds_per_image_1e9": multiply_adds, "peak_mib": peak}
    return {
        "ours": ours,
        "peer": theirs,
        "faster": theirs["median_ms"] / ours["median_ms"],
        "faster_by_arithmetic": adds[1] / adds[0],
        "share_of_memory": None if None in peaks else peaks[0] / peaks[1],
    }


def print_row(result: dict):
    def show(row: dict) -> str:
        return f"{row['median_ms']:.0f} ({row['min_ms']:.0f} - {row['max_ms']:.0f})"

    ours, peer = result["ours"], result["peer"]
    memory = optimizer = "not measured"
    if ours["step_median_ms"] > ours["median_ms"]:
        optimizer = f"{ours['step_median_ms']:.0f} / {peer['step_median_ms']:.0f}"
    if result["share_of_memory"] is not None:
        memory = f"{ours['peak_mib']:.0f} / {peer['peak_mib']:.0f} = {result['share_of_memory']:.2f}"
    print(
        f"| {peer['model']} | {show(ours)} | {show(peer)} | {ours['images_per_second']:.1f} / "
        f"{peer['images_per_second']:.1f} | {result['faster']:.2f} | {result['faster_by_arithmetic']:.2f} "
        f"| {optimizer} | {memory} |",
        flush=True,
    )


def add_timing_arguments(parser: argparse.ArgumentParser):
    """Add the arguments of [`time_steps`]."""
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="Data type; autocast unless float32.")
    parser.add_argument("--compile", action="store_true", help="Compile all models with torch.compile.")
    parser.add_argument(
        "--inference", action="store_true", help="Time only the forward, without gradients, and do not measure memory."
    )
    parser.add_argument("--repeats", type=int, default=9, help="Timed steps of each model. [%(default)s]")
    parser.add_argument("--warmup", type=int, default=2, help="Warmup steps before the timed ones. [%(default)s]")
    parser.add_argument(
        "--inputs_ahead",
        type=int,
        default=0,
        help="Make masks and plans this many steps ahead, as loader workers do; 0 makes them in the step. "
        "[%(default)s]",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="CPU threads. Default: torch's choice.")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    defaults = Setting()
    parser.add_argument(
        "--model", choices=PEERS, default="greenmim", help="Model to compare with the peers. [%(default)s]"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["simmim"], help="Models to compare it with.")
    parser.add_argument(
        "--model_size", choices=SWIN_SIZES, default=defaults.model_size, help="Size of the models. [%(default)s]"
    )
    parser.add_argument(
        "--image_size",
        type=int,
        default=defaults.image_size,
        help="Image side in pixels, a multiple of 32. [%(default)s]",
    )
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="Images in a batch. [%(default)s]")
    parser.add_argument(
        "--mask_ratio",
        type=float,
        default=defaults.mask_ratio,
        help="Fraction of hidden mask units in GreenMIM. [%(default)s]",
    )
    parser.add_argument(
        "--per_sample", action="store_true", help="Draw a mask for each image instead of one for the batch."
    )
    parser.add_argument(
        "--window_size",
        type=int,
        help="Window side, in tokens, of GreenMIM and Swin. Default: the value of the model size.",
    )
    parser.add_argument("--static_plans", action="store_true", help="Give all GreenMIM plans the same shapes.")
    parser.add_argument("--attn_implementation", choices=["eager", "sdpa"], default=defaults.attn_implementation)
    parser.add_argument("--no_memory", action="store_true", help="Do not measure the peak memory.")
    add_timing_arguments(parser)
    parser.add_argument("--json", type=Path, help="JSON file to write settings, machine and results to.")
    args = parser.parse_args()
    if args.image_size % 32:
        parser.error(f"--image_size must be a multiple of 32, got {args.image_size}")
    return args


def main():
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    setting = Setting(**{name: getattr(args, name) for name in asdict(Setting())})
    machine = describe_machine(args.device)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(
        f"{args.model}, {args.model_size}, {args.image_size} px, batch {args.batch_size}, {args.dtype}, "
        f"{args.attn_implementation}{', compiled' if args.compile else ''}, a mask for "
        f"{'each image' if args.per_sample else 'the batch'}, {args.repeats} steps in turn\n"
    )
    print(
        f"| peer | ours: {'forward' if args.inference else 'forward + backward'}, ms, median (min - max) | peer "
        "| images/s | times faster | by arithmetic | with AdamW, ms | peak memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    results = []
    for peer in args.peers:
        results.append(compare(peer, setting, args))
        print_row(results[-1])
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name != "json"}
        args.json.write_text(json.dumps({"settings": settings, "machine": machine, "results": results}, indent=2))


if __name__ == "__main__":
    main()
