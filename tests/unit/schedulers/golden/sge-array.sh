#!/bin/bash
#$ -N j2-sweeps
#$ -S /bin/bash
#$ -cwd
#$ -pe mpi 4
#$ -l h_rt=02:00:00
#$ -j y
#$ -o /data/runs/songs-$JOB_ID_$TASK_ID.log
#$ -t 1-10
#$ -tc 2
#$ -hold_jid 122
#$ -notify
#$ -r y

export PATH="$PATH:$SGE_O_PATH"
cd /data || exit 3
exec hvd-train supervise -- train
