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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modeling_greenmim import GreenMimConfig
from modeling_greenmim.training.image_decoding import ExampleMaker, RandomCrop
from modeling_greenmim.training.image_files import (
    GroupedImages,
    ImageFiles,
    ParquetImages,
    check_unreadable,
    find_images,
    is_address,
    make_unreadable_error,
)
from modeling_greenmim.training.image_order import ImageOrder
from modeling_greenmim.training.image_streams import ImageStream, StreamedExamples, open_stream
from modeling_greenmim.training.micro_batches import (
    HeldOutImages,
    MicroBatches,
    PretrainingCollator,
    make_loader,
    make_stream_loader,
    read_held_out_images,
)

from pretraining_arguments import DataArguments


MIN_HELD_OUT = 8


@dataclass
class PretrainingData:
    """
    The images of a run.

    Attributes:
        args ([`DataArguments`]):
            Which images.
        images ([`GroupedImages`] or [`ImageStream`]):
            Those that are trained on, and those that are held out of them.
        make_example ([`ExampleMaker`]):
            Crops an image.
        held_out ([`HeldOutImages`]):
            What is evaluated on.
        num_train_images (`int`, *optional*):
            Number of images to train on over all processes, where it is known.
    """

    args: DataArguments
    images: GroupedImages | ImageStream
    make_example: ExampleMaker
    held_out: HeldOutImages
    num_train_images: int | None

    @property
    def is_stream(self) -> bool:
        return isinstance(self.images, ImageStream)

    def choose_lanes(self, num_readers: int, batch_size: int) -> tuple[int, int]:
        """Number and width of the lanes, see [`ImageOrder`]: one for each worker that reads row groups."""
        if not isinstance(self.images, ParquetImages):
            return 1, batch_size
        return min(num_readers, self.num_train_images), batch_size

    def make_loader(
        self, collator: PretrainingCollator, batch_size: int, micro_batches: range, lanes: tuple[int, int], **settings
    ):
        """
        Makes the loader of one process.

        Args:
            collator ([`PretrainingCollator`]):
                Makes a micro-batch of crops.
            batch_size (`int`):
                Number of images in a micro-batch.
            micro_batches (`range`):
                Numbers of those that are left, over all processes. A stream has no numbers: it begins with the first.
            lanes (`tuple[int, int]`):
                See `choose_lanes`.
            **settings:
                `rank`, `world_size`, `num_workers` and `pin_memory`, see [`make_loader`].
        """
        if self.is_stream:
            rank, world_size = settings.pop("rank", 0), settings.pop("world_size", 1)
            buffer_size = self.args.shuffle_buffer_size
            examples = StreamedExamples(self.images, self.make_example, rank, world_size, buffer_size)
            return make_stream_loader(examples, batch_size, collator, **settings)
        places = [] if self.args.validation_dir else self.held_out.places
        order = ImageOrder(self.images.group_sizes, self.make_example.seed, places, *lanes)
        numbered = MicroBatches(self.images, order, batch_size, self.make_example, collator)
        return make_loader(numbered, micro_batches.start, micro_batches.stop, **settings)


def open_data(args: DataArguments, config: GreenMimConfig, seed: int, with_labels: bool = False) -> PretrainingData:
    """
    Opens the images of a run.

    Args:
        args ([`DataArguments`]):
            Which images.
        config ([`GreenMimConfig`]):
            Of the model: size and channels of the crops.
        seed (`int`):
            Seed of order, crops and masks.
        with_labels (`bool`, *optional*, defaults to `False`):
            Whether labels are read.

    Raises:
        [`UserError`]: if there are no images, too many cannot be opened, or none to evaluate on can be read.
    """
    image_size = config.image_height_and_width
    columns = {
        "image_column_name": args.image_column_name,
        "label_column_name": args.label_column_name if with_labels else None,
        "allow_external_files": args.allow_external_files,
    }
    if args.dataset_name and not Path(args.dataset_name).is_dir():
        images = open_stream(args.dataset_name, (), args.dataset_config_name, args.dataset_split, **columns)
    else:
        argument = next(name for name in ("train_dir", "data_files", "dataset_name") if getattr(args, name))
        names = args.data_files or [getattr(args, argument)]
        split = args.dataset_split if args.dataset_name else "train"
        images = open_images(args, names, f"--{argument}", columns, split)
    held_out_images = images
    if args.validation_dir is not None:
        held_out_images = open_images(args, [args.validation_dir], "--validation_dir", columns)
        images.unreadable |= held_out_images.unreadable
    number = count_held_out_images(args, images.num_images)
    held_out = HeldOutImages()
    if number:
        held_out = read_held_out_images(
            held_out_images, number, image_size, config.num_channels, seed, max_pixels=args.max_pixels
        )
        if not held_out.examples:
            raise make_unreadable_error(held_out.unreadable, "held-out images")
    num_train_images = images.num_images
    if num_train_images is not None and args.validation_dir is None:
        num_train_images -= len(held_out.examples)
    crop = RandomCrop(image_size, args.min_crop_scale, args.flip)
    make_example = ExampleMaker(crop, config.num_channels, seed, args.max_pixels, held_out.checksums)
    return PretrainingData(args, images, make_example, held_out, num_train_images)


def open_images(
    args: DataArguments, names: Sequence[str], argument: str, columns: dict, split: str = "train"
) -> GroupedImages | ImageStream:
    """Opens images in folders or files, see [`find_images`]. `columns` are settings of [`ParquetImages`]."""
    kind, files, unreadable = find_images(names, argument, split)
    check_unreadable(unreadable, len(files) + len(unreadable), args.max_unreadable)
    if kind == "image":
        return ImageFiles(files, unreadable)
    if kind == "parquet" and not args.streaming and not any(map(is_address, files)):
        return ParquetImages(files, unreadable=unreadable, **columns)
    return open_stream(kind, files, unreadable=unreadable, **columns)


def count_held_out_images(args: DataArguments, num_images: int | None) -> int:
    """Number of images to hold out of so many."""
    if num_images is None or args.validation_dir is not None:
        return args.max_eval_samples
    share = max(MIN_HELD_OUT, round(args.train_val_split * num_images))
    return min(args.max_eval_samples, share, num_images // 2)
