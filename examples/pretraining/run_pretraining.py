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
# dependencies = ["modeling-greenmim[training]"]
# ///
"""Pre-trains a GreenMIM model on images without labels, with transformers' Trainer.

    python run_pretraining.py --train_dir path/to/images --output_dir my_run --num_train_epochs 100 --do_eval \\
        --eval_strategy steps --eval_steps 500 --dataloader_num_workers 4 --learning_rate 6e-4 --weight_decay 0.05

On several GPUs, use `torchrun --nproc_per_node 4 run_pretraining.py ...`. Unlike run_pretraining_no_trainer.py, it does
not scale `--learning_rate`, and a resumed stream (`--resume_from_checkpoint latest`) rereads all images it has seen.
"""

from collections.abc import Sequence

from transformers import TrainingArguments

from modeling_greenmim.training.command_line import run_command
from modeling_greenmim.training.pretraining_arguments import DataArguments, ModelArguments


def run(data_args: DataArguments, model_args: ModelArguments, args: TrainingArguments, command: str):
    # imported here, so that --help and invalid arguments do not wait for it
    from modeling_greenmim.training.pretraining_setup import make_pretrained_model, open_data
    from modeling_greenmim.training.pretraining_trainer import PretrainingTrainer, start_pretraining
    from modeling_greenmim.training.reports import check_upload
    from modeling_greenmim.training.trainer import train

    checkpoint, hub_model_id, lock = start_pretraining(args)  # the lock is held until the end

    # 1. Model and images
    pretrained = make_pretrained_model(model_args, args.seed)
    check_upload(pretrained.model.config, hub_model_id)
    data = open_data(data_args, pretrained.model.config, args.seed)

    # 2. Training
    trainer = PretrainingTrainer(pretrained, data, pretrained.make_collator(model_args), args, command)
    train(trainer, checkpoint)

    # 3. Model folder, metrics and pictures
    trainer.write_report(hub_model_id)


def main(arguments: Sequence[str] | None = None):
    run_command(run, (DataArguments, ModelArguments, TrainingArguments), __doc__, arguments)


if __name__ == "__main__":
    main()
