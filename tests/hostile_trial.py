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
Repeat the hostile trial: wrong calls, code planted where a stranger could plant it, and secrets that must not leak.
Takes minutes.

    python -m tests.hostile_trial           prints the numbers
    python -m tests.hostile_trial --write   writes them to tests/hostile_trial.json, which docs/security.md quotes
"""

import argparse
import contextlib
import http.server
import io
import json
import os
import pickle
import re
import shutil
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel, SwinConfig, SwinModel

from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil, GreenMimModel, publish
from modeling_greenmim.convert_greenmim_to_swin import convert_greenmim_to_swin
from modeling_greenmim.convert_swin_to_greenmim import convert_swin_to_greenmim
from modeling_greenmim.training import pretrain
from modeling_greenmim.training.fine_tuning_models import StartArguments, load_classifier
from modeling_greenmim.training.pretraining_arguments import ModelArguments
from modeling_greenmim.training.pretraining_setup import make_pretrained_model
from tests.helpers.pretraining import CONFIG, SCRIPT, SWIN_SETTINGS, write_images
from tests.helpers.public_functions import FUNCTIONS
from tests.helpers.scripts import import_script
from tests.helpers.wrong_calls import list_failures


RESULTS = Path(__file__).with_suffix(".json")
SETTINGS = {"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 4, "max_eval_samples": 8, "use_cpu": True}
SETTINGS |= {"disable_tqdm": True, "eval_strategy": "no", "report_to": "none"}
SECRET = "Xq7SECRETq7X"
SPY = "import pathlib\npathlib.Path({mark!r}).touch()\n"


class Marker:
    """Creates a marker file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def write_pickle(path: Path, mark: Path):
    path.write_bytes(pickle.dumps(Marker(mark)))


def write_torch_pickle(path: Path, mark: Path):
    torch.save(Marker(mark), path)


def is_executed(mark: Path, function: Callable[[], object]) -> bool:
    """Whether a function, which may raise anything, creates the marker file. The file is removed."""
    with contextlib.suppress(Exception, SystemExit), contextlib.redirect_stdout(io.StringIO()):
        function()
    executed = mark.exists()
    if executed:
        shutil.rmtree(mark) if mark.is_dir() else mark.unlink()
    return executed


def run_script(images: Path, output_dir: Path, *options: str):
    arguments = [f"--train_dir={images / 'files'}", f"--config_name_or_path={images}", f"--output_dir={output_dir}"]
    arguments += [
        "--max_train_steps=4",
        "--checkpointing_steps=2",
        "--per_device_train_batch_size=4",
        "--num_workers=0",
    ]
    import_script(SCRIPT).main([*arguments, "--max_eval_samples=8", *options])


def plant_in_checkpoints(folder: Path, mark: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Plant code in every checkpoint file, and in files that Accelerate and version 0.1 read."""
    images = write_images(folder)
    starts = {
        "run_pretraining_no_trainer.py": partial(run_script, images),
        "pretrain": lambda output_dir, *_: pretrain(
            images / "files", output_dir, CONFIG, resume_from_checkpoint="latest", **SETTINGS
        ),
    }
    others = ["custom_checkpoint_0.pkl", "random_states_0.pkl", "process0.pt", "optimizer.bin", "scheduler.bin"]
    others += ["scaler.pt", "sampler.bin", "pytorch_model.bin", "training_args.bin"]
    for title, start in starts.items():
        complete = folder / title
        with contextlib.redirect_stdout(io.StringIO()):
            start(complete)
        shutil.rmtree(complete / "model")  # otherwise there is nothing to resume
        shutil.rmtree(complete / "checkpoint-4", ignore_errors=True)
        checkpoint = complete / "checkpoint-2"
        names = [str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file()]
        for name in sorted({*names, *others}):
            for write in (write_pickle, write_torch_pickle):
                run = folder / f"{title}-planted"
                shutil.rmtree(run, ignore_errors=True)
                shutil.copytree(complete, run)
                write(run / "checkpoint-2" / name, mark)
                yield f"{title}: {name}", partial(start, run, "--resume_from_checkpoint=latest")


def plant_in_models(folder: Path, mark: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Plant code that a model folder's configurations name, and pickles instead of weights."""
    original, spy = folder / "original", folder / "spy"
    GreenMimForMaskedImageModeling(CONFIG).save_pretrained(original)
    GreenMimImageProcessorPil().save_pretrained(original)
    publish.publish(original, spy)
    swin = folder / "swin"
    SwinModel(SwinConfig(**SWIN_SETTINGS)).save_pretrained(swin)
    for path in spy.glob("*.py"):
        path.write_text(SPY.format(mark=str(mark)))
    output_dir = folder / "output"
    uses = {
        "AutoModel": lambda model: AutoModel.from_pretrained(model),
        "AutoImageProcessor": lambda model: AutoImageProcessor.from_pretrained(model),
        "from_pretrained": lambda model: GreenMimModel.from_pretrained(model),
        "publish": lambda model: publish.publish(model, output_dir),
        "convert_greenmim_to_swin": lambda model: convert_greenmim_to_swin(model, output_dir),
        "convert_swin_to_greenmim": lambda model: convert_swin_to_greenmim(model, output_dir),
        "pre-training": lambda model: make_pretrained_model(ModelArguments(model_name_or_path=str(model)), seed=0),
        "a teacher": lambda model: make_pretrained_model(
            ModelArguments(teacher_model_name_or_path=str(model)), seed=0, config=CONFIG
        ),
        "fine-tuning": lambda model: load_classifier(StartArguments(model_name_or_path=str(model)), ["a", "b"]),
    }
    for name, use in uses.items():
        shutil.rmtree(output_dir, ignore_errors=True)
        yield f"code in a model folder: {name}", partial(use, spy)
        for write in (write_pickle, write_torch_pickle):
            planted = folder / "planted"
            shutil.rmtree(planted, ignore_errors=True)
            shutil.rmtree(output_dir, ignore_errors=True)
            shutil.copytree(swin if name == "convert_swin_to_greenmim" else original, planted)
            (planted / "model.safetensors").unlink()
            write(planted / "pytorch_model.bin", mark)
            yield f"weights in a model folder: {name}", partial(use, planted)


def plant_in_images(folder: Path, mark: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Plant pickles among images, in an array and in a tar file."""
    images = write_images(folder)
    files = folder / "files" / "class0"
    np.save(files / "planted.npy", np.array([Marker(mark)], dtype=object), allow_pickle=True)
    for suffix in (".pkl", ".pickle", ".pth", ".pt", ".py"):
        write_pickle(files / f"planted{suffix}", mark)
        shutil.rmtree(folder / "tars")
        (folder / "tars").mkdir()
        with tarfile.open(folder / "tars" / "0.tar", "w") as tar:
            for number in range(12):
                tar.add(files / f"{2 * number:02d}.png", f"{number:02d}.png")
                tar.add(files / f"planted{suffix}", f"{number:02d}{suffix}")
        start = {"train_dir": images / "tars", "output_dir": folder / f"run{suffix}", "config": CONFIG}
        yield f"a {suffix} in a tar", partial(pretrain, **start, **SETTINGS)
    yield (
        "arrays and other files among images",
        partial(pretrain, images / "files", folder / "run", CONFIG, **SETTINGS),
    )


def find_executed() -> tuple[int, list[str]]:
    """Return the number of planted pieces of code, and the executed ones."""
    number, executed = 0, []
    for plant in (plant_in_checkpoints, plant_in_models, plant_in_images):
        with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
            if plant is not plant_in_models:  # loading the new folder in another process takes seconds
                stack.enter_context(mock.patch.object(publish, "_check_folder"))
            mark = Path(temporary) / "mark"
            (Path(temporary) / "folder").mkdir()
            if not is_executed(mark, partial(pickle.loads, pickle.dumps(Marker(mark)))):
                raise RuntimeError("The marker does not work.")
            for name, function in plant(Path(temporary) / "folder", mark):
                number += 1
                if is_executed(mark, function):
                    executed.append(name)
    return number, executed


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serve parts of files, as reading parquet files requires."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-")).groups()
        content = path.read_bytes()
        part = content[int(first) : int(last or len(content)) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)

    def send_header(self, keyword: str, value: str):
        if keyword == "Content-type":
            super().send_header("Accept-Ranges", "bytes")
        super().send_header(keyword, value)

    def log_message(self, *_):
        pass


def find_leaks() -> tuple[int, list[str]]:
    """
    Return the number of searched files and outputs, and those with a secret, after runs with a secret in their
    commands.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / f"{SECRET}-home"
        images = write_images(folder / "images")
        handler = partial(RangeHandler, directory=str(images / "parquet"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://user:{SECRET}@127.0.0.1:{server.server_port}/{{}}.parquet?signature={SECRET}"
        texts = {}
        commands = {
            "addresses": ["--data_files", *map(address.format, range(3))],
            "missing address": ["--data_files", address.format("none")],
            "file address": ["--data_files", f"file://{images}/parquet/0.parquet"],
            "folder": ["--train_dir", str(images / "files")],
        }
        for title, data in commands.items():
            output_dir = folder / title
            arguments = [*data, f"--config_name_or_path={images}", f"--output_dir={output_dir}", "--num_workers=0"]
            arguments += ["--max_train_steps=4", "--per_device_train_batch_size=4", "--max_eval_samples=8"]
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                try:
                    import_script(SCRIPT).main(arguments)
                except SystemExit as error:
                    output.write(str(error))
            # the user typed the run's folder, and nobody else sees it
            if title != "missing address" and not (output_dir / "model").exists():
                raise RuntimeError(f"A run of the trial failed: {output.getvalue()[-2000:]}")
            texts[f"{title}: output"] = output.getvalue().replace(str(folder), "")
            for path in output_dir.rglob("*"):
                if path.is_file() and "checkpoint-" not in str(path.relative_to(output_dir)):
                    texts[f"{title}: {path.relative_to(output_dir)}"] = path.read_bytes().decode("latin-1")
        server.shutdown()
    return len(texts), [name for name, text in texts.items() if SECRET in text]


def find_wrong_calls() -> tuple[int, list[str]]:
    """Return the number of wrong and doubtful calls, and those without a clear error or correct result."""
    counts: Counter = Counter()
    failures = [failure for name in FUNCTIONS for failure in list_failures(name, counts)]
    return sum(counts.values()), failures


def run_trial() -> dict:
    num_calls, failures = find_wrong_calls()
    num_planted, executed = find_executed()
    num_searched, leaks = find_leaks()
    calls = {"calls": num_calls, "unclear or wrong": failures}
    return calls | {"planted": num_planted, "executed": executed, "searched": num_searched, "leaks": leaks}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--write", action="store_true", help="Write the numbers to tests/hostile_trial.json.")
    write = parser.parse_args().write
    text = json.dumps(run_trial(), indent=2) + "\n"
    print(text)
    if write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
