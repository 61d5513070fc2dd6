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
"""Saves a model with random weights: what the features of a network are worth before it has learned anything.

python save_untrained.py greenmim_cifar10.json output_dir
"""

import argparse

from transformers import AutoConfig, set_seed

from modeling_greenmim import GreenMimModel
from modeling_greenmim.checkpoint_folders import create_folder, make_image_processor


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config_name", help="Configuration: a file, a folder or a name.")
    parser.add_argument("output_dir", help="Folder for the model and its image processor.")
    args = parser.parse_args()
    config = AutoConfig.from_pretrained(args.config_name)
    set_seed(0)
    with create_folder(args.output_dir) as folder:
        GreenMimModel(config).save_pretrained(folder)
        make_image_processor(config).save_pretrained(folder)


if __name__ == "__main__":
    main()
