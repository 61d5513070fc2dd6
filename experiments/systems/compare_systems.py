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
Write the results of the runs to results.json and print them as a table. Without a folder, print the table from
results.json.
"""

import argparse
import json
from pathlib import Path

from modeling_greenmim import GreenMimConfig, GreenMimModel


SYSTEMS = {
    "swin": ("Swin", ""),
    "dilated": ("DilateFormer", '`token_mixers`: `"dilated"`'),
    "cluster": ("Context Clusters", '`token_mixers`: `"cluster"`, `norm_type="group"`'),
    "gaussian_mixture": ("Gaussian mixture on scores", '`score_modulation="gaussian_mixture"`'),
    "uniform": ("UM-MAE", '`mask_sampler="uniform"`, `secondary_mask_ratio=0.25`'),
    "overlapping": ("Overlapping tokens (T2T-ViT)", "`patch_kernel_size=7`, `merging_kernel_size=3`"),
    "hierarchical_vit": ("Hierarchy of a plain ViT (HPViT)", '`merging="mean"`, `hidden_sizes` of one width'),
}


def collect(runs: Path) -> dict[str, dict]:
    """Collect the results of each system."""
    results = {}
    for name in SYSTEMS:
        path = runs / name / "metrics.json"
        if path.is_file():
            metrics = json.loads(path.read_text())
            encoder = GreenMimModel(GreenMimConfig.from_pretrained(runs / name / "model"))
            results[name] = {
                "steps": metrics["steps"],
                "encoder_parameters": encoder.num_parameters(),
                "images_per_second": round(metrics["images_seen"] / metrics["seconds"], 1),
                "held_out_loss": [record["eval_loss"] for record in metrics["history"] if "eval_loss" in record][-1],
            }
    return results


def make_table(results: dict[str, dict]) -> str:
    """Create a Markdown table with speeds relative to Swin's."""
    lines = [
        "| system | configuration | parameters of the encoder | images/s | relative to Swin | held-out loss |",
        "|---|---|---|---|---|---|",
    ]
    reference = results.get("swin", {}).get("images_per_second")
    for name, result in results.items():
        title, settings = SYSTEMS[name]
        speed = result["images_per_second"]
        ratio = f"{speed / reference:.2f}" if reference else ""
        parameters = f"{result['encoder_parameters'] / 1e6:.2f} M"
        lines.append(
            f"| {title} | {settings} | {parameters} | {speed:.0f} | {ratio} | {result['held_out_loss']:.3f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "runs", type=Path, nargs="?", help="Folder with the runs. Default: print the table from results.json."
    )
    runs, path = parser.parse_args().runs, Path(__file__).parent / "results.json"
    if runs is not None:
        path.write_text(json.dumps(collect(runs), indent=2) + "\n")
    print(make_table(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
