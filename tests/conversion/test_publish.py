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
"""Published folders: loading without this package, and uploads with a fake client."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessorPil,
    GreenMimModel,
)
from modeling_greenmim import publish as publish_module
from modeling_greenmim.publish import publish
from tests.helpers.tiny_models import FAMILIES, FAMILY_ROWS, make_config, randomize


PUBLISHED = [GreenMimForMaskedImageModeling, GreenMimForImageClassification, GreenMimBackbone, GreenMimModel]

# how a stranger uses the folder, as in its card; transformers' common tests have no pipeline without the Hub
USE = """
import sys

sys.modules["modeling_greenmim"] = None
import torch
from PIL import Image
from transformers import AutoModelForMaskedImageModeling, pipeline

folder = sys.argv[1]
features = pipeline("image-feature-extraction", model=folder, trust_remote_code=True, image_processor=folder)
print("features", torch.tensor(features(Image.effect_noise((80, 60), 50))).shape)
model = AutoModelForMaskedImageModeling.from_pretrained(folder, trust_remote_code=True, window_size=6, image_size=96)
mask = torch.arange(144)[None] < 100
print("loss", model(torch.randn(1, 3, 96, 96), bool_masked_pos=mask).loss.isfinite().item())
model.save_pretrained(sys.argv[2])
"""


def save_model(model_class, folder, **settings):
    model = randomize(model_class(make_config(num_labels=5, **settings)), std=0.1)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    processor = GreenMimImageProcessorPil(size=size, crop_size=size, mask_unit_size=8, image_mean=[0.1, 0.2, 0.3])
    processor.save_pretrained(folder)
    return model


@pytest.fixture
def hub(monkeypatch):
    """Records the calls to a Hub client."""
    calls = []

    class FakeHub:
        def __getattr__(self, name):
            return lambda *args, **kwargs: calls.append((name, args, kwargs))

        def repo_info(self, name):
            return SimpleNamespace(private=name != "me/public")

    monkeypatch.setattr(publish_module, "HfApi", FakeHub)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return calls


@pytest.fixture
def without_loading(monkeypatch):
    """Skip loading the folder in a different process, which takes seconds."""
    monkeypatch.setattr(publish_module, "_check_folder", lambda *_: None)


@pytest.mark.parametrize(
    "model_class",
    [PUBLISHED[0], *(pytest.param(model_class, marks=pytest.mark.slow) for model_class in PUBLISHED[1:])],
)
def test_a_published_folder_is_complete(tmp_path, model_class):
    """
    Publishing already loads the folder with every Auto class; this checks its contents. One window covers the last
    grid.
    """
    save_model(model_class, tmp_path / "model", window_size=8)
    folder = publish(tmp_path / "model", tmp_path / "public")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["model", "public"]
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForMaskedImageModeling",
        "AutoModelForPreTraining",
        "AutoModelForImageClassification",
        "AutoBackbone",
    }
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert set(processor["auto_map"]["AutoImageProcessor"]) == {"pil", "torchvision"}
    assert processor["image_mean"] == [0.1, 0.2, 0.3]
    for entry in [*config["auto_map"].values(), *processor["auto_map"]["AutoImageProcessor"].values()]:
        module, class_name = entry.split(".")
        assert f"class {class_name}(" in (folder / f"{module}.py").read_text()
    assert not (folder / "publish.py").exists()
    card = ModelCard.load(folder / "README.md")
    assert "trust_remote_code=True" in card.text and "not stated" in card.text


@pytest.mark.parametrize("family", FAMILY_ROWS)
def test_a_stranger_uses_it(tmp_path, family):
    save_model(GreenMimForMaskedImageModeling, tmp_path / "model", **FAMILIES[family])
    publish(tmp_path / "model", tmp_path / "public")
    (tmp_path / "elsewhere").mkdir()
    result = subprocess.run(
        [sys.executable, "-c", USE, tmp_path / "public", tmp_path / "again"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=tmp_path / "elsewhere",
    )
    assert result.returncode == 0, result.stderr
    assert "features torch.Size([1, 64, 64])" in result.stdout and "loss True" in result.stdout
    assert (tmp_path / "again" / "modeling_greenmim.py").is_file()
    # also with the package, regardless of the code in the folder
    model = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "again")
    assert model.config.window_size == 6


def test_a_folder_that_does_not_load_is_not_written(tmp_path, monkeypatch, hub):
    save_model(GreenMimModel, tmp_path / "model")
    monkeypatch.setitem(publish_module.MODEL_AUTO_MAP, "AutoModel", "modeling_greenmim.GreenMimMisspelt")
    with pytest.raises(ValueError, match="(?s)Cannot load the folder without this package.*GreenMimMisspelt"):
        publish(tmp_path / "model", tmp_path / "public", hub_model_id="me/model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and hub == []


@pytest.mark.slow
def test_a_folder_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    save_model(GreenMimModel, tmp_path / "model")
    copy_code = publish_module.copy_code

    def copy_with_an_error(folder):
        copy_code(folder)
        path = folder / "modeling_greenmim.py"
        text = path.read_text()
        assert "residual + self.drop_path" in text
        path.write_text(text.replace("residual + self.drop_path", "residual + 1.1 * self.drop_path"))

    monkeypatch.setattr(publish_module, "copy_code", copy_with_an_error)
    with pytest.raises(ValueError, match="features differ by more than 0.0001: AutoModel "):
        publish(tmp_path / "model", tmp_path / "public")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.usefixtures("without_loading")
def test_pushing(tmp_path, hub, monkeypatch, capsys):
    save_model(GreenMimModel, tmp_path / "model")
    arguments = ["--checkpoint_path", str(tmp_path / "model"), "--output_dir", str(tmp_path / "public")]
    arguments += ["--push_to_hub", "--hub_model_id", "me/model", "--private", "--revision", "v1", "--license", "mit"]
    monkeypatch.setattr(sys, "argv", ["publish", *arguments])
    publish_module.main()
    assert [call[0] for call in hub] == ["create_repo", "create_branch", "upload_folder"]
    assert hub[0][2] == {"private": True, "exist_ok": True} and hub[1][2] == {"branch": "v1", "exist_ok": True}
    uploaded = hub[2][2]
    assert uploaded["repo_id"] == "me/model" and uploaded["revision"] == "v1"
    assert str(uploaded["folder_path"]) == str(tmp_path / "public")
    printed = "".join(capsys.readouterr())
    assert "https://huggingface.co/me/model" in printed
    written = [path.read_bytes() for path in (tmp_path / "public").iterdir()]
    assert "hf_secret" not in printed + str(hub) and not any(b"hf_secret" in content for content in written)
    card = ModelCard.load(tmp_path / "public" / "README.md")
    assert card.data.license == "mit" and '"me/model", trust_remote_code=True' in card.text


@pytest.mark.usefixtures("without_loading")
def test_a_public_repository_gets_nothing_private(tmp_path, hub):
    save_model(GreenMimModel, tmp_path / "model")
    with pytest.raises(ValueError, match="me/public exists and is public"):
        publish(tmp_path / "model", tmp_path / "public", hub_model_id="me/public", private=True)
    assert [call[0] for call in hub] == ["create_repo"]


@pytest.mark.usefixtures("without_loading")
def test_a_failed_upload_leaves_the_folder(tmp_path, hub, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise publish_module.httpx.ConnectError("no route to the Hub")

    monkeypatch.setattr(publish_module, "push_to_hub", fail)
    save_model(GreenMimModel, tmp_path / "model")
    arguments = ["--checkpoint_path", str(tmp_path / "model"), "--output_dir", str(tmp_path / "public")]
    monkeypatch.setattr(sys, "argv", ["publish", *arguments, "--push_to_hub", "--hub_model_id", "me/model"])
    with pytest.raises(SystemExit):
        publish_module.main()
    printed = capsys.readouterr().err
    assert "no route to the Hub" in printed and f"hf upload me/model {tmp_path / 'public'}" in printed
    assert (tmp_path / "public" / "model.safetensors").is_file()


def test_what_would_fail_later_fails_first(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="a/b/c"):
        publish(tmp_path / "nothing", tmp_path / "public", hub_model_id="a/b/c")
    monkeypatch.setattr(publish_module, "get_token", lambda: None)
    with pytest.raises(ValueError, match="no token.*hf auth login"):
        publish(tmp_path / "nothing", tmp_path / "public", hub_model_id="me/model")


@pytest.mark.usefixtures("without_loading")
def test_a_published_folder_is_published_again(tmp_path, hub):
    """The card then names the repository and the license."""
    save_model(GreenMimModel, tmp_path / "model")
    publish(tmp_path / "model", tmp_path / "first")
    publish(tmp_path / "first", tmp_path / "second", hub_model_id="me/model", license="mit")
    card = ModelCard.load(tmp_path / "second" / "README.md")
    assert card.data.license == "mit" and "`mit`" in card.text and "not stated" not in card.text
    assert 'from_pretrained("me/model", trust_remote_code=True)' in card.text and "path/to/this" not in card.text


@pytest.mark.slow
@pytest.mark.parametrize("num_channels", [1, 4])
def test_other_channels_than_three(tmp_path, num_channels):
    GreenMimModel(make_config(num_channels=num_channels)).save_pretrained(tmp_path / "model")
    folder = publish(tmp_path / "model", tmp_path / "public")
    processor = GreenMimImageProcessorPil.from_pretrained(folder)
    pixels = np.zeros((num_channels, 90, 70), dtype=np.uint8)
    inputs = processor(pixels, input_data_format="channels_first", return_tensors="pt")
    assert GreenMimModel.from_pretrained(folder)(**inputs).last_hidden_state.shape == (1, 64, 64)
    # an image processor for three channels does not fit
    GreenMimImageProcessorPil().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=f"model's {num_channels} channels, got 3"):
        publish(tmp_path / "model", tmp_path / "again")


@pytest.mark.usefixtures("without_loading")
def test_an_image_processor_of_pretraining_does_not_mask_what_is_published(tmp_path):
    save_model(GreenMimModel, tmp_path / "model")
    GreenMimImageProcessorPil(do_mask=True, mask_unit_size=8).save_pretrained(tmp_path / "model")
    publish(tmp_path / "model", tmp_path / "public")
    assert GreenMimImageProcessorPil.from_pretrained(tmp_path / "public").do_mask is False


@pytest.mark.usefixtures("without_loading")
def test_a_card_that_is_there_is_kept(tmp_path):
    save_model(GreenMimModel, tmp_path / "model")
    text = "---\nlicense: cc-by-nc-4.0\ntags:\n- lichens\n---\n# Lichens\n\nTrained on 300 photographs.\n"
    text += "![A lichen](pictures/lichen.png) ![Not ours](../secret.png)\n"
    (tmp_path / "model" / "pictures").mkdir()
    text += "![A key](.env) ![Another](id_rsa) ![A page](page.svg)\n"
    (tmp_path / "model" / "README.md").write_text(text)
    secrets = ("optimizer.pt", "../secret.png", ".env", "id_rsa", "LICENSE_KEY.txt", "page.svg")
    for name in ("LICENSE", "pictures/lichen.png", *secrets):
        (tmp_path / "model" / name).touch()
    with pytest.raises(ValueError, match="must match the license 'cc-by-nc-4.0'.*got 'mit'"):
        publish(tmp_path / "model", tmp_path / "public", license="mit")
    publish(tmp_path / "model", tmp_path / "public")
    card = ModelCard.load(tmp_path / "public" / "README.md")
    assert card.data.license == "cc-by-nc-4.0" and card.data.tags == ["lichens"]
    assert "Trained on 300 photographs." in card.text and "trust_remote_code=True" in card.text
    assert (tmp_path / "public" / "pictures" / "lichen.png").exists() and (tmp_path / "public" / "LICENSE").exists()
    assert not {path.name for path in (tmp_path / "public").rglob("*")} & {Path(name).name for name in secrets}


@pytest.mark.usefixtures("without_loading", "hub")
@pytest.mark.parametrize(
    ("settings", "shown"), [({}, False), ({"private": True}, True), ({"public_pictures": True}, True)]
)
def test_images_of_a_run_are_public_on_request_only(tmp_path, settings, shown):
    save_model(GreenMimModel, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("![Loss](loss_curve.png)\n![Images](reconstructions.png)\n")
    for name in ("loss_curve.png", "reconstructions.png"):
        (tmp_path / "model" / name).touch()
    folder = publish(tmp_path / "model", tmp_path / "public", hub_model_id="me/model", **settings)
    assert (folder / "reconstructions.png").exists() == shown
    assert ("reconstructions.png" in (folder / "README.md").read_text()) == shown
    assert (folder / "loss_curve.png").exists()


def test_wrong_use(tmp_path, monkeypatch, capsys):
    save_model(GreenMimModel, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "architectures": None}))
    with pytest.raises(ValueError, match="must be saved as one of .*got no class"):
        publish(tmp_path / "model", tmp_path / "public")
    with pytest.raises(ValueError, match="has no config.json"):
        publish(tmp_path / "nothing", tmp_path / "public")
    for arguments in (["--push_to_hub"], ["--hub_model_id", "me/model"], ["--private"]):
        monkeypatch.setattr(sys, "argv", ["publish", "--checkpoint_path", "a", "--output_dir", "b", *arguments])
        with pytest.raises(SystemExit):
            publish_module.main()
        assert "--push_to_hub" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_half_precision_is_published_as_it_is(tmp_path):
    save_model(GreenMimModel, tmp_path / "model").to(torch.bfloat16).save_pretrained(tmp_path / "model")
    publish(tmp_path / "model", tmp_path / "public")
    assert GreenMimModel.from_pretrained(tmp_path / "public").dtype == torch.bfloat16
    assert GreenMimConfig.from_pretrained(tmp_path / "public").dtype == torch.bfloat16


@pytest.mark.slow
def test_the_module_is_run_as_a_command(tmp_path):
    save_model(GreenMimForMaskedImageModeling, tmp_path / "model")
    command = [sys.executable, "-m", "modeling_greenmim.publish", "--checkpoint_path", str(tmp_path / "model")]
    result = subprocess.run([*command, "--output_dir", str(tmp_path / "public")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "public" / "mixer_window_greenmim.py").is_file()


@pytest.mark.slow
def test_a_model_with_other_mixers_is_published_with_their_code(tmp_path):
    settings = {
        "token_mixers": ["mask_unit", ["window", "shifted_window"], "global"],
        "hidden_sizes": 16,
        "num_heads": 2,
    }
    save_model(GreenMimForMaskedImageModeling, tmp_path / "model", **settings)
    publish(tmp_path / "model", tmp_path / "public")
    text = (tmp_path / "public" / "README.md").read_text()
    assert "token mixers mask_unit, window/shifted_window, global" in text and "Swin Transformer (" not in text


@pytest.mark.slow
def test_a_model_that_predicts_a_teacher_only_is_published(tmp_path):
    settings = {"teacher_hidden_size": 8, "reconstruction_weight": 0.0}
    save_model(GreenMimForMaskedImageModeling, tmp_path / "model", **settings)
    publish(tmp_path / "model", tmp_path / "public")
    assert (tmp_path / "public" / "config.json").is_file()


@pytest.mark.usefixtures("without_loading")
def test_the_card_of_a_swin_v2_says_so(tmp_path):
    save_model(GreenMimForImageClassification, tmp_path / "model", **FAMILIES["swin_v2"])
    publish(tmp_path / "model", tmp_path / "public")
    assert "Swin Transformer V2 (" in (tmp_path / "public" / "README.md").read_text()
