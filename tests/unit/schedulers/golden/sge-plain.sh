#!/bin/bash
#$ -N songs
#$ -S /bin/bash
#$ -cwd
#$ -pe mpi 8
#$ -l h_rt=02:00:00
#$ -j y
#$ -o /data/runs/songs-$JOB_ID.log
#$ -notify
#$ -r y

export PATH="$PATH:$SGE_O_PATH"
cd /data || exit 3
exec hvd-train supervise -- train
