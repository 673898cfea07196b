"""Build or take Horovod's wheel, install it into this environment, and prove it: two ranks add."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hvd_train.horovod_build import build, environment, mpi, mpirun_settings, status
from hvd_train.horovod_build.messages import BuildError, say

# What Horovod imports. Its other requirements are for frameworks that are not used here.
REQUIREMENTS = ("cloudpickle", "psutil", "pyyaml", "packaging")
INSTALL_TIMEOUT_S = 600.0
PROOF_TIMEOUT_S = 300.0
# On CPUs, of which there are two: ranks that share a GPU cannot add by NCCL.
PROOF = """
import sys
import horovod.tensorflow as hvd
import tensorflow as tf
hvd.init()
assert hvd.mpi_built() and hvd.gloo_built(), "Horovod was built without MPI or without Gloo"
assert sys.argv[1] == "none" or hvd.nccl_built(), "Horovod was built without NCCL"
assert hvd.size() == 2, f"mpirun started 2 ranks, and Horovod sees {hvd.size()}"
total = float(hvd.allreduce(tf.constant(1.0 + hvd.rank()), op=hvd.Sum, name="proof"))
assert total == 3.0, f"1 + 2 = {total}"
"""


def install_horovod(
    mpi_choice: str = "auto", *, gpu: str = "none", jobs: int | None = None, only_compiles: bool = False
) -> Path:
    """Returns the path of the wheel. Raises BuildError, which names what is missing and the way out."""
    wheel = build.wheel(mpi_choice, gpu=gpu, jobs=jobs, only_compiles=only_compiles)
    if mpi.is_installed(mpi.PACKAGE):
        mpirun_settings.configure(Path(sys.prefix))
    if status.installed_key() == wheel.parent.name:
        say("Horovod is installed from this wheel already.")
    else:
        earlier = environment.version_of("horovod")
        say(f"Installing Horovod{f' in place of {earlier}, which is another build' if earlier else ''}")
        _pip(["--no-deps", "--no-index", "--force-reinstall", str(wheel)])
        importlib.invalidate_caches()
    if missing := [name for name in REQUIREMENTS if not environment.version_of(name)]:
        _pip(missing)
    prove(wheel, gpu)
    return wheel


def _pip(arguments: Sequence[str]) -> None:
    command = [*environment.pip(), "install", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BuildError(f"pip did not end within {INSTALL_TIMEOUT_S:.0f} s: {' '.join(arguments)}") from None
    if done.returncode:
        raise BuildError(f"pip could not install {' '.join(arguments)}:\n{done.stderr.strip()}")


def prove(wheel: Path, gpu: str = "none") -> None:
    """Two ranks under mpirun add two numbers. Raises BuildError with the last that they said."""
    from hvd_train.processes import jobs

    started = time.monotonic()
    try:
        command = jobs.mpirun(2, [sys.executable, "-c", PROOF, gpu])
        jobs.run([command], limit_s=PROOF_TIMEOUT_S, env={"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""})
    except jobs.TrialFailed as error:
        raise BuildError(
            f"Horovod was installed, but two ranks do not add: {error}. `hvd-train doctor` looks at the MPI here. To build "
            f"Horovod again: rm -r '{wheel.parent}', then run the same command."
        ) from None
    say(f"Two ranks under mpirun add: Horovod works here ({time.monotonic() - started:.0f} s)")
