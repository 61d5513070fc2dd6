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
"""The collator: what it returns is what the model takes, in worker processes as well, and again with the same seeds."""

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from modeling_greenmim import GreenMimConfig, GreenMimDataCollator, GreenMimForMaskedImageModeling


CONFIG = GreenMimConfig(
    image_size=32,
    patch_size=2,
    embed_dim=8,
    depths=(2, 2),
    num_heads=(1, 2),
    window_size=4,
    decoder_hidden_size=16,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=16,
)


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return {"pixel_values": torch.randn(3, 32, 32, generator=generator), "mask_seed": (0, index)}


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_fit_the_model(per_sample, num_workers):
    collator = GreenMimDataCollator(CONFIG, mask_ratio=0.5, per_sample=per_sample)
    model = GreenMimForMaskedImageModeling(CONFIG)
    for batch in DataLoader(Images(), batch_size=4, collate_fn=collator, num_workers=num_workers):
        assert batch["group_plan"]["visible_indices"].shape == (4 if per_sample else 1, 32)
        assert (~batch["bool_masked_pos"]).sum(dim=1).tolist() == [32] * 4
        model(**batch).loss.backward()


def test_masks_belong_to_the_image_not_to_the_batch():
    """The same image gets the same mask, whatever its place, its batch and its worker."""
    collator, images = GreenMimDataCollator(CONFIG), Images()
    expected = {index: collator([images[index]])["bool_masked_pos"][0] for index in range(12)}
    assert len({tuple(mask.tolist()) for mask in expected.values()}) == 12
    for batch_size, num_workers in ((4, 0), (5, 2)):
        loader = DataLoader(images, batch_size=batch_size, collate_fn=collator, num_workers=num_workers)
        masks = torch.cat([batch["bool_masked_pos"] for batch in loader])
        assert torch.equal(masks, torch.stack(list(expected.values())))


def test_masks_without_a_seed_differ():
    collator, example = GreenMimDataCollator(CONFIG), {"pixel_values": torch.zeros(3, 32, 32)}
    assert not torch.equal(collator([example])["bool_masked_pos"], collator([example])["bool_masked_pos"])


def test_samplers_and_ratios_are_used():
    examples = [Images()[index] for index in range(4)]
    collator = GreenMimDataCollator(CONFIG, mask_ratio=0.25, mask_sampler="block", group_size=16)
    batch = collator(examples)
    assert (~batch["bool_masked_pos"]).sum(dim=1).tolist() == [48] * 4
    assert batch["group_plan"]["stage1_regular_slot_token"].shape[0] == 16
    assert not torch.equal(
        batch["bool_masked_pos"], GreenMimDataCollator(CONFIG, mask_ratio=0.25)(examples)["bool_masked_pos"]
    )


def test_bad_images_are_named():
    collator = GreenMimDataCollator(CONFIG)
    with pytest.raises(ValueError, match=r"one shape.*\(3, 32, 32\), \(3, 32, 48\)"):
        collator([{"pixel_values": torch.zeros(3, 32, 32)}, {"pixel_values": torch.zeros(3, 32, 48)}])
    with pytest.raises(ValueError, match="30 x 32 pixels.*4 x 4"):
        collator([{"pixel_values": torch.zeros(3, 30, 32)}])


def test_trainer_takes_it(tmp_path):
    arguments = TrainingArguments(
        output_dir=tmp_path, max_steps=3, per_device_train_batch_size=4, remove_unused_columns=False, use_cpu=True
    )
    model = GreenMimForMaskedImageModeling(CONFIG)
    trainer = Trainer(model, arguments, data_collator=GreenMimDataCollator(CONFIG), train_dataset=Images())
    assert trainer.train().training_loss > 0
