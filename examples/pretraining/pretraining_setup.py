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
"""Opens what the arguments of a pre-training script name: the images to train on, and those to evaluate on."""

from dataclasses import dataclass

from modeling_greenmim import GreenMimConfig

from example_command import UserError
from example_images import RandomCrop
from pretraining_arguments import DataArguments
from pretraining_data import EndlessCrops, HeldOutImages, read_held_out_images
from pretraining_sources import ImageReader, ImageSource


MIN_HELD_OUT = 8


@dataclass
class PretrainingData:
    """
    The images of a run.

    Attributes:
        source ([`ImageSource`]):
            Those that are trained on, and those that are held out of them.
        crops ([`EndlessCrops`]):
            What is trained on.
        held_out ([`HeldOutImages`]):
            What is evaluated on.
        num_train_images (`int`, *optional*):
            Number of images to train on over all processes, where it is known.
    """

    source: ImageSource
    crops: EndlessCrops
    held_out: HeldOutImages
    num_train_images: int | None


def open_data(
    args: DataArguments,
    config: GreenMimConfig,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    with_labels: bool = False,
) -> PretrainingData:
    """
    Opens the images of one process.

    Args:
        args ([`DataArguments`]):
            Which images.
        config ([`GreenMimConfig`]):
            Of the model: size and channels of the crops.
        seed (`int`):
            Seed of order, crops and masks.
        rank (`int`, *optional*, defaults to 0):
            This process, of `world_size`.
        world_size (`int`, *optional*, defaults to 1):
            Number of processes.
        with_labels (`bool`, *optional*, defaults to `False`):
            Whether labels are read.

    Raises:
        [`UserError`]: if there are no images, or none to evaluate on can be read.
    """
    image_size = config.image_height_and_width
    label_column_name = args.label_column_name if with_labels else None
    reader = ImageReader(seed, rank, world_size, args.shuffle_buffer_size, args.image_column_name, label_column_name)
    source = open_images(args, reader)
    held_out_source = source
    if args.validation_dir is not None:
        held_out_source = reader.open_folder(args.validation_dir, "--validation_dir")
    number = count_held_out_images(args, source.num_images)
    held_out = read_held_out_images(held_out_source, number, image_size, config.num_channels, seed)
    if number and not held_out.examples:
        name, reason = next(iter(held_out.unreadable.items()), ("no image at all", "empty"))
        raise UserError(f"None of {number} held-out images can be read, such as {name} ({reason}).")
    num_train_images = source.num_images
    if num_train_images is not None and args.validation_dir is None:
        num_train_images -= len(held_out.examples)
    crop = RandomCrop(image_size, args.min_crop_scale, args.flip)
    crops = EndlessCrops(source, crop, config.num_channels, seed, args.max_unreadable, held_out.checksums)
    return PretrainingData(source, crops, held_out, num_train_images)


def open_images(args: DataArguments, reader: ImageReader) -> ImageSource:
    """Opens the images to train on."""
    if args.train_dir is not None:
        return reader.open_folder(args.train_dir)
    if args.data_files is not None:
        return reader.open_files(args.data_files)
    return reader.open_dataset(args.dataset_name, args.dataset_config_name, args.dataset_split)


def count_held_out_images(args: DataArguments, num_images: int | None) -> int:
    """Number of images to hold out of so many."""
    if num_images is None or args.validation_dir is not None:
        return args.max_eval_samples
    share = max(MIN_HELD_OUT, round(args.train_val_split * num_images))
    return min(args.max_eval_samples, share, num_images // 2)
