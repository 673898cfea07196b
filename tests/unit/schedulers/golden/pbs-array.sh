#!/bin/bash
#PBS -N j2-sweeps
#PBS -l select=1:ncpus=4:mpiprocs=4:ompthreads=1
#PBS -l place=scatter
#PBS -l walltime=02:00:00
#PBS -j oe
#PBS -o /data/runs/
#PBS -J 0-9%2
#PBS -W depend=afterany:122[]
#PBS -r y

exec >>"/data/runs/songs-${PBS_JOBID%%[.[]*}_$PBS_ARRAY_INDEX.log" 2>&1
export PATH="$PBS_O_PATH:$PATH"
cd /data || exit 3
exec hvd-train supervise -- train
