#!/bin/bash
#BSUB -J songs-of-2026-two-hosts
#BSUB -n 8
#BSUB -R "span[ptile=4] affinity[core(3)] rusage[mem=4000MB/task]"
#BSUB -W 25:02
#BSUB -wa USR1
#BSUB -wt 0:05
#BSUB -x
#BSUB -q long
#BSUB -P physics
#BSUB -o "/data/my runs/songs-%J.log"
#BSUB -w "ended(122)"
#BSUB -N
#BSUB -u alice@example.org
#BSUB -Q "85"
#BSUB -r
#BSUB --reservation=friday
#BSUB --hint=nomultithread

cd /data || exit 3
exec hvd-train supervise -- train
