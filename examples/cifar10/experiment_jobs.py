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
"""What is run, in which order: each job is a command of the other examples, and a file that is there when it is done."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path


FOLDER = Path(__file__).resolve().parent
SCRIPTS = {
    name: os.path.relpath(FOLDER / path)
    for name, path in {
        "greenmim": "../pretraining/run_pretraining_no_trainer.py",
        "scrambled": "run_scrambled.py",
        "simmim": "run_simmim.py",
        "classify": "../image-classification/run_image_classification.py",
        "probe": "../image-classification/run_probe.py",
        "untrained": "save_untrained.py",
    }.items()
}
CONFIG = os.path.relpath(FOLDER / "greenmim_cifar10.json")

BATCH_SIZE = 256
NUM_STEPS = 3900  # 20 epochs
CHECKPOINTING_STEPS = 390
LEARNING_RATE = 1.5e-3
TIMED_STEPS = 100
NUM_TIMINGS = 2
SEEDS = (0, 1, 2)
# images with labels -> epochs, as many as two processor cores allow
FINE_TUNING = {5000: 20, 500: 60, 50000: 4}
NUM_VARIANT_LABELS = 5000
STARTS = ("scratch", "greenmim", "simmim_same_time", "simmim_same_images")
VARIANTS = ("batch_masks", "scrambled")
NUM_PROBE_IMAGES = 10000


@dataclass(frozen=True)
class Job:
    """
    A command.

    Args:
        name (`str`):
            Its name, and that of its log.
        make_command (`Callable[[], list[str]]`):
            Called when all that it needs is done.
        result (`Path`):
            A file or folder that is there when it is done, and not before.
        needs (`tuple[str, ...]`, *optional*):
            Names of the jobs that come before.
    """

    name: str
    make_command: Callable[[], list[str]]
    result: Path
    needs: tuple[str, ...] = ()


def make_jobs(data_dir: str, output_dir: Path) -> list[Job]:
    """All jobs, those first that others need."""
    return [
        *_make_timings(data_dir, output_dir),
        *_make_pretrainings(data_dir, output_dir),
        *_make_probes(data_dir, output_dir),
        *_make_fine_tunings(data_dir, output_dir),
    ]


def get_fine_tuning_folder(output_dir: Path, start: str, num_labels: int, seed: int) -> Path:
    return output_dir / "fine_tuning" / f"{start}_{num_labels}_seed{seed}"


def get_timed_folders(output_dir: Path, method: str) -> list[Path]:
    return [output_dir / f"timing_{method}_{number}" for number in range(NUM_TIMINGS)]


def get_images_per_second(output_dir: Path, method: str) -> float:
    """Speed of a pre-training, the best of the timings."""
    speeds = []
    for folder in get_timed_folders(output_dir, method):
        if method == "greenmim":
            metrics = json.loads((folder / "metrics.json").read_text())
            speeds.append(metrics["images_seen"] / metrics["seconds"])
        else:
            metrics = json.loads((folder / "train_results.json").read_text())
            speeds.append(metrics["train_samples_per_second"])
    return max(speeds)


def get_steps_in_the_same_time(output_dir: Path) -> int:
    """Steps that SimMIM takes in the time of GreenMIM's."""
    speeds = {method: get_images_per_second(output_dir, method) for method in ("greenmim", "simmim")}
    return round(NUM_STEPS * speeds["simmim"] / speeds["greenmim"])


def _get_data_arguments(data_dir: str) -> list[str]:
    return ["--data_files", f"{data_dir}/train-*.parquet", "--min_crop_scale", "0.5", "--max_eval_samples", "500"]


def _make_greenmim_command(
    script: str, data_dir: str, folder: Path, num_steps: int, checkpointing_steps: int, *options: str
) -> list[str]:
    interval = str(checkpointing_steps)
    return [
        *(SCRIPTS[script], *_get_data_arguments(data_dir), "--config_name_or_path", CONFIG, "--seed", "0"),
        *("--output_dir", str(folder), "--max_train_steps", str(num_steps), "--num_workers", "0"),
        *("--per_device_train_batch_size", str(BATCH_SIZE), "--base_learning_rate", str(LEARNING_RATE)),
        *("--eval_steps", interval, "--checkpointing_steps", interval, "--checkpoints_total_limit", "20"),
        *("--license", "apache-2.0", "--resume_from_checkpoint", "latest", *options),
    ]


def _make_simmim_command(data_dir: str, folder: Path, num_steps: int, checkpointing_steps: int) -> list[str]:
    # the same optimizer and schedule, as the Trainer names them
    return [
        *(SCRIPTS["simmim"], *_get_data_arguments(data_dir), "--config_name_or_path", CONFIG, "--seed", "0"),
        *("--output_dir", str(folder), "--max_steps", str(num_steps), "--dataloader_num_workers", "0"),
        *("--per_device_train_batch_size", str(BATCH_SIZE), "--learning_rate", str(LEARNING_RATE * BATCH_SIZE / 256)),
        *("--weight_decay", "0.05", "--adam_beta2", "0.95", "--lr_scheduler_type", "cosine", "--warmup_steps", "0.05"),
        *(
            "--save_steps",
            str(checkpointing_steps),
            "--save_total_limit",
            "20",
            "--logging_steps",
            "100",
            "--report_to",
            "none",
        ),
        *("--resume_from_checkpoint", "latest"),
    ]


def _make_timings(data_dir: str, output_dir: Path) -> list[Job]:
    """In turn, one after the other: what else the machine does then weighs on both."""
    jobs = []
    for number in range(NUM_TIMINGS):
        for method, make_command in (
            ("greenmim", partial(_make_greenmim_command, "greenmim")),
            ("simmim", _make_simmim_command),
        ):
            folder = get_timed_folders(output_dir, method)[number]
            command = make_command(data_dir, folder, TIMED_STEPS, TIMED_STEPS)
            jobs.append(
                Job(folder.name, partial(list, command), folder / "model", tuple(job.name for job in jobs[-1:]))
            )
    return jobs


def _make_pretrainings(data_dir: str, output_dir: Path) -> list[Job]:
    timings = tuple(folder.name for folder in get_timed_folders(output_dir, "simmim"))

    def make(name: str, make_command: Callable[[Path], list[str]], needs: tuple[str, ...] = ()) -> Job:
        folder = output_dir / name
        return Job(name, partial(make_command, folder), folder / "model", needs)

    def make_greenmim(name: str, script: str, *options: str) -> Job:
        return make(
            name,
            lambda folder: _make_greenmim_command(script, data_dir, folder, NUM_STEPS, CHECKPOINTING_STEPS, *options),
        )

    def make_simmim_same_time(folder: Path) -> list[str]:
        return _make_simmim_command(data_dir, folder, get_steps_in_the_same_time(output_dir), CHECKPOINTING_STEPS)

    return [
        make_greenmim("greenmim", "greenmim"),
        make("simmim_same_time", make_simmim_same_time, timings),
        make(
            "simmim_same_images",
            lambda folder: _make_simmim_command(data_dir, folder, NUM_STEPS, CHECKPOINTING_STEPS),
        ),
        make_greenmim("batch_masks", "greenmim", "--no_mask_per_sample"),
        make_greenmim("scrambled", "scrambled"),
        *(
            Job(
                f"{name}_converted",
                lambda name=name: [
                    *("-m", "modeling_greenmim.convert_swin_to_greenmim"),
                    *("--checkpoint_path", str(output_dir / name / "model")),
                    *("--output_dir", str(output_dir / f"{name}_converted" / "model")),
                ],
                output_dir / f"{name}_converted" / "model",
                (name,),
            )
            for name in ("simmim_same_time", "simmim_same_images")
        ),
        Job(
            "untrained",
            lambda: [SCRIPTS["untrained"], CONFIG, str(output_dir / "untrained" / "model")],
            output_dir / "untrained" / "model",
        ),
    ]


def _make_probes(data_dir: str, output_dir: Path) -> list[Job]:
    def make(name: str) -> Job:
        folder, result = output_dir / name, output_dir / "probes" / f"{name}.json"

        def make_command() -> list[str]:
            checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
            models = [str(path) for path in checkpoints] or [str(folder / "model")]
            result.parent.mkdir(exist_ok=True)
            return [
                *(SCRIPTS["probe"], "--dataset_name", data_dir, "--eval_split_name", "test", "--seed", "0"),
                *("--max_train_samples", str(NUM_PROBE_IMAGES), "--model_name_or_path", *models),
                *("--image_processor_name", str(output_dir / "untrained" / "model"), "--output_file", str(result)),
            ]

        return Job(f"probe_{name}", make_command, result, (name, "untrained"))

    names = ("untrained", "greenmim", "simmim_same_images", "simmim_same_time", "batch_masks", "scrambled")
    return [make(name) for name in names]


def _make_fine_tunings(data_dir: str, output_dir: Path) -> list[Job]:
    def make(start: str, num_labels: int, seed: int) -> Job:
        folder = get_fine_tuning_folder(output_dir, start, num_labels, seed)
        source = {
            "simmim_same_time": "simmim_same_time_converted",
            "simmim_same_images": "simmim_same_images_converted",
        }
        source = source.get(start, start)
        # each start at what suited it best in a trial with 5,000 labels and learning rates of 1e-3 and 2e-3
        model = ["--model_name_or_path", str(output_dir / source / "model"), "--layer_decay", "0.8"]
        if start == "scratch":
            model = ["--config_name", CONFIG, "--layer_decay", "1.0"]
        command = [
            *(SCRIPTS["classify"], "--dataset_name", data_dir, "--eval_split_name", "test", *model),
            *("--max_train_samples", str(num_labels), "--num_train_epochs", str(FINE_TUNING[num_labels])),
            *(
                "--per_device_train_batch_size",
                "128",
                "--per_device_eval_batch_size",
                "500",
                "--learning_rate",
                "2e-3",
            ),
            *(
                "--min_crop_scale",
                "0.5",
                "--eval_strategy",
                "no",
                "--load_best_model_at_end",
                "false",
                "--seed",
                str(seed),
            ),
            *("--save_steps", "100", "--save_strategy", "steps", "--save_total_limit", "1", "--report_to", "none"),
            *("--logging_steps", "100", "--output_dir", str(folder), "--resume_from_checkpoint", "latest"),
        ]
        return Job(folder.name, lambda: command, folder / "model", () if start == "scratch" else (source,))

    return [
        make(start, num_labels, seed)
        for num_labels in FINE_TUNING
        for seed in SEEDS
        for start in (*STARTS, *(VARIANTS if num_labels == NUM_VARIANT_LABELS else ()))
    ]


def run_jobs(jobs: Sequence[Job], output_dir: Path, num_parallel: int) -> list[str]:
    """
    Runs what is not done yet.

    Args:
        jobs (`Sequence[Job]`):
            Those to run; what they need has to be among them, or done.
        output_dir (`Path`):
            Folder of the logs.
        num_parallel (`int`):
            Jobs at a time. Each gets its share of the processors.

    Returns:
        `list[str]`: names of the jobs that failed; those that need them were not run.
    """
    left = [job for job in jobs if not job.result.exists()]
    total, finished = len(left), 0
    done = {job.name for job in jobs if job.result.exists()}
    failed, running = [], {}
    print(f"{total} of {len(jobs)} jobs are to be run, {num_parallel} at a time.", flush=True)
    try:
        with ThreadPoolExecutor(num_parallel) as pool:
            while left or running:
                for job in [job for job in left if done.issuperset(job.needs)][: num_parallel - len(running)]:
                    left.remove(job)
                    running[pool.submit(_run_job, job, output_dir, num_parallel)] = job
                if not running:
                    break  # what is left needs what failed
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    finished += 1
                    seconds, is_done = future.result()
                    print(
                        f"[{finished}/{total}] {job.name}: {'done' if is_done else 'FAILED'} after {seconds:.0f} s",
                        flush=True,
                    )
                    if is_done:
                        done.add(job.name)
                    else:
                        failed.append(job.name)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on: what was running, from its last checkpoint.")
    return failed


def _run_job(job: Job, output_dir: Path, num_parallel: int) -> tuple[float, bool]:
    """Seconds, and whether it is done: by another call, if it is already."""
    if job.result.exists():
        return 0.0, True
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, processors // num_parallel)
    command = [sys.executable, *job.make_command()]
    start = time.perf_counter()
    with (output_dir / f"{job.name}.log").open("a") as log:
        log.write(f"\n$ {shlex.join(command)}\n")
        log.flush()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        process.wait()
    return time.perf_counter() - start, process.returncode == 0 and job.result.exists()
