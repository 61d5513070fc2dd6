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
"""Checks whether results of the public functions are correct for their arguments."""

import copy
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, make_plan, sample_masks
from tests.helpers.tiny_models import make_config


def make_small_config(**settings) -> GreenMimConfig:
    return make_config(image_size=16, depths=(2, 1), num_heads=(1, 2), embed_dim=8, window_size=2, **settings)


CONFIG = make_small_config()  # 4 x 4 mask units of 4 pixels
MASK = sample_masks(2, (4, 4), 0.75, seed=0)
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TOKEN_SETS = np.array([0, 0, 1, 2, 2, 2])
PLAN = make_plan(MASK, CONFIG)
PROCESSED = {
    "image": np.full((20, 20, 3), 255, dtype=np.uint8),
    "size": {"height": 16, "width": 16},
    "crop_size": {"height": 16, "width": 16},
    "do_center_crop": True,
    "rescale_factor": 1 / 255,
    "image_mean": 0.5,
    "image_std": 0.5,
    "do_mask": True,
    "mask_ratio": 0.75,
    "mask_sampler": "random",
    "mask_unit_size": 4,
    "mask_seed": 0,
    "mask_per_sample": True,
    "secondary_mask_ratio": 0.0,
    "do_rescale": True,
}


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
    """Also checks the configuration after saving and loading, on the meta device."""
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
    """
    A white image must give one value, and a different value in the padding. For other images, shapes are checked.
    """
    pixel_values = inputs["pixel_values"]
    if a["image"] is not PROCESSED["image"]:
        return pixel_values.shape[1:] == (3, 16, 16) and bool(np.isfinite(pixel_values).all())
    white = 255 * (a["rescale_factor"] if a["do_rescale"] else 1)
    values = [(value - np.mean(a["image_mean"])) / np.mean(a["image_std"]) for value in (white, 0)]
    is_close = [np.isclose(pixel_values, value, rtol=1e-4) for value in values]
    return is_close[0].any() and (is_close[0] | is_close[1]).all()


def is_output(model: PreTrainedModel, outputs: ModelOutput, a: dict) -> bool:
    """Loss or features must equal a separate call with the same images, and the mask if given."""
    expected = model(IMAGES) if a.get("bool_masked_pos") is None else model(IMAGES, torch.from_numpy(MASK))
    torch.testing.assert_close(outputs[0], expected[0])
    return True
