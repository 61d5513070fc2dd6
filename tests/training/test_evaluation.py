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
"""Evaluation on held-out images: loss, figures and nearest neighbors."""

import errno

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from matplotlib.text import Text
from transformers.utils import logging as transformers_logging

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.evaluation import Evaluation, get_knn_accuracy, make_picture_rows
from modeling_greenmim.training.micro_batches import HeldOutImages, PretrainingCollator
from modeling_greenmim.training.pretraining_arguments import DataArguments
from modeling_greenmim.training.pretraining_setup import open_data
from tests.helpers.pretraining import CONFIG, write_images


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images = write_images(tmp_path_factory.mktemp("images"))
    return open_data(DataArguments(train_dir=str(images / "files")), CONFIG, seed=0)


@pytest.fixture
def warnings(caplog):
    transformers_logging.enable_propagation()
    with caplog.at_level("WARNING", logger="transformers"):
        yield caplog
    transformers_logging.disable_propagation()


def fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def make_evaluation(data, batch_size: int = 3) -> Evaluation:
    collator = PretrainingCollator(CONFIG, GreenMimImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.5] * 3))
    return Evaluation(data.held_out, collator, batch_size)


def test_the_loss_is_the_mean_over_images_whatever_the_batch_size(data):
    model, accelerator = GreenMimForMaskedImageModeling(CONFIG).train(), Accelerator(cpu=True)
    losses = [make_evaluation(data, size).measure(model, accelerator)["eval_loss"] for size in (3, 8)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert model.training


def test_a_model_that_predicts_no_pixels_leaves_no_pictures(data, tmp_path):
    config = GreenMimConfig.from_dict({**CONFIG.to_dict(), "reconstruction_target": "hog"})
    make_evaluation(data).save_pictures(
        GreenMimForMaskedImageModeling(config), Accelerator(cpu=True), tmp_path, step=1
    )
    assert not any(tmp_path.iterdir())


def test_pictures_are_stored_with_the_step(data, tmp_path):
    model, accelerator = GreenMimForMaskedImageModeling(CONFIG), Accelerator(cpu=True)
    make_evaluation(data).save_pictures(model, accelerator, tmp_path, step=12)
    assert (tmp_path / "reconstructions" / "step-0000012.png").stat().st_size > 1000


def test_pictures_that_cannot_be_written_are_a_warning(data, tmp_path, monkeypatch, warnings):
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    model, accelerator = GreenMimForMaskedImageModeling(CONFIG), Accelerator(cpu=True)
    make_evaluation(data).save_pictures(model, accelerator, tmp_path, step=12)
    assert "Cannot write the reconstructions of step 12: [Errno 28] No space left on device" in warnings.text


def test_nearest_neighbors_are_those_of_the_same_class():
    rng = np.random.default_rng(0)
    labels = ["cat", "dog"] * 30
    features = rng.normal(size=(60, 16)) + 4 * np.array([[1 if label == "cat" else -1] * 16 for label in labels])
    assert get_knn_accuracy(features, labels) > 0.9
    assert get_knn_accuracy(rng.normal(size=(60, 16)), labels) < 0.8


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "images of at least two classes"),
        ([None] * 9, "images of at least two classes"),
        (["cat"] * 9, "images of at least two classes"),
        (["cat", "dog"] * 3, "needs at least 5 held-out images of one class, got 3"),
    ],
)
def test_nearest_neighbors_need_labels(labels, message):
    with pytest.raises(UserError, match=message):
        Evaluation(HeldOutImages(labels=labels), None, 4, knn=True)


@pytest.mark.parametrize("target", ["pixels", "normalized_pixels"])
def test_pictures_say_where_unit_statistics_come_from(data, target):
    model = GreenMimForMaskedImageModeling(GreenMimConfig(**CONFIG.to_dict() | {"reconstruction_target": target}))
    figure = make_evaluation(data).draw(model, Accelerator(cpu=True))
    texts = " ".join(text.get_text() for text in figure.findobj(Text))
    assert ("mean and variance, taken from the image itself" in " ".join(texts.split())) == (
        target == "normalized_pixels"
    )


def test_pictures_hide_what_the_model_does_not_see():
    model = GreenMimForMaskedImageModeling(CONFIG).eval()
    pixel_values = torch.rand(2, 3, 32, 32) + 0.1
    mask = torch.zeros(2, 64, dtype=torch.bool)
    mask[:, ::2] = True
    with torch.no_grad():
        rows = make_picture_rows(model, pixel_values, model(pixel_values, bool_masked_pos=mask))
    hidden = (rows["masked"] == 0).all(dim=1)
    assert hidden.float().mean() == 0.5
    visible = ~hidden[:, None].expand_as(pixel_values)
    assert torch.equal(rows["reconstruction"][visible], pixel_values[visible])
    assert not torch.equal(rows["reconstruction"], pixel_values)
