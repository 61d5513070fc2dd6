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
"""Conversion of original checkpoints: golden outputs, every option, and mismatches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedImageModeling

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, sample_masks
from modeling_greenmim.convert_greenmim_original_to_hf import convert_greenmim_original_to_hf
from modeling_greenmim.reconstruction_greenmim import get_2d_sincos_position_embeddings


GOLDEN = Path(os.environ.get("GREENMIM_GOLDEN_DIR", Path(__file__).parents[3] / "shared" / "golden"))
ARGUMENTS = {"decoder_num_attention_heads": 2}


@pytest.fixture
def model():
    config = GreenMimConfig(
        image_size=64,
        embed_dim=8,
        depths=(1, 2, 1, 1),
        num_heads=(1, 2, 2, 4),
        window_size=4,
        mlp_ratio=2.0,
        layer_norm_eps=1e-6,
        decoder_hidden_size=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
        decoder_num_hidden_layers=2,
    )
    model = GreenMimForMaskedImageModeling(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def to_original_layout(model: GreenMimForMaskedImageModeling) -> dict[str, torch.Tensor]:
    """Rename a model's weights to the original's names, independently of the converter."""
    original = {}
    weights = dict(model.state_dict())
    side = model.config.image_size // model.config.mask_unit_size
    original["decoder_pos_embed"] = get_2d_sincos_position_embeddings((side, side), model.config.decoder_hidden_size)[
        None
    ]
    original["mask_token"] = weights.pop("decoder.mask_token")
    names = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.o_proj": "attn.proj",
        "attention.relative_position_bias.relative_position_bias_table": "attn.relative_position_bias_table",
    }
    for key in list(weights):
        if ".q_proj." in key:
            parts = [weights.pop(key.replace(".q_proj.", f".{name}_proj.")) for name in "qkv"]
            weights[key.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    for key, tensor in weights.items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        key = key.replace("decoder.decoder_layers.", "decoder_blocks.").replace("decoder.decoder_", "decoder_")
        key = key.replace("greenmim.embeddings.patch_embeddings.projection", "encoder.patch_embed.proj")
        key = key.replace("greenmim.embeddings.norm", "encoder.patch_embed.norm")
        key = key.replace("greenmim.encoder.layers", "encoder.layers").replace("greenmim.layernorm", "encoder.norm")
        original[key] = tensor
    original["encoder.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)
    return original


def assert_same_outputs(model, other):
    pixel_values = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.from_numpy(sample_masks(2, (2, 2), 0.5, seed=0))
    with torch.no_grad():
        expected, actual = model(pixel_values, mask), other(pixel_values, mask)
    torch.testing.assert_close(actual.logits, expected.logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(actual.loss, expected.loss)


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_golden(tmp_path, attn_implementation):
    """Random weights with the original's names reproduce the original's outputs."""
    if not GOLDEN.is_dir():
        pytest.skip("needs the golden tensors of the original implementation: set GREENMIM_GOLDEN_DIR")
    settings = json.loads((GOLDEN / "original_win7.json").read_text())
    golden = load_file(GOLDEN / "original_win7.safetensors")
    convert_greenmim_original_to_hf(
        GOLDEN / "original_win7.pth", tmp_path / "model", decoder_num_attention_heads=settings["decoder_num_heads"]
    )
    model = AutoModelForMaskedImageModeling.from_pretrained(
        tmp_path / "model", attn_implementation=attn_implementation
    ).eval()
    with torch.no_grad():
        outputs = model(golden["pixel_values"], golden["mask"].bool())
        encoded = model.greenmim(golden["pixel_values"], golden["mask"].bool())
    assert torch.equal(encoded.visible_indices[0], golden["visible_units"])
    torch.testing.assert_close(encoded.last_hidden_state, golden["encoder_output"], rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs.logits, golden["prediction"], rtol=0, atol=1e-5)
    torch.testing.assert_close(outputs.loss, golden["loss"][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrapped", [True, False])
def test_round_trip(model, tmp_path, wrapped, capsys):
    original = to_original_layout(model)
    torch.save({"model": original, "epoch": 3} if wrapped else original, tmp_path / "original.pth")
    converted = convert_greenmim_original_to_hf(tmp_path / "original.pth", tmp_path / "model", **ARGUMENTS)
    printed = capsys.readouterr().out
    assert "Unused: none" in printed and "Missing: none" in printed and "not read: 2 tensors" in printed
    assert_same_outputs(model, converted.eval())
    assert_same_outputs(model, AutoModelForMaskedImageModeling.from_pretrained(tmp_path / "model").eval())
    assert AutoModel.from_pretrained(tmp_path / "model").config.layer_norm_eps == 1e-6
    assert ModelCard.load(tmp_path / "model" / "README.md").data.license == "cc-by-nc-4.0"


def test_swapped_merging(model, tmp_path):
    original = to_original_layout(model)
    for key, tensor in original.items():
        if ".downsample." in key:
            first, second, third, fourth = tensor.split(tensor.shape[-1] // 4, dim=-1)
            original[key] = torch.cat([first, third, second, fourth], dim=-1)
    torch.save(original, tmp_path / "original.pth")
    swapped = convert_greenmim_original_to_hf(
        tmp_path / "original.pth", tmp_path / "swapped", swapped_merging=True, **ARGUMENTS
    )
    assert_same_outputs(model, swapped.eval())
    plain = convert_greenmim_original_to_hf(tmp_path / "original.pth", tmp_path / "plain", **ARGUMENTS)
    with pytest.raises(AssertionError):
        assert_same_outputs(model, plain.eval())


def test_small_bias_tables_are_centerd(model, tmp_path):
    """A stage with a grid smaller than the window has a table for its grid: 2 x 2 in the last stage at 64 pixels."""
    original = to_original_layout(model)
    key = "encoder.layers.3.blocks.0.attn.relative_position_bias_table"
    original[key] = original[key].view(7, 7, -1)[2:5, 2:5].reshape(9, -1)
    torch.save(original, tmp_path / "original.pth")
    converted = convert_greenmim_original_to_hf(tmp_path / "original.pth", tmp_path / "model", **ARGUMENTS)
    assert converted.config.window_size == 4
    assert_same_outputs(model, converted.eval())


def drop_a_weight(original):
    del original["encoder.layers.1.blocks.1.mlp.fc2.bias"]


def drop_the_patch_embedding(original):
    del original["encoder.patch_embed.proj.weight"]


def widen_a_weight(original):
    original["decoder_pred.bias"] = torch.zeros(7)


def learn_positions(original):
    original["decoder_pos_embed"] = torch.randn(1, 4, 16)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_a_weight, "Missing: greenmim.encoder.layers.1.blocks.1.mlp.fc2.bias"),
        (drop_the_patch_embedding, "not a GreenMIM checkpoint.*encoder.patch_embed.proj.weight"),
        (widen_a_weight, r"decoder.decoder_pred.bias \(7,\), expected \(3072,\)"),
        (learn_positions, "sine-cosine"),
    ],
)
def test_what_does_not_fit_is_refused(model, tmp_path, damage, message):
    original = to_original_layout(model)
    damage(original)
    torch.save(original, tmp_path / "original.pth")
    with pytest.raises(ValueError, match=message):
        convert_greenmim_original_to_hf(tmp_path / "original.pth", tmp_path / "model", **ARGUMENTS)
    assert not (tmp_path / "model").exists()


def test_unused_weights_are_reported(model, tmp_path, capsys):
    torch.save({**to_original_layout(model), "head.weight": torch.zeros(2)}, tmp_path / "original.pth")
    convert_greenmim_original_to_hf(tmp_path / "original.pth", tmp_path / "model", **ARGUMENTS)
    assert "Unused: head.weight" in capsys.readouterr().out


class NotATensor:
    pass


@pytest.mark.parametrize("content", ["text", "object", "number"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "original.pth"
    if content == "text":
        path.write_text("no checkpoint")
    else:
        torch.save({"model": NotATensor()} if content == "object" else {"model": {"step": 3}}, path)
    with pytest.raises(ValueError, match="not a checkpoint|no state dict"):
        convert_greenmim_original_to_hf(path, tmp_path / "model")


@pytest.mark.slow
def test_command_line(model, tmp_path):
    torch.save(to_original_layout(model), tmp_path / "original.pth")
    command = [sys.executable, "-m", "modeling_greenmim.convert_greenmim_original_to_hf", "--output_dir", "model"]
    command += ["--checkpoint_path", "original.pth"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}

    refused = subprocess.run(command, **run)
    assert refused.returncode == 1 and "--decoder_num_attention_heads" in refused.stderr
    assert "Traceback" not in refused.stderr

    command += ["--decoder_num_attention_heads", "2", "--no_norm_pix_loss"]
    accepted = subprocess.run(command, **run)
    assert accepted.returncode == 0 and "CC BY-NC 4.0" in accepted.stdout, accepted.stderr
    assert GreenMimConfig.from_pretrained(tmp_path / "model").norm_pix_loss is False

    again = subprocess.run(command, **run)
    assert again.returncode == 1 and "not an empty folder" in again.stderr
