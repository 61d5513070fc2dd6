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
"""Features of a frozen teacher."""

import pytest
import torch
from transformers import ConvNextV2Config, ConvNextV2Model, SwinConfig, SwinModel, ViTConfig, ViTModel

from modeling_greenmim import GreenMimImageProcessorPil
from modeling_greenmim.frozen_teacher import Teacher, load_teacher


IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALVES = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
SWIN = SwinConfig(image_size=32, embed_dim=8, depths=(1, 1), num_heads=(1, 1), window_size=4)


def test_the_teacher_sees_the_images_with_its_own_normalization():
    images = torch.rand(2, 3, 32, 32)
    mean, std, teacher_mean, teacher_std = (torch.tensor(v).view(-1, 1, 1) for v in (*IMAGENET, *HALVES))
    model = SwinModel(SWIN).eval()
    expected = model((images - teacher_mean) / teacher_std).pooler_output
    features = Teacher(model, IMAGENET, HALVES)((images - mean) / std)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (SwinModel(SWIN), 16),
        (SwinModel(SWIN, add_pooling_layer=False), 16),
        (ViTModel(ViTConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=32)), 12),
        (ConvNextV2Model(ConvNextV2Config(hidden_sizes=[4, 4, 4, 6], depths=[1, 1, 1, 1])), 6),
    ],
    ids=["pooled", "tokens", "ViT", "convolutions"],
)
def test_features_are_one_vector_for_each_image(model, size):
    assert Teacher(model, HALVES, HALVES)(torch.randn(2, 3, 32, 32)).shape == (2, size)


def test_no_gradient_reaches_the_teacher_and_training_does_not_change_it():
    teacher = Teacher(ViTModel(ViTConfig(num_hidden_layers=1, image_size=32, hidden_dropout_prob=0.5)), HALVES, HALVES)
    teacher.train()
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    assert not teacher(images).requires_grad
    assert torch.equal(teacher(images), teacher(images))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teacher_is_loaded_with_its_normalization_and_size(tmp_path):
    SwinModel(SWIN).save_pretrained(tmp_path)
    GreenMimImageProcessorPil(image_mean=HALVES[0], image_std=HALVES[1]).save_pretrained(tmp_path)
    teacher, hidden_size = load_teacher(tmp_path, IMAGENET, num_channels=3, image_size=(32, 32))
    assert hidden_size == 16
    torch.testing.assert_close(teacher.scale.flatten(), torch.tensor(IMAGENET[1]) / 0.5)


def test_a_teacher_without_a_processor_has_the_normalization_of_the_student(tmp_path):
    SwinModel(SWIN).save_pretrained(tmp_path)
    teacher, _ = load_teacher(tmp_path, IMAGENET, num_channels=3, image_size=(32, 32))
    assert (teacher.scale == 1).all() and (teacher.shift == 0).all()


@pytest.mark.parametrize("kind", ["missing", "channels"])
def test_a_teacher_that_gives_no_features_is_a_clear_error(tmp_path, kind):
    if kind == "channels":
        SwinModel(SWIN).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="as a teacher because it returns no features for 1 x 32 x 32 images"):
        load_teacher(tmp_path, ([0.5], [0.5]), num_channels=1, image_size=(32, 32))
