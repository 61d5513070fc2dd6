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
"""Plans, which contain all that the token mixers of a model need to know about a mask.

A plan is a nested dictionary of tensors. It can be made in data loader workers, pinned, and moved to a device:

    plan["visible_indices"]          (num_masks, num_visible) visible mask units, row-major and ascending
    plan["geometry"]                 empty; its shape records the sizes that the plan was made for
    plan["stage1"]["window"][...]    the plan of the token mixer "window" for the first stage

`num_masks` is 1 if all images of a batch share a mask, and the batch size otherwise. A plan belongs to its whole
batch: it cannot be sliced or concatenated with it.
"""

import copyreg
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from .configuration_greenmim import GreenMimConfig
from .input_checks_greenmim import check_config
from .layout_greenmim import TokenLayout, get_unit_mask
from .masking_greenmim import get_unit_grid, sample_masks
from .mixer_cluster_greenmim import GreenMimContextCluster
from .mixer_dilated_greenmim import GreenMimDilatedAttention
from .mixer_global_greenmim import GreenMimGlobalAttention
from .mixer_greenmim import GreenMimTokenMixer
from .mixer_spatial_reduction_greenmim import GreenMimSpatialReductionAttention
from .mixer_window_greenmim import (
    GreenMimMaskUnitAttention,
    GreenMimShiftedWindowAttention,
    GreenMimWindowAttention,
)
from .packing_greenmim import EMPTY_SET, search_static_shape
from .score_modulation_greenmim import MODULATED_MIXERS
from .validation_greenmim import check_choice, check_count, check_keywords, describe


# static shapes are measured on this many masks, in a limited number of batches
NUM_STATIC_MASKS = 8192
STATIC_DRAWS = (32, 128)

_PACKAGE = __name__.rpartition(".")[0]

TOKEN_MIXERS: dict[str, type[GreenMimTokenMixer]] = {
    "window": GreenMimWindowAttention,
    "shifted_window": GreenMimShiftedWindowAttention,
    "mask_unit": GreenMimMaskUnitAttention,
    "spatial_reduction": GreenMimSpatialReductionAttention,
    "global": GreenMimGlobalAttention,
    "dilated": GreenMimDilatedAttention,
    "cluster": GreenMimContextCluster,
}


def _restore_config(config_class: type[GreenMimConfig], mixers: dict[str, type[GreenMimTokenMixer]]) -> GreenMimConfig:
    for name, mixer in mixers.items():
        TOKEN_MIXERS.setdefault(name, mixer)
    return config_class.__new__(config_class)


def _reduce_config(config: GreenMimConfig) -> tuple:
    """
    Pickle a configuration with the token mixers that it names, which a process that is not forked has not registered.
    """
    names = {name for names in config.token_mixers for name in names}
    mixers = {name: mixer for name, mixer in TOKEN_MIXERS.items() if name in names}
    return _restore_config, (type(config), mixers), vars(config)


copyreg.pickle(GreenMimConfig, _reduce_config)


def get_token_mixer(name: str) -> type[GreenMimTokenMixer]:
    """
    Look up the class that is registered under a name in `config.token_mixers`.

    Raises:
        `ValueError`: if the name is not registered.
        `TypeError`: if the registered object is not a class of token mixers.
    """
    advice = "For a custom mixer, first import the file that registers it in `TOKEN_MIXERS`."
    check_choice("token_mixers", name, TOKEN_MIXERS, advice)
    mixer_class = TOKEN_MIXERS[name]
    if not isinstance(mixer_class, type) or not issubclass(mixer_class, GreenMimTokenMixer):
        kind = (
            mixer_class.__name__ if isinstance(mixer_class, type) else f"an instance of {type(mixer_class).__name__}"
        )
        raise TypeError(
            f"`TOKEN_MIXERS[{name!r}]` must be a subclass of GreenMimTokenMixer, got {kind}. Register the class itself."
        )
    return mixer_class


def get_custom_mixers(config: GreenMimConfig) -> dict[str, str | None]:
    """
    Names of a model's token mixers from outside this package, each with the module of its class, or `None` if the name
    is not registered.
    """
    modules = {
        name: TOKEN_MIXERS[name].__module__ if name in TOKEN_MIXERS else None
        for names in config.token_mixers
        for name in names
    }
    return {name: module for name, module in modules.items() if (module or "").rpartition(".")[0] != _PACKAGE}


def make_token_mixer(name: str, config: GreenMimConfig, stage: int) -> GreenMimTokenMixer:
    """
    Make the token mixer of a layer, with `config.score_modulation` if the mixer supports it.

    Raises:
        `ValueError`: if the name is not registered, or the configuration does not fit the mixer.
        `TypeError`: if the class lacks a method that it needs.
    """
    mixer_class = get_token_mixer(name)
    if config.score_modulation is not None:
        mixer_class = MODULATED_MIXERS.get(mixer_class, mixer_class)
    defines_plan, defines_full_plan = (
        any(method in vars(base) for base in mixer_class.__mro__ if base is not GreenMimTokenMixer)
        for method in ("make_plan", "make_full_plan")
    )
    if defines_plan and not defines_full_plan:
        raise TypeError(
            f"The token mixer {name!r} ({mixer_class.__name__}) must define `make_full_plan`, the plan of full images, "
            "because it defines `make_plan`."
        )
    mixer = mixer_class(config, stage)
    _check_initialization(name, mixer)
    return mixer


def _check_initialization(name: str, mixer: GreenMimTokenMixer):
    """
    Raise a `TypeError` if a module owns parameters that nothing initializes. They would contain uninitialized memory if
    a checkpoint lacks them. transformers initializes the layers of PyTorch, and norms by their names.
    """
    for path, module in mixer.named_modules():
        names = [key for key, parameter in module.named_parameters(recurse=False)]
        is_known = any(base.__module__.startswith("torch.") and base is not nn.Module for base in type(module).__mro__)
        is_known = is_known or "LayerNorm" in type(module).__name__ or "RMSNorm" in type(module).__name__
        if names and not is_known and not hasattr(module, "init_weights"):
            parameters = ", ".join(f"`{path}.{key}`" if path else f"`{key}`" for key in names)
            raise TypeError(
                f"The token mixer {name!r} must initialize {parameters} in a method `init_weights(self, std)` of "
                f"{type(module).__name__}, which owns the parameter."
            )


def make_plan(
    bool_masked_pos: np.ndarray | torch.Tensor,
    config: GreenMimConfig,
    image_size: tuple[int, int] | int | None = None,
    group_shapes: dict[str, dict[str, tuple[int | None, int]]] | None = None,
) -> dict:
    """
    Plan how the token mixers of a model mix the visible tokens of a mask.

    Args:
        bool_masked_pos (`np.ndarray` or `torch.Tensor` of `bool` and shape `(batch_size, num_units)` or `(batch_size, num_patches)`):
            Mask over the mask units, row-major, `True` for hidden units; or over the patches, if it is constant inside
            every unit.
        config ([`GreenMimConfig`]):
            Configuration of the model.
        image_size (`tuple[int, int]` or `int`, *optional*):
            Height and width of the images in pixels. `config.image_size` by default.
        group_shapes (`dict[str, dict[str, tuple[int | None, int]]]`, *optional*):
            Number and size of the groups by stage and token mixer, such as `{"stage1": {"window": (24, 49)}}`, see
            [`~packing_greenmim.pack_tokens`]. By default, the group size with the lowest cost is searched.

    Returns:
        `dict`: the plan described at the top of this file, on the CPU.

    Raises:
        `ValueError`: if the mask or the image size does not fit, or a token mixer, a stage or a group shape is
        unknown.
        `TypeError`: if a custom mixer does not return a dictionary of arrays.

    Example:

    ```python
    >>> from modeling_greenmim import GreenMimConfig, make_plan, sample_masks

    >>> mask = sample_masks(batch_size=8, grid_size=(7, 7), mask_ratio=0.75, seed=0)
    >>> plan = make_plan(mask, GreenMimConfig())
    >>> plan["stage1"]["shifted_window"]["scatter_index"].shape  # 8 images, 12 visible units, 64 tokens a unit
    torch.Size([6144])
    ```"""
    check_config(config)
    if isinstance(image_size, int):
        image_size = (image_size, image_size)
    if image_size is None:
        image_size = config.image_height_and_width
    group_shapes = {} if group_shapes is None else group_shapes
    _check_group_shapes(group_shapes, config)
    unit_grid = get_unit_grid(image_size, config.mask_unit_size)
    # on the CPU, where values are checked
    if isinstance(bool_masked_pos, torch.Tensor):
        bool_masked_pos = bool_masked_pos.cpu()
    unit_mask = get_unit_mask(bool_masked_pos, unit_grid, config.get_unit_side(0)).numpy()
    visible_indices = np.nonzero(~unit_mask)[1].reshape(len(unit_mask), -1)
    if (visible_indices == visible_indices[0]).all():
        visible_indices = visible_indices[:1]
    plan: dict = {"visible_indices": torch.from_numpy(visible_indices)}
    for stage in range(config.num_layers):
        layout = TokenLayout.from_visible_indices(visible_indices, unit_grid, config.get_unit_side(stage))
        stage_name = config.stage_names[stage + 1]
        shapes = group_shapes.get(stage_name, {})
        plan[stage_name] = {}
        for name in dict.fromkeys(config.get_layer_mixers(stage)):
            arrays = get_token_mixer(name).make_plan(layout, config, stage, shapes.get(name))
            _check_arrays(arrays, f"`make_plan` of the token mixer {name!r} in {stage_name}")
            plan[stage_name][name] = {key: torch.from_numpy(array) for key, array in arrays.items()}
    # the shape of an empty tensor is read without device synchronization, and slices and moves of the plan keep it
    plan["geometry"] = torch.empty(0, *unit_grid, config.window_size, _count_rows(plan))
    return plan


def measure_group_shapes(
    config: GreenMimConfig,
    batch_size: int,
    mask_ratio: float,
    mask_sampler: str = "random",
    image_size: tuple[int, int] | None = None,
) -> dict[str, dict[str, tuple[int, int]]]:
    """
    Measure numbers and sizes of groups that fit almost all batches of a run, so that their plans have the same shapes:
    compiled models are not recompiled, and CUDA graphs can be replayed. The measurement draws masks with fixed seeds,
    so all workers agree. Every image has its own mask, because the windows of a single mask vary too much for one
    shape.

    Args:
        config ([`GreenMimConfig`]):
            Configuration of the model.
        batch_size (`int`):
            Number of images in a batch.
        mask_ratio (`float`):
            Fraction of the mask units to hide.
        mask_sampler (`str`, *optional*, defaults to `"random"`):
            See [`sample_masks`].
        image_size (`tuple[int, int]`, *optional*):
            Height and width of the images in pixels. `config.image_size` by default.

    Returns:
        `dict[str, dict[str, tuple[int, int]]]`: the `group_shapes` of [`make_plan`].
    """
    check_config(config)
    check_count("batch_size", batch_size)
    image_size = config.image_height_and_width if image_size is None else image_size
    unit_grid = get_unit_grid(image_size, config.mask_unit_size)
    num_draws = min(max(NUM_STATIC_MASKS // batch_size, STATIC_DRAWS[0]), STATIC_DRAWS[1])
    set_sizes: dict[tuple[str, str], list[np.ndarray]] = {}
    for draw in range(num_draws):
        masks = sample_masks(batch_size, unit_grid, mask_ratio, mask_sampler, seed=draw)
        plan = make_plan(masks, config, image_size)
        for stage_name in config.stage_names[1:]:
            for name, mixer_plan in plan[stage_name].items():
                if "set_index" in mixer_plan:
                    sizes = np.unique(mixer_plan["set_index"].numpy(), return_counts=True)
                    set_sizes.setdefault((stage_name, name), []).append(sizes[1][sizes[0] != EMPTY_SET])
    shapes: dict[str, dict[str, tuple[int, int]]] = {}
    for (stage_name, name), draws in set_sizes.items():
        hidden_size = config.hidden_sizes[config.stage_names.index(stage_name) - 1]
        shapes.setdefault(stage_name, {})[name] = search_static_shape(draws, hidden_size)
    return shapes


def make_full_plan(
    stage_grids: Sequence[tuple[int, int]],
    config: GreenMimConfig,
    device: torch.device | None = None,
    clip_windows: bool = True,
) -> dict:
    """
    Plan how the token mixers of a model mix all tokens of full images. The plan depends only on shapes.

    Args:
        stage_grids (`Sequence[tuple[int, int]]`):
            Rows and columns of tokens in each stage.
        config ([`GreenMimConfig`]):
            Configuration of the model.
        device (`torch.device`, *optional*):
            Device of the plan.
        clip_windows (`bool`, *optional*, defaults to `True`):
            Whether a window that is larger than the grid shrinks to it and is not shifted, as in transformers'
            `SwinModel`. Otherwise, it keeps its size and shift, as in `SwinBackbone`.

    Returns:
        `dict`: `plan["stage1"]["window"][...]`, as in a plan for a mask, but for row-major tokens.
    """
    return {
        config.stage_names[stage + 1]: {
            name: get_token_mixer(name).make_full_plan(grid_size, config, stage, device, clip_windows)
            for name in dict.fromkeys(config.get_layer_mixers(stage))
        }
        for stage, grid_size in enumerate(stage_grids)
    }


def _check_arrays(arrays: dict[str, np.ndarray], method: str):
    if not isinstance(arrays, dict):
        raise TypeError(f"{method} must return a dictionary of NumPy arrays, got {describe(arrays)}.")
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise TypeError(
                f"{method} must return NumPy arrays of at least one dimension, got {describe(array)} for {key!r}. "
                "Use `np.asarray`, or `np.atleast_1d` for a number."
            )


def _check_group_shapes(group_shapes: dict, config: GreenMimConfig):
    if not isinstance(group_shapes, dict) or not all(isinstance(shapes, dict) for shapes in group_shapes.values()):
        raise ValueError(
            "`group_shapes` must be a dictionary of stages and token mixers, such as "
            f"{{'stage1': {{'window': (24, 49)}}}}, got {describe(group_shapes)}."
        )
    check_keywords(group_shapes, config.stage_names[1:], "`group_shapes`")
    for stage, names in zip(config.stage_names[1:], config.token_mixers):
        check_keywords(group_shapes.get(stage, {}), names, f"`group_shapes` of {stage}")


def check_plan(
    plan: dict, bool_masked_pos: np.ndarray | torch.Tensor, config: GreenMimConfig, image_size: tuple[int, int]
):
    """
    Check that a plan is complete and was made for a mask, an image size and a model. Shapes are compared on every
    device, values only on the CPU, to avoid device synchronization.

    Args:
        plan (`dict`):
            A plan made by [`make_plan`].
        bool_masked_pos (`np.ndarray` or `torch.Tensor` of `bool` and shape `(batch_size, num_units)` or `(batch_size, num_patches)`):
            The mask that the plan must belong to.
        config ([`GreenMimConfig`]):
            Configuration of the model.
        image_size (`tuple[int, int]`):
            Height and width of the images in pixels.

    Raises:
        `ValueError`: if the plan was made for something else, or was sliced or concatenated.
    """
    advice = "Make a plan of this mask for this model with `make_plan(bool_masked_pos, config, image_size)`."
    unit_grid = get_unit_grid(image_size, config.mask_unit_size)
    unit_mask = get_unit_mask(bool_masked_pos, unit_grid, config.get_unit_side(0))
    if not isinstance(plan, dict):
        raise ValueError(f"`plan` must be a dictionary, got {describe(plan)}. {advice}")
    needed = {stage: set(config.get_layer_mixers(index)) for index, stage in enumerate(config.stage_names[1:])}
    planned = {key: set(value) for key, value in plan.items() if isinstance(value, dict)}
    if not {"visible_indices", "geometry"} <= set(plan) or planned != needed:
        raise ValueError(
            f"`plan` must contain {_describe(needed)}, got {_describe(planned) or 'none of these'}. {advice}"
        )
    recorded, expected = tuple(plan["geometry"].shape[1:4]), (*unit_grid, config.window_size)
    if recorded != expected:
        raise ValueError(
            f"`plan` must be for {expected[0]} x {expected[1]} mask units and windows of {expected[2]}, got a plan "
            f"for {recorded[0]} x {recorded[1]} mask units and windows of {recorded[2]}. {advice}"
        )
    if torch.compiler.is_compiling():
        return
    num_masks = len(plan["visible_indices"])
    if plan["geometry"].shape[4] != _count_rows(plan):
        raise ValueError(
            "Cannot use `plan` because it was sliced or concatenated after it was made, as by code that splits a "
            "batch along its first dimension, or a part was removed. Let every process load its own batches (with "
            "Accelerate, `DataLoaderConfiguration(dispatch_batches=False)`; with the Trainer, "
            '`accelerator_config={"dispatch_batches": False}`), and use DistributedDataParallel instead of '
            "DataParallel."
        )
    if num_masks not in (1, len(unit_mask)):
        raise ValueError(f"`plan` must be for {len(unit_mask)} masks or a shared one, got {num_masks} masks. {advice}")
    if unit_mask.device.type == "cpu":
        planned_mask = torch.ones_like(unit_mask)
        planned_mask = planned_mask.scatter(1, plan["visible_indices"].cpu().expand(len(unit_mask), -1), False)
        if not torch.equal(unit_mask, planned_mask):
            raise ValueError(f"`plan` was made for a different mask than `bool_masked_pos`. {advice}")


def move_plan(plan: dict, device: torch.device) -> dict:
    """Move a plan to a device."""
    return {
        key: move_plan(value, device) if isinstance(value, dict) else value.to(device) for key, value in plan.items()
    }


def get_fill(plan: dict) -> float:
    """Fraction of the slots of a plan's groups that hold a token; 1 for a plan without groups."""
    mixer_plans = [
        mixer_plan
        for stage_plan in plan.values()
        if isinstance(stage_plan, dict)
        for mixer_plan in stage_plan.values()
        if "set_index" in mixer_plan
    ]
    num_slots = sum(mixer_plan["set_index"].numel() for mixer_plan in mixer_plans)
    num_filled = sum(int((mixer_plan["set_index"] != EMPTY_SET).sum()) for mixer_plan in mixer_plans)
    return num_filled / num_slots if num_slots else 1.0


def _count_rows(plan: dict) -> int:
    """
    Sum of the first dimensions of all tensors except `geometry`. It changes if the plan is sliced or concatenated, or
    a tensor is removed.
    """
    return sum(
        _count_rows(value) if isinstance(value, dict) else len(value)
        for key, value in plan.items()
        if key != "geometry"
    )


def _describe(mixers_of_stages: dict[str, set[str]]) -> str:
    return ", ".join(f"{stage} ({', '.join(sorted(names))})" for stage, names in mixers_of_stages.items())


__all__ = [
    "TOKEN_MIXERS",
    "check_plan",
    "get_custom_mixers",
    "get_fill",
    "get_token_mixer",
    "make_full_plan",
    "make_plan",
    "make_token_mixer",
    "measure_group_shapes",
    "move_plan",
]
