#!/usr/bin/env bash
# Resolve requirements/*.in to locks with hashes, one set for Python 3.10 to 3.13.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
compile() { uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --custom-compile-command "make lock" "$@"; }
compile run.in -o run.txt
# What a rank with a GPU needs: the same, with another TensorFlow.
grep -v '^tensorflow-cpu' run.in | cat - gpu.in | compile - -c run.txt -o gpu.txt
compile dev.in -c run.txt -o dev.txt
# Carried by the package, because it compiles Horovod in other environments than this one.
compile build.in -c run.txt -o ../hvd_train/horovod_build/locks/build.txt
compile dist.in -o dist.txt
compile docs.in -c run.txt -c dev.txt -o docs.txt
for name in spark mlflow wandb onnx search; do compile "$name.in" -c run.txt -c dev.txt -o "$name.txt"; done
compile serve.in -c run.txt -c dev.txt -c onnx.txt -o serve.txt
compile peers.in -c run.txt -c dev.txt -o peers.txt
compile mlflow-server.in -o mlflow-server.txt
for name in mpi bootstrap; do compile "$name.in" -o "$name.txt"; done
