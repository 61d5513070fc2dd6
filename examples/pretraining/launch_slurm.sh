#!/usr/bin/env bash
# Several nodes under SLURM: one launcher per node, one process per GPU.
#
#   sbatch launch_slurm.sh --train_dir /data/images --output_dir /scratch/my_run --num_train_epochs 100
#
# --output_dir must be on a file system that all nodes share. Two minutes before its time limit, the job gets a signal,
# saves a checkpoint, and requeues itself; it then resumes from there.
#SBATCH --job-name=greenmim
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

export MAIN_ADDRESS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MAIN_PORT=$((20000 + SLURM_JOB_ID % 20000))
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110  # otherwise, the launcher kills processes that are still saving after 30 seconds
SCRIPT=${SCRIPT:-run_pretraining_no_trainer.py}

# one process per GPU; SLURM_NODEID is set only in shells that srun starts
srun --kill-on-bad-exit=1 bash -c 'accelerate launch \
    --multi_gpu --mixed_precision bf16 --dynamo_backend no \
    --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" \
    --num_processes "$((SLURM_NNODES * SLURM_GPUS_ON_NODE))" \
    --main_process_ip "$MAIN_ADDRESS" --main_process_port "$MAIN_PORT" \
    --rdzv_backend c10d "$@"' bash "$SCRIPT" "$@" --num_workers 6 --resume_from_checkpoint latest &
steps=$!

stop() {
    kill -TERM "$steps"  # srun forwards it to all processes
    wait "$steps" || true
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap stop TERM
wait "$steps"
