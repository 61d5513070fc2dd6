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
The model against independent oracles: brute force, transformers' Swin, finite differences, and hidden pixels that must
not matter.
"""

import copy
import functools
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForMaskedImageModeling, SwinConfig, SwinModel

from modeling_greenmim import (
    GreenMimConfig,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
    mixer_greenmim,
    mixer_window_greenmim,
    sample_masks,
)
from modeling_greenmim.layout_greenmim import images_to_units, units_to_images
from modeling_greenmim.mixer_greenmim import GreenMimAttention, is_plain_linear
from modeling_greenmim.modeling_greenmim import GreenMimLayer
from modeling_greenmim.reconstruction_greenmim import get_2d_sincos_position_embeddings
from tests.helpers.brute_force import brute_force_encoder
from tests.helpers.tiny_models import FAMILIES, make_config, make_inputs, randomize


CHECKPOINT_0_1 = Path(__file__).parents[2] / "experiments" / "cifar10" / "pretrained"
ATTENTIONS = ["eager", "sdpa"]
BACKENDS = [*ATTENTIONS, pytest.param("compiled", marks=pytest.mark.slow)]


def run(model, backend, pixel_values, mask=None, **kwargs):
    """
    Call the model with one of `BACKENDS`. A compiled model gets the plan as an argument, as a full graph requires.
    """
    model.set_attn_implementation("sdpa" if backend == "compiled" else backend)
    if mask is not None:
        kwargs["bool_masked_pos"] = mask
        kwargs["plan"] = make_plan(mask, model.config, pixel_values.shape[-2:])
    if backend == "compiled":
        torch._dynamo.reset()
        model = torch.compile(model, fullgraph=True, dynamic=False)
    return model(pixel_values, **kwargs)


# Correctness: the five oracles


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("settings", "image_size", "sampler"),
    [
        ({"window_size": 4}, (64, 64), "random"),
        ({"window_size": 7}, (64, 96), "block"),
        ({"window_size": 3}, (48, 88), "random"),
        ({"window_size": 16}, (64, 128), "random"),  # one window spans the full side
        ({"window_size": 7, "depths": (2, 1, 1, 2), "num_heads": (1, 1, 2, 2), "patch_size": 4}, (224, 224), "random"),
        (
            {"window_size": 14, "depths": (2, 1, 1, 2), "num_heads": (1, 1, 2, 2), "patch_size": 4},
            (224, 224),
            "random",
        ),
        ({"window_size": 4, "use_absolute_embeddings": True, "image_size": (64, 96)}, (64, 96), "random"),
        ({"window_size": 4, "qkv_bias": False, "num_channels": 1}, (64, 64), "random"),
    ],
    ids=["4", "7-wide", "3-odd", "16-clipped", "7-at-224", "14-at-224", "absolute", "no-bias-gray"],
)
def test_visible_tokens_equal_brute_force(settings, image_size, sampler, backend):
    config = make_config(embed_dim=8, **settings)
    model = randomize(GreenMimModel(config)).double()
    pixel_values, mask, _ = make_inputs(config, image_size=image_size, sampler=sampler)
    with torch.no_grad():
        outputs = run(model, backend, pixel_values.double(), mask)
        expected, _ = brute_force_encoder(model, pixel_values.double(), mask)
    assert torch.equal(outputs.visible_indices, (~mask).nonzero()[:, 1].view(2, -1))
    expected = expected[torch.arange(2)[:, None], outputs.visible_indices]
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("window_size", [4, 16, 40])
def test_full_images_equal_brute_force(window_size, backend):
    """
    Also where transformers' Swin cannot run: in grids smaller than the window. (No padding here: padding is tested
    with Swin.)
    """
    config = make_config(window_size=window_size)
    model = randomize(GreenMimModel(config)).double()
    pixel_values, mask, _ = make_inputs(config)
    with torch.no_grad():
        expected, _ = brute_force_encoder(model, pixel_values.double(), torch.zeros_like(mask))
        actual = run(model, backend, pixel_values.double()).last_hidden_state
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


SWIN_CASES = [
    *((window_size, size) for window_size in (4, 7) for size in ((224, 224), (256, 256), (300, 228), (224, 448))),
    (14, (448, 448)),
    (14, (480, 512)),
]


@pytest.mark.parametrize(
    ("backend", "window_size", "image_size"),
    [
        *((backend, *case) for backend in ATTENTIONS for case in SWIN_CASES),
        # a minute each: the cases with the most padding
        pytest.param("compiled", 7, (300, 228), marks=pytest.mark.slow),
        pytest.param("compiled", 14, (480, 512), marks=pytest.mark.slow),
    ],
)
def test_full_images_equal_swin(backend, window_size, image_size):
    settings = {"embed_dim": 16, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "window_size": window_size}
    # outputs that transformers records with hooks are not part of a compiled graph
    keywords = {"output_hidden_states": backend != "compiled", "output_attentions": backend == "eager"}
    # a new Swin for each image size, because a small image changes its windows
    swin = randomize(SwinModel(SwinConfig(**settings, attn_implementation="eager")), std=0.1)
    model = GreenMimModel(GreenMimConfig(**settings)).eval()
    model.load_state_dict(swin.state_dict())
    pixel_values = torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = swin(pixel_values, **keywords)
        actual = run(model, backend, pixel_values, **keywords)
    assert actual.visible_indices is None
    names = ["last_hidden_state", "pooler_output"]
    names += ["hidden_states", "reshaped_hidden_states"] * keywords["output_hidden_states"]
    for name in names + ["attentions"] * keywords["output_attentions"]:
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_hidden_pixels_do_not_leak(backend, per_sample):
    config = make_config()
    model = randomize(GreenMimForMaskedImageModeling(config))
    pixel_values, mask, _ = make_inputs(config, per_sample=per_sample)
    is_hidden = model.mask_pixels(torch.zeros_like(pixel_values), mask, value=1.0).bool()
    with torch.no_grad():
        before = run(model, backend, pixel_values, mask)
        after = run(model, backend, pixel_values.where(~is_hidden, 1e6), mask)
        changed = run(model, backend, pixel_values.where(is_hidden, 1e6), mask)
        if backend != "compiled":
            keywords = {"output_hidden_states": True}
            states = run(model, backend, pixel_values, mask, **keywords).hidden_states
            states_after = run(model, backend, pixel_values.where(~is_hidden, 1e6), mask, **keywords).hidden_states
            assert all(torch.equal(first, second) for first, second in zip(states, states_after))
    assert torch.equal(before.logits, after.logits)
    assert not torch.equal(before.logits, changed.logits)


def test_gradients_equal_finite_differences():
    config = make_config(
        image_size=16, patch_size=1, embed_dim=2, depths=(2, 1), num_heads=(1, 1), window_size=3, num_channels=1
    )
    config.decoder_hidden_size, config.decoder_intermediate_size = 4, 4
    model = randomize(GreenMimForMaskedImageModeling(config)).double()
    pixel_values, mask, grid = make_inputs(config, image_size=(8, 8))
    plan = make_plan(mask, config, pixel_values.shape[-2:])
    names, parameters = zip(*model.named_parameters())

    def loss(pixel_values, *parameters):
        inputs = {"pixel_values": pixel_values, "bool_masked_pos": mask, "plan": plan}
        return torch.func.functional_call(model, dict(zip(names, parameters)), kwargs=inputs).loss

    inputs = [tensor.detach().clone().requires_grad_() for tensor in (pixel_values.double(), *parameters)]
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)


# Masks


def test_a_visible_latent_reaches_the_decoder_at_its_own_unit():
    """Swapping two latents, or replacing a mask token by a latent, must change exactly these units."""
    config = make_config(decoder_num_hidden_layers=0, norm_pix_loss=False)
    decoder = randomize(GreenMimForMaskedImageModeling(config)).decoder
    latents = torch.randn(1, 3, config.hidden_size)
    visible_indices, grid = torch.tensor([[5, 2, 61]]), (8, 8)
    with torch.no_grad():
        prediction = decoder(latents, visible_indices, grid)
        positions = get_2d_sincos_position_embeddings(grid, 32)
        tokens = {unit: decoder.decoder_embed(latents[0, place]) for place, unit in enumerate([5, 2, 61])}
        for unit in range(64):  # without layers, every unit is predicted only from its own token
            token = tokens.get(unit, decoder.mask_token[0, 0]) + positions[unit]
            expected = decoder.decoder_pred(decoder.decoder_norm(token))
            torch.testing.assert_close(prediction[0, unit], expected)
        swapped = decoder(latents, visible_indices[:, [1, 0, 2]], grid)
    differs = (swapped != prediction).any(dim=-1)[0].nonzero().flatten().tolist()
    assert differs == [2, 5]


def test_encoder_and_decoder_agree_on_the_units():
    """
    A unit's latent follows its pixels through the model: a changed visible unit must affect its own latent first.
    """
    config = make_config(window_size=2, depths=(1, 1, 1), decoder_num_hidden_layers=0)
    model = randomize(GreenMimForMaskedImageModeling(config))
    pixel_values, mask, _ = make_inputs(config, batch_size=1)
    with torch.no_grad():
        before = model(pixel_values, mask).logits
        for unit in (~mask[0]).nonzero().flatten().tolist():
            top, left = unit // 8 * 8, unit % 8 * 8
            changed = pixel_values.clone()
            changed[:, :, top : top + 8, left : left + 8] += 1.0
            difference = (model(changed, mask).logits - before).abs().amax(dim=-1)[0]
            assert difference[unit] > 0
            # windows of 2 x 2 reach only the adjacent units
            rows, columns = torch.arange(64) // 8, torch.arange(64) % 8
            is_far = ((rows - unit // 8).abs() > 1) | ((columns - unit % 8).abs() > 1)
            assert difference[is_far].max() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_shared_and_per_sample_plans_agree(backend):
    config = make_config()
    model = randomize(GreenMimForMaskedImageModeling(config))
    pixel_values, mask, grid = make_inputs(config, batch_size=3, per_sample=False)
    with torch.no_grad():
        shared = run(model, backend, pixel_values, mask)
        # the third image has a different mask, and the first two are packed with it
        other = mask.clone()
        other[2] = mask[2].flip(0)
        pooled = run(model, backend, pixel_values, other)
        alone = run(model, backend, pixel_values[:1], mask[:1])
    assert make_plan(mask, config)["visible_indices"].shape[0] == 1
    assert make_plan(other, config)["visible_indices"].shape[0] == 3
    torch.testing.assert_close(pooled.logits[:2], shared.logits[:2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone.logits, shared.logits[:1], rtol=1e-4, atol=1e-4)


def test_batch_mates_do_not_matter():
    config = make_config()
    model = randomize(GreenMimForMaskedImageModeling(config)).double()
    pixel_values, mask, _ = make_inputs(config, batch_size=4)
    pixel_values = pixel_values.double()
    with torch.no_grad():
        together = model(pixel_values, mask).logits
        strangers = model(torch.cat([pixel_values[:1], 1e3 * pixel_values[1:]]), mask).logits
        alone = torch.cat([model(pixel_values[i : i + 1], mask[i : i + 1]).logits for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
    torch.testing.assert_close(together[:1], strangers[:1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("group_size", [None, 16, 50])
def test_plans_in_and_out_of_the_forward_agree(group_size):
    config = make_config()
    model = randomize(GreenMimForMaskedImageModeling(config)).double()
    pixel_values, mask, grid = make_inputs(config)
    shapes = dict.fromkeys(("window", "shifted_window"), (None, group_size)) if group_size else {}
    plan = make_plan(mask, config, group_shapes=dict.fromkeys(config.stage_names[1:], shapes))
    with torch.no_grad():
        expected = model(pixel_values.double(), mask).logits
        torch.testing.assert_close(model(pixel_values.double(), mask, plan).logits, expected, rtol=0, atol=1e-10)


def test_masks_over_patches_are_accepted():
    config = make_config()
    model = randomize(GreenMimForMaskedImageModeling(config))
    pixel_values, mask, grid = make_inputs(config, image_size=(64, 96))
    patch_mask = mask.view(2, *grid).repeat_interleave(4, 1).repeat_interleave(4, 2).flatten(1)
    plan = make_plan(mask, config, pixel_values.shape[-2:])
    with torch.no_grad():
        expected, outputs = model(pixel_values, mask), model(pixel_values, patch_mask)
        assert torch.equal(model(pixel_values, patch_mask, plan).logits, expected.logits)
    assert torch.equal(outputs.logits, expected.logits) and torch.equal(outputs.mask, mask.float())


def test_a_mask_of_little_matters_little():
    """As windows fit the grid, hiding a distant unit changes nothing in windows without it."""
    config = make_config(depths=(1, 1, 1), window_size=2)
    model = randomize(GreenMimModel(config)).double()
    pixel_values, mask, _ = make_inputs(config)
    mask = torch.zeros_like(mask)
    mask[:, 63] = True
    with torch.no_grad():
        masked, full = model(pixel_values.double(), mask), model(pixel_values.double())
    difference = (masked.last_hidden_state - full.last_hidden_state[:, :63]).abs().amax(dim=-1)[0]
    assert difference[[54, 55, 62]].min() > 1e-6  # the rest of its window in the last stage
    difference[[54, 55, 62]] = 0
    assert difference.max() < 1e-10


def test_outputs_with_and_without_a_mask():
    config = make_config(attn_implementation="eager")
    model = GreenMimForMaskedImageModeling(config).eval()
    pixel_values, mask, _ = make_inputs(config)
    keywords = {"output_hidden_states": True, "output_attentions": True}
    full, masked = model(pixel_values, **keywords), model(pixel_values, mask, **keywords)
    assert full.loss is None and full.mask is None and full.visible_indices is None
    assert full.logits.shape == masked.logits.shape == (2, 64, 8 * 8 * 3)
    assert [tuple(state.shape[1:]) for state in full.hidden_states] == [(1024, 16), (256, 32), (64, 64), (64, 64)]
    assert [tuple(state.shape[1:]) for state in full.reshaped_hidden_states] == [
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
        (64, 8, 8),
    ]
    assert [tuple(state.shape[1:]) for state in masked.hidden_states] == [(400, 16), (100, 32), (25, 64), (25, 64)]
    assert masked.reshaped_hidden_states is None
    assert len(masked.attentions) == len(full.attentions) == 3
    for attention, num_heads in zip(masked.attentions, config.num_heads):
        assert attention.shape[1] == num_heads and attention.shape[2] == attention.shape[3]
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1]))
    assert masked.loss.ndim == 0 and torch.equal(masked.mask, mask.float())
    assert isinstance(model(pixel_values, mask, return_dict=False), tuple)
    # without a mask, an image may end in the middle of a unit
    assert model(torch.randn(1, 3, 61, 67)).logits.shape == (1, 72, 192)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_loss_and_pictures(norm_pix_loss):
    """
    The loss equals a manual computation on the hidden units, cutting and assembling units are inverse, and a perfect
    prediction reconstructs the image.
    """
    config = make_config(norm_pix_loss=norm_pix_loss)
    model = randomize(GreenMimForMaskedImageModeling(config))
    pixel_values, mask, grid = make_inputs(config, image_size=(64, 96))
    with torch.no_grad():
        outputs = model(pixel_values, mask)
    losses, perfect = [], torch.zeros_like(outputs.logits)
    for image in range(2):
        for unit in range(grid[0] * grid[1]):
            top, left = unit // grid[1] * 8, unit % grid[1] * 8
            target = pixel_values[image, :, top : top + 8, left : left + 8].permute(1, 2, 0).reshape(-1)
            if norm_pix_loss:
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            perfect[image, unit] = target
            if mask[image, unit]:
                losses.append((outputs.logits[image, unit] - target).square().mean())
    torch.testing.assert_close(outputs.loss, torch.stack(losses).mean())

    assert torch.equal(units_to_images(images_to_units(pixel_values, 8), (64, 96), 8), pixel_values)
    outputs.logits = perfect
    torch.testing.assert_close(model.reconstruct(pixel_values, outputs), pixel_values, rtol=1e-4, atol=1e-4)
    outputs.logits = torch.zeros_like(perfect)
    pasted = images_to_units(model.reconstruct(pixel_values, outputs), 8)
    assert torch.equal(pasted[~mask], images_to_units(pixel_values, 8)[~mask])
    if not norm_pix_loss:
        assert (pasted[mask] == 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_sdpa_returns_no_attention_weights(training):
    """With a gradient or without, as everywhere in transformers."""
    config = make_config(attn_implementation="sdpa")
    model = GreenMimModel(config).train(training)
    pixel_values, mask, _ = make_inputs(config)
    with torch.set_grad_enabled(training):
        assert not model(pixel_values, mask, output_attentions=True).attentions


def test_sincos_positions():
    """The first half of the channels encodes the column, sines before cosines (MAE), checked number by number."""
    table = get_2d_sincos_position_embeddings((3, 5), 8).view(3, 5, 8)
    for row in range(3):
        for column in range(5):
            angles = torch.tensor([[place * 10000.0 ** -(2 * i / 4) for i in range(2)] for place in (column, row)])
            torch.testing.assert_close(table[row, column], torch.cat([angles.sin(), angles.cos()], dim=1).flatten())


# Training


@pytest.mark.parametrize("attn_implementation", ATTENTIONS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_gradients_are_finite_and_reach_every_parameter(attn_implementation, per_sample):
    config = make_config(attn_implementation=attn_implementation, use_absolute_embeddings=True, drop_path_rate=0.1)
    model = GreenMimForMaskedImageModeling(config).train()
    pixel_values, mask, _ = make_inputs(config, batch_size=4, per_sample=per_sample)
    torch.manual_seed(0)
    model(pixel_values, mask).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("decoder_num_hidden_layers", [0, 1, 3])
@pytest.mark.parametrize("per_sample", [False, True])
def test_training_predicts_hidden_units_only_with_the_same_loss_and_gradients(decoder_num_hidden_layers, per_sample):
    config = make_config(decoder_num_hidden_layers=decoder_num_hidden_layers)
    model = randomize(GreenMimForMaskedImageModeling(config)).double()
    pixel_values, mask, _ = make_inputs(config, per_sample=per_sample)
    results = []
    for training in (False, True):
        model.train(training).zero_grad()
        outputs = model(pixel_values.double(), mask)
        outputs.loss.backward()
        results.append((outputs, [parameter.grad.clone() for parameter in model.parameters()]))
    (evaluated, expected), (trained, gradients) = results
    torch.testing.assert_close(trained.loss, evaluated.loss, rtol=0, atol=1e-12)
    torch.testing.assert_close(trained.logits[mask], evaluated.logits[mask], rtol=0, atol=1e-10)
    assert (trained.logits[~mask] == 0).all() and (evaluated.logits[~mask] != 0).any()
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_one_product_gives_the_queries_keys_and_values_of_three(qkv_bias, similarity):
    attention = randomize(GreenMimAttention(make_config(qkv_bias=qkv_bias), 16, 2, similarity)).double()
    hidden_states = torch.randn(3, 5, 16, dtype=torch.float64)
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    for at_once, projection in zip(attention.project_at_once(hidden_states), projections, strict=True):
        alone = projection(hidden_states)
        torch.testing.assert_close(at_once, alone, rtol=0, atol=1e-12)


def test_projections_that_are_wrapped_or_hooked_keep_their_own_forward():
    plain, hooked, offloaded = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *_: None)
    offloaded.forward = offloaded.forward
    wrapped = type("Adapted", (nn.Linear,), {})(4, 4)
    assert [is_plain_linear(module) for module in (plain, hooked, offloaded, wrapped)] == [True, False, False, False]


@pytest.mark.parametrize("attn_implementation", ATTENTIONS)
@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_cut_into_launches_that_cuda_takes(monkeypatch, attn_implementation, masked):
    config = make_config(attn_implementation=attn_implementation)
    model = randomize(GreenMimModel(config)).double()
    pixel_values, mask, _ = make_inputs(config, batch_size=3, per_sample=False)
    inputs = (pixel_values.double(), mask) if masked else (pixel_values.double(),)
    keywords = {"output_attentions": attn_implementation == "eager"}
    with torch.no_grad():
        expected = model(*inputs, **keywords)
        monkeypatch.setattr(mixer_greenmim, "MAX_HEADS", 5)
        actual = model(*inputs, **keywords)
    torch.testing.assert_close(actual.last_hidden_state, expected.last_hidden_state, rtol=0, atol=1e-12)
    for weights, expected_weights in zip(actual.attentions or (), expected.attentions or (), strict=True):
        assert weights.shape == expected_weights.shape


def test_plans_of_full_images_are_made_once(monkeypatch):
    """Also if the first call is in inference mode and the next is a training step."""
    model = GreenMimModel(make_config(window_size=5))
    pixel_values = torch.randn(1, 3, 56, 40)
    with torch.inference_mode():
        model(pixel_values)
    partition = mixer_window_greenmim._partition_grid_once
    misses = partition.cache_info().misses
    gradients = []
    for kind in (pixel_values, torch.cat([pixel_values, pixel_values])):
        model.train().zero_grad()
        model(kind).last_hidden_state.square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)
    model.train()(pixel_values).last_hidden_state.square().mean().backward()
    assert partition.cache_info().misses == misses and partition.cache_info().hits > 0


def test_200_steps_on_one_batch_drive_the_loss_down():
    torch.manual_seed(0)
    config = make_config(image_size=32, decoder_hidden_size=64, norm_pix_loss=True)
    model = GreenMimForMaskedImageModeling(config).train()
    pixel_values, mask, grid = make_inputs(config)
    plan = make_plan(mask, config, pixel_values.shape[-2:])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(200):
        loss = model(pixel_values, mask, plan).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("attn_implementation", ATTENTIONS)
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
def test_gradient_checkpointing_changes_nothing(use_reentrant, masked, attn_implementation):
    config = make_config(attn_implementation=attn_implementation)
    model = GreenMimForMaskedImageModeling(config).train()
    pixel_values, mask, _ = make_inputs(config)
    calls = []
    hook = [
        layer.layernorm_before.register_forward_hook(lambda *_: calls.append(1))
        for layer in model.modules()
        if isinstance(layer, GreenMimLayer)
    ]

    def gradients():
        model.zero_grad()
        outputs = model(pixel_values, mask if masked else None)
        (outputs.loss if masked else outputs.logits.square().mean()).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    expected = gradients()
    assert len(calls) == len(hook)
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    calls.clear()
    actual = gradients()
    # a reentrant checkpoint needs an input with a gradient; every layer has one because the embeddings are trained
    assert len(calls) == 2 * len(hook)
    torch.testing.assert_close(actual, expected)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    config = make_config(drop_path_rate=0.5)
    rates = [
        layer.drop_path.drop_prob for layer in GreenMimModel(config).modules() if isinstance(layer, GreenMimLayer)
    ]
    assert rates == pytest.approx([0.5 * i / 5 for i in range(6)])
    drop_path = next(reversed([m for m in GreenMimModel(config).modules() if type(m).__name__ == "SwinDropPath"]))
    torch.manual_seed(0)
    dropped = drop_path.train()(torch.ones(4000, 3, 2))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped == dropped[:, :1, :1]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.07)
    assert torch.equal(drop_path.eval()(torch.ones(4, 3)), torch.ones(4, 3))


# Precision


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attn_implementation", ATTENTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [True, False])
def test_low_precision_is_as_exact_as_on_full_images(attn_implementation, dtype, autocast, family):
    """The error on visible tokens is at most twice the error on full images, each against its float32 result."""
    config = make_config(attn_implementation=attn_implementation, image_size=128, **FAMILIES[family])
    model = randomize(GreenMimModel(config), std=0.1)
    pixel_values, mask, _ = make_inputs(config)

    def error(mask):
        with torch.no_grad():
            expected = model(pixel_values, mask).last_hidden_state
            if autocast:
                with torch.autocast("cpu", dtype=dtype):
                    actual = model(pixel_values, mask).last_hidden_state
            else:
                actual = copy.deepcopy(model).to(dtype)(pixel_values.to(dtype), mask).last_hidden_state
        return (actual.float() - expected).square().mean().sqrt().item()

    assert 0 < error(mask) <= 2 * error(None)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains(dtype, family):
    config = make_config(**FAMILIES[family])
    model = GreenMimForMaskedImageModeling(config).train()
    pixel_values, mask, _ = make_inputs(config)
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(pixel_values, mask)
    outputs.loss.backward()
    assert outputs.loss.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


# Saving and loading


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_models_are_bit_identical(tmp_path, dtype):
    config = make_config(use_absolute_embeddings=True)
    model = randomize(GreenMimForMaskedImageModeling(config)).to(dtype)
    pixel_values, mask, _ = make_inputs(config)
    pixel_values = pixel_values.to(dtype)
    with torch.no_grad():
        expected = model(pixel_values, mask)
        model.save_pretrained(tmp_path / "first")
        first = AutoModelForMaskedImageModeling.from_pretrained(tmp_path / "first", dtype=dtype)
        first.save_pretrained(tmp_path / "second")
        second = GreenMimForMaskedImageModeling.from_pretrained(tmp_path / "second", dtype=dtype)
        encoder = AutoModel.from_pretrained(tmp_path / "second", dtype=dtype)
        with torch.device("meta"):
            on_meta = GreenMimForMaskedImageModeling(config).to(dtype)
        on_meta.load_state_dict(model.state_dict(), assign=True)
        for loaded in (first, second, on_meta):
            assert torch.equal(loaded.eval()(pixel_values, mask).logits, expected.logits)
        encoded = model.greenmim(pixel_values, mask).last_hidden_state
        assert torch.equal(encoder.eval()(pixel_values, mask).last_hidden_state, encoded)
    assert (tmp_path / "first" / "model.safetensors").is_file()


def test_a_checkpoint_of_version_0_1_gives_the_same_outputs():
    """Numbers that version 0.1.0 (commit 4ae9969) returned for this checkpoint, images and masks."""
    model = GreenMimForMaskedImageModeling.from_pretrained(CHECKPOINT_0_1).eval()
    pixel_values = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mask = torch.from_numpy(sample_masks(4, (4, 4), 0.75, seed=2))
    with torch.no_grad():
        outputs = model(pixel_values, mask)
    assert outputs.loss.item() == pytest.approx(1.1881865, abs=1e-5)
    expected = torch.tensor([-0.470337, 0.56675, 0.065382, -1.126008])
    torch.testing.assert_close(outputs.logits[:, 12, 100], expected, rtol=0, atol=1e-5)
    assert outputs.logits.abs().mean().item() == pytest.approx(0.3638647, abs=1e-5)


def test_the_encoder_of_a_pretrained_model_loads_quietly(tmp_path, capfd):
    GreenMimForMaskedImageModeling(make_config()).save_pretrained(tmp_path)
    capfd.readouterr()
    AutoModel.from_pretrained(tmp_path)
    assert "decoder" not in "".join(capfd.readouterr())


def test_no_tensor_is_left_uninitialized(tmp_path):
    """There are no buffers, and weights missing in a checkpoint are initialized: no table is zero or garbage."""
    config = make_config(use_absolute_embeddings=True)
    model = GreenMimForMaskedImageModeling(config)
    assert not list(model.buffers())
    model.greenmim.save_pretrained(tmp_path)
    from_encoder = GreenMimForMaskedImageModeling.from_pretrained(tmp_path)
    from_config = AutoModelForMaskedImageModeling.from_config(config)
    for candidate in (model, from_encoder, from_config):
        for name, parameter in candidate.named_parameters():
            if parameter.ndim > 1:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.35), name
            else:
                assert set(parameter.unique().tolist()) <= {0.0, 1.0}, name
    for name, parameter in model.greenmim.named_parameters():
        assert torch.equal(from_encoder.greenmim.get_parameter(name), parameter)


# Bad input


@functools.cache
def small_model():
    return GreenMimForMaskedImageModeling(make_config()).eval()


def hide(batch_size=2, num_units=64, hidden=40, dtype=torch.bool):
    return (torch.arange(num_units) < hidden).to(dtype).expand(batch_size, -1).clone()


def unequal_rows():
    mask = hide()
    mask[1, 63] = True
    return mask


def cutting():
    mask = torch.zeros(2, 1024, dtype=torch.bool)
    mask[:, :500] = True
    return mask


@pytest.mark.parametrize(
    ("image_shape", "mask", "message"),
    [
        ((3, 64, 64), hide(), r"batch_size, num_channels, height, width.*\(3, 64, 64\)"),
        ((2, 1, 64, 64), hide(), "3 channels.*num_channels.*got 1"),
        ((2, 3, 64, 64), hide(dtype=torch.float), r"boolean.*float32.*bool\(\)"),
        ((2, 3, 64, 64), hide(dtype=torch.long), "boolean.*int64"),
        ((2, 3, 64, 64), hide()[0], r"\(batch_size, 64\).*\(64,\)"),
        ((2, 3, 64, 64), hide(num_units=63), r"\(batch_size, 64\) for 8 x 8 mask units.*1024.*\(2, 63\)"),
        ((2, 3, 64, 64), hide(batch_size=3), "each of the 2 images, got 3 masks"),
        ((2, 3, 64, 64), cutting(), "4 x 4 patches.*cuts mask units"),
        ((2, 3, 60, 69), hide(), "8 x 8.*60 x 69.*height of 56 or 64.*width of 64 or 72"),
        ((2, 3, 64, 6), hide(), "height of 64, a width of 8"),
    ],
)
@pytest.mark.parametrize("with_plan", [False, True])
def test_bad_input_is_named(image_shape, mask, message, with_plan):
    plan = make_plan(hide(), make_config()) if with_plan else None
    with pytest.raises(ValueError, match=message):
        small_model()(torch.zeros(image_shape), mask, plan)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (hide(hidden=64), "hides everything"),
        (hide(hidden=0), "hides nothing"),
        (unequal_rows(), "same number of units.*from 40 to 41 of 64"),
    ],
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(ValueError, match=message):
        small_model()(torch.zeros(2, 3, 64, 64), mask)


@pytest.mark.parametrize(
    ("mask", "settings", "image_size", "message"),
    [
        (hide(hidden=41), {}, (64, 64), "different mask"),
        (hide().flip(1), {}, (64, 64), "different mask"),
        (hide(), {}, (32, 128), "8 x 8 mask units.*got a plan for 4 x 16"),
        (hide(), {"window_size": 5}, (64, 64), "windows of 4.*windows of 5"),
        (
            hide(),
            {"depths": (2, 2), "num_heads": (1, 2), "patch_size": 4},
            (64, 64),
            "must contain.*stage3.*got stage1",
        ),
        (hide(), {"depths": (2, 2, 2, 2), "num_heads": 1, "patch_size": 1}, (64, 64), "must contain.*got.*stage4"),
        (
            hide(),
            {"token_mixers": "global"},
            (64, 64),
            r"must contain stage1 \(shifted_window, window\).*got stage1 \(global\)",
        ),
        (torch.stack([hide()[0], hide()[0].flip(0), hide()[0]]), {}, (64, 64), "2 masks.*got 3 masks"),
    ],
    ids=["count", "mask", "grid", "window", "fewer stages", "more stages", "mixers", "batch"],
)
def test_a_plan_for_something_else_is_refused(mask, settings, image_size, message):
    plan = make_plan(mask, make_config(**settings), image_size)
    with pytest.raises(ValueError, match=message):
        small_model()(torch.zeros(2, 3, 64, 64), hide(), plan)


@pytest.mark.parametrize("missing", ["visible_indices", "geometry", "stage2", "shifted_window", "everything"])
def test_a_plan_without_a_part_is_refused(missing):
    plan = make_plan(hide(), make_config())
    if missing == "everything":
        plan = {}
    elif missing == "shifted_window":
        del plan["stage1"][missing]
    else:
        del plan[missing]
    with pytest.raises(ValueError, match="`plan` must contain"):
        small_model()(torch.zeros(2, 3, 64, 64), hide(), plan)


def test_a_plan_without_a_mask_is_refused():
    with pytest.raises(ValueError, match="`plan` because `bool_masked_pos`.*is missing"):
        small_model()(torch.zeros(2, 3, 64, 64), plan=make_plan(hide(), make_config()))


def test_a_mask_may_be_a_numpy_array():
    pixel_values = torch.zeros(2, 3, 64, 64)
    assert torch.equal(small_model()(pixel_values, hide().numpy()).logits, small_model()(pixel_values, hide()).logits)


def test_absolute_positions_of_another_size_need_interpolation():
    model = GreenMimModel(make_config(use_absolute_embeddings=True)).eval()
    pixel_values = torch.randn(1, 3, 96, 64)
    with pytest.raises(ValueError, match="32 x 32 patches.*48 x 32.*interpolate_pos_encoding=True"):
        model(pixel_values)
    assert model(pixel_values, interpolate_pos_encoding=True).last_hidden_state.shape == (1, 96, 64)
    mask = hide(batch_size=1, num_units=96)
    assert model(pixel_values, mask, interpolate_pos_encoding=True).last_hidden_state.shape == (1, 56, 64)


def test_reconstruction_without_a_mask_is_refused():
    model, pixel_values = small_model(), torch.zeros(2, 3, 64, 64)
    with pytest.raises(ValueError, match="no mask"):
        model.reconstruct(pixel_values, model(pixel_values))


def test_units_of_a_different_image_size_are_refused():
    with pytest.raises(ValueError, match="64 units of 8 x 8.*64 x 64 pixels, got 96 units"):
        units_to_images(torch.zeros(2, 96, 192), (64, 64), 8)


def test_masked_pixels_are_hidden_unit_by_unit():
    model, pixel_values = small_model(), torch.randn(2, 3, 64, 64)
    masked = model.mask_pixels(pixel_values, hide(), value=7.0)
    assert (masked[:, :, :40] == 7.0).all() and torch.equal(masked[:, :, 40:], pixel_values[:, :, 40:])
    assert torch.equal(masked, model.mask_pixels(pixel_values, hide().float(), value=7.0))
