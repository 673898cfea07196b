#!/bin/bash
#SBATCH --job-name=songs
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --time=02:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --output=/data/runs/songs-%j.log
#SBATCH --open-mode=append
#SBATCH --no-kill
#SBATCH --requeue

cd /data || exit 3
exec hvd-train supervise -- train
