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
"""Micro-batches with empty slots: shapes, loss and several processes."""

import copy
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate import Accelerator
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from modeling_greenmim import GreenMimConfig, GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from modeling_greenmim.training.image_decoding import CenterCrop, ExampleMaker, RandomCrop
from modeling_greenmim.training.image_files import ImageFiles, ParquetImages, find_images
from modeling_greenmim.training.image_order import ImageOrder
from modeling_greenmim.training.micro_batches import (
    MicroBatches,
    PretrainingCollator,
    get_weighted_loss,
    make_loader,
    prepare_inputs,
    read_held_out_images,
    seed_micro_batch,
)
from tests.helpers.training_images import encode, write_files, write_parquet


CONFIG = GreenMimConfig(
    image_size=32,
    patch_size=2,
    num_channels=1,
    embed_dim=8,
    depths=(1, 1),
    num_heads=(1, 2),
    window_size=4,
    decoder_hidden_size=16,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=32,
    drop_path_rate=0.2,
)
MAKE_CENTER = ExampleMaker(CenterCrop((32, 32)), num_channels=1, seed=0)
PROCESSOR = GreenMimImageProcessorPil(image_mean=[0.5], image_std=[0.5])


def make_micro_batches(images, batch_size=4, held_out=frozenset(), **settings):
    collator = PretrainingCollator(CONFIG, PROCESSOR, **settings)
    make_example = ExampleMaker(RandomCrop((32, 32)), 1, seed=0, held_out=held_out)
    return MicroBatches(images, batch_size, make_example, collator, ImageOrder(images.group_sizes, seed=0))


def make_images(folder: Path, damaged: set[int], number: int = 8) -> ImageFiles:
    """Create noise images; some files are not images."""
    folder.mkdir()
    for index in range(number):
        content = io.BytesIO()
        pixels = np.random.default_rng(index).integers(256, size=(40, 40), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(content, "PNG")
        (folder / f"{index}.png").write_bytes(b"no image" if index in damaged else content.getvalue())
    return ImageFiles(find_images([str(folder)], "--train_dir")[1])


def make_model(config: GreenMimConfig = CONFIG) -> GreenMimForMaskedImageModeling:
    torch.manual_seed(0)
    return GreenMimForMaskedImageModeling(copy.deepcopy(config)).eval()


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_micro_batch_is_what_the_model_takes(image_folders, per_sample):
    images = ImageFiles(find_images([str(image_folders / "files")], "--train_dir")[1])
    batch = make_micro_batches(images, per_sample=per_sample)[0]
    masks = batch["inputs"]["bool_masked_pos"]
    assert (masks == masks[0]).all() != per_sample
    values = batch["inputs"]["pixel_values"]
    assert values.shape == (4, 1, 32, 32) and values.min() >= -1 and values.dtype == torch.float32
    assert make_model()(**batch["inputs"]).loss.isfinite()
    assert batch["epochs"] == [0] * 4 and len(batch["checksums"]) == 4 and batch["unreadable"] == {}
    assert batch["image_weights"] is None


def test_an_image_that_cannot_be_read_leaves_its_place_empty(tmp_path):
    """Shapes stay the same, and so do the other images."""
    whole = make_micro_batches(make_images(tmp_path / "whole", set()))[0]
    batch = make_micro_batches(images := make_images(tmp_path / "damaged", {1, 3, 6}))[0]
    weights = batch["image_weights"]
    assert 0 < weights.sum() < 4 and len(batch["unreadable"]) == 4 - weights.sum()
    assert all(Path(name).parent == tmp_path / "damaged" for name in batch["unreadable"])
    for name in ("pixel_values", "bool_masked_pos"):
        assert batch["inputs"][name].shape == whole["inputs"][name].shape
        assert torch.equal(batch["inputs"][name][weights > 0], whole["inputs"][name][weights > 0])
    assert images.num_images == 8


def test_every_mask_of_an_image_has_its_weight(tmp_path):
    batch = make_micro_batches(make_images(tmp_path / "images", {0, 4, 5}), masks_per_image=2)[0]
    weights = batch["image_weights"].view(4, 2)
    assert torch.equal(weights[:, 0], weights[:, 1]) and weights[:, 0].sum() == 4 - len(batch["unreadable"])


def test_images_are_repeated_for_their_masks_and_seen_by_the_teacher_once(tmp_path):
    seen = []

    class FakeTeacher(nn.Module):
        def forward(self, pixel_values):
            seen.append(pixel_values)
            return pixel_values.mean(dim=(1, 2, 3))[:, None]

    inputs = make_micro_batches(make_images(tmp_path / "images", set()), masks_per_image=2)[0]["inputs"]
    prepared = prepare_inputs(inputs, Accelerator(cpu=True), FakeTeacher())
    assert torch.equal(seen[0], inputs["pixel_values"]) and len(seen) == 1
    assert torch.equal(prepared["pixel_values"], inputs["pixel_values"].repeat_interleave(2, dim=0))
    expected = prepared["pixel_values"].mean(dim=(1, 2, 3))[:, None]
    assert torch.equal(prepared["teacher_features"], expected)
    assert prepared["plan"] is not None and len(prepared["bool_masked_pos"]) == 8


def test_a_copy_of_a_held_out_image_leaves_its_place_empty_without_being_unreadable(tmp_path):
    write_files(tmp_path, range(4))
    (tmp_path / "copy.png").write_bytes(encode(0))
    images = ImageFiles(find_images([str(tmp_path)], "--train_dir")[1])
    held_out = read_held_out_images(images, 5, MAKE_CENTER).checksums
    assert len(held_out) == 4
    micro_batches = make_micro_batches(images, batch_size=5, held_out=frozenset(sorted(held_out)[:1]))
    batch = micro_batches[0]
    assert 3 <= batch["image_weights"].sum() <= 4 and batch["unreadable"] == {}


def test_held_out_images_that_cannot_be_read_are_named(tmp_path):
    path = write_parquet(tmp_path / "0.parquet", [encode(0), None, b"no image", encode(1)])
    held_out = read_held_out_images(ParquetImages([str(path)]), 4, MAKE_CENTER)
    assert len(held_out.examples) == len(held_out.places) == 2 and len(held_out.unreadable) == 2


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_the_loss_of_a_micro_batch_is_the_sum_over_its_images_divided_by_its_places(tmp_path, norm_pix_loss):
    config = copy.deepcopy(CONFIG)
    config.norm_pix_loss = norm_pix_loss
    model = make_model(config)
    batch = make_micro_batches(make_images(tmp_path / "images", {0, 4, 5}))[0]
    weights = batch["image_weights"]
    loss = get_weighted_loss(model(**batch["inputs"]), weights)
    inputs = batch["inputs"]
    losses = [
        model(inputs["pixel_values"][[index]], inputs["bool_masked_pos"][[index]]).loss
        for index in torch.nonzero(weights).flatten().tolist()
    ]
    torch.testing.assert_close(loss, sum(losses) / 4)


def test_without_an_empty_place_the_loss_is_that_of_the_model(tmp_path):
    model = make_model()
    batch = make_micro_batches(make_images(tmp_path / "images", set()))[0]
    outputs = model(**batch["inputs"])
    assert get_weighted_loss(outputs, batch["image_weights"]) is outputs.loss
    torch.testing.assert_close(get_weighted_loss(outputs, torch.ones(4)), outputs.loss)


def test_where_all_places_are_empty_the_loss_is_0_through_every_parameter(tmp_path):
    model = make_model()
    batch = make_micro_batches(make_images(tmp_path / "images", set(range(8))))[0]
    loss = get_weighted_loss(model(**batch["inputs"]), batch["image_weights"])
    loss.backward()
    assert loss == 0 and len(batch["unreadable"]) == 4
    # the encoder's mask token is used only in calls without a mask
    expected = make_model()
    expected(**batch["inputs"]).loss.backward()
    for (name, parameter), reference in zip(model.named_parameters(), expected.parameters()):
        assert (parameter.grad is None) == (reference.grad is None), name
        assert parameter.grad is None or (parameter.grad == 0).all(), name


def test_random_states_follow_from_seed_and_number():
    def draw(*seeds):
        seed_micro_batch(*seeds)
        return tuple(torch.rand(3).tolist())

    draws = [draw(seed, number) for seed in range(3) for number in range(3)]
    assert len(set(draws)) == 9 and draws[4] == draw(1, 1)


def train_in_two_processes(folder: Path):
    """
    In the first step, one process has readable images and the other has none. Writes the gradients of both steps.
    """
    rank = int(os.environ["RANK"])
    distributed.init_process_group("gloo")
    images = ImageFiles([str(folder / f"{index}.png") for index in range(16)])
    micro_batches = make_micro_batches(images)
    micro_batches.order.locate = lambda number: (0, number, 0)  # in order
    model = DistributedDataParallel(make_model())
    gradients = []
    for batch in make_loader(micro_batches, range(rank, 4, 2)):
        outputs = model(**batch["inputs"])
        get_weighted_loss(outputs, batch["image_weights"]).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.module.named_parameters()})
        model.zero_grad()
    if rank == 0:
        torch.save(gradients, folder / "gradients.pt")
    distributed.barrier()
    os._exit(0)  # skip gloo's shutdown, which can abort


def test_a_process_without_readable_images_neither_hangs_nor_biases_the_gradient(tmp_path):
    """Compares the gradients of two processes with those of one process that has all readable images of a step."""
    damaged = {2, 4, 5, 6, 7, 9, 12}
    images = make_images(tmp_path / "images", damaged, number=16)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, "-m", "tests.training.test_micro_batches", str(tmp_path / "images")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, timeout=120, cwd=Path(__file__).parents[2], env=environment)
    gradients = torch.load(tmp_path / "images" / "gradients.pt", weights_only=True)
    names = {int(Path(images.get_image(group, 0).name).stem): group for group in range(16)}
    for step in range(2):
        readable = [names[index] for index in range(8 * step, 8 * step + 8) if index not in damaged]
        micro_batches = make_micro_batches(images, batch_size=len(readable))
        micro_batches.order.locate = lambda number, readable=readable: (0, readable[number], 0)
        model = make_model()
        model(**micro_batches[0]["inputs"]).loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[step][name], parameter.grad * len(readable) / 8)


LEAVE_WORKERS = """
import sys
from pathlib import Path
from tests.training.test_micro_batches import make_images, make_loader, make_micro_batches

micro_batches = make_micro_batches(make_images(Path(sys.argv[1]), set()))
sys.batches = iter(make_loader(micro_batches, range(1000), num_workers=2))  # kept until the end
next(sys.batches)
sys.exit("stopped")
"""


def test_workers_that_are_left_end_with_their_process(tmp_path):
    """Workers ignore SIGTERM, which `multiprocessing` would use to end them; torch reports killed workers."""
    command = [sys.executable, "-W", "ignore", "-c", LEAVE_WORKERS, str(tmp_path / "images")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert process.returncode == 1 and process.stderr.strip() == "stopped"


if __name__ == "__main__":
    train_in_two_processes(Path(sys.argv[1]))
