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
"""What is made of an image before the model gets it: in training, random changes of image and label; in evaluation, what the
image processor does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import BaseImageProcessor
from transformers.utils import is_torchvision_available

from modeling_greenmim.training.command_line import UserError
from modeling_greenmim.training.image_decoding import RandomCrop

from classification_arguments import AugmentationArguments


def check_torchvision(args: AugmentationArguments):
    """Raises an error if something is asked for that torchvision does, and it is not installed."""
    wanted = [
        name
        for name in ("rand_augment_num_ops", "random_erasing_prob", "mixup_alpha", "cutmix_alpha")
        if getattr(args, name)
    ]
    if wanted and not is_torchvision_available():
        raise UserError(
            f"{', '.join('--' + name for name in wanted)}: torchvision does that, and is not installed. `pip install torchvision`, in "
            "the version that fits your torch."
        )


def check_num_channels(args: AugmentationArguments, num_channels: int):
    """Raises an error if RandAugment is asked for where there are no colors."""
    if args.rand_augment_num_ops and num_channels not in (1, 3):
        raise UserError(
            f"--rand_augment_num_ops changes colors: it needs images of 1 or 3 channels, and the model takes {num_channels}. Leave it "
            "out."
        )


@dataclass
class TrainingTransform:
    """
    A random crop, flipped half of the time; RandAugment (https://huggingface.co/papers/1909.13719); scaled and normalized as
    the image processor does it; random erasing (https://huggingface.co/papers/1708.04896).

    Args:
        args ([`AugmentationArguments`]):
            Which of them.
        image_size (`tuple[int, int]`):
            Height and width of the crops in pixels.
        image_processor (`BaseImageProcessor`):
            That of the model.
    """

    args: AugmentationArguments
    image_size: tuple[int, int]
    image_processor: BaseImageProcessor

    def __call__(self, pixels: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        """An image of shape `(num_channels, height, width)` to `(num_channels, *image_size)` in `float32`."""
        args = self.args
        crop = RandomCrop(self.image_size, args.min_crop_scale, args.flip)
        pixels = np.ascontiguousarray(crop(pixels, (*seed, 0)))
        with torch.random.fork_rng(devices=[]):
            # not `torch.manual_seed`, which seeds the devices, too
            torch.default_generator.manual_seed(int(np.random.default_rng((*seed, 1)).integers(2**63)))
            if args.rand_augment_num_ops:
                from torchvision.transforms import v2

                augment = v2.RandAugment(args.rand_augment_num_ops, args.rand_augment_magnitude)
                pixels = augment(torch.from_numpy(pixels)).numpy()
            pixel_values = self.image_processor(
                pixels,
                do_resize=False,
                do_center_crop=False,
                do_convert_rgb=False,
                input_data_format="channels_first",
                return_tensors="np",
            )["pixel_values"][0]
            if args.random_erasing_prob:
                from torchvision.transforms import v2

                pixel_values = v2.RandomErasing(args.random_erasing_prob)(torch.from_numpy(pixel_values)).numpy()
        return pixel_values


@dataclass
class EvaluationTransform:
    """
    What the image processor does, as it will in use.

    Args:
        image_processor (`BaseImageProcessor`):
            That of the model.
    """

    image_processor: BaseImageProcessor

    def __call__(self, pixels: np.ndarray, seed: Sequence[int] = ()) -> np.ndarray:
        """An image of shape `(num_channels, height, width)` to the input of the model. Nothing is random: there is no seed."""
        return self.image_processor(
            pixels, do_convert_rgb=False, input_data_format="channels_first", return_tensors="np"
        )["pixel_values"][0]


class MixupCutmix:
    """
    Mixup (https://huggingface.co/papers/1710.09412) and CutMix (https://huggingface.co/papers/1905.04899), one of them for each
    batch.

    Args:
        args ([`AugmentationArguments`]):
            With `mixup_alpha` or `cutmix_alpha`.
        num_labels (`int`):
            Number of classes.
    """

    def __init__(self, args: AugmentationArguments, num_labels: int):
        from torchvision.transforms import v2

        self.transforms = []
        if args.mixup_alpha:
            self.transforms.append(v2.MixUp(alpha=args.mixup_alpha, num_classes=num_labels))
        if args.cutmix_alpha:
            self.transforms.append(v2.CutMix(alpha=args.cutmix_alpha, num_classes=num_labels))

    def __call__(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns mixed images, and a probability of each class, of shape `(batch_size, num_labels)`."""
        transform = self.transforms[int(torch.randint(len(self.transforms), ()))]
        return transform(pixel_values, labels)
