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
"""Auto classes, pipelines, and a transformers model with a GreenMIM backbone."""

import importlib

import PIL.Image
import pytest
import torch
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForMaskedImageModeling,
    AutoModelForPreTraining,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    pipeline,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor

import modeling_greenmim
from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessorPil,
    GreenMimModel,
)
from tests.helpers.tiny_models import make_config


def test_auto_classes_make_our_models():
    config = AutoConfig.for_model("greenmim", embed_dim=16, depths=(2, 2), num_heads=(1, 2), out_features=["stage1"])
    importlib.reload(modeling_greenmim)  # registering twice is no error
    for auto_class, model_class in {
        AutoModel: GreenMimModel,
        AutoModelForMaskedImageModeling: GreenMimForMaskedImageModeling,
        AutoModelForPreTraining: GreenMimForMaskedImageModeling,
        AutoModelForImageClassification: GreenMimForImageClassification,
        AutoBackbone: GreenMimBackbone,
    }.items():
        assert type(auto_class.from_config(config)) is model_class


def save_image_processor(folder, **settings):
    size = {"height": 64, "width": 64}
    GreenMimImageProcessorPil(size=size, crop_size=size, mask_unit_size=8, **settings).save_pretrained(folder)


def test_pipelines_run_on_saved_folders(tmp_path):
    config = make_config(
        num_labels=3, id2label={0: "cat", 1: "dog", 2: "owl"}, label2id={"cat": 0, "dog": 1, "owl": 2}
    )
    GreenMimForImageClassification(config).save_pretrained(tmp_path)
    save_image_processor(tmp_path)
    image = PIL.Image.effect_noise((80, 60), 50)
    features = pipeline("image-feature-extraction", model=str(tmp_path))(image)
    assert torch.tensor(features).shape == (1, 64, 64)
    scores = pipeline("image-classification", model=str(tmp_path))(image)
    assert {score["label"] for score in scores} == {"cat", "dog", "owl"}
    assert sum(score["score"] for score in scores) == pytest.approx(1.0, abs=1e-5)
    assert isinstance(AutoImageProcessor.from_pretrained(tmp_path, backend="pil"), GreenMimImageProcessorPil)


def test_pipelines_need_an_image_processor_that_does_not_mask(tmp_path):
    """A masking image processor would hide most of every image in a pipeline: a classifier raises, with a remedy."""
    GreenMimForImageClassification(make_config(num_labels=3)).save_pretrained(tmp_path)
    save_image_processor(tmp_path, do_mask=True)
    image = PIL.Image.effect_noise((80, 60), 50)
    classify = pipeline("image-classification", model=str(tmp_path))
    with pytest.raises(ValueError, match=r"bool_masked_pos.*image classifier.*from_pretrained\(..., do_mask=False\)"):
        classify(image)
    extract = pipeline("image-feature-extraction", model=str(tmp_path))
    assert torch.tensor(extract(image)).shape == (1, 16, 64)  # of the visible units, as requested
    image_processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil", do_mask=False)
    classify = pipeline("image-classification", model=str(tmp_path), image_processor=image_processor)
    assert len(classify(image)) == 3


@pytest.mark.parametrize("window_size", [4, 6])
def test_upernet_trains_on_our_backbone(tmp_path, window_size):
    """Uses images of an odd size; the model is trained, saved and loaded with a different window size."""
    backbone_config = make_config(depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), out_indices=[1, 2, 3, 4])
    config = UperNetConfig(backbone_config=backbone_config, hidden_size=32, use_auxiliary_head=False, num_labels=3)
    model = UperNetForSemanticSegmentation(config)
    pixel_values, labels = torch.randn(2, 3, 75, 101), torch.randint(3, (2, 75, 101))
    model(pixel_values, labels=labels).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval().save_pretrained(tmp_path)
    config = UperNetConfig.from_pretrained(tmp_path)
    config.backbone_config.window_size = window_size
    again = UperNetForSemanticSegmentation.from_pretrained(tmp_path, config=config).eval()
    with torch.no_grad():
        difference = (again(pixel_values).logits - model(pixel_values).logits).abs().max()
    assert (difference == 0) == (window_size == 4)
