"""What this environment has to build Horovod with: TensorFlow, a compiler, pip. What is missing is named with the way out."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from hvd_train.horovod_build import mpi
from hvd_train.horovod_build.messages import BuildError

TENSORFLOW_PACKAGES = ("tensorflow-cpu", "tensorflow")
# Versions that benchmarks/versions.py builds and trains with.
OLDEST_TENSORFLOW, NEWEST_TENSORFLOW = (2, 18), (2, 21)
RANGE = "tensorflow-cpu>=2.18,<2.22"


def tensorflow() -> tuple[str, str] | None:
    """Name and version of the package that TensorFlow comes from here, or None."""
    for package in TENSORFLOW_PACKAGES:
        if mpi.is_installed(package):
            return package, mpi.installed(package)
    return None


def require_tensorflow() -> tuple[str, str]:
    """The same. Raises BuildError where there is none, or one of a version that was not tried."""
    found = tensorflow()
    if found is None:
        raise BuildError(
            f"There is no TensorFlow in {sys.prefix}, and Horovod is compiled against it. "
            "Install it: pip install 'hvd_train[cpu]', or 'hvd_train[cuda]' for GPUs."
        )
    package, version = found
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or not OLDEST_TENSORFLOW <= (int(match[1]), int(match[2])) <= NEWEST_TENSORFLOW:
        raise BuildError(
            f"{package} {version} is in {sys.prefix}. Horovod is built for TensorFlow "
            f"{OLDEST_TENSORFLOW[0]}.{OLDEST_TENSORFLOW[1]} to {NEWEST_TENSORFLOW[0]}.{NEWEST_TENSORFLOW[1]} here. "
            f"Install one of them: pip install '{RANGE}'"
        )
    return found


def compiler() -> str:
    """The name of the C++ compiler, whether it is there or not."""
    return os.environ.get("CXX", "g++")


def require_compiler() -> None:
    """Raises BuildError where the C++ compiler or make is missing."""
    if not shutil.which(compiler()):
        raise BuildError(
            f"No C++ compiler: {compiler()!r} was not found. On Debian or Ubuntu: apt-get install -y g++ make. On a cluster, load "
            "the module of a compiler. Elsewhere, set CXX to the path of one."
        )
    if not shutil.which("make"):
        raise BuildError("make was not found, and it compiles Horovod. On Debian or Ubuntu: apt-get install -y make")


def pip() -> list[str]:
    """The command that installs into this environment: its pip, or the one that Python carries. Raises BuildError."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    # uv makes environments without pip.
    spec = importlib.util.find_spec("ensurepip")
    bundled = sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl")) if spec and spec.origin else []
    if bundled:
        return [sys.executable, str(bundled[-1] / "pip")]
    raise BuildError(f"There is no pip in {sys.prefix}. Install it: python -m ensurepip, or: uv pip install pip")


def version_of(package: str) -> str:
    """The installed version, or an empty string."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
