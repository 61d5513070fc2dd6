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
Publish a model folder that loads without this package, optionally to the Hub.

The folder contains the model's code next to its weights, so that every Auto class loads it with
`trust_remote_code=True`. A separate process, offline and without this package, then checks this.

    python -m modeling_greenmim.publish --checkpoint_path my_model --output_dir my_public_model
    python -m modeling_greenmim.publish --checkpoint_path my_model --output_dir my_public_model \\
        --push_to_hub --hub_model_id me/my-model --private

To upload, log in with `hf auth login` or set the environment variable HF_TOKEN. If an upload fails, the folder
remains: upload it with `hf upload me/my-model my_public_model`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, StrictDataclassError
from huggingface_hub.utils import httpx, validate_repo_id
from transformers.dynamic_module_utils import get_relative_import_files

from .checkpoint_folders import (
    create_folder,
    load_checkpoint,
    make_image_processor,
    read_image_processor_settings,
    read_license,
    read_model_type,
)
from .configuration_greenmim import GreenMimConfig
from .feature_comparison import check_differences, compare_features, make_test_images
from .model_card import describe_encoder, describe_license, make_model_card
from .modeling_greenmim import (
    GreenMimBackbone,
    GreenMimForImageClassification,
    GreenMimForMaskedImageModeling,
    GreenMimModel,
    GreenMimPreTrainedModel,
)
from .planning_greenmim import get_custom_mixers


MODEL_CLASSES = {
    model_class.__name__: model_class
    for model_class in (
        GreenMimForMaskedImageModeling,
        GreenMimForImageClassification,
        GreenMimBackbone,
        GreenMimModel,
    )
}
MODEL_AUTO_MAP = {
    "AutoConfig": "configuration_greenmim.GreenMimConfig",
    "AutoModel": "modeling_greenmim.GreenMimModel",
    "AutoModelForMaskedImageModeling": "modeling_greenmim.GreenMimForMaskedImageModeling",
    "AutoModelForPreTraining": "modeling_greenmim.GreenMimForMaskedImageModeling",
    "AutoModelForImageClassification": "modeling_greenmim.GreenMimForImageClassification",
    "AutoBackbone": "modeling_greenmim.GreenMimBackbone",
}
IMAGE_PROCESSOR_AUTO_MAP = {
    "AutoImageProcessor": {
        "torchvision": "image_processing_greenmim.GreenMimImageProcessor",
        "pil": "image_processing_pil_greenmim.GreenMimImageProcessorPil",
    }
}
LICENSE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt")
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".webp"}
# The training scripts draw these from their users' images
PICTURES_OF_IMAGES = {"reconstructions.png", "predictions.png"}
ENTRY_FILES = ("modeling_greenmim.py", "image_processing_greenmim.py", "image_processing_pil_greenmim.py")

UNKNOWN_NAME = "path/to/this/folder"
USAGE = """
from transformers import AutoModel

# This runs code from the repository: read it, and pass `revision=` with the commit that you have read
model = AutoModel.from_pretrained("{name}", trust_remote_code=True)
"""

# Loads the folder with every Auto class and saves each model's outputs.
CHECK = """
import sys

sys.modules["modeling_greenmim"] = None  # importing it fails as if it were not installed

import torch
import transformers
from transformers.models.auto.image_processing_auto import AutoImageProcessor

folder, images, outputs = sys.argv[1:]
pixel_values, features = torch.load(images), {}
config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
for name in config.auto_map:
    if name == "AutoConfig":
        continue
    auto_class = getattr(transformers, name)
    if name == "AutoBackbone":  # its from_pretrained queries the Hub even for a folder
        model_class = type(auto_class.from_config(config, trust_remote_code=True))
        model = model_class.from_pretrained(folder)
    else:
        model = auto_class.from_pretrained(folder, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules"), type(model)
    with torch.no_grad():
        features[name] = model.float().eval()(pixel_values, output_hidden_states=True).hidden_states[-1]
        if type(model).__name__ in (config.architectures or []):
            result = model(pixel_values)
            own = result.feature_maps[-1] if name == "AutoBackbone" else next(iter(result.values()), None)
            if own is not None:  # a model that only predicts teacher features has no outputs for full images
                features["own outputs"] = own
processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True, backend="pil")
assert type(processor).__module__.startswith("transformers_modules"), type(processor)
torch.save(features, outputs)
"""


def publish(
    checkpoint_path: str | Path,
    output_dir: str | Path,
    hub_model_id: str | None = None,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    public_pictures: bool = False,
) -> Path:
    """
    Write a folder that loads with `trust_remote_code=True` without this package, check it, and upload it if
    `hub_model_id` is given.

    Args:
        checkpoint_path (`str` or `Path`):
            Folder of a GreenMIM model.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        hub_model_id (`str`, *optional*):
            Hub repository to upload to, created if it does not exist.
        private (`bool`, *optional*, defaults to `False`):
            Whether a new repository is private.
        revision (`str`, *optional*):
            Branch to upload to, created if it does not exist.
        license (`str`, *optional*):
            License of the weights, by its name on the Hub. Defaults to the license of the folder's model card, if any.
        public_pictures (`bool`, *optional*, defaults to `False`):
            Whether a folder for a public repository shows the images from the training scripts' model folders:
            reconstructions of held-out images and predictions. A folder that is not uploaded always shows them.

    Returns:
        `Path`: the written folder.

    Raises:
        `ValueError`: if the folder contains no GreenMIM model, the model has a token mixer from outside this package,
        its card has a different license, the check fails, or the output folder is not empty. In these cases, nothing is written or uploaded. Also raises the errors of
        [`push_to_hub`], after the folder has been written.
    """
    if hub_model_id is not None:
        validate_repo_id(hub_model_id)
        if get_token() is None:
            raise ValueError("Cannot upload because there is no token. Log in with `hf auth login` or set HF_TOKEN.")
    with create_folder(output_dir) as folder:
        model = _load_model(checkpoint_path)
        model.save_pretrained(folder)
        copy_code(folder)
        _write_auto_maps(checkpoint_path, model.config, folder)
        omitted = set() if hub_model_id is None or private or public_pictures else PICTURES_OF_IMAGES
        _write_card(checkpoint_path, model.config, hub_model_id, license, omitted, folder)
        _check_folder(model, folder)
    if hub_model_id is not None:
        push_to_hub(output_dir, hub_model_id, private, revision)
    return Path(output_dir)


def check_token_mixers(config: GreenMimConfig):
    """Raise a `ValueError` for mixers from outside this package: a published folder would lack their code."""
    package = GreenMimConfig.__module__.rpartition(".")[0]
    for name, module in get_custom_mixers(config).items():
        place = "is not registered" if module is None else f"is defined in {module}"
        raise ValueError(
            f"Cannot publish the model because its token mixer {name!r} {place}, and only the code of {package} is "
            f"published. Use a mixer of {package}, or share your code together with the unpublished model folder."
        )


def copy_code(folder: Path):
    """Copy the source files of the models and image processors into one flat folder."""
    package = Path(__file__).parent
    for entry in ENTRY_FILES:
        for path in [package / entry, *map(Path, get_relative_import_files(package / entry))]:
            shutil.copy(path, folder / path.name)


def push_to_hub(folder: str | Path, hub_model_id: str, private: bool = False, revision: str | None = None):
    """
    Upload a folder with the token of `hf auth login` or of the environment variable HF_TOKEN.

    Args:
        folder (`str` or `Path`):
            Folder to upload.
        hub_model_id (`str`):
            Hub repository, created if it does not exist.
        private (`bool`, *optional*, defaults to `False`):
            Whether a new repository is private.
        revision (`str`, *optional*):
            Branch, created if it does not exist.

    Raises:
        `ValueError`: if `private` is set and a public repository with this name exists. Connection and Hub errors are
        raised as well.
    """
    api = HfApi()
    api.create_repo(hub_model_id, private=private, exist_ok=True)
    if private and not api.repo_info(hub_model_id).private:
        raise ValueError(
            f"Cannot upload privately because {hub_model_id} exists and is public. Choose a different name."
        )
    if revision is not None:
        api.create_branch(hub_model_id, branch=revision, exist_ok=True)
    api.upload_folder(
        repo_id=hub_model_id, folder_path=folder, revision=revision, commit_message="Upload a GreenMIM model"
    )


def _load_model(checkpoint_path: str | Path) -> GreenMimPreTrainedModel:
    if (model_type := read_model_type(checkpoint_path)) != GreenMimConfig.model_type:
        raise ValueError(f"{checkpoint_path} must contain a GreenMIM model, got a model of type {model_type!r}.")
    config = GreenMimConfig.from_pretrained(checkpoint_path)
    check_token_mixers(config)
    architectures = config.architectures or []
    known = [name for name in architectures if name in MODEL_CLASSES]
    if not known:
        raise ValueError(
            f"{checkpoint_path} must be saved as one of {', '.join(MODEL_CLASSES)}, got {architectures or 'no class'}."
        )
    return load_checkpoint(MODEL_CLASSES[known[0]], checkpoint_path)


def _write_auto_maps(checkpoint_path: str | Path, config: GreenMimConfig, folder: Path):
    """Write complete auto maps. `save_pretrained` writes only the entry of the saved class, and one backend."""
    processor = make_image_processor(config, read_image_processor_settings(checkpoint_path))
    processor.save_pretrained(folder)
    for name, auto_map in {
        "config.json": MODEL_AUTO_MAP,
        "preprocessor_config.json": IMAGE_PROCESSOR_AUTO_MAP,
    }.items():
        settings = json.loads((folder / name).read_text())
        settings["auto_map"] = auto_map
        (folder / name).write_text(json.dumps(settings, indent=2) + "\n")


def _write_card(
    checkpoint_path: str | Path,
    config: GreenMimConfig,
    hub_model_id: str | None,
    license: str | None,
    omitted_pictures: set[str],
    folder: Path,
):
    """Update the usage section of an existing card, or write a new card that lists what is unknown."""
    stated = read_license(checkpoint_path)
    if license is not None and stated.get("license", license) != license:
        raise ValueError(
            f"`license` must match the license {stated['license']!r} in the model card of {checkpoint_path}, got "
            f"{license!r}. Omit it, or correct the card."
        )
    known = stated or ({"license": license} if license else {})
    usage = USAGE.format(name=hub_model_id or UNKNOWN_NAME)
    path = Path(checkpoint_path) / "README.md"
    if path.is_file():
        card = ModelCard.load(path)
        for name, value in known.items():
            setattr(card.data, name, value)
        card.text = card.text.replace(describe_license({}), describe_license(known))
        for name in omitted_pictures:
            card.text = re.sub(rf"!\[[^\]]*\]\({re.escape(name)}\)", "", card.text)
        if "trust_remote_code" in card.text:
            card.text = card.text.replace(f'"{UNKNOWN_NAME}"', f'"{hub_model_id or UNKNOWN_NAME}"')
        else:
            card.text += f"\n## Use without installing anything\n\n```python{usage}```\n"
        _copy_companions(Path(checkpoint_path), card.text, folder)
    else:
        card = make_model_card(
            title="GreenMIM",
            summary=f"A {describe_encoder(config)}.",
            usage=usage,
            provenance="Not documented by the publisher.",
            not_measured=["The accuracy of this model on any task."],
            license=known,
        )
    card.save(folder / "README.md")


def _copy_companions(source: Path, text: str, folder: Path):
    """Copy only the license text and the card's images, because the folder may contain secrets."""
    names = re.findall(r"!\[[^\]]*\]\(([^)\s]+)", text)
    names = [name for name in names if Path(name).suffix.lower() in PICTURE_SUFFIXES]
    for path in [source / name for name in (*LICENSE_FILES, *names)]:
        if path.is_file() and path.resolve().is_relative_to(source.resolve()):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def _check_folder(model: GreenMimPreTrainedModel, folder: Path):
    """Load the folder with every Auto class in an offline process without this package, and compare outputs."""
    model = model.float()
    pixel_values = make_test_images(model.config, model.config.image_height_and_width)
    with tempfile.TemporaryDirectory() as temporary:
        images, outputs = Path(temporary) / "images.pt", Path(temporary) / "outputs.pt"
        torch.save(pixel_values, images)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": temporary, "HF_MODULES_CACHE": temporary}
        result = subprocess.run(
            [sys.executable, "-c", CHECK, str(folder.resolve()), str(images), str(outputs)],
            cwd=temporary,
            env=environment,
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            raise ValueError(f"Cannot load the folder without this package:\n{result.stderr[-2000:]}")
        features = torch.load(outputs)
    # A backbone shifts windows where the other models do not, so each has its own reference
    encoder = GreenMimModel.from_pretrained(folder).float().eval()
    backbone = GreenMimBackbone(model.config).eval()
    backbone.load_state_dict(encoder.state_dict(), strict=False)  # its norms of feature maps are not compared

    def get_expected(pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = model(pixel_values)
        tokens = encoder(pixel_values, output_hidden_states=True).hidden_states[-1]
        feature_map = backbone(pixel_values, output_hidden_states=True).hidden_states[-1]
        own = outputs.feature_maps[-1] if isinstance(model, GreenMimBackbone) else next(iter(outputs.values()), None)
        return {name: {"own outputs": own, "AutoBackbone": feature_map}.get(name, tokens) for name in features}

    check_differences(compare_features(lambda _: features, get_expected, pixel_values))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--checkpoint_path", required=True, help="Folder of a GreenMIM model.")
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument(
        "--license",
        help="License of the weights, by its name on the Hub. Default: the license in the folder's model card.",
    )
    parser.add_argument(
        "--push_to_hub", action="store_true", help="Upload the folder after it is checked. Requires --hub_model_id."
    )
    parser.add_argument("--hub_model_id", help="Hub repository to upload to, as 'organization/name'.")
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    parser.add_argument(
        "--public_pictures",
        action="store_true",
        help="Show reconstructions.png and predictions.png, which contain images from your data set, in a public "
        "repository as well.",
    )
    parser.add_argument("--revision", help="Branch to upload to, created if it does not exist. Default: main.")
    args = parser.parse_args()
    if args.push_to_hub != (args.hub_model_id is not None):
        parser.error("--push_to_hub and --hub_model_id must be passed together")
    if not args.push_to_hub and (args.private or args.revision or args.public_pictures):
        parser.error("--private, --public_pictures and --revision require --push_to_hub")
    try:
        publish(
            args.checkpoint_path,
            args.output_dir,
            args.hub_model_id,
            args.private,
            args.revision,
            args.license,
            args.public_pictures,
        )
    except (HfHubHTTPError, httpx.HTTPError) as error:
        parser.exit(
            1,
            f"error: Cannot upload {args.output_dir} because of {type(error).__name__}: {error}\n"
            f"The folder is complete. Upload it with `hf upload {args.hub_model_id} {args.output_dir}`.\n",
        )
    except (OSError, ValueError, HFValidationError, StrictDataclassError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"Wrote {args.output_dir}. Every Auto class loads it without this package.")
    if args.hub_model_id:
        print(f"Uploaded to https://huggingface.co/{args.hub_model_id}")


if __name__ == "__main__":
    main()
