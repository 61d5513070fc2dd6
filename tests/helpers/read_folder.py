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
Read a converted or published folder without this package, and save the model's outputs. Tests also run this in other
environments, so it may use only torch, and transformers 4.57 or later or timm.

    python read_folder.py AutoModel path/to/folder images.pt outputs.pt
"""

import sys

import torch


sys.modules["modeling_greenmim"] = None  # importing it fails as if it were not installed
auto_class, folder, images, outputs = sys.argv[1:]
pixel_values = torch.load(images)
if auto_class == "timm":
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        features = {"last_hidden_state": model.forward_features(pixel_values).flatten(1, -2)}
else:
    import transformers

    model = getattr(transformers, auto_class).from_pretrained(folder).eval()
    with torch.no_grad():
        result = model(pixel_values)
    names = ("last_hidden_state", "logits", "feature_maps")
    features = {name: result[name] for name in names if result.get(name) is not None}
torch.save(features, outputs)
