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
"""LoRA with peft: adapters are trained, saved and merged."""

import pytest
import torch

from modeling_greenmim import (
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
)
from tests.helpers.tiny_models import make_config, make_inputs


def test_lora_trains_and_is_saved_and_merged(tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = GreenMimForImageClassification(make_config(num_labels=2))
    model.save_pretrained(tmp_path / "base")
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    )
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(names) == 6 * 2 * 2 + 2  # layers, projections, factors; classifier
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    pixel_values, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 0, 1])
    losses = []
    for _ in range(10):
        loss = adapted(pixel_values=pixel_values, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    adapted.eval().save_pretrained(tmp_path / "adapter")
    base = GreenMimForImageClassification.from_pretrained(tmp_path / "base")
    again = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = adapted(pixel_values=pixel_values).logits
        torch.testing.assert_close(again(pixel_values=pixel_values).logits, expected)
        torch.testing.assert_close(again.merge_and_unload()(pixel_values).logits, expected, rtol=1e-4, atol=1e-5)


def test_lora_trains_only_adapters_in_pretraining():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        GreenMimForMaskedImageModeling(make_config()), peft.LoraConfig(r=4, target_modules=r"greenmim\..*\.[qv]_proj")
    )
    pixel_values, mask, _ = make_inputs(model.config)
    model(pixel_values=pixel_values, bool_masked_pos=mask).loss.backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert len(trained) == 6 * 2 * 2 and all("lora_" in name for name in trained)
