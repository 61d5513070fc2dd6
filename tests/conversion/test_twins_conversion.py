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
"""Twins: full images against timm's Twins, and conversion in both directions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from modeling_greenmim import (
    GreenMimConfig,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
)
from modeling_greenmim.convert_greenmim_to_twins import convert_greenmim_to_twins
from modeling_greenmim.convert_twins_to_greenmim import convert_twins_to_greenmim
from modeling_greenmim.twins_weights import TWINS_MODELS, make_encoder_state_dict
from tests.helpers.conversions import save_model
from tests.helpers.tiny_models import FAMILIES, make_config


TWINS = FAMILIES["twins"]
SMALL = ["twins_svt_small", "twins_pcpvt_small"]
# windows of 7 divide only the first size's grids
IMAGE_SIZES = [(224, 224), (256, 320)]


def make_timm_model(name: str, **settings) -> torch.nn.Module:
    """Create a timm Twins with biases and norms that affect the outputs."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, **settings).eval()
    for parameter_name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter_name.endswith("norm.weight")), std=0.3)
    return model


def make_encoder(timm_model: torch.nn.Module, **settings) -> GreenMimModel:
    model = GreenMimModel(GreenMimConfig(**settings)).eval()
    model.load_state_dict(make_encoder_state_dict(timm_model.state_dict(), model))
    return model


@pytest.fixture(scope="module")
def svt_small(tmp_path_factory) -> Path:
    """Save the weights of a small timm Twins-SVT with 5 classes."""
    path = tmp_path_factory.mktemp("timm") / "svt.safetensors"
    save_file(make_timm_model("twins_svt_small", num_classes=5).state_dict(), path)
    return path


# Full images


@pytest.mark.parametrize("image_size", IMAGE_SIZES)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SMALL else [pytest.mark.slow]) for name in TWINS_MODELS]
)
def test_full_images_equal_timm(name, image_size):
    timm_model = make_timm_model(name, num_classes=0)
    model = make_encoder(timm_model, **TWINS_MODELS[name])
    pixel_values = torch.randn(1, 3, *image_size)
    with torch.no_grad():
        actual, expected = model(pixel_values).last_hidden_state, timm_model.forward_features(pixel_values)
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("image_size", IMAGE_SIZES)
@pytest.mark.parametrize("name", SMALL)
def test_every_epsilon_is_that_of_timm(name, image_size):
    """Compared in float64, with patch embeddings of small variance."""
    depths = (1, 2, 1, 2)
    timm_model = make_timm_model(name, num_classes=0, depths=depths)
    timm_model.patch_embeds[0].proj.weight.data *= 1e-2
    model = make_encoder(timm_model, **{**TWINS_MODELS[name], "depths": depths}).double()
    timm_model.double()
    pixel_values = torch.randn(1, 3, *image_size, dtype=torch.float64)
    with torch.no_grad():
        actual, expected = model(pixel_values).last_hidden_state, timm_model.forward_features(pixel_values)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-11)


# In and out


def test_there_and_back_changes_no_bit(svt_small, tmp_path):
    differences = convert_twins_to_greenmim(svt_small, "twins_svt_small", tmp_path / "greenmim")
    assert max(differences.values()) < 2e-5
    assert max(convert_greenmim_to_twins(tmp_path / "greenmim", tmp_path / "twins").values()) < 2e-5
    expected, actual = load_file(svt_small), load_file(tmp_path / "twins" / "model.safetensors")
    assert {name for name in expected if not name.startswith("head.")} == set(actual)
    assert all(torch.equal(expected[name], tensor) for name, tensor in actual.items())


def test_a_converted_twins_pretrains(svt_small, tmp_path):
    convert_twins_to_greenmim(svt_small, "twins_svt_small", tmp_path / "greenmim")
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "greenmim").train()
    model(torch.randn(1, 3, 224, 224), bool_masked_pos=torch.arange(49)[None] < 37).loss.backward()
    assert model.greenmim.encoder.layers[0].position_encoding.convolution.weight.grad.abs().sum() > 0
    assert (tmp_path / "greenmim" / "preprocessor_config.json").is_file()


def test_a_folder_names_its_license_and_dtype_is_kept(tmp_path):
    timm_model = make_timm_model("twins_pcpvt_small", num_classes=0, in_chans=4).bfloat16()
    (tmp_path / "timm").mkdir()
    save_file(timm_model.state_dict(), tmp_path / "timm" / "model.safetensors")
    (tmp_path / "timm" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Weights\n")
    convert_twins_to_greenmim(tmp_path / "timm", "twins_pcpvt_small", tmp_path / "greenmim")
    convert_greenmim_to_twins(tmp_path / "greenmim", tmp_path / "twins")
    for folder in ("greenmim", "twins"):
        assert ModelCard.load(tmp_path / folder / "README.md").data.license == "cc-by-nc-4.0"
        tensors = load_file(tmp_path / folder / "model.safetensors").values()
        assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}


def test_a_wrong_weight_is_found_on_the_way_in(svt_small, tmp_path, monkeypatch):
    save_pretrained = GreenMimForMaskedImageModeling.save_pretrained

    def save_damaged(self, folder):
        self.greenmim.encoder.layers[0].position_encoding.convolution.weight.data *= 1.1
        save_pretrained(self, folder)

    monkeypatch.setattr(GreenMimForMaskedImageModeling, "save_pretrained", save_damaged)
    with pytest.raises(ValueError, match="differ by more than 0.0001"):
        convert_twins_to_greenmim(svt_small, "twins_svt_small", tmp_path / "greenmim")
    assert not (tmp_path / "greenmim").exists()


def test_there_and_back_without_timm_changes_no_bit(tmp_path, monkeypatch):
    for module in ("convert_greenmim_to_twins", "convert_twins_to_greenmim"):
        monkeypatch.setattr(f"modeling_greenmim.{module}.is_timm_available", lambda: False)
    names = ("image_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size", *TWINS)
    tiny = {name: getattr(make_config(**TWINS), name) for name in names}
    monkeypatch.setitem(TWINS_MODELS, "twins_tiny", tiny)
    save_model(GreenMimModel, tmp_path / "greenmim", **TWINS)
    assert convert_greenmim_to_twins(tmp_path / "greenmim", tmp_path / "timm") is None
    assert convert_twins_to_greenmim(tmp_path / "timm", "twins_tiny", tmp_path / "back") is None
    assert "timm was not installed" in (tmp_path / "back" / "README.md").read_text()
    first, second = (load_file(tmp_path / folder / "model.safetensors") for folder in ("greenmim", "back"))
    assert all(torch.equal(second[f"greenmim.{name}"], tensor) for name, tensor in first.items())


# Wrong use


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"stem.weight": torch.ones(1)}, "must contain the weights of a timm Twins, but has no patch embeddings"),
        (
            {"patch_embeds.0.proj.weight": torch.ones(64, 3, 4, 4)},
            "must contain the weights of a twins_svt_small.*missing",
        ),
        (b"half of it", "must be a safetensors file"),
        (None, "must be a safetensors file"),
    ],
    ids=["other", "incomplete", "damaged", "absent"],
)
def test_other_weights_are_refused(tmp_path, weights, message):
    path = tmp_path / "model.safetensors"
    if isinstance(weights, bytes):
        path.write_bytes(weights)
    elif weights is not None:
        save_file(weights, path)
    with pytest.raises(ValueError, match=message):
        convert_twins_to_greenmim(path, "twins_svt_small", tmp_path / "greenmim")
    assert not (tmp_path / "greenmim").exists()


def test_weights_of_a_different_twins_are_refused(svt_small, tmp_path):
    with pytest.raises(ValueError, match="weights of a twins_pcpvt_small.*missing, unknown or of a different shape"):
        convert_twins_to_greenmim(svt_small, "twins_pcpvt_small", tmp_path / "greenmim")
    with pytest.raises(ValueError, match="`model_name` must be one of twins_svt_small, .*got 'twins_tiny'"):
        convert_twins_to_greenmim(svt_small, "twins_tiny", tmp_path / "greenmim")
    assert not (tmp_path / "greenmim").exists()


def test_nothing_is_overwritten(svt_small, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="full exists and is not an empty folder"):
        convert_twins_to_greenmim(svt_small, "twins_svt_small", tmp_path / "full")
    with pytest.raises(ValueError, match="full exists and is not an empty folder"):
        convert_greenmim_to_twins(svt_small, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_command_lines(svt_small, tmp_path):
    def run(module, *arguments):
        command = [sys.executable, "-m", f"modeling_greenmim.{module}", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    options = ["--model_name", "twins_svt_small", "--output_dir", tmp_path / "greenmim"]
    result = run("convert_twins_to_greenmim", "--checkpoint_path", svt_small, *options)
    assert result.returncode == 0 and "Largest feature difference of the encoder" in result.stdout, result.stderr
    options = ["--checkpoint_path", tmp_path / "greenmim", "--output_dir", tmp_path / "twins"]
    result = run("convert_greenmim_to_twins", *options)
    assert result.returncode == 0 and "Largest feature difference" in result.stdout, result.stderr
    assert json.loads((tmp_path / "twins" / "config.json").read_text())["model_args"]["wss"] == [7] * 4
    result = run("convert_greenmim_to_twins", *options)
    assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith("error: ")
