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
"""Conversion to and from a plain Swin. The oracle is transformers' (or timm's) own Swin in a different process."""

import json
import subprocess
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    SwinBackbone,
    SwinConfig,
    SwinForImageClassification,
    SwinForMaskedImageModeling,
    SwinModel,
    Swinv2Backbone,
    Swinv2Config,
    Swinv2ForImageClassification,
    Swinv2ForMaskedImageModeling,
    Swinv2Model,
    ViTConfig,
    ViTModel,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessorPil,
    GreenMimModel,
)
from modeling_greenmim.bias_tables import cut_table
from modeling_greenmim.checkpoint_folders import create_folder
from modeling_greenmim.convert_greenmim_to_swin import (
    convert_greenmim_to_swin,
    convert_greenmim_to_timm,
)
from modeling_greenmim.convert_swin_to_greenmim import convert_swin_to_greenmim
from modeling_greenmim.swin_families import SWIN_V2
from tests.helpers.conversions import read_elsewhere, save_model
from tests.helpers.tiny_models import FAMILIES, randomize


SETTINGS = {
    "image_size": 64,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": (2, 2, 2),
    "num_heads": (1, 2, 4),
    "window_size": 4,
    "encoder_stride": 8,
}
V2 = FAMILIES["swin_v2"]
MODELS = [
    ("AutoModel", GreenMimForMaskedImageModeling, {}),
    ("AutoModelForImageClassification", GreenMimForImageClassification, {}),
    ("SwinBackbone", GreenMimBackbone, {}),
    ("AutoModel", GreenMimForMaskedImageModeling, {**V2, "pretrained_window_sizes": (3, 3, 2)}),
    ("AutoModelForImageClassification", GreenMimForImageClassification, V2),
    ("Swinv2Backbone", GreenMimBackbone, V2),
]
SWINS = [
    *((swin_class, SwinConfig) for swin_class in (SwinModel, SwinForImageClassification)),
    *((swin_class, SwinConfig) for swin_class in (SwinForMaskedImageModeling, SwinBackbone)),
    *((swin_class, Swinv2Config) for swin_class in (Swinv2Model, Swinv2ForImageClassification)),
    *((swin_class, Swinv2Config) for swin_class in (Swinv2ForMaskedImageModeling, Swinv2Backbone)),
]
SWIN_FAMILIES = pytest.mark.parametrize("family", [{}, V2], ids=["swin", "swin_v2"])


# Out


@pytest.mark.parametrize(
    "environment",
    ["here"] + [pytest.param(f"transformers {release}", marks=pytest.mark.slow) for release in ("4.57", "5.17")],
)
@pytest.mark.parametrize(
    ("auto_class", "model_class", "settings"),
    [MODELS[0], *(pytest.param(*row, marks=pytest.mark.slow) for row in MODELS[1:])],
)
def test_a_swin_needs_nothing_but_transformers(tmp_path, environment, auto_class, model_class, settings):
    model = save_model(model_class, tmp_path / "greenmim", **settings)
    differences = convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    assert max(differences.values()) < 1e-5
    pixel_values = torch.randn(2, 3, 64, 64)
    actual = read_elsewhere(environment, auto_class, tmp_path / "swin", pixel_values, tmp_path)
    with torch.no_grad():
        expected = (model.greenmim if auto_class == "AutoModel" else model)(pixel_values)
    assert actual
    for name, tensors in actual.items():
        torch.testing.assert_close(tensors, expected[name], rtol=0, atol=1e-4)


def test_names_on_disk_are_those_that_every_release_reads(tmp_path):
    save_model(GreenMimForMaskedImageModeling, tmp_path / "greenmim")
    convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    with safe_open(tmp_path / "swin" / "model.safetensors", "pt") as file:
        names = set(file.keys())
    layer = "encoder.layers.1.blocks.0"
    assert {
        "embeddings.patch_embeddings.projection.weight",
        f"{layer}.attention.self.query.weight",
        f"{layer}.attention.self.relative_position_bias_table",
        f"{layer}.attention.output.dense.bias",
        f"{layer}.intermediate.dense.weight",
        f"{layer}.output.dense.weight",
        "encoder.layers.0.downsample.reduction.weight",
        "layernorm.weight",
    } <= names
    assert not any("decoder" in name or "q_proj" in name for name in names)


def test_names_on_disk_are_those_of_swin_v2(tmp_path):
    save_model(GreenMimForImageClassification, tmp_path / "greenmim", **V2)
    convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    Swinv2ForImageClassification(Swinv2Config(**SETTINGS)).save_pretrained(tmp_path / "new")
    names = [load_file(tmp_path / folder / "model.safetensors").keys() for folder in ("swin", "new")]
    assert names[0] == names[1]


@SWIN_FAMILIES
@pytest.mark.parametrize(
    ("saved", "architecture"),
    [
        (GreenMimForMaskedImageModeling, "SwinBackbone"),
        (GreenMimForMaskedImageModeling, "SwinForImageClassification"),
        (GreenMimForImageClassification, "SwinModel"),
        (GreenMimModel, None),
    ],
)
def test_other_architectures_than_the_saved_one(tmp_path, saved, architecture, family):
    """New heads are initialized as in a new model, and every feature that both models have is compared."""
    save_model(saved, tmp_path / "greenmim", **family)
    if family and architecture:
        architecture = architecture.replace("Swin", "Swinv2")
    differences = convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin", architecture)
    assert max(differences.values()) < 1e-5
    assert json.loads((tmp_path / "swin" / "config.json").read_text())["architectures"] == [
        architecture or ("Swinv2Model" if family else "SwinModel")
    ]
    if architecture == "SwinBackbone":
        backbone = SwinBackbone.from_pretrained(tmp_path / "swin", out_features=["stage2", "stage3"])
        assert [norm.weight.unique().item() for norm in backbone.hidden_states_norms.values()] == [1.0, 1.0]


@pytest.mark.parametrize(
    "settings",
    [
        {"qkv_bias": False, "num_channels": 4, "image_size": [48, 80]},
        {"use_absolute_embeddings": True, "mlp_ratio": 2.0, "hidden_act": "relu"},
        {**V2, "qkv_bias": False, "num_channels": 4, "image_size": [64, 96], "mlp_ratio": 2.0, "hidden_act": "relu"},
        {**V2, "window_size": 16, "pretrained_window_sizes": [8, 8, 4]},
    ],
)
def test_settings_are_carried_over(tmp_path, settings):
    save_model(GreenMimForImageClassification, tmp_path / "greenmim", **settings)
    assert max(convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin").values()) < 1e-5
    assert max(convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "back").values()) < 1e-5


@SWIN_FAMILIES
def test_dtype_is_kept(tmp_path, family):
    """With large weights, features differ if a Swin V2 computes its biases from offsets in bfloat16."""
    save_model(GreenMimModel, tmp_path / "greenmim", std=0.3, window_size=8, **family).to(
        torch.bfloat16
    ).save_pretrained(tmp_path / "bf16")
    convert_greenmim_to_swin(tmp_path / "bf16", tmp_path / "swin")
    convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "back")
    for folder in ("swin", "back"):
        tensors = load_file(tmp_path / folder / "model.safetensors").values()
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.bfloat16}


@SWIN_FAMILIES
def test_eps_that_swin_cannot_represent(tmp_path, family):
    save_model(GreenMimModel, tmp_path / "greenmim", layer_norm_eps=1e-3, **family)
    with pytest.raises(ValueError, match="layer_norm_eps` must be 1e-05.*got 0.001.*--allow_eps_difference"):
        convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    assert not (tmp_path / "swin").exists()
    differences = convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin", allow_eps_difference=True)
    assert max(differences.values()) > 1e-5
    assert f"{max(differences.values()):.1e}" in (tmp_path / "swin" / "README.md").read_text()


def test_a_size_that_swin_cannot_run(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr("modeling_greenmim.convert_greenmim_to_swin.logger.warning", warnings.append)
    save_model(GreenMimModel, tmp_path / "greenmim", window_size=12)
    differences = convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    assert max(differences.values()) < 1e-5
    assert "(64, 64)" in warnings[0] and "(96, 96)" in warnings[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": (64, 128), "window_size": 12}, r"stage 3 the grid \(8 x 16\).*window \(12\)"),
        ({"image_size": (128, 64), "window_size": 8}, r"stage 3 the grid \(16 x 8\).*window \(8\).*image_size"),
        ({"image_size": 68, "window_size": 9}, r"stage 3 the grid \(9 x 9\).*rounded down"),
        ({"use_absolute_embeddings": True}, "absolute position embeddings"),
    ],
)
def test_what_swin_v2_of_transformers_cannot_represent(tmp_path, settings, message):
    save_model(GreenMimModel, tmp_path / "greenmim", **V2, **settings)
    with pytest.raises(ValueError, match=message):
        convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    assert [path.name for path in tmp_path.iterdir()] == ["greenmim"]


@pytest.mark.parametrize("window_size", [4, 8, 12])
@pytest.mark.parametrize("saved", [GreenMimBackbone, GreenMimForMaskedImageModeling])
def test_backbones_where_a_window_covers_the_grid(tmp_path, saved, window_size):
    save_model(saved, tmp_path / "greenmim", window_size=window_size, use_absolute_embeddings=True)
    assert max(convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin", "SwinBackbone").values()) < 1e-5


@SWIN_FAMILIES
@pytest.mark.parametrize("allow_eps_difference", [False, True])
def test_a_wrong_weight_is_found_on_the_way_in(tmp_path, monkeypatch, allow_eps_difference, family):
    classes = (Swinv2Model, Swinv2Config) if family else (SwinModel, SwinConfig)
    save_swin(tmp_path / "swin", *classes, layer_norm_eps=1e-3 if allow_eps_difference else 1e-5)
    save_pretrained = GreenMimForMaskedImageModeling.save_pretrained

    def save_damaged(self, folder):
        self.greenmim.layernorm.weight.data *= 3
        save_pretrained(self, folder)

    monkeypatch.setattr(GreenMimForMaskedImageModeling, "save_pretrained", save_damaged)
    with pytest.raises(ValueError, match="differ by more than 0.0001"):
        convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "greenmim", allow_eps_difference)
    assert not (tmp_path / "greenmim").exists()


@pytest.mark.parametrize("architecture", ["SwinModel", "SwinForImageClassification"])
def test_a_backbone_lacks_the_last_norm(tmp_path, monkeypatch, architecture):
    warnings = []
    monkeypatch.setattr("modeling_greenmim.checkpoint_folders.logger.warning", warnings.append)
    save_model(GreenMimBackbone, tmp_path / "greenmim")
    assert max(convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin", architecture).values()) < 1e-5
    assert any("layernorm" in warning for warning in warnings)


def test_a_wrong_weight_is_found(tmp_path, monkeypatch):
    """The comparison reads the written folder."""
    save_model(GreenMimModel, tmp_path / "greenmim")
    save_pretrained = SwinModel.save_pretrained

    def save_damaged(self, folder):
        save_pretrained(self, folder)
        weights = load_file(folder / "model.safetensors")
        weights["encoder.layers.2.blocks.1.attention.self.value.weight"] *= 1.1
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(SwinModel, "save_pretrained", save_damaged)
    with pytest.raises(
        ValueError, match=r"differ by more than 0.0001.*hidden_states\[2\] 0.0e\+00.*last_hidden_state"
    ):
        convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    assert [path.name for path in tmp_path.iterdir()] == ["greenmim"]


@pytest.mark.parametrize("does_crop", [False, True, None])
def test_images_are_prepared_alike(tmp_path, does_crop):
    from PIL import Image
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    save_model(GreenMimModel, tmp_path / "greenmim")
    processor = GreenMimImageProcessorPil(
        size={"height": 64, "width": 64} if does_crop is False else {"shortest_edge": 72},
        crop_size={"height": 64, "width": 64},
        do_center_crop=bool(does_crop),
        image_mean=[0.1, 0.2, 0.3],
    )
    processor.save_pretrained(tmp_path / "greenmim")
    convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    image = Image.effect_mandelbrot((96, 80), (-2, -1.2, 0.8, 1.2), 30).convert("RGB")
    theirs = (ViTImageProcessorPil if does_crop is False else CLIPImageProcessorPil).from_pretrained(tmp_path / "swin")
    actual = theirs(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(actual, processor(image, return_tensors="pt")["pixel_values"], rtol=0, atol=1e-5)


# timm


def test_tables_are_cut_from_their_center():
    table = torch.arange(27 * 27)[:, None]
    assert torch.equal(cut_table(table, (14, 20)), table)
    cut = cut_table(table, (7, 10)).view(13, 19)
    assert cut[6, 9] == table[13 * 27 + 13]  # offset of a token to itself
    assert cut[0, 0] == table[(13 - 6) * 27 + 13 - 9] and cut[-1, -1] == table[(13 + 6) * 27 + 13 + 9]


# In


@pytest.mark.parametrize(("swin_class", "config_class"), SWINS)
def test_any_swin_starts_a_model(tmp_path, swin_class, config_class):
    swin = randomize(swin_class(config_class(**SETTINGS)), std=0.1)
    swin.save_pretrained(tmp_path / "swin")
    ViTImageProcessorPil(image_mean=[0.1, 0.2, 0.3], size={"height": 64, "width": 64}).save_pretrained(
        tmp_path / "swin"
    )
    assert max(convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "greenmim").values()) < 1e-5
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "greenmim")
    for name, tensor in swin.state_dict().items():
        name = SWIN_V2.get_our_name(name.removeprefix("swinv2.").removeprefix("swin."))
        if name.startswith(("encoder.", "embeddings.")) and "mask_token" not in name:
            assert torch.equal(model.greenmim.get_parameter(name), tensor)
    assert model.decoder.mask_token.std() > 0
    processor = GreenMimImageProcessorPil.from_pretrained(tmp_path / "greenmim")
    assert list(processor.image_mean) == [0.1, 0.2, 0.3] and processor.mask_unit_size == 8


@SWIN_FAMILIES
def test_there_and_back_is_bit_identical(tmp_path, family):
    save_model(GreenMimForImageClassification, tmp_path / "greenmim", **family)
    convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "back", seed=1)
    convert_greenmim_to_swin(tmp_path / "back", tmp_path / "again")
    first, second = (load_file(tmp_path / folder / "model.safetensors") for folder in ("swin", "again"))
    for name, tensor in second.items():
        assert torch.equal(first[f"swin{'v2' if family else ''}.{name}"], tensor), name


@SWIN_FAMILIES
@pytest.mark.parametrize("settings", [{}, {"window_size": 16, "qkv_bias": False, "num_channels": 4, "image_size": 32}])
def test_a_swin_of_timm_starts_a_model(tmp_path, family, settings):
    pytest.importorskip("timm")
    model = save_model(GreenMimForImageClassification, tmp_path / "greenmim", **family, **settings)
    size = {"height": model.config.image_size, "width": model.config.image_size}
    means = [0.1, 0.2, 0.3, 0.4][: model.config.num_channels]
    processor = GreenMimImageProcessorPil(
        size=size, crop_size=size, image_mean=means, image_std=means, do_convert_rgb=False
    )
    processor.save_pretrained(tmp_path / "greenmim")
    convert_greenmim_to_timm(tmp_path / "greenmim", tmp_path / "timm")
    assert max(convert_swin_to_greenmim(tmp_path / "timm", tmp_path / "back").values()) < 1e-5
    back = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "back").eval()
    pixel_values = torch.randn(2, model.config.num_channels, *model.config.image_height_and_width)
    with torch.no_grad():
        expected = model.greenmim(pixel_values).last_hidden_state
        actual = back.greenmim(pixel_values).last_hidden_state
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert list(GreenMimImageProcessorPil.from_pretrained(tmp_path / "back").image_mean) == means


def test_other_models_of_timm_are_refused(tmp_path):
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", embed_dim=12, depth=1, num_classes=0)
    settings = {"architecture": "vit_tiny_patch16_224", "model_args": {"embed_dim": 12, "depth": 1}, "num_classes": 0}
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text(json.dumps({**settings, "pretrained_cfg": {"num_classes": 0}}))
    save_file(model.state_dict(), tmp_path / "vit" / "model.safetensors")
    with pytest.raises(ValueError, match="must contain a timm Swin or Swin V2, got a VisionTransformer"):
        convert_swin_to_greenmim(tmp_path / "vit", tmp_path / "out")
    (tmp_path / "vit" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="Cannot load .* with timm"):
        convert_swin_to_greenmim(tmp_path / "vit", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["vit"]


def test_the_license_goes_along(tmp_path):
    save_model(GreenMimForMaskedImageModeling, tmp_path / "greenmim")
    (tmp_path / "greenmim" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Weights of the original\n")
    convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin")
    convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "back")
    convert_greenmim_to_timm(tmp_path / "back", tmp_path / "timm")
    for folder in ("swin", "back", "timm"):
        card = ModelCard.load(tmp_path / folder / "README.md")
        assert card.data.license == "cc-by-nc-4.0" and "CC BY-NC 4.0, for non-commercial use only" in card.text


def test_a_license_of_another_name_goes_along(tmp_path):
    save_swin(tmp_path / "swin")
    card = "---\nlicense: other\nlicense_name: lichen-1.0\nlicense_link: LICENSE\n---\n# Lichens\n"
    (tmp_path / "swin" / "README.md").write_text(card)
    convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "greenmim")
    data = ModelCard.load(tmp_path / "greenmim" / "README.md").data
    assert (data.license, data.license_name, data.license_link) == ("other", "lichen-1.0", "LICENSE")
    (tmp_path / "swin" / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(ValueError, match="Cannot read the model card.*license"):
        convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "again")


# Wrong use


def save_swin(folder, swin_class=SwinModel, config_class=SwinConfig, **settings):
    swin_class(config_class(**{**SETTINGS, "depths": (2, 2), "num_heads": (1, 2), **settings})).save_pretrained(folder)


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def leave_out_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.0.blocks.0.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def replace_by_a_pickle(folder):
    (folder / "model.safetensors").unlink()
    torch.save(["not", "a", "state dict"], folder / "pytorch_model.bin")


def describe_another_shape(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "embed_dim": 32}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"Cannot load .* as a SwinModel\. Its weights are damaged"),
        (
            leave_out_a_weight,
            "as a SwinModel because 1 weights are missing: encoder.layers.0.blocks.0.attention.q_proj.weight",
        ),
        (replace_by_a_pickle, "Cannot load .* as a SwinModel"),
        (describe_another_shape, "Cannot load .* as a SwinModel.*do not match its config.json"),
    ],
)
def test_damaged_swins_are_refused(tmp_path, damage, message):
    save_swin(tmp_path / "swin")
    damage(tmp_path / "swin")
    with pytest.raises(ValueError, match=message):
        convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "greenmim")
    assert [path.name for path in tmp_path.iterdir()] == ["swin"]


def test_other_models_are_refused(tmp_path):
    ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match="must contain a model of type 'swin' or 'swinv2', got 'vit'"):
        convert_swin_to_greenmim(tmp_path / "vit", tmp_path / "out")
    save_swin(tmp_path / "swin")
    with pytest.raises(ValueError, match="must contain a GreenMIM model, got a model of type 'swin'"):
        convert_greenmim_to_swin(tmp_path / "swin", tmp_path / "out")
    save_swin(tmp_path / "eps", layer_norm_eps=1e-6)
    with pytest.raises(ValueError, match="layer_norm_eps` must be 1e-05, got 1e-06.*--allow_eps_difference"):
        convert_swin_to_greenmim(tmp_path / "eps", tmp_path / "out")
    with pytest.raises(ValueError, match="must be the folder of a saved model"):
        convert_greenmim_to_swin(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is not a model folder"):
        convert_swin_to_greenmim(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path):
    save_swin(tmp_path / "swin")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    for convert in (convert_swin_to_greenmim, convert_greenmim_to_swin):
        with pytest.raises(ValueError, match="full exists and is not an empty folder"):
            convert(tmp_path / "swin", tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    convert_swin_to_greenmim(tmp_path / "swin", tmp_path / "empty")
    assert (tmp_path / "empty" / "model.safetensors").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_stays(tmp_path, error):
    with pytest.raises(type(error)), create_folder(tmp_path / "new" / "folder") as folder:
        (folder / "model.safetensors").write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_may_be_here_or_linked(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with create_folder(tmp_path / "link") as folder:
        (folder / "file").touch()
    assert (tmp_path / "real" / "file").exists()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with create_folder(".") as folder:
        (folder / "file").touch()
    assert (tmp_path / "here" / "file").exists()


def test_an_unknown_architecture_is_named(tmp_path):
    save_model(GreenMimModel, tmp_path / "greenmim")
    with pytest.raises(ValueError, match="`architecture` must be one of SwinModel, .*got 'SwinFoo'"):
        convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin", "SwinFoo")
    with pytest.raises(
        ValueError, match="'Swinv2Model' because the model is a Swin Transformer. Use one of SwinModel"
    ):
        convert_greenmim_to_swin(tmp_path / "greenmim", tmp_path / "swin", "Swinv2Model")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["convert_greenmim_to_swin", "convert_swin_to_greenmim", "publish"])
def test_command_lines(tmp_path, module):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", f"modeling_greenmim.{module}", *arguments], capture_output=True, text=True
        )

    assert "--checkpoint_path" in run("--help").stdout
    result = run("--checkpoint_path", str(tmp_path / "none"), "--output_dir", str(tmp_path / "out"))
    assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("convert", [convert_greenmim_to_swin, convert_greenmim_to_timm])
@pytest.mark.parametrize(
    "settings",
    [
        {"token_mixers": "global"},
        {"hidden_sizes": 16, "num_heads": 2},
        {"mlp_ratio": [4.0, 2.0, 4.0]},
        {"attention_similarity": "cosine"},
        {**V2, "merging_norm_placement": "before"},
        FAMILIES["twins"],
        {"position_bias": "none"},
        {"merging_bias": True},
        {**V2, "conditional_position_encoding": True},
        {"embedding_norm_eps": 1e-5},
        {"norm_type": "group"},
        {**V2, "score_modulation": "gaussian_mixture"},
    ],
    ids=["mixers", "width", "mlp", "cosine", "nearly V2", "Twins", "no bias", "merging", "encoding", "epsilon"]
    + ["norms", "modulation"],
)
def test_only_a_swin_becomes_a_swin(tmp_path, convert, settings):
    save_model(GreenMimModel, tmp_path / "model", **settings)
    with pytest.raises(ValueError, match="Cannot convert to a Swin.*modeling_greenmim.publish"):
        convert(tmp_path / "model", tmp_path / "swin")
    assert not (tmp_path / "swin").exists()
