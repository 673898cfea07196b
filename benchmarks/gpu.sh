#!/usr/bin/env bash
# Try and measure the path of GPUs on a machine with one GPU, in at most 8 minutes and without a network.
#
#     benchmarks/gpu.sh WHEELS OUT          install from the folder WHEELS, then run all steps; results go to OUT
#     benchmarks/gpu.sh - OUT               with the environment that is active already
#     benchmarks/gpu.sh --wheels WHEELS     on a machine with a network: fill that folder (3.4 GiB), the built Horovod included
#
# Read from the environment, all optional:
#     LIMIT_S=480        of everything; a step that does not fit into what is left is skipped, and told
#     DEVICE=gpu         cpu: the same steps on a CPU, to try the script
#     DRY_RUN=           anything: print the steps and run none
#     STEPS="install doctor kernels two-ranks same-loss rates peer"
#     BATCHES="256 2048 16384"  RECIPES="reference synthetic-songs table"  SECONDS_EACH=1
#     TORCH_PYTHON=python3      an interpreter with PyTorch, for DDP on one GPU; skipped where it has none
#
# Needs Python 3.10 to 3.13 of the same version as the wheels, and the driver. Exit code: 1 if a step failed.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 2
}

if [ "${1:-}" = --wheels ]; then
    folder=${2:?usage: benchmarks/gpu.sh --wheels WHEELS}
    mkdir -p "$folder"
    python=.venv-cuda/bin/python
    [ -x "$python" ] || fail "there is no .venv-cuda to take the wheels for. Make it first: make setup GPU=cuda"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$folder" \
        -r requirements/bootstrap.txt -r requirements/gpu.txt -r requirements/mpi.txt -r hvd_train/horovod_build/locks/build.txt
    cp "$("$python" -m hvd_train.horovod_build --wheel-only --gpu cuda)" "$folder"
    say "$folder: $(find "$folder" -name '*.whl' | wc -l) wheels, $(du -sm "$folder" | cut -f1) MB"
    exit 0
fi

wheels=${1:-} out=${2:-}
{ [ -n "$wheels" ] && [ -n "$out" ]; } || fail "usage: benchmarks/gpu.sh WHEELS OUT, or - for WHEELS to use the active environment"
[ "$wheels" = - ] || [ -d "$wheels" ] || fail "there is no folder $wheels of wheels: benchmarks/gpu.sh --wheels $wheels makes it where there is a network"
LIMIT_S=${LIMIT_S:-480} DEVICE=${DEVICE:-gpu} BATCHES=${BATCHES:-256 2048 16384} RECIPES=${RECIPES:-reference synthetic-songs table}
SECONDS_EACH=${SECONDS_EACH:-1} STEPS=${STEPS:-install doctor kernels two-ranks same-loss rates peer} TORCH_PYTHON=${TORCH_PYTHON:-python3}
case $DEVICE in gpu) ;; cpu) export CUDA_VISIBLE_DEVICES=-1 ;; *) fail "DEVICE=$DEVICE: it is gpu or cpu" ;; esac
mkdir -p "$out"
out=$(cd "$out" && pwd)
set -a
# shellcheck disable=SC1091
. scripts/mpi.env
set +a
failed=0 SUMMARY_S=50
printf 'step\tseconds\tcode\n' >"$out/steps.tsv"

step() { # $1 name, $2 the most seconds, the rest: a command, whose output goes to OUT/NAME.log
    local name=$1 most=$2 code=0 began=$SECONDS left=$((LIMIT_S - SUMMARY_S - SECONDS))
    shift 2
    if [ -n "${DRY_RUN:-}" ]; then
        printf '%s (at most %s s): %s\n' "$name" "$most" "$*"
        return
    fi
    if [ "$left" -lt 10 ]; then
        say "$name: skipped, $((left > 0 ? left : 0)) s of $LIMIT_S s are left for steps"
        printf '%s\t0\tskipped\n' "$name" >>"$out/steps.tsv"
        return
    fi
    timeout --kill-after=5 "$((most < left ? most : left))" "$@" >"$out/$name.log" 2>&1 || code=$?
    printf '%s\t%s\t%s\n' "$name" "$((SECONDS - began))" "$code" >>"$out/steps.tsv"
    if [ "$code" = 0 ]; then
        say "$name: $((SECONDS - began)) s"
    else
        failed=1
        say "$name: FAILED with $code after $((SECONDS - began)) s; its last lines:"
        tail -n 5 "$out/$name.log" >&2
    fi
}

wanted() { [[ " $STEPS " == *" $1 "* ]]; }

# shellcheck disable=SC2329
install_wheels() { # no index is asked; what is locked is checked by its hash
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet --no-index --find-links "$wheels" --require-hashes -r requirements/bootstrap.txt
    export VIRTUAL_ENV=$out/venv UV_CACHE_DIR=$out/uv-cache # on one disk: then files are linked, not copied
    local install=("$out/venv/bin/uv" pip install --quiet --offline --no-index --no-deps --find-links "$wheels")
    "${install[@]}" --require-hashes -r requirements/gpu.txt -r requirements/mpi.txt -r hvd_train/horovod_build/locks/build.txt
    "${install[@]}" "$wheels"/horovod-*.whl
    "${install[@]}" --no-build-isolation -e .
}
export -f install_wheels
export out wheels

if [ "$wheels" != - ]; then
    if wanted install; then step install 240 bash -euo pipefail -c install_wheels; fi
    if [ "$failed" != 0 ]; then exit 1; fi
    export PATH="$out/venv/bin:$PATH"
fi
mpirun="mpirun --bind-to none -x CUDA_VISIBLE_DEVICES -np"
if [ "$DEVICE" = gpu ]; then mpirun="mpirun --bind-to none -np"; fi
if wanted doctor; then step doctor 60 hvd-train doctor; fi
# The CUDA kernels, each type and size, through NCCL's collectives of one rank.
# shellcheck disable=SC2086
if wanted kernels; then step kernels 60 $mpirun 1 python benchmarks/gpu_checks.py kernels --device "$DEVICE" --out "$out/kernels.json"; fi
# Two ranks on one GPU: NCCL refuses that, so gradients go by way of the host's memory.
# shellcheck disable=SC2086
if wanted two-ranks; then step two-ranks 90 $mpirun 2 hvd-train train --recipe debug --run-dir "$out/two-ranks"; fi
if wanted same-loss; then
    step on-device 60 hvd-train train --recipe debug --run-dir "$out/on-device"
    step on-cpu 60 env CUDA_VISIBLE_DEVICES=-1 hvd-train train --recipe debug --run-dir "$out/on-cpu"
fi
if wanted rates; then
    for recipe in $RECIPES; do
        for batch in $BATCHES; do
            step "rates-$recipe-$batch" 45 hvd-train bench --np 1 --measure throughput --recipe "$recipe" --local-batch-size "$batch" \
                --seconds "$SECONDS_EACH" --repeats 3 --out "$out/rates-$recipe-$batch"
        done
    done
    # shellcheck disable=SC2086
    step rates-with-horovod 60 hvd-train bench --np 1 --measure throughput --recipe reference --local-batch-size ${BATCHES%% *} \
        --engine horovod --seconds "$SECONDS_EACH" --repeats 3 --out "$out/rates-with-horovod"
fi
if wanted peer; then
    if "$TORCH_PYTHON" -c 'import torch' 2>/dev/null; then
        # shellcheck disable=SC2086
        step peer 60 "$TORCH_PYTHON" -m torch.distributed.run --standalone --nproc-per-node 1 benchmarks/peers/pytorch_ddp.py
    else
        say "peer: skipped, $TORCH_PYTHON has no PyTorch (TORCH_PYTHON names another)"
    fi
fi
if [ -n "${DRY_RUN:-}" ]; then exit 0; fi
timeout --kill-after=5 "$SUMMARY_S" python benchmarks/gpu_checks.py summary --device "$DEVICE" --out "$out" || failed=1
say "$SECONDS s of $LIMIT_S s; results in $out"
exit "$failed"
