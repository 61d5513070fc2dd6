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
# /// script
# requires-python = ">=3.10"
# dependencies = ["datasets>=4.0", "numpy", "pillow", "scikit-learn>=1.4"]
# ///
"""
Create a small data set for segmentation and detection without a download. It shows photographs with stickers: round
pieces of paper with a handwritten digit.

    python make_pasted_digits.py --output_dir pasted_digits

Digits and photographs come with scikit-learn. Stickers are pasted at known positions, so masks and boxes are exact.
Images differ in size and shape, stickers in color and size. Stickers may overlap; a sticker that is more than half
covered is not labeled. No digit and no part of a photograph is in both splits.

Columns: `image`; `annotation`, a class map with 0 for the background and 1 to 10 for stickers with the digits 0 to 9;
`image_id`, `width`, `height`, and `objects`, with `id`, `area` and `bbox` (left, top, width, height) in pixels, and
`category` from 0 to 9. `id2label.json` has the class names of `annotation`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import PIL.Image
from datasets import ClassLabel, Dataset, Features, Image, Sequence, Value
from sklearn.datasets import load_digits, load_sample_images
from tqdm.auto import tqdm


NUM_CLASSES = 10
FEATURES = Features(
    {
        "image_id": Value("int64"),
        "image": Image(),
        "width": Value("int32"),
        "height": Value("int32"),
        "annotation": Image(),
        "objects": {
            "id": Sequence(Value("int64")),
            "area": Sequence(Value("int64")),
            "bbox": Sequence(Sequence(Value("float32"), length=4)),
            "category": Sequence(ClassLabel(names=[str(digit) for digit in range(NUM_CLASSES)])),
        },
    }
)
EVALUATION_FRACTION = 0.25  # fraction of the digits and of each photograph
IMAGE_SIZES = (64, 128)  # smallest and largest side, in pixels
STICKER_SIZES = (24, 52)  # smallest and largest diameter, in pixels
MAX_STICKERS = 4
PAPER_VALUES, INK_VALUES = (180, 256), (0, 80)  # ranges of each color channel
DIGIT_FRACTION = 0.75  # of the diameter of a sticker
MIN_VISIBLE_FRACTION = 0.5


def make_image(rng: np.random.Generator, photographs: list[np.ndarray], digits: list[tuple[np.ndarray, int]]):
    """
    Create an image from a part of a photograph and from digits, each an ink array from 0 to 1 of shape `(8, 8)` and a
    class. Returns the pixels, of shape `(height, width, 3)`, and a list of objects, each a class and a mask of shape
    `(height, width)`.
    """
    height, width = rng.integers(IMAGE_SIZES[0], IMAGE_SIZES[1] + 1, size=2)
    photograph = photographs[rng.integers(len(photographs))]
    top, left = (rng.integers(total - part + 1) for total, part in zip(photograph.shape, (height, width)))
    pixels = photograph[top : top + height, left : left + width].astype(float)
    objects = []
    for _ in range(rng.integers(1, MAX_STICKERS + 1)):
        digit, label = digits[rng.integers(len(digits))]
        sticker, is_paper = make_sticker(rng, digit)
        size = len(sticker)
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        mask = np.zeros((height, width), dtype=bool)
        mask[top : top + size, left : left + size] = is_paper
        pixels[mask] = sticker[is_paper]
        objects = [(other, other_mask & ~mask, number) for other, other_mask, number in objects]
        objects.append((label, mask, mask.sum()))
    objects = [(label, mask) for label, mask, number in objects if mask.sum() >= MIN_VISIBLE_FRACTION * number]
    return pixels.clip(0, 255).astype(np.uint8), objects


def make_sticker(rng: np.random.Generator, digit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Create a sticker, pixels `(size, size, 3)` and mask `(size, size)`, from a digit of shape `(8, 8)` from 0 to 1.
    """
    size = int(rng.integers(STICKER_SIZES[0], STICKER_SIZES[1] + 1))
    digit_size = round(DIGIT_FRACTION * size)
    ink = PIL.Image.fromarray((255 * digit).astype(np.uint8))
    ink = ink.resize((digit_size, digit_size), PIL.Image.Resampling.BICUBIC)
    margin = size - digit_size
    ink = np.pad(np.asarray(ink) / 255, (margin // 2, margin - margin // 2))[:, :, None]
    distances = np.arange(size) - (size - 1) / 2
    is_paper = distances[:, None] ** 2 + distances**2 <= (size / 2) ** 2
    paper_color, ink_color = rng.integers(*PAPER_VALUES, size=3), rng.integers(*INK_VALUES, size=3)
    return ink * ink_color + (1 - ink) * paper_color, is_paper


def get_box(mask: np.ndarray) -> list[float]:
    """Return the smallest box around a mask: left, top, width, height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def make_split(name: str, num_images: int, seed: int) -> Dataset:
    """Create the `train` or `validation` images, with the columns of `FEATURES`."""
    rng = np.random.default_rng([seed, name == "train"])
    data = load_digits()
    digits = [(ink / 16, int(label)) for ink, label in zip(data.images, data.target)]
    photographs = [np.asarray(photograph) for photograph in load_sample_images().images]
    # The right part of each photograph and the last digits are reserved for evaluation
    first_digit, first_column = (
        round((1 - EVALUATION_FRACTION) * size) for size in (len(digits), photographs[0].shape[1])
    )
    digits = digits[:first_digit] if name == "train" else digits[first_digit:]
    columns = slice(first_column) if name == "train" else slice(first_column, None)
    photographs = [photograph[:, columns] for photograph in photographs]
    rows = []
    for image_id in tqdm(range(num_images), desc=name):
        pixels, objects = make_image(rng, photographs, digits)
        annotation = np.zeros(pixels.shape[:2], dtype=np.uint8)
        for label, mask in objects:
            annotation[mask] = label + 1
        rows.append(
            {
                "image_id": image_id,
                "image": PIL.Image.fromarray(pixels),
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "annotation": PIL.Image.fromarray(annotation),
                "objects": {
                    "id": list(range(100 * image_id, 100 * image_id + len(objects))),
                    "area": [int(mask.sum()) for _, mask in objects],
                    "bbox": [get_box(mask) for _, mask in objects],
                    "category": [label for label, _ in objects],
                },
            }
        )
    return Dataset.from_list(rows, features=FEATURES)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--output_dir", type=Path, default="pasted_digits", help="Folder to write. [%(default)s]")
    parser.add_argument("--num_train_images", type=int, default=2000, help="Number of training images. [%(default)s]")
    parser.add_argument("--num_eval_images", type=int, default=300, help="Number of evaluation images. [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="Random seed for the images. [%(default)s]")
    args = parser.parse_args()
    if (number := min(args.num_train_images, args.num_eval_images)) < 1:
        parser.error(f"--num_train_images and --num_eval_images must be at least 1, got {number}")
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for name, number in (("train", args.num_train_images), ("validation", args.num_eval_images)):
        make_split(name, number, args.seed).to_parquet(args.output_dir / f"{name}-0.parquet")
    (args.output_dir / "id2label.json").write_text(json.dumps(["background", *map(str, range(NUM_CLASSES))]))
    print(f"Wrote {args.num_train_images} training and {args.num_eval_images} evaluation images to {args.output_dir}")


if __name__ == "__main__":
    main()
