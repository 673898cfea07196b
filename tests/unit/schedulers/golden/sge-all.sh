#!/bin/bash
#$ -N songs-of-2026-two-hosts
#$ -S /bin/bash
#$ -cwd
#$ -pe mpi 24
#$ -l h_rt=25:01:01
#$ -l h_vmem=1334M
#$ -l exclusive=true
#$ -v HVD_TRAIN_CPUS_PER_RANK=3
#$ -q long
#$ -P physics
#$ -j y
#$ -o "/data/my runs/songs-$JOB_ID.log"
#$ -hold_jid 122
#$ -m ea
#$ -M alice@example.org
#$ -notify
#$ -r y
#$ --reservation=friday
#$ --hint=nomultithread

export PATH="$PATH:$SGE_O_PATH"
cd /data || exit 3
exec hvd-train supervise -- train
