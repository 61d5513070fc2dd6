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
"""Tests of both image processors.

Oracles are the image processors of transformers' ViT, PIL, and NumPy formulas. The torchvision backend is tested if
torchvision can be imported.
"""

import ast
import inspect
import io

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedConfig
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling

# without torchvision, the class at the top level of transformers 5.17 is a placeholder
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.utils import is_torchvision_available

from modeling_greenmim import image_conversion_greenmim, image_processing_pil_greenmim
from modeling_greenmim.image_conversion_greenmim import infer_channel_dimension
from modeling_greenmim.image_processing_pil_greenmim import GreenMimImageProcessorPil
from modeling_greenmim.masking_greenmim import sample_masks, sample_secondary_masks


PROCESSORS = {"pil": GreenMimImageProcessorPil}
VIT_PROCESSORS = {"pil": ViTImageProcessorPil}
if is_torchvision_available():
    from transformers.models.vit.image_processing_vit import ViTImageProcessor

    from modeling_greenmim.image_processing_greenmim import GreenMimImageProcessor

    PROCESSORS["torchvision"] = GreenMimImageProcessor
    VIT_PROCESSORS["torchvision"] = ViTImageProcessor

needs_torchvision = pytest.mark.skipif(not is_torchvision_available(), reason="torchvision is not installed")

# keeps channels and values as they are
RAW = {
    "do_convert_rgb": False,
    "do_resize": False,
    "do_rescale": False,
    "do_normalize": False,
}
RAW_RGB = {**RAW, "do_convert_rgb": True}


@pytest.fixture(params=["pil", pytest.param("torchvision", marks=needs_torchvision)])
def backend(request):
    return request.param


def make_array(height=40, width=60, num_channels=3, dtype=np.uint8, seed=0):
    high = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    return (np.random.default_rng(seed).random((height, width, num_channels)) * high).astype(dtype)


def make_picture(height, width, seed=0):
    """Create an image with areas, lines and little noise, similar to a photo and unlike pure noise."""
    rng = np.random.default_rng(seed)
    picture = PIL.Image.new("RGB", (width, height), (90, 120, 150))
    draw = PIL.ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = sorted(rng.integers(width, size=2).tolist()), sorted(rng.integers(height, size=2).tolist())
        draw.ellipse([x[0], y[0], x[1], y[1]], fill=tuple(rng.integers(40, 216, size=3).tolist()))
    noise = rng.integers(-4, 5, size=(height, width, 3))
    return PIL.Image.fromarray((np.array(picture) + noise).astype(np.uint8))


def process(backend, images, call_kwargs=None, **kwargs):
    return PROCESSORS[backend](**kwargs)(images, return_tensors="np", **(call_kwargs or {}))


def to_file_and_back(image, file_format, **kwargs):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **kwargs)
    buffer.seek(0)
    return PIL.Image.open(buffer)


# Agreement with transformers and between the backends


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"do_normalize": False, "size": {"height": 96, "width": 64}},
        {"size": {"shortest_edge": 48}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
        {"resample": PILImageResampling.NEAREST, "size": 50},
        {"do_resize": False, "do_center_crop": True, "crop_size": 30},
    ],
)
def test_equals_vit(backend, kwargs):
    images = [
        make_picture(70, 50),
        make_array(40, 60),
        make_array(64, 64).transpose(2, 0, 1),
        torch.from_numpy(make_array(33, 91).transpose(2, 0, 1).copy()),
    ]
    vit_kwargs = {
        "resample": PILImageResampling.BICUBIC,
        "image_mean": IMAGENET_DEFAULT_MEAN,
        "image_std": IMAGENET_DEFAULT_STD,
        **kwargs,
    }
    expected = VIT_PROCESSORS[backend](**vit_kwargs)(images, return_tensors="np")["pixel_values"]
    pixel_values = process(backend, images, **kwargs)["pixel_values"]
    assert pixel_values.dtype == np.float32
    np.testing.assert_allclose(pixel_values, expected, rtol=0, atol=1e-6)


@needs_torchvision
@pytest.mark.parametrize("kwargs", [{}, {"size": {"shortest_edge": 128}, "do_center_crop": True, "crop_size": 128}])
def test_backends_agree(kwargs):
    images = [make_picture(300, 400, seed=0), make_picture(180, 150, seed=1), np.array(make_picture(224, 500, seed=2))]
    pil, torchvision = (
        process(backend, images, do_mask=True, mask_seed=3, **kwargs) for backend in ("pil", "torchvision")
    )
    difference = np.abs(pil["pixel_values"] - torchvision["pixel_values"])
    assert difference.max() < 0.1 and difference.mean() < 5e-3
    np.testing.assert_array_equal(pil["bool_masked_pos"], torchvision["bool_masked_pos"])


@needs_torchvision
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "I;16"])
def test_backends_are_equal_without_resize(mode):
    array = make_array(num_channels=1, dtype=np.uint16)[..., 0]
    image = PIL.Image.fromarray(array) if mode == "I;16" else make_picture(40, 60).convert(mode)
    if mode == "RGBA":
        image.putalpha(make_picture(40, 60, seed=1).convert("L"))
    pil, torchvision = (process(backend, image, do_resize=False)["pixel_values"] for backend in PROCESSORS)
    np.testing.assert_allclose(pil, torchvision, rtol=0, atol=1e-6)


# Conversion to RGB


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB"])
def test_opaque_modes_are_converted_as_pil_does(backend, mode):
    image = make_picture(20, 30).convert(mode)
    expected = np.array(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(process(backend, image, **RAW_RGB)["pixel_values"][0], expected)


def make_transparent_image(mode):
    alpha = PIL.Image.fromarray(np.arange(0, 240, dtype=np.uint8).reshape(12, 20))
    image = make_picture(12, 20)
    if mode in ("LA", "RGBA"):
        image.putalpha(alpha)
        return image.convert(mode)
    image = image.convert(mode)  # the transparency of a PNG file is one color in its info
    image.info["transparency"] = image.getpixel((0, 0))
    return to_file_and_back(image, "PNG")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L", "RGB"])
def test_transparency_is_composited_onto_white(backend, mode):
    image = make_transparent_image(mode)
    rgba = np.array(image.convert("RGBA")).astype(np.float64)
    alpha = rgba[..., 3:] / 255
    assert alpha.min() == 0 < alpha.max()
    expected = (rgba[..., :3] * alpha + 255 * (1 - alpha)).transpose(2, 0, 1)
    pixel_values = process(backend, image, **RAW_RGB)["pixel_values"][0]
    assert np.abs(pixel_values - expected).max() <= 1
    assert (pixel_values[:, alpha[..., 0] == 0] == 255).all()


def test_rgba_arrays_equal_rgba_pil_images(backend):
    image = make_transparent_image("RGBA")
    expected = process(backend, image, **RAW_RGB)["pixel_values"]
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for array in (np.array(image), tensor):
        np.testing.assert_array_equal(process(backend, array, **RAW_RGB)["pixel_values"], expected)
    from_float = process(backend, tensor / 255, **RAW_RGB)["pixel_values"] * 255
    np.testing.assert_allclose(from_float, expected, rtol=0, atol=1)


@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30), (20, 30, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, bool])
def test_grey_arrays_are_repeated(backend, shape, dtype):
    gray = make_array(20, 30, 1)[..., 0]
    gray = gray > 127 if dtype is bool else gray.astype(dtype)
    pixel_values = process(backend, gray.reshape(shape), **RAW_RGB)["pixel_values"][0]
    np.testing.assert_array_equal(pixel_values, np.stack([gray * 255 if dtype is bool else gray] * 3))


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "int32"])
@pytest.mark.parametrize("as_pil", [True, False])
def test_16_bit_grey_is_scaled_to_8_bit(backend, dtype, as_pil):
    gray = make_array(20, 30, 1)[..., 0]
    image = np.minimum(gray.astype(np.int64) * 257 + 100, 65535).astype(dtype)  # 8 bit of 257 levels each
    if as_pil:
        image = PIL.Image.fromarray(image)
        assert image.mode == {"<u2": "I;16", ">u2": "I;16B", "int32": "I"}[dtype]
    np.testing.assert_array_equal(process(backend, image, **RAW_RGB)["pixel_values"][0], np.stack([gray] * 3))


def test_dark_16_bit_grey_stays_dark(backend):
    image = PIL.Image.fromarray(np.full((20, 30), 200, dtype=np.uint16))
    assert process(backend, image, **RAW_RGB)["pixel_values"].max() == 1


def test_8_bit_grey_in_32_bit_keeps_its_values(backend):
    image = PIL.Image.new("L", (30, 20), 200).convert("I")
    assert process(backend, image, **RAW_RGB)["pixel_values"].min() == 200


TURNS = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kwargs", [RAW, RAW_RGB])
def test_exif_orientation_is_applied(backend, orientation, kwargs):
    image = make_picture(12, 20)
    exif = image.getexif()
    exif[274] = orientation
    turned = to_file_and_back(image, "PNG", exif=exif)
    expected = TURNS[orientation](np.array(image)).transpose(2, 0, 1)
    np.testing.assert_array_equal(process(backend, turned, **kwargs)["pixel_values"][0], expected)


# Any number of channels, any range of values


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 13])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", ">u2", "int32", "float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_channels_and_values_are_kept(backend, num_channels, dtype, layout, as_tensor):
    array = make_array(20, 30, num_channels, np.dtype(dtype).newbyteorder("="))
    mean, std = np.linspace(0.1, 0.9, num_channels).tolist(), np.linspace(0.2, 0.5, num_channels).tolist()
    factor = 1 / 255 if dtype == "uint8" else 1 / 65535
    expected = ((array.astype(np.float64) * factor - mean) / std).transpose(2, 0, 1)
    image = (array.transpose(2, 0, 1) if layout == "first" else array).astype(dtype, order="C")
    if as_tensor:
        image = torch.from_numpy(image.astype(np.dtype(dtype).newbyteorder("=")))
    kwargs = {"do_convert_rgb": False, "do_resize": False, "rescale_factor": factor}
    pixel_values = process(backend, image, image_mean=mean, image_std=std, **kwargs)["pixel_values"][0]
    np.testing.assert_allclose(pixel_values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 13])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("size", [{"height": 32, "width": 48}, {"shortest_edge": 32}, {"height": 90, "width": 90}])
@pytest.mark.parametrize("resample", [PILImageResampling.BICUBIC, PILImageResampling.BILINEAR])
def test_resize_neither_clips_nor_quantizes(backend, num_channels, dtype, size, resample):
    array = make_array(40, 60, num_channels, np.dtype(dtype)) - (0.5 if dtype == "float32" else 0)
    array = array.astype(dtype)
    height, width = (32, 48) if "shortest_edge" in size else (size["height"], size["width"])
    planes = [PIL.Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(array, -1, 0)]
    expected = np.stack([np.array(plane.resize((width, height), resample)) for plane in planes])
    kwargs = {**RAW, "do_resize": True, "size": size, "resample": resample}
    pixel_values = process(backend, array, **kwargs)["pixel_values"][0]
    np.testing.assert_allclose(pixel_values, expected, rtol=0, atol=1e-5 * np.abs(array).max())
    if resample == PILImageResampling.BICUBIC:
        assert expected.min() < array.min()  # otherwise there would be nothing to clip


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 13])
def test_resize_of_8_bit_channels_is_that_of_pil(backend, num_channels):
    array = np.stack([np.array(make_picture(80, 90, seed).convert("L")) for seed in range(num_channels)])
    array[-1, :, :45] = 0  # as an alpha channel, it would blacken the other channels
    planes = [PIL.Image.fromarray(plane).resize((48, 32), PILImageResampling.BICUBIC) for plane in array]
    pixel_values = process(backend, array, **{**RAW, "do_resize": True}, size={"height": 32, "width": 48})
    difference = np.abs(pixel_values["pixel_values"][0] - np.stack(planes).astype(np.float32))
    assert difference.max() <= {"pil": 0, "torchvision": 2}[backend]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_tiff_keeps_its_values(backend, dtype):
    array = make_array(20, 30, 1, np.dtype(dtype))[..., 0]
    image = to_file_and_back(PIL.Image.fromarray(array), "TIFF")
    assert image.mode == {"uint8": "L", "uint16": "I;16", "int32": "I", "float32": "F"}[dtype]
    pixel_values = process(backend, image, **RAW)["pixel_values"]
    assert pixel_values.shape == (1, 1, 20, 30)
    np.testing.assert_array_equal(pixel_values[0, 0], array.astype(np.float32))


@pytest.mark.parametrize("value", [0.25, [0.25] * 13])
def test_mean_and_std_may_be_one_float(backend, value):
    array = make_array(32, 32, 13, np.float32)
    kwargs = {"do_convert_rgb": False, "do_rescale": False, "do_resize": False}
    pixel_values = process(backend, array, image_mean=value, image_std=value, **kwargs)["pixel_values"][0]
    np.testing.assert_allclose(pixel_values, (array.transpose(2, 0, 1) - 0.25) / 0.25, atol=1e-5)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((3, 20, 30), "channels_first"),
        ((20, 30, 3), "channels_last"),
        ((4, 20, 2), "channels_first"),
        ((2, 20, 30), "channels_first"),
        ((20, 30, 2), "channels_last"),
        ((4, 4, 3), "channels_last"),
        ((100, 64, 200), None),
        ((3, 20, 3), None),
        ((64, 64, 64), None),
        ((64, 32, 32), None),
    ],
)
def test_layout_of_shape(shape, expected):
    if expected is None:
        with pytest.raises(ValueError, match="input_data_format"):
            infer_channel_dimension(shape)
    else:
        assert infer_channel_dimension(shape).value == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(21, 40), st.integers(21, 40))
def test_both_layouts_give_the_same(num_channels, height, width):
    array = make_array(height, width, num_channels)
    last, first = (process("pil", image, **RAW)["pixel_values"] for image in (array, array.transpose(2, 0, 1)))
    assert last.shape == (1, num_channels, height, width)
    np.testing.assert_array_equal(last, first)


@pytest.mark.parametrize("layout, shape", [("channels_first", (16, 16, 16)), ("channels_last", (16, 16, 16))])
def test_input_data_format_is_honored(backend, layout, shape):
    array = make_array(*shape)
    pixel_values = process(backend, array, {"input_data_format": layout}, **RAW)["pixel_values"][0]
    np.testing.assert_array_equal(pixel_values, array if layout == "channels_first" else array.transpose(2, 0, 1))


# Masks


def test_no_mask_unless_asked_for(backend):
    assert list(process(backend, make_picture(50, 60))) == ["pixel_values"]
    assert PROCESSORS[backend].model_input_names == ["pixel_values", "bool_masked_pos", "secondary_masked_pos"]


@pytest.mark.parametrize("sampler", ["random", "block"])
@pytest.mark.parametrize("per_sample", [True, False])
def test_masks_are_those_of_the_sampler(backend, sampler, per_sample):
    kwargs = {"mask_ratio": 0.6, "mask_sampler": sampler, "mask_seed": 7, "mask_per_sample": per_sample}
    size = {"height": 64, "width": 96}
    inputs = process(backend, [make_picture(50, 60)] * 5, do_mask=True, mask_unit_size=16, size=size, **kwargs)
    expected = sample_masks(5, (4, 6), 0.6, sampler, 7, per_sample)
    np.testing.assert_array_equal(inputs["bool_masked_pos"], expected)
    assert len(np.unique(inputs["bool_masked_pos"], axis=0)) == (5 if per_sample else 1)


@pytest.mark.parametrize("per_sample", [True, False])
def test_secondary_masks_are_those_of_the_masks(backend, per_sample):
    kwargs = {"mask_sampler": "uniform", "mask_seed": 7, "mask_per_sample": per_sample, "secondary_mask_ratio": 0.25}
    size = {"height": 64, "width": 128}
    inputs = process(backend, [make_picture(50, 60)] * 5, do_mask=True, mask_unit_size=16, size=size, **kwargs)
    masks = sample_masks(5 if per_sample else 1, (4, 8), 0.75, "uniform", 7)
    expected = np.broadcast_to(sample_secondary_masks(masks, 0.25, 7), (5, 32))
    np.testing.assert_array_equal(inputs["secondary_masked_pos"], expected)
    assert list(inputs) == ["pixel_values", "bool_masked_pos", "secondary_masked_pos"]


def test_masks_differ_without_a_seed(backend):
    processor = PROCESSORS[backend](do_mask=True)
    first, second = (processor(make_picture(50, 60))["bool_masked_pos"][0] for _ in range(2))
    assert (first != second).any()
    assert first.sum() == second.sum() == 37


@pytest.mark.parametrize("return_tensors, types", [("np", [np.ndarray]), ("pt", [torch.Tensor]), (None, [list])])
def test_return_tensors(backend, return_tensors, types):
    inputs = PROCESSORS[backend](do_mask=True)([make_picture(50, 60)] * 2, return_tensors=return_tensors)
    assert [type(value) for value in inputs.values()] == types * 2
    assert tuple(np.shape(inputs["pixel_values"][1])) == (3, 224, 224)
    assert tuple(np.shape(inputs["bool_masked_pos"][1])) == (49,)
    assert str(inputs["bool_masked_pos"][0].dtype) in ("bool", "torch.bool")
    assert type(inputs["bool_masked_pos"][0]) is type(inputs["pixel_values"][0])


@pytest.mark.parametrize(
    "size, heights, widths",
    [((100, 230), "96 or 128", "224 or 256"), ((64, 70), "64", "64 or 96"), ((20, 64), "32", "64")],
)
def test_size_must_be_made_of_whole_units(backend, size, heights, widths):
    kwargs = {"size": {"height": size[0], "width": size[1]}}
    with pytest.raises(ValueError, match=f"32 x 32 .* {size[0]} x {size[1]} .* {heights}, .* {widths}."):
        process(backend, make_picture(50, 60), do_mask=True, **kwargs)
    process(backend, make_picture(50, 60), **kwargs)


def test_masks_need_one_size(backend):
    images = [make_picture(64, 64), make_picture(64, 96)]
    with pytest.raises(ValueError, match=r"same size.*\(64, 64\), \(64, 96\)"):
        PROCESSORS[backend](do_mask=True, do_resize=False)(images)
    assert len(PROCESSORS[backend](do_resize=False)(images)["pixel_values"]) == 2


# Errors, inputs and saving


@pytest.mark.parametrize(
    "images, kwargs, error, match",
    [
        ([], {}, ValueError, "empty list"),
        ("", {}, ValueError, "paths or URLs of images where they are strings, got ''"),
        (":", {}, ValueError, "paths or URLs of images where they are strings, got ':'"),
        (np.zeros((0, 3, 20, 30)), {}, ValueError, "empty list"),
        (None, {}, TypeError, "NoneType"),
        ([[1, 2], [3, 4]], {}, TypeError, "int"),
        (np.zeros(30), {}, ValueError, r"\(30,\)"),
        (np.zeros((3, 0, 30)), {}, ValueError, r"\(3, 0, 30\)"),
        (np.full((20, 30), "x"), {}, ValueError, "<U1"),
        (np.full((3, 20, 30), np.nan), {}, ValueError, "NaN"),
        (np.full((3, 20, 30), np.inf), {}, ValueError, "infinity"),
        (np.zeros((20, 30, 13)), {}, ValueError, "13 channels.*do_convert_rgb=False"),
        (np.zeros((2, 20, 30)), {}, ValueError, "2 channels.*do_convert_rgb=False"),
        (np.full((4, 20, 30), 2.0), {}, ValueError, "do_convert_rgb=False"),
        (np.full((3, 20, 30), -1), {}, ValueError, "int64.*-1.*rescale_factor"),
        (PIL.Image.new("F", (30, 20)), {}, ValueError, "'F'.*do_convert_rgb=False.*rescale_factor"),
        (PIL.Image.new("I", (30, 20), 65536), {}, ValueError, "'I'.*65536.*do_convert_rgb=False.*rescale_factor"),
        (PIL.Image.new("I", (30, 20), -1), {}, ValueError, "'I'.*do_convert_rgb=False.*rescale_factor"),
        (PIL.Image.new("P", (30, 20)), {"do_convert_rgb": False}, ValueError, "'P'.*do_convert_rgb=True"),
        (np.zeros((20, 20, 20)), {"do_convert_rgb": False}, ValueError, "input_data_format"),
        (np.zeros((20, 30, 13)), {"do_convert_rgb": False}, ValueError, "image_mean.* 13 .* 3 .*one float"),
        (PIL.Image.new("RGB", (30, 20)), {"image_std": [1.0]}, ValueError, "image_std.* 3 .* 1 .*one float"),
        (PIL.Image.new("RGB", (30, 20)), {"image_std": [1.0, 0.0, 1.0]}, ValueError, "image_std.*above 0.*0.0"),
        ([np.zeros((20, 30, 3)), np.zeros((20, 30))], {"do_convert_rgb": False}, ValueError, r"\[1, 3\]"),
        (
            PIL.Image.new("RGB", (30, 20)),
            {"do_mask": True, "mask_sampler": "x"},
            ValueError,
            "mask_sampler.*random.*block.*x",
        ),
        (PIL.Image.new("RGB", (30, 20)), {"do_mask": True, "mask_ratio": 1.0}, ValueError, "mask_ratio"),
        (PIL.Image.new("RGB", (30, 20)), {"do_mask": True, "mask_unit_size": 0}, ValueError, "mask_unit_size"),
        (PIL.Image.new("RGB", (30, 20)), {"do_mask": True, "mask_unit_size": 224}, ValueError, "2 mask units"),
    ],
)
def test_errors_say_what_to_do(backend, images, kwargs, error, match):
    with pytest.raises(error, match=match):
        PROCESSORS[backend](**kwargs)(images)


@pytest.mark.parametrize("kwargs", [{"mask_ratio": "x"}, {"mask_unit_size": 1.5}, {"mask_rato": 0.5}])
def test_arguments_are_checked(backend, kwargs):
    with pytest.raises(Exception, match=next(iter(kwargs))):
        PROCESSORS[backend]()(make_picture(20, 30), **kwargs)


def test_any_nesting_of_images(backend):
    picture = make_picture(20, 30)
    array = np.array(picture)
    batch = np.stack([array, array])
    for images in (
        picture,
        array,
        [picture, array],
        batch,
        [batch, picture],
        [[picture], (array,)],
        torch.tensor(batch),
    ):
        pixel_values = process(backend, images)["pixel_values"]
        np.testing.assert_array_equal(pixel_values, np.repeat(pixel_values[:1], len(pixel_values), axis=0))


@pytest.mark.parametrize("make_view", [np.fliplr, lambda image: np.broadcast_to(image[:1], image.shape)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_views_are_read_and_not_written(backend, make_view, dtype):
    view = make_view(make_array(20, 30, 3, dtype))
    before = view.copy()
    pixel_values = process(backend, view, do_resize=False, do_rescale=False)["pixel_values"][0]
    np.testing.assert_array_equal(view, before)
    expected = (before - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD
    np.testing.assert_allclose(pixel_values, expected.transpose(2, 0, 1), atol=1e-5)


def test_bfloat16_with_gradient(backend):
    tensor = torch.rand(3, 32, 32, dtype=torch.bfloat16, requires_grad=True)
    pixel_values = process(backend, tensor, **RAW)["pixel_values"][0]
    np.testing.assert_array_equal(pixel_values, tensor.detach().float().numpy())


class ImageProcessorTestConfig(PreTrainedConfig):
    model_type = "greenmim-image-processor-test"


def test_settings_survive_saving(backend, tmp_path):
    AutoImageProcessor.register(ImageProcessorTestConfig, image_processor_classes=dict(PROCESSORS), exist_ok=True)
    changed = {
        "size": {"height": 64, "width": 96},
        "crop_size": {"height": 32, "width": 64},
        "do_center_crop": True,
        "resample": 2,
        "image_mean": [0.1, 0.2],
        "image_std": 0.3,
        "rescale_factor": 1 / 65535,
        "do_convert_rgb": False,
        "do_mask": True,
        "mask_ratio": 0.6,
        "mask_sampler": "block",
        "mask_unit_size": 8,
        "mask_seed": 11,
        "mask_per_sample": False,
        "secondary_mask_ratio": 0.25,
    }
    processor = PROCESSORS[backend](**changed)
    processor.save_pretrained(tmp_path)
    image = make_array(50, 70, 2, np.uint16)
    for loaded in (
        PROCESSORS[backend].from_pretrained(tmp_path),
        AutoImageProcessor.from_pretrained(tmp_path, backend=backend),
    ):
        assert type(loaded) is PROCESSORS[backend]
        assert loaded.to_dict() == processor.to_dict()
        for key, value in changed.items():
            loaded_value = loaded.to_dict()[key]
            assert (list(loaded_value) if isinstance(loaded_value, tuple) else loaded_value) == value
        inputs, expected = loaded(image), processor(image)
        for name in ("pixel_values", "bool_masked_pos"):
            np.testing.assert_array_equal(inputs[name][0], expected[name][0])


@pytest.mark.parametrize("module", [image_conversion_greenmim, image_processing_pil_greenmim])
def test_pil_backend_needs_no_torch(module):
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.split(".")[0])
    assert imported <= {"collections", "typing", "numpy", "PIL", "re", "transformers", "warnings"}
