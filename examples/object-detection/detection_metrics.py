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
"""Mean average precision, as COCO measures it, by pycocotools."""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection_data import AnnotatedImages


NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100")


def make_ground_truth(images: AnnotatedImages) -> COCO:
    """The objects of all images, which are numbered by their rows."""
    annotations = []
    for index, objects in enumerate(images.rows["objects"]):
        for box, category in zip(objects["bbox"], objects["category"]):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "bbox": list(map(float, box)),
                    "area": float(box[2] * box[3]),
                    "category_id": int(category),
                    "iscrowd": 0,
                }
            )
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": index} for index in range(len(images))],
        "categories": [{"id": index, "name": name} for index, name in enumerate(images.label_names)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def measure(ground_truth: COCO, indices: np.ndarray, detections: np.ndarray) -> dict[str, float]:
    """
    Average precisions and recalls.

    Args:
        ground_truth (`COCO`):
            From [`make_ground_truth`].
        indices (`np.ndarray` of shape `(num_images,)`):
            Rows of the images.
        detections (`np.ndarray` of shape `(num_images, num_detections, 6)`):
            Score, category, left, top, right and bottom in pixels, of each detection.

    Returns:
        `dict[str, float]`: by the names of COCO; -1 where there is no such object.
    """
    results = [
        np.array([index, left, top, right - left, bottom - top, score, category])
        for index, of_image in zip(indices, detections.astype(np.float64))
        for score, category, left, top, right, bottom in of_image
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(np.stack(results)), "bbox")
        evaluation.params.imgIds = sorted(set(map(int, indices)))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, map(float, evaluation.stats)))
