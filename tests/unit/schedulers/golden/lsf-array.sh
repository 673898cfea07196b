#!/bin/bash
#BSUB -J "2-sweeps[1-10]%2"
#BSUB -n 4
#BSUB -R "span[ptile=4]"
#BSUB -W 2:00
#BSUB -wa USR1
#BSUB -wt 0:02
#BSUB -o /data/runs/songs-%J_%I.log
#BSUB -w "ended(122[4])"
#BSUB -Q "85"
#BSUB -r

cd /data || exit 3
exec hvd-train supervise -- train
