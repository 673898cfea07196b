#!/bin/bash
#BSUB -J songs
#BSUB -n 8
#BSUB -R "span[ptile=4]"
#BSUB -W 2:00
#BSUB -wa USR1
#BSUB -wt 0:02
#BSUB -o /data/runs/songs-%J.log
#BSUB -Q "85"
#BSUB -r

cd /data || exit 3
exec hvd-train supervise -- train
