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
"""Arguments of the pre-training scripts and [`pretrain`], named as in transformers' `run_mim_no_trainer.py`."""

from dataclasses import dataclass
from typing import Literal

import PIL.Image
from transformers.hf_argparser import HfArg

from .command_line import check_range
from .errors import UserError


@dataclass
class DataArguments:
    """Images to train on. Exactly one of `train_dir`, `data_files` and `dataset_name` is required."""

    train_dir: str | None = HfArg(default=None, help="Folder of images, parquet files or tars (WebDataset).")
    data_files: list[str] | None = HfArg(
        default=None,
        help="Image files, parquet files or tars, given by paths, patterns ('data/*.parquet') or URLs (hf://, ...).",
    )
    dataset_name: str | None = HfArg(default=None, help="Dataset on the Hub, which is streamed, or a local folder.")
    dataset_config_name: str | None = HfArg(default=None, help="Configuration of the dataset on the Hub.")
    dataset_split: str = HfArg(default="train", help="Split on the Hub; in a folder, prefix of the file names.")
    image_column_name: str | None = HfArg(
        default=None,
        help="Column of the images (in tars, the file extension). By default, the only image column, or 'image'.",
    )
    label_column_name: str | None = HfArg(default=None, help="Column of labels for --knn; files use folder names.")
    validation_dir: str | None = HfArg(default=None, help="Images to evaluate on. By default, some are held out.")
    train_val_split: float = HfArg(default=0.1, help="Fraction of the images to hold out, up to --max_eval_samples.")
    max_eval_samples: int = HfArg(
        default=256, help="Maximum number to hold out (0: none). At least 8 are, unless that is more than half."
    )
    streaming: bool = HfArg(
        default=False,
        help="Also stream local parquet files. Tars, URLs and Hub datasets are always streamed. A streamed run resumes "
        "only with the same number of processes and workers.",
    )
    shuffle_buffer_size: int = HfArg(
        default=1,
        help="Number of streamed images to shuffle at a time, for shards with sorted images. With 1, only shards are "
        "shuffled. With 2 or more, a resumed run does not continue with exactly the same images.",
    )
    min_crop_scale: float = HfArg(default=0.2, help="Smallest fraction of the image area that a crop covers.")
    flip: bool = HfArg(default=True, help="Flip half of the images horizontally.")
    max_unreadable: float = HfArg(
        default=0.05,
        help="Fraction of images (in a stream, of those read so far) that may be unreadable; ten are always allowed. "
        "Unreadable images are skipped, named and counted. If there are more, the run stops.",
    )
    max_pixels: int = HfArg(default=50_000_000, help="Height times width above which an image counts as unreadable.")
    public_pictures: bool = HfArg(
        default=False,
        help="Show held-out images and their reconstructions in a model folder that is uploaded publicly.",
    )
    allow_external_files: bool = HfArg(
        default=False, help="Open files and URLs that rows name instead of images. Only for data that you trust."
    )

    def __post_init__(self):
        given = [f"--{name}" for name in ("train_dir", "data_files", "dataset_name") if getattr(self, name)]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise UserError(f"Pass exactly one of --train_dir, --data_files and --dataset_name, got {got}.")
        check_range(self, "max_eval_samples", 0)
        check_range(self, "shuffle_buffer_size", 1)
        check_range(self, "max_unreadable", 0, 1)
        check_range(self, "max_pixels", 1, 2 * PIL.Image.MAX_IMAGE_PIXELS)  # PIL itself rejects larger ones
        check_range(self, "train_val_split", 0, 1)
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"--min_crop_scale must be above 0 and at most 1, got {self.min_crop_scale}.")


@dataclass
class ModelArguments:
    """Model to train, new or pre-trained, and how to mask its images."""

    model_name_or_path: str | None = HfArg(
        default=None, help="Model to start from, a folder or a name on the Hub: GreenMIM, or any Swin for its encoder."
    )
    config_name_or_path: str | None = HfArg(
        default=None, help="Configuration of a new model, a file or a folder. By default, Swin-B's."
    )
    config_overrides: str | None = HfArg(default=None, help="Settings to change, such as 'window_size=4,mlp_ratio=3'.")
    image_processor_name: str | None = HfArg(
        default=None, help="Image processor. By default, the model's, or one with ImageNet statistics."
    )
    image_size: int | None = HfArg(default=None, help="Side of the crops in pixels. By default, as configured.")
    mask_ratio: float | None = HfArg(default=None, help="Fraction of mask units to hide. By default, as configured.")
    mask_sampler: Literal["random", "block", "uniform"] = HfArg(default="random", help="How to draw masks.")
    mask_per_sample: bool = HfArg(default=True, help="Draw a mask for each image, instead of one per batch.")
    masks_per_image: int = HfArg(
        default=1,
        help="Number of masks of an image in a step, which show different units. More than 1 pays off where image "
        "decoding is the bottleneck. Batches grow by the same factor.",
    )
    teacher_model_name_or_path: str | None = HfArg(
        default=None,
        help="Frozen teacher, a folder or a name on the Hub: any vision model that AutoModel loads. The model also "
        "learns to predict its features of the whole images; with --config_overrides 'reconstruction_weight=0', only these.",
    )

    def __post_init__(self):
        if self.model_name_or_path and self.config_name_or_path:
            raise UserError(
                "Pass --model_name_or_path or --config_name_or_path, not both. Use --config_overrides to change the "
                "configuration of a model."
            )
        check_range(self, "masks_per_image", 1)
        if self.masks_per_image > 1 and (self.mask_sampler != "random" or not self.mask_per_sample):
            raise UserError(
                f"--masks_per_image must be 1 with a sampler other than random or with one mask per batch, got "
                f"{self.masks_per_image}. Use --mask_sampler random and --mask_per_sample."
            )
