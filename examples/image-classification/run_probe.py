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
"""Measures what frozen features are worth: a linear classifier, and nearest neighbors, on top of any GreenMIM or Swin model.

    python run_probe.py --model_name_or_path my_run/model microsoft/swin-tiny-patch4-window7-224 --dataset_name cifar10 \\
        --image_column_name img --eval_split_name test --max_train_samples 10000

Several models are compared on the same images: the checkpoints of a run (`my_run/checkpoint-*`), say. Features are the mean over
the tokens of the last layer; nothing of a model is trained. The classifiers are those of scikit-learn.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import MODEL_MAPPING, BaseImageProcessor, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from modeling_greenmim.checkpoint_folders import load_checkpoint
from modeling_greenmim.training.command_line import UserError, argument, check_range, run_command

from classification_arguments import DataArguments
from classification_data import ExampleMaker, LabelledImages, LabelledRows, collate, open_rows
from classification_model import load_config, load_image_processor
from classification_transforms import EvaluationTransform


@dataclass
class ProbeArguments:
    """What is measured."""

    model_name_or_path: list[str] = argument("Models, GreenMIM or Swin: folders, or names on the Hub.")
    image_processor_name: str | None = argument("Image processor of all of them. Without it, that of each.")
    num_neighbors: int = argument("Nearest neighbors that vote.", 20)
    C: float = argument("Inverse strength of the regularization of the linear classifier, as in scikit-learn.", 1.0)
    batch_size: int = argument("Images at a time.", 256)
    num_workers: int = argument("Processes that decode images.", 0)
    seed: int = argument("Seed of the choice of images.", 0)
    output_file: str | None = argument("JSON file for the results.")

    def __post_init__(self):
        if not self.model_name_or_path:
            raise UserError("Give --model_name_or_path.")
        for name in ("num_neighbors", "batch_size"):
            check_range(self, name, 1)
        check_range(self, "num_workers", 0)
        if not self.C > 0:
            raise UserError(f"--C must be above 0, but is {self.C}.")


@torch.no_grad()
def extract_features(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    rows: LabelledRows,
    label_names: list[str],
    args: ProbeArguments,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Features of images.

    Returns:
        Features of shape `(num_images, hidden_size)`, and labels of shape `(num_images,)`, positions in `label_names`.
    """
    labels = [label_names.index(name) for name in rows.label_names]
    maker = ExampleMaker(
        EvaluationTransform(image_processor), model.config.num_channels, labels, rows.description, args.seed
    )
    loader = DataLoader(LabelledImages(rows, maker), args.batch_size, num_workers=args.num_workers, collate_fn=collate)
    features, targets = [], []
    for batch in tqdm(loader, desc=rows.description, leave=False):
        tokens = model(batch["pixel_values"].to(model.device)).last_hidden_state
        features.append(tokens.mean(dim=1).float().cpu().numpy())
        targets.append(batch["labels"].numpy())
    return np.concatenate(features), np.concatenate(targets)


def load_model_config(name: str) -> PretrainedConfig:
    """Raises a [`UserError`] if there is no such model."""
    try:
        return load_config(name)
    except (OSError, ValueError) as error:
        raise UserError(f"--model_name_or_path {name} cannot be loaded: {error}") from error


def measure(
    name: str,
    config: PretrainedConfig,
    rows: tuple[LabelledRows, LabelledRows],
    args: ProbeArguments,
    device: torch.device,
) -> dict[str, float]:
    """
    Accuracies of a model: of a linear classifier on standardized features, and of nearest neighbors by cosine, the nearer with
    more weight.
    """
    try:
        model = load_checkpoint(MODEL_MAPPING[type(config)], name, dtype=torch.float32).to(device)
        image_processor = load_image_processor(args.image_processor_name or name, config)
    except (OSError, ValueError) as error:
        raise UserError(f"--model_name_or_path {name} cannot be loaded: {error}") from error
    (features, labels), (eval_features, eval_labels) = (
        extract_features(model, image_processor, each, rows[0].label_names, args) for each in rows
    )
    classifiers = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(C=args.C, max_iter=1000)),
        "knn": KNeighborsClassifier(min(args.num_neighbors, len(labels)), metric="cosine", weights="distance"),
    }
    return {
        kind: float(classifier.fit(features, labels).score(eval_features, eval_labels))
        for kind, classifier in classifiers.items()
    }


def run(data_args: DataArguments, args: ProbeArguments, command: str):
    """Measures one model after the other."""
    logging.disable_progress_bar()
    if data_args.streaming:
        raise UserError("--streaming is for training: features are kept in memory here. Leave it out.")
    configs = {name: load_model_config(name) for name in args.model_name_or_path}  # before anything is measured
    if args.output_file is not None:
        Path(args.output_file).parent.mkdir(parents=True, exist_ok=True)
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    rows = open_rows(data_args, args.seed)
    print(f"Classifiers learn from {rows[0].num_images:,} images, and are evaluated on {rows[1].num_images:,}.")
    results = {}
    width = max(len(name) for name in args.model_name_or_path)
    print(f"{'model':{width}}  linear    knn")
    for name, config in configs.items():
        results[name] = measure(name, config, rows, args, device)
        print(f"{name:{width}}  {results[name]['linear']:.4f} {results[name]['knn']:.4f}", flush=True)
    if args.output_file is not None:
        content = {"command": command, "num_images": [each.num_images for each in rows], "accuracy": results}
        new = Path(f"{args.output_file}.new")
        new.write_text(json.dumps(content, indent=2))
        new.rename(args.output_file)  # whole, or not there


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ProbeArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
