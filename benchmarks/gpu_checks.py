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
"""Check a GPU before timing it: all attention paths return the same values, and a step is reproducible.

The functions return dictionaries, so that they can run in a separate process.
"""

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.peers import PEERS, Setting
from benchmarks.training_step import DTYPES


# Largest norm of the difference, relative to the norm of the reference, in float32
TOLERANCE = 1e-4
# In a shorter dtype, an error may be this many times the error of eager attention in the same dtype
MAX_ERROR_RATIO = 2.0
# An error up to this size always passes: for a single number, such as the loss, eager attention may have no error by
# chance
MIN_ERROR = 1e-2
CUBLAS_WORKSPACE = ":4096:8"
NUM_STEPS = 2


def get_masked_loss(outputs) -> torch.Tensor:
    return outputs.loss


def get_distance_to_noise(outputs) -> torch.Tensor:
    """A loss whose gradient does not vanish at the last norm, unlike the gradient of a mean of features."""
    features = outputs.last_hidden_state
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0)).to(features.device)
    return (features.float() - noise).square().mean()


def get_gradients(outputs, module: torch.nn.Module, get_loss: Callable) -> dict[str, torch.Tensor]:
    loss = get_loss(outputs)
    loss.backward()
    gradients = {name: parameter.grad.flatten() for name, parameter in module.named_parameters()}
    # Compared separately: among all gradients, an error in these would be too small to see
    biases = [gradient for name, gradient in gradients.items() if "relative_position_bias" in name]
    return {
        "loss": loss.detach(),
        "gradients": torch.cat(list(gradients.values())),
        "gradients of position biases": torch.cat(biases),
    }


def get_logits(outputs, module: torch.nn.Module, get_loss: Callable) -> dict[str, torch.Tensor]:
    return {"predictions": outputs.logits}


def get_features(outputs, module: torch.nn.Module, get_loss: Callable) -> dict[str, torch.Tensor]:
    return {"features": outputs.last_hidden_state}


# Case name: model, whether it trains, its loss, and the tensors to compare
CASES = {
    "training": ("greenmim", True, get_masked_loss, get_gradients),
    "evaluation without gradients": ("greenmim", False, get_masked_loss, get_logits),
    "full images, training": ("greenmim_full", True, get_distance_to_noise, get_gradients),
    "full images, evaluation without gradients": ("greenmim_full", False, get_distance_to_noise, get_features),
}


def compute(case: str, setting: Setting, dtype: str) -> dict[str, torch.Tensor]:
    """Compute the values of a case, and return them on the CPU in float64."""
    name, train, get_loss, get_values = CASES[case]
    torch.manual_seed(0)
    peer = PEERS[name](setting)
    module = peer.module.to(setting.device).train(train)
    with torch.set_grad_enabled(train):
        with torch.autocast(setting.device, dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
            outputs = module(**peer.make_inputs(0))
        values = get_values(outputs, module, get_loss)
    return {key: value.detach().cpu().double() for key, value in values.items()}


def get_difference(values: torch.Tensor, reference: torch.Tensor) -> float:
    return float((values - reference).norm() / reference.norm())


def check_values(setting: Setting, dtype: str) -> list[dict]:
    """
    Compare SDPA with eager attention in float32 and in `dtype` and, on a GPU, eager attention with the CPU's.

    Returns:
        `list[dict]`: `name`, `difference`, `tolerance` and `passed` of each comparison.
    """
    torch.backends.cudnn.allow_tf32 = False
    eager, sdpa = (replace(setting, attn_implementation=name) for name in ("eager", "sdpa"))
    results = []

    def add(name: str, values: dict, reference: dict, tolerances: dict):
        for key, value in values.items():
            difference, tolerance = get_difference(value, reference[key]), tolerances[key]
            passed = difference <= tolerance  # NaN does not pass
            result = {"name": f"{name}: {key}", "difference": difference, "tolerance": tolerance, "passed": passed}
            results.append(result)

    for case in CASES:
        reference = compute(case, eager, "float32")
        tolerances = dict.fromkeys(reference, TOLERANCE)
        if setting.device != "cpu":
            on_cpu = compute(case, replace(eager, device="cpu"), "float32")
            add(f"{case}, float32, eager attention against the CPU", reference, on_cpu, tolerances)
        add(f"{case}, float32, SDPA against eager", compute(case, sdpa, "float32"), reference, tolerances)
        if DTYPES[dtype] is not None:
            values = compute(case, eager, dtype)
            limits = {
                key: max(MAX_ERROR_RATIO * get_difference(value, reference[key]), MIN_ERROR)
                for key, value in values.items()
            }
            add(f"{case}, {dtype}, error of SDPA", compute(case, sdpa, dtype), reference, limits)
    return results


def check_determinism(setting: Setting, dtype: str, deterministic_algorithms: bool) -> dict:
    """
    Run some training steps twice from the same state, and compare losses and weights bit by bit.

    With `deterministic_algorithms`, cuBLAS gets a workspace that fixes its summation order, and fused attention gets a
    backward with a fixed summation order, which needs `warn_only=False`. Call this in a process that has not used
    cuBLAS yet.

    Returns:
        `dict`: the settings, `equal` and `largest_difference`.
    """
    if deterministic_algorithms:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS_WORKSPACE
        torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        first, second = (take_steps(setting, dtype) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    pairs = list(zip(first, second))
    return {
        "deterministic_algorithms": deterministic_algorithms,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "num_steps": NUM_STEPS,
        "equal": all(torch.equal(one, other) for one, other in pairs),
        "largest_difference": max(float((one.double() - other.double()).abs().max()) for one, other in pairs),
    }


def take_steps(setting: Setting, dtype: str) -> list[torch.Tensor]:
    """Run some training steps, and return their losses and the final weights."""
    torch.manual_seed(0)
    peer = PEERS["greenmim"](setting)
    module = peer.module.to(setting.device).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    losses = []
    for step in range(NUM_STEPS):
        with torch.autocast(setting.device, dtype=DTYPES[dtype], enabled=DTYPES[dtype] is not None):
            loss = peer.get_loss(module(**peer.make_inputs(step)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return [*losses, *(parameter.detach() for parameter in module.parameters())]
