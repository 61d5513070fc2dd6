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
"""Hugging Face's common image processor tests on both backends; torchvision is tested if it can be imported."""

import unittest
from unittest.mock import patch

import PIL.Image
import pytest

# without torchvision, the class at the top level of transformers 5.17 is a placeholder
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import is_torchvision_available

from modeling_greenmim import GreenMimImageProcessorPil
from tests.helpers.transformers_tests import import_or_skip


test_image_processing_common = import_or_skip("test_image_processing_common")

IMAGE_PROCESSORS = {"pil": GreenMimImageProcessorPil}
if is_torchvision_available():
    from modeling_greenmim import GreenMimImageProcessor

    IMAGE_PROCESSORS["torchvision"] = GreenMimImageProcessor


@pytest.fixture(autouse=True)
def without_the_hub_and_torchvision(monkeypatch):
    monkeypatch.setattr(test_image_processing_common, "AutoImageProcessor", AutoImageProcessor)
    image = PIL.Image.effect_mandelbrot((640, 480), (-2, -1.2, 0.8, 1.2), 60).convert("RGB")
    monkeypatch.setattr(test_image_processing_common, "load_test_image", lambda url: image)


class GreenMimImageProcessingTester(test_image_processing_common.ImageProcessingTester):
    batch_size, num_channels, min_resolution, max_resolution = 7, 3, 30, 400
    size = {"height": 64, "width": 96}
    image_processing_classes = IMAGE_PROCESSORS

    def __init__(self, parent):
        self.parent = parent

    def prepare_image_processor_dict(self):
        # seeded, so that both backends and repeated calls draw the same masks
        return {
            "size": self.size,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "do_mask": True,
            "mask_ratio": 0.6,
            "mask_seed": 0,
        }


class GreenMimImageProcessingTest(test_image_processing_common.ImageProcessingTestMixin, unittest.TestCase):
    image_processor_tester_class = GreenMimImageProcessingTester
    # the names that the tests read, in every tested release
    image_processing_classes = IMAGE_PROCESSORS
    image_processor_dict = GreenMimImageProcessingTester(None).prepare_image_processor_dict()
    # images are enlarged by a bicubic filter, whose two implementations differ by up to this at edges, a few per mille
    # in the mean
    backend_equivalence_atol = 0.3

    def setUp(self):
        self.image_processor_tester = GreenMimImageProcessingTester(self)

    def test_call_numpy_4_channels(self):
        """Without conversion to RGB, four channels stay four; the test in 5.17 assumes a conversion."""
        with patch.dict(self.image_processor_dict, do_convert_rgb=False):
            super().test_call_numpy_4_channels()

    @unittest.skipUnless(is_torchvision_available(), "there is a torchvision backend, but no torchvision here")
    def test_new_models_require_torchvision_backend(self):
        super().test_new_models_require_torchvision_backend()
