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
"""Models of the benchmarks: each family with GreenMIM and with SimMIM."""

import json

import pytest
import timm
import torch
from transformers import Swinv2Config

from benchmarks import peers
from modeling_greenmim import GreenMimConfig
from tests.helpers.scripts import ROOT


SMALL = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "window_size": 7}


@pytest.fixture
def setting(monkeypatch):
    for sizes in (peers.SWIN_SIZES, peers.TWINS_SIZES):
        monkeypatch.setitem(sizes, "tiny", SMALL)
    monkeypatch.setitem(peers.PCPVT_DEPTHS, "tiny", (1, 1, 1, 1))
    return peers.Setting(image_size=64, batch_size=2)


def make_peer(name: str, setting: peers.Setting) -> peers.Peer:
    torch.manual_seed(0)
    return peers.PEERS[name](setting)


@pytest.mark.parametrize(
    "name",
    ["greenmim_swin_v2", "greenmim_twins_svt", "greenmim_twins_pcpvt", "simmim_swin_v2", "simmim_twins_svt"],
)
def test_a_step_trains_nearly_every_weight(setting, name):
    peer = make_peer(name, setting)
    peer.get_loss(peer.module(**peer.make_inputs(0))).backward()
    gradients = [parameter.grad for parameter in peer.module.parameters() if parameter.requires_grad]
    assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) > 0.9 * len(gradients)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("greenmim_swin_v2", "greenmim_swinv2_tiny_window8_256.json"),
        ("greenmim_twins_svt", "greenmim_twins_svt_small_224.json"),
        ("greenmim_twins_pcpvt", "greenmim_twins_pcpvt_small_224.json"),
    ],
)
def test_ours_is_the_ready_configuration(monkeypatch, name, file):
    monkeypatch.setattr(peers, "GreenMimForMaskedImageModeling", lambda config: config)
    config = GreenMimConfig.from_pretrained(ROOT / "examples" / "configs" / file)
    actual = make_peer(name, peers.Setting(image_size=config.image_size, window_size=config.window_size)).module
    differences = {**actual.to_diff_dict(), **config.to_diff_dict()}.keys()
    eps = {"layer_norm_eps", "embedding_norm_eps"}  # they cost nothing
    assert {key for key in differences - eps if getattr(actual, key) != getattr(config, key)} == set()


def test_simmim_takes_the_swin_v2_of_transformers(monkeypatch):
    monkeypatch.setattr(peers, "Swinv2ForMaskedImageModeling", lambda config: config)
    config = make_peer("simmim_swin_v2", peers.Setting(image_size=256, window_size=8)).module
    assert isinstance(config, Swinv2Config) and config.window_size == 8 and config._attn_implementation == "eager"


def test_simmim_takes_the_twins_of_timm():
    encoder = make_peer("simmim_twins_svt", peers.Setting()).module.encoder
    expected = timm.create_model("twins_svt_small", num_classes=0)
    assert {name: value.shape for name, value in encoder.state_dict().items()} == {
        name: value.shape for name, value in expected.state_dict().items()
    }


def test_mask_tokens_hide_the_pixels_from_twins(setting):
    model = make_peer("simmim_twins_svt", setting).module.eval()
    model.bool_masked_pos = peers.make_patch_mask(setting, 0).expand(2, -1)
    hidden = model.bool_masked_pos.view(2, 1, 16, 16).repeat_interleave(4, 2).repeat_interleave(4, 3)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.encoder(pixels + hidden), model.encoder(pixels), rtol=0, atol=0)
        assert not torch.allclose(model.encoder(pixels + ~hidden), model.encoder(pixels))


def test_the_guide_of_families_has_the_measured_speeds():
    runs = json.loads((ROOT / "benchmarks" / "results" / "families.json").read_text())
    swin, twins, large_swin, swin_v2 = (run["results"][0] for run in runs)
    twins_and_swin = runs[1]["results"][1]
    lines = (ROOT / "docs" / "greenmim.md").read_text().splitlines()
    rows = [
        line
        for line in lines
        if line.startswith(("| Training step of", "| The same with mask tokens", "| Ratio of the two"))
    ]
    assert len(rows) == 3

    def show(model: str) -> list[str]:
        return [f"{result[model]['images_per_second']:.1f}" for result in (swin, large_swin, swin_v2, twins)]

    ratios = [f"{result['faster']:.2f}" for result in (swin, large_swin, swin_v2, twins)]
    for row, numbers in zip(rows, (show("ours"), show("peer"), ratios)):
        positions = [row.find(number) for number in numbers]
        assert -1 not in positions and positions == sorted(positions), (row, numbers)
    assert f"{twins_and_swin['faster']:.2f} times faster than our Swin-tiny's" in " ".join(" ".join(lines).split())


def test_the_guide_of_families_has_the_measured_speeds_on_one_core():
    runs = json.loads((ROOT / "benchmarks" / "results" / "families_one_core.json").read_text())
    swin, pcpvt = runs[1]["results"][1:]  # next to Twins-SVT
    text = " ".join((ROOT / "docs" / "greenmim.md").read_text().split())
    speeds = {model: f"{pcpvt[model]['images_per_second']:.1f}" for model in ("ours", "peer")}
    assert f"on one core: {speeds['peer']} (Twins-SVT: {speeds['ours']})" in text
    assert f"{swin['faster']:.2f} times on one core" in text
    assert f"step takes {pcpvt['faster']:.2f} times as long as a Twins-SVT step" in text
