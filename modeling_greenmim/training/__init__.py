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
"""Training library, installed by `pip install "modeling-greenmim[training]"`, not loaded by `import modeling_greenmim`.

In the loader's workers, bytes become the micro-batch that the model takes:

    folders, parquet files          image_files     groups of encoded images: one file, or one row group
      |                             image_order     image number -> epoch, group and row
      v
    image bytes                     image_decoding  upright, in the model's channels; cropped, resized, flipped
      |
      v
    crops                           micro_batches   rescaled, masked and planned; the loader state is one number
      |
      v
    {"inputs", "image_weights"}     the model, and `get_weighted_loss`

Images that cannot be read by number (the Hub, tars, URLs, `--streaming`) take `image_streams` instead of the first rows.

Around it, `pretraining_setup` opens the images and the model that `pretraining_arguments` name; `progress` and
`evaluation` measure the run; `checkpoints` writes atomically into the `run_folder`; `stop_signals` and `errors` end
the run; `reports` describes it. `pretraining_trainer`, `trainer` and `fine_tuning` use transformers' Trainer. In one call:

    from modeling_greenmim.training import pretrain
    pretrain(train_dir="path/to/images", output_dir="my_run")
"""

__all__ = ["pretrain"]


def __getattr__(name: str):
    if name != "pretrain":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .pretraining_trainer import pretrain  # imported on use: it needs torch and all training dependencies

    return pretrain
