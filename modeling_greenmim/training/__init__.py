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
"""The training library, installed by `pip install "modeling-greenmim[training]"`; `import modeling_greenmim` does not import it.

From the first byte to the micro-batch that the model takes, in the workers of a loader:

    folders, parquet files          image_files     groups of encoded images: a file, or a row group
      |                             image_order     number of an image -> epoch, group and row
      v
    bytes of an image               image_decoding  upright, in the channels of the model; a random part, resized and flipped
      |
      v
    crops                           micro_batches   rescaled, masked and planned; one number is the state of the loader
      |
      v
    {"inputs", "image_weights"}     the model, and `get_weighted_loss`

Where images cannot be read by number (the Hub, tars, addresses, `--streaming`), `image_streams` stands for the first three rows.

Around the training: `pretraining_setup` opens what a run starts from, named by `pretraining_arguments`; `progress` and `evaluation`
measure it; `checkpoints` are written whole or not at all, in a `run_folder` of one run; `stop_signals` and `errors` end it, and
`reports` describe it. With transformers' Trainer: `pretraining_trainer`, `trainer`, `fine_tuning`. In one call:

    from modeling_greenmim.training import pretrain
    pretrain(train_dir="path/to/images", output_dir="my_run")
"""

__all__ = ["pretrain"]


def __getattr__(name: str):
    if name != "pretrain":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .pretraining_trainer import pretrain  # only then: it imports torch and all that training needs

    return pretrain
