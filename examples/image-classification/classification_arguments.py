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
"""Arguments of run_image_classification.py, with the names of transformers' script of that name, where it has them."""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from example_command import UserError, argument, check_range


@dataclass
class DataArguments:
    """What is learned, and what it is evaluated on."""

    dataset_name: str | None = argument("Data set on the Hub, or a local folder of one.")
    dataset_config_name: str | None = argument("Configuration of the data set on the Hub.")
    train_dir: str | None = argument("Folder with a folder of images for each class, or with parquet files.")
    validation_dir: str | None = argument("Images to evaluate on, like --train_dir.")
    train_split_name: str = argument("Split of --dataset_name to train on.", "train")
    eval_split_name: str | None = argument(
        "Split of --dataset_name to evaluate on. Without it 'validation', if there is one."
    )
    train_val_split: float = argument(
        "Share of the training images of each class to evaluate on, where there are no others.", 0.15
    )
    max_train_samples: int | None = argument(
        "Train on so many images, the same share of each class. They are chosen by --seed."
    )
    max_eval_samples: int | None = argument(
        "Evaluate on so many images, the same share of each class; with --streaming, on the first ones."
    )
    image_column_name: str = argument("Column of the images.", "image")
    label_column_name: str = argument("Column of the labels.", "label")
    streaming: bool = argument(
        "Read the images while training, and store nothing. Labels have to be a ClassLabel.", False
    )
    shuffle_buffer_size: int = argument("With --streaming: images that are mixed at a time.", 1000)

    def __post_init__(self):
        if (self.dataset_name is None) == (self.train_dir is None):
            raise UserError("Give --dataset_name or --train_dir, one of them.")
        if self.eval_split_name is not None and (self.validation_dir or self.train_dir):
            raise UserError(
                "--eval_split_name is a split of --dataset_name: leave out --train_dir and --validation_dir."
            )
        if not 0 < self.train_val_split < 1:
            raise UserError(f"--train_val_split must be above 0 and below 1, but is {self.train_val_split}.")
        if self.streaming and self.max_train_samples is not None:
            raise UserError(
                "--max_train_samples needs to know all images, and --streaming does not: give --max_steps, or one of them."
            )
        for name in ("max_train_samples", "max_eval_samples", "shuffle_buffer_size"):
            check_range(self, name, 1)


@dataclass
class ModelArguments:
    """What is fine-tuned."""

    model_name_or_path: str | None = argument(
        "Model to start from, GreenMIM or Swin, in a folder or on the Hub: pre-trained, or with a classifier."
    )
    config_name: str | None = argument("Configuration of a model that starts at random: a file, a folder or a name.")
    image_processor_name: str | None = argument(
        "Folder, or name on the Hub, of the image processor. Without it that of the model, or one with mean and deviation of "
        "ImageNet."
    )
    drop_path_rate: float = argument("Share of images that skip the last layer; less for lower ones.", 0.1)
    ignore_mismatched_sizes: bool = argument("Give a model that has a classifier for other labels a new one.", False)

    def __post_init__(self):
        if (self.model_name_or_path is None) == (self.config_name is None):
            raise UserError("Give --model_name_or_path, or, to start at random, --config_name.")
        check_range(self, "drop_path_rate", 0, 0.99)


@dataclass
class AugmentationArguments:
    """How images are changed in training. All but crops and flips are done by torchvision."""

    min_crop_scale: float = argument("Crops have this share of the area of an image, up to all of it.", 0.2)
    flip: bool = argument("Whether to flip half of the images.", True)
    rand_augment_num_ops: int = argument("Operations of RandAugment on each image, such as 2. 0: none.", 0)
    rand_augment_magnitude: int = argument("How strong they are, from 0 to 30.", 9)
    random_erasing_prob: float = argument("Share of images of which a rectangle is erased, such as 0.25.", 0.0)
    mixup_alpha: float = argument("Parameter of the beta distribution of mixup, such as 0.8. 0: none.", 0.0)
    cutmix_alpha: float = argument(
        "That of CutMix, such as 1.0. With both, each batch gets the one or the other. 0: none.", 0.0
    )

    def __post_init__(self):
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"--min_crop_scale must be above 0 and at most 1, but is {self.min_crop_scale}.")
        check_range(self, "rand_augment_num_ops", 0)
        check_range(self, "rand_augment_magnitude", 0, 30)
        check_range(self, "random_erasing_prob", 0, 1)
        check_range(self, "mixup_alpha", 0)
        check_range(self, "cutmix_alpha", 0)


@dataclass
class FineTuningArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] with what fine-tuning of hierarchical models adds, and other defaults."""

    layer_decay: float = argument(
        "The learning rate of each layer is that of the layer above, multiplied by this. 1: the same for all.", 0.8
    )
    ema_decay: float | None = argument(
        "Evaluate and keep a moving average of the weights, with this decay, such as 0.999. Without it, the weights."
    )
    output_dir: str = argument(
        "Folder of the run: checkpoints, results, and at the end the model.", "image_classification"
    )
    num_train_epochs: float = argument("Epochs to train.", 30.0)
    per_device_train_batch_size: int = argument("Images in a step, for each process.", 64)
    per_device_eval_batch_size: int = argument("Images at a time in evaluations, for each process.", 64)
    learning_rate: float = argument("Highest learning rate, that of the last layer.", 1e-3)
    weight_decay: float = argument("Of AdamW, for weight matrices alone.", 0.05)
    lr_scheduler_type: str = argument("Schedule of the learning rate.", "cosine")
    warmup_steps: float = argument("Steps, or below 1 the share of all, in which the learning rate rises.", 0.1)
    label_smoothing_factor: float = argument("Share of each label that is spread over all classes.", 0.1)
    eval_strategy: str = argument("When to evaluate: epoch, steps or no.", "epoch")
    save_strategy: str = argument("When to write checkpoints: epoch, steps, best or no.", "epoch")
    save_total_limit: int | None = argument("Checkpoints to keep, beside the best one.", 2)
    load_best_model_at_end: bool = argument("Keep the best of the evaluated models, not the last one.", True)
    metric_for_best_model: str | None = argument("Which one is the best.", "accuracy")
    resume_from_checkpoint: str | None = argument(
        "'latest' (in --output_dir; if there is none, the run starts), or the folder of a checkpoint."
    )
    # images are decoded here, not by the Trainer
    remove_unused_columns: bool = field(default=False, metadata={"help": "Has to be false."})

    def __post_init__(self):
        if self.load_best_model_at_end and self.eval_strategy == "no":
            raise UserError(
                "--eval_strategy no needs --load_best_model_at_end false: no model is known to be the best."
            )
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"--layer_decay must be above 0 and at most 1, but is {self.layer_decay}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise UserError(f"--ema_decay must be above 0 and below 1, but is {self.ema_decay}.")
        if self.remove_unused_columns:
            raise UserError("--remove_unused_columns has to be false: the images are read from the columns.")
        try:
            super().__post_init__()
        except ValueError as error:
            raise UserError(" ".join(str(error).split())) from error
