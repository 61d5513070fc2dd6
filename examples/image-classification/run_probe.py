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

# /// script
# requires-python = ">=3.10"
# dependencies = ["modeling-greenmim[training]", "numpy", "scikit-learn", "torch", "torchvision", "tqdm", "transformers"]
# ///
"""Measures frozen features with a linear classifier and with nearest neighbors, for any GreenMIM or Swin model.

    python run_probe.py --model_name_or_path my_run/model microsoft/swin-tiny-patch4-window7-224 --dataset_name cifar10 \\
        --image_column_name img --eval_split_name test --max_train_samples 10000

Several models, such as the checkpoints of a run (`my_run/checkpoint-*`), are compared on the same images. Features are
the mean over the tokens of the last layer; models are not trained. The classifiers are scikit-learn's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers.hf_argparser import HfArg

from modeling_greenmim.training.command_line import check_range, run_command
from modeling_greenmim.training.errors import UserError, explain_loading
from modeling_greenmim.training.labeled_datasets import LabeledDataArguments, LabeledRows, open_labeled_images


# torch, scikit-learn and models are imported when needed, so that `--help` does not wait for them


@dataclass
class ProbeArguments:
    """Models, and how to measure their features."""

    model_name_or_path: list[str] = HfArg(default=None, help="GreenMIM or Swin models: folders, or names on the Hub.")
    image_processor_name: str | None = HfArg(default=None, help="Image processor for all models.")
    num_neighbors: int = HfArg(default=20, help="Number of nearest neighbors that vote.")
    C: float = HfArg(default=1.0, help="Inverse regularization strength of the linear classifier.")
    batch_size: int = HfArg(default=256, help="Number of images in a batch.")
    num_workers: int = HfArg(default=0, help="Number of processes that decode images.")
    seed: int = HfArg(default=0, help="Seed for choosing images.")
    output_file: str | None = HfArg(default=None, help="JSON file to write the results to.")

    def __post_init__(self):
        if not self.model_name_or_path:
            raise UserError("Pass --model_name_or_path.")
        for name in ("num_neighbors", "batch_size"):
            check_range(self, name, 1)
        check_range(self, "num_workers", 0)
        if not self.C > 0:
            raise UserError(f"--C must be above 0, got {self.C}.")


def extract_features(model, image_processor, rows: LabeledRows, label_names: list[str], args: ProbeArguments):
    """Returns features, of shape `(num_images, hidden_size)`, and labels, indices into `label_names`."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader
    from torchvision.transforms import v2
    from tqdm.auto import tqdm

    from modeling_greenmim.training.labeled_images import ClassifiedImages, preprocess

    transform = v2.Lambda(partial(preprocess, image_processor=image_processor), torch.Tensor)
    label2id = {name: number for number, name in enumerate(label_names)}
    images = ClassifiedImages(rows, label2id, transform=transform, num_channels=model.config.num_channels)
    loader = DataLoader(images, args.batch_size, num_workers=args.num_workers)
    features, labels = [], []
    with torch.no_grad():
        for batch in tqdm(loader, desc=rows.description, leave=False):
            tokens = model(batch["pixel_values"].to(model.device)).last_hidden_state
            features.append(tokens.mean(dim=1).float().cpu().numpy())
            labels.append(batch["labels"].numpy())
    return np.concatenate(features), np.concatenate(labels)


def measure(name: str, config, rows: tuple[LabeledRows, LabeledRows], args: ProbeArguments) -> dict[str, float]:
    """Returns the accuracies of a linear classifier on standardized features, and of nearest neighbors by cosine."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from transformers import MODEL_MAPPING

    from modeling_greenmim.checkpoint_folders import load_checkpoint
    from modeling_greenmim.training.fine_tuning_models import load_image_processor

    # accelerator builds of torch also run on machines without one
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    with explain_loading(name):
        model = load_checkpoint(MODEL_MAPPING[type(config)], name, dtype=torch.float32).to(device)
    image_processor = load_image_processor(args.image_processor_name or name, config)
    (features, labels), (eval_features, eval_labels) = (
        extract_features(model, image_processor, part, rows[0].label_names, args) for part in rows
    )
    classifiers = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=args.C, max_iter=1000)),
        "knn": KNeighborsClassifier(min(args.num_neighbors, len(labels)), metric="cosine", weights="distance"),
    }
    return {
        kind: float(classifier.fit(features, labels).score(eval_features, eval_labels))
        for kind, classifier in classifiers.items()
    }


def run(data_args: LabeledDataArguments, args: ProbeArguments, command: str):
    from transformers.utils import logging

    from modeling_greenmim.training.fine_tuning_models import load_config

    logging.disable_progress_bar()
    if data_args.streaming:
        raise UserError("--streaming is for training; here, features are kept in memory. Omit it.")
    configs = {name: load_config(name) for name in args.model_name_or_path}  # before anything is measured
    if args.output_file is not None:
        Path(args.output_file).parent.mkdir(parents=True, exist_ok=True)
    rows = open_labeled_images(data_args, args.seed)
    print(f"Training images: {rows[0].num_images:,}. Evaluation images: {rows[1].num_images:,}.")
    results = {}
    width = max(len(name) for name in args.model_name_or_path)
    print(f"{'model':{width}}  linear    knn")
    for name, config in configs.items():
        results[name] = measure(name, config, rows, args)
        print(f"{name:{width}}  {results[name]['linear']:.4f} {results[name]['knn']:.4f}", flush=True)
    if args.output_file is not None:
        content = {"command": command, "num_images": [part.num_images for part in rows], "accuracy": results}
        new = Path(f"{args.output_file}.new")
        new.write_text(json.dumps(content, indent=2))
        new.rename(args.output_file)  # atomic


def main(arguments: Sequence[str] | None = None):
    run_command(run, (LabeledDataArguments, ProbeArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
