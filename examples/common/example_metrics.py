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


LOCAL_METRICS = {"accuracy": Accuracy}


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
