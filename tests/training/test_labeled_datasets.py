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
"""Labeled images are found, checked and divided."""

import json
from collections import Counter

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value

from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning_models import StartArguments
from modeling_greenmim.training.image_files import read_row
from modeling_greenmim.training.labeled_datasets import (
    AnnotatedDataArguments,
    LabeledDataArguments,
    LabeledRows,
    describe_data,
    divide_rows,
    open_annotated_images,
    open_labeled_images,
    read_label_names,
)
from tests.helpers.fine_tuning_runs import encode
from tests.helpers.labeled_images import COLORS, encode_color, write_class_folders, write_labeled_parquet


COLOR_NAMES = list(COLORS)


def open_images(**arguments):
    arguments = {name: str(value) if "dir" in name else value for name, value in arguments.items()}
    return open_labeled_images(LabeledDataArguments(**arguments), seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either --dataset_name or --train_dir"),
        ({"dataset_name": "a", "train_dir": "b"}, "either --dataset_name or --train_dir"),
        ({"train_dir": "a", "eval_split_name": "test"}, "--eval_split_name is a split of --dataset_name"),
        ({"train_dir": "a", "train_val_split": 1.0}, "--train_val_split must be above 0 and below 1, got 1.0"),
        ({"train_dir": "a", "max_eval_samples": 0}, "--max_eval_samples must be at least 1"),
        ({"train_dir": "a", "shuffle_buffer_size": 0}, "--shuffle_buffer_size must be at least 1"),
        ({"dataset_name": "a", "streaming": True, "max_train_samples": 5}, "--max_train_samples needs to know"),
    ],
)
def test_invalid_arguments_raise(arguments, message):
    with pytest.raises(UserError, match=message):
        LabeledDataArguments(**arguments)


def test_class_folders_are_divided(labeled_folders):
    train, evaluation = open_images(train_dir=labeled_folders / "files")
    assert train.label_names == evaluation.label_names == list(COLORS)
    assert (train.num_images, evaluation.num_images) == (36, 6)
    paths = [row["image"]["path"] for part in (train, evaluation) for row in part.rows]
    assert len(set(paths)) == 42
    assert all(row["image"]["path"].split("/")[-2] == COLOR_NAMES[row["label"]] for row in train.rows)


def test_the_validation_split_of_a_dataset_is_found(labeled_folders):
    train, evaluation = open_images(dataset_name=str(labeled_folders / "parquet"))
    assert (train.num_images, evaluation.num_images) == (36, 9)


def test_a_folder_may_have_the_name_of_a_builder(labeled_folders, monkeypatch):
    monkeypatch.chdir(labeled_folders)
    assert open_images(dataset_name="parquet")[0].num_images == 36


def test_names_of_files_and_classes_are_not_taken_for_splits(tmp_path):
    """`datasets` would take a file `train_00.png`, or a class `train`, for a split, and omit the others."""
    for name in ("train", "test_track", "red"):
        for number, prefix in enumerate(("train", "my_test", "x", "y")):
            path = tmp_path / name / "deeper" / f"{prefix}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_color("red", number))
    train, evaluation = open_images(train_dir=tmp_path)
    assert train.label_names == ["red", "test_track", "train"]
    assert Counter(train.rows["label"]) + Counter(evaluation.rows["label"]) == {0: 4, 1: 4, 2: 4}


def test_names_of_parquet_files_are_not_patterns(tmp_path):
    write_labeled_parquet(tmp_path / "trip [2020]" / "good[0-9]*.parquet", [0, 1, 2] * 4)
    train, evaluation = open_images(train_dir=tmp_path / "trip [2020]")
    assert train.num_images + evaluation.num_images == 12


def test_parquet_files_of_splits_are_not_mixed(tmp_path):
    write_labeled_parquet(tmp_path / "train-0.parquet", [0, 1, 2] * 4)
    write_labeled_parquet(tmp_path / "test-0.parquet", [0, 1, 2] * 4)
    train, evaluation = open_images(train_dir=tmp_path)
    assert train.num_images + evaluation.num_images == 12
    with pytest.raises(
        UserError, match="named after the splits test and train, but none of validation.*--eval_split_name"
    ):
        open_images(train_dir=tmp_path, validation_dir=tmp_path)


def test_parquet_files_of_any_one_split_are_what_is_evaluated(labeled_folders, tmp_path):
    write_labeled_parquet(tmp_path / "test-00000-of-00001.parquet", [0, 1, 2] * 2)
    assert open_images(train_dir=labeled_folders / "files", validation_dir=tmp_path)[1].num_images == 6


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_parquet_files_that_datasets_did_not_write(tmp_path, kind):
    images = [encode_color(color, index) for index in range(4) for color in COLORS]
    column = images if kind == "binary" else [{"bytes": image, "path": None} for image in images]
    schema = pyarrow.binary() if kind == "binary" else pyarrow.struct({"bytes": "binary", "path": "string"})
    table = pyarrow.table({"image": pyarrow.array(column, schema), "label": list(range(3)) * 4})
    pyarrow.parquet.write_table(table, tmp_path / "0.parquet")
    train, _ = open_images(train_dir=tmp_path, train_val_split=0.25)
    assert train.label_names == ["0", "1", "2"] and train.num_images == 9
    assert read_row(train.rows[0]["image"]) in images


def test_a_class_folder_without_images_is_named(tmp_path, caplog):
    write_class_folders(tmp_path, num_images=3)
    for name in ("zebra", ".cache"):
        (tmp_path / name).mkdir()
    assert open_images(train_dir=tmp_path)[0].label_names == list(COLORS)
    assert "no images in 'zebra', so" in caplog.text


def test_a_dangling_link_is_named(tmp_path, caplog):
    write_class_folders(tmp_path, num_images=3)
    (tmp_path / "red" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    assert sum(part.num_images for part in open_images(train_dir=tmp_path)) == 9
    assert "red/lost.png is omitted" in caplog.text


@pytest.mark.parametrize("folders", [["train", "val"], ["Training", "testing"]])
def test_folders_of_splits_raise(tmp_path, folders):
    for folder in folders:
        write_class_folders(tmp_path / folder, num_images=2)
    with pytest.raises(UserError, match=rf"folders of splits \({', '.join(folders)}\)"):
        open_images(train_dir=tmp_path)


def test_images_outside_of_class_folders_raise(tmp_path):
    write_class_folders(tmp_path, num_images=2)
    (tmp_path / "lost.png").write_bytes(encode_color("red", 0))
    with pytest.raises(UserError, match=r"1 images, such as lost\.png, .* have no label"):
        open_images(train_dir=tmp_path)


def test_a_folder_without_images_raises(tmp_path):
    with pytest.raises(UserError, match="neither class folders with images nor parquet files"):
        open_images(train_dir=tmp_path)


def test_a_missing_folder_raises(labeled_folders):
    with pytest.raises(UserError, match="--validation_dir must be a folder, got nowhere"):
        open_images(train_dir=labeled_folders / "files", validation_dir="nowhere")


def test_a_damaged_parquet_file_raises(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"half of it")
    with pytest.raises(UserError, match="--train_dir .* cannot be loaded"):
        open_images(train_dir=tmp_path)


def test_a_missing_dataset_raises():
    with pytest.raises(UserError, match="--dataset_name nobody/nothing cannot be loaded"):
        open_images(dataset_name="nobody/nothing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_column_name": "picture"}, "no column 'picture' in .*, only 'image', 'label'.*--image_column_name"),
        ({"label_column_name": "class"}, "no column 'class' in .*, only 'image', 'label'.*--label_column_name"),
        ({"image_column_name": "label"}, "column 'label' of .* must hold images"),
        ({"eval_split_name": "test"}, "has no split 'test', only 'train', 'validation'"),
        ({"eval_split_name": "train"}, "Cannot evaluate on the training images, .* Pass other images"),
    ],
)
def test_missing_columns_and_splits_raise(labeled_folders, arguments, message):
    with pytest.raises(UserError, match=message):
        open_images(dataset_name=str(labeled_folders / "parquet"), **arguments)


@pytest.mark.parametrize("name", ["files/", "link"])
def test_evaluating_on_the_training_images_raises(labeled_folders, tmp_path, name):
    (tmp_path / "link").symlink_to(labeled_folders / "files")
    same = tmp_path / name if name == "link" else f"{labeled_folders}/{name}"
    with pytest.raises(UserError, match="Cannot evaluate on the training images, .* Pass other images"):
        open_images(train_dir=labeled_folders / "files", validation_dir=same)


@pytest.mark.parametrize(("labels", "feature"), [("cab", "string"), ([7, 5, 6], "int64")])
def test_labels_of_other_types_become_classes(tmp_path, labels, feature):
    write_labeled_parquet(tmp_path / "0.parquet", list(labels) * 4, Value(feature))
    assert open_images(train_dir=tmp_path)[0].label_names == [str(label) for label in sorted(labels)]


def test_missing_labels_raise(tmp_path):
    write_labeled_parquet(tmp_path / "0.parquet", [0, 1, 2, None, -1] * 4)
    with pytest.raises(UserError, match="8 of 20 images of .* have no label in the column 'label', such as row 3"):
        open_images(train_dir=tmp_path)


def test_labels_that_are_not_classes_raise(tmp_path):
    write_labeled_parquet(tmp_path / "0.parquet", [0.5, 1.5, 0.5] * 4, Value("float32"))
    with pytest.raises(UserError, match="column 'label' of .* must hold classes"):
        open_images(train_dir=tmp_path)


def test_a_single_class_raises(tmp_path):
    with pytest.raises(UserError, match="has only one class, 'red'"):
        open_images(train_dir=write_class_folders(tmp_path, ["red"]))


def test_a_class_with_a_single_image_is_named(tmp_path):
    write_labeled_parquet(tmp_path / "0.parquet", [0, 1] * 6 + [2])
    with pytest.raises(UserError, match="fewer than 2 images: 'red'.*--validation_dir"):
        open_images(train_dir=tmp_path)


def test_labels_that_are_only_evaluated_raise(labeled_folders, tmp_path):
    write_class_folders(tmp_path, ["red"]).joinpath("red").rename(tmp_path / "violet")
    with pytest.raises(UserError, match="does not have: 'violet'. The model cannot learn"):
        open_images(train_dir=labeled_folders / "files", validation_dir=tmp_path)


@pytest.mark.parametrize(
    ("fraction", "counts", "expected"),
    [(0.15, (100, 100), [15, 15]), (0.5, (4, 0, 6), [2, 0, 3]), (0.01, (4, 4), [1, 1])],
    ids=["same fraction", "a class without images", "at least one of each"],
)
def test_the_same_fraction_of_each_class_is_evaluated(tmp_path, fraction, counts, expected):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    write_labeled_parquet(tmp_path / "0.parquet", labels, ClassLabel(names=COLOR_NAMES[: len(counts)]))
    parts = open_images(train_dir=tmp_path, train_val_split=fraction)
    found = [[list(part.rows["label"]).count(label) for label in range(len(counts))] for part in parts]
    assert found == [[count - number for count, number in zip(counts, expected)], expected]


def test_the_same_fraction_of_each_class_is_chosen(labeled_folders):
    train, evaluation = open_images(train_dir=labeled_folders / "files", max_train_samples=9, max_eval_samples=3)
    assert Counter(train.rows["label"]) == {0: 3, 1: 3, 2: 3}
    assert Counter(evaluation.rows["label"]) == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize("number", [2, 35])
def test_a_number_that_is_not_the_same_fraction_of_each_class_raises(labeled_folders, number):
    with pytest.raises(UserError, match=f"Cannot take {number} of 36 images of .* for --max_train_samples"):
        open_images(train_dir=labeled_folders / "files", max_train_samples=number)


def test_images_are_divided_by_the_seed():
    labels = Features({"label": ClassLabel(names=COLOR_NAMES), "number": Value("int64")})
    rows = Dataset.from_dict({"label": [0, 1, 2] * 10, "number": list(range(30))}, features=labels)
    chosen = [
        set(divide_rows(LabeledRows(rows, "data", 30), 12, seed, "--max_train_samples")[0].rows["number"])
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_streamed_images_are_not_divided(labeled_folders):
    with pytest.raises(UserError, match="Cannot divide streamed images"):
        open_images(train_dir=labeled_folders / "files", streaming=True)


def test_streams_know_their_length(labeled_folders):
    parts = open_images(dataset_name=str(labeled_folders / "parquet"), streaming=True, max_eval_samples=4)
    assert [part.num_images for part in parts] == [36, 4]
    assert len(list(parts[1].rows)) == 4


def test_class_folders_are_streamed(labeled_folders):
    arguments = {"train_dir": labeled_folders / "files", "validation_dir": labeled_folders / "parquet"}
    train, _ = open_images(**arguments, streaming=True)
    assert train.num_images == len(list(train.rows)) == 42 and train.rows.num_shards > 1


def test_streamed_labels_must_be_classes(labeled_folders, tmp_path):
    write_labeled_parquet(tmp_path / "train.parquet", ["a", "b"] * 3, Value("string"))
    with pytest.raises(UserError, match="--streaming: the column 'label' of .* is not a ClassLabel"):
        open_images(train_dir=tmp_path, validation_dir=labeled_folders / "files", streaming=True)


def test_splits_have_at_most_the_wanted_numbers_of_encoded_images(tmp_path):
    features = Features({"photo": Image(), "boxes": Value("int64")})
    for split, number in (("train", 5), ("validation", 4)):
        rows = {"photo": [encode(np.zeros((2, 2), dtype=np.uint8))] * number, "boxes": range(number)}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{split}-0.parquet")
    args = AnnotatedDataArguments(
        dataset_name=str(tmp_path), image_column_name="photo", max_train_samples=3, max_eval_samples=9
    )
    args.label_column_name = "boxes"
    train, evaluation = open_annotated_images(args)
    assert (len(train.rows), len(evaluation.rows)) == (train.num_images, evaluation.num_images) == (3, 4)
    assert train.rows[2]["label"] == 2 and isinstance(train.rows[2]["image"]["bytes"], bytes)
    assert train.description == f"{tmp_path}, split 'train'"


@pytest.mark.parametrize("content", [["zero", "one"], {"1": "one", "0": "zero"}], ids=["list", "dictionary"])
def test_names_of_classes_are_in_the_order_of_their_numbers(tmp_path, content):
    (tmp_path / "names.json").write_text(json.dumps(content))
    assert read_label_names(str(tmp_path / "names.json")) == ["zero", "one"]


@pytest.mark.parametrize("content", ["{}", "[]", '{"1": "one"}', '{"a": "one"}', '"names"', "no JSON"])
def test_files_without_names_of_classes_are_refused(tmp_path, content):
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(UserError, match="--id2label_file .* contains no valid class names"):
        read_label_names(str(tmp_path / "names.json"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Pass --dataset_name"),
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
    model_args = StartArguments(config_name="somewhere", drop_path_rate=0.3)
    description = describe_data(args, (model_args,), load_best_model_at_end=True)
    assert description["eval_description"].startswith(
        "`data`, split 'validation', which were also used to choose the best"
    )
    assert description["settings"] == {"flip": False, "min_scale": 0.75, "max_scale": 1.25, "drop_path_rate": 0.3}
