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

from dataclasses import dataclass

from modeling_greenmim.training.command_line import UserError, argument, check_range
from modeling_greenmim.training.fine_tuning import FineTuningArguments


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
class ClassificationTrainingArguments(FineTuningArguments):
    """[`FineTuningArguments`] with defaults for classification."""

    output_dir: str = argument(
        "Folder of the run: checkpoints, results, and at the end the model.", "image_classification"
    )
    per_device_train_batch_size: int = argument("Images in a step, for each process.", 64)
    per_device_eval_batch_size: int = argument("Images at a time in evaluations, for each process.", 64)
    label_smoothing_factor: float = argument("Share of each label that is spread over all classes.", 0.1)
    metric_for_best_model: str | None = argument("Which model is the best.", "accuracy")
