#!/bin/bash
#SBATCH --job-name=mae
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Before the time is up, and on preemption: two minutes for a checkpoint.
#SBATCH --signal=B:USR1@120
#
# Usage: sbatch docs/slurm.sh --data /data/images --recipe base-800 --device tch:cuda
# Untested: there was no cluster to try it on.

run="runs/slurm-$SLURM_JOB_ID"
export RAYON_NUM_THREADS="$SLURM_CPUS_PER_TASK"

# A job that was queued again goes on with its run.
if [ -e "$run/recipe.toml" ]; then
    what=(--resume "$run")
else
    what=(--out "$run" "$@")
fi

mpirun --map-by "ppr:$SLURM_NTASKS_PER_NODE:node" --bind-to none -x RAYON_NUM_THREADS \
    target/release/distributed "${what[@]}" &
job=$!
trap 'kill -USR1 "$job"; requeue=1' USR1 TERM
wait "$job"
status=$?
# The first wait ends with the signal, the second with the job.
if [ "${requeue:-}" ]; then
    wait "$job"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
