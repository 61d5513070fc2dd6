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
"""Opens the images and the model of a run, as given by [`DataArguments`] and [`ModelArguments`]."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig, set_seed

from .. import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil, GreenMimModel
from ..checkpoint_folders import load_checkpoint, make_image_processor, read_image_processor_settings, read_license
from ..config_files import read_config
from ..convert_swin_to_greenmim import convert_swin_to_greenmim
from ..frozen_teacher import Teacher, load_teacher
from ..masking_greenmim import get_unit_grid, sample_disjoint_masks, sample_masks
from ..swin_families import SWIN_CONFIGS
from .command_line import get_name
from .errors import UserError, check_unreadable, describe_unknown, make_unreadable_error
from .image_decoding import CenterCrop, ExampleMaker, RandomCrop
from .image_files import ImageFiles, ParquetImages, RowSettings, find_images, is_address
from .image_order import ImageOrder
from .image_streams import ImageStream, StreamedMicroBatches
from .micro_batches import HeldOutImages, MicroBatches, PretrainingCollator, make_loader, read_held_out_images
from .pretraining_arguments import DataArguments, ModelArguments


MIN_HELD_OUT = 8
PRETRAINING_MODULES = ("decoder", "stage_decoders", "teacher_projection")


@dataclass
class PretrainingData:
    """The images of a run."""

    args: DataArguments
    images: ImageFiles | ParquetImages | ImageStream  # all of them, including held-out images
    make_example: ExampleMaker  # crops an image
    held_out: HeldOutImages  # to evaluate on
    num_train_images: int | None  # over all processes; `None` if unknown

    @property
    def is_stream(self) -> bool:
        return isinstance(self.images, ImageStream)

    @property
    def fingerprint(self) -> dict:
        """Identifies the images, including held-out ones."""
        held_out = sum(self.held_out.checksums) % 2**32
        return {**self.images.checksums, "held-out images (checksum)": held_out}

    def count_steps(self, images_per_step: int, max_train_steps: int | None, num_train_epochs: float) -> int:
        """
        Number of steps of a run, computed from the epochs if `max_train_steps` is `None`. Raises a [`UserError`] if an
        epoch has fewer images than `images_per_step` (over all processes), or if its unknown length is needed.
        """
        number = self.num_train_images
        if number is not None and number < images_per_step:
            raise UserError(
                f"The {images_per_step} images in a step over all processes are more than the {number} to train on. "
                "Lower --per_device_train_batch_size, --gradient_accumulation_steps or --max_eval_samples (held-out images)."
            )
        if max_train_steps is not None:
            return max_train_steps
        if number is None:
            raise UserError(
                "Cannot count the steps of an epoch because the number of images is unknown. Pass --max_train_steps "
                "(with the Trainer, --max_steps) instead of epochs."
            )
        return math.ceil(num_train_epochs * number / images_per_step)

    def choose_lanes(self, num_processes: int, num_workers: int, batch_size: int) -> tuple[int, int]:
        """Number and width of the lanes, see [`ImageOrder`]: one per worker, so that only one reads a row group."""
        if not isinstance(self.images, ParquetImages):
            return 1, batch_size
        return min(num_processes * max(1, num_workers), self.num_train_images), batch_size

    def make_loader(self, collator, batch_size, numbers, lanes, rank=0, world_size=1, **settings):
        """
        Makes the loader of one process, for the `numbers` of the remaining micro-batches over all processes. A stream
        has no numbers and starts with the first micro-batch. `lanes` come from `choose_lanes`; `settings` are
        `num_workers` and `pin_memory`.
        """
        if self.is_stream:
            part = rank, world_size, self.args.shuffle_buffer_size
            micro_batches = StreamedMicroBatches(self.images, batch_size, self.make_example, collator, *part)
        else:
            places = [] if self.args.validation_dir else self.held_out.places
            order = ImageOrder(self.images.group_sizes, self.make_example.seed, places, *lanes)
            micro_batches = MicroBatches(self.images, batch_size, self.make_example, collator, order)
        return make_loader(micro_batches, numbers[rank::world_size], **settings)


def open_data(args: DataArguments, config: GreenMimConfig, seed: int) -> PretrainingData:
    """
    Opens the images of a run. `seed` determines their order, crops and masks.

    Raises:
        [`UserError`]: if there are no images, too many cannot be opened, or no held-out image can be read.
    """
    if args.dataset_name and not Path(args.dataset_name).is_dir():
        rows = RowSettings(args.image_column_name, args.label_column_name, args.allow_external_files)
        images = ImageStream(args.dataset_name, (), args.dataset_config_name, args.dataset_split, rows)
    elif args.data_files:
        images = open_images(args, args.data_files, "--data_files")
    else:
        argument = "train_dir" if args.train_dir else "dataset_name"
        images = open_images(args, [getattr(args, argument)], f"--{argument}")
    held_out_images = images
    if args.validation_dir is not None:
        held_out_images = open_images(args, [args.validation_dir], "--validation_dir")
    image_size = config.image_height_and_width
    make_example = ExampleMaker(CenterCrop(image_size), config.num_channels, seed, args.max_pixels)
    held_out = HeldOutImages()
    if number := count_held_out_images(args, images.num_images):
        held_out = read_held_out_images(held_out_images, number, make_example)
        if not held_out.examples:
            raise make_unreadable_error(held_out.unreadable, "held-out images")
    images.unreadable |= held_out_images.unreadable
    num_train_images = images.num_images
    if num_train_images is not None and args.validation_dir is None:
        num_train_images -= len(held_out.examples)
    crop = RandomCrop(image_size, args.min_crop_scale, args.flip)
    make_example = replace(make_example, crop=crop, held_out=held_out.checksums)
    return PretrainingData(args, images, make_example, held_out, num_train_images)


def open_images(args: DataArguments, names: Sequence[str], argument: str) -> ImageFiles | ParquetImages | ImageStream:
    """Opens images, see [`find_images`]. Raises a [`UserError`] if there are none, or too many cannot be opened."""
    kind, files, unreadable = find_images(names, argument, args.dataset_split)
    check_unreadable(unreadable, len(files) + len(unreadable), args.max_unreadable)
    rows = RowSettings(args.image_column_name, args.label_column_name, args.allow_external_files)
    if kind == "image":
        images = ImageFiles(files)
    elif kind == "parquet" and not args.streaming and not any(map(is_address, files)):
        images = ParquetImages(files, rows)
    else:
        images = ImageStream(kind, files, rows=rows)
    images.unreadable |= unreadable
    return images


def count_held_out_images(args: DataArguments, num_images: int | None) -> int:
    """Number of images to hold out."""
    if num_images is None or args.validation_dir is not None:
        return args.max_eval_samples
    fraction = max(MIN_HELD_OUT, round(args.train_val_split * num_images))
    return min(args.max_eval_samples, fraction, num_images // 2)


@dataclass
class PretrainedModel:
    """Model to train, its image processor, a description of its weights, their license, and its teacher."""

    model: GreenMimForMaskedImageModeling
    image_processor: GreenMimImageProcessorPil
    origin: str
    license: dict[str, str]
    teacher: Teacher | None = None

    def make_collator(self, args: ModelArguments, static_shapes: bool = False) -> PretrainingCollator:
        """Makes the collator of the micro-batches; for `static_shapes`, see [`GreenMimDataCollator`]."""
        return PretrainingCollator(
            self.model.config,
            self.image_processor,
            mask_sampler=args.mask_sampler,
            per_sample=args.mask_per_sample,
            masks_per_image=args.masks_per_image,
            static_shapes=static_shapes,
        )


def make_pretrained_model(
    args: ModelArguments, seed: int, config: GreenMimConfig | None = None, license: str | None = None
) -> PretrainedModel:
    """
    Creates or loads the model to train.

    Args:
        args ([`ModelArguments`]), seed (`int`):
            Choice of the model, and seed of new weights.
        config ([`GreenMimConfig`], *optional*):
            Configuration of a new model, instead of `args.config_name_or_path`.
        license (`str`, *optional*):
            License of randomly initialized weights. Other weights keep their license.

    Raises:
        [`UserError`]: if there is no such model, or its weights do not fit the settings or have a different license.
    """
    name, teacher_name, teacher = args.model_name_or_path, args.teacher_model_name_or_path, None
    origin, stated = "Its weights were randomly initialized.", {}
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = name
            if name is not None:
                folder, config = _find_weights(name, seed, Path(temporary))
                is_new = ", with a new decoder" if folder != name else ""
                origin, stated = f"It started from the weights of `{get_name(name)}`{is_new}.", read_license(name)
            elif config is None:
                config = _read_config("config_name_or_path", args.config_name_or_path, GreenMimConfig)
            config = _override(config, args)
            image_size = config.image_height_and_width
            if max(image_size) < (smallest := 2 * config.mask_unit_size):
                raise ValueError(f"--image_size must be at least {smallest}, two mask units, got {config.image_size}.")
            # raises if images of this size do not consist of whole units, have too few, or do not fit the sampler
            unit_grid = get_unit_grid(image_size, config.mask_unit_size)
            sample_masks(1, unit_grid, config.mask_ratio, args.mask_sampler)
            sample_disjoint_masks(args.masks_per_image, unit_grid, config.mask_ratio)
            image_processor = _make_image_processor(args, config)
            if teacher_name is not None:
                read_config(teacher_name, "--teacher_model_name_or_path")
                statistics = image_processor.image_mean, image_processor.image_std
                teacher, size = load_teacher(teacher_name, statistics, config.num_channels, image_size)
                config.teacher_hidden_size = size
                teacher_license = read_license(teacher_name).get("license")
                known = f"license: {teacher_license}" if teacher_license else "which states no license"
                units = (
                    f"the `{config.reconstruction_target}` of hidden units and "
                    if config.reconstruction_weight
                    else ""
                )
                origin += f" It learned to predict {units}the features of a frozen teacher, `{get_name(teacher_name)}` ({known})."
            set_seed(seed)
            if folder is None:
                model = GreenMimForMaskedImageModeling(config)
            else:  # other modules of a bare encoder are new; float32, whatever it was saved in
                settings = {"config": config, "dtype": torch.float32, "new_modules": PRETRAINING_MODULES}
                model = load_checkpoint(GreenMimForMaskedImageModeling, folder, **settings)
    except (OSError, ValueError, AttributeError, TypeError, StrictDataclassError) as error:
        # the cause does not name a validator
        raise UserError(str(error.__cause__ if isinstance(error, StrictDataclassError) else error)) from error
    if license and stated.get("license", license) != license:
        raise UserError(
            f"--license must be {stated['license']!r}, the license of the weights in {name}, got {license!r}. Omit it."
        )
    stated = stated or ({"license": license} if license else {})
    return PretrainedModel(model, image_processor, origin, stated, teacher)


def _read_config(argument: str, name: str | None, *classes: type[PreTrainedConfig]) -> PreTrainedConfig:
    config = GreenMimConfig() if name is None else read_config(name, f"--{argument}")
    if not isinstance(config, classes):
        known = " or ".join(known.model_type for known in classes)
        raise ValueError(f"--{argument} must be of type {known}, but {name} is of type {config.model_type!r}.")
    return config


def _override(config: GreenMimConfig, args: ModelArguments) -> GreenMimConfig:
    settings = {name: getattr(args, name) for name in ("image_size", "mask_ratio") if getattr(args, name) is not None}
    # with a teacher, a placeholder until the teacher is loaded
    settings["teacher_hidden_size"] = None if args.teacher_model_name_or_path is None else 1
    config = GreenMimConfig.from_dict(config.to_dict())
    if args.config_overrides:
        try:
            config.update_from_string(args.config_overrides)
        except (ValueError, TypeError) as error:
            names = [setting.partition("=")[0] for setting in args.config_overrides.split(",")]
            unknown = [name for name in names if not hasattr(config, name)]
            reason = describe_unknown(unknown[0], config.to_dict()) if unknown else error
            raise ValueError(f"--config_overrides {args.config_overrides}: {reason}") from error
    return GreenMimConfig.from_dict({**config.to_dict(), **settings})  # checks all settings together


def _find_weights(name: str, seed: int, temporary: Path) -> tuple[str | Path, GreenMimConfig]:
    """Folder of the weights, converted if they are a Swin's, and its configuration."""
    config = _read_config("model_name_or_path", name, GreenMimConfig, *SWIN_CONFIGS)
    if isinstance(config, GreenMimConfig):
        return name, config
    convert_swin_to_greenmim(name, temporary / "model", seed=seed)
    # without its decoder, whose sizes the settings may change
    encoder = GreenMimModel.from_pretrained(temporary / "model")
    encoder.save_pretrained(temporary / "encoder")
    return temporary / "encoder", GreenMimConfig.from_pretrained(temporary / "model")


def _make_image_processor(args: ModelArguments, config: GreenMimConfig) -> GreenMimImageProcessorPil:
    name = args.image_processor_name or args.model_name_or_path
    settings = {} if name is None else read_image_processor_settings(name)
    if args.image_processor_name is not None and not settings:
        raise ValueError(f"--image_processor_name {name} has no preprocessor_config.json.")
    if args.image_size is not None:  # the sizes are for a different image size
        settings = {key: value for key, value in settings.items() if key not in ("size", "crop_size")}
    return make_image_processor(config, settings)
