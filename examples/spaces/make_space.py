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
"""Writes the folder of a Space, with the page, its images, the installed package, and a model.

    python make_space.py --output_dir my_space --model_name_or_path my_run/model
    cd my_space && pip install -r requirements.txt && python app.py

`hf upload me/my-space my_space --repo-type space` publishes it.
"""

import shutil
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import modeling_greenmim
from modeling_greenmim import GreenMimForMaskedImageModeling, GreenMimImageProcessorPil
from modeling_greenmim.checkpoint_folders import create_folder


FOLDER = Path(__file__).resolve().parent
PACKAGE = Path(modeling_greenmim.__file__).parent
FILES = ("app.py", "requirements.txt", "README.md")


def make_space(output_dir: str | Path, model_name_or_path: str | Path):
    """
    Writes the folder of a Space for a pre-trained GreenMIM model.

    Raises:
        `ValueError`: if the folder is not empty. `OSError`: if there is no such model.
    """
    model = GreenMimForMaskedImageModeling.from_pretrained(model_name_or_path)
    image_processor = GreenMimImageProcessorPil.from_pretrained(model_name_or_path)
    with create_folder(output_dir) as folder:
        for name in FILES:
            shutil.copy(FOLDER / name, folder / name)
        shutil.copytree(FOLDER / "images", folder / "images")
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", ".*", "training"))
        model.save_pretrained(folder / "model")
        image_processor.save_pretrained(folder / "model")
        if (card := Path(model_name_or_path) / "README.md").is_file():
            shutil.copy(card, folder / "model" / "README.md")


def main():
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument(
        "--model_name_or_path", required=True, help="Pre-trained GreenMIM model, in a folder or on the Hub."
    )
    args = parser.parse_args()
    try:
        make_space(args.output_dir, args.model_name_or_path)
    except (OSError, ValueError) as error:
        parser.exit(1, f"make_space.py: {error}\n")
    print(f"Wrote {args.output_dir}. Try it: cd {args.output_dir} && pip install -r requirements.txt && python app.py")


if __name__ == "__main__":
    main()
