#!/bin/bash
#PBS -N songs-of-2026-t
#PBS -l select=2:ncpus=12:mpiprocs=4:ompthreads=3:mem=16000mb
#PBS -l place=scatter:excl
#PBS -l walltime=25:01:01
#PBS -v HVD_TRAIN_CPUS_PER_RANK=3
#PBS -q long
#PBS -A physics
#PBS -j oe
#PBS -o "/data/my runs/"
#PBS -W depend=afterany:122
#PBS -m ae
#PBS -M alice@example.org
#PBS -r y
#PBS --reservation=friday
#PBS --hint=nomultithread

exec >>"/data/my runs/songs-${PBS_JOBID%%[.[]*}.log" 2>&1
export PATH="$PBS_O_PATH:$PATH"
cd /data || exit 3
exec hvd-train supervise -- train
