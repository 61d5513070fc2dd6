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
Runs of the pre-training script in separate processes, as users start them: stopped, killed, resumed, and on damaged
data. One of each kind is fast; the others are slow.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image
import psutil
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset, Features, Image
from safetensors.torch import load_file
from transformers import AutoModel

from modeling_greenmim.training.image_order import ImageOrder
from tests.helpers.pretraining import NUM_IMAGES, SCRIPT, encode, write_images
from tests.helpers.scripts import ROOT


# with drop path, weights also depend on random states
OPTIONS = (
    "--config_overrides=drop_path_rate=0.2,norm_pix_loss=true",
    "--per_device_train_batch_size=4",
    "--logging_steps=1",
    "--eval_steps=1000",
    "--max_eval_samples=8",
    "--learning_rate=1e-3",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("pretraining"))


def get_command(folder, output_dir, *options, kind="parquet", processes=1, script=(SCRIPT,)) -> list[str]:
    """Build the command of a run. `script` may be a test script or begin with `-m`."""
    launcher = [sys.executable]
    if processes > 1:  # `accelerate launch --cpu --num_processes 2` silently starts one process
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    data = ["--train_dir", folder / kind]
    if kind == "hub":
        data, script = ["--dataset_name", "me/images"], ("-m", "tests.helpers.fake_hub", folder / "parquet")
    data += ["--config_name_or_path", folder / "config.json", "--output_dir", output_dir]
    return [*map(str, [*launcher, *script, *data, *OPTIONS, *options])]


class Run:
    """A run in a separate process. Its output goes to a file, so that the run never blocks on a full pipe."""

    def __init__(self, folder, output_dir: Path, *options, **settings):
        self.output_dir = output_dir
        self.log = output_dir.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                get_command(folder, output_dir, *options, **settings),
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that all of its processes can be killed together
            )

    def finish(self, returncode: int = 0) -> str:
        """Wait for the end of the run, and return its output."""
        assert self.process.wait(timeout=240) == returncode, self.log.read_text()[-3000:]
        return self.log.read_text()

    def wait_for(self, pattern: str):
        """Wait for a file in the run's folder."""
        deadline = time.monotonic() + 120
        while not any(self.output_dir.glob(pattern)):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"no {pattern} in {self.output_dir}"
            time.sleep(0.002)

    def kill(self):
        """Return all processes of the run: the launcher starts the training processes in separate sessions."""
        for process in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def kill_after(self, pattern: str):
        self.wait_for(pattern)
        self.kill()


@pytest.mark.slow
def test_a_process_that_does_not_answer_ends_the_run_after_the_timeout(folder, tmp_path):
    options = "--max_train_steps=100000", "--checkpointing_steps=5", "--ddp_timeout=10", "--num_workers=0"
    run = Run(folder, tmp_path / "run", *options, kind="files", processes=2)
    run.wait_for("checkpoint-5")
    frozen = psutil.Process(run.process.pid).children()[-1]
    frozen.suspend()
    output = run.finish(returncode=1)  # the launcher kills the other after 30 seconds
    assert "another process did not respond within --ddp_timeout" in output and "Resume with --resume" in output
    assert not frozen.is_running()


def get_history(output_dir: Path, step: int) -> list[tuple]:
    run_state = json.loads((output_dir / f"checkpoint-{step}" / "run.json").read_text())
    return [(record["step"], record["loss"]) for record in run_state["progress"]["history"] if "loss" in record]


def assert_same_run(first: Path, second: Path, step: int):
    """Compare every loss and the weights bit for bit."""
    assert get_history(first, step) == get_history(second, step)
    weights = [load_file(run / f"checkpoint-{step}" / "model.safetensors") for run in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def run_with_kills(folder, output_dir, patterns, num_steps, *options, **settings):
    """
    Kill a run when a file that matches the pattern exists, or a little later, and resume it; once for each pattern.

    A pattern that begins with `*` matches a checkpoint that is being written, or was just written if it was noticed
    too late.
    """
    rng = random.Random(0)
    for pattern in patterns:
        run = Run(folder, output_dir, *options, "--resume_from_checkpoint=latest", **settings)
        run.wait_for(pattern)
        if not pattern.startswith("*"):
            time.sleep(rng.uniform(0, 0.3))
        run.kill()
        assert not (output_dir / f"checkpoint-{num_steps}").exists(), "the run was over before it could be killed"
    run = Run(folder, output_dir, *options, "--resume_from_checkpoint=latest", **settings)
    run.kill_after(f"checkpoint-{num_steps}")


@pytest.mark.slow
def test_a_run_killed_while_it_writes_a_checkpoint_ends_with_the_same_weights(folder, tmp_path):
    options = ("--max_train_steps=60", "--num_workers=2", "--checkpointing_steps=10")
    Run(folder, tmp_path / "whole", *options).kill_after("checkpoint-60")
    run_with_kills(folder, tmp_path / "killed", ["*checkpoint-40"], 60, *options)
    assert_same_run(tmp_path / "whole", tmp_path / "killed", 60)
    # the previous checkpoint remains; so may one more, if the kill came before its removal
    AutoModel.from_pretrained(tmp_path / "killed" / "checkpoint-50")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "files"])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_killed_twenty_times_ends_as_one_that_was_not(folder, tmp_path, num_workers, processes, kind):
    options = ("--max_train_steps=440", f"--num_workers={num_workers}", "--checkpointing_steps=5")
    settings = {"processes": processes, "kind": kind}
    Run(folder, tmp_path / "whole", *options, **settings).kill_after("checkpoint-440")
    # before the first checkpoint, while some are written, and at random moments after others
    patterns = ["reconstructions", "*checkpoint-5"]
    patterns += [f"{'*' if step % 40 else ''}checkpoint-{step}" for step in range(20, 380, 20)]
    assert len(patterns) == 20
    run_with_kills(folder, tmp_path / "killed", patterns, 440, *options, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "killed", 440)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hub", "parquet"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_streamed_run_that_is_killed_ends_as_one_that_was_not(folder, tmp_path, kind, processes):
    """A dataset on the Hub and a folder of parquet files; a different number of workers is rejected."""
    options = ("--max_train_steps=40", "--num_workers=1", "--checkpointing_steps=5", "--streaming")
    settings = {"kind": kind, "processes": processes}
    Run(folder, tmp_path / "whole", *options, **settings).kill_after("checkpoint-40")
    run_with_kills(folder, tmp_path / "killed", ["checkpoint-10", "*checkpoint-25"], 40, *options, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "killed", 40)
    run = Run(folder, tmp_path / "killed", *options, "--num_workers=0", "--resume_from_checkpoint=latest", **settings)
    output = run.finish(returncode=1)
    assert "num_workers is 1 in the checkpoint, 0 now. Use the settings of the checkpoint (for streams" in output


def read_steps(folder: Path, processes: int, num_steps: int) -> list[list[str]]:
    """Read the epochs and checksums of each step's images, as recorded by `record_images.py`."""
    lines = [(folder / f"{rank}.txt").read_text().splitlines() for rank in range(processes)]
    number = len(lines[0]) // num_steps
    steps = [sum((rank[step * number : (step + 1) * number] for rank in lines), []) for step in range(num_steps)]
    return [sorted(step) for step in steps]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "files"])
def test_a_run_is_resumed_with_other_processes_and_workers_on_the_same_images(folder, tmp_path, kind):
    """Eight images in a step: with two processes, then one that accumulates, then one with larger micro-batches."""
    options = ("--max_train_steps=24", "--config_overrides=drop_path_rate=0", "--checkpointing_steps=8")
    layouts = [
        (2, ("--num_workers=1",)),
        (1, ("--num_workers=0", "--gradient_accumulation_steps=2")),
        (1, ("--num_workers=2", "--per_device_train_batch_size=8")),
    ]

    def record(name, output_dir, processes, stop, *layout):
        (tmp_path / name).mkdir()
        script = ("-m", "tests.helpers.record_images", tmp_path / name)
        settings = {"kind": kind, "processes": processes, "script": script}
        latest = "--resume_from_checkpoint=latest"
        Run(folder, output_dir, *options, *layout, latest, **settings).kill_after(f"checkpoint-{stop}")

    record("whole", tmp_path / "whole_run", 2, 24, *layouts[0][1])
    expected = read_steps(tmp_path / "whole", 2, 24)
    for piece, (processes, layout) in enumerate(layouts):
        record(f"piece{piece}", tmp_path / "run", processes, 8 * (piece + 1), *layout)
        lines = (tmp_path / f"piece{piece}" / "0.txt").read_text().splitlines()
        # it may have begun with the steps after the checkpoint before it was killed
        num_steps = len(lines) * processes // 8
        (tmp_path / f"piece{piece}" / "0.txt").write_text("\n".join(lines[: num_steps * 8 // processes]))
        steps = read_steps(tmp_path / f"piece{piece}", processes, num_steps)[:8]
        assert steps == expected[8 * piece : 8 * piece + 8]
    losses = [np.array(get_history(tmp_path / name, 24)) for name in ("whole_run", "run")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.slow
def test_a_run_starts_again_at_once_after_its_main_process_was_killed(folder, tmp_path):
    """Its workers survive for seconds; while the run lives, no other run may write into its folder."""
    options = ("--max_train_steps=4000", "--num_workers=2", "--checkpointing_steps=10")
    run = Run(folder, tmp_path / "run", *options)
    run.wait_for("checkpoint-10")
    second = Run(folder, tmp_path / "run", *options, "--resume_from_checkpoint=latest")
    assert "because another run is using it" in second.finish(returncode=1)
    assert run.process.poll() is None
    workers = psutil.Process(run.process.pid).children(recursive=True)
    run.process.kill()
    run.process.wait()
    assert any(worker.is_running() for worker in workers)
    last = max(int(path.name.removeprefix("checkpoint-")) for path in (tmp_path / "run").glob("checkpoint-*"))
    Run(folder, tmp_path / "run", *options, "--resume_from_checkpoint=latest").kill_after(f"checkpoint-{last + 10}")
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


@pytest.mark.slow
def test_processes_that_see_other_files_do_not_train(folder, tmp_path):
    """A node lags behind and sees fewer files."""
    for rank, number in ((0, 40), (1, 30)):
        (tmp_path / f"images{rank}").mkdir()
        for index in range(number):
            (tmp_path / f"images{rank}" / f"{index}.png").write_bytes(encode(index))
    script = tmp_path / "script.py"
    script.write_text(
        "import os, runpy, sys\nsys.argv = [argument.replace('RANK', os.environ['RANK']) for argument in sys.argv]\n"
        f"runpy.run_path({str(ROOT / SCRIPT)!r}, run_name='__main__')\n"
    )
    options = ("--max_train_steps=40", "--num_workers=0", f"--train_dir={tmp_path}/imagesRANK")
    output = Run(folder, tmp_path / "run", *options, processes=2, script=(script,)).finish(returncode=1)
    assert "processes 0 and 1 see different data or settings: files (checksum of names)" in output
    assert not list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.slow
def test_a_damaged_row_group_costs_its_rows(folder, tmp_path):
    """Also if it comes first. Null rows are counted individually, the run completes, and its card has the number."""
    images = tmp_path / "images"
    images.mkdir()
    rows = [{"bytes": encode(i), "path": None} for i in range(NUM_IMAGES)] + [{"bytes": b"", "path": None}] * 3
    path = images / "0.parquet"
    Dataset.from_dict({"image": rows}, features=Features({"image": Image()})).to_parquet(path, batch_size=7)
    first = ImageOrder(np.full(9, 7), seed=0).locate(0)[1]
    column = pyarrow.parquet.read_metadata(path).row_group(first).column(0)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    options = ("--num_train_epochs=2", "--num_workers=0", "--train_dir", images, "--max_unreadable=0.2")
    output = Run(folder, tmp_path / "run", *options).finish()
    assert "Images that could not be read: 10" in output and f"{path}, row 0 of row group {first}" in output
    assert "10 images could not be read" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.slow
def test_too_many_images_that_cannot_be_read_end_the_run_with_the_last_one_named(folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rows = [{"bytes": None if i % 2 else encode(i), "path": None} for i in range(200)]
    rows = [None if row["bytes"] is None else row for row in rows]
    Dataset.from_dict({"image": rows}, features=Features({"image": Image()})).to_parquet(images / "0.parquet")
    options = ("--num_train_epochs=2", "--num_workers=1", "--train_dir", images)
    output = Run(folder, tmp_path / "run", *options).finish(returncode=1)
    assert "images cannot be read, more than --max_unreadable 0.05 allows. The last one is" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("number", "processes", "whole_group"),
    [
        (signal.SIGTERM, 1, True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (signal.SIGINT, 1, True),
                (signal.SIGHUP, 1, True),
                (signal.SIGUSR1, 1, True),
                (signal.SIGTERM, 1, False),
                (signal.SIGTERM, 2, True),
            )
        ),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_and_says_how_to_resume(folder, tmp_path, number, processes, whole_group):
    """As with Ctrl-C in a terminal or a scheduler, all processes get the signal, including loader workers."""
    options = ("--max_train_steps=400", "--num_workers=1", "--checkpointing_steps=200")
    run = Run(folder, tmp_path / "run", *options, processes=processes)
    run.wait_for("reconstructions/*.png")
    time.sleep(1.0)
    (os.killpg if whole_group else os.kill)(run.process.pid, number)
    run.process.wait(timeout=60)
    output = run.log.read_text()
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    step = int(checkpoint.name.removeprefix("checkpoint-"))
    assert f"Stopped after step {step}" in output and "--resume_from_checkpoint latest" in output
    if processes == 1:  # otherwise the launcher ends with its own traceback
        assert run.process.returncode == 128 + number and "Traceback" not in output
    run = Run(folder, tmp_path / "run", *options, "--resume_from_checkpoint=latest", processes=processes)
    run.kill_after("checkpoint-200")
    assert [entry[0] for entry in get_history(tmp_path / "run", 200)] == list(range(1, 201))


@pytest.mark.slow
def test_two_processes_train_as_one(folder, tmp_path):
    """With the same global batches, losses and weights agree up to rounding."""
    options = (
        *("--max_train_steps=20", "--num_workers=0", "--max_eval_samples=0"),
        *("--config_overrides=drop_path_rate=0", "--checkpointing_steps=20"),
    )
    one = (*options, "--per_device_train_batch_size=8")
    Run(folder, tmp_path / "one", *one, kind="files").kill_after("checkpoint-20")
    Run(folder, tmp_path / "two", *options, kind="files", processes=2).kill_after("checkpoint-20")
    assert "20 steps of 8 images, on 2 x" in (tmp_path / "two.log").read_text()
    losses = [np.array(get_history(tmp_path / name, 20)) for name in ("one", "two")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    weights = [load_file(tmp_path / name / "checkpoint-20" / "model.safetensors") for name in ("one", "two")]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in ("tars", "files", "parquet")])
def test_two_processes_see_each_image_once_in_an_epoch(folder, tmp_path, kind):
    """Three shards cannot be divided by two. The worker with the most images needs 40 steps for two epochs."""
    options = ("--max_train_steps=40", "--num_workers=2", "--max_eval_samples=0", "--checkpointing_steps=40")
    script = ("-m", "tests.helpers.record_images", tmp_path)
    run = Run(folder, tmp_path / "run", *options, kind=kind, processes=2, script=script)
    run.kill_after("checkpoint-40")
    seen = [line.split() for rank in range(2) for line in (tmp_path / f"{rank}.txt").read_text().splitlines()]
    assert len(seen) == 40 * 8
    for epoch in ("0", "1"):
        checksums = sorted(int(checksum) for image_epoch, checksum in seen if image_epoch == epoch)
        assert checksums == sorted(zlib.crc32(encode(index)) for index in range(NUM_IMAGES)), epoch


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(folder, tmp_path):
    options = ("--max_train_steps=4000", "--num_workers=0", "--checkpointing_steps=20")
    run = Run(folder, tmp_path / "run", *options)
    run.wait_for("checkpoint-40")
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (25_000, 25_000))  # no file may be larger now
    output = run.finish(returncode=1)
    assert "Cannot write" in output and "The last good checkpoint is" in output and "Traceback" not in output
    assert not list((tmp_path / "run").glob(".new-*"))
    last = max(int(path.name.removeprefix("checkpoint-")) for path in (tmp_path / "run").glob("checkpoint-*"))
    run = Run(folder, tmp_path / "run", *options, "--resume_from_checkpoint=latest")
    run.kill_after(f"checkpoint-{last + 40}")


@pytest.mark.slow
def test_damaged_files_are_dropped_and_counted(folder, tmp_path):
    """3% of the files are damaged, for more than an epoch."""
    images = tmp_path / "images"
    images.mkdir()
    for index in range(130):
        (images / f"{index}.png").write_bytes(encode(index))
    (images / "truncated.jpg").write_bytes(encode(0)[:100])
    (images / "text.jpg").write_text("this is not an image")
    (images / "empty.png").touch()
    PIL.Image.new("1", (30_000, 30_000)).save(images / "bomb.png")
    options = ("--num_train_epochs=1.5", "--num_workers=2", "--train_dir", images)
    output = Run(folder, tmp_path / "run", *options).finish()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {Path(name).name for name in metrics["unreadable"]} == {
        "truncated.jpg",
        "text.jpg",
        "empty.png",
        "bomb.png",
    }
    assert "Images that could not be read: 4" in output and "DecompressionBombError" in output
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "4 images could not be read" in card
