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
"""Metrics of `evaluate`: those of the Hub, or where it cannot be reached, the same ones from here."""

import datasets
import evaluate
import numpy as np
from transformers.utils import logging


logger = logging.get_logger(f"transformers.{__name__}")  # under transformers' verbosity


class Accuracy(evaluate.Metric):
    """Share of the predictions that are right."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description="Predicted and true classes, as integers.",
            features=datasets.Features(
                {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
            ),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.equal(predictions, references)))}


class MeanIou(evaluate.Metric):
    """Intersection over union of predicted and true pixels of each class, and their mean."""

    def _info(self) -> evaluate.MetricInfo:
        pixels = datasets.Sequence(datasets.Sequence(datasets.Value("uint16")))
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description="Predicted and true classes of the pixels of each image, as rows of integers.",
            features=datasets.Features({"predictions": pixels, "references": pixels}),
        )

    def _compute(self, predictions, references, num_labels: int, ignore_index: int, reduce_labels: bool = False):
        if reduce_labels:
            raise ValueError("Labels are reduced where the images are read, not here.")
        confusion = np.zeros((num_labels, num_labels), dtype=np.int64)
        for prediction, reference in zip(predictions, references):
            prediction, reference = np.asarray(prediction).ravel(), np.asarray(reference).ravel()
            counts = reference != ignore_index
            pairs = num_labels * reference[counts].astype(np.int64) + prediction[counts]
            confusion += np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels)
        intersection, of_class = confusion.diagonal(), confusion.sum(axis=1)
        union = of_class + confusion.sum(axis=0) - intersection
        with np.errstate(invalid="ignore"):  # of classes that are nowhere
            iou, accuracy = intersection / union, intersection / of_class
        return {
            "mean_iou": float(np.nanmean(iou)),
            "mean_accuracy": float(np.nanmean(accuracy)),
            "overall_accuracy": float(intersection.sum() / confusion.sum()),
            "per_category_iou": iou,
            "per_category_accuracy": accuracy,
        }


LOCAL_METRICS = {"accuracy": Accuracy, "mean_iou": MeanIou}


def load_metric(name: str) -> evaluate.EvaluationModule:
    """
    Loads a metric.

    Args:
        name (`str`):
            Its name on the Hub, one of `LOCAL_METRICS`.

    Example:

    ```python
    >>> load_metric("accuracy").compute(predictions=[0, 1], references=[0, 0])
    {'accuracy': 0.5}
    ```"""
    try:
        return evaluate.load(name)
    except (OSError, ImportError) as error:
        logger.warning(
            f"The metric {name!r} cannot be had from the Hub ({type(error).__name__}): using the one of this project."
        )
        return LOCAL_METRICS[name]()
