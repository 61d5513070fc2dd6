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
"""The dataset for segmentation and detection."""

import numpy as np
from datasets import load_dataset

from tests.helpers.scripts import import_script


def test_masks_and_boxes_are_exact(pasted_digits):
    rows = load_dataset(str(pasted_digits))["train"]
    for row in rows:
        classes = np.asarray(row["annotation"])
        assert row["image"].size == (row["width"], row["height"]) == classes.shape[::-1]
        assert set(np.unique(classes)) == {0, *(category + 1 for category in row["objects"]["category"])}
        assert sum(row["objects"]["area"]) == (classes > 0).sum()
        for box, category in zip(row["objects"]["bbox"], row["objects"]["category"]):
            left, top, width, height = map(int, box)
            inside = classes[top : top + height, left : left + width] == category + 1
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()


def test_images_differ_in_size(pasted_digits):
    rows = load_dataset(str(pasted_digits))["train"]
    assert len(set(zip(rows["width"], rows["height"]))) > 15


def test_no_digit_and_no_part_of_a_photograph_is_in_two_splits(monkeypatch):
    make_pasted_digits = import_script("experiments/pasted_digits/make_pasted_digits.py")
    seen = []

    def record(rng, photographs, digits):
        seen.append(({ink.tobytes() for ink, _ in digits}, photographs[0].shape[1]))
        return np.zeros((64, 64, 3), dtype=np.uint8), []

    monkeypatch.setattr(make_pasted_digits, "make_image", record)
    make_pasted_digits.make_split("train", 1, 0)
    make_pasted_digits.make_split("validation", 1, 0)
    (train_digits, train_width), (eval_digits, eval_width) = seen
    assert not train_digits & eval_digits
    assert train_width + eval_width == 640
