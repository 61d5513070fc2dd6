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
"""
Wrong and doubtful calls of the public functions, and what is made of them: a clear error, a right result, or neither.

    python -m tests.helpers.wrong_calls    counts them, and lists those that are neither
"""

import copy
import functools
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError

from modeling_greenmim import (
    GreenMimConfig,
    GreenMimDataCollator,
    GreenMimForMaskedImageModeling,
    GreenMimImageProcessor,
    GreenMimImageProcessorPil,
    make_plan,
    sample_masks,
)
from modeling_greenmim.layout_greenmim import get_unit_mask, images_to_units, units_to_images
from modeling_greenmim.masking_greenmim import get_num_visible_units, get_unit_grid, sample_disjoint_masks
from modeling_greenmim.packing_greenmim import pack_tokens
from modeling_greenmim.parameter_groups import make_parameter_groups
from modeling_greenmim.planning_greenmim import get_token_mixer, measure_group_shapes
from modeling_greenmim.plotting import draw_images, draw_loss_curve, get_group_layout

from tests.helpers.tiny_models import make_config


# errors of types in these files name the argument, its value and what is wanted
CHECKING_FILES = ("modeling_greenmim", "huggingface_hub/dataclasses")
ODD_VALUES = (
    0,
    -1,
    7,
    0.5,
    1.5,
    -2.0,
    float("nan"),
    float("inf"),
    "",
    "x",
    None,
    True,
    [],
    (-4, -4),
    (4, 4, 4),
    {},
    object,
)
TENSORS = (
    np.zeros(3),
    np.zeros((4, 4)),
    torch.zeros(0),
    torch.zeros(2, 3),
    torch.ones(1, 3, 16, 16, dtype=torch.uint8),
)


class Function(NamedTuple):
    """A public function, arguments that are right, whether a result fits arguments, and other words for an argument."""

    call: Callable
    arguments: dict[str, Any]
    is_right: Callable[[Any, dict[str, Any]], bool]
    words: tuple[str, ...] = ()


def make_small_config(**settings) -> GreenMimConfig:
    return make_config(image_size=16, depths=(1, 1), num_heads=(1, 2), embed_dim=8, window_size=2, **settings)


CONFIG = make_small_config()  # 4 x 4 mask units of 4 pixels
MASK = sample_masks(2, (4, 4), 0.75, seed=0)
MODEL = GreenMimForMaskedImageModeling(CONFIG).eval()
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TOKEN_SETS = np.array([0, 0, 1, 2, 2, 2])


def count_visible(num_units: int, mask_ratio: float) -> int:
    return min(num_units - 1, max(1, int(num_units * (1 - mask_ratio) + 1e-6)))


def has_masks(masks: np.ndarray, a: dict) -> bool:
    number, units = a.get("batch_size", a.get("num_masks")), a["grid_size"][0] * a["grid_size"][1]
    visible = (~masks).sum(axis=1)
    return masks.shape == (number, units) and (visible == count_visible(units, a["mask_ratio"])).all()


def is_packed(groups: dict, token_sets: Any) -> bool:
    slots, tokens = np.asarray(groups["scatter_index"]), np.asarray(groups["gather_index"]).reshape(-1)
    if token_sets is not None and not np.array_equal(groups["set_index"].reshape(-1)[slots], token_sets):
        return False
    return np.array_equal(tokens[slots], np.arange(len(slots)))


def is_planned(plan: dict, a: dict) -> bool:
    mask = np.asarray(a["bool_masked_pos"])
    shown = np.ones_like(mask)
    np.put_along_axis(shown, plan["visible_indices"].numpy(), False, axis=1)
    groups = [groups for stage in ("stage1", "stage2") for groups in plan[stage].values()]
    return np.array_equal(shown, mask) and all(is_packed(group, None) for group in groups)


def makes_a_model(config: GreenMimConfig, a: dict) -> bool:
    """Of the configuration as it is read back, too; on the meta device."""
    again = GreenMimConfig.from_dict(copy.deepcopy(config.to_dict()))
    height, width = (config.mask_unit_size * 2,) * 2
    with torch.device("meta"):
        models = [GreenMimForMaskedImageModeling(candidate).eval() for candidate in (config, again)]
        pixel_values = torch.zeros(1, config.num_channels, height, width)
        shapes = [model(pixel_values, interpolate_pos_encoding=True).logits.shape for model in models]
    return shapes[0] == shapes[1] and again.to_dict() == config.to_dict()


def is_batch(batch: dict, a: dict) -> bool:
    masks = batch["bool_masked_pos"]
    return len(masks) == 2 * a["masks_per_image"] and masks.dtype == torch.bool and is_planned(batch["plan"], batch)


def is_processed(inputs: dict, a: dict) -> bool:
    return bool(np.isfinite(inputs["pixel_values"]).all()) and np.abs(inputs["pixel_values"]).max() > 0.1


def is_forward(outputs: Any, a: dict) -> bool:
    """The loss is that of the same images and mask in a call of its own."""
    expected = MODEL(IMAGES, None if a["bool_masked_pos"] is None else torch.from_numpy(MASK))
    if outputs.loss is None:
        return a["bool_masked_pos"] is None and torch.equal(outputs.logits, expected.logits)
    return torch.allclose(outputs.loss, expected.loss)


def collate(examples: Any, **settings) -> dict:
    return GreenMimDataCollator(**settings)(examples)


def process(backend: type, image: Any, **settings) -> dict:
    return backend(**settings)(image, return_tensors="np")


def describe(value: Any) -> str:
    return f"{type(value).__name__} of {value.dtype} {tuple(value.shape)}" if hasattr(value, "dtype") else repr(value)


def is_true(result: Any, a: dict) -> bool:
    return result is not None


PLAN = make_plan(MASK, CONFIG)
COLLATED = {
    "examples": [{"pixel_values": IMAGES[0], "mask_seed": 1}, {"pixel_values": IMAGES[1], "mask_seed": 2}],
    "config": CONFIG,
    **{"mask_ratio": 0.75, "mask_sampler": "random", "per_sample": True, "masks_per_image": 1, "static_shapes": False},
}
PROCESSED = {
    "image": np.full((20, 20, 3), 255, dtype=np.uint8),
    **{"size": {"height": 16, "width": 16}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": True},
    **{"rescale_factor": 1 / 255, "image_mean": 0.5, "image_std": 0.5, "do_mask": True, "mask_ratio": 0.75},
    **{"mask_sampler": "random", "mask_unit_size": 4, "mask_seed": 0, "mask_per_sample": True, "do_rescale": True},
}
CONFIGURED = {
    name: getattr(CONFIG, name.removeprefix("_"))
    for name in GreenMimConfig.__annotations__
    if name.removeprefix("_") not in ("out_features", "out_indices", "teacher_hidden_size", "pretrained_window_sizes")
}
CONFIGURED = {name.removeprefix("_"): value for name, value in CONFIGURED.items()}
GRID_WORDS = ("mask units", "grid_size")
MASKED = {"grid_size": (4, 4), "mask_ratio": 0.75, "seed": 0}
FUNCTIONS = {
    "sample_masks": Function(
        sample_masks, {"batch_size": 2, "sampler": "random", "per_sample": True, **MASKED}, has_masks, GRID_WORDS
    ),
    "sample_disjoint_masks": Function(sample_disjoint_masks, {"num_masks": 2, **MASKED}, has_masks, GRID_WORDS),
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
        ("Images of", "bool_masked_pos"),
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
        ("mask_unit_size", "image_size", "Images of"),
    ),
    "get_unit_mask": Function(
        get_unit_mask,
        {"bool_masked_pos": MASK, "unit_grid": (4, 4), "patches_per_side": 2},
        lambda mask, a: np.array_equal(mask.numpy(), MASK),
        ("bool_masked_pos",),
    ),
    "GreenMimConfig": Function(
        GreenMimConfig,
        CONFIGURED,
        makes_a_model,
        ("Stage ", "stages", "of stage", "embed_dim", "out_", "decoder_hidden_size"),
    ),
    "GreenMimDataCollator": Function(collate, COLLATED, is_batch, ("seed", "pixel_values", "number of masks")),
    **{
        backend.__name__: Function(
            functools.partial(process, backend), PROCESSED, is_processed, ("mage", "size", "mask units", "values")
        )
        for backend in (GreenMimImageProcessor, GreenMimImageProcessorPil)
    },
    "forward": Function(
        MODEL.forward,
        {"pixel_values": IMAGES, "bool_masked_pos": torch.from_numpy(MASK), "plan": PLAN, "teacher_features": None},
        is_forward,
        ("mages", "bool_masked_pos"),
    ),
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
    "draw_images": Function(draw_images, {"rows": {"a": IMAGES}, "note": "note"}, is_true),
    "draw_loss_curve": Function(
        draw_loss_curve, {"history": [{"step": 1, "loss": 1.0}], "norm_pix_loss": True}, is_true
    ),
}


def judge(function: Function, arguments: dict[str, Any], names: tuple[str, ...]) -> tuple[str, str]:
    """A verdict, `"clear error"`, `"right"`, `"warning"`, `"unclear error"` or `"wrong"`, and what was raised."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", UserWarning)
        try:
            result = function.call(**arguments)
        except (ValueError, TypeError, StrictDataclassError) as error:
            file = Path(traceback.extract_tb(error.__traceback__)[-1].filename).as_posix()
            is_own = any(part in file for part in CHECKING_FILES) or "unexpected keyword" in str(error)
            is_clear = is_own and any(word in str(error) for word in (*names, *function.words))
            return "clear error" if is_clear else "unclear error", f"{type(error).__name__}: {error} ({file})"
        except Exception as error:
            return "unclear error", f"{type(error).__name__}: {error}"
    if any("pixel_values" in str(warning.message) or "do_rescale" in str(warning.message) for warning in raised):
        return "warning", str(raised[0].message)
    try:
        is_right = bool(function.is_right(result, arguments))
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    return "right" if is_right else "wrong", repr(result)[:200]


def list_calls() -> Iterator[tuple[str, Function, dict[str, Any], tuple[str, ...]]]:
    """Each odd value for each argument, and each argument misspelled."""
    for name, function in FUNCTIONS.items():
        for argument, value in function.arguments.items():
            misspelled = {key: other for key, other in function.arguments.items() if key != argument}
            misspelled[f"{argument}z"] = value
            yield f"{name}({argument}z=...)", function, misspelled, (argument, f"{argument}z")
            for odd in (*ODD_VALUES, *TENSORS):
                yield (
                    f"{name}({argument}={describe(odd)})",
                    function,
                    {**function.arguments, argument: odd},
                    (argument,),
                )


def main():
    counts: Counter = Counter()
    for call, function, arguments, names in list_calls():
        verdict, detail = judge(function, arguments, names)
        counts[verdict] += 1
        if verdict in ("unclear error", "wrong"):
            print(f"{verdict}: {call}: {' '.join(detail.split())[:220]}", flush=True)
    print(f"{sum(counts.values())} calls: {dict(counts)}")


if __name__ == "__main__":
    main()
