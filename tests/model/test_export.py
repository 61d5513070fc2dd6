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
"""Export for full images: torch.export and ONNX in onnxruntime, with any batch size."""

import pytest
import torch
import transformers
from packaging.version import Version

from modeling_greenmim import GreenMimBackbone, GreenMimForImageClassification, GreenMimModel
from tests.helpers.tiny_models import FAMILIES, FAMILY_ROWS, make_config, randomize


NAMES = {
    GreenMimModel: ["last_hidden_state", "pooler_output"],
    GreenMimForImageClassification: ["logits"],
    GreenMimBackbone: ["stage1", "stage3"],
}
DYNAMIC_BATCH = {"pixel_values": {0: torch.export.Dim.DYNAMIC}}


def make_model(model_class, **settings):
    settings = {"image_size": 60, "num_labels": 3, "out_features": ["stage1", "stage3"], **settings}
    return randomize(model_class(make_config(**settings)), std=0.1)


def get_outputs(model, pixel_values) -> list[torch.Tensor]:
    with torch.no_grad():
        outputs = model(pixel_values=pixel_values)
    return list(outputs.feature_maps) if "feature_maps" in outputs else list(outputs.values())


@pytest.mark.parametrize("family", FAMILY_ROWS)
@pytest.mark.parametrize("model_class", NAMES)
def test_torch_export(model_class, family):
    model = make_model(model_class, **FAMILIES[family])
    inputs = {"pixel_values": torch.randn(2, 3, 60, 60)}
    program = torch.export.export(model, (), inputs, dynamic_shapes=DYNAMIC_BATCH)
    for batch_size in (1, 2, 5):
        pixel_values = torch.randn(batch_size, 3, 60, 60)
        torch.testing.assert_close(get_outputs(program.module(), pixel_values), get_outputs(model, pixel_values))


def run_onnx(path, pixel_values):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path)
    return [torch.from_numpy(output) for output in session.run(None, {"pixel_values": pixel_values.numpy()})]


@pytest.mark.parametrize("family", FAMILY_ROWS)
@pytest.mark.parametrize(
    "model_class", [*NAMES][:1] + [pytest.param(name, marks=pytest.mark.slow) for name in [*NAMES][1:]]
)
def test_onnx(tmp_path, model_class, family):
    pytest.importorskip("onnxscript")
    model = make_model(model_class, attn_implementation="eager", **FAMILIES[family])
    torch.onnx.export(
        model,
        (),
        tmp_path / "model.onnx",
        kwargs={"pixel_values": torch.randn(2, 3, 60, 60)},
        dynamic_shapes=DYNAMIC_BATCH,
        input_names=["pixel_values"],
        output_names=NAMES[model_class],
        dynamo=True,
    )
    for batch_size in (1, 5):
        pixel_values = torch.randn(batch_size, 3, 60, 60)
        actual = run_onnx(tmp_path / "model.onnx", pixel_values)
        torch.testing.assert_close(actual, get_outputs(model, pixel_values), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(Version(transformers.__version__) < Version("5.23"), reason="older exporters cannot follow SDPA")
def test_onnx_by_transformers(tmp_path):
    pytest.importorskip("onnxscript")
    exporters = pytest.importorskip("transformers.exporters")
    model = make_model(GreenMimForImageClassification)  # with SDPA
    config = exporters.OnnxConfig(dynamic_shapes=DYNAMIC_BATCH)
    exported = exporters.OnnxExporter().export(model, {"pixel_values": torch.randn(2, 3, 60, 60)}, config=config)
    exported.save_pretrained(tmp_path)
    (path,) = tmp_path.rglob("*.onnx")
    pixel_values = torch.randn(5, 3, 60, 60)
    actual = run_onnx(path, pixel_values)
    torch.testing.assert_close(actual, get_outputs(model, pixel_values), rtol=1e-3, atol=1e-4)
