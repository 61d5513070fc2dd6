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
"""Arguments that the pre-training scripts and [`pretrain`] share, with the names of transformers' `run_mim_no_trainer.py`."""

from dataclasses import dataclass
from typing import Literal

import PIL.Image
from transformers.hf_argparser import HfArg

from .command_line import check_range
from .errors import UserError


@dataclass
class DataArguments:
    """Which images to learn from. One of `train_dir`, `data_files` and `dataset_name` is needed."""

    train_dir: str | None = HfArg(default=None, help="Folder of images, of parquet files, or of tars (WebDataset).")
    data_files: list[str] | None = HfArg(
        default=None,
        help="Images, parquet files or tars; also patterns ('data/*.parquet') and addresses (hf://, ...).",
    )
    dataset_name: str | None = HfArg(default=None, help="Dataset on the Hub, which is streamed, or a local folder.")
    dataset_config_name: str | None = HfArg(default=None, help="Configuration of the dataset on the Hub.")
    dataset_split: str = HfArg(default="train", help="Split on the Hub; of files in a folder, how their names begin.")
    image_column_name: str | None = HfArg(
        default=None,
        help="Column of the images (in tars, the extension). Without it, 'image' or the only one of images.",
    )
    label_column_name: str | None = HfArg(default=None, help="Column of labels, for --knn. Of files: their folders.")
    validation_dir: str | None = HfArg(default=None, help="Images to evaluate on. Without it, some are held out.")
    train_val_split: float = HfArg(default=0.1, help="Fraction of the images to hold out, up to --max_eval_samples.")
    max_eval_samples: int = HfArg(
        default=256, help="Most images to hold out. At least 8 are, unless that is more than half. 0: none."
    )
    streaming: bool = HfArg(
        default=False,
        help="Stream also local parquet files, as tars, addresses and the Hub always are. A streamed run resumes only with the "
        "same number of processes and workers.",
    )
    shuffle_buffer_size: int = HfArg(
        default=1,
        help="Streamed images to shuffle at a time, for shards with sorted images. With 1, only shards are shuffled; from 2 on, a "
        "resumed run does not continue with exactly the same images.",
    )
    min_crop_scale: float = HfArg(default=0.2, help="Smallest fraction of the area of an image that a crop covers.")
    flip: bool = HfArg(default=True, help="Flip half of the images.")
    max_unreadable: float = HfArg(
        default=0.05,
        help="Fraction of images (in a stream, of those read so far) that may be unreadable; ten always may. They are skipped, "
        "named and counted; if there are more, the run stops.",
    )
    max_pixels: int = HfArg(default=50_000_000, help="Height times width above which an image counts as unreadable.")
    public_pictures: bool = HfArg(
        default=False,
        help="Let a model folder that is uploaded publicly show held-out images and their reconstructions.",
    )
    allow_external_files: bool = HfArg(
        default=False, help="Open files and addresses that rows name instead of images. Only for data that you trust."
    )

    def __post_init__(self):
        given = [f"--{name}" for name in ("train_dir", "data_files", "dataset_name") if getattr(self, name)]
        if len(given) != 1:
            got = f", not {' and '.join(given)}" if given else ""
            raise UserError(f"Give {'one of ' if given else ''}--train_dir, --data_files or --dataset_name{got}.")
        check_range(self, "max_eval_samples", 0)
        check_range(self, "shuffle_buffer_size", 1)
        check_range(self, "max_unreadable", 0, 1)
        check_range(self, "max_pixels", 1, 2 * PIL.Image.MAX_IMAGE_PIXELS)  # PIL refuses larger ones itself
        check_range(self, "train_val_split", 0, 1)
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"--min_crop_scale must be above 0 and at most 1, got {self.min_crop_scale}.")


@dataclass
class ModelArguments:
    """Which model to train: a new one, or one that was trained before; and how its images are masked."""

    model_name_or_path: str | None = HfArg(
        default=None, help="Model to start from, a folder or a name on the Hub: GreenMIM, or any Swin for its encoder."
    )
    config_name_or_path: str | None = HfArg(
        default=None, help="Configuration of a new model, a file or a folder. By default that of a Swin-B."
    )
    config_overrides: str | None = HfArg(default=None, help="Changes, such as 'window_size=4,mlp_ratio=3'.")
    image_processor_name: str | None = HfArg(
        default=None, help="Image processor. By default that of the model, or one with the statistics of ImageNet."
    )
    image_size: int | None = HfArg(default=None, help="Side of the crops. By default that of the configuration.")
    mask_ratio: float | None = HfArg(default=None, help="Fraction of units to hide. By default that configured.")
    mask_sampler: Literal["random", "block", "uniform"] = HfArg(default="random", help="How masks are drawn.")
    mask_per_sample: bool = HfArg(default=True, help="A mask for each image; without it, those of a batch share one.")
    masks_per_image: int = HfArg(
        default=1,
        help="Masks of an image in a step, which show different units. More than 1 pay where decoding images is the bottleneck; "
        "batches are as many times larger.",
    )
    teacher_model_name_or_path: str | None = HfArg(
        default=None,
        help="Frozen model, a folder or a name on the Hub, whose features of the whole images are predicted, too: any vision model "
        "that AutoModel loads. --config_overrides 'reconstruction_weight=0' predicts them only.",
    )

    def __post_init__(self):
        if self.model_name_or_path and self.config_name_or_path:
            raise UserError(
                "Give --model_name_or_path or --config_name_or_path, not both: --config_overrides changes the first."
            )
        check_range(self, "masks_per_image", 1)
        if self.masks_per_image > 1 and (self.mask_sampler != "random" or not self.mask_per_sample):
            raise UserError(
                f"--masks_per_image must be 1 with a sampler other than random, or a mask for a whole batch, got {self.masks_per_image}. Use "
                "--mask_sampler random and --mask_per_sample."
            )
