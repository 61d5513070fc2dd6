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
"""Images and small runs for the pre-training tests."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
from datasets import ClassLabel, Dataset, Features, Image

from modeling_greenmim import GreenMimConfig
from tests.helpers.scripts import import_script


SCRIPT = "examples/pretraining/run_pretraining_no_trainer.py"
NUM_IMAGES = 60
SWIN_SETTINGS = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": (1, 1),
    "num_heads": (1, 2),
    "window_size": 4,
}
CONFIG = GreenMimConfig(
    **SWIN_SETTINGS,
    decoder_hidden_size=16,
    decoder_num_hidden_layers=1,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=32,
)


def encode(index: int) -> bytes:
    """Create an image of one of two classes, which differ in color."""
    pixels = np.random.default_rng(index).integers(128, size=(4, 4, 3), dtype=np.uint8)
    pixels[:, :, index % 2] += 127
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).resize((40, 36), PIL.Image.Resampling.BICUBIC).save(content, "PNG")
    return content.getvalue()


def write_images(folder: Path) -> Path:
    """
    Write the same images as `files` in class folders and in three `parquet` files and `tars` of different sizes, and a
    configuration.
    """
    CONFIG.save_pretrained(folder)
    for index in range(NUM_IMAGES):
        path = folder / "files" / f"class{index % 2}" / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(index))
    (folder / "parquet").mkdir()
    (folder / "tars").mkdir()
    features = Features({"image": Image(), "label": ClassLabel(num_classes=2)})
    for number, indices in enumerate(np.split(np.arange(NUM_IMAGES), [13, 35])):
        rows = {"image": [{"bytes": encode(i), "path": None} for i in indices], "label": [int(i % 2) for i in indices]}
        Dataset.from_dict(rows, features=features).to_parquet(folder / "parquet" / f"{number}.parquet", batch_size=6)
        with tarfile.open(folder / "tars" / f"{number}.tar", "w") as tar:
            for index in indices:
                member = tarfile.TarInfo(f"{index:02d}.png")
                member.size = len(encode(index))
                tar.addfile(member, io.BytesIO(encode(index)))
    return folder


def run(images: Path, output_dir: Path, *options, kind: str = "files") -> dict:
    """Run the script in this process for six small steps, and return its metrics."""
    arguments = [f"--train_dir={images / kind}", f"--output_dir={output_dir}", "--per_device_train_batch_size=4"]
    if not any(str(option).startswith("--model_name_or_path") for option in options):
        arguments.append(f"--config_name_or_path={images}")
    if not any(str(option).startswith("--num_train_epochs") for option in options):
        arguments.append("--max_train_steps=6")
    arguments += ["--num_workers=0", "--max_eval_samples=8", "--logging_steps=2", "--eval_steps=3"]
    import_script(SCRIPT).main([*arguments, *map(str, options)])
    return json.loads((output_dir / "metrics.json").read_text())
