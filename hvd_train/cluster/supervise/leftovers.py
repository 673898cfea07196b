"""What a start may leave on a host, and the lines for sh that remove it.

A host that was cut off may still have ranks when it answers again. An mpirun or a daemon of it that is killed leaves its
files and the ranks' shared memory, so each run has places of its own for them, on every host the same.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

# The processes of a run have its mark in their environment, on all hosts.
MARK = "HVD_TRAIN_MARK"
TEMPORARY, SHARED_MEMORY = "/tmp", "/dev/shm"


def places(mark: str) -> tuple[str, str]:
    """The folders of a run for temporary files and for shared memory, on every host."""
    return f"{TEMPORARY}/hvd_train-{mark[:16]}", f"{SHARED_MEMORY}/hvd_train-{mark[:16]}"


def variables(mark: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What marks the processes of a run, and tells Open MPI its places, unless the user has told it others."""
    temporary, shared_memory = places(mark)
    wanted = {"OMPI_MCA_orte_tmpdir_base": temporary}
    if os.access(SHARED_MEMORY, os.W_OK):  # the other hosts are taken to be like this one
        wanted["OMPI_MCA_btl_vader_backing_directory"] = shared_memory
    return {MARK: mark, **{name: value for name, value in wanted.items() if name not in environment}}


def sweep(mark: str, *, to_begin: bool) -> str:
    """A line that ends the processes that earlier starts left, and removes their files. It always succeeds.

    With `to_begin` the places are there afterwards, empty.
    """
    wanted = shlex.quote(f"{MARK}={mark}")
    end = (
        f'grep -lzxs {wanted} /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do kill -9 "$pid" 2>/dev/null; done'
    )
    own = shlex.join(places(mark))
    make = f"; mkdir -m 700 {own} 2>/dev/null" if to_begin else ""
    return f"{end}; rm -rf {own} 2>/dev/null{make}; true"
