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
"""Prints the tables of docs/performance.md, made from the measurements in benchmarks/results.

python -m benchmarks.make_tables
"""

import json
from pathlib import Path


RESULTS = Path(__file__).parent / "results"
MODELS = {
    "greenmim": "Swin",
    "greenmim_swin_v2": "Swin V2",
    "greenmim_twins_svt": "Twins-SVT",
    "greenmim_twins_pcpvt": "Twins-PCPVT",
    "simmim": "SimMIM",
    "simmim_swin_v2": "SimMIM with Swin V2",
    "simmim_twins_svt": "Twins-SVT with mask tokens",
    "hiera": "Hiera",
    "vit_mae": "ViT-MAE",
}
DECODERS = {
    "greenmim_hog": '`reconstruction_target="hog"`',
    "greenmim_all_stages": "`decoder_stages=[1, 2, 3, 4]`",
    "greenmim_hog_all_stages": "the same, with HOG",
    "greenmim_cross": '`decoder_attention="cross"`',
    "greenmim_cross_quarter": "the same, a quarter of the hidden units",
    "greenmim_cross_all_stages": "`decoder_stages=[1, 2, 3, 4]`, with cross-attention",
}


def read_results(name: str) -> list | dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def format_table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(line)} |" for line in (titles, *rows)]
    return "\n".join([lines[0], "|---" * len(titles) + "|", *lines[1:]])


def format_time(result: dict) -> str:
    """Median, minimum, and maximum."""
    return "{median_ms:.0f} ({min_ms:.0f} - {max_ms:.0f})".format(**result)


def make_step_table(runs: list[dict]) -> str:
    """Training steps of our models, each next to a peer."""
    titles = ["model, pixels, batch", "ours, ms", "peer", "peer, ms", "times faster", "by arithmetic", "memory"]
    rows = []
    for run in runs:
        settings = run["settings"]
        setting = f"{settings['model_size']}, {settings['image_size']}, {settings['batch_size']}"
        if settings["per_sample"]:
            setting += ", a mask for each image"
        for result in run["results"]:
            model = f"{MODELS[settings['model']]}-{setting}"
            ratios = (result["faster"], result["faster_by_arithmetic"], result["share_of_memory"])
            peer = result["peer"]
            times = [format_time(result["ours"]), MODELS[peer["model"]], format_time(peer)]
            rows.append([model, *times, *(f"{ratio:.2f}" for ratio in ratios)])
    return format_table(titles, rows)


def make_decoder_table(runs: list[dict]) -> str:
    """How many times as long a step takes as with the default decoder."""
    settings = [run["settings"] for run in runs]
    titles = [f"{entry['model_size']}, {entry['image_size']}, {entry['batch_size']}" for entry in settings]
    rows = [
        [title, *(f"{result['faster']:.2f}" for result in results)]
        for title, *results in zip(DECODERS.values(), *(run["results"] for run in runs), strict=True)
    ]
    return format_table(["decoder", *titles], rows)


def make_full_table(training: dict, inference: dict) -> str:
    """Images without a mask, next to Swin."""
    rows = []
    for title, run in (("training step", training), ("inference", inference)):
        (result,) = run["results"]
        rows.append([title, format_time(result["ours"]), format_time(result["peer"]), f"{result['faster']:.2f}"])
    return format_table(["", "ours, ms", "`SwinModel`, ms", "times faster"], rows)


def make_planning_table(results: list[dict]) -> str:
    titles = [
        "pixels",
        "window",
        "images",
        "plan, ms",
        "packing of the paper, ms",
        "slots with a token",
        "cost / bound",
    ]
    rows = []
    for row in results:
        published = "not measured" if row["published_ms"] is None else f"{row['published_ms']:.0f}"
        fill = min(layout["fill"] for layout in row["layouts"])
        cost = max(layout["cost_over_bound"] for layout in row["layouts"])
        values = [row["image_size"], row["window_size"], row["num_images"], f"{row['median_ms']:.1f}", published]
        rows.append([*map(str, values), f"{fill:.2f}", f"{cost:.2f}"])
    return format_table(titles, rows)


def make_loader_table(runs: dict[str, dict]) -> str:
    """The loader next to the model, in images per second."""
    titles = ["images", "workers", "model", "loader", "both", "masks/s", "waits for data"]
    rows = []
    for title, run in runs.items():
        masks = run["settings"]["masks_per_image"]
        alone = run["results"]["model"]["images_per_second"]
        for row in run["results"]["loaders"]:
            loader, both = (row[name]["images_per_second"] for name in ("loader", "both"))
            speeds = [f"{speed:.0f}" for speed in (alone, loader, both, masks * both)]
            waits = f"{100 * row['both']['data_wait_share']:.0f}%"
            rows.append([title, str(row["num_workers"]), *speeds, waits])
    return format_table(titles, rows)


def make_parts_table(runs: dict[str, dict]) -> str:
    """Milliseconds for each part of reading an image."""
    parts = [run["results"]["parts_ms"] for run in runs.values()]
    rows = [[name, *(f"{values[name]:.2f}" for values in parts)] for name in parts[0]]
    return format_table(["part, ms an image", *runs], rows)


def make_tables() -> dict[str, str]:
    """Tables in Markdown, by their subject."""
    loaders = read_results("data_loading")
    parts = {title: run for title, run in loaders.items() if run["settings"]["masks_per_image"] == 1}
    return {
        "A training step": make_step_table(read_results("training_step")),
        "Decoders": make_decoder_table(read_results("decoders")),
        "Full images": make_full_table(*read_results("full_images")),
        "Families": make_step_table(read_results("families")),
        "Families, one core": make_step_table(read_results("families_one_core")),
        "Planning": make_planning_table(read_results("planning")["results"]),
        "Loading, parts": make_parts_table(parts),
        "Loading": make_loader_table(loaders),
    }


def main():
    for title, table in make_tables().items():
        print(f"{title}:\n\n{table}\n")


if __name__ == "__main__":
    main()
