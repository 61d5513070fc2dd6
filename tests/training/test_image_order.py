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
"""Image order: each image once per epoch, and the same micro-batches with any number of processes and workers."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest

from modeling_greenmim.training.image_decoding import CenterCrop, ExampleMaker, RandomCrop
from modeling_greenmim.training.image_files import ImageFiles, ParquetImages, find_images
from modeling_greenmim.training.image_order import ImageOrder
from modeling_greenmim.training.micro_batches import MicroBatches, make_loader, read_held_out_images
from tests.helpers.training_images import NUM_IMAGES


KINDS = ["files", "parquet"]


def open_images(folders, kind):
    _, files, _ = find_images([str(folders / kind)], "--train_dir")
    return (ImageFiles if kind == "files" else ParquetImages)(files)


def collate(examples):
    """Collate the epoch, number and mask of each image into lists, which a loader does not modify."""
    return [[example["epoch"], int(example["pixels"].flat[0]), list(example["mask_seed"])] for example in examples]


def make_micro_batches(folders, kind, num_lanes=1, batch_size=3, lane_width=3, held_out=()):
    images = open_images(folders, kind)
    order = ImageOrder(images.group_sizes, 0, held_out, num_lanes, lane_width)
    make_example = ExampleMaker(RandomCrop((8, 8)), 1, seed=0)
    return MicroBatches(images, batch_size, make_example, collate, order)


def read(order, numbers):
    return [order.locate(number) for number in numbers]


@pytest.mark.parametrize("num_lanes", [1, 2, 3, 5])
@pytest.mark.parametrize("group_sizes", [[1] * 11, [4, 1, 6], [7]])
def test_each_image_has_one_place_in_every_epoch(group_sizes, num_lanes):
    """Also if lanes have different lengths and therefore reach the next epoch at different times."""
    order = ImageOrder(np.array(group_sizes), seed=0, num_lanes=num_lanes, lane_width=2)
    times = Counter(read(order, range(20 * sum(group_sizes))))
    assert max(times.values()) == 1
    everything = {(group, row) for group, size in enumerate(group_sizes) for row in range(size)}
    for epoch in range(10):
        assert {(group, row) for other, group, row in times if other == epoch} == everything


def test_held_out_images_have_no_place():
    order = ImageOrder(np.array([3, 1, 2]), seed=0, held_out=[(0, 1), (1, 0)])
    assert sorted(read(order, range(4))) == [(0, 0, 0), (0, 0, 2), (0, 2, 0), (0, 2, 1)]
    assert order.locate(4)[0] == 1


def test_epochs_and_seeds_have_orders_of_their_own():
    sizes = np.array([4, 4, 4])
    orders = {
        tuple(place for _, *place in map(order.locate, range(first, first + 12)) for place in [tuple(place)])
        for order in (ImageOrder(sizes, seed=0), ImageOrder(sizes, seed=1))
        for first in (0, 12, 24)
    }
    assert len(orders) == 6


def test_rows_of_a_group_are_read_together():
    """In one lane, so that each row group is read once in an epoch."""
    order = ImageOrder(np.array([5, 5, 5]), seed=0)
    groups = [group for _, group, _ in read(order, range(15))]
    assert len(list(itertools.groupby(groups))) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_images_are_the_same_ones_in_any_process_and_never_trained_on(image_folders, kind):
    images = open_images(image_folders, kind)
    make_example = ExampleMaker(CenterCrop((8, 8)), num_channels=1, seed=0)
    held_out = read_held_out_images(images, 8, make_example)
    again = read_held_out_images(open_images(image_folders, kind), 8, make_example)
    assert held_out.checksums == again.checksums
    indices = {int(example["pixels"].flat[0]) for example in held_out.examples}
    micro_batches = make_micro_batches(image_folders, kind, held_out=held_out.places)
    seen = Counter(index for number in range(4) for _, index, _ in micro_batches[number])
    assert seen == Counter(set(range(NUM_IMAGES)) - indices)


def run_in_pieces(micro_batches, rng, num_steps, micro_batches_per_step, choose):
    """
    Micro-batches of a run that is interrupted at random steps and resumed with different numbers of processes and
    workers.
    """
    cuts = [0, *sorted(rng.sample(range(1, num_steps), rng.randint(1, 3))), num_steps]
    seen = {}
    for start, stop in itertools.pairwise(cuts):
        world_size, num_workers = choose(rng)
        first, last = start * micro_batches_per_step, stop * micro_batches_per_step
        for rank in range(world_size):
            numbers = range(first + rank, last, world_size)
            seen |= zip(numbers, make_loader(micro_batches, numbers, num_workers), strict=True)
    return [seen[number] for number in range(num_steps * micro_batches_per_step)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("num_runs", "worker_numbers"),
    [pytest.param(4, (0, 0, 2), id="short"), pytest.param(20, (0, 1, 2, 3), marks=pytest.mark.slow, id="long")],
)
def test_any_number_of_processes_and_workers_sees_the_same_micro_batches(
    image_folders, kind, num_runs, worker_numbers
):
    """In every run, each image is seen once in an epoch."""
    rng = random.Random(0)
    num_steps, micro_batches_per_step = 10, 4
    for _ in range(num_runs):
        num_lanes = rng.randint(1, 8) if kind == "parquet" else 1
        micro_batches = make_micro_batches(image_folders, kind, num_lanes)
        expected = [micro_batches[number] for number in range(num_steps * micro_batches_per_step)]
        seen = run_in_pieces(
            make_micro_batches(image_folders, kind, num_lanes),
            rng,
            num_steps,
            micro_batches_per_step,
            lambda rng: (rng.choice((1, 2, 4)), rng.choice(worker_numbers)),
        )
        assert seen == expected
        times = Counter((epoch, index) for batch in seen for epoch, index, _ in batch)
        assert max(times.values()) == 1
        for epoch in range(4):  # which every lane has reached
            assert {index for other, index in times if other == epoch} == set(range(NUM_IMAGES))


@pytest.mark.parametrize("num_lanes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_has_the_same_images_in_micro_batches_of_another_size(image_folders, kind, num_lanes):
    """Create twelve images: four micro-batches of three, or two of six."""
    small = make_micro_batches(image_folders, kind, num_lanes, batch_size=3)
    large = make_micro_batches(image_folders, kind, num_lanes, batch_size=6)
    for step in range(5):
        images = [
            sum((batches[n] for n in range(step * k, (step + 1) * k)), []) for batches, k in ((small, 4), (large, 2))
        ]
        assert images[0] == images[1]


@pytest.mark.parametrize(("world_size", "num_lanes"), [(1, 1), (2, 2), (1, 4)])
def test_a_row_group_is_read_once_by_the_worker_of_its_lane(image_folders, monkeypatch, world_size, num_lanes):
    """With fewer workers than lanes, each worker keeps a row group for each of its lanes."""
    reads = []
    read_group = ParquetImages._read_group

    def count(*args):
        reads.append(args)
        return read_group(*args)

    monkeypatch.setattr(ParquetImages, "_read_group", count)
    micro_batches = make_micro_batches(image_folders, "parquet", num_lanes, batch_size=1, lane_width=1)
    for rank in range(world_size):
        micro_batches.images.cache.clear()
        list(make_loader(micro_batches, range(rank, NUM_IMAGES, world_size)))
    num_groups = len(micro_batches.images.group_sizes)
    # if a lane ends inside a row group, the next lane reads that group again
    assert num_groups <= len(reads) <= num_groups + num_lanes
