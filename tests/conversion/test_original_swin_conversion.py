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
Export to the microsoft/Swin-Transformer format: keys and shapes, reading back with the package's reader, and timm.
"""

import subprocess
import sys

import pytest
import torch

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
)
from modeling_greenmim.convert_greenmim_original_to_hf import convert_state_dict, load_original_state_dict
from modeling_greenmim.convert_greenmim_to_swin import convert_greenmim_to_original_swin
from modeling_greenmim.original_swin import make_original_state_dict
from tests.helpers.conversions import save_model
from tests.helpers.tiny_models import FAMILIES


def list_original_keys(embed_dim, depths, num_heads, window_size, num_labels):
    """Keys and shapes in checkpoints of the original Swin, without buffers."""
    shapes = {"patch_embed.proj": ((embed_dim, 3, 4, 4), embed_dim), "patch_embed.norm": ((embed_dim,), embed_dim)}
    tables = {}
    for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
        width = embed_dim * 2**stage
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}"
            shapes[f"{prefix}.norm1"] = shapes[f"{prefix}.norm2"] = ((width,), width)
            shapes[f"{prefix}.attn.qkv"] = ((3 * width, width), 3 * width)
            shapes[f"{prefix}.attn.proj"] = ((width, width), width)
            shapes[f"{prefix}.mlp.fc1"] = ((4 * width, width), 4 * width)
            shapes[f"{prefix}.mlp.fc2"] = ((width, 4 * width), width)
            tables[f"{prefix}.attn.relative_position_bias_table"] = ((2 * window_size - 1) ** 2, heads)
        if stage < len(depths) - 1:
            shapes[f"layers.{stage}.downsample.norm"] = ((4 * width,), 4 * width)
            tables[f"layers.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
    shapes |= {"norm": ((width,), width), "head": ((num_labels, width), num_labels)}
    weights = {f"{name}.weight": shape for name, (shape, _) in shapes.items()}
    return weights | {f"{name}.bias": (size,) for name, (_, size) in shapes.items()} | tables


def test_keys_and_shapes_of_a_swin_t_are_the_original_ones():
    settings = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "window_size": 7}
    with torch.device("meta"):
        model = GreenMimForImageClassification(GreenMimConfig(**settings, num_labels=1000))
    actual = {name: tuple(tensor.shape) for name, tensor in make_original_state_dict(model).items()}
    assert actual == list_original_keys(**settings, num_labels=1000)


def test_the_package_reads_it_back_bit_for_bit(tmp_path):
    model = save_model(GreenMimForMaskedImageModeling, tmp_path / "greenmim")
    convert_greenmim_to_original_swin(tmp_path / "greenmim", tmp_path / "original")
    weights = load_original_state_dict(tmp_path / "original" / "checkpoint.pth")
    read = convert_state_dict({f"encoder.{name}": tensor for name, tensor in weights.items()}, model.config)
    expected = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("greenmim.")}
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("swin", {}),
        ("swin", {"window_size": 16}),
        ("swin", {"num_channels": 4, "qkv_bias": False, "image_size": [64, 128], "window_size": 2}),
        ("swin_v2", {}),
    ],
)
@pytest.mark.parametrize("model_class", [GreenMimModel, GreenMimForImageClassification])
def test_timm_reads_it(tmp_path, family, settings, model_class):
    pytest.importorskip("timm")
    save_model(model_class, tmp_path / "greenmim", **FAMILIES[family], patch_size=4, **settings)
    differences = convert_greenmim_to_original_swin(tmp_path / "greenmim", tmp_path / "original")
    assert len(differences) == (2 if model_class is GreenMimForImageClassification else 1)
    assert max(differences.values()) < 2e-5


def test_a_wrong_weight_is_found(tmp_path, monkeypatch):
    pytest.importorskip("timm")

    def save_damaged(checkpoint, path, save=torch.save):
        save({"model": {**checkpoint["model"], "norm.weight": 1.1 * checkpoint["model"]["norm.weight"]}}, path)

    save_model(GreenMimModel, tmp_path / "greenmim")
    monkeypatch.setattr(torch, "save", save_damaged)
    with pytest.raises(ValueError, match="differ by more than 0.0001"):
        convert_greenmim_to_original_swin(tmp_path / "greenmim", tmp_path / "original")
    assert not (tmp_path / "original").exists()


def test_where_timm_is_missing_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("modeling_greenmim.convert_greenmim_to_swin.is_timm_available", lambda: False)
    save_model(GreenMimModel, tmp_path / "greenmim")
    assert convert_greenmim_to_original_swin(tmp_path / "greenmim", tmp_path / "original") is None
    assert "timm was not installed" in (tmp_path / "original" / "README.md").read_text()


@pytest.mark.parametrize(
    ("model_class", "settings", "message"),
    [
        (GreenMimBackbone, {}, "norms of feature maps"),
        (GreenMimModel, {"token_mixers": "global"}, "Cannot convert to a Swin"),
        (GreenMimModel, {"image_size": 48}, r"does not pad windows: in stage 2.*\(6 x 6\).*image_size"),
        (
            GreenMimModel,
            {"image_size": (32, 48), "window_size": 16},
            r"in stage 1, windows of 8 do not divide the grid \(8 x 12\)",
        ),
    ],
)
def test_what_the_original_cannot_represent(tmp_path, model_class, settings, message):
    save_model(model_class, tmp_path / "greenmim", **{"patch_size": 4, **settings})
    with pytest.raises(ValueError, match=message):
        convert_greenmim_to_original_swin(tmp_path / "greenmim", tmp_path / "original")
    assert not (tmp_path / "original").exists()


@pytest.mark.slow
def test_command_line(tmp_path):
    save_model(GreenMimForImageClassification, tmp_path / "greenmim")
    command = [sys.executable, "-m", "modeling_greenmim.convert_greenmim_to_swin", "--format", "original"]
    command += ["--checkpoint_path", str(tmp_path / "greenmim"), "--output_dir", str(tmp_path / "original")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Largest feature difference" in result.stdout or "timm is not installed" in result.stdout
    checkpoint = torch.load(tmp_path / "original" / "checkpoint.pth", weights_only=True)
    assert list(checkpoint) == ["model"] and checkpoint["model"]["head.weight"].shape == (5, 64)
