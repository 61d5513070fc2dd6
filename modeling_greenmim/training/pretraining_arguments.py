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
"""Arguments of the pre-training scripts, with the names of transformers' `run_mim_no_trainer.py` where it has them."""

from dataclasses import dataclass
from typing import Literal

import PIL.Image

from .command_line import UserError, argument, check_range
from .image_decoding import MAX_PIXELS


@dataclass
class DataArguments:
    """What is learned from. One of `train_dir`, `data_files` and `dataset_name` is needed."""

    train_dir: str | None = argument(
        "Folder of images (at any depth, of any size), or of parquet files, or of tars in WebDataset format."
    )
    data_files: list[str] | None = argument(
        "Files: image files, or parquet files, or tars. Patterns ('data/*.parquet') and addresses (https://, hf://) too."
    )
    dataset_name: str | None = argument("Data set on the Hub, which is streamed, or a local folder of one.")
    dataset_config_name: str | None = argument("Configuration of the data set on the Hub.")
    dataset_split: str = argument(
        "Split of the data set on the Hub; of parquet files and tars in a folder, what the names of those to read begin with.",
        "train",
    )
    image_column_name: str | None = argument(
        "Column of the images in parquet files, tars (where it is the extension, such as jpg) and data sets. Without it, "
        "'image', or the only one with images."
    )
    label_column_name: str | None = argument(
        "Column of the labels, for --knn. Labels of image files are the names of their folders."
    )
    validation_dir: str | None = argument(
        "Images to evaluate on, like --train_dir. Without it, some of the images are held out."
    )
    train_val_split: float = argument(
        "Share of the images to hold out, where --max_eval_samples is not reached before.", 0.1
    )
    max_eval_samples: int = argument(
        "Images that are evaluated on, and never trained on, at most. At least 8, as far as they are not half of all. 0: none.",
        256,
    )
    streaming: bool = argument(
        "Stream also parquet files on this machine with `datasets`. Tars, addresses and the Hub always are. A streamed run is resumed "
        "only with the same number of processes and workers.",
        False,
    )
    shuffle_buffer_size: int = argument(
        "Streamed images to shuffle at a time, where the images in a shard are sorted. From 2 on, a resumed run does not continue "
        "with exactly the same images; with 1, only shards are shuffled, and it does.",
        1,
    )
    min_crop_scale: float = argument("Crops have this share of the area of an image, up to all of it.", 0.2)
    flip: bool = argument("Whether to flip half of the images.", True)
    max_unreadable: float = argument(
        "Fraction of all images that may be unreadable (of a stream of unknown length, of those read so far); ten always may. They are "
        "skipped, named and counted; if there are more, the run stops.",
        0.05,
    )
    max_pixels: int = argument("Largest height times width of an image. Larger ones count as unreadable.", MAX_PIXELS)
    allow_external_files: bool = argument(
        "Open files and addresses that rows name instead of holding an image. Only for data that you trust.", False
    )

    def __post_init__(self):
        given = [name for name in ("train_dir", "data_files", "dataset_name") if getattr(self, name)]
        if len(given) != 1:
            wanted = "--train_dir, --data_files or --dataset_name"
            raise UserError(
                f"Give one of {wanted}, not {' and '.join('--' + name for name in given)}."
                if given
                else f"Give {wanted}."
            )
        check_range(self, "max_eval_samples", 0)
        check_range(self, "shuffle_buffer_size", 1)
        check_range(self, "max_unreadable", 0, 1)
        check_range(self, "max_pixels", 1, 2 * PIL.Image.MAX_IMAGE_PIXELS)  # PIL refuses larger ones itself
        check_range(self, "train_val_split", 0, 1)
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"--min_crop_scale must be above 0 and at most 1, but is {self.min_crop_scale}.")


@dataclass
class ModelArguments:
    """What is trained: a new model, or one that has learned already."""

    model_name_or_path: str | None = argument(
        "Model to start from: a GreenMIM folder, or any Swin of transformers, in a folder or on the Hub, whose encoder then "
        "goes on learning from your images."
    )
    config_name_or_path: str | None = argument(
        "Configuration of a new model: a file such as examples/configs/greenmim_tiny_window7_224.json, or a folder. Without it "
        "and --model_name_or_path, that of a Swin-B."
    )
    config_overrides: str | None = argument("Settings to change, such as 'window_size=4,norm_pix_loss=true'.")
    image_processor_name: str | None = argument(
        "Folder, or name on the Hub, of the image processor. Without it that of the model, or one with mean and deviation of "
        "ImageNet."
    )
    image_size: int | None = argument("Side of the crops in pixels. Without it, that of the configuration.")
    mask_ratio: float | None = argument("Share of the mask units to hide. Without it, that of the configuration.")
    mask_sampler: Literal["random", "block"] = argument("How masks are drawn.", "random")
    mask_per_sample: bool = argument(
        "A mask for each image. With --no_mask_per_sample, all images of a batch share one.", True
    )

    def __post_init__(self):
        if self.model_name_or_path and self.config_name_or_path:
            raise UserError(
                "Give --model_name_or_path or --config_name_or_path, not both: a model that has learned has a configuration. "
                "--config_overrides changes it."
            )


# those of transformers that take no further arguments
SchedulerName = Literal["cosine", "linear", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"]


@dataclass
class RunArguments:
    """How it is trained, and what is kept."""

    output_dir: str = argument(
        "Folder of the run: checkpoints, pictures, logs, and at the end the model.", "pretraining"
    )
    overwrite_output_dir: bool = argument("Discard the run that is in --output_dir.", False)
    seed: int = argument("Seed of weights, order, crops and masks.", 0)
    per_device_train_batch_size: int = argument("Images in a step, for each process.", 64)
    per_device_eval_batch_size: int | None = argument("Images at a time in evaluations. Without it, as in training.")
    gradient_accumulation_steps: int = argument("Batches whose gradients make a step.", 1)
    num_workers: int = argument("Processes that decode images, beside each process that trains.", 4)
    num_train_epochs: float | None = argument("Epochs to train. 100, if --max_train_steps is not given.")
    max_train_steps: int | None = argument("Steps to train.")
    base_learning_rate: float = argument(
        "Highest learning rate for a batch of 256 images; it is multiplied by the images in a step over all processes, / 256.",
        1.5e-4,
    )
    learning_rate: float | None = argument("Highest learning rate as it is, in place of --base_learning_rate.")
    lr_scheduler_type: SchedulerName = argument("Schedule of the learning rate, as in transformers.", "cosine")
    num_warmup_steps: int | None = argument("Steps in which the learning rate rises. Without it, 5 % of all.")
    weight_decay: float = argument(
        "Of AdamW, for weight matrices: norms, biases, tables of positions and tokens have none.", 0.05
    )
    adam_beta1: float = argument("First decay rate of AdamW.", 0.9)
    adam_beta2: float = argument("Second decay rate of AdamW.", 0.95)
    max_grad_norm: float = argument("Norm that gradients are clipped to.", 1.0)
    mixed_precision: str | None = argument(
        "no, bf16 or fp16. Without it, what `accelerate config` or `accelerate launch` says."
    )
    gradient_checkpointing: bool = argument("Compute activations twice, and keep fewer in memory.", False)
    torch_compile: bool = argument(
        "Compile the model: minutes at the start, faster steps then. With a mask for each image, all batches get plans of the "
        "same shapes, so that it is compiled once.",
        False,
    )
    torch_compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = argument(
        "Mode of --torch_compile. On a GPU, the other two replay CUDA graphs, which was not measured yet.", "default"
    )
    logging_steps: int = argument("Steps between two records of loss and speed.", 10)
    eval_steps: int | None = argument(
        "Steps between two evaluations on the held-out images, with a picture. Without it, ten of them."
    )
    knn: bool = argument(
        "Evaluate also the accuracy of nearest neighbors among the held-out images, by their labels.", False
    )
    checkpointing_steps: int = argument("Steps between two checkpoints.", 1000)
    checkpoints_total_limit: int = argument("Checkpoints to keep; older ones are removed.", 2)
    resume_from_checkpoint: str | None = argument(
        "'latest' (in --output_dir; if there is none, the run starts), or the folder of a checkpoint."
    )
    with_tracking: bool = argument("Report to trackers.", False)
    report_to: str = argument("Which ones: tensorboard, wandb, trackio, ..., or all that are installed.", "all")
    license: str | None = argument("License of the weights for the model card, as on the Hub: apache-2.0, ...")
    push_to_hub: bool = argument("Upload the model at the end. Log in first: `hf auth login`.", False)
    hub_model_id: str | None = argument("Where to: 'organization/name'.")
    hub_private_repo: bool = argument("A repository that is created is private.", False)

    def __post_init__(self):
        for name, smallest in {
            "per_device_train_batch_size": 1,
            "per_device_eval_batch_size": 1,
            "gradient_accumulation_steps": 1,
            "num_workers": 0,
            "max_train_steps": 1,
            "num_warmup_steps": 0,
            "logging_steps": 1,
            "eval_steps": 1,
            "checkpointing_steps": 1,
            "checkpoints_total_limit": 1,
            "weight_decay": 0,
        }.items():
            check_range(self, name, smallest)
        check_range(self, "seed", 0, 2**32 - 1)
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 0 and below 1, but is {getattr(self, name)}.")
        for name in ("base_learning_rate", "learning_rate", "num_train_epochs", "max_grad_norm"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UserError(f"--{name} must be above 0, but is {getattr(self, name)}.")
        if self.num_train_epochs and self.max_train_steps:
            raise UserError("Give --num_train_epochs or --max_train_steps, not both.")
        if self.mixed_precision not in (None, "no", "bf16", "fp16"):
            raise UserError(f"--mixed_precision must be no, bf16 or fp16, but is {self.mixed_precision!r}.")
        if self.push_to_hub != (self.hub_model_id is not None):
            raise UserError("--push_to_hub and --hub_model_id go together.")
        if self.overwrite_output_dir and self.resume_from_checkpoint:
            raise UserError("--overwrite_output_dir discards what --resume_from_checkpoint would go on with.")
