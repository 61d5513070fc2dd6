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
import shutil
import statistics
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
FINE_TUNING = {5000: 20, 50000: 4, 500: 60}
# from scratch, so many take as long as pre-training with GreenMIM and the epochs above: with labels, 430 images per second are
# trained on, without, 870
LONGER_FINE_TUNING = {5000: 120, 50000: 14}
# starts of a fine-tuning, and with how many labels each is tried; the first answer the question whether pre-training pays
STARTS = {
    "scratch": (5000, 50000, 500),
    "greenmim": (5000, 50000, 500),
    "simmim_same_time": (5000, 50000, 500),
    "scratch_longer": tuple(LONGER_FINE_TUNING),
    "greenmim_longer": tuple(LONGER_FINE_TUNING),
    "simmim_same_images": (5000, 500),
    "batch_masks": (5000,),
    "scrambled": (5000,),
}
NUM_FIRST_STARTS = 3
# of these, features are measured along the pre-training; of the others, at the end
WATCHED = ("greenmim", "simmim_same_images")
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
    """All jobs, those first that others need, or that matter most."""
    maker = JobMaker(data_dir, output_dir)
    jobs = [*maker.make_timings(), maker.make_untrained(), maker.make_probe("untrained")]
    names = list(STARTS)
    for starts in (names[:NUM_FIRST_STARTS], names[NUM_FIRST_STARTS:]):
        for start in starts:
            if start == get_pretraining(start):
                jobs += [*maker.make_pretraining(start), maker.make_probe(start)]
        jobs += [
            maker.make_fine_tuning(start, num_labels, seed)
            for num_labels in FINE_TUNING
            for seed in SEEDS
            for start in starts
            if num_labels in STARTS[start]
        ]
    return jobs


def get_pretraining(start: str) -> str | None:
    """The pre-training that a fine-tuning starts from."""
    name = start.removesuffix("_longer")
    return None if name == "scratch" else name


def get_fine_tuning_folder(output_dir: Path, start: str, num_labels: int, seed: int) -> Path:
    return output_dir / "fine_tuning" / f"{start}_{num_labels}_seed{seed}"


def get_timed_folders(output_dir: Path, method: str) -> list[Path]:
    return [output_dir / f"timing_{method}_{number}" for number in range(NUM_TIMINGS)]


def get_images_per_second(output_dir: Path, method: str) -> float:
    """Speed of a pre-training, the best of the timings: what else the machine did weighs least on it."""
    speeds = []
    for folder in get_timed_folders(output_dir, method):
        if method == "greenmim":
            history = json.loads((folder / "metrics.json").read_text())["history"]
            speeds.append(statistics.median(each["images_per_second"] for each in history if "loss" in each))
        else:
            speeds.append(json.loads((folder / "train_results.json").read_text())["images_per_second"])
    return max(speeds)


def get_num_steps(folder: Path) -> int:
    """Steps of a run, by its last checkpoint."""
    return max(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


def get_steps_in_the_same_time(output_dir: Path) -> int:
    """Steps that SimMIM takes in the time of GreenMIM's."""
    speeds = {method: get_images_per_second(output_dir, method) for method in ("greenmim", "simmim")}
    return round(NUM_STEPS * speeds["simmim"] / speeds["greenmim"])


@dataclass(frozen=True)
class JobMaker:
    """
    Makes the jobs of a folder.

    Args:
        data_dir (`str`):
            Folder of CIFAR-10.
        output_dir (`Path`):
            Folder of all runs.
    """

    data_dir: str
    output_dir: Path

    def make_timings(self) -> list[Job]:
        """In turn, one after the other: what else the machine does then weighs on both."""
        jobs = []
        for number in range(NUM_TIMINGS):
            for method in ("greenmim", "simmim"):
                folder = get_timed_folders(self.output_dir, method)[number]
                make = self._make_simmim_command if method == "simmim" else self._make_greenmim_command
                command = make(folder, TIMED_STEPS, TIMED_STEPS)
                needs = tuple(job.name for job in jobs[-1:])
                jobs.append(Job(folder.name, partial(_start_anew, folder, command), folder / "model", needs))
        return jobs

    def make_untrained(self) -> Job:
        folder = self.output_dir / "untrained" / "model"
        return Job("untrained", partial(list, [SCRIPTS["untrained"], CONFIG, str(folder)]), folder)

    def make_pretraining(self, name: str) -> list[Job]:
        """The jobs that end with a GreenMIM model in `{name}/model`, or for SimMIM in `{name}_converted/model`."""
        folder = self.output_dir / name
        if not name.startswith("simmim"):
            script = "scrambled" if name == "scrambled" else "greenmim"
            options = ["--no_mask_per_sample"] if name == "batch_masks" else []
            command = self._make_greenmim_command(folder, NUM_STEPS, CHECKPOINTING_STEPS, script)
            return [Job(name, partial(list, command + options), folder / "model")]

        def make_command() -> list[str]:
            num_steps = get_steps_in_the_same_time(self.output_dir) if name == "simmim_same_time" else NUM_STEPS
            return self._make_simmim_command(folder, num_steps, CHECKPOINTING_STEPS)

        converted = _get_model_folder(self.output_dir, name)
        conversion = [
            *("-m", "modeling_greenmim.convert_swin_to_greenmim"),
            *("--checkpoint_path", str(folder / "model"), "--output_dir", str(converted)),
        ]
        timings = tuple(each.name for each in get_timed_folders(self.output_dir, "simmim"))
        return [
            Job(name, make_command, folder / "model", timings if name == "simmim_same_time" else ()),
            Job(f"{name}_converted", partial(list, conversion), converted, (name,)),
        ]

    def make_probe(self, name: str) -> Job:
        folder, result = self.output_dir / name, self.output_dir / "probes" / f"{name}.json"

        def make_command() -> list[str]:
            checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
            models = (checkpoints or [folder / "model"])[0 if name in WATCHED else -1 :]
            result.parent.mkdir(exist_ok=True)
            return [
                *(SCRIPTS["probe"], "--dataset_name", self.data_dir, "--eval_split_name", "test", "--seed", "0"),
                *("--max_train_samples", str(NUM_PROBE_IMAGES), "--model_name_or_path", *map(str, models)),
                *(
                    "--image_processor_name",
                    str(self.output_dir / "untrained" / "model"),
                    "--output_file",
                    str(result),
                ),
            ]

        return Job(f"probe_{name}", make_command, result, (name,) if name == "untrained" else (name, "untrained"))

    def make_fine_tuning(self, start: str, num_labels: int, seed: int) -> Job:
        folder = get_fine_tuning_folder(self.output_dir, start, num_labels, seed)
        pretraining = get_pretraining(start)
        # of 1e-3 and 2e-3, in a trial with 5,000 labels, the latter was better after pre-training, and as good from scratch
        model, needs = ["--config_name", CONFIG, "--layer_decay", "1.0"], ()
        if pretraining is not None:
            model_folder = _get_model_folder(self.output_dir, pretraining)
            model = ["--model_name_or_path", str(model_folder), "--layer_decay", "0.8"]
            needs = (model_folder.parent.name,)
        num_epochs = (LONGER_FINE_TUNING if start.endswith("_longer") else FINE_TUNING)[num_labels]
        # the last model is evaluated, not the best: test images choose nothing
        command = [
            *(SCRIPTS["classify"], "--dataset_name", self.data_dir, "--eval_split_name", "test", *model),
            *("--max_train_samples", str(num_labels), "--num_train_epochs", str(num_epochs)),
            *("--per_device_train_batch_size", "128", "--per_device_eval_batch_size", "500"),
            *("--learning_rate", "2e-3", "--min_crop_scale", "0.5", "--seed", str(seed)),
            *("--eval_strategy", "no", "--load_best_model_at_end", "false", "--logging_steps", "100"),
            *("--save_strategy", "steps", "--save_steps", "100", "--save_total_limit", "1"),
            *("--output_dir", str(folder), "--resume_from_checkpoint", "latest"),
        ]
        return Job(folder.name, partial(list, command), folder / "model", needs)

    def _make_greenmim_command(
        self, folder: Path, num_steps: int, checkpointing_steps: int, script: str = "greenmim"
    ) -> list[str]:
        interval = str(checkpointing_steps)
        return [
            *(SCRIPTS[script], *self._get_data_arguments(), "--config_name_or_path", CONFIG, "--seed", "0"),
            *("--output_dir", str(folder), "--max_train_steps", str(num_steps), "--num_workers", "0"),
            *("--per_device_train_batch_size", str(BATCH_SIZE), "--base_learning_rate", str(LEARNING_RATE)),
            *("--eval_steps", interval, "--checkpointing_steps", interval, "--checkpoints_total_limit", "20"),
            *("--license", "apache-2.0", "--resume_from_checkpoint", "latest"),
        ]

    def _make_simmim_command(self, folder: Path, num_steps: int, checkpointing_steps: int) -> list[str]:
        # the same optimizer and schedule, as the Trainer names them
        learning_rate = LEARNING_RATE * BATCH_SIZE / 256
        return [
            *(SCRIPTS["simmim"], *self._get_data_arguments(), "--config_name_or_path", CONFIG, "--seed", "0"),
            *("--output_dir", str(folder), "--max_steps", str(num_steps), "--dataloader_num_workers", "0"),
            *("--per_device_train_batch_size", str(BATCH_SIZE), "--learning_rate", str(learning_rate)),
            *("--weight_decay", "0.05", "--adam_beta2", "0.95", "--lr_scheduler_type", "cosine"),
            *("--warmup_steps", "0.05", "--logging_steps", "100"),
            *("--save_steps", str(checkpointing_steps), "--save_total_limit", "20"),
            *("--resume_from_checkpoint", "latest"),
        ]

    def _get_data_arguments(self) -> list[str]:
        return [
            "--data_files",
            f"{self.data_dir}/train-*.parquet",
            "--min_crop_scale",
            "0.5",
            "--max_eval_samples",
            "500",
        ]


def _start_anew(folder: Path, command: list[str]) -> list[str]:
    """Removes what a run that was stopped has left: half a run times nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    return command


def _get_model_folder(output_dir: Path, pretraining: str) -> Path:
    return output_dir / (f"{pretraining}_converted" if pretraining.startswith("simmim") else pretraining) / "model"


def run_jobs(jobs: Sequence[Job], output_dir: Path, num_parallel: int, num_threads: int) -> list[str]:
    """
    Runs what is not done yet.

    Args:
        jobs (`Sequence[Job]`):
            Those to run; what they need has to be among them, or done.
        output_dir (`Path`):
            Folder of the logs.
        num_parallel (`int`):
            Jobs at a time.
        num_threads (`int`):
            Threads of each.

    Returns:
        `list[str]`: names of the jobs that failed, or could not be run as what they need is not done.
    """
    left = [job for job in jobs if not job.result.exists()]
    total, finished = len(left), 0
    done = {job.name for job in jobs if job.result.exists()}
    failed, running, processes = [], {}, set()
    print(f"{total} of {len(jobs)} jobs are to be run, {num_parallel} at a time. Logs: {output_dir}/*.log", flush=True)
    with ThreadPoolExecutor(num_parallel) as pool:
        try:
            while left or running:
                for job in [job for job in left if done.issuperset(job.needs)][: num_parallel - len(running)]:
                    left.remove(job)
                    print(f"{job.name}: started", flush=True)
                    running[pool.submit(_run_job, job, output_dir, num_threads, processes)] = job
                if not running:
                    for job in left:
                        print(f"{job.name}: not run, as it needs {', '.join(set(job.needs) - done)}", flush=True)
                    return failed + [job.name for job in left]
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
            for process in list(processes):
                process.terminate()  # which has it write a checkpoint; the pool waits for it
            sys.exit(
                "Interrupted. The same command goes on: what was running, from its last checkpoint; timings start again."
            )
    return failed


def _run_job(job: Job, output_dir: Path, num_threads: int, processes: set[subprocess.Popen]) -> tuple[float, bool]:
    """Seconds, and whether it is done. While it runs, its process is in `processes`."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(num_threads)}
    start = time.perf_counter()
    with (output_dir / f"{job.name}.log").open("a") as log:
        try:
            command = [sys.executable, *job.make_command()]
        except (OSError, ValueError, KeyError) as error:
            log.write(f"\n{type(error).__name__}: {error}\n")
            return time.perf_counter() - start, False
        log.write(f"\n$ {shlex.join(command)}\n")
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        processes.add(process)
        process.wait()
        processes.remove(process)
    return time.perf_counter() - start, process.returncode == 0 and job.result.exists()
