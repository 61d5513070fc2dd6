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
"""Examples of labeled images: which random numbers they use, with which labels, and in workers."""

import io
import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.labeled_datasets import LabeledDataArguments, open_labeled_images
from modeling_greenmim.training.labeled_images import (
    EndlessStream,
    LabeledExampleMaker,
    LabeledImages,
    StreamedImages,
)
from tests.helpers.labeled_images import encode_color, write_class_folders, write_labeled_parquet


CROP = v2.Compose([v2.RandomResizedCrop(16, interpolation=v2.InterpolationMode.BICUBIC), v2.RandomErasing(0.5)])


def open_rows(folder, **arguments):
    return open_labeled_images(LabeledDataArguments(train_dir=str(folder), **arguments), seed=0)[0]


def make_example_maker(transform=CROP, label_ids=(0, 1, 2), num_channels=3, seed=0):
    return LabeledExampleMaker(transform, num_channels, list(label_ids), "data", seed)


def make_row(content: bytes, label: int = 0) -> dict:
    return {"image": {"bytes": content, "path": None}, "label": label}


def test_changes_depend_on_seed_epoch_and_content_only():
    row = make_row(encode_color("red", 0))
    expected = make_example_maker()(row, 0, epoch=0)["pixel_values"]
    torch.manual_seed(1)
    assert torch.equal(make_example_maker()(row, index=7, epoch=0)["pixel_values"], expected)
    others = [
        make_example_maker()(row, 0, epoch=1),
        make_example_maker(seed=1)(row, 0, epoch=0),
        make_example_maker()(make_row(encode_color("red", 1)), 0, epoch=0),
    ]
    assert not any(torch.equal(example["pixel_values"], expected) for example in others)


def test_changes_leave_the_random_state_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make_example_maker()(make_row(encode_color("red", 0)), 0, epoch=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 20, 18), "uint8"), ((5, 20, 18), "uint8"), ((4, 20, 18), "float32")], ids=str
)
def test_images_of_any_number_of_channels(shape, dtype):
    pixels = np.random.default_rng(0).uniform(0, 200, shape).astype(dtype)
    file = io.BytesIO()
    np.save(file, pixels)
    example = make_example_maker(lambda image: image, num_channels=shape[0])(make_row(file.getvalue()), 0, 0)
    np.testing.assert_array_equal(example["pixel_values"].numpy(), pixels)
    cropped = make_example_maker(num_channels=shape[0])(make_row(file.getvalue()), 0, 0)["pixel_values"]
    assert cropped.shape == (shape[0], 16, 16) and str(cropped.dtype) == f"torch.{dtype}"


def test_labels_are_those_of_the_model():
    make_example = make_example_maker(label_ids=(5, 7))
    assert make_example(make_row(encode_color("red", 0), label=1), 0, 0)["labels"] == 7


@pytest.mark.parametrize("content", [b"", b"no image", encode_color("red", 0)[:60]], ids=["empty", "text", "cut off"])
def test_an_image_that_cannot_be_read_is_named(content):
    with pytest.raises(UserError, match="Image 3 of data cannot be read .*Fix or remove it") as caught:
        make_example_maker()(make_row(content), 3, 0)
    assert "BytesIO" not in str(caught.value)


def test_a_null_image_is_named():
    with pytest.raises(UserError, match="Image 3 of data cannot be read"):
        make_example_maker()({"image": None, "label": 0}, 3, 0)


@pytest.mark.parametrize("label", [None, -1])
def test_a_missing_label_of_a_stream_raises(label):
    with pytest.raises(UserError, match="Image 3 of data has no label"):
        make_example_maker()(make_row(encode_color("red", 0), label), 3, 0)


def test_a_damaged_file_is_named_also_in_a_worker(tmp_path):
    write_class_folders(tmp_path, num_images=4)
    (tmp_path / "red" / "03.png").write_bytes(b"no image")
    images = LabeledImages(open_rows(tmp_path, train_val_split=0.01), make_example_maker())
    with pytest.raises(UserError, match="red/03.png of data cannot be read"):
        list(DataLoader(images, num_workers=1))


@pytest.mark.parametrize("persistent_workers", [False, True])
def test_workers_know_the_epoch(labeled_folders, persistent_workers):
    images = LabeledImages(open_rows(labeled_folders / "files", max_train_samples=6), make_example_maker())
    loader = DataLoader(images, batch_size=6, num_workers=1, persistent_workers=persistent_workers)
    sums = []
    for epoch in (0, 1, 0):
        images.set_epoch(epoch)
        sums += [float(batch["pixel_values"].double().sum()) for batch in loader]
    assert sums[0] == sums[2] != sums[1]


def test_a_stream_is_read_once_and_in_order(tmp_path, labeled_folders):
    write_labeled_parquet(tmp_path / "train.parquet", [0, 1, 2, 2, 1, 0])
    rows = open_rows(tmp_path, validation_dir=str(labeled_folders / "files"), streaming=True)
    assert [example["labels"] for example in StreamedImages(rows, make_example_maker())] == [0, 1, 2, 2, 1, 0]


def test_an_endless_stream_mixes_and_changes_images_in_each_epoch(tmp_path, labeled_folders):
    write_labeled_parquet(tmp_path / "train.parquet", [0, 1, 2] * 4)
    rows = open_rows(tmp_path, validation_dir=str(labeled_folders / "files"), streaming=True)

    def read_epochs(transform):
        stream = EndlessStream(rows, make_example_maker(transform), shuffle_buffer_size=12)
        sums = [float(example["pixel_values"].double().sum()) for example in itertools.islice(stream, 24)]
        return sums[:12], sums[12:]

    first, second = read_epochs(lambda image: image)
    assert sorted(first) == sorted(second) and first != second, "each image once, in a different order"
    first, second = read_epochs(CROP)
    assert not set(first) & set(second)


def test_a_worker_without_a_shard_ends(tmp_path, labeled_folders):
    rows = open_rows(labeled_folders / "files", validation_dir=str(labeled_folders / "parquet"), streaming=True)
    rows.rows = rows.rows.take(0)
    assert list(EndlessStream(rows, make_example_maker(), 10)) == []
