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
"""The configuration: defaults, validation, and the ready ones."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import SwinConfig, SwinModel

from modeling_greenmim import GreenMimConfig, GreenMimModel


CONFIGS = Path(__file__).parents[1] / "examples" / "configs"


def test_defaults_are_the_papers_base_model():
    config = GreenMimConfig()
    assert (config.embed_dim, tuple(config.depths), tuple(config.num_heads), config.window_size) == (
        128,
        (2, 2, 18, 2),
        (4, 8, 16, 32),
        7,
    )
    assert config.mask_unit_size == 32 and config.hidden_size == 1024 and config.num_hidden_layers == 4
    assert config.drop_path_rate == 0.0 and config.mask_ratio == 0.75 and config.layer_norm_eps == 1e-5


def test_survives_json(tmp_path):
    config = GreenMimConfig(
        image_size=(64, 96), depths=(1, 2, 3), num_heads=(1, 2, 4), embed_dim=8, out_features=["stage2"]
    )
    config.save_pretrained(tmp_path)
    assert GreenMimConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_what_others_have_added_survives_json(tmp_path):
    """An attribute that was set later, even under a name that would be refused as misspelt, is no reason not to load."""
    config = GreenMimConfig()
    config.layer_norm_epsilon = 1.0
    config.save_pretrained(tmp_path)
    assert GreenMimConfig.from_pretrained(tmp_path).layer_norm_epsilon == 1.0
    with pytest.raises(ValueError, match="layer_norm_eps"):
        GreenMimConfig(layer_norm_epsilon=1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embed_dim": 100}, "100 channels of stage 1.*embed_dim=100.*8 heads"),
        ({"depths": (2, 2)}, r"depths.*num_heads.*2 \(\[2, 2\]\) and 4"),
        ({"depths": (), "num_heads": ()}, "one entry for each stage"),
        ({"depths": (2, 0, 2, 2)}, "Stage 2.*at least one layer"),
        ({"mask_ratio": 0}, "mask_ratio.*0"),
        ({"mask_ratio": 1.0}, "mask_ratio.*1.0"),
        ({"drop_path_rate": 1.0}, "drop_path_rate.*1.0"),
        ({"window_size": 0}, "window_size.*0"),
        ({"patch_size": -4}, "patch_size.*-4"),
        ({"image_size": [224, 224, 3]}, "image_size.*one or two sides"),
        ({"image_size": 2}, "image_size.*at least one patch"),
        ({"image_size": 230, "use_absolute_embeddings": True}, "image_size=230.*multiple of `patch_size=4`"),
        ({"out_features": "stage1"}, r"out_features.*list, such as \['stage1'\].*'stage1'"),
        ({"decoder_hidden_size": 30}, "decoder_hidden_size.*multiple of 4.*30"),
        ({"decoder_num_attention_heads": 7}, "decoder_hidden_size=512.*decoder_num_attention_heads=7"),
        ({"mask_ration": 0.6}, "mask_ration=0.6.*mask_ratio"),
        ({"windows_size": 14}, "windows_size=14.*window_size"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon.*layer_norm_eps"),
        ({"window": 3}, "window=3.*window_size"),
        ({"decoder_depth": 3}, "decoder_depth=3.*decoder_num_hidden_layers"),
        ({"hidden_size": 96}, r"hidden_size=96.*embed_dim=64.*512 follows"),
        ({"num_layers": 3}, r"num_layers=3.*depths=\[2, 2, 18, 2\].*4 follows"),
        ({"num_hidden_layers": 24}, "num_hidden_layers=24.*depths"),
        ({"embed_dim": 96.0}, "embed_dim"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises((ValueError, StrictDataclassError), match=message):
        GreenMimConfig(**{"embed_dim": 64, "num_heads": (8, 8, 8, 8), **arguments})


def test_unrelated_keywords_pass():
    config = GreenMimConfig(num_labels=7, attn_implementation="eager", my_note="hello")
    assert config.num_labels == 7 and config.my_note == "hello"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_ready_configurations(path):
    """They hold no key without a meaning, and their encoders have the parameters of transformers' Swin."""
    config = GreenMimConfig.from_json_file(path)
    settings = json.loads(path.read_text())
    assert set(settings) <= set(config.to_dict())
    shared = {key: value for key, value in settings.items() if key in SwinConfig().to_dict() and key != "model_type"}
    with torch.device("meta"):
        assert GreenMimModel(config).num_parameters() == SwinModel(SwinConfig(**shared)).num_parameters()


def test_the_ready_configurations():
    names = {path.stem for path in CONFIGS.glob("*.json")}
    variants = ("tiny_window7", "small_window7", "base_window7", "large_window14")
    small = {"greenmim_cifar10_32", "greenmim_pasted_digits_96"}
    assert names == {f"greenmim_{variant}_224" for variant in variants} | small
