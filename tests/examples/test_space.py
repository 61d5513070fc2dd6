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
"""The Space, without a browser: what it computes, what its page is made of, and the folder that is uploaded."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from huggingface_hub import SpaceCard

from modeling_greenmim import GreenMimForImageClassification


pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "spaces"

import demonstration
import make_space
from demonstration import Demonstration, UnreadableImageError, find_model, open_image


@pytest.fixture(scope="module")
def demo():
    return Demonstration(str(ROOT / "experiments" / "cifar10" / "pretrained"))


@pytest.fixture(scope="module")
def image():
    return open_image(str(FOLDER / "images" / "flower.jpg"))


def test_pictures_show_what_is_hidden(demo, image):
    mask = demo.draw_mask(0.75, "random", 0)
    result = demo.reconstruct(image, mask)
    unit = demo.config.mask_unit_size
    hidden = np.kron(mask.reshape(demo.grid_size), np.ones((unit, unit), dtype=bool))
    np.testing.assert_array_equal(result.masked[~hidden], result.original[~hidden])
    assert (result.masked[hidden] == demonstration.HIDDEN_GRAY).all()
    # the visible part is that of the image, up to rounding; the hidden one that of the prediction
    assert np.abs(result.pasted[~hidden].astype(int) - result.original[~hidden]).max() <= 1
    assert np.abs(result.pasted[hidden].astype(int) - result.predicted[hidden]).max() <= 1
    assert np.abs(result.predicted[~hidden].astype(int) - result.original[~hidden]).max() > 1
    assert (result.num_visible_tokens, result.num_tokens) == (16, 64)
    assert 0 < result.visible_ms < 10_000 and 0 < result.full_ms < 10_000 and 0 < result.loss < 2


def test_it_does_not_look_at_what_is_hidden(demo, image):
    """Another picture under the mask, the same prediction of its shape."""
    mask = demo.draw_mask(0.75, "random", 1)
    pixel_values = demo._process(image)
    unit = demo.config.mask_unit_size
    hidden = torch.from_numpy(np.kron(mask.reshape(demo.grid_size), np.ones((unit, unit), dtype=bool)))
    with torch.no_grad():
        first = demo.model(pixel_values, bool_masked_pos=torch.from_numpy(mask[None])).logits
        second = demo.model(
            torch.where(hidden, torch.randn_like(pixel_values), pixel_values),
            bool_masked_pos=torch.from_numpy(mask[None]),
        ).logits
    assert torch.equal(first, second)


def test_a_click_hides_or_shows_a_unit(demo):
    mask = demo.draw_mask(0.5, "random", 0)
    rows, columns = demo.grid_size
    for row in range(rows):
        for column in range(columns):
            changed = demo.toggle_unit(mask, (column + 0.5) / columns, (row + 0.5) / rows)
            assert np.flatnonzero(changed != mask).tolist() == [row * columns + column]
    assert (demo.toggle_unit(mask, 1.0, 1.0) != mask).nonzero()[0].tolist() == [rows * columns - 1]
    # one stays visible, one hidden
    for value in (False, True):
        mask = np.full(demo.num_units, value)
        mask[0] = not value
        np.testing.assert_array_equal(demo.toggle_unit(mask, 0.0, 0.0), mask)


def test_uploads_that_are_no_images(tmp_path, monkeypatch):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    PIL.Image.effect_noise((64, 64), 90).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:1000])
    PIL.Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    for name in ("text.jpg", "empty.png", "cut.png", "bomb.png"):
        with pytest.raises(UnreadableImageError, match="no image that can be read"):
            open_image(str(tmp_path / name))
    monkeypatch.setattr(demonstration, "MAX_PIXELS", 63)
    with pytest.raises(UnreadableImageError, match="8 x 8 pixels"):
        open_image(str(tmp_path / "image.png"))


@pytest.mark.parametrize(("mode", "size"), [("L", (5, 900)), ("RGBA", (64, 48)), ("P", (31, 33)), ("CMYK", (40, 40))])
def test_images_of_all_kinds(demo, tmp_path, mode, size):
    PIL.Image.effect_noise(size, 90).convert("RGB").convert(mode).save(tmp_path / "image.tif")
    result = demo.reconstruct(open_image(str(tmp_path / "image.tif")), demo.draw_mask(0.6, "block", 3))
    assert result.pasted.shape == (32, 32, 3)


@pytest.mark.parametrize("token_mixer", ["window", "shifted_window"])
@pytest.mark.parametrize("stage", [1, 2])
def test_groups_of_every_stage(demo, image, tmp_path, stage, token_mixer):
    figure, layout = demo.draw_groups(image, demo.draw_mask(0.75, "random", 0), stage, token_mixer)
    figure.savefig(tmp_path / "groups.png")
    assert len(layout.rows) == {1: 16, 2: 4}[stage]
    assert layout.shift == (2 if (stage, token_mixer) == (1, "shifted_window") else 0)


def test_the_model_that_is_shown(monkeypatch):
    monkeypatch.delenv("MODEL_ID", raising=False)
    assert find_model() == str(ROOT / "experiments" / "cifar10" / "pretrained")
    monkeypatch.setenv("MODEL_ID", "me/my-model")
    assert find_model() == "me/my-model"
    monkeypatch.delenv("MODEL_ID")
    monkeypatch.setattr(demonstration, "FOLDER", ROOT / "tests")
    with pytest.raises(ValueError, match="There is no model to show"):
        find_model()


def test_a_model_that_is_not_one(tmp_path, demo):
    with pytest.raises(OSError, match="there-is-none"):
        Demonstration(str(tmp_path / "there-is-none"))
    demo.image_processor.save_pretrained(tmp_path / "classifier")
    GreenMimForImageClassification(demo.config).save_pretrained(tmp_path / "classifier")
    with pytest.raises(ValueError, match="lacks .* weights of a GreenMimForMaskedImageModeling"):
        Demonstration(str(tmp_path / "classifier"))


def test_fewer_images_of_a_slow_model_are_timed(demo, monkeypatch):
    for milliseconds, expected in {1: 32, 20: 5, 5000: 1}.items():
        monkeypatch.setattr(demonstration, "_time", lambda _, milliseconds=milliseconds: milliseconds)
        monkeypatch.delitem(demo.__dict__, "num_timed_images", raising=False)
        assert demo.num_timed_images == expected
    del demo.num_timed_images


def test_the_page(demo):
    """It can be built, and its functions say what is wrong."""
    gr = pytest.importorskip("gradio")
    import app

    page = app.build_demo(demo)
    labels = {component.label for component in page.blocks.values() if getattr(component, "label", None)}
    assert {"Image", "Share of the units to hide", "How units are chosen", "Seed", "Stage", "Token mixer"} <= labels
    functions = {function.name: function.fn for function in page.fns.values()}
    mask = demo.draw_mask(0.75, "random", 0)
    *pictures, text, _ = functions["show_new_mask"](str(FOLDER / "images" / "temple.jpg"), 0.5, "random", 3)
    assert all(picture.size == (384, 384) for picture in pictures) and "32 of 64" in text
    *pictures, text, _ = functions["show_new_mask"](None, 0.5, "random", 3)
    assert pictures == [None] * 4 and "Choose an image" in text
    with pytest.warns(UserWarning, match="no image that can be read"):  # outside of a server, a message is a warning
        *pictures, text, _ = functions["show_new_mask"](str(FOLDER / "app.py"), 0.5, "random", 3)
    assert pictures == [None] * 4 and "no image that can be read" in text
    click = gr.SelectData(None, {"index": [383, 383], "value": None})
    *_, changed = functions["show_changed_mask"](str(FOLDER / "images" / "temple.jpg"), mask, click)
    assert np.flatnonzero(changed != mask).tolist() == [15]
    figure, text = functions["show_groups"](str(FOLDER / "images" / "temple.jpg"), mask, 2, "shifted_window")
    assert figure is not None and "In stage 2, one window covers the grid" in text
    _, text = functions["show_groups"](str(FOLDER / "images" / "temple.jpg"), mask, 1, "shifted_window")
    assert "**16 of 64** tokens" in text and "covers the grid" not in text
    assert functions["show_groups"](None, mask, 1, "window")[0] is None


def test_the_folder_of_a_space_works_by_itself(tmp_path):
    """Where neither this package nor the repository is: with the files that were copied."""
    folder = make_space.make_space(tmp_path / "space", ROOT / "experiments" / "cifar10" / "pretrained")
    card = SpaceCard.load(folder / "README.md")
    assert card.data.sdk == "gradio" and (folder / card.data.app_file).is_file()
    shutil.copy(folder / "images" / "flower.jpg", tmp_path / "flower.jpg")
    code = (
        "import modeling_greenmim, demonstration as d; print(modeling_greenmim.__file__, d.find_model());"
        "demo = d.Demonstration(d.find_model()); demo.reconstruct(d.open_image('images/flower.jpg'), demo.draw_mask(0.5, 'random', 0))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    assert str(folder / "modeling_greenmim") in result.stdout and str(folder / "model") in result.stdout
    with pytest.raises(ValueError, match="not an empty folder"):
        make_space.make_space(folder, ROOT / "experiments" / "cifar10" / "pretrained")
