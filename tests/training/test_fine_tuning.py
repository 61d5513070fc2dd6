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
"""Fine-tuning: learning rates by layer, averaged weights, and rejected arguments."""

import itertools

import pytest
import torch
from transformers import set_seed

from modeling_greenmim import GreenMimForImageClassification
from modeling_greenmim.training.errors import UserError
from modeling_greenmim.training.fine_tuning import FineTuningArguments, FineTuningTrainer, make_average
from tests.helpers.labeled_images import CONFIG


class Examples(torch.utils.data.Dataset):
    """Records the epochs passed to `set_epoch`."""

    def __init__(self, number: int):
        self.rows = [{"pixel_values": torch.randn(3, 16, 16), "labels": index % 2} for index in range(number)]
        self.epochs = []

    def set_epoch(self, epoch: int):
        self.epochs.append(epoch)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return self.rows[index]


def make_trainer(tmp_path, number: int = 12, compute_metrics=None, **settings) -> FineTuningTrainer:
    defaults = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False, "report_to": "none"}
    args = FineTuningArguments(output_dir=str(tmp_path), use_cpu=True, disable_tqdm=True, **(defaults | settings))
    set_seed(0)
    model, examples = GreenMimForImageClassification(CONFIG), Examples(number)
    return FineTuningTrainer(
        model=model, args=args, train_dataset=examples, eval_dataset=examples, compute_metrics=compute_metrics
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_decay": 0.0}, "--layer_decay must be above 0 and at most 1, got 0.0"),
        ({"ema_decay": 1.5}, "--ema_decay must be above 0 and below 1, got 1.5"),
        ({"remove_unused_columns": True}, "--remove_unused_columns must be false"),
        ({"eval_strategy": "no"}, "--load_best_model_at_end must be false with --eval_strategy no"),
        ({"save_strategy": "steps"}, "Save strategy: SaveStrategy.STEPS"),
    ],
)
def test_invalid_arguments_raise(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        FineTuningArguments(output_dir=str(tmp_path), report_to="none", **settings)


def test_an_optimizer_with_groups_of_its_own_raises(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.get_optimizer_cls_and_kwargs = lambda args, model: (torch.optim.SGD, {"optimizer_dict": {}})
    with pytest.raises(UserError, match="must allow learning rates by layer, but .* sets optimizer_dict"):
        trainer.create_optimizer()


def test_learning_rates_fall_from_layer_to_layer(tmp_path):
    trainer = make_trainer(tmp_path, learning_rate=1.0, layer_decay=0.5)
    groups = trainer.create_optimizer().param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    model = trainer.model
    assert rates[id(model.classifier.weight)] == 1.0
    assert rates[id(model.greenmim.encoder.layers[1].blocks[0].mlp.fc1.weight)] == 0.5
    assert rates[id(model.greenmim.encoder.layers[0].blocks[0].mlp.fc1.weight)] == 0.25
    assert rates[id(model.greenmim.embeddings.patch_embeddings.projection.weight)] == 0.125


def test_the_learning_rate_in_the_log_is_the_requested_one(tmp_path):
    trainer = make_trainer(
        tmp_path, max_steps=1, logging_steps=1, learning_rate=5e-3, lr_scheduler_type="constant", warmup_steps=0
    )
    trainer.train()
    assert trainer.state.log_history[0]["learning_rate"] == 5e-3


@pytest.mark.parametrize(
    ("settings", "optimizer_class"), [({}, torch.optim.AdamW), ({"optim": "sgd"}, torch.optim.SGD)]
)
def test_the_optimizer_is_the_requested_one(tmp_path, settings, optimizer_class):
    assert isinstance(make_trainer(tmp_path, **settings).create_optimizer(), optimizer_class)


def test_gradients_of_accumulated_batches_are_those_of_one(tmp_path):
    """
    The loss is a mean over a batch, so the Trainer must divide it. transformers releases decide this in two ways.
    """
    settings = {"max_steps": 1, "warmup_steps": 0, "max_grad_norm": 0.0, "weight_decay": 0.0, "learning_rate": 5e-3}
    settings |= {"adam_epsilon": 1.0}  # steps proportional to gradients
    changes = []
    for batch_size, steps in ((12, 1), (4, 3)):
        trainer = make_trainer(
            tmp_path, per_device_train_batch_size=batch_size, gradient_accumulation_steps=steps, **settings
        )
        before = torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])
        trainer.train()
        after = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
        changes.append(after - before)
    assert changes[0].norm() > 1e-4
    torch.testing.assert_close(changes[1], changes[0], rtol=1e-3, atol=1e-6)


def test_the_data_set_knows_the_epoch(tmp_path):
    trainer = make_trainer(tmp_path, num_train_epochs=3)
    trainer.train()
    assert sorted(set(trainer.train_dataset.epochs)) == [0, 1, 2]


def test_an_average_has_the_requested_decay():
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
        average = make_average(model, 0.15)
        average.update_parameters(model)  # where it begins
        model.weight.fill_(2.0)
        average.update_parameters(model)
    torch.testing.assert_close(average.module.weight.item(), 0.15 * 1.0 + 0.85 * 2.0)


def test_a_young_average_has_a_short_memory():
    """Otherwise a short run would end with its initial weights."""
    model, expected = torch.nn.Linear(1, 1, bias=False), 0.0
    with torch.no_grad():
        model.weight.fill_(expected)
        average = make_average(model, 0.9999)
        average.update_parameters(model)
        model.weight.fill_(1.0)
        for number in range(1, 20):
            average.update_parameters(model)
            decay = (1 + number) / (10 + number)
            expected = decay * expected + (1 - decay)
    torch.testing.assert_close(average.module.weight.item(), expected)


def test_the_average_is_evaluated_and_the_weights_are_trained_further(tmp_path):
    trainer = make_trainer(tmp_path, ema_decay=0.9, max_steps=2, learning_rate=0.1)
    trainer.train()
    weights = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    loss = trainer.evaluate()["eval_loss"]
    after = trainer.model.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in weights.items())
    trainer.keep_average()
    assert not torch.equal(weights["classifier.weight"], trainer.model.classifier.weight)
    trainer.average = None
    assert trainer.evaluate()["eval_loss"] == loss


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_average_of_the_best_evaluation_is_kept(tmp_path, best):
    evaluations = itertools.count()
    trainer = make_trainer(
        tmp_path,
        compute_metrics=lambda prediction: {"accuracy": float(next(evaluations) == best)},
        metric_for_best_model="accuracy",
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        num_train_epochs=3,
        ema_decay=0.99999,
        learning_rate=0.1,
        save_total_limit=5,
    )
    trainer.train()
    trainer.keep_average()
    averages = [torch.load(tmp_path / f"checkpoint-{step}" / "ema.pt", weights_only=True) for step in (2, 4, 6)]
    final = trainer.model.state_dict()
    is_equal = [all(torch.equal(final[name], average[f"module.{name}"]) for name in final) for average in averages]
    assert is_equal == [index == best for index in range(3)]
