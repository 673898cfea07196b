#!/usr/bin/env bash
# Build the image twice from nothing and compare: every path with its kind, mode, owner and content, bytecode included.
# Times are left out: Docker's classic builder cannot set them.
#
#     scripts/docker-reproduce.sh          (or `make docker-reproduce`; about 20 minutes on 2 cores)
#
# Read from the environment: BASE_IMAGE, BUILD_ARGS as for scripts/docker-cluster.sh; FIRST=IMAGE compares one that is there
# with one new build. Leaves the manifests in build/, and no image.
set -euo pipefail
cd "$(dirname "$0")/.."
base=${BASE_IMAGE:-debian:bookworm-slim} first=${FIRST:-}
if ! timeout 20 docker info >/dev/null 2>&1; then
    echo "error: no Docker engine answers (docker info)" >&2
    exit 3
fi
read -ra arguments <<<"${BUILD_ARGS:-}"
made=()
trap 'if [ ${#made[@]} -gt 0 ]; then docker rmi -f "${made[@]}" >/dev/null 2>&1 || true; fi' EXIT
mkdir -p build

manifest() { # of image $1; what the engine itself puts into a container is left out
    # shellcheck disable=SC2016
    docker run --rm --user 0 --network none --entrypoint bash "$1" -c '
        export LC_ALL=C
        find / \( -path /proc -o -path /sys -o -path /dev -o -path /etc/hostname -o -path /etc/hosts \
            -o -path /etc/resolv.conf -o -path /.dockerenv \) -prune -o -print0 | sort -z >/dev/shm/paths
        echo "# kind, mode, owner, name"
        xargs -0 stat -c "%A %u:%g %N" </dev/shm/paths
        echo "# sha256"
        xargs -0 bash -c '"'"'for path; do if [ -f "$path" ] && [ ! -L "$path" ]; then printf "%s\0" "$path"; fi; done'"'"' _ </dev/shm/paths |
            xargs -0 sha256sum'
}

build() { # $1 tag, $2 log
    docker build "${arguments[@]}" --no-cache --build-arg "BASE_IMAGE=$base" -f docker/Dockerfile -t "$1" . >"$2" 2>&1 || {
        tail -n 40 "$2" >&2
        echo "error: the image was not built (above; the whole log: $2)" >&2
        exit 1
    }
    made+=("$1")
}

if [ -z "$first" ]; then
    first=hvd-train-reproduce:first
    build "$first" build/reproduce-first.log
fi
build hvd-train-reproduce:second build/reproduce-second.log
manifest "$first" >build/manifest-first.txt
manifest hvd-train-reproduce:second >build/manifest-second.txt
if diff build/manifest-first.txt build/manifest-second.txt >build/manifest.diff; then
    echo "Two builds hold the same $(sed -n '/^# sha256/,$p' build/manifest-first.txt | grep -vc '^#') files: sha256 $(sha256sum <build/manifest-first.txt | cut -d' ' -f1)"
    rm build/manifest.diff
else
    grep '^[<>]' build/manifest.diff | head -n 40
    echo "error: $(grep -c '^[<>]' build/manifest.diff) lines differ (build/manifest.diff)" >&2
    exit 1
fi
