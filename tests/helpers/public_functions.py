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
"""The public functions, each with valid arguments and a check of its results."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import modeling_greenmim
from modeling_greenmim import (
    GreenMimConfig,
    GreenMimDataCollator,
    GreenMimForMaskedImageModeling,
    make_plan,
    sample_masks,
)
from modeling_greenmim.layout_greenmim import get_unit_mask, images_to_units, units_to_images
from modeling_greenmim.masking_greenmim import (
    get_num_visible_units,
    get_unit_grid,
    sample_disjoint_masks,
    sample_secondary_masks,
)
from modeling_greenmim.packing_greenmim import pack_tokens
from modeling_greenmim.parameter_groups import make_parameter_groups
from modeling_greenmim.planning_greenmim import get_token_mixer, measure_group_shapes
from modeling_greenmim.plotting import draw_images, draw_loss_curve, get_group_layout
from tests.helpers.call_results import (
    CONFIG,
    IMAGES,
    MASK,
    PLAN,
    PROCESSED,
    TOKEN_SETS,
    count_visible,
    has_masks,
    is_batch,
    is_output,
    is_packed,
    is_planned,
    is_processed,
    makes_a_model,
)


class Function(NamedTuple):
    """A public function, valid arguments, a check of results, and alternative names of arguments."""

    call: Callable
    arguments: dict[str, Any]
    is_right: Callable[[Any, dict[str, Any]], bool]
    words: tuple[str, ...] = ()


def collate(examples: Any, **settings) -> dict:
    return GreenMimDataCollator(**settings)(examples)


def process(backend: type, image: Any, **settings) -> dict:
    return backend(**settings)(image, return_tensors="np")


def configure(**settings) -> GreenMimConfig:
    """Also creates a model, which validates registered mixers and targets."""
    config = GreenMimConfig(**settings)
    with torch.device("meta"):
        GreenMimForMaskedImageModeling(config)
    return config


def forward(name: str, **inputs) -> Function:
    model = getattr(modeling_greenmim, name)(CONFIG).eval()
    inputs = {"pixel_values": IMAGES, **inputs}
    return Function(model.forward, inputs, functools.partial(is_output, model), ("mages", "bool_masked_pos"))


def is_true(result: Any, a: dict) -> bool:
    return result is not None


COLLATED = {
    "examples": [{"pixel_values": IMAGES[0], "mask_seed": 1}, {"pixel_values": IMAGES[1], "mask_seed": 2}],
    "config": CONFIG,
    "mask_ratio": 0.75,
    "mask_sampler": "random",
    "per_sample": True,
    "masks_per_image": 1,
    "static_shapes": False,
}
OTHERS = {"_out_features", "_out_indices", "teacher_hidden_size", "pretrained_window_sizes"}
CONFIGURED = {name.removeprefix("_") for name in set(GreenMimConfig.__annotations__) - OTHERS}
GRID_WORDS = ("mask units", "grid_size")
IMAGE_WORDS = ("mage", "size", "mask units", "values", "sampler", "per_sample")
MASKED = {"grid_size": (4, 4), "mask_ratio": 0.75, "seed": 0}
MASKED_INPUTS = {"bool_masked_pos": torch.from_numpy(MASK), "plan": PLAN}
PRETRAINING = forward("GreenMimForMaskedImageModeling", **MASKED_INPUTS, teacher_features=None)
MODEL = PRETRAINING.call.__self__
FUNCTIONS = {
    "sample_masks": Function(
        sample_masks, {"batch_size": 2, "sampler": "random", "per_sample": True, **MASKED}, has_masks, GRID_WORDS
    ),
    "sample_disjoint_masks": Function(
        sample_disjoint_masks, {"num_masks": 2, **MASKED}, has_masks, (*GRID_WORDS, "number of masks")
    ),
    "sample_secondary_masks": Function(
        sample_secondary_masks,
        {"masks": MASK, "secondary_mask_ratio": 0.25, "seed": 0},
        lambda masks, a: (
            (masks.sum(axis=1) == int(4 * a["secondary_mask_ratio"] + 1e-6)).all() and not (masks & MASK).any()
        ),
    ),
    "get_num_visible_units": Function(
        get_num_visible_units,
        {"num_units": 49, "mask_ratio": 0.75},
        lambda result, a: result == count_visible(**a),
        GRID_WORDS,
    ),
    "get_unit_grid": Function(
        get_unit_grid,
        {"image_size": (64, 64), "mask_unit_size": 16},
        lambda result, a: tuple(side * a["mask_unit_size"] for side in result) == tuple(a["image_size"]),
        ("mask units",),
    ),
    "make_plan": Function(
        make_plan,
        {"bool_masked_pos": MASK, "config": CONFIG, "image_size": (16, 16), "group_shapes": None},
        is_planned,
        ("Images must", "bool_masked_pos"),
    ),
    "measure_group_shapes": Function(
        measure_group_shapes,
        {"config": CONFIG, "batch_size": 2, "mask_ratio": 0.75, "mask_sampler": "random", "image_size": (16, 16)},
        lambda shapes, a: {"stage1", "stage2"} == set(shapes),
        ("sampler", "mask units"),
    ),
    "get_token_mixer": Function(get_token_mixer, {"name": "window"}, lambda *_: False, ("token_mixers",)),
    "pack_tokens": Function(
        pack_tokens,
        {"token_sets": TOKEN_SETS, "hidden_size": 8, "group_shape": (None, 8)},
        lambda groups, a: is_packed(groups, a["token_sets"]),
        ("size of a group", "number of groups"),
    ),
    "images_to_units": Function(
        images_to_units,
        {"images": IMAGES, "unit_size": 4},
        lambda units, a: torch.equal(units_to_images(units, a["images"].shape[-2:], a["unit_size"]), a["images"]),
        ("mask_unit_size", "image_size", "Images must"),
    ),
    "get_unit_mask": Function(
        get_unit_mask,
        {"bool_masked_pos": MASK, "unit_grid": (4, 4), "patches_per_side": 2},
        lambda mask, a: torch.equal(mask, torch.from_numpy(MASK)),
        ("bool_masked_pos",),
    ),
    "GreenMimConfig": Function(
        configure,
        {name: getattr(CONFIG, name) for name in sorted(CONFIGURED)},
        makes_a_model,
        ("Stage ", "stages", "of stage", "embed_dim", "out_", "decoder_hidden_size"),
    ),
    "GreenMimDataCollator": Function(collate, COLLATED, is_batch, ("seed", "pixel_values", "number of masks")),
    **{
        name: Function(
            functools.partial(process, getattr(modeling_greenmim, name)), PROCESSED, is_processed, IMAGE_WORDS
        )
        for name in modeling_greenmim.__all__
        if "ImageProcessor" in name  # one of the functions needs torchvision
    },
    "GreenMimModel": forward("GreenMimModel", **MASKED_INPUTS),
    "GreenMimBackbone": forward("GreenMimBackbone"),
    "GreenMimForImageClassification": forward("GreenMimForImageClassification"),
    "GreenMimForMaskedImageModeling": PRETRAINING,
    "mask_pixels": Function(
        MODEL.mask_pixels, {"pixel_values": IMAGES, "mask": torch.from_numpy(MASK)}, is_true, ("mages", "mask_unit")
    ),
    "make_parameter_groups": Function(
        make_parameter_groups,
        {"model": MODEL, "learning_rate": 1e-3, "weight_decay": 0.05, "layer_decay": 0.8},
        lambda groups, a: all(0 <= group["lr"] < 100 and 0 <= group["weight_decay"] < 100 for group in groups),
    ),
    "get_group_layout": Function(
        get_group_layout,
        {"plan": make_plan(MASK[:1], CONFIG), "config": CONFIG, "stage": 1, "token_mixer": "window"},
        lambda layout, a: 0 < layout.fill <= 1,
    ),
}
if importlib.util.find_spec("matplotlib") is not None:
    FUNCTIONS["draw_images"] = Function(draw_images, {"rows": {"a": IMAGES}, "note": "note"}, is_true)
    history = [{"step": 1, "loss": 1.0}]
    arguments = {"history": history, "reconstruction_target": "pixels"}
    FUNCTIONS["draw_loss_curve"] = Function(draw_loss_curve, arguments, is_true)
