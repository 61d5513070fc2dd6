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
Simulate a training step on a GPU without one: count kernels, bytes and operators that would wait for the device.

Tensors are fake (`FakeTensorMode`): they have a shape, a dtype and the device `cuda:0`, but no data. Forward and
backward of any batch size take seconds on a CPU, and every operator is recorded. The report lists

- faults: tensors on a different device, copies between devices, reads of tensor values, missing gradients;
- kernels: operators that are not views;
- bytes: the minimum that kernels read and write, with every input and output counted once;
- atomics: operators that sum in no fixed order on a GPU;
- heads: the largest number of groups times heads in one fused attention, which CUDA limits to 65,535.

It does not cover values, times or limits of other kernels. It needs a CPU build of torch and g++.

    python -m benchmarks.fake_cuda                                      # every case, tiny
    python -m benchmarks.fake_cuda --model_size base --batch_size 256 --dtype bfloat16 --cases masks --json trace.json
    python -m benchmarks.compare_results before.json trace.json
"""

import argparse
import collections
import contextlib
import ctypes
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path


# The CPU build of torch has no CUDA device guard or hooks. These do nothing.
SHIM = r"""
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace at {
struct FakeCudaHooks : CUDAHooksInterface {
  FakeCudaHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return false; }
  DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
};
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, FakeCudaHooks)
}
namespace {
constexpr auto kCuda = c10::DeviceType::CUDA;
struct FakeGuard : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  c10::Device exchangeDevice(c10::Device) const override { return {kCuda, 0}; }
  c10::Device getDevice() const override { return {kCuda, 0}; }
  c10::Stream getStream(c10::Device) const noexcept override { return c10::Stream(c10::Stream::DEFAULT, {kCuda, 0}); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
};
c10::impl::DeviceGuardImplRegistrar registrar(kCuda, new FakeGuard());
}
"""


def load_shim():
    """Load the shim. Call this before importing torch: its first CUDA query decides for the whole process."""
    root = Path(importlib.util.find_spec("torch").submodule_search_locations[0])
    if (root / "lib" / "libtorch_cuda.so").exists():
        sys.exit(
            "Cannot run fake_cuda.py because this is a CUDA build of torch. Install a CPU build, such as "
            "torch==2.13.0 from PyPI's CPU wheels."
        )
    name = hashlib.sha256((SHIM + str(root)).encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"fake_cuda_{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, compiled = Path(folder) / "shim.cpp", Path(folder) / "shim.so"
            source.write_text(SHIM)
            command = ["g++", "-O1", "-std=c++20", "-shared", "-fPIC", str(source), "-o", str(compiled)]
            command += [f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include", f"-L{root}/lib"]
            subprocess.run(
                [*command, "-Wl,--no-as-needed", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{root}/lib"], check=True
            )
            library.write_bytes(compiled.read_bytes())
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


load_shim()

# ruff: noqa: E402 - torch must not be imported before the shim
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from transformers import SwinConfig, SwinModel

from benchmarks.peers import SWIN_SIZES
from benchmarks.training_step import DTYPES, describe_machine
from modeling_greenmim import (
    GreenMimBackbone,
    GreenMimConfig,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    make_plan,
    sample_masks,
)


CUDA = torch.device("cuda:0")
FAKE_MODE = FakeTensorMode()  # shared by all cases, so that a case can reuse caches of earlier ones
MAX_HEADS = 65_535  # the grid of fused attention is (blocks of queries, heads, batch), and its second side is limited
# Operators whose CUDA kernels wait for the host although their shapes do not depend on values
WAITING = ("embedding_dense_backward", "repeat_interleave", "unique", "masked_select", "nonzero", "bincount", "histc")
# Not `index_put`: it sorts its indices before it sums, and without sums, our indices contain each row once
ATOMIC = ("index_add", "scatter_add", "scatter_reduce")
# From their first argument, a table, these read only the values that they return
LOOK_UPS = ("index_select", "gather", "index", "embedding")


def count_bytes(tensor: torch.Tensor) -> int:
    """Count the bytes of a tensor once: expanded dimensions take no memory."""
    size = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride()):
        size *= length if stride else 1
    return size


class Recorder(TorchDispatchMode):
    """Records every operator of forward and backward."""

    def __init__(self):
        super().__init__()
        self.kernels = collections.Counter()
        self.bytes = collections.Counter()
        self.faults: list[str] = []
        self.max_heads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        if func.namespace == "prim":
            return outputs
        results, sources = (
            [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
            for tree in (outputs, (args, kwargs or {}))
        )
        for tensor in results:
            if tensor.device != CUDA:
                self.faults.append(f"{name} returns a tensor on {tensor.device} at {find_line()}")
        if name in ("_to_copy", "copy_") and len({tensor.device for tensor in results + sources if tensor.ndim}) > 1:
            self.faults.append(f"{name} copies between devices at {find_line()}")
        if any(word in name for word in WAITING):
            self.faults.append(f"{name} waits for the device at {find_line()}")
        aliases = [value.alias_info for value in func._schema.returns]
        if func.is_view or (aliases and all(alias and not alias.is_write for alias in aliases)) or not results:
            return outputs
        if name in (
            "empty",
            "empty_like",
            "new_empty",
            "empty_strided",
            "new_empty_strided",
            "_unsafe_view",
            "detach",
        ):
            return outputs
        self.kernels[name] += 1
        tensors = {id(tensor): tensor for tensor in sources[name in LOOK_UPS :] + results}
        self.bytes[name] += sum(map(count_bytes, tensors.values()))
        if name in LOOK_UPS:
            self.bytes[name] += sum(map(count_bytes, results))
        if "attention" in name:
            self.max_heads = max(self.max_heads, sources[0].shape[1])
        return outputs

    def summarize(self) -> dict:
        return {
            "kernels": sum(self.kernels.values()),
            "gigabytes": sum(self.bytes.values()) / 1e9,
            "atomics": sum(number for name, number in self.kernels.items() if name.startswith(ATOMIC)),
            "max_heads": self.max_heads,
            "kernels_by_name": dict(self.kernels.most_common()),
            "gigabytes_by_name": {name: number / 1e9 for name, number in self.bytes.most_common()},
        }


def find_line() -> str:
    """Find the innermost line of the package on the stack. The backward has none."""
    frames = [frame for frame in traceback.extract_stack() if "modeling_greenmim" in frame.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "the backward"


def attend_with_limits(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
) -> torch.Tensor:
    """
    Imitate `scaled_dot_product_attention` on a GPU with a float mask that needs a gradient: use the memory-efficient
    kernel, and pad a mask whose rows are not aligned to 8 elements.
    """
    if query.shape[1] > MAX_HEADS:
        raise RuntimeError(f"CUDA error: invalid configuration argument ({query.shape[1]} heads, at most {MAX_HEADS})")
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        query, key, value = (tensor.to(dtype) for tensor in (query, key, value))
        attn_mask = attn_mask if attn_mask is None else attn_mask.to(dtype)
    if attn_mask is not None:
        if attn_mask.stride(-1) != 1 or any(stride % 8 for stride in attn_mask.stride()[:-1]):
            length = attn_mask.shape[-1]
            attn_mask = nn.functional.pad(attn_mask, (0, 8 - length % 8))[..., :length]
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
        if attn_mask.dtype != query.dtype:
            raise RuntimeError(f"invalid dtype for bias: {attn_mask.dtype}, should match the query's {query.dtype}")
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
    )[0]


@contextlib.contextmanager
def pretend_there_is_a_gpu() -> Iterator[FakeTensorMode]:
    """Enable fake tensors on `cuda:0`, with autocast and the fused attention that a GPU would use."""
    original = nn.functional.scaled_dot_product_attention
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda *args, **kwargs: True
    nn.functional.scaled_dot_product_attention = attend_with_limits
    try:
        with FAKE_MODE:
            yield FAKE_MODE
    finally:
        nn.functional.scaled_dot_product_attention = original


def move_to_fake(module: nn.Module, dtype: torch.dtype | None):
    """Replace parameters and buffers, which fake mode cannot initialize, with fake ones."""
    for child in module.modules():
        for name, buffer in child._buffers.items():
            child._buffers[name] = (
                buffer if buffer is None else torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)
            )
        for name, parameter in child._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=dtype or parameter.dtype, device=CUDA)
                child._parameters[name] = nn.Parameter(fake)


def trace(
    model: nn.Module,
    inputs: dict,
    get_loss: Callable,
    autocast_dtype: torch.dtype | None = None,
    weights_dtype: torch.dtype | None = None,
    train: bool = True,
) -> dict:
    """Record the counts and faults of one forward and, in training, one backward."""
    recorder = Recorder()
    model.train(train)
    with pretend_there_is_a_gpu() as mode:
        move_to_fake(model, weights_dtype)

        def move(leaf):
            if not isinstance(leaf, torch.Tensor):
                return leaf
            leaf = mode.from_tensor(leaf).to(CUDA)
            return leaf.to(weights_dtype) if weights_dtype and leaf.is_floating_point() else leaf

        inputs = tree_map(move, inputs)
        autocast = torch.autocast("cuda", dtype=autocast_dtype) if autocast_dtype else contextlib.nullcontext()
        try:
            with recorder, torch.set_grad_enabled(train):
                with autocast:
                    loss = get_loss(model(**inputs))
                if train:
                    loss.backward()
        except Exception as error:  # anything that a GPU would wait for or reject is a result
            line = str(error).splitlines()[0] if str(error) else ""
            frames = [
                frame for frame in traceback.extract_tb(error.__traceback__) if "modeling_green" in frame.filename
            ]
            place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
            recorder.faults.append(f"{type(error).__name__}: {line}{place}")
    if train and not recorder.faults:
        for name, parameter in model.named_parameters():
            if parameter.grad is None or parameter.grad.device != CUDA:
                recorder.faults.append(f"{name} has no gradient on the device")
    return {**recorder.summarize(), "faults": list(dict.fromkeys(recorder.faults))}


def make_cases(args: argparse.Namespace) -> dict[str, Callable[[], dict]]:
    """Map case names to functions that trace them."""
    sizes = SWIN_SIZES[args.model_size]
    dtype = DTYPES[args.dtype]

    def make_config(**settings) -> GreenMimConfig:
        return GreenMimConfig(**{**sizes, "image_size": args.image_size, **settings})

    def make_pixels(size: int = args.image_size) -> torch.Tensor:
        return torch.empty(args.batch_size, 3, size, size)

    def trace_masks(per_sample=True, with_plan=True, checkpointing=False, **settings) -> dict:
        trace_settings = {
            "autocast_dtype": dtype,
            **{k: settings.pop(k) for k in ("autocast_dtype", "weights_dtype") if k in settings},
        }
        config = make_config(**settings)
        model = GreenMimForMaskedImageModeling(config)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
        grid = (args.image_size // config.mask_unit_size,) * 2
        mask = torch.from_numpy(sample_masks(args.batch_size, grid, 0.75, seed=0, per_sample=per_sample))
        inputs = {"pixel_values": make_pixels(), "bool_masked_pos": mask}
        if with_plan:
            inputs["plan"] = make_plan(mask, config)
        return trace(model, inputs, lambda outputs: outputs.loss, **trace_settings)

    def trace_full(model_class, get_loss, inputs, **settings) -> dict:
        return trace(model_class(make_config(**settings)), inputs, get_loss, autocast_dtype=dtype)

    def trace_inference(model: nn.Module) -> dict:
        inputs = {"pixel_values": make_pixels()}
        trace(model, inputs, lambda outputs: outputs.pooler_output, dtype, train=False)  # fills caches
        return trace(model, inputs, lambda outputs: outputs.pooler_output, dtype, train=False)

    labels = torch.zeros(args.batch_size, dtype=torch.long)
    return {
        "masks": trace_masks,
        "shared mask": lambda: trace_masks(per_sample=False),
        "float32": lambda: trace_masks(autocast_dtype=None),
        "float16": lambda: trace_masks(autocast_dtype=torch.float16),
        "weights in bfloat16": lambda: trace_masks(autocast_dtype=None, weights_dtype=torch.bfloat16),
        "eager attention": lambda: trace_masks(attn_implementation="eager"),
        "drop path and dropout": lambda: trace_masks(drop_path_rate=0.1, hidden_dropout_prob=0.1),
        "absolute positions": lambda: trace_masks(use_absolute_embeddings=True),
        "gradient checkpointing": lambda: trace_masks(checkpointing=True),
        "window 14": lambda: trace_masks(window_size=14),
        "mask units": lambda: trace_masks(token_mixers=["mask_unit", "mask_unit", "global", "global"]),
        "full images": lambda: trace_full(
            GreenMimForImageClassification,
            lambda outputs: outputs.loss,
            {"pixel_values": make_pixels(), "labels": labels},
        ),
        "backbone": lambda: trace_full(
            GreenMimBackbone,
            lambda outputs: sum(feature_map.float().mean() for feature_map in outputs.feature_maps),
            {"pixel_values": make_pixels(args.image_size + 26)},
            out_features=["stage1", "stage4"],
        ),
        "full images, inference": lambda: trace_inference(GreenMimModel(make_config())),
        "Swin, inference": lambda: trace_inference(SwinModel(SwinConfig(**sizes, image_size=args.image_size))),
        # Must report a fault: planning inside the forward waits for the device
        "no plan": lambda: trace_masks(with_plan=False),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model_size", choices=SWIN_SIZES, default="tiny", help="Size of the model. [%(default)s]")
    parser.add_argument("--batch_size", type=int, default=8, help="Images in a batch. [%(default)s]")
    parser.add_argument("--image_size", type=int, default=224, help="Image side in pixels. [%(default)s]")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="Data type of autocast. [%(default)s]")
    parser.add_argument("--cases", nargs="+", help="Names of the cases to trace. Default: all.")
    parser.add_argument("--json", type=Path, help="JSON file to write settings, versions and counts to.")
    args = parser.parse_args()
    cases = make_cases(args)
    if unknown := set(args.cases or ()) - set(cases):
        parser.error(f"--cases must be some of {', '.join(map(repr, cases))}, got {', '.join(sorted(unknown))}")
    results = {}
    print("| case | kernels | GB | atomics | largest heads | faults |\n|---|---|---|---|---|---|")
    for name in args.cases or cases:
        result = results[name] = cases[name]()
        print(
            f"| {name} | {result['kernels']:,} | {result['gigabytes']:.1f} | {result['atomics']} | "
            f"{result['max_heads']:,} | {'; '.join(result['faults'][:3]) or 'none'} |",
            flush=True,
        )
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name != "json"}
        content = {"settings": settings, "machine": describe_machine("cpu"), "results": results}
        args.json.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
