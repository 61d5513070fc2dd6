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
"""Every token mixer against attention over the full grid in float64, and properties that all mixers share.

A new mixer adds a row to `MODELS`, and its computation over the full grid to `FULL_GRID_MIXERS` of `brute_force.py`.
"""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModelForMaskedImageModeling

from modeling_greenmim import (
    TOKEN_MIXERS,
    GreenMimConfig,
    GreenMimDataCollator,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
    mixer_greenmim,
    sample_masks,
)
from modeling_greenmim.checkpoint_folders import load_checkpoint
from modeling_greenmim.convert_greenmim_to_swin import convert_greenmim_to_swin
from modeling_greenmim.layout_greenmim import TokenLayout
from modeling_greenmim.mixer_greenmim import GreenMimTokenMixer
from modeling_greenmim.planning_greenmim import measure_group_shapes
from modeling_greenmim.publish import publish
from tests.helpers import brute_force
from tests.helpers.tiny_models import FAMILIES


class UnitMean(GreenMimTokenMixer):
    """A mixer from outside the package: every token becomes a projection of its mask unit's mean."""

    def __init__(self, config, stage):
        super().__init__()
        self.projection = nn.Linear(config.hidden_sizes[stage], config.hidden_sizes[stage])

    @classmethod
    def make_plan(cls, layout, config, stage, group_shape=None):
        return {"unit": (layout.rows // layout.unit_side) * 10_000 + layout.columns // layout.unit_side}

    @classmethod
    def make_full_plan(cls, grid_size, config, stage, device=None, clip_windows=True):
        rows, columns = (torch.arange(n, device=device) // config.get_unit_side(stage) for n in grid_size)
        return {"unit": (rows[:, None] * 10_000 + columns).flatten()[None]}

    @classmethod
    def prepare(cls, plan, hidden_states, config, stage):
        is_same = plan["unit"][:, :, None] == plan["unit"][:, None, :]  # (masks, tokens, tokens)
        return is_same.to(hidden_states.dtype) / is_same.sum(dim=-1, keepdim=True)

    def forward(self, hidden_states, prepared, **kwargs):
        return self.projection(prepared @ hidden_states), None


def mean_over_units(config, stage, mixer, states, hidden):
    """`UnitMean` over the full grid: a hidden token is neither in the sum nor in the count."""
    batch, height, width, channels = states.shape
    side = 2 ** (len(config.depths) - 1 - stage)
    mixed = torch.zeros_like(states)
    visible = (~hidden).view(batch, height, width, 1).to(states.dtype)
    for top in range(0, height, side):
        for left in range(0, width, side):
            cut = (slice(None), slice(top, top + side), slice(left, left + side))
            total, count = (states[cut] * visible[cut]).sum((1, 2), True), visible[cut].sum((1, 2), True)
            mixed[cut] = total / count.clamp(min=1)
    return mixer.projection(mixed)


@pytest.fixture(autouse=True)
def unit_mean_is_registered(monkeypatch):
    monkeypatch.setitem(TOKEN_MIXERS, "unit_mean", UnitMean)
    monkeypatch.setitem(brute_force.FULL_GRID_MIXERS, "unit_mean", mean_over_units)


SWIN = ["window", "shifted_window"]
# token mixers of three stages with mask units of 4, 2 and 1 tokens a side, or of four stages
MODELS = {
    "swin": {"window_size": 3},
    "swin-wide-window": {"window_size": 16},
    "window": {"token_mixers": "window", "window_size": 4},
    "mask_unit": {"token_mixers": "mask_unit"},
    "global": {"token_mixers": "global"},
    "mixture": {
        "token_mixers": [SWIN, ["mask_unit"], ["global"], ["global"]],
        "depths": (2, 1, 1, 1),
        "num_heads": (1, 2, 2, 4),
        "patch_size": 1,
        "embed_dim": 8,
        "window_size": 7,
    },
    "cycled": {
        "token_mixers": [["global", "mask_unit", "window"], SWIN, ["mask_unit", "global"]],
        "depths": (4, 2, 2),
    },
    "constant-width": {"token_mixers": ["mask_unit", SWIN, "global"], "hidden_sizes": 16, "mlp_ratio": (2, 4, 1)},
    "swin_v2": {**FAMILIES["swin_v2"], "window_size": 3},
    "swin_v2-wide-window": {**FAMILIES["swin_v2"], "window_size": 16},
    "swin_v2-other-windows": {**FAMILIES["swin_v2"], "pretrained_window_sizes": (7, 5, 0)},
    "cosine": {"token_mixers": ["mask_unit", SWIN, "global"], "attention_similarity": "cosine"},
    "continuous": {"token_mixers": ["mask_unit", SWIN, "global"], "position_bias": "continuous"},
    "norms-after": {"norm_placement": "after", "window_size": 3},
    "merging-norm-after": {"merging_norm_placement": "after", "window_size": 3},
    "spatial_reduction": {"token_mixers": "spatial_reduction"},
    "spatial_reduction-cosine": {"token_mixers": "spatial_reduction", "attention_similarity": "cosine"},
    "twins_svt": {
        **FAMILIES["twins"],
        "embedding_norm_eps": 1e-3,
        "window_size": 3,
        "hidden_sizes": (16, 24, 40),
    },
    "twins_pcpvt": {**FAMILIES["twins"], "token_mixers": "spatial_reduction", "depths": (2, 1, 3)},
    "no-position-bias": {"position_bias": "none", "token_mixers": ["mask_unit", SWIN, SWIN], "window_size": 3},
    "position-encoding": {"conditional_position_encoding": True, "window_size": 3},
    "merging-bias": {"merging_bias": True, "merging_norm_placement": "after", "embedding_norm_eps": 1e-3},
    "dilated": {"token_mixers": "dilated", "embed_dim": 24, "num_heads": (3, 6, 6)},
    "dilated-cosine": {"token_mixers": "dilated", "embed_dim": 24, "num_heads": 3, "attention_similarity": "cosine"},
    "dilateformer": {
        "token_mixers": ["dilated", "dilated", "global"],
        "embed_dim": 24,
        "num_heads": 3,
        "conditional_position_encoding": True,
    },
    "cluster": {"token_mixers": "cluster", "window_size": 3, "patch_size": 4, "depths": (2, 2), "num_heads": (1, 2)},
    "context_cluster": {"token_mixers": "cluster", "norm_type": "group"},
    "group-norms": {"norm_type": "group", "norm_placement": "after", "window_size": 3},
    "gaussian_mixture": {"score_modulation": "gaussian_mixture", "window_size": 3},
    "gaussian_mixture-mask_unit": {
        "score_modulation": "gaussian_mixture",
        "token_mixers": ["mask_unit", ["window", "mask_unit"], "global"],
        "attention_similarity": "cosine",
        "position_bias": "none",
    },
    "overlapping": {"patch_kernel_size": 5, "merging_kernel_size": 3, "token_mixers": ["mask_unit", SWIN, "global"]},
    "overlapping-even": {
        "patch_kernel_size": 8,
        "merging_kernel_size": 4,
        "merging_norm_placement": "after",
        "merging_bias": True,
        "token_mixers": ["mask_unit", "global", "global"],
    },
    "hierarchical-vit": {
        "token_mixers": ["window", "global", "global"],
        "window_size": 3,
        "position_bias": "none",
        "hidden_sizes": 16,
        "merging": "mean",
        "embedding_norm": False,
    },
    "mean": {"token_mixers": "global", "hidden_sizes": 16, "merging": "mean"},
    "outside": {"token_mixers": [["unit_mean"], ["window", "unit_mean"], ["unit_mean", "global"]]},
}
MASKED = pytest.mark.parametrize(
    ("image_size", "sampler", "per_sample"),
    [
        ((64, 64), "random", True),
        ((64, 64), "random", False),
        ((40, 88), "random", True),
        ((40, 88), "block", False),
        ((24, 56), "block", True),
    ],
    ids=["square-own", "square-shared", "wide-own", "wide-block-shared", "small-block-own"],
)
# of four stages, so that its first one has many tokens
SLOW_ROWS = ("mixture",)
ROWS = pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (row in SLOW_ROWS)) for row in MODELS]
)


def make_config(row: str, **kwargs) -> GreenMimConfig:
    settings = {
        "image_size": 64,
        "patch_size": 2,
        "embed_dim": 16,
        "depths": (2, 2, 2),
        "num_heads": (1, 2, 4),
        "window_size": 4,
        "decoder_hidden_size": 32,
        "decoder_num_attention_heads": 4,
        "decoder_intermediate_size": 64,
    }
    return GreenMimConfig(**{**settings, **MODELS[row], **kwargs})


def make_model(model_class, row: str, **kwargs):
    """
    Create the model in float64, far from the initial weights, so that biases, bias tables and norms all affect the
    outputs.
    """
    model = model_class(make_config(row, **kwargs)).double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return model


def make_images(*image_size: int, batch_size: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch_size, 3, *image_size, generator=generator, dtype=torch.float64)


def make_masks(image_size, sampler="random", per_sample=True, batch_size=3) -> torch.Tensor:
    grid = tuple(side // 8 for side in image_size)
    return torch.from_numpy(sample_masks(batch_size, grid, 0.6, sampler, seed=2, per_sample=per_sample))


@MASKED
@ROWS
@pytest.mark.parametrize("attn_implementation", [pytest.param("eager", marks=pytest.mark.slow), "sdpa"])
def test_visible_tokens_equal_the_full_grid(row, image_size, sampler, per_sample, attn_implementation):
    if make_config(row).score_modulation is not None:
        attn_implementation = "eager"  # the only one
    model = make_model(GreenMimModel, row, attn_implementation=attn_implementation)
    pixel_values, mask = make_images(*image_size), make_masks(image_size, sampler, per_sample)
    with torch.no_grad():
        outputs = model(pixel_values, mask)
        expected, _ = brute_force.brute_force_encoder(model, pixel_values, mask)
    expected = expected[torch.arange(3)[:, None], outputs.visible_indices]
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=0, atol=1e-10)


@ROWS
def test_visible_tokens_equal_the_full_grid_with_static_plans(row):
    model = make_model(GreenMimModel, row)
    pixel_values, mask = make_images(40, 88), make_masks((40, 88))
    shapes = measure_group_shapes(model.config, batch_size=3, mask_ratio=0.6, image_size=(40, 88))
    plan = make_plan(mask, model.config, (40, 88), group_shapes=shapes)
    assert bool(shapes) == ({"window", "shifted_window"} & set(sum(model.config.token_mixers, [])) != set())
    with torch.no_grad():
        outputs = model(pixel_values, mask, plan)
        hidden_changed = GreenMimForMaskedImageModeling.mask_pixels(model, pixel_values, mask, value=1e6)
        changed = model(hidden_changed, mask, plan)
        expected, _ = brute_force.brute_force_encoder(model, pixel_values, mask)
    expected = expected[torch.arange(3)[:, None], outputs.visible_indices]
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=0, atol=1e-10)
    assert torch.equal(outputs.last_hidden_state, changed.last_hidden_state)


@ROWS
def test_parameter_gradients_equal_those_of_the_full_grid(row):
    model = make_model(GreenMimModel, row)
    pixel_values, mask = make_images(64, 64), make_masks((64, 64))
    outputs = model(pixel_values, mask)
    weights = torch.randn(outputs.last_hidden_state.shape, generator=torch.Generator().manual_seed(3)).double()
    expected, _ = brute_force.brute_force_encoder(model, pixel_values, mask)
    expected = expected[torch.arange(3)[:, None], outputs.visible_indices]
    parameters = dict(model.named_parameters())
    actual_gradients, expected_gradients = (
        torch.autograd.grad((states * weights).sum(), list(parameters.values()), allow_unused=True)
        for states in (outputs.last_hidden_state, expected)
    )
    for name, actual, gradient in zip(parameters, actual_gradients, expected_gradients, strict=True):
        assert (actual is None) == (gradient is None), name
        if actual is not None:
            torch.testing.assert_close(actual, gradient, rtol=0, atol=1e-9 * max(1, gradient.abs().max()), msg=name)


# transformers' Swin attends to the padding of its windows: test_modeling_greenmim.py compares windows with it
@pytest.mark.parametrize("image_size", [(64, 64), (48, 96), (61, 67)], ids=["square", "wide", "undivided"])
@ROWS
def test_full_images_equal_the_full_grid(row, image_size):
    mixers = sum(make_config(row).token_mixers, [])
    if image_size == (61, 67) and {"window", "shifted_window"} & set(mixers):
        pytest.skip("windows of undivided images have padding, as in Swin")
    model = make_model(GreenMimModel, row, window_size=2 if image_size == (48, 96) else 4)
    pixel_values = make_images(*image_size)
    with torch.no_grad():
        actual = model(pixel_values).last_hidden_state
        expected, _ = brute_force.brute_force_encoder(model, pixel_values)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@MASKED
@ROWS
def test_hidden_pixels_do_not_change_one_bit(row, image_size, sampler, per_sample):
    model = make_model(GreenMimForMaskedImageModeling, row)
    pixel_values, mask = make_images(*image_size), make_masks(image_size, sampler, per_sample)
    with torch.no_grad():
        before = model(pixel_values, mask, output_hidden_states=True)
        after = model(model.mask_pixels(pixel_values, mask, value=1e6), mask, output_hidden_states=True)
        visible = model(model.mask_pixels(pixel_values, ~mask, value=1e6), mask)
    assert torch.equal(before.logits, after.logits)
    assert all(map(torch.equal, before.hidden_states, after.hidden_states))
    assert not torch.equal(before.logits, visible.logits)


@ROWS
def test_gradients_of_hidden_pixels_are_zero(row):
    model = make_model(GreenMimModel, row)
    pixel_values, mask = make_images(64, 64).requires_grad_(), make_masks((64, 64))
    model(pixel_values, mask).last_hidden_state.square().sum().backward()
    is_hidden = mask.view(3, 1, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3).expand_as(pixel_values)
    assert (pixel_values.grad[is_hidden] == 0).all()
    assert (pixel_values.grad[~is_hidden] != 0).float().mean() > 0.99


@pytest.mark.parametrize("per_sample", [True, False])
@ROWS
def test_a_sample_does_not_depend_on_its_batch_mates(row, per_sample):
    model = make_model(GreenMimForMaskedImageModeling, row)
    pixel_values, mask = make_images(40, 88), make_masks((40, 88), per_sample=per_sample)
    with torch.no_grad():
        together = model(pixel_values, mask).logits
        strangers = model(torch.cat([pixel_values[:1], 1e3 * pixel_values[1:]]), mask).logits
        alone = torch.cat([model(pixel_values[i : i + 1], mask[i : i + 1]).logits for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    torch.testing.assert_close(together[:1], strangers[:1], rtol=0, atol=1e-9)


@ROWS
def test_training_reaches_every_parameter(row):
    torch.manual_seed(0)
    model = GreenMimForMaskedImageModeling(make_config(row)).train()
    pixel_values, mask = make_images(64, 64).float(), make_masks((64, 64))
    model(pixel_values, mask).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@ROWS
def test_a_saved_model_loads_with_the_same_outputs(row, tmp_path):
    model = GreenMimForMaskedImageModeling(make_config(row)).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedImageModeling.from_pretrained(tmp_path).eval()
    pixel_values, mask = make_images(64, 64).float(), make_masks((64, 64))
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values, mask).logits, model(pixel_values, mask).logits)
        assert torch.equal(loaded(pixel_values).logits, model(pixel_values).logits)


@ROWS
def test_weights_are_initialized_with_the_range_of_the_configuration(row):
    torch.manual_seed(0)
    model = GreenMimForMaskedImageModeling(make_config(row, initializer_range=0.1))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and parameter.numel() > 8 and "score_modulation" not in name:
            assert parameter.std().item() == pytest.approx(0.1, rel=0.35), name


# A mixer that no file of the package names


def load_batch(config: GreenMimConfig, num_workers: int, start_method: str = "fork") -> dict:
    images = [{"pixel_values": image, "mask_seed": seed} for seed, image in enumerate(make_images(64, 64).float())]
    loader = DataLoader(
        images,
        batch_size=3,
        collate_fn=GreenMimDataCollator(config),
        num_workers=num_workers,
        multiprocessing_context=start_method if num_workers else None,
    )
    return next(iter(loader))


@pytest.mark.parametrize(
    "start_method", ["fork", *(pytest.param(n, marks=pytest.mark.slow) for n in ("spawn", "forkserver"))]
)
def test_a_mixer_from_outside_is_planned_in_the_workers_of_a_loader(start_method):
    config = make_config("outside")
    batch, expected = load_batch(config, 2, start_method), load_batch(config, num_workers=0)
    assert list(batch) == ["pixel_values", "bool_masked_pos", "plan"]
    assert torch.equal(batch["plan"]["stage1"]["unit_mean"]["unit"], expected["plan"]["stage1"]["unit_mean"]["unit"])
    model = GreenMimForMaskedImageModeling(config)
    assert torch.equal(model(**batch).loss, model(batch["pixel_values"], batch["bool_masked_pos"]).loss)


def test_a_pickled_configuration_brings_its_mixers(monkeypatch):
    """As for a process started by spawn or forkserver. Copies of a configuration do not change."""
    config, pickled = make_config("outside"), pickle.dumps(make_config("outside"))
    monkeypatch.delitem(TOKEN_MIXERS, "unit_mean")
    assert pickle.loads(pickled).to_dict() == copy.deepcopy(config).to_dict() == config.to_dict()
    assert TOKEN_MIXERS["unit_mean"] is UnitMean


def make_auto_model(config: GreenMimConfig) -> str:
    return type(AutoModelForMaskedImageModeling.from_config(config)).__name__


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_classes_are_registered_in_processes_that_are_not_forked(start_method):
    with multiprocessing.get_context(start_method).Pool(1) as pool:
        assert pool.apply(make_auto_model, (make_config("outside"),)) == "GreenMimForMaskedImageModeling"


def test_a_mixer_from_outside_trains_with_and_without_a_mask():
    torch.manual_seed(0)
    model = GreenMimForMaskedImageModeling(make_config("outside")).train()
    batch = load_batch(model.config, num_workers=0)
    target = torch.randn(model(batch["pixel_values"]).logits.shape)
    for inputs in (batch, {"pixel_values": batch["pixel_values"]}):
        optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
        for _ in range(60):
            outputs = model(**inputs)
            loss = outputs.loss if outputs.loss is not None else (outputs.logits - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]


def test_a_model_with_a_mixer_from_outside_is_not_published(tmp_path):
    GreenMimForMaskedImageModeling(make_config("outside")).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="Cannot publish.*'unit_mean' is defined in .*test_token_mixers"):
        publish(tmp_path / "model", tmp_path / "public")
    assert not (tmp_path / "public").exists()


def test_publishing_a_model_with_an_unregistered_mixer_names_the_mixer(tmp_path, monkeypatch):
    """Its weights are not damaged, and registering the mixer would not help."""
    GreenMimForMaskedImageModeling(make_config("outside")).save_pretrained(tmp_path / "model")
    monkeypatch.delitem(TOKEN_MIXERS, "unit_mean")
    with pytest.raises(ValueError, match="Cannot publish.*'unit_mean' is not registered"):
        publish(tmp_path / "model", tmp_path / "public")


def test_loading_a_checkpoint_with_an_unregistered_mixer_does_not_blame_the_weights(tmp_path, monkeypatch):
    GreenMimModel(make_config("outside")).save_pretrained(tmp_path)
    monkeypatch.delitem(TOKEN_MIXERS, "unit_mean")
    with pytest.raises(ValueError, match="Cannot load .*'unit_mean'.*first import the file") as information:
        load_checkpoint(GreenMimModel, tmp_path)
    assert "damaged" not in str(information.value)


def test_a_model_with_a_mixer_from_outside_is_not_exported_to_a_swin(tmp_path):
    GreenMimModel(make_config("outside")).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="Share the model folder together with the files.*'unit_mean'") as information:
        convert_greenmim_to_swin(tmp_path / "model", tmp_path / "swin")
    assert "publish" not in str(information.value)


def test_a_model_with_an_unregistered_mixer_names_the_registry(monkeypatch):
    config = make_config("outside")
    monkeypatch.delitem(TOKEN_MIXERS, "unit_mean")
    with pytest.raises(ValueError, match="'unit_mean'.*TOKEN_MIXERS"):
        GreenMimModel(config)
    with pytest.raises(ValueError, match="'unit_mean'.*TOKEN_MIXERS"):
        make_plan(make_masks((64, 64)), config)


def test_a_mixer_that_no_layer_has_must_be_known_all_the_same():
    with pytest.raises(ValueError, match="got 'windw'"):
        GreenMimModel(make_config("swin", depths=(1, 1, 1), token_mixers=[["window", "windw"], "window", "window"]))


def test_shifted_windows_of_one_token_are_refused():
    with pytest.raises(ValueError, match="window_size.*at least 2.*'shifted_window'.*got 1"):
        GreenMimModel(make_config("swin", window_size=1))


# Mixers that break the contract


def use_mixer(monkeypatch, mixer) -> GreenMimConfig:
    monkeypatch.setitem(TOKEN_MIXERS, "broken", mixer)
    return make_config("global", token_mixers=["global", "broken", "global"])


@pytest.mark.parametrize(
    ("mixer", "kind"),
    [
        (nn.Linear, "Linear"),
        (UnitMean(make_config("outside"), 0), "an instance of UnitMean"),
        (print, "an instance of"),
    ],
)
def test_only_classes_of_mixers_are_accepted(monkeypatch, mixer, kind):
    config = use_mixer(monkeypatch, mixer)
    message = rf"TOKEN_MIXERS\['broken'\].*subclass of GreenMimTokenMixer, got {kind}"
    with pytest.raises(TypeError, match=message):
        GreenMimModel(config)
    with pytest.raises(TypeError, match=message):
        make_plan(make_masks((64, 64)), config)


@pytest.mark.parametrize(
    "arrays",
    [[0, 1], {"unit": [0, 1]}, {"unit": torch.zeros(2)}, {"unit": np.int64(1)}, {"unit": np.array(1)}, {"unit": None}],
    ids=["list", "list-value", "tensor", "number", "scalar", "none"],
)
def test_plans_must_be_dictionaries_of_arrays(monkeypatch, arrays):
    class Broken(UnitMean):
        @classmethod
        def make_plan(cls, *args):
            return arrays

    with pytest.raises(TypeError, match="`make_plan` of the token mixer 'broken' in stage2 must return.*NumPy"):
        make_plan(make_masks((64, 64)), use_mixer(monkeypatch, Broken))


def test_a_mixer_with_a_plan_needs_one_for_full_images(monkeypatch):
    class Broken(GreenMimTokenMixer):
        make_plan = UnitMean.make_plan

    with pytest.raises(TypeError, match=r"'broken' \(Broken\) must define `make_full_plan`"):
        GreenMimModel(use_mixer(monkeypatch, Broken))


@pytest.mark.parametrize("batch_size", [2, 3])
@pytest.mark.parametrize("norm_placement", ["before", "after"])
def test_mixed_tokens_without_attention_weights_are_refused(monkeypatch, batch_size, norm_placement):
    """Unpacking a tensor of two images would silently give both the outputs of the first."""

    class Broken(GreenMimTokenMixer):
        def forward(self, hidden_states, prepared, **kwargs):
            return hidden_states

    config = use_mixer(monkeypatch, Broken)
    config.norm_placement = norm_placement
    with pytest.raises(TypeError, match="`forward` of the token mixer Broken must return a tuple.*got Tensor"):
        GreenMimModel(config)(make_images(64, 64, batch_size=batch_size).float())


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize("is_nested", [False, True])
def test_parameters_without_an_initialization_are_refused(monkeypatch, is_nested):
    class Broken(GreenMimTokenMixer):
        def __init__(self, config, stage):
            super().__init__()
            self.norm = nn.LayerNorm(config.hidden_sizes[stage])  # the model initializes layers of PyTorch
            if is_nested:
                self.inner = Scale()
            else:
                self.scale = nn.Parameter(torch.ones(1))

    name, owner = ("inner.scale", "Scale") if is_nested else ("scale", "Broken")
    with pytest.raises(TypeError, match=rf"'broken' must initialize `{name}` in.*init_weights.*{owner}"):
        GreenMimModel(use_mixer(monkeypatch, Broken))


def test_parameters_that_a_checkpoint_lacks_are_initialized(monkeypatch, tmp_path):
    class Scaled(GreenMimTokenMixer):
        def __init__(self, config, stage):
            super().__init__()
            self.scale = nn.Parameter(torch.empty(1000))

        def init_weights(self, std):
            nn.init.constant_(self.scale, 3.0)

        def forward(self, hidden_states, prepared, **kwargs):
            return hidden_states * self.scale[0], None

    config = use_mixer(monkeypatch, Scaled)
    model = GreenMimModel(config)
    weights = {name: weight for name, weight in model.state_dict().items() if not name.endswith("attention.scale")}
    assert len(weights) == len(model.state_dict()) - 2
    model.save_pretrained(tmp_path, state_dict=weights)
    loaded = GreenMimModel.from_pretrained(tmp_path)
    for block in (*model.encoder.layers[1].blocks, *loaded.encoder.layers[1].blocks):
        assert (block.attention.scale == 3).all()


# Neighbors at three dilations


def test_dilated_attention_beyond_the_border_is_to_keys_and_values_of_zero():
    config = make_config("dilated")
    mixer = TOKEN_MIXERS["dilated"](config, 0).double()
    token = make_images(1, 8, batch_size=1).view(1, 1, 24)  # an image of one token
    plan = TOKEN_MIXERS["dilated"].make_full_plan((1, 1), config, 0)
    output, _ = mixer(token, mixer.prepare(plan, token, config, 0))
    query, key, value = (projection(token).view(3, 8) for projection in (mixer.q_proj, mixer.k_proj, mixer.v_proj))
    exponential = ((query * key).sum(-1, keepdim=True) / 8**0.5).exp()  # that of a zero key is 1
    expected = mixer.o_proj((exponential / (exponential + 8) * value).flatten())
    torch.testing.assert_close(output.flatten(), expected, rtol=0, atol=1e-12)


def test_heads_that_three_dilations_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="num_heads.*divisible by 3.*'dilated', got 4 in stage 2"):
        GreenMimModel(make_config("dilated", num_heads=(3, 4, 6)))


# Clusters


def cluster_images(mixer, maps, config):
    """Context Clusters of full images that are made of whole regions, `(batch, channels, height, width)`."""
    side, heads = config.window_size, config.num_heads[0]
    grid = (maps.shape[2] // side, maps.shape[3] // side)

    def cut(projection):
        projected = projection(maps.movedim(1, 3)).movedim(3, 1).unflatten(1, (heads, -1))
        projected = projected.unflatten(4, (grid[1], side)).unflatten(3, (grid[0], side))
        return projected.permute(0, 1, 3, 5, 2, 4, 6).flatten(0, 3)  # (regions, channels, side, side)

    feature, value = cut(mixer.feature_proj), cut(mixer.value_proj)
    center_feature, center_value = (
        nn.functional.adaptive_avg_pool2d(states, 2).flatten(2) for states in (feature, value)
    )
    feature, value = feature.flatten(2), value.flatten(2)
    cosine = nn.functional.cosine_similarity(center_feature[..., None], feature[:, :, None], dim=1)
    similarity = (mixer.similarity_scale * cosine + mixer.similarity_bias).sigmoid()  # (regions, centers, tokens)
    similarity = similarity * (similarity == similarity.amax(1, keepdim=True))
    aggregated = torch.einsum("rmn,rcn->rcm", similarity, value) + center_value
    aggregated = aggregated / (1 + similarity.sum(2))[:, None]
    dispatched = torch.einsum("rmn,rcm->rcn", similarity, aggregated).unflatten(0, (-1, heads, *grid))
    dispatched = dispatched.unflatten(5, (side, side)).permute(0, 2, 5, 3, 6, 1, 4).flatten(5)
    return mixer.output_proj(dispatched.flatten(1, 2).flatten(2, 3))


@pytest.mark.parametrize("window_size", [4, 7])
def test_clusters_of_full_images_equal_the_papers(window_size):
    config = make_config("context_cluster", window_size=window_size, num_heads=2)
    mixer = (
        make_model(GreenMimModel, "context_cluster", window_size=window_size, num_heads=2).encoder.layers[0].blocks[0]
    )
    mixer, height, width = mixer.attention, 2 * window_size, 3 * window_size
    tokens = make_images(height, 16 * window_size, batch_size=2).reshape(2, height * width, 16)
    plan = type(mixer).make_full_plan((height, width), config, 0)
    actual, _ = mixer(tokens, mixer.prepare(plan, tokens, config, 0))
    expected = cluster_images(mixer, tokens.transpose(1, 2).unflatten(2, (height, width)), config)
    torch.testing.assert_close(actual, expected.flatten(1, 2), rtol=0, atol=1e-12)


def test_centers_without_tokens_of_their_own_are_not_chosen():
    config = make_config("cluster", depths=(1,), num_heads=1)  # regions of 3 x 3 tokens
    grid, tokens = (6, 3), torch.zeros(1, 3, 16)
    # in the upper region, the token in the middle is in all four cells; in the lower one, two are in the right cells
    layout = TokenLayout(grid, 1, np.array([[1, 3, 5]]), np.array([[1, 2, 2]]))
    plan = {
        key: torch.from_numpy(value) for key, value in TOKEN_MIXERS["cluster"].make_plan(layout, config, 0).items()
    }
    prepared = TOKEN_MIXERS["cluster"].prepare(plan, tokens, config, 0)
    assert prepared.is_candidate.view(2, 4).tolist() == [[True, False, False, False], [False, True, False, True]]


# Modulated scores


def test_a_gaussian_mixture_multiplies_the_scores_before_the_bias_is_added():
    """Swin of one window, on a full image: the scores are linear in `alpha`, and those of 0 are the bias."""
    config = make_config("gaussian_mixture", window_size=4, num_heads=2)
    (layer,) = make_model(GreenMimModel, "gaussian_mixture", window_size=4, num_heads=2).encoder.layers[0].blocks[:1]
    mixer, tokens = layer.attention, make_images(4, 16, batch_size=1).reshape(1, 12, 16)  # 3 x 4 tokens
    plan = TOKEN_MIXERS["window"].make_full_plan((3, 4), config, 0)
    output, _ = mixer(tokens, mixer.prepare(plan, tokens, config, 0))

    query, key, value = (
        projection(tokens[0]).unflatten(1, (2, 8)).transpose(0, 1)
        for projection in (mixer.q_proj, mixer.k_proj, mixer.v_proj)
    )
    alpha, sigma = mixer.score_modulation.alpha, mixer.score_modulation.sigma
    scores = query @ key.transpose(1, 2) / 8**0.5
    for head, i, j in np.ndindex(2, 12, 12):
        row, column = i // 4 - j // 4, i % 4 - j % 4
        gaussians = torch.exp(-(row**2 + column**2) / (2 * (sigma[:, head] ** 2 + 1e-5)))
        bias = mixer.relative_position_bias.relative_position_bias_table[(row + 3) * 7 + column + 3, head]
        scores[head, i, j] = scores[head, i, j] * (alpha[:, head] * gaussians).sum() + bias
    expected = mixer.o_proj((scores.softmax(-1) @ value).transpose(0, 1).flatten(1))
    torch.testing.assert_close(output[0], expected, rtol=0, atol=1e-12)


def test_gaussians_start_as_in_the_paper():
    torch.manual_seed(0)
    model = GreenMimModel(make_config("gaussian_mixture", depths=(8, 8, 8), num_heads=16))
    mixtures = [layer.attention.score_modulation for stage in model.encoder.layers for layer in stage.blocks]
    alpha, sigma = (torch.cat([getattr(mixture, name) for mixture in mixtures]) for name in ("alpha", "sigma"))
    assert alpha.mean().item() == pytest.approx(0, abs=0.2) and alpha.std().item() == pytest.approx(2, rel=0.1)
    assert sigma.mean().item() == pytest.approx(10, rel=0.1) and sigma.std().item() == pytest.approx(10, rel=0.1)


def test_mask_units_of_one_token_have_no_mixture():
    model = make_model(GreenMimModel, "gaussian_mixture", token_mixers="mask_unit")
    mixers = [stage.blocks[0].attention for stage in model.encoder.layers]
    assert [mixer.score_modulation is None for mixer in mixers] == [False, False, True]
    assert model(make_images(64, 64), make_masks((64, 64))).last_hidden_state.isfinite().all()


def test_modulated_scores_need_eager_attention():
    model = GreenMimModel(make_config("gaussian_mixture"))
    assert model.config._attn_implementation == "eager"
    message = "Cannot use `attn_implementation='sdpa'`.*multiplies the scores.*attn_implementation='eager'"
    with pytest.raises(ValueError, match=message):
        GreenMimModel(make_config("gaussian_mixture", attn_implementation="sdpa"))
    with pytest.raises(ValueError, match=message):
        model.set_attn_implementation("sdpa")


def test_modulated_scores_are_not_cut_into_launches(monkeypatch):
    model = make_model(GreenMimModel, "gaussian_mixture")
    pixel_values, mask = make_images(64, 64), make_masks((64, 64), per_sample=False)
    with torch.no_grad():
        expected = model(pixel_values, mask).last_hidden_state
        monkeypatch.setattr(mixer_greenmim, "MAX_HEADS", 5)
        assert torch.equal(model(pixel_values, mask).last_hidden_state, expected)
