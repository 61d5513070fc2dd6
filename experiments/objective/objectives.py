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
"""Objectives of the study: their configurations, and their number of steps in a given time.

python objectives.py config hog_stages config.json
python objectives.py steps eurosat hog_stages
"""

import argparse
import json
from pathlib import Path

from modeling_greenmim import GreenMimConfig


BATCH_SIZE = 256
SECONDS = 480  # of pre-training, on one core
IMAGE_SIZES = {"eurosat": 64, "blood_cells": 96}
# 1.2 M parameters in the encoder; 16 mask units of 16 x 16 pixels in an image of 64 x 64
BASE = {
    "patch_size": 4,
    "embed_dim": 48,
    "depths": [2, 2, 2],
    "num_heads": [3, 6, 12],
    "window_size": 4,
    "decoder_hidden_size": 128,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 4,
    "decoder_intermediate_size": 512,
}
# cells of 8 pixels after the first stage, and of 16 after the other two
ALL_STAGES = {"decoder_stages": [1, 2, 3], "decoder_hidden_size": [64, 128, 128]}
OBJECTIVES = {
    "last_stage": {},  # as in the paper
    "pixels": {"reconstruction_target": "pixels"},
    "hog": {"reconstruction_target": "hog"},
    "stages": ALL_STAGES,
    "hog_stages": ALL_STAGES | {"reconstruction_target": "hog"},
    "fusion": {"decoder_stages": [1, 2, 3]},  # with run_fusion.py
    "cross": {"decoder_attention": "cross"},
    "cross_quarter": {"decoder_attention": "cross", "decoder_hidden_ratio": 0.25},
    "mask_50": {"mask_ratio": 0.5},
    "mask_60": {"mask_ratio": 0.6},
    "mask_90": {"mask_ratio": 0.9},
    "teacher": {},  # with --teacher_model_name_or_path
    "teacher_only": {"reconstruction_weight": 0.0, "teacher_hidden_size": 128},
}


def make_settings(objective: str, dataset: str = "eurosat") -> dict:
    """Configuration fields of the model for an objective."""
    return BASE | {"image_size": IMAGE_SIZES[dataset]} | OBJECTIVES[objective]


def count_steps(dataset: str, objective: str) -> int:
    """Number of steps in `SECONDS` at the committed speeds."""
    speeds = json.loads((Path(__file__).parent / "speeds.json").read_text())
    return round(SECONDS * speeds[dataset][objective] / BATCH_SIZE)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    config = commands.add_parser("config", help="write the configuration of a model")
    config.add_argument("dataset", choices=IMAGE_SIZES)
    config.add_argument("objective", choices=OBJECTIVES)
    config.add_argument("file", type=Path)
    steps = commands.add_parser("steps", help="print the number of steps")
    steps.add_argument("dataset", choices=IMAGE_SIZES)
    steps.add_argument("objective", choices=OBJECTIVES)
    args = parser.parse_args()
    if args.command == "steps":
        print(count_steps(args.dataset, args.objective))
        return
    settings = {"model_type": GreenMimConfig.model_type} | make_settings(args.objective, args.dataset)
    args.file.parent.mkdir(parents=True, exist_ok=True)
    args.file.write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    main()
