"""What the installed Horovod can do, read from its file without loading it."""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path

IDLE_CYCLE_TIME = "HOROVOD_IDLE_CYCLE_TIME"


def sleeps_until_enqueued(package: Path | None = None) -> bool:
    """Whether this Horovod was built with the change that reads HOROVOD_IDLE_CYCLE_TIME (scripts/horovod_changes.py).

    `package` is Horovod's folder; the installed one's if not given. False where there is none.
    """
    if package is None:
        spec = importlib.util.find_spec("horovod")
        if spec is None or spec.origin is None:
            return False
        package = Path(spec.origin).parent
    return any(_holds(library, IDLE_CYCLE_TIME) for library in package.glob("tensorflow/mpi_lib.*.so"))


def _holds(file: Path, text: str) -> bool:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(text.encode()) >= 0
    except (OSError, ValueError):  # not to be read, or empty
        return False
