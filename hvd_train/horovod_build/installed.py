"""What the installed Horovod can do, read from its file without loading it."""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path

IDLE_CYCLE_TIME = "HOROVOD_IDLE_CYCLE_TIME"
SHARED_MEMORY = "HOROVOD_SHARED_MEMORY"
TWO_LEVELS = "HOROVOD_TWO_LEVELS"
WIRE_PRECISION = "HOROVOD_WIRE_PRECISION"
# Variables that only a Horovod with the changes of patches/ reads.
ADDED_VARIABLES = frozenset({IDLE_CYCLE_TIME, SHARED_MEMORY, TWO_LEVELS, WIRE_PRECISION})


def added_variables(package: Path | None = None) -> frozenset[str]:
    """Which of ADDED_VARIABLES this Horovod reads.

    `package` is Horovod's folder; the installed one's if not given. None where there is no Horovod.
    """
    if package is None:
        spec = importlib.util.find_spec("horovod")
        if spec is None or spec.origin is None:
            return frozenset()
        package = Path(spec.origin).parent
    libraries = list(package.glob("tensorflow/mpi_lib.*.so"))
    return frozenset(name for name in ADDED_VARIABLES if any(_holds(library, name) for library in libraries))


def _holds(file: Path, text: str) -> bool:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(text.encode()) >= 0
    except (OSError, ValueError):  # not to be read, or empty
        return False
