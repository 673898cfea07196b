#!/usr/bin/env bash
# Train on the hosts of a hostfile. The environment and the data lie at the same path on each host.
#
#     examples/hostfile_job.sh hostfiles/lab songs.csv
#     NP=8 examples/hostfile_job.sh hostfiles/lab songs.csv --recipe few-songs
set -euo pipefail
hostfile=${1:?"usage: $0 HOSTFILE DATA [OPTIONS]"} data=${2:?"usage: $0 HOSTFILE DATA [OPTIONS]"}
shift 2

hvd-train doctor                     # what is missing or does not fit
hvd-train hostfile check "$hostfile" # the hosts, and which launcher reads the file as it is
slots=$(awk -F 'slots=' '!/^ *#/ { n += $2 } END { print n }' "$hostfile")
horovodrun -np "${NP:-$slots}" --hostfile "$hostfile" hvd-train train --data "$data" "$@"
