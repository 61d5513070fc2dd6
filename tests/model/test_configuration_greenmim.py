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
"""The configuration: defaults, validation, and the configurations in examples/configs."""

import json
from pathlib import Path

import pytest
import torch
from transformers import SwinConfig, SwinModel, Swinv2Config, Swinv2Model

from modeling_greenmim import GreenMimConfig, GreenMimModel, make_plan, sample_masks
from modeling_greenmim.twins_weights import TWINS_MODELS
from tests.helpers.tiny_models import FAMILIES


CONFIGS = Path(__file__).parents[2] / "examples" / "configs"


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


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": (64, 96), "num_heads": (1, 2, 4), "out_features": ["stage2"]},
        {"num_heads": 2, "hidden_sizes": (8, 12, 14), "mlp_ratio": (8, 4, 4)},
        {"num_heads": 2, "hidden_sizes": 8, "token_mixers": "global"},
        {"num_heads": 2, "token_mixers": ("mask_unit", ("window", "shifted_window"), ["global"])},
        {"num_heads": 2, **FAMILIES["twins"]},
    ],
    ids=["sizes", "tuples", "ints", "mixers", "twins"],
)
def test_a_configuration_equals_the_one_read_back(tmp_path, settings):
    config = GreenMimConfig(depths=(1, 2, 3), embed_dim=8, **settings)
    config.save_pretrained(tmp_path)
    loaded = GreenMimConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    for name in ("image_size", "depths", "num_heads", "hidden_sizes", "mlp_ratio", "mlp_ratios", "token_mixers"):
        assert getattr(loaded, name) == getattr(config, name)


def test_tuples_and_numbers_are_normalized():
    config = GreenMimConfig(
        depths=(1, 3),
        embed_dim=8,
        hidden_sizes=8,
        num_heads=2,
        mlp_ratio=(8, 4),
        token_mixers=("mask_unit", ("global",)),
    )
    assert config.depths == [1, 3] and config.hidden_sizes == [8, 8] and config.num_heads == [2, 2]
    assert config.mlp_ratio == config.mlp_ratios == [8, 4]
    assert config.token_mixers == [["mask_unit"], ["global"]]


def test_defaults_of_each_stage_are_resolved():
    config = GreenMimConfig()
    assert config.hidden_sizes == [128, 256, 512, 1024] and config.mlp_ratios == [4.0] * 4
    assert config.token_mixers == [["window", "shifted_window"]] * 4


def test_settings_of_each_stage_are_read_by_keywords_of_from_pretrained(tmp_path):
    GreenMimConfig(embed_dim=64, num_heads=2).save_pretrained(tmp_path)
    config = GreenMimConfig.from_pretrained(tmp_path, token_mixers="global", num_heads=(4, 4, 4, 4))
    assert config.token_mixers == [["global"]] * 4 and config.num_heads == [4, 4, 4, 4]
    assert GreenMimConfig.from_pretrained(tmp_path, embed_dim=32).hidden_sizes == [32, 64, 128, 256]


def test_a_configuration_of_version_0_1_means_swin():
    config = GreenMimConfig.from_pretrained(CONFIGS.parents[1] / "experiments" / "cifar10" / "pretrained")
    assert config.token_mixers == [["window", "shifted_window"]] * 2 and config.hidden_sizes == [64, 128]


@pytest.mark.parametrize("stage", range(4))
def test_sides_of_a_mask_unit_in_tokens(stage):
    assert GreenMimConfig().get_unit_side(stage) == (8, 4, 2, 1)[stage]


def test_what_others_have_added_survives_json(tmp_path):
    """
    An attribute that was set later does not prevent loading, even with a name that would be rejected as misspelled.
    """
    config = GreenMimConfig()
    config.layer_norm_epsilon = 1.0
    config.save_pretrained(tmp_path)
    assert GreenMimConfig.from_pretrained(tmp_path).layer_norm_epsilon == 1.0
    with pytest.raises(ValueError, match="layer_norm_eps"):
        GreenMimConfig(layer_norm_epsilon=1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embed_dim": 100}, "channels of stage 1.*8 heads, got 100 channels.*embed_dim=100"),
        ({"depths": (2, 2)}, r"num_heads.*2 stages in `depths=\[2, 2\]`, got 4"),
        ({"depths": (), "num_heads": ()}, "`depths` must have at least one entry"),
        ({"depths": (2, 0, 2, 2)}, "Stage 2.*at least one layer"),
        ({"mask_ratio": 0}, "mask_ratio.*0"),
        ({"mask_ratio": 1.0}, "mask_ratio.*1.0"),
        ({"drop_path_rate": 1.0}, "drop_path_rate.*1.0"),
        ({"window_size": 0}, "window_size.*0"),
        ({"patch_size": -4}, "patch_size.*-4"),
        ({"image_size": [224, 224, 3]}, "image_size.*one or two sides"),
        ({"image_size": 2}, "image_size.*at least `patch_size=4` pixels"),
        ({"image_size": 230, "use_absolute_embeddings": True}, "image_size.*multiple of `patch_size=4`.*got 230"),
        ({"out_features": "stage1"}, r"out_features.*list, such as \['stage1'\].*'stage1'"),
        ({"decoder_hidden_size": 30}, "decoder_hidden_size.*multiple of 4.*30"),
        ({"decoder_num_attention_heads": 7}, "decoder_hidden_size.*decoder_num_attention_heads=7.*got 512"),
        ({"mask_ration": 0.6}, "mask_ration=0.6.*mask_ratio"),
        ({"windows_size": 14}, "windows_size=14.*window_size"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon.*layer_norm_eps"),
        ({"position_bias": "learned"}, "position_bias.*'none'.*'learned'"),
        ({"norm_type": "batch"}, "norm_type.*'group'.*'batch'"),
        ({"score_modulation": "gaussian"}, "score_modulation.*'gaussian_mixture'.*'gaussian'"),
        ({"window": 3}, "window=3.*window_size"),
        ({"decoder_depth": 3}, "decoder_depth=3.*decoder_num_hidden_layers"),
        ({"hidden_size": 96}, r"hidden_size` must be 512.*hidden_sizes=\[64, 128, 256, 512\].*got 96"),
        ({"num_layers": 3}, r"num_layers` must be 4.*depths=\[2, 2, 18, 2\].*got 3"),
        ({"num_hidden_layers": 24}, "num_hidden_layers` must be 4.*depths.*got 24"),
        ({"embed_dim": 96.0}, "embed_dim"),
        ({"mlp_ratio": 0.001}, "Stage 1.*one MLP channel"),
        ({"hidden_sizes": []}, r"hidden_sizes.*4 stages.*got 0"),
        ({"hidden_sizes": 64.0}, r"hidden_sizes.*list of integers.*64.0"),
        ({"token_mixers": []}, r"token_mixers.*4 stages.*got 0"),
        ({"token_mixers": 5}, r"token_mixers.*list with a name.*got 5"),
        ({"token_mixers": [None] * 4}, r"token_mixers.*list with a name.*None"),
        ({"token_mixers": {"stage1": "window"}}, r"token_mixers.*list with a name.*stage1"),
        ({"token_mixer": "global"}, "token_mixer='global'.*`token_mixers`"),
        ({"hidden_sizes": [64, 128, 256]}, r"hidden_sizes.*4 stages.*got 3 \(\[64, 128, 256\]\)"),
        ({"hidden_sizes": [96, 128, 256, 512]}, r"hidden_sizes.*start with `embed_dim=64`.*embed_dim=96"),
        ({"hidden_sizes": [64, 100, 256, 512]}, "channels of stage 2.*8 heads, got 100 channels"),
        ({"hidden_sizes": [64, -8, 256, 512]}, "Stage 2.*one channel.*-8"),
        ({"mlp_ratio": [4.0, 4.0]}, r"mlp_ratio.*4 stages.*got 2 \(\[4.0, 4.0\]\)"),
        ({"mlp_ratio": [4, 4, 4, 0]}, "`mlp_ratio`.*above 0, got 0"),
        ({"token_mixers": [["window"]]}, r"token_mixers.*4 stages.*got 1 \(\[\['window'\]\]\)"),
        ({"token_mixers": [["window"], [], ["window"], ["window"]]}, r"token_mixers.*list of names.*\[\] for stage 2"),
        (
            {"token_mixers": [["window"], [3], ["window"], ["window"]]},
            r"token_mixers.*list of names.*\[3\] for stage 2",
        ),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GreenMimConfig(**{"embed_dim": 64, "num_heads": (8, 8, 8, 8), **arguments})


def test_unrelated_keywords_pass():
    config = GreenMimConfig(num_labels=7, attn_implementation="eager", my_note="hello")
    assert config.num_labels == 7 and config.my_note == "hello"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_ready_configurations_hold_no_key_without_a_meaning(path):
    assert set(json.loads(path.read_text())) <= set(GreenMimConfig.from_json_file(path).to_dict())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("greenmim_twins_*.json")), ids=lambda path: path.stem)
def test_ready_twins_are_those_of_timm(path):
    """test_twins_conversion.py compares the latter with timm."""
    name = path.stem.removeprefix("greenmim_").removesuffix("_224")
    assert GreenMimConfig.from_json_file(path).to_dict() == GreenMimConfig(**TWINS_MODELS[name]).to_dict()


NO_SWINS = ("twins", "dilated", "cluster", "gaussian_mixture", "overlapping", "hierarchical_vit")


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(CONFIGS.glob("*.json")) if not any(name in path.stem for name in NO_SWINS)],
    ids=lambda path: path.stem,
)
def test_ready_swins_have_the_parameters_of_transformers(path):
    config, settings = GreenMimConfig.from_json_file(path), json.loads(path.read_text())
    swin_class, config_class = (Swinv2Model, Swinv2Config) if config.is_swin_v2 else (SwinModel, SwinConfig)
    shared = {key: value for key, value in settings.items() if key in SwinConfig().to_dict() and key != "model_type"}
    with torch.device("meta"):
        assert GreenMimModel(config).num_parameters() == swin_class(config_class(**shared)).num_parameters()


def test_the_ready_configurations():
    names = {path.stem for path in CONFIGS.glob("*.json")}
    swin = ("tiny_window7", "small_window7", "base_window7", "large_window14")
    swin_v2 = ("tiny_window8_256", "small_window8_256", "base_window8_256", "large_window12_192")
    twins = ("twins_svt_small", "twins_svt_base", "twins_svt_large", "twins_pcpvt_small")
    small = {"greenmim_cifar10_32", "greenmim_pasted_digits_96"}
    systems = ("swin", "dilated", "cluster", "gaussian_mixture", "uniform", "overlapping", "hierarchical_vit")
    small |= {f"greenmim_{name}_64" for name in systems}
    variants = [*(f"{name}_224" for name in swin + twins), *(f"swinv2_{name}" for name in swin_v2)]
    assert names == {f"greenmim_{variant}" for variant in variants} | small


@pytest.mark.parametrize("per_sample", [False, True])
def test_windows_of_8_at_256_pixels_are_mask_units(per_sample):
    config = GreenMimConfig.from_json_file(CONFIGS / "greenmim_swinv2_tiny_window8_256.json")
    mask = sample_masks(batch_size=4, grid_size=(8, 8), mask_ratio=config.mask_ratio, seed=0, per_sample=per_sample)
    plan = make_plan(torch.from_numpy(mask), config)["stage1"]["window"]
    num_units = (~mask).sum() if per_sample else (~mask[0]).sum()
    assert plan["gather_index"].shape == (num_units, 64)  # the groups are the units, without empty slots
    first_tokens = plan["gather_index"][:, :1] // 64 * 64
    assert (plan["gather_index"] == first_tokens + torch.arange(64)).all()
    assert (plan["set_index"] == plan["set_index"][:, :1]).all()
