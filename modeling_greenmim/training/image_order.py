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
"""Image order: a number determines which image comes next.

In every epoch, the groups of images (files, or row groups of parquet files) are permuted, the rows in each group are
permuted, and the groups are concatenated. This sequence is cut into equal parts, the lanes. Micro-batches are taken
from the lanes in turn, so that each worker of a loader reads its own part. Every image has one place in every epoch:

    image number -> lane and place in the lane -> epoch and place in the epoch -> group and row
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(eq=False)
class ImageOrder:
    """The order of the images of a run."""

    group_sizes: np.ndarray  # number of images in each group
    seed: int
    held_out: Sequence[tuple[int, int]] = ()  # group and row of images without a place
    num_lanes: int = 1
    lane_width: int = 1  # number of images taken from a lane before the next lane

    def __post_init__(self):
        self.num_places = self.group_sizes.copy()
        np.subtract.at(self.num_places, [group for group, _ in self.held_out], 1)
        self.total = int(self.num_places.sum())

    def locate(self, number: int) -> tuple[int, int, int]:
        """Epoch, group and row of an image, by its number in the run."""
        chunk, offset = divmod(number, self.lane_width)
        turn, lane = divmod(chunk, self.num_lanes)
        start, stop = (edge * self.total // self.num_lanes for edge in (lane, lane + 1))
        epoch, place = divmod(turn * self.lane_width + offset, stop - start)
        permutation, ends = self._permute_groups(epoch)
        index = int(ends.searchsorted(start + place, side="right"))
        group = int(permutation[index])
        if self.group_sizes[group] == 1:
            return epoch, group, 0
        # counted from the end of the group
        return epoch, group, int(self._permute_rows(epoch, group)[start + place - ends[index]])

    @lru_cache(maxsize=2)  # noqa: B019 - the cache belongs to the class, not to the order, which is sent to workers
    def _permute_groups(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of the groups, and end of each."""
        permutation = np.random.default_rng([self.seed, epoch]).permutation(len(self.num_places))
        return permutation, np.cumsum(self.num_places[permutation])

    @lru_cache(maxsize=64)  # noqa: B019
    def _permute_rows(self, epoch: int, group: int) -> np.ndarray:
        rows = np.delete(np.arange(self.group_sizes[group]), [row for other, row in self.held_out if other == group])
        return np.random.default_rng([self.seed, epoch, group]).permutation(rows)
