#!/usr/bin/env bash
# The size of an image by layer, without those of its base, the largest of its directories, and the sum.
#
#     scripts/docker-size.sh [IMAGE]       (IMAGE=hvd-train, BASE_IMAGE=debian:bookworm-slim)
set -euo pipefail
image=${1:-${IMAGE:-hvd-train}} base=${BASE_IMAGE:-debian:bookworm-slim}
total=$(docker image inspect -f '{{.Size}}' "$image")
below=$(docker image inspect -f '{{.Size}}' "$base")
docker history --no-trunc --human=false --format '{{.Size}}\t{{.CreatedBy}}' "$image" | head -n -"$(docker history -q "$base" | wc -l)" |
    awk -F'\t' '$1 >= 100000 {
        what = $2
        sub(/^.*\/bin\/bash -euo pipefail -c (#\(nop\) *)?/, "", what); sub(/^\/bin\/sh -c #\(nop\) */, "", what)
        printf "%7.1f MB  %.90s\n", $1 / 1e6, what
    }'
awk -v total="$total" -v below="$below" 'BEGIN { printf "%7.1f MB  over the base image (%.1f MB with it)\n", (total - below) / 1e6, total / 1e6 }'
echo
docker run --rm --network none --entrypoint bash "$image" -c \
    'du -B 1 -s --apparent-size /opt/hvd_train/lib/python3*/site-packages/* /opt/hvd_train/bin /usr/lib/python3* 2>/dev/null | sort -rn | head -n 12' |
    awk '{ printf "%7.1f MB  %s\n", $1 / 1e6, $2 }'
