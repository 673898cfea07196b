#!/usr/bin/env bash
# Make the environments of the peers, each with its own packages, and build stock Horovod for TensorFlow 2.15.
#
#     benchmarks/peers/make_venvs.sh [FOLDER]        (default: .peers in the checkout; about 10 minutes, 5 GB)
#
# PYTHON names a Python 3.11: TensorFlow 2.15, the last with Keras 2, has no wheels for later ones. The versions stand in
# the two requirements files beside this one. What is there already is left as it is. COMPILE_UNDER is put before the
# one command that keeps all cores busy for minutes, such as `flock FILE`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../.peers}
python=${PYTHON:-python3.11}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

venv() { # name requirements
    if [ ! -f "$folder/$1/.complete" ]; then
        "$python" -m venv --clear "$folder/$1"
        "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/$2"
    fi
}

venv pytorch requirements-pytorch.txt
touch "$folder/pytorch/.complete"

venv tensorflow215 requirements-tensorflow215.txt
if [ ! -f "$folder/tensorflow215/.complete" ]; then
    # As Horovod's own installation guide has it, with the MPI of this environment.
    jobs=$(nproc)
    export PATH="$folder/tensorflow215/bin:$PATH" MAKEFLAGS="-j$jobs"
    export HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
    # shellcheck disable=SC2086  # a command and its arguments
    ${COMPILE_UNDER:-} python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-build-isolation \
        --no-deps --no-binary horovod horovod==0.28.1
    python -c "import horovod.tensorflow.keras as hvd; assert hvd.mpi_built()" 2>/dev/null
    touch "$folder/tensorflow215/.complete"
fi
echo "The peers' environments are in $folder"
