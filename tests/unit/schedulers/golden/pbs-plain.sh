#!/bin/bash
#PBS -N songs
#PBS -l select=2:ncpus=4:mpiprocs=4:ompthreads=1
#PBS -l place=scatter
#PBS -l walltime=02:00:00
#PBS -j oe
#PBS -o /data/runs/
#PBS -r y

exec >>"/data/runs/songs-${PBS_JOBID%%[.[]*}.log" 2>&1
export PATH="$PBS_O_PATH:$PATH"
cd /data || exit 3
exec hvd-train supervise -- train
