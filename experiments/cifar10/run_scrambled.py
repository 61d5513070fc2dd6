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
Run a pre-training script with a decoder that places visible latents at wrong units, as in the original implementation.

    python run_scrambled.py ../../examples/pretraining/run_pretraining_no_trainer.py ...

In that implementation, the encoder returns the latents in ascending unit order, but the decoder places them as if they
were in the order in which the units were drawn. Each latent lands at a random visible unit.
"""

import runpy
import sys

import torch

from modeling_greenmim.reconstruction_greenmim import GreenMimDecoder


def scramble(visible_indices: torch.Tensor) -> torch.Tensor:
    """Shuffle the visible units of each image, of shape `(batch_size, num_visible_units)`."""
    order = torch.rand(visible_indices.shape, device=visible_indices.device).argsort(dim=1)
    return visible_indices.gather(1, order)


def scramble_latents(decoder_class: type[GreenMimDecoder]):
    """Make all decoders of a class place the visible latents at random visible units."""
    forward = decoder_class.forward

    def forward_scrambled(self, hidden_states, visible_indices, *args):
        if visible_indices is not None:
            visible_indices = scramble(visible_indices)
        return forward(self, hidden_states, visible_indices, *args)

    decoder_class.forward = forward_scrambled


if __name__ == "__main__":
    scramble_latents(GreenMimDecoder)
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
