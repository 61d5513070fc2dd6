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
"""Pasted digits, tiny backbones, and a fresh Accelerate state for runs in this process."""

import sys

import pytest

from tests.helpers.scripts import import_script


@pytest.fixture(scope="session")
def pasted_digits(tmp_path_factory):
    """Create a segmentation and detection dataset with 20 training and 7 evaluation images."""
    folder = tmp_path_factory.mktemp("pasted_digits")
    command = f"make_pasted_digits.py --output_dir {folder} --num_train_images 20 --num_eval_images 7"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command.split())
        import_script("experiments/pasted_digits/make_pasted_digits.py").main()
    return folder


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory):
    """Create the folders `greenmim`, `greenmim_v2`, `twins` and `swin` with random weights, and `config`."""
    import torch
    from transformers import SwinConfig, SwinModel

    from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling
    from tests.helpers.tiny_models import FAMILIES

    folder = tmp_path_factory.mktemp("backbones")
    encoder = {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": (1, 1, 1),
        "num_heads": (1, 2, 4),
        "window_size": 4,
    }
    decoder = {"decoder_hidden_size": 16, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32}
    config = GreenMimConfig(**encoder, **decoder)
    config.save_pretrained(folder / "config")
    torch.manual_seed(0)
    GreenMimForMaskedImageModeling(config).save_pretrained(folder / "greenmim")
    SwinModel(SwinConfig(**encoder)).save_pretrained(folder / "swin")
    config = GreenMimConfig(**encoder, **decoder, **FAMILIES["swin_v2"])
    GreenMimForMaskedImageModeling(config).save_pretrained(folder / "greenmim_v2")
    config = GreenMimConfig(**{**encoder, **decoder, **FAMILIES["twins"], "depths": (2, 1, 2)})
    GreenMimForMaskedImageModeling(config).save_pretrained(folder / "twins")
    return folder
