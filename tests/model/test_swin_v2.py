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
Swin V2: full images equal transformers' and timm's with the same weights and any window size; its cosine attention.
"""

import pytest
import torch
from transformers import Swinv2Backbone, Swinv2Config, Swinv2ForImageClassification, Swinv2Model

from modeling_greenmim import GreenMimBackbone, GreenMimForImageClassification, GreenMimModel
from modeling_greenmim.mixer_greenmim import GreenMimAttention, GreenMimCosineSimilarity
from modeling_greenmim.swin_families import SWIN_V2, make_greenmim_config
from modeling_greenmim.timm_swin import read_timm_config
from modeling_greenmim.timm_weights import load_timm_weights
from tests.helpers.tiny_models import make_config, randomize


SETTINGS = {"embed_dim": 16, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
SMALL = {"image_size": 64, "patch_size": 2, "embed_dim": 16, "depths": (2, 2, 2), "num_heads": (1, 2, 4)}


def make_images(*image_size: int) -> torch.Tensor:
    return torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))


def load_weights(model, swin):
    """Load all weights of transformers' Swin V2 into a GreenMIM model."""
    weights = {SWIN_V2.get_our_name(name): tensor for name, tensor in swin.state_dict().items()}
    model.load_state_dict({name.replace("swinv2.", "greenmim."): tensor for name, tensor in weights.items()})
    return model.eval()


def make_pair(our_class, swin_class, **settings):
    """Create a Swin V2 with random weights and a GreenMIM model with the same weights."""
    swin = randomize(swin_class(Swinv2Config(**settings)), std=0.1)
    config = make_greenmim_config(swin.config)
    config.num_labels = swin.config.num_labels
    config.set_output_features_output_indices(out_features=swin.config.out_features, out_indices=None)
    return load_weights(our_class(config), swin), swin


@pytest.mark.parametrize(
    ("window_size", "image_size"),
    [(8, (256, 256)), (16, (256, 256)), (12, (192, 192)), (8, (256, 512)), (7, (300, 228)), (6, (160, 160))],
)
def test_full_images_equal_transformers(window_size, image_size):
    settings = {**SETTINGS, "window_size": window_size, "image_size": image_size}
    model, swin = make_pair(GreenMimModel, Swinv2Model, **settings)
    model.set_attn_implementation("eager")  # which returns its weights
    pixel_values = make_images(*image_size)
    keywords = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        expected, actual = swin(pixel_values, **keywords), model(pixel_values, **keywords)
    for name in ("last_hidden_state", "pooler_output", "hidden_states", "reshaped_hidden_states", "attentions"):
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("embed_dim", "num_heads"), [(96, (3, 6, 12, 24)), (128, (4, 8, 16, 32))])
def test_full_images_equal_transformers_in_true_width(embed_dim, num_heads):
    settings = {"embed_dim": embed_dim, "depths": (1, 2, 1, 1), "num_heads": num_heads}
    swin = Swinv2Model(Swinv2Config(**settings, window_size=8, image_size=256)).eval()
    model = load_weights(GreenMimModel(make_greenmim_config(swin.config)), swin)
    with torch.no_grad():
        expected, actual = (encoder(make_images(256, 256)).last_hidden_state for encoder in (swin, model))
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("window_size", "image_size"), [(8, 256), (16, 256), (12, 192), (4, (192, 256))])
def test_full_images_equal_timm(window_size, image_size):
    timm = pytest.importorskip("timm")
    settings = {**SETTINGS, "window_size": window_size, "img_size": image_size}
    swin = randomize(timm.create_model("swinv2_tiny_window8_256", num_classes=0, **settings), std=0.1)
    model = GreenMimModel(read_timm_config(swin)).eval()
    load_timm_weights(model, swin.state_dict())
    pixel_values = make_images(*model.config.image_height_and_width)
    with torch.no_grad():
        expected = swin.forward_features(pixel_values).flatten(1, 2)
        actual = model(pixel_values).last_hidden_state
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("window_size", [4, 16])
def test_classification_equals_transformers(window_size):
    settings = {**SMALL, "window_size": window_size, "num_labels": 5}
    model, swin = make_pair(GreenMimForImageClassification, Swinv2ForImageClassification, **settings)
    inputs = {"pixel_values": make_images(64, 64), "labels": torch.tensor([0, 4])}
    with torch.no_grad():
        expected, actual = (classifier(**inputs, output_hidden_states=True) for classifier in (swin, model))
    for name in ("loss", "logits", "hidden_states", "reshaped_hidden_states"):
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("out_features", [["stem", "stage1", "stage2", "stage3"], ["stage2"]])
@pytest.mark.parametrize("window_size", [4, 8, 16])
def test_backbone_equals_transformers(window_size, out_features):
    settings = {**SMALL, "window_size": window_size, "out_features": out_features}
    model, swin = make_pair(GreenMimBackbone, Swinv2Backbone, **settings)
    with torch.no_grad():
        expected, actual = (backbone(make_images(64, 64), output_hidden_states=True) for backbone in (swin, model))
    assert len(actual.feature_maps) == len(out_features)
    torch.testing.assert_close(actual.feature_maps, expected.feature_maps, rtol=0, atol=2e-5)
    hidden_states = [states.flatten(2).mT for states in actual.hidden_states]  # theirs are no maps
    torch.testing.assert_close(hidden_states, list(expected.hidden_states), rtol=0, atol=2e-5)


@pytest.mark.parametrize("pretrained_window_sizes", [(0, 0, 0), (4, 4, 2)], ids=["unknown", "known"])
@pytest.mark.parametrize(("window_size", "image_size"), [(8, 64), (6, 96), (12, 96)])
def test_other_windows_are_loaded_without_interpolation(
    tmp_path, monkeypatch, pretrained_window_sizes, window_size, image_size
):
    warnings = []
    monkeypatch.setattr("modeling_greenmim.position_bias_greenmim.logger.warning", warnings.append)
    settings = {**SMALL, "window_size": 4, "pretrained_window_sizes": pretrained_window_sizes}
    model, swin = make_pair(GreenMimModel, Swinv2Model, **settings)
    for name, saved in {"greenmim": model, "swin": swin}.items():
        saved.save_pretrained(tmp_path / name)
    other = {"window_size": window_size, "image_size": image_size}
    model = GreenMimModel.from_pretrained(tmp_path / "greenmim", **other).eval()
    swin = Swinv2Model.from_pretrained(tmp_path / "swin", **other).eval()
    with torch.no_grad():
        expected, actual = (
            encoder(make_images(image_size, image_size)).last_hidden_state for encoder in (swin, model)
        )
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)
    assert not warnings


def test_scales_end_at_100():
    model, swin = make_pair(GreenMimModel, Swinv2Model, **SMALL, window_size=16)
    for encoder in (model, swin):  # in layers that do not shift: there, masked scores of transformers are above others
        for name, parameter in encoder.named_parameters():
            if "blocks.0" in name and "logit_scale" in name:
                parameter.data.fill_(6.0)
    with torch.no_grad():
        expected, actual = (encoder(make_images(64, 64)).last_hidden_state for encoder in (swin, model))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_other_tokens_than_the_keys_are_compared_by_their_angle():
    attention = randomize(GreenMimAttention(make_config(), hidden_size=16, num_heads=2, similarity="cosine"))
    tokens = torch.randn(2, 5, 16)
    expected = attention(tokens)[0][:, :3]
    torch.testing.assert_close(attention(tokens, query_states=tokens[:, :3])[0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_keys_of_padding_are_compared_in_every_dtype(dtype):
    similarity = GreenMimCosineSimilarity(num_heads=2)
    query, key = torch.randn(3, 8, dtype=dtype), torch.zeros(3, 8, dtype=dtype, requires_grad=True)
    query, compared = similarity(query, key)
    (query * compared).sum().backward()
    assert (compared == 0).all() and key.grad.isfinite().all()
    assert query.dtype == compared.dtype == dtype
