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
"""run_probe.py as users start it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_greenmim.convert_swin_to_greenmim import convert_swin_to_greenmim
from modeling_greenmim.training.errors import UserError
from tests.helpers.scripts import import_script


script = import_script("examples/image-classification/run_probe.py")


def probe(folders, models, *options, output_file=None) -> list[dict[str, float]]:
    """Run the probe, and return each model's accuracies."""
    arguments = ["--model_name_or_path", *models, "--train_dir", folders / "files", *options]
    if output_file is not None:
        arguments += ["--output_file", output_file]
    script.main([str(argument) for argument in arguments])
    return list(json.loads(output_file.read_text())["accuracy"].values())


def test_features_of_random_encoders_tell_colors_apart(labeled_folders, tmp_path, monkeypatch, capsys):
    # a build of torch for an accelerator, on a machine without one
    monkeypatch.setattr(
        torch.accelerator,
        "current_accelerator",
        lambda check_available=False: None if check_available else torch.device("cuda"),
    )
    models = [labeled_folders / name for name in ("greenmim", "swin", "greenmim_v2", "twins")]
    options = ("--train_val_split=0.3", "--num_neighbors=3")
    results = probe(labeled_folders, models, *options, output_file=tmp_path / "deeper" / "out.json")
    assert len(results) == len(models)
    assert all(accuracy >= 0.7 for result in results for accuracy in result.values())
    output = capsys.readouterr().out
    assert "linear" in output and str(models[1]) in output


@pytest.mark.parametrize("swin", ["swin", "swin_v2"])
def test_a_converted_swin_has_the_same_features(labeled_folders, tmp_path, swin):
    convert_swin_to_greenmim(labeled_folders / swin, tmp_path / "converted", seed=0)
    models = [labeled_folders / swin, tmp_path / "converted"]
    options = ("--image_processor_name", labeled_folders / "greenmim")
    first, second = probe(labeled_folders, models, *options, output_file=tmp_path / "out.json")
    assert first == second


def test_some_classes_need_not_be_evaluated(labeled_folders, tmp_path):
    for color in ("green", "red"):
        shutil.copytree(labeled_folders / "files" / color, tmp_path / "validation" / color)
    options = ("--validation_dir", tmp_path / "validation", "--num_neighbors=3")
    (result,) = probe(labeled_folders, [labeled_folders / "greenmim"], *options, output_file=tmp_path / "out.json")
    assert result["knn"] == 1.0  # the same images


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_name_or_path": []}, "Pass --model_name_or_path"),
        ({"num_neighbors": 0}, "--num_neighbors must be at least 1"),
        ({"batch_size": 0}, "--batch_size must be at least 1"),
        ({"num_workers": -1}, "--num_workers must be at least 0"),
        ({"C": 0.0}, "--C must be above 0, got 0.0"),
    ],
)
def test_invalid_arguments_raise(arguments, message):
    with pytest.raises(UserError, match=message):
        script.ProbeArguments(**{"model_name_or_path": ["model"], **arguments})


def test_a_stream_is_refused(labeled_folders):
    with pytest.raises(SystemExit, match="--streaming is for training"):
        probe(labeled_folders, [labeled_folders / "greenmim"], "--streaming")


@pytest.fixture
def broken_models(labeled_folders, tmp_path):
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text('{"model_type": "vit"}')
    for name in ("renamed", "damaged"):
        shutil.copytree(labeled_folders / "greenmim", tmp_path / name)
    weights = load_file(tmp_path / "renamed" / "model.safetensors")
    renamed = {f"module.{name}": weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "renamed" / "model.safetensors")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"half of it")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "must be a local folder or file or a reachable Hub repository, got .*nowhere"),
        ("vit", "must be a GreenMIM or Swin model, got .* of type 'vit'"),
        ("renamed", "weights are missing"),
        ("damaged", "weights are damaged"),
    ],
)
def test_a_model_that_cannot_be_loaded_raises(labeled_folders, broken_models, name, message):
    with pytest.raises(SystemExit, match=message):
        probe(labeled_folders, [broken_models / name])


def test_a_missing_model_is_reported_before_anything_is_measured(labeled_folders, capsys):
    with pytest.raises(
        SystemExit, match="must be a local folder or file or a reachable Hub repository, got .*nowhere"
    ):
        probe(labeled_folders, [labeled_folders / "greenmim", labeled_folders / "nowhere"])
    assert "linear" not in capsys.readouterr().out
