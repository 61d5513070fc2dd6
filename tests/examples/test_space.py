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
"""The Space without a browser: its computations, its page and the uploaded folder."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from huggingface_hub import SpaceCard

from modeling_greenmim import GreenMimForImageClassification
from tests.helpers.scripts import ROOT, import_script


pytest.importorskip("matplotlib")

FOLDER = ROOT / "examples" / "spaces"
MODEL = ROOT / "experiments" / "cifar10" / "pretrained"
FLOWER, TEMPLE = (str(FOLDER / "images" / f"{name}.jpg") for name in ("flower", "temple"))

app = import_script("examples/spaces/app.py")
make_space = import_script("examples/spaces/make_space.py")


@pytest.fixture(scope="module")
def demonstration():
    return app.Demonstration(str(MODEL))


@pytest.fixture(scope="module")
def image():
    return app.open_image(FLOWER)


def get_hidden_pixels(demonstration, mask: np.ndarray) -> np.ndarray:
    unit = demonstration.config.mask_unit_size
    return np.kron(mask.reshape(demonstration.grid_size), np.ones((unit, unit), dtype=bool))


def test_images_show_what_is_hidden(demonstration, image):
    mask = demonstration.draw_mask(0.75, "random", 0)
    (original, masked, predicted, combined), text = demonstration.reconstruct(image, mask)
    hidden = get_hidden_pixels(demonstration, mask)
    np.testing.assert_array_equal(masked[~hidden], original[~hidden])
    assert (masked[hidden] == app.HIDDEN_GRAY).all()
    # the visible part equals the image, up to rounding; the hidden part is the prediction
    assert np.abs(combined[~hidden].astype(int) - original[~hidden]).max() <= 1
    assert np.abs(combined[hidden].astype(int) - predicted[hidden]).max() <= 1
    assert np.abs(predicted[~hidden].astype(int) - original[~hidden]).max() > 1
    assert "**16 of 64** tokens computed (25%)" in text and text.endswith(app.NORMALIZED)


def test_the_prediction_does_not_depend_on_hidden_pixels(demonstration, image):
    mask = demonstration.draw_mask(0.75, "random", 1)
    pixel_values, masks = demonstration.process(image), torch.from_numpy(mask[None])
    hidden = torch.from_numpy(get_hidden_pixels(demonstration, mask))
    changed = torch.where(hidden, torch.randn_like(pixel_values), pixel_values)
    with torch.no_grad():
        first, second = (demonstration.model(x, bool_masked_pos=masks).logits for x in (pixel_values, changed))
    assert torch.equal(first, second)


def test_a_click_toggles_the_unit_below_it(demonstration):
    mask = demonstration.draw_mask(0.5, "random", 0)
    rows, columns = demonstration.grid_size
    for row in range(rows):
        for column in range(columns):
            changed = demonstration.toggle_unit(mask, (column + 0.5) / columns, (row + 0.5) / rows)
            assert np.flatnonzero(changed != mask).tolist() == [row * columns + column]
    assert (demonstration.toggle_unit(mask, 1.0, 1.0) != mask).nonzero()[0].tolist() == [rows * columns - 1]


@pytest.mark.parametrize("value", [False, True])
def test_one_unit_stays_visible_and_one_hidden(demonstration, value):
    mask = np.full(np.prod(demonstration.grid_size), value)
    mask[0] = not value
    np.testing.assert_array_equal(demonstration.toggle_unit(mask, 0.0, 0.0), mask)


def write_broken_file(path: Path):
    if path.name == "text.jpg":
        path.write_text("not an image")
    elif path.name == "empty.png":
        path.touch()
    elif path.name == "bomb.png":
        PIL.Image.new("1", (20000, 20000)).save(path)
    else:
        PIL.Image.effect_noise((64, 64), 90).save(path)
        path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("name", ["text.jpg", "empty.png", "truncated.png", "bomb.png"])
def test_uploads_that_cannot_be_read_raise(tmp_path, name):
    write_broken_file(tmp_path / name)
    with pytest.raises(app.UnreadableImageError, match="not a readable image"):
        app.open_image(str(tmp_path / name))


def test_uploads_with_damaged_exif_are_shown(tmp_path):
    exif = b"Exif\0\0MM\0*" + b"\xff" * 40
    PIL.Image.effect_noise((64, 48), 90).save(tmp_path / "image.jpg", exif=exif)
    assert app.open_image(str(tmp_path / "image.jpg")).size == (64, 48)


def test_uploads_on_which_a_decoder_stumbles_raise(tmp_path, monkeypatch):
    def stumble(image):
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr(app, "turn_upright", stumble)
    with pytest.raises(app.UnreadableImageError, match="not a readable image"):
        app.open_image(FLOWER)


def test_uploads_with_too_many_pixels_raise(tmp_path, monkeypatch):
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    monkeypatch.setattr(app, "MAX_PIXELS", 63)
    with pytest.raises(app.UnreadableImageError, match="8 x 8 pixels"):
        app.open_image(str(tmp_path / "image.png"))


@pytest.mark.parametrize(("mode", "size"), [("L", (5, 900)), ("RGBA", (64, 48)), ("P", (31, 33)), ("CMYK", (40, 40))])
def test_images_of_all_kinds_are_reconstructed(demonstration, tmp_path, mode, size):
    PIL.Image.effect_noise(size, 90).convert("RGB").convert(mode).save(tmp_path / "image.tif")
    mask = demonstration.draw_mask(0.6, "block", 3)
    images, _ = demonstration.reconstruct(app.open_image(str(tmp_path / "image.tif")), mask)
    assert [image.shape for image in images] == [(32, 32, 3)] * 4


@pytest.mark.parametrize("token_mixer", ["window", "shifted_window"])
@pytest.mark.parametrize("stage", [1, 2])
def test_groups_of_every_stage_are_drawn(demonstration, image, tmp_path, stage, token_mixer):
    mask = demonstration.draw_mask(0.75, "random", 0)
    figure, layout = demonstration.draw_groups(image, mask, stage, token_mixer)
    figure.savefig(tmp_path / "groups.png")
    assert len(layout.rows) == {1: 16, 2: 4}[stage]
    assert layout.shift == (2 if (stage, token_mixer) == (1, "shifted_window") else 0)


def test_the_model_of_the_repository_is_shown_in_a_clone(monkeypatch):
    monkeypatch.delenv("MODEL_ID", raising=False)
    assert app.find_model() == str(MODEL)


def test_model_id_names_the_model(monkeypatch):
    monkeypatch.setenv("MODEL_ID", "me/my-model")
    assert app.find_model() == "me/my-model"


def test_without_a_model_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MODEL_ID", raising=False)
    monkeypatch.setattr(app, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="There is no model to show. Set MODEL_ID"):
        app.find_model()


def test_a_missing_model_raises(tmp_path):
    with pytest.raises(OSError, match="missing"):
        app.Demonstration(str(tmp_path / "missing"))


def test_a_classifier_raises(tmp_path, demonstration):
    demonstration.image_processor.save_pretrained(tmp_path)
    GreenMimForImageClassification(demonstration.config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="as a GreenMimForMaskedImageModeling because .* weights are missing"):
        app.Demonstration(str(tmp_path))


@pytest.mark.parametrize(("milliseconds", "expected"), [(1, 32), (20, 5), (5000, 1)])
def test_fewer_images_of_a_slow_model_are_timed(demonstration, monkeypatch, milliseconds, expected):
    monkeypatch.setattr(app, "measure_milliseconds", lambda _: milliseconds)
    monkeypatch.delitem(demonstration.__dict__, "num_timed_images", raising=False)
    assert demonstration.num_timed_images == expected
    del demonstration.num_timed_images


@pytest.fixture(scope="module")
def page(demonstration):
    pytest.importorskip("gradio")
    return app.build_page(demonstration)


@pytest.fixture(scope="module")
def functions(page):
    return {function.name: function.fn for function in page.fns.values()}


def test_the_page_has_its_controls(page):
    labels = {component.label for component in page.blocks.values() if getattr(component, "label", None)}
    assert {"Image", "Fraction of units to hide", "Mask sampler", "Seed", "Stage", "Token mixer"} <= labels


def test_uploads_are_removed_after_an_hour(page):
    assert page.delete_cache[1] == 3600


def test_the_page_shows_four_images(functions):
    *images, text, _ = functions["show_new_mask"](TEMPLE, 0.5, "random", 3)
    assert all(image.size == (384, 384) for image in images) and "32 of 64" in text


def test_the_page_asks_for_an_image(functions):
    *images, text, _ = functions["show_new_mask"](None, 0.5, "random", 3)
    assert images == [None] * 4 and text == app.NO_IMAGE


def test_the_page_explains_what_is_wrong_with_an_upload(functions):
    with pytest.warns(UserWarning, match="not a readable image"):  # outside of a server, a message is a warning
        *images, text, _ = functions["show_new_mask"](str(FOLDER / "app.py"), 0.5, "random", 3)
    assert images == [None] * 4 and "not a readable image" in text


def test_a_click_on_the_page_changes_the_mask(functions, demonstration):
    gradio = pytest.importorskip("gradio")
    mask = demonstration.draw_mask(0.75, "random", 0)
    click = gradio.SelectData(None, {"index": [383, 383], "value": None})
    *_, changed = functions["show_changed_mask"](TEMPLE, mask, click)
    assert np.flatnonzero(changed != mask).tolist() == [15]


def test_the_page_describes_groups(functions, demonstration):
    mask = demonstration.draw_mask(0.75, "random", 0)
    figure, text = functions["show_groups"](TEMPLE, mask, 2, "shifted_window")
    assert figure is not None and "In stage 2, one window covers the grid" in text
    _, text = functions["show_groups"](TEMPLE, mask, 1, "shifted_window")
    assert "**16 of 64** tokens" in text and "covers the grid" not in text
    assert functions["show_groups"](None, mask, 1, "window") == (None, app.NO_IMAGE)


@pytest.mark.slow
def test_the_folder_of_a_space_needs_neither_the_package_nor_the_repository(tmp_path):
    folder = tmp_path / "space"
    make_space.make_space(folder, MODEL)
    card = SpaceCard.load(folder / "README.md")
    assert card.data.sdk == "gradio" and (folder / card.data.app_file).is_file()
    code = (
        "import modeling_greenmim, app; print(modeling_greenmim.__file__, app.find_model());"
        "demo = app.Demonstration(app.find_model());"
        "demo.reconstruct(app.open_image('images/flower.jpg'), demo.draw_mask(0.5, 'random', 0))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    assert str(folder / "modeling_greenmim") in result.stdout and str(folder / "model") in result.stdout


def test_a_folder_that_is_not_empty_is_kept(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="not an empty folder"):
        make_space.make_space(tmp_path, MODEL)
