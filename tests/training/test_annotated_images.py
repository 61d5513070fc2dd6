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
"""Images with annotations: arguments, names of classes, and augmentations that a resumed run repeats."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value

from modeling_greenmim.training.annotated_images import (
    AnnotatedDataArguments,
    AnnotatedImages,
    describe_data,
    open_splits,
    read_label_names,
)
from modeling_greenmim.training.backbones import BackboneArguments
from modeling_greenmim.training.errors import UserError
from tests.helpers.fine_tuning_runs import encode


class Images(AnnotatedImages):
    def read_annotation(self, annotation, height, width):
        return {"annotation": annotation}


def draw_number(sample):
    return torch.rand(()).item()


def make_images(grays=(1, 2), transform=draw_number, seed=0):
    rows = [{"image": encode(np.full((2, 2), gray, dtype=np.uint8)), "annotation": None} for gray in grays]
    return Images(rows, "data", num_labels=2, image_processor=None, transform=transform, seed=seed)


def test_augmentations_depend_on_seed_epoch_and_content_only():
    images = make_images()
    number = images.load_sample(0)
    assert images.load_sample(0) == number == make_images(grays=(2, 1)).load_sample(1)
    assert make_images(seed=1).load_sample(0) != number != images.load_sample(1)
    images.set_epoch(1)
    assert images.load_sample(0) != number


def test_augmentations_leave_the_random_state_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make_images().load_sample(0)
    assert torch.equal(torch.rand(3), expected)


def test_images_are_not_changed_without_a_transform():
    sample = make_images(transform=None).load_sample(1)
    assert sample["image"].shape == (3, 2, 2) and (sample["image"] == 2).all()


def test_images_that_cannot_be_read_are_named():
    images = make_images()
    images.rows[1]["image"] = {"bytes": b"no image", "path": "folder/name.png"}
    with pytest.raises(UserError, match="^folder/name.png of data .*cannot be read"):
        images.load_sample(1)


def test_splits_have_at_most_the_wanted_numbers_of_encoded_images(tmp_path):
    features = Features({"photo": Image(), "boxes": Value("int64")})
    for split, number in (("train", 5), ("validation", 4)):
        rows = {"photo": [encode(np.zeros((2, 2), dtype=np.uint8))] * number, "boxes": range(number)}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{split}-0.parquet")
    args = AnnotatedDataArguments(
        dataset_name=str(tmp_path), image_column_name="photo", max_train_samples=3, max_eval_samples=9
    )
    args.boxes_column_name = "boxes"
    (train_rows, train_split), (eval_rows, _) = open_splits(args, "boxes_column_name")
    assert (len(train_rows), len(eval_rows)) == (3, 4)
    assert train_rows[2]["annotation"] == 2 and isinstance(train_rows[2]["image"]["bytes"], bytes)
    assert train_split == f"{tmp_path}, split 'train'"


@pytest.mark.parametrize("content", [["zero", "one"], {"1": "one", "0": "zero"}], ids=["list", "dictionary"])
def test_names_of_classes_are_in_the_order_of_their_numbers(tmp_path, content):
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert read_label_names(str(tmp_path / "names.json")) == ["zero", "one"]


@pytest.mark.parametrize("content", ["{}", "[]", '{"1": "one"}', '{"a": "one"}', '"names"', "no JSON"])
def test_files_without_names_of_classes_are_refused(tmp_path, content):
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(UserError, match="--id2label_file .* holds no names of classes"):
        read_label_names(str(tmp_path / "names.json"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Give --dataset_name"),
        ({"dataset_name": "data", "eval_split_name": "train"}, "must differ from --train_split_name"),
        ({"dataset_name": "data", "min_scale": 2.0, "max_scale": 1.0}, "at most --max_scale, got 2.0 and 1.0"),
        ({"dataset_name": "data", "min_scale": 0.0}, "above 0"),
        ({"dataset_name": "data", "max_eval_samples": 0}, "--max_eval_samples must be at least 1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_data_arguments_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        AnnotatedDataArguments(**settings)


def test_descriptions_name_settings_but_no_paths():
    args = AnnotatedDataArguments(dataset_name="data", flip=False)
    model_args = BackboneArguments(config_name="somewhere", drop_path_rate=0.3)
    description = describe_data(args, model_args, load_best_model_at_end=True)
    assert description["eval_description"].startswith("`data`, split 'validation', which also chose the best")
    assert description["settings"] == {"flip": False, "min_scale": 0.75, "max_scale": 1.25, "drop_path_rate": 0.3}
