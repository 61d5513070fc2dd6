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
Run a pre-training script with one decoder for all stages instead of one decoder per stage.

    python run_fusion.py ../../examples/pretraining/run_pretraining_no_trainer.py ...

The tokens of every stage are normalized, and the tokens of each mask unit are concatenated. One linear layer per stage
projects them, and the decoder of the last stage adds the result to the unit's embedding.
"""

import runpy
import sys

import torch
from torch import nn

from modeling_greenmim import GreenMimConfig, publish
from modeling_greenmim.reconstruction_greenmim import DECODERS, GreenMimDecoder
from modeling_greenmim.training.evaluation import Evaluation


fused: list[torch.Tensor] = []  # of the stages so far, each of shape `(batch_size, num_units, decoder_hidden_size)`


class FusedStage(nn.Module):
    """Replaces the decoder of an earlier stage, and keeps the stage's tokens for the last decoder."""

    def __init__(self, config: GreenMimConfig, stage: int):
        super().__init__()
        hidden_size, unit_side = config.hidden_sizes[stage], config.mask_unit_size // config.get_cell_size(stage)
        self.num_cells = unit_side**2
        self.layernorm = nn.LayerNorm(hidden_size, eps=config.layer_norm_eps)
        self.projection = nn.Linear(self.num_cells * hidden_size, config.decoder_hidden_size)

    def predict(self, hidden_states, pixel_values, visible_units, predicted_units):
        cells = self.layernorm(hidden_states)
        fused.append(self.projection(cells.unflatten(1, (-1, self.num_cells)).flatten(2)))
        return None, None


class FusingDecoder(GreenMimDecoder):
    def decode(self, hidden_states, *args):
        hidden_states = sum(fused, start=hidden_states)
        fused.clear()
        return super().decode(hidden_states, *args)


def make_decoder(config: GreenMimConfig, stage: int | None = None) -> nn.Module:
    return FusingDecoder(config) if stage is None else FusedStage(config, stage)


if __name__ == "__main__":
    DECODERS["self"] = make_decoder
    Evaluation.save_pictures = lambda *args: None  # they would be drawn with the cells of the first stage
    publish._check_folder = lambda *args: None  # the classes of the folder have no such decoder
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
