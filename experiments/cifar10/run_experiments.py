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
"""Does pre-training pay? Pre-trains with GreenMIM and SimMIM on CIFAR-10, fine-tunes with few and many labels, and compares.

    python run_experiments.py --data_dir path/to/cifar10 --output_dir runs --num_parallel 2

Everything is run by the other examples, in jobs that are resumed: after Ctrl-C, the same command goes on. `--data_dir` is a folder
with `train-*.parquet` and `test-*.parquet`, of columns `image` and `label`. At the end, and whenever it is called again, the
tables are printed and written to `--output_dir`, with a plot.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from experiment_jobs import make_jobs, run_jobs
from experiment_results import collect, draw, make_tables


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="Folder of CIFAR-10 in parquet files.")
    parser.add_argument("--output_dir", type=Path, default=Path("runs"), help="Folder of all runs. [%(default)s]")
    parser.add_argument(
        "--num_parallel", type=int, default=1, help="Jobs at a time, which share the processors. [%(default)s]"
    )
    parser.add_argument("--only", nargs="+", help="Run jobs whose names begin with one of these alone.")
    parser.add_argument("--list", action="store_true", help="Print all jobs, and which are done, and end.")
    args = parser.parse_args()
    for split in ("train", "test"):
        if not any(Path(args.data_dir).glob(f"{split}-*.parquet")):
            parser.error(f"--data_dir {args.data_dir} has no {split}-*.parquet")
    if args.num_parallel < 1:
        parser.error(f"--num_parallel must be at least 1, but is {args.num_parallel}")
    return args


def main():
    args = parse_args()
    jobs = make_jobs(args.data_dir, args.output_dir)
    if args.list:
        for job in jobs:
            print(f"{'done' if job.result.exists() else '    '}  {job.name}")
        return
    for name in args.only or []:
        if not any(job.name.startswith(name) for job in jobs):
            sys.exit(f"--only {name}: no job has a name that begins so. --list lists them.")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(args.output_dir / "run_experiments.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.exit(
            f"{args.output_dir}: another run_experiments.py writes there. --num_parallel runs several jobs at a time."
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = [
        job
        for job in jobs
        if args.only is None or job.result.exists() or any(job.name.startswith(name) for name in args.only)
    ]
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_threads = max(1, processors // args.num_parallel)
    # timings come first, and have the machine for themselves
    timings = [job for job in chosen if job.name.startswith("timing")]
    failed = run_jobs(timings, args.output_dir, 1, num_threads)
    failed = failed or run_jobs(chosen, args.output_dir, args.num_parallel, num_threads)
    results = collect(args.output_dir)
    tables = make_tables(results)
    (args.output_dir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (args.output_dir / "results.md").write_text(tables + "\n")
    draw(results).savefig(args.output_dir / "results.png", dpi=120)
    print(f"\n{tables}\n\nWritten to {args.output_dir}: results.json, results.md, results.png")
    if failed:
        sys.exit(
            f"Failed: {', '.join(failed)}. Their logs are in {args.output_dir}; the same command tries them again."
        )


if __name__ == "__main__":
    main()
