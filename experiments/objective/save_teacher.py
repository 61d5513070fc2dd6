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
"""Save a teacher's encoder at the image size of a configuration: a baseline that never saw the images.

python save_teacher.py runs/teacher/model config.json output_dir
"""

import sys

from transformers import AutoConfig

from modeling_greenmim import GreenMimModel
from modeling_greenmim.checkpoint_folders import create_folder, make_image_processor


def save_teacher(teacher: str, config_name: str, output_dir: str):
    model = GreenMimModel.from_pretrained(teacher, image_size=AutoConfig.from_pretrained(config_name).image_size)
    with create_folder(output_dir) as folder:
        model.save_pretrained(folder)
        make_image_processor(model.config).save_pretrained(folder)


if __name__ == "__main__":
    save_teacher(*sys.argv[1:])
