#!/bin/bash
#SBATCH --job-name=2-sweeps
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --time=02:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=/data/runs/songs-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --array=0-9%2
#SBATCH --dependency=afterany:122_4
#SBATCH --no-kill
#SBATCH --requeue

cd /data || exit 3
exec hvd-train supervise -- train
