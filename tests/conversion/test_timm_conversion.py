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

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
)
from modeling_greenmim.convert_greenmim_to_swin import convert_greenmim_to_timm
from modeling_greenmim.convert_greenmim_to_twins import convert_greenmim_to_twins
from tests.helpers.conversions import read_elsewhere, save_model
from tests.helpers.tiny_models import FAMILIES


CONVERTERS = {
    "swin": convert_greenmim_to_timm,
    "swin_v2": convert_greenmim_to_timm,
    "twins": convert_greenmim_to_twins,
}
PCPVT = {"token_mixers": "spatial_reduction", "depths": (1, 2, 3), "hidden_sizes": (16, 24, 40)}
OTHER_IMAGES = {"qkv_bias": False, "num_channels": 4, "image_size": [96, 160]}


def save_family(family, model_class, folder, **settings):
    return save_model(model_class, folder, **{**FAMILIES[family], **settings})


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        *((family, {}) for family in FAMILIES),
        pytest.param("twins", PCPVT, marks=pytest.mark.slow),
        *(pytest.param(family, OTHER_IMAGES, marks=pytest.mark.slow) for family in FAMILIES),
        *(pytest.param(family, {"window_size": 16}, marks=pytest.mark.slow) for family in ("swin", "swin_v2")),
    ],
)
@pytest.mark.parametrize(
    "model_class",
    [pytest.param(GreenMimForMaskedImageModeling, marks=pytest.mark.slow), GreenMimForImageClassification],
)
def test_timm_reads_it(tmp_path, family, settings, model_class):
    pytest.importorskip("timm")
    settings = {"patch_size": 4, "image_size": 64, **settings}
    model = save_family(family, model_class, tmp_path / "greenmim", **settings)
    assert max(CONVERTERS[family](tmp_path / "greenmim", tmp_path / "timm").values()) < 2e-5
    pixel_values = torch.randn(2, model.config.num_channels, *model.config.image_height_and_width)
    actual = read_elsewhere("here", "timm", tmp_path / "timm", pixel_values, tmp_path)
    with torch.no_grad():
        expected = model.greenmim(pixel_values).last_hidden_state
    torch.testing.assert_close(actual["last_hidden_state"], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_weight_is_found(tmp_path, monkeypatch, family):
    """The comparison reads the written folder."""
    pytest.importorskip("timm")

    def save_damaged(weights, path):
        (name,) = (
            name
            for name in weights
            if name.endswith(("layers.1.blocks.0.mlp.fc2.weight", "blocks.1.0.mlp.fc2.weight"))
        )
        save_file({**weights, name: 1.1 * weights[name]}, path)

    save_family(family, GreenMimModel, tmp_path / "greenmim")
    monkeypatch.setattr(f"{CONVERTERS[family].__module__}.save_file", save_damaged)
    with pytest.raises(ValueError, match="differ by more than 0.0001"):
        CONVERTERS[family](tmp_path / "greenmim", tmp_path / "timm")
    assert [path.name for path in tmp_path.iterdir()] == ["greenmim"]


@pytest.mark.parametrize("family", FAMILIES)
def test_where_timm_is_missing_it_is_said(tmp_path, monkeypatch, family):
    monkeypatch.setattr(f"{CONVERTERS[family].__module__}.is_timm_available", lambda: False)
    save_family(family, GreenMimModel, tmp_path / "greenmim")
    assert CONVERTERS[family](tmp_path / "greenmim", tmp_path / "timm") is None
    assert "timm was not installed" in (tmp_path / "timm" / "README.md").read_text()


def test_queries_keys_and_values_of_a_swin_are_one_matrix(tmp_path):
    save_family("swin", GreenMimModel, tmp_path / "greenmim")
    convert_greenmim_to_timm(tmp_path / "greenmim", tmp_path / "timm")
    ours, timm = (load_file(tmp_path / folder / "model.safetensors") for folder in ("greenmim", "timm"))
    names = [f"encoder.layers.1.blocks.0.attention.{name}_proj.weight" for name in "qkv"]
    assert torch.equal(timm["layers.1.blocks.0.attn.qkv.weight"], torch.cat([ours[name] for name in names]))


@pytest.mark.parametrize(
    ("family", "model_class", "settings", "message"),
    [
        ("swin", GreenMimBackbone, {}, "norms of feature maps"),
        ("swin", GreenMimModel, {"use_absolute_embeddings": True}, "`use_absolute_embeddings` must be `False`"),
        ("swin", GreenMimModel, {"hidden_act": "relu"}, "'relu'"),
        ("swin", GreenMimModel, {"image_size": (32, 64)}, r"stage 3.*\(4 x 8\).*window \(4\).*image_size"),
        ("swin", GreenMimModel, {"layer_norm_eps": 1e-6}, "1e-06"),
        (
            "swin",
            GreenMimModel,
            {"image_size": (62, 62), "patch_size": 4},
            r"multiples of 4 because timm crops.*\(62, 62\).*image_size",
        ),
        (
            "swin",
            GreenMimModel,
            {"image_size": (72, 64)},
            r"stage 3 windows of 4.*the grid \(9 x 8\).*after the shift",
        ),
        (
            "swin_v2",
            GreenMimModel,
            {"image_size": (64, 48), "window_size": 8},
            r"stage 3 windows of 8 are clipped.*\(8 x 6\)",
        ),
        ("twins", GreenMimModel, {"conditional_position_encoding": False}, "'conditional_position_encoding'"),
        ("twins", GreenMimModel, {"embedding_norm_eps": None}, "Cannot convert.*'embedding_norm_eps': None"),
        ("twins", GreenMimModel, {"token_mixers": ["window", "spatial_reduction", "global"]}, "'global'"),
        ("twins", GreenMimModel, {"score_modulation": "gaussian_mixture"}, "'score_modulation': 'gaussian_mixture'"),
        ("twins", GreenMimModel, {"use_absolute_embeddings": True}, "'use_absolute_embeddings'.*publish"),
        (
            "twins",
            GreenMimModel,
            {"image_size": (60, 64)},
            r"multiples of 8 because timm's Twins crops.*\(60, 64\).*image_size",
        ),
        ("twins", GreenMimModel, {"window_size": 12}, r"stage 3.*window \(12\).*\(8 x 8\).*image_size"),
        ("twins", GreenMimBackbone, {}, "as a GreenMimModel because 2 weights are missing: layernorm"),
    ],
)
def test_what_timm_cannot_represent(tmp_path, family, model_class, settings, message):
    save_family(family, model_class, tmp_path / "greenmim", **settings)
    with pytest.raises(ValueError, match=message):
        CONVERTERS[family](tmp_path / "greenmim", tmp_path / "timm")
    assert not (tmp_path / "timm").exists()
