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
Reconstruction: targets against brute force, decoders against full grids with mask tokens, and the terms of the loss.
"""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from modeling_greenmim import (
    GreenMimConfig,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
)
from modeling_greenmim.layout_greenmim import images_to_units
from modeling_greenmim.reconstruction_greenmim import (
    HOG_NUM_BINS,
    RECONSTRUCTION_TARGETS,
    ReconstructionTarget,
    get_2d_sincos_position_embeddings,
    get_cell_indices,
    get_hog,
    get_normalized_pixels,
    scatter_histograms,
    sum_histograms,
)
from tests.model.test_modeling_greenmim import make_config, make_inputs, randomize


# 64 pixels, units of 8: cells of 4 pixels in the first stage, of 8 in the others
OBJECTIVES = {
    "last stage": {},
    "all stages": {
        "decoder_stages": [1, 2, 3],
        "decoder_hidden_size": [16, 24, 32],
        "decoder_num_attention_heads": [2, 2, 4],
        "decoder_loss_weights": [0.5, 1.0, 2.0],
    },
    "deep decoders": {"decoder_stages": [1, 3], "decoder_num_hidden_layers": [2, 3]},
    "no layers": {"decoder_stages": [1, 3], "decoder_num_hidden_layers": 0},
    "HOG": {"decoder_stages": [1, 2, 3], "reconstruction_target": "hog"},
    "pixels": {"decoder_stages": [1, 3], "reconstruction_target": "pixels"},
    "cross-attention": {"decoder_attention": "cross", "decoder_num_hidden_layers": 2},
    "cross-attention of stages": {"decoder_attention": "cross", "decoder_stages": [1, 3]},
}


@pytest.fixture(params=OBJECTIVES.values(), ids=OBJECTIVES)
def model(request):
    return randomize(GreenMimForMaskedImageModeling(make_config(**request.param))).double()


def brute_force_hog(image: np.ndarray, cell_size: int) -> np.ndarray:
    """Pixel by pixel: `(channels, height, width)` to `(cells, channels * bins)`."""
    channels, height, width = image.shape
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    weights = np.array([1, 2, 1])
    histograms = np.zeros((height // cell_size, width // cell_size, channels, HOG_NUM_BINS))
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                patch = padded[channel, row : row + 3, column : column + 3]
                # differences first: at a reflected border they are exactly 0
                across, down = weights @ (patch[:, 0] - patch[:, 2]), weights @ (patch[0] - patch[2])
                angle = math.atan2(across, down) % math.pi
                place = int(angle / math.pi * HOG_NUM_BINS) % HOG_NUM_BINS
                histograms[row // cell_size, column // cell_size, channel, place] += math.hypot(across, down)
    norms = np.linalg.norm(histograms, axis=-1, keepdims=True)
    return (histograms / np.maximum(norms, 1e-12)).reshape(-1, channels * HOG_NUM_BINS)


@pytest.mark.parametrize(("num_channels", "cell_size"), [(3, 4), (1, 8), (4, 16)])
def test_hog_equals_brute_force(num_channels, cell_size):
    images = np.random.default_rng(0).normal(size=(2, num_channels, 16, 32))
    expected = np.stack([brute_force_hog(image, cell_size) for image in images])
    actual = get_hog(torch.from_numpy(images), cell_size).numpy()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


def test_histograms_on_a_gpu_are_those_on_a_cpu():
    bins, values = torch.randint(18, (2, 3, 50)), torch.rand(2, 3, 50, dtype=torch.float64)
    expected = [[np.bincount(b, v, minlength=18) for b, v in zip(*rows)] for rows in zip(bins.numpy(), values.numpy())]
    for get_histograms in (scatter_histograms, sum_histograms):
        np.testing.assert_allclose(get_histograms(bins, values, 18).numpy(), expected, rtol=0, atol=1e-12)


def test_hog_of_an_image_without_edges_is_zero():
    assert (get_hog(torch.full((1, 3, 16, 16), 0.3), 8) == 0).all()


def test_hog_of_opposite_gradients_is_the_same():
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(get_hog(-images, 8), get_hog(images, 8), rtol=0, atol=1e-12)


def test_normalized_pixels_have_mean_0_and_variance_1_in_each_cell():
    cells = get_normalized_pixels(5 + 3 * torch.randn(2, 3, 16, 24, dtype=torch.float64), cell_size=8)
    assert cells.shape == (2, 6, 192)
    torch.testing.assert_close(cells.mean(dim=-1), torch.zeros(2, 6, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(cells.var(dim=-1), torch.ones(2, 6, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("unit_side", [1, 2, 4])
def test_cells_of_a_unit_are_numbered_in_the_order_of_its_tokens(unit_side):
    """
    Row 0 column 0, row 1 column 0, row 0 column 1, row 1 column 1, at every level: bits of the index, interleaved.
    """
    unit_grid, expected = (3, 5), []
    for unit in (7, 2):
        for token in range(unit_side**2):
            row = sum((token >> (2 * bit) & 1) << bit for bit in range(3))
            column = sum((token >> (2 * bit + 1) & 1) << bit for bit in range(3))
            row, column = unit // 5 * unit_side + row, unit % 5 * unit_side + column
            expected.append(row * 5 * unit_side + column)
    assert get_cell_indices(torch.tensor([[7, 2]]), unit_grid, unit_side).tolist() == [expected]


def attend(attention: nn.Module, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Attention of `(queries, channels)` to `(keys, channels)`, head by head."""
    query, key, value = attention.q_proj(queries), attention.k_proj(keys), attention.v_proj(keys)
    outputs = []
    for head in range(attention.num_heads):
        part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
        scores = query[:, part] @ key[:, part].T / math.sqrt(attention.head_dim)
        outputs.append(scores.softmax(dim=-1) @ value[:, part])
    return attention.o_proj(torch.cat(outputs, dim=-1))


def brute_force_decoder(model, stage: int, hidden_states, visible_units, image_size) -> torch.Tensor:
    """
    Predicts every cell of one image: all cells are in the grid, the hidden ones as mask tokens. `hidden_states` of
    shape `(num_visible, channels)` are those of the cells of the visible units, in the order of the encoder's tokens.
    """
    decoder, config = model.get_decoders()[stage], model.config
    cell_size = config.get_cell_size(stage)
    grid_size = tuple(side // cell_size for side in image_size)
    unit_side, unit_columns = config.mask_unit_size // cell_size, image_size[1] // config.mask_unit_size
    positions = get_2d_sincos_position_embeddings(grid_size, decoder.decoder_pred.in_features)
    tokens = {}
    states = iter(decoder.decoder_embed(decoder.layernorm(hidden_states)))
    for unit in visible_units:
        for token in range(unit_side**2):
            row = unit // unit_columns * unit_side + token % 2
            column = unit % unit_columns * unit_side + token // 2
            tokens[row * grid_size[1] + column] = next(states)
    visible, mask_token = sorted(tokens), decoder.mask_token[0, 0]
    grid = torch.stack([tokens.get(cell, mask_token) + positions[cell] for cell in range(len(positions))])
    context = grid[visible]
    if config.decoder_attention == "cross":
        grid = mask_token + positions.to(mask_token.dtype)
    for layer in decoder.decoder_layers:
        queries = layer.layernorm_before(grid)
        keys = context if config.decoder_attention == "cross" else queries
        grid = grid + attend(layer.attention, queries, keys)
        grid = grid + layer.mlp(layer.layernorm_after(grid))
    return decoder.decoder_pred(decoder.decoder_norm(grid))


def test_each_decoder_equals_one_on_the_full_grid_with_mask_tokens(model):
    pixel_values, mask, _ = make_inputs(model.config, image_size=(64, 48))
    pixel_values = pixel_values.double()
    with torch.no_grad():
        outputs = model(pixel_values, mask, output_hidden_states=True)
        losses = []
        for stage in model.config.decoder_stages:
            is_last = stage == model.config.num_layers
            states = outputs.hidden_states[stage]
            states = model.greenmim.layernorm(states) if is_last else states
            logits = torch.stack(
                [
                    brute_force_decoder(
                        model, stage, states[image], (~mask[image]).nonzero().flatten().tolist(), (64, 48)
                    )
                    for image in range(2)
                ]
            )
            if stage == model.config.decoder_stages[0]:
                torch.testing.assert_close(outputs.logits, logits, rtol=0, atol=1e-10)
            cell_size = model.config.get_cell_size(stage)
            target = model.reconstruction_target.make(pixel_values, cell_size)
            hidden = images_to_units(mask_as_pixels(mask, model.config, (64, 48)), cell_size)[:, :, 0].bool()
            losses.append((logits - target)[hidden].square().mean())
    torch.testing.assert_close(list(outputs.reconstruction_losses), losses, rtol=0, atol=1e-10)


def mask_as_pixels(mask: torch.Tensor, config: GreenMimConfig, image_size: tuple[int, int]) -> torch.Tensor:
    rows, columns = (side // config.mask_unit_size for side in image_size)
    pixels = mask.view(-1, 1, rows, columns).float()
    return nn.functional.interpolate(pixels, scale_factor=config.mask_unit_size)


def test_hidden_pixels_do_not_change_what_is_predicted(model):
    pixel_values, mask, _ = make_inputs(model.config)
    is_hidden = mask_as_pixels(mask, model.config, (64, 64)).bool()
    with torch.no_grad():
        before = model(pixel_values.double(), mask)
        after = model(pixel_values.double().where(~is_hidden, 1e6), mask)
    assert torch.equal(before.logits, after.logits)
    assert not torch.equal(before.loss, after.loss)


def test_training_has_the_loss_and_the_gradients_of_an_evaluation(model):
    pixel_values, mask, _ = make_inputs(model.config)
    results = []
    for training in (False, True):
        model.train(training).zero_grad()
        outputs = model(pixel_values.double(), mask)
        outputs.loss.backward()
        results.append((outputs, [parameter.grad.clone() for parameter in model.parameters()]))
    (evaluated, expected), (trained, gradients) = results
    torch.testing.assert_close(trained.image_losses, evaluated.image_losses, rtol=0, atol=1e-11)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-11)


def test_the_loss_is_the_weighted_sum_of_the_decoders(model):
    model.config.reconstruction_weight = 3.0
    pixel_values, mask, _ = make_inputs(model.config)
    outputs = model.train()(pixel_values.double(), mask)
    weights = model.config.decoder_loss_weights
    weights = weights if isinstance(weights, list) else [weights] * len(outputs.reconstruction_losses)
    expected = 3.0 * sum(weight * loss for weight, loss in zip(weights, outputs.reconstruction_losses, strict=True))
    torch.testing.assert_close(outputs.loss, expected)
    torch.testing.assert_close(outputs.image_losses.mean(), expected)


def test_the_loss_of_an_image_is_that_of_the_image_on_its_own(model):
    pixel_values, mask, _ = make_inputs(model.config, batch_size=3)
    outputs = model.train()(pixel_values.double(), mask)
    for image in range(3):
        loss = model(pixel_values[image : image + 1].double(), mask[image : image + 1]).loss
        torch.testing.assert_close(outputs.image_losses[image], loss, rtol=0, atol=1e-10)


def test_full_images_are_decoded_in_row_major_order(model):
    """As with a mask that hides nothing: every cell is a token at its own place."""
    pixel_values = make_inputs(model.config, batch_size=1)[0].double()
    stage = model.config.decoder_stages[0]
    decoder, cell_size = model.get_decoders()[stage], model.config.get_cell_size(stage)
    grid_size = (64 // cell_size, 64 // cell_size)
    with torch.no_grad():
        outputs = model(pixel_values, output_hidden_states=True)
        states = outputs.hidden_states[stage]
        states = model.greenmim.layernorm(states) if stage == model.config.num_layers else states
        everything = torch.arange(grid_size[0] * grid_size[1])[None]
        expected = decoder(states, everything, grid_size, everything)
    torch.testing.assert_close(outputs.logits, expected, rtol=0, atol=1e-10)
    assert outputs.loss is None and outputs.image_losses is None


def test_a_perfect_prediction_of_pixels_is_reconstructed_to_the_image():
    for target in ("pixels", "normalized_pixels"):
        config = make_config(decoder_stages=[1, 3], reconstruction_target=target)
        model = GreenMimForMaskedImageModeling(config).eval()
        pixel_values, mask, _ = make_inputs(config, image_size=(64, 48))
        outputs = model(pixel_values, mask)
        outputs.logits = RECONSTRUCTION_TARGETS[target].make(pixel_values, 4)
        torch.testing.assert_close(model.reconstruct(pixel_values, outputs), pixel_values, rtol=1e-4, atol=1e-4)


def test_reconstruction_keeps_the_pixels_of_visible_units():
    config = make_config(decoder_stages=[1, 3], reconstruction_target="pixels")
    model = randomize(GreenMimForMaskedImageModeling(config))
    pixel_values, mask, _ = make_inputs(config)
    outputs = model(pixel_values, mask)
    is_hidden = mask_as_pixels(mask, config, (64, 64)).bool().expand_as(pixel_values)
    reconstructed = model.reconstruct(pixel_values, outputs)
    assert torch.equal(reconstructed[~is_hidden], pixel_values[~is_hidden])
    assert (reconstructed[is_hidden] != pixel_values[is_hidden]).all()


def test_hog_cannot_be_reconstructed():
    config = make_config(reconstruction_target="hog")
    model = GreenMimForMaskedImageModeling(config).eval()
    pixel_values, mask, _ = make_inputs(config)
    with pytest.raises(ValueError, match="does not predict pixels.*'hog'"):
        model.reconstruct(pixel_values, model(pixel_values, mask))


def test_hidden_states_are_returned_only_if_they_are_asked_for():
    config = make_config(decoder_stages=[1, 3])
    model = GreenMimForMaskedImageModeling(config).eval()
    pixel_values, mask, _ = make_inputs(config)
    assert model(pixel_values, mask).hidden_states is None
    assert len(model(pixel_values, mask, output_hidden_states=True).hidden_states) == 4


@pytest.mark.parametrize("decoder_attention", ["self", "cross"])
def test_training_predicts_a_random_part_of_the_hidden_units(decoder_attention):
    config = make_config(decoder_hidden_ratio=0.3, decoder_attention=decoder_attention)
    model = randomize(GreenMimForMaskedImageModeling(config)).train()
    pixel_values, mask, _ = make_inputs(config)
    torch.manual_seed(0)
    predicted = [(model(pixel_values, mask).logits != 0).all(dim=-1) for _ in range(20)]
    num_hidden = int(mask[0].sum())
    for units in predicted:
        assert (units.sum(dim=1) == round(0.3 * num_hidden)).all()
        assert not (units & ~mask).any()
    assert torch.equal(torch.stack(predicted).any(dim=0), mask)  # in the end, every hidden unit had its turn


def test_evaluation_predicts_all_units_whatever_the_ratio():
    config = make_config(decoder_hidden_ratio=0.3, decoder_attention="cross")
    model = randomize(GreenMimForMaskedImageModeling(config))
    assert (model(*make_inputs(config)[:2]).logits != 0).any(dim=-1).all()


def test_the_teacher_loss_is_one_minus_the_cosine_of_the_projected_mean():
    config = make_config(teacher_hidden_size=10, teacher_loss_weight=0.5)
    model = randomize(GreenMimForMaskedImageModeling(config)).train()
    pixel_values, mask, _ = make_inputs(config)
    teacher_features = torch.randn(2, 10)
    outputs = model(pixel_values, mask, teacher_features=teacher_features)
    states = model.greenmim(pixel_values, mask).last_hidden_state.detach()
    predictions = states.mean(dim=1) @ model.teacher_projection.weight.T + model.teacher_projection.bias
    losses = [
        1 - prediction @ features / (prediction.norm() * features.norm())
        for prediction, features in zip(predictions, teacher_features)
    ]
    torch.testing.assert_close(outputs.teacher_loss, torch.stack(losses).mean())
    expected = outputs.reconstruction_losses[0] + 0.5 * outputs.teacher_loss
    torch.testing.assert_close(outputs.loss, expected)


def test_without_reconstruction_no_decoder_is_made():
    config = make_config(teacher_hidden_size=10, reconstruction_weight=0)
    model = GreenMimForMaskedImageModeling(config).train()
    pixel_values, mask, _ = make_inputs(config)
    outputs = model(pixel_values, mask, teacher_features=torch.randn(2, 10))
    outputs.loss.backward()
    assert outputs.logits is None and outputs.reconstruction_losses is None
    assert not [name for name, _ in model.named_parameters() if "decoder" in name]
    assert all(parameter.grad is not None for parameter in model.parameters())
    with pytest.raises(ValueError, match="does not predict pixels"):
        model.reconstruct(pixel_values, outputs)


def test_teacher_features_that_do_not_fit_are_refused():
    pixel_values, mask, _ = make_inputs(make_config())
    with_teacher = GreenMimForMaskedImageModeling(make_config(teacher_hidden_size=10)).train()
    with pytest.raises(ValueError, match=r"shape \(2, 10\) are required to train.*teacher_hidden_size=None"):
        with_teacher(pixel_values, mask)
    with pytest.raises(ValueError, match=r"must have the shape \(2, 10\).*got Tensor .* shape \(2, 11\)"):
        with_teacher(pixel_values, mask, teacher_features=torch.randn(2, 11))
    with pytest.raises(
        ValueError, match="without `teacher_hidden_size`.*Set `teacher_hidden_size`.*number of features"
    ):
        GreenMimForMaskedImageModeling(make_config())(pixel_values, mask, teacher_features=torch.randn(2, 7))


def test_a_model_with_a_teacher_is_evaluated_without_one():
    model = GreenMimForMaskedImageModeling(make_config(teacher_hidden_size=10)).eval()
    outputs = model(*make_inputs(model.config)[:2])
    assert outputs.teacher_loss is None and outputs.loss == outputs.reconstruction_losses[0]


def test_a_target_that_was_added_can_be_predicted(monkeypatch):
    def get_means(images, cell_size):
        return nn.functional.avg_pool2d(images, cell_size).flatten(2).transpose(1, 2)

    means = ReconstructionTarget(get_means, lambda cell_size, num_channels: num_channels)
    monkeypatch.setitem(RECONSTRUCTION_TARGETS, "means", means)
    config = make_config(reconstruction_target="means", decoder_stages=[1, 3])
    model = GreenMimForMaskedImageModeling(config).train()
    outputs = model(*make_inputs(config)[:2])
    outputs.loss.backward()
    assert outputs.logits.shape == (2, 256, 3)


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="must be one of .*'hog'.*got 'hogg'"):
        GreenMimForMaskedImageModeling(make_config(reconstruction_target="hogg"))


def test_a_model_is_saved_and_loaded_with_all_its_decoders(model, tmp_path):
    model = copy.deepcopy(model).float()
    model.save_pretrained(tmp_path)
    loaded, info = GreenMimForMaskedImageModeling.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    inputs = make_inputs(model.config)[:2]
    torch.testing.assert_close(loaded(*inputs).loss, model(*inputs).loss)
    _, info = GreenMimModel.from_pretrained(tmp_path, output_loading_info=True, add_pooling_layer=False)
    assert not any(info.values())


def test_a_model_of_the_last_stage_starts_one_with_more_decoders(tmp_path):
    GreenMimForMaskedImageModeling(make_config()).save_pretrained(tmp_path)
    _, info = GreenMimForMaskedImageModeling.from_pretrained(tmp_path, decoder_stages=[1, 3], output_loading_info=True)
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"stage_decoders"}
    assert not info["unexpected_keys"]


def test_a_model_can_be_pickled(model):
    assert pickle.loads(pickle.dumps(model)).config == model.config


def test_all_parameters_get_gradients_under_checkpointing(model):
    model.train().gradient_checkpointing_enable()
    pixel_values, mask, _ = make_inputs(model.config)
    model(pixel_values.double(), mask).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "objective",
    ["all stages", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cross-attention of stages", "HOG"))],
)
def test_training_compiles_into_one_graph(objective):
    torch._dynamo.reset()
    config = make_config(**OBJECTIVES[objective], depths=(1, 1, 1))
    model = GreenMimForMaskedImageModeling(config).train()
    pixel_values, mask, _ = make_inputs(config, per_sample=False)
    plan = make_plan(mask, config, (64, 64))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pixel_values, mask, plan).loss, model(pixel_values, mask, plan).loss)
