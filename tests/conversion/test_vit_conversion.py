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
A plain ViT in one stage equals transformers' and timm's without a class token; a hierarchy of it trains on visible
tokens.
"""

import json
import subprocess
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import save_file
from torch import nn
from transformers import (
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimModel, make_plan, sample_masks
from modeling_greenmim.convert_vit_to_greenmim import convert_vit_to_greenmim
from modeling_greenmim.leak_detection import find_leaks
from modeling_greenmim.plain_vit import load_vit_weights


SETTINGS = {
    "image_size": 64,
    "patch_size": 16,
    "hidden_size": 24,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}


def randomize(model):
    """Set weights and norms that affect the outputs."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        is_scale = parameter.ndim == 1 and name.endswith("norm.weight")
        nn.init.normal_(parameter, mean=float(is_scale), std=0.2, generator=generator)
    return model.eval()


def save_transformers_vit(folder, model_class=ViTModel, **settings):
    config_class = ViTMAEConfig if model_class is ViTMAEForPreTraining else ViTConfig
    model = randomize(model_class(config_class(**{**SETTINGS, **settings})))
    model.save_pretrained(folder)
    return model


def save_timm_vit(folder, **settings):
    timm = pytest.importorskip("timm")
    arguments = {
        "img_size": 64,
        "embed_dim": 24,
        "depth": 5,
        "num_heads": 2,
        "mlp_ratio": 2,
        "num_classes": 0,
        **settings,
    }
    model = randomize(timm.create_model("vit_tiny_patch16_224", **arguments))
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    description = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "model_args": arguments,
        "pretrained_cfg": {"input_size": [3, 64, 64], "num_classes": 0, "mean": [0.4] * 3, "std": [0.2] * 3},
    }
    (folder / "config.json").write_text(json.dumps(description))
    return model


def make_images(side=64):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def encode_without_class_token(vit, pixel_values):
    """Run the layers of transformers' ViT on its patches, without the class token in the sequence."""
    embeddings = vit.embeddings
    hidden_states = embeddings.patch_embeddings(pixel_values) + embeddings.position_embeddings[:, 1:]
    for layer in vit.layers:
        hidden_states = layer(hidden_states)
    return vit.layernorm(hidden_states)


# One stage


@pytest.mark.parametrize("model_class", [ViTModel, ViTMAEForPreTraining, ViTForImageClassification])
def test_in_one_stage_it_equals_transformers(tmp_path, model_class):
    vit = save_transformers_vit(tmp_path / "vit", model_class, qkv_bias=model_class is not ViTModel)
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", patch_size=16)
    model = GreenMimModel.from_pretrained(tmp_path / "start")
    with torch.no_grad():
        actual = model(make_images()).last_hidden_state
        expected = encode_without_class_token(getattr(vit, "vit", vit), make_images())
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("settings", [{"global_pool": ""}, {"global_pool": "avg", "fc_norm": False, "num_classes": 7}])
def test_in_one_stage_it_equals_timm_without_a_class_token(tmp_path, settings):
    vit = save_timm_vit(tmp_path / "vit", class_token=False, **settings)
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", patch_size=16)
    model = GreenMimModel.from_pretrained(tmp_path / "start")
    with torch.no_grad():
        actual, expected = model(make_images()).last_hidden_state, vit.forward_features(make_images())
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5)


def test_the_class_token_of_timm_is_dropped_with_its_position(tmp_path):
    vit = save_timm_vit(tmp_path / "vit")
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", patch_size=16)
    model = GreenMimModel.from_pretrained(tmp_path / "start")
    with torch.no_grad():
        expected = vit.norm(vit.blocks(vit.patch_embed(make_images()) + vit.pos_embed[:, 1:]))
        torch.testing.assert_close(model(make_images()).last_hidden_state, expected, rtol=0, atol=2e-5)


def test_visible_tokens_in_one_stage_are_those_of_a_vit_of_the_visible_patches(tmp_path):
    """The reference is MAE's order: embed, drop the hidden patches, encode."""
    vit = save_transformers_vit(tmp_path / "vit")
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", patch_size=16)
    model = GreenMimModel.from_pretrained(tmp_path / "start")
    mask = torch.from_numpy(sample_masks(2, (4, 4), 0.75, seed=0))
    with torch.no_grad():
        hidden_states = vit.embeddings(make_images())[:, 1:][~mask].view(2, 4, 24)
        for layer in vit.layers:
            hidden_states = layer(hidden_states)
        actual = model(make_images(), mask).last_hidden_state
    torch.testing.assert_close(actual, vit.layernorm(hidden_states), rtol=0, atol=2e-5)


# Smaller patches


def test_small_patches_are_those_of_the_vit_for_enlarged_images(tmp_path):
    """
    An image of 64 pixels in patches of 4 has the same embeddings as the image enlarged to 256 pixels in patches of 16.
    """
    vit = save_transformers_vit(tmp_path / "vit")
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", depths=[1, 1, 3], patch_size=4)
    model = GreenMimModel.from_pretrained(tmp_path / "start")
    enlarged = make_images().repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    with torch.no_grad():
        expected = vit.embeddings(enlarged, interpolate_pos_encoding=True)[:, 1:]
        torch.testing.assert_close(model.embeddings(make_images()), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("arguments", "depths", "mixers"),
    [
        ({}, [1, 1, 1, 2], [["window", "shifted_window"]] * 2 + [["global"]] * 2),
        ({"patch_size": 8}, [1, 2, 2], [["window", "shifted_window"]] + [["global"]] * 2),
        ({"patch_size": 16}, [5], [["global"]]),
        ({"depths": [2, 1, 2]}, [2, 1, 2], [["window", "shifted_window"]] * 2 + [["global"]]),
    ],
)
def test_stages_finer_than_the_vit_have_windows(tmp_path, arguments, depths, mixers):
    save_transformers_vit(tmp_path / "vit")
    differences = convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", **arguments)
    config = GreenMimConfig.from_pretrained(tmp_path / "start")
    assert (config.depths, config.token_mixers, config.hidden_sizes) == (depths, mixers, [24] * len(depths))
    assert differences.keys() == {"last_hidden_state"} and differences["last_hidden_state"] < 2e-5


def test_layers_keep_their_order(tmp_path):
    vit = save_transformers_vit(tmp_path / "vit")
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", depths=[1, 2, 2])
    blocks = [
        block for stage in GreenMimModel.from_pretrained(tmp_path / "start").encoder.layers for block in stage.blocks
    ]
    for block, layer in zip(blocks, vit.layers, strict=True):
        assert torch.equal(block.attention.k_proj.weight, layer.attention.k_proj.weight)
        assert torch.equal(block.mlp.fc2.bias, layer.mlp.fc2.bias)


def test_the_hierarchy_learns_on_visible_tokens_without_a_leak(tmp_path):
    save_transformers_vit(tmp_path / "vit", ViTMAEForPreTraining)
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", depths=[1, 1, 3])
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "start")
    pixel_values, mask = make_images(), torch.from_numpy(sample_masks(2, (4, 4), 0.75, seed=0))
    assert find_leaks(model.greenmim.eval(), pixel_values, mask) == []
    optimizer, losses = torch.optim.AdamW(model.train().parameters(), lr=1e-3), []
    plan = make_plan(mask, model.config)
    for _ in range(20):
        losses.append(model(pixel_values, mask, plan).loss)
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


# Written files and rejected inputs


def test_the_folder_is_whole(tmp_path):
    save_transformers_vit(tmp_path / "vit", dtype="bfloat16")
    ViTImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.1, 0.2, 0.3]).save_pretrained(
        tmp_path / "vit"
    )
    ModelCard("---\nlicense: mit\n---\n").save(tmp_path / "vit" / "README.md")
    convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start")
    assert json.loads((tmp_path / "start" / "preprocessor_config.json").read_text())["image_mean"] == [0.1, 0.2, 0.3]
    card = ModelCard.load(tmp_path / "start" / "README.md")
    assert card.data.license == "mit" and "without its class token" in card.text
    assert "converted from `vit`" in card.text and str(tmp_path) not in card.text


def test_a_wrong_weight_is_found(tmp_path, monkeypatch):
    def load_damaged(encoder, vit):
        load_vit_weights(encoder, vit)
        encoder.encoder.layers[0].blocks[3].mlp.fc1.weight.data.mul_(1.1)

    save_transformers_vit(tmp_path / "vit")
    monkeypatch.setattr("modeling_greenmim.convert_vit_to_greenmim.load_vit_weights", load_damaged)
    with pytest.raises(ValueError, match="differ by more than 0.0001"):
        convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start")
    assert not (tmp_path / "start").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"patch_size": 3},
            r"--patch_size must be .* 16, divided by a power of two, got 3. Use one of \[16, 8, 4, 2, 1\]",
        ),
        ({"patch_size": 32}, "--patch_size must be"),
        ({"patch_size": 0}, "--patch_size must be"),
        ({"depths": [1, 1, 1]}, r"--depths must .* add up to the 5 layers of the ViT, got \[1, 1, 1\]"),
        ({"depths": [5, 0]}, "--depths must"),
        ({"patch_size": 2}, r"--depths must .* got \[1, 1, 1, 0, 2\]"),
    ],
)
def test_what_does_not_fit_the_vit_is_named(tmp_path, arguments, message):
    save_transformers_vit(tmp_path / "vit")
    with pytest.raises(ValueError, match=message):
        convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", **arguments)
    assert not (tmp_path / "start").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_values": 0.1}, r"10 of its weights .*blocks\.0\.ls1\.gamma"),
        ({"qk_norm": True}, r"attn\.k_norm"),
        ({"global_pool": "avg"}, r"2 of its weights .*layernorm\.bias, layernorm\.weight.*a last norm"),
        ({"reg_tokens": 1}, "reg_token"),
    ],
)
def test_other_vits_of_timm_are_refused(tmp_path, settings, message):
    save_timm_vit(tmp_path / "vit", **settings)
    with pytest.raises(ValueError, match=message):
        convert_vit_to_greenmim(tmp_path / "vit", tmp_path / "start", patch_size=16)
    assert not (tmp_path / "start").exists()


def test_other_models_are_refused(tmp_path):
    GreenMimModel(GreenMimConfig(embed_dim=8, depths=(1,), num_heads=1, image_size=32)).save_pretrained(
        tmp_path / "swin"
    )
    with pytest.raises(ValueError, match="must contain a ViT or ViT-MAE, got a model of type 'greenmim'"):
        convert_vit_to_greenmim(tmp_path / "swin", tmp_path / "start")
    with pytest.raises(ValueError, match="is not a model folder"):
        convert_vit_to_greenmim(tmp_path / "nowhere", tmp_path / "start")


def test_command_line(tmp_path):
    save_transformers_vit(tmp_path / "vit")
    command = [
        sys.executable,
        "-m",
        "modeling_greenmim.convert_vit_to_greenmim",
        "--checkpoint_path",
        str(tmp_path / "vit"),
    ]
    command += ["--output_dir", str(tmp_path / "start")]
    result = subprocess.run([*command, "--depths", "1", "1", "3"], capture_output=True, text=True)
    assert result.returncode == 0 and "Largest feature difference" in result.stdout, result.stderr
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and "error: " in result.stderr and "is not an empty folder" in result.stderr
