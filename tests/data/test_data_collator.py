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
"""The collator: its batches fit the model, also in worker processes, and are the same for the same seeds."""

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import find_batch_size, send_to_device
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainingArguments

from modeling_greenmim import GreenMimConfig, GreenMimDataCollator, GreenMimForMaskedImageModeling, make_plan


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
        assert batch["plan"]["visible_indices"].shape == (4 if per_sample else 1, 32)
        assert (~batch["bool_masked_pos"]).sum(dim=1).tolist() == [32] * 4
        model(**batch).loss.backward()


def test_masks_belong_to_the_image_not_to_the_batch():
    """An image gets the same mask regardless of its position, batch and worker."""
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
    collator = GreenMimDataCollator(CONFIG, mask_ratio=0.25, mask_sampler="block")
    batch = collator(examples)
    assert (~batch["bool_masked_pos"]).sum(dim=1).tolist() == [48] * 4
    assert not torch.equal(
        batch["bool_masked_pos"], GreenMimDataCollator(CONFIG, mask_ratio=0.25)(examples)["bool_masked_pos"]
    )


@pytest.mark.parametrize("settings", [{}, {"per_sample": False}, {"masks_per_image": 2}, {"mask_sampler": "uniform"}])
def test_secondary_masks_are_visible_units_that_belong_to_the_image(settings):
    config = GreenMimConfig(**{**CONFIG.to_dict(), "secondary_mask_ratio": 0.25})
    collator, examples = GreenMimDataCollator(config, **settings), [Images()[index] for index in range(4)]
    batch, alone = collator(examples), collator(examples[:1])
    secondary_masks, num_masks = batch["secondary_masked_pos"], settings.get("masks_per_image", 1)
    assert not (secondary_masks & batch["bool_masked_pos"]).any()
    assert secondary_masks.sum(dim=1).tolist() == [4] * 4 * num_masks
    assert torch.equal(secondary_masks[:num_masks], alone["secondary_masked_pos"])
    assert len(secondary_masks.unique(dim=0)) == (1 if settings == {"per_sample": False} else 4 * num_masks)
    batch["pixel_values"] = batch["pixel_values"].repeat_interleave(num_masks, dim=0)
    GreenMimForMaskedImageModeling(config)(**batch).loss.backward()


def test_without_a_secondary_ratio_there_is_no_secondary_mask():
    assert "secondary_masked_pos" not in GreenMimDataCollator(CONFIG)([Images()[0]])


def test_bad_images_are_named():
    collator = GreenMimDataCollator(CONFIG)
    with pytest.raises(ValueError, match=r"same shape.*\(3, 32, 32\), \(3, 32, 48\)"):
        collator([{"pixel_values": torch.zeros(3, 32, 32)}, {"pixel_values": torch.zeros(3, 32, 48)}])
    with pytest.raises(ValueError, match="4 x 4 pixels.*30 x 32"):
        collator([{"pixel_values": torch.zeros(3, 30, 32)}])


def test_trainer_takes_it(tmp_path):
    arguments = TrainingArguments(
        output_dir=tmp_path, max_steps=3, per_device_train_batch_size=4, remove_unused_columns=False, use_cpu=True
    )
    model = GreenMimForMaskedImageModeling(CONFIG)
    trainer = Trainer(model, arguments, data_collator=GreenMimDataCollator(CONFIG), train_dataset=Images())
    assert trainer.train().training_loss > 0


class ImageStream(IterableDataset):
    def __iter__(self):
        return iter([Images()[index] for index in range(12)])


def test_the_batch_size_is_read_from_the_first_entry():
    batch = GreenMimDataCollator(CONFIG)([Images()[index] for index in range(4)])
    assert find_batch_size(batch) == 4


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_plan_that_accelerates_dispatcher_sliced_is_refused(per_sample):
    """By default, Accelerate slices the batches of iterable data sets even in one process."""
    loader = DataLoader(ImageStream(), batch_size=4, collate_fn=GreenMimDataCollator(CONFIG, per_sample=per_sample))
    sliced = next(iter(prepare_data_loader(loader, put_on_device=True, device=torch.device("cpu"))))
    assert sliced["plan"]["stage1"]["window"]["scatter_index"].shape == (4,)
    with pytest.raises(ValueError, match="sliced or concatenated.*dispatch_batches"):
        GreenMimForMaskedImageModeling(CONFIG)(**sliced)


@pytest.mark.parametrize("per_sample", [True, False])
def test_a_plan_that_data_parallel_split_is_refused(per_sample):
    """
    Split a batch for two devices as `torch.nn.DataParallel` does: every tensor in chunks along its first dimension.
    """
    collator = GreenMimDataCollator(CONFIG, per_sample=per_sample)
    batch = collator([Images()[index] for index in range(4)])
    replica = tree_map(lambda tensor: tensor.chunk(2)[0], batch)
    with pytest.raises(ValueError, match="sliced or concatenated.*DistributedDataParallel"):
        GreenMimForMaskedImageModeling(CONFIG)(**replica)


def test_a_plan_that_was_concatenated_is_refused():
    batches = [GreenMimDataCollator(CONFIG)([Images()[index], Images()[index + 1]]) for index in (0, 2)]
    together = {name: torch.cat([batch[name] for batch in batches]) for name in ("pixel_values", "bool_masked_pos")}
    plan = {"visible_indices": torch.cat([batch["plan"]["visible_indices"] for batch in batches])}
    plan = {**batches[0]["plan"], **plan}
    with pytest.raises(ValueError, match="sliced or concatenated"):
        GreenMimForMaskedImageModeling(CONFIG)(**together, plan=plan)


def test_a_trainer_on_a_stream_takes_it_without_the_dispatcher(tmp_path):
    arguments = TrainingArguments(
        output_dir=tmp_path,
        max_steps=3,
        per_device_train_batch_size=4,
        remove_unused_columns=False,
        use_cpu=True,
        accelerator_config={"dispatch_batches": False},
    )
    model = GreenMimForMaskedImageModeling(CONFIG)
    trainer = Trainer(model, arguments, data_collator=GreenMimDataCollator(CONFIG), train_dataset=ImageStream())
    assert trainer.train().training_loss > 0


def test_a_plan_survives_pinning_and_moving():
    """Values stay the same, and so does the shape record of an empty tensor, which is compared on a device."""
    plan = GreenMimDataCollator(CONFIG)([Images()[index] for index in range(4)])["plan"]
    moved = send_to_device(plan, "meta")
    assert moved["geometry"].shape == plan["geometry"].shape and moved["geometry"].numel() == 0
    assert moved["stage1"]["window"]["gather_index"].shape == plan["stage1"]["window"]["gather_index"].shape


def test_a_plan_for_a_different_size_is_refused_on_any_device():
    """On the meta device no value can be read, so errors depend only on shapes."""
    collator = GreenMimDataCollator(CONFIG)
    batch = collator([Images()[index] for index in range(4)])
    other = make_plan(batch["bool_masked_pos"], CONFIG, image_size=(16, 64))
    model = GreenMimForMaskedImageModeling(CONFIG).to("meta")
    inputs = send_to_device({**batch, "plan": other}, "meta")
    with pytest.raises(ValueError, match="8 x 8 mask units.*got a plan for 4 x 16"):
        model(**inputs)
    assert model(**send_to_device(batch, "meta")).loss.device.type == "meta"


def get_shapes(plan: dict) -> list[torch.Size]:
    return [
        tensor.shape for stage in ("stage1", "stage2") for mixer in plan[stage].values() for tensor in mixer.values()
    ]


def test_static_shapes_are_those_of_nearly_all_batches():
    collator = GreenMimDataCollator(CONFIG, static_shapes=True)
    batches = [
        collator([{"pixel_values": Images()[0]["pixel_values"], "mask_seed": (seed, index)} for index in range(16)])
        for seed in range(40)
    ]
    shapes = [tuple(get_shapes(batch["plan"])) for batch in batches]
    assert len(set(shapes)) <= 3 and shapes.count(max(shapes, key=shapes.count)) >= 36


def test_static_shapes_change_no_result():
    torch.manual_seed(0)
    examples, model = [Images()[index] for index in range(4)], GreenMimForMaskedImageModeling(CONFIG).double().train()
    results = []
    for static_shapes in (False, True):
        batch = GreenMimDataCollator(CONFIG, static_shapes=static_shapes)(examples)
        model.zero_grad()
        outputs = model(batch["pixel_values"].double(), batch["bool_masked_pos"], batch["plan"])
        outputs.loss.backward()
        results.append((outputs.logits, [parameter.grad.clone() for parameter in model.parameters()]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-10)


def test_workers_agree_on_static_shapes():
    collators = [GreenMimDataCollator(CONFIG, static_shapes=True) for _ in range(2)]
    plans = [
        collator([Images()[index] for index in indices])["plan"]
        for collator, indices in zip(collators, (range(4), range(4, 8)))
    ]
    assert get_shapes(plans[0]) == get_shapes(plans[1])


def test_static_shapes_of_one_mask_are_refused():
    with pytest.raises(ValueError, match="static_shapes=True.*per_sample=False.*Pass `per_sample=True`"):
        GreenMimDataCollator(CONFIG, per_sample=False, static_shapes=True)


def test_the_masks_of_an_image_are_disjoint_and_follow_each_other():
    images, mask_ratio = [Images()[index] for index in range(3)], 0.8
    batch = GreenMimDataCollator(CONFIG, mask_ratio, masks_per_image=4)(images)
    masks = batch["bool_masked_pos"].view(3, 4, 64)
    assert batch["pixel_values"].shape == (3, 3, 32, 32)
    assert ((~masks).sum(dim=1) <= 1).all()
    alone = GreenMimDataCollator(CONFIG, mask_ratio)(images)["bool_masked_pos"]
    assert torch.equal(masks[:, 0], alone)


def test_several_masks_of_an_image_train_on_repeated_pixels():
    images = [Images()[index] for index in range(3)]
    batch = GreenMimDataCollator(CONFIG, 0.8, masks_per_image=4)(images)
    model = GreenMimForMaskedImageModeling(CONFIG).double()
    batch["pixel_values"] = batch["pixel_values"].double().repeat_interleave(4, dim=0)
    outputs = model(**batch)
    for number in (0, 3, 4, 11):
        mask = batch["bool_masked_pos"][number : number + 1]
        loss = model(images[number // 4]["pixel_values"][None].double(), mask).loss
        torch.testing.assert_close(outputs.image_losses[number], loss, rtol=0, atol=1e-10)


@pytest.mark.parametrize("settings", [{"per_sample": False}, {"mask_sampler": "block"}])
def test_several_masks_of_an_image_must_be_random_and_its_own(settings):
    with pytest.raises(ValueError, match="masks_per_image.*must be 1 unless"):
        GreenMimDataCollator(CONFIG, masks_per_image=2, **settings)
