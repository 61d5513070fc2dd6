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
"""Decoding and cropping: every kind of image, upright, and no kind of damage ends a run."""

import io
import random
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from modeling_greenmim import GreenMimImageProcessorPil
from modeling_greenmim.training.image_decoding import CenterCrop, ExampleMaker, RandomCrop, read_image
from modeling_greenmim.training.image_files import EncodedImage
from tests.helpers.training_images import encode


# how to write each Pillow format: name, mode, options
FORMATS = [
    *(
        ("AVIF", "RGB", {}),
        ("BLP", "P", {}),
        ("BMP", "RGB", {}),
        ("DDS", "RGBA", {}),
        ("DDS", "RGB", {"pixel_format": "DXT1"}),
    ),
    *(("DIB", "RGB", {}), ("GIF", "P", {}), ("ICNS", "RGBA", {}), ("ICO", "RGBA", {}), ("IM", "RGB", {})),
    *(("JPEG", "RGB", {}), ("JPEG", "CMYK", {}), ("JPEG", "L", {"progressive": True}), ("JPEG2000", "RGB", {})),
    *(("MPO", "RGB", {}), ("MSP", "1", {}), ("PCX", "RGB", {}), ("PNG", "RGB", {}), ("PNG", "I;16", {})),
    *(("PNG", "P", {}), ("PPM", "RGB", {}), ("PPM", "L", {}), ("SGI", "RGB", {}), ("SPIDER", "F", {})),
    *(("TGA", "RGB", {}), ("TIFF", "RGB", {}), ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("WEBP", "RGB", {})),
    *(("XBM", "1", {}), ("NPY", "RGB", {})),
    ("JPEG", "RGB", {"exif": True}),
]


def write_format(image_format: str, mode: str, options: dict) -> bytes:
    pixels = np.random.default_rng(0).integers(256, size=(9, 8, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(pixels).resize((64, 48))
    content = io.BytesIO()
    if image_format == "NPY":
        np.save(content, np.asarray(image))
    else:
        options = {**options, **({"exif": make_exif()} if options.get("exif") else {})}
        image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
        image.save(content, image_format, **options)
    return content.getvalue()


def make_exif(orientation: int = 6) -> bytes:
    exif = PIL.Image.Exif()
    exif[274], exif[271], exif[282] = orientation, "a camera", 72.0
    exif.get_ifd(34665).update({33434: 0.01, 36867: "2020:01:01 00:00:00", 37500: b"notes" * 20})
    exif.get_ifd(34853).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return exif.tobytes()


def mutate(content: bytes, rng: random.Random, start: int = 0, stop: int | None = None) -> bytes:
    """Apply one to sixteen changes: bytes, bits, cuts, repeats."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 16)):
        position = rng.randrange(start, max(start + 1, min(stop or len(content), len(content))))
        kind = rng.random()
        if kind < 0.45:
            content[position : position + 1] = bytes([rng.randrange(256)])
        elif kind < 0.8:
            content[position : position + 1] = bytes([content[position] ^ (1 << rng.randrange(8))]) if content else b""
        elif kind < 0.9 and position + 4 <= (stop or len(content)):
            content[position : position + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif stop is None and kind < 0.95:
            del content[position : position + rng.randrange(1, 64)]
        elif stop is None:
            content[position:position] = content[position : position + rng.randrange(1, 64)]
        if not content:
            content = bytearray(b"\0")
    return bytes(content)


def make_examples(contents):
    make_example = ExampleMaker(RandomCrop((16, 16)), num_channels=3, seed=0, max_pixels=2_000_000)
    for index, content in enumerate(contents):
        yield make_example(EncodedImage(str(index), content), epoch=0)


@pytest.mark.parametrize(
    "number", [pytest.param(20, id="short"), pytest.param(200, marks=pytest.mark.slow, id="long")]
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("image_format", FORMATS, ids=lambda case: f"{case[0]}-{case[1]}-{len(case[2])}")
def test_no_damage_escapes_the_decoder(image_format, number):
    """
    Each image is cropped or reported with a reason. An undamaged image is cropped if Pillow can read what it writes.
    """
    content = write_format(*image_format)
    rng = random.Random(zlib.crc32(repr(image_format).encode()))
    contents = [content, *(mutate(content, rng) for _ in range(number))]
    examples = list(make_examples(contents))
    assert len(examples) == len(contents)
    for example in examples:
        if example["pixels"] is None:
            assert len(example["unreadable"]) == 1
        else:
            assert example["pixels"].shape == (3, 16, 16) and not example["unreadable"]
    if image_format[1] not in ("F", "CMYK"):
        assert examples[0]["pixels"] is not None, examples[0]["unreadable"]


@pytest.mark.parametrize(
    "number", [pytest.param(200, id="short"), pytest.param(5000, marks=pytest.mark.slow, id="long")]
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_an_image_with_damaged_exif_is_kept(image_format, number):
    """The pixels are complete."""
    clean = encode(100, (20, 30), "RGB", image_format, exif=make_exif())
    start = clean.index(b"MM\0*") if b"MM\0*" in clean else clean.index(b"II*\0")
    stop = start + len(make_exif()) - 6
    rng = random.Random(0)
    contents = [mutate(clean, rng, start, stop) for _ in range(number)]
    examples = list(make_examples(contents))
    num_kept = sum(example["pixels"] is not None for example in examples)
    # PNG has a checksum for each part; Pillow refuses the image if it is wrong
    assert num_kept == number or image_format == "PNG"
    processor = GreenMimImageProcessorPil(do_resize=False)
    for content in contents[:200]:
        if image_format != "PNG":
            processor(PIL.Image.open(io.BytesIO(content)), return_tensors="np")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_upright_as_pillow_does(image_format, orientation):
    pixels = np.random.default_rng(0).integers(256, size=(3, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    image = PIL.Image.fromarray(pixels).resize((16, 24), PIL.Image.Resampling.NEAREST)
    image.save(content, image_format, exif=make_exif(orientation))
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(content))
    np.testing.assert_array_equal(read_image(content.getvalue(), 3), np.moveaxis(np.asarray(expected), -1, 0))
    gray = np.asarray(expected.convert("L"))[None]
    np.testing.assert_array_equal(read_image(content.getvalue(), 1), gray)


@pytest.mark.parametrize(
    ("mode", "num_channels", "expected"),
    [("RGB", 1, 1), ("L", 1, 1), ("L", 3, 3), ("RGBA", 3, 3), ("RGBA", 4, 4), ("CMYK", 4, 4), ("P", 3, 3)],
)
def test_images_are_read_in_the_channels_of_the_model(mode, num_channels, expected):
    image_format = "TIFF" if mode == "CMYK" else "PNG"
    pixels = read_image(encode(100, (5, 7), mode, image_format), num_channels)
    assert pixels.shape == (expected, 7, 5) and pixels.dtype == np.uint8


def test_arrays_of_many_channels_are_read_and_pickles_are_not():
    array = np.random.default_rng(0).random((13, 20, 30)).astype(np.float32)
    content = io.BytesIO()
    np.save(content, array)
    np.testing.assert_array_equal(read_image(content.getvalue(), 13), array)
    with pytest.raises(ValueError, match="13 channels, but the model takes 4"):
        read_image(content.getvalue(), 4)
    content = io.BytesIO()
    np.save(content, np.array([{"a": "pickle"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError):
        read_image(content.getvalue(), 3)


def test_images_of_too_many_pixels_are_not_decoded(monkeypatch):
    content = encode(100, (30, 20), "RGB")
    assert read_image(content, 3, max_pixels=600).shape == (3, 20, 30)
    monkeypatch.setattr(PIL.Image.Image, "convert", None)
    with pytest.raises(ValueError, match="30 x 20 pixels, more than --max_pixels 599"):
        read_image(content, 3, max_pixels=599)


def test_programs_are_not_run():
    content = encode(100, (8, 8), "RGB", "EPS")
    assert content.startswith(b"%!PS")
    with pytest.raises(ValueError, match="a program"):
        read_image(content, 3)


@pytest.mark.parametrize("num_channels", [1, 3, 4, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crops_follow_from_their_seed(num_channels, dtype):
    pixels = np.random.default_rng(0).integers(0, 255, (num_channels, 40, 60)).astype(dtype)
    crop = RandomCrop((16, 24))
    first, again, other = crop(pixels, (0, 1)), crop(pixels, (0, 1)), crop(pixels, (0, 2))
    assert first.shape == (num_channels, 16, 24) and first.dtype == dtype
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_crop_of_everything_is_the_resized_image():
    """Tested at the one aspect ratio that keeps the full image, with a flip half of the time."""
    image = PIL.Image.effect_mandelbrot((64, 64), (-2, -1.2, 0.8, 1.2), 30)
    pixels = np.asarray(image)[None]
    whole = np.asarray(image.resize((16, 16), PIL.Image.Resampling.BICUBIC)).astype(int)
    crop = RandomCrop((16, 16), min_scale=1.0)
    crops = [crop(pixels, (seed,))[0].astype(int) for seed in range(200)]
    nearest = [min(abs(c - whole).mean(), abs(c[:, ::-1] - whole).mean()) for c in crops]
    assert min(nearest) < 2.0
    is_flipped = [abs(c[:, ::-1] - whole).mean() < abs(c - whole).mean() for c in crops]
    assert 0.35 < np.mean(is_flipped) < 0.65
    assert not any(
        abs(c[:, ::-1] - whole).mean() < abs(c - whole).mean()
        for c in (RandomCrop((16, 16), 1.0, flip=False)(pixels, (seed,))[0].astype(int) for seed in range(20))
    )


def test_the_center_is_cropped():
    pixels = np.zeros((2, 30, 90), dtype=np.uint8)
    pixels[:, :, 30:60] = 200
    # resizing mixes a few adjacent pixels into a crop's edges
    assert (CenterCrop((10, 10))(pixels)[:, :, 2:-2] == 200).all()
    assert CenterCrop((10, 30))(pixels).shape == (2, 10, 30) and CenterCrop((10, 30))(pixels).min() == 0
    assert (CenterCrop((8, 8))(np.swapaxes(pixels, 1, 2))[:, 2:-2] == 200).all()
