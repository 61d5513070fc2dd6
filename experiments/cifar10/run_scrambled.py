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
"""Pre-trains a GreenMIM model whose decoder gets the visible latents at the wrong units, as in the original implementation.

There, the encoder returns the latents in ascending order of their units, and the decoder places them as if they came in the order
in which the units were drawn: a latent lands at a random one of the visible units. This script is an experiment: what does that
cost? Arguments are those of examples/pretraining/run_pretraining_no_trainer.py.
"""

import torch

from modeling_greenmim.modeling_greenmim import GreenMimDecoder

import run_pretraining_no_trainer


def scramble(visible_indices: torch.Tensor) -> torch.Tensor:
    """Puts the visible units of each image, of shape `(batch_size, num_visible_units)`, into a random order."""
    order = torch.rand(visible_indices.shape, device=visible_indices.device).argsort(dim=1)
    return visible_indices.gather(1, order)


def main():
    place_latents = GreenMimDecoder.forward

    def forward(self, hidden_states, visible_indices, grid_size, *args):
        if visible_indices is not None:
            visible_indices = scramble(visible_indices)
        return place_latents(self, hidden_states, visible_indices, grid_size, *args)

    GreenMimDecoder.forward = forward
    run_pretraining_no_trainer.main()


if __name__ == "__main__":
    main()
