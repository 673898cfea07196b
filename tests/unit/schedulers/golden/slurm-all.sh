#!/bin/bash
#SBATCH --job-name=songs-of-2026-two-hosts
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=3
#SBATCH --mem-per-cpu=1334M
#SBATCH --time=25:01:01
#SBATCH --signal=B:USR1@300
#SBATCH --partition=long
#SBATCH --account=physics
#SBATCH --output="/data/my runs/songs-%j.log"
#SBATCH --open-mode=append
#SBATCH --mail-type=END,FAIL
#SBATCH --mail-user=alice@example.org
#SBATCH --dependency=afterany:122
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --reservation=friday
#SBATCH --hint=nomultithread

cd /data || exit 3
exec hvd-train supervise -- train
