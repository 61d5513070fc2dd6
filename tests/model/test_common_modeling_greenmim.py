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
"""
Hugging Face's common model, backbone and configuration tests on the classes of this package.

Each override states its reason. Other skips (no GPU, no text modality, no tied weights, ...) come from the common
tests.
"""

import unittest
from unittest.mock import patch

import pytest
import torch
from transformers.models.auto import modeling_auto

from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    sample_masks,
)
from tests.helpers.transformers_tests import import_or_skip


test_modeling_common = import_or_skip("test_modeling_common")
test_backbone_common = import_or_skip("test_backbone_common")
test_configuration_common = import_or_skip("test_configuration_common")

# the common tests look up the inputs of a class by name
CLASS_NAMES = {
    "MODEL_MAPPING_NAMES": GreenMimModel,
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": GreenMimForImageClassification,
    "MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES": GreenMimForMaskedImageModeling,
    "MODEL_FOR_BACKBONE_MAPPING_NAMES": GreenMimBackbone,
}


@pytest.fixture(autouse=True)
def names_of_our_classes(monkeypatch):
    for table, model_class in CLASS_NAMES.items():
        monkeypatch.setitem(getattr(modeling_auto, table), "greenmim", model_class.__name__)


class GreenMimModelTester:
    """Two stages of regular and shifted windows, 16 x 16 patches, and absolute position embeddings."""

    batch_size, num_channels, image_size, patch_size = 3, 3, 32, 2
    window_size, num_stages = 4, 2
    is_training = True
    # attributes that the common tests read
    num_hidden_layers = num_stages
    num_attention_heads = 2
    hidden_size = 16
    seq_length = (image_size // patch_size) ** 2
    num_masks, mask_length = 40, 64  # hidden of all mask units

    def __init__(self, parent):
        self.parent = parent

    def get_config(self):
        return GreenMimConfig(
            image_size=self.image_size,
            patch_size=self.patch_size,
            num_channels=self.num_channels,
            embed_dim=self.hidden_size,
            depths=(2, 2),
            num_heads=(2, 4),
            window_size=self.window_size,
            use_absolute_embeddings=True,
            decoder_hidden_size=32,
            decoder_num_attention_heads=4,
            decoder_intermediate_size=64,
            out_features=["stage1", "stage2"],
        )

    def prepare_config_and_inputs_for_common(self):
        pixel_values = torch.randn(self.batch_size, self.num_channels, self.image_size, self.image_size)
        return self.get_config(), {"pixel_values": pixel_values}


class GreenMimConfigTest(unittest.TestCase):
    def test_config(self):
        # `hidden_size` cannot be set: it follows from `embed_dim`
        tester = test_configuration_common.ConfigTester(
            self,
            config_class=GreenMimConfig,
            has_text_modality=False,
            common_properties=["image_size", "patch_size", "num_channels"],
            embed_dim=37 * 4,
        )
        tester.run_common_tests()


class GreenMimModelTest(test_modeling_common.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (
        GreenMimModel,
        GreenMimForImageClassification,
        GreenMimForMaskedImageModeling,
        GreenMimBackbone,
    )
    test_resize_embeddings = False  # of tokens
    has_attentions = True

    def setUp(self):
        self.model_tester = GreenMimModelTester(self)

    def without(self, model_class):
        classes = tuple(each for each in self.all_model_classes if each is not model_class)
        return patch.object(type(self), "all_model_classes", classes)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        """Replace a mask that hides nothing, which is an error here, by one that hides something."""
        inputs_dict = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        if "bool_masked_pos" in inputs_dict and not inputs_dict["bool_masked_pos"].any():
            units = self.model_tester.image_size // self.model_tester.get_config().mask_unit_size
            mask = sample_masks(self.model_tester.batch_size, (units, units), mask_ratio=0.6, seed=0)
            inputs_dict["bool_masked_pos"] = torch.from_numpy(mask)
        return inputs_dict

    def test_attention_outputs(self):
        """
        Attention is inside windows, so its length differs from the hidden states', and hidden states come in two
        shapes, as Swin's do. A backbone's hidden states are feature maps, which have separate tests.
        """
        tester = {"seq_length": self.model_tester.window_size**2, "num_hidden_states_types": 2}
        with patch.multiple(GreenMimModelTester, create=True, **tester), self.without(GreenMimBackbone):
            super().test_attention_outputs()

    def test_hidden_states_output(self):
        """A backbone's hidden states are feature maps, which have separate tests."""
        with self.without(GreenMimBackbone):
            super().test_hidden_states_output()

    def test_reverse_loading_mapping(self):
        """GreenMIM's conversions change values (position tables for a different window or image size), not names."""
        super().test_reverse_loading_mapping(check_keys_were_modified=False)

    def test_model_get_set_embeddings(self):
        """The input embeddings are a convolution, not an `nn.Embedding`."""
        config = self.model_tester.get_config()
        for model_class in self.all_model_classes:
            model = model_class(config)
            assert isinstance(model.get_input_embeddings().projection, torch.nn.Conv2d)
            assert model.get_output_embeddings() is None

    @unittest.skip(reason="there is no `inputs_embeds`: the model sees pixels")
    def test_inputs_embeds(self):
        pass

    @unittest.skip(reason="there is no feed forward chunking, as in Swin")
    def test_feed_forward_chunking(self):
        pass


class GreenMimBackboneTest(test_backbone_common.BackboneTesterMixin, unittest.TestCase):
    all_model_classes = (GreenMimBackbone,)
    config_class = GreenMimConfig

    def setUp(self):
        self.model_tester = GreenMimModelTester(self)
