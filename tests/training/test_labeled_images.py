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
"""Labeled examples: their random numbers, their labels, and loading in workers."""

import io
import itertools

import numpy as np
import PIL.Image
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.labeled_datasets import LabeledDataArguments, LabeledRows, open_labeled_images
from modeling_greenmim.training.labeled_images import ClassifiedImages, EndlessStream, StreamedImages
from tests.helpers.labeled_images import COLORS, encode_color, write_class_folders, write_labeled_parquet


CROP = v2.Compose([v2.RandomResizedCrop(16, interpolation=v2.InterpolationMode.BICUBIC), v2.RandomErasing(0.5)])


def open_rows(folder, **arguments):
    return open_labeled_images(LabeledDataArguments(train_dir=str(folder), **arguments), seed=0)[0]


def make_images(rows=None, transform=CROP, num_channels=3, seed=0, label_ids=(0, 1, 2)):
    """Of one row with the second label, or of rows that are opened."""
    names = list(COLORS)[: len(label_ids)]
    if not isinstance(rows, LabeledRows):
        features = Features({"image": Image(decode=False), "label": ClassLabel(names=names)})
        rows = LabeledRows(Dataset.from_list(rows or [make_row(encode_color("red", 0))], features=features), "data", 1)
    label2id = dict(zip(names, label_ids))
    return ClassifiedImages(rows, label2id, transform=transform, num_channels=num_channels, seed=seed)


def make_row(content: bytes, label: int = 0) -> dict:
    return {"image": {"bytes": content, "path": None}, "label": label}


def test_augmentations_depend_on_seed_epoch_and_content_only():
    rows = [make_row(encode_color("red", number)) for number in range(2)]
    images = make_images(rows)
    expected = images[0]["pixel_values"]
    torch.manual_seed(1)
    assert torch.equal(make_images(rows[::-1])[1]["pixel_values"], expected)
    others = [make_images(rows, seed=1)[0], images[1]]
    images.set_epoch(1)
    others.append(images[0])
    assert not any(torch.equal(example["pixel_values"], expected) for example in others)


def test_augmentations_leave_the_random_state_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make_images()[0]
    assert torch.equal(torch.rand(3), expected)


def test_images_are_not_changed_without_a_transform():
    sample = make_images(transform=None).load_sample(0)
    expected = np.moveaxis(np.array(PIL.Image.open(io.BytesIO(encode_color("red", 0)))), -1, 0)
    np.testing.assert_array_equal(sample["image"].numpy(), expected)


def test_images_that_cannot_be_read_are_named_by_their_path():
    row = {"image": {"bytes": b"no image", "path": "folder/name.png"}, "label": 0}
    with pytest.raises(UserError, match="^folder/name.png of data .*cannot be read"):
        make_images([row])[0]


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 20, 18), "uint8"), ((5, 20, 18), "uint8"), ((4, 20, 18), "float32")], ids=str
)
def test_images_of_any_number_of_channels(shape, dtype):
    pixels = np.random.default_rng(0).uniform(0, 200, shape).astype(dtype)
    file = io.BytesIO()
    np.save(file, pixels)
    rows = [make_row(file.getvalue())]
    example = make_images(rows, transform=None, num_channels=shape[0])[0]
    np.testing.assert_array_equal(example["pixel_values"].numpy(), pixels)
    cropped = make_images(rows, num_channels=shape[0])[0]["pixel_values"]
    assert cropped.shape == (shape[0], 16, 16) and str(cropped.dtype) == f"torch.{dtype}"


def test_labels_are_those_of_the_model():
    images = make_images([make_row(encode_color("red", 0), label=1)], label_ids=(5, 7))
    assert images[0]["labels"] == 7


@pytest.mark.parametrize("content", [b"", b"no image", encode_color("red", 0)[:60]], ids=["empty", "text", "cut off"])
def test_an_image_that_cannot_be_read_is_named(content):
    with pytest.raises(UserError, match="Image 3 of data .*cannot be read .*Fix or remove it") as caught:
        make_images().read_sample(make_row(content), 3, epoch=0)
    assert "BytesIO" not in str(caught.value)


def test_a_null_image_is_named():
    with pytest.raises(UserError, match="Image 3 of data .*cannot be read"):
        make_images().read_sample({"image": None, "label": 0}, 3, epoch=0)


@pytest.mark.parametrize("label", [None, -1])
def test_a_missing_label_of_a_stream_raises(label):
    with pytest.raises(UserError, match="Image 3 of data: it has no label"):
        make_images().read_sample(make_row(encode_color("red", 0), label), 3, epoch=0)


def test_a_damaged_file_is_named_also_in_a_worker(tmp_path):
    write_class_folders(tmp_path, num_images=4)
    (tmp_path / "red" / "03.png").write_bytes(b"no image")
    images = make_images(open_rows(tmp_path, train_val_split=0.01))
    with pytest.raises(UserError, match="red/03.png of .*cannot be read"):
        list(DataLoader(images, num_workers=1))


@pytest.mark.parametrize("persistent_workers", [False, True])
def test_workers_know_the_epoch(labeled_folders, persistent_workers):
    images = make_images(open_rows(labeled_folders / "files", max_train_samples=6))
    loader = DataLoader(images, batch_size=6, num_workers=1, persistent_workers=persistent_workers)
    sums = []
    for epoch in (0, 1, 0):
        images.set_epoch(epoch)
        sums += [float(batch["pixel_values"].double().sum()) for batch in loader]
    assert sums[0] == sums[2] != sums[1]


def test_a_stream_is_read_once_and_in_order(tmp_path, labeled_folders):
    write_labeled_parquet(tmp_path / "train.parquet", [0, 1, 2, 2, 1, 0])
    rows = open_rows(tmp_path, validation_dir=str(labeled_folders / "files"), streaming=True)
    assert [example["labels"] for example in StreamedImages(make_images(rows))] == [0, 1, 2, 2, 1, 0]


def test_an_endless_stream_mixes_and_changes_images_in_each_epoch(tmp_path, labeled_folders):
    write_labeled_parquet(tmp_path / "train.parquet", [0, 1, 2] * 4)
    rows = open_rows(tmp_path, validation_dir=str(labeled_folders / "files"), streaming=True)

    def read_epochs(transform):
        stream = EndlessStream(make_images(rows, transform), shuffle_buffer_size=12)
        sums = [float(example["pixel_values"].double().sum()) for example in itertools.islice(stream, 24)]
        return sums[:12], sums[12:]

    first, second = read_epochs(None)
    assert sorted(first) == sorted(second) and first != second, "each image once, in a different order"
    first, second = read_epochs(CROP)
    assert not set(first) & set(second)


def test_a_worker_without_a_shard_ends(tmp_path, labeled_folders):
    rows = open_rows(labeled_folders / "files", validation_dir=str(labeled_folders / "parquet"), streaming=True)
    rows.rows = rows.rows.take(0)
    assert list(EndlessStream(make_images(rows), 10)) == []
