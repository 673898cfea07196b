"""Which rank is this process? Its placement among the ranks, read from what its launcher put into the environment.

Pure functions of a mapping: nothing is started or imported, so this holds before `hvd.init()` and in `--help`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

# (launcher, rank, size, local_rank, local_size), in the order in which they are believed. A Slurm job script has
# SLURM_* of its own, so mpirun's and horovodrun's variables come first, and Slurm counts only inside `srun`, which
# sets SLURM_STEP_NUM_TASKS for the step's tasks.
LAUNCHERS = (
    ("horovodrun --gloo", "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"),
    (
        "mpirun",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("mpiexec", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)


@dataclass(frozen=True)
class Placement:
    """One process among the ranks of a run."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    launcher: str

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        return f"rank {self.rank} on host {self.host}"


def detect_placement(environment: Mapping[str, str], *, host: str | None = None) -> Placement:
    """The placement that the launcher gave this process; rank 0 of 1 when nothing launched it."""
    host = host or socket.gethostname()
    for launcher, *keys in LAUNCHERS:
        rank, size, local_rank, local_size = (environment.get(key, "") for key in keys)
        if launcher == "srun":
            local_size = _first_count(local_size)
        if launcher == "mpiexec":
            rank, size = environment.get("PMI_RANK", ""), environment.get("PMI_SIZE", "")
        if rank.isdecimal() and size.isdecimal() and int(rank) < int(size):
            known_local = local_rank.isdecimal() and local_size.isdecimal()
            local = (int(local_rank), int(local_size)) if known_local else (0, 1)
            return Placement(int(rank), int(size), *local, host=host, launcher=launcher)
    return Placement(0, 1, 0, 1, host=host, launcher="")


def _first_count(tasks_per_node: str) -> str:
    """Slurm writes "2(x3),1"; all hosts but the last have the first count.

    >>> _first_count("2(x3),1")
    '2'
    """
    return tasks_per_node.split(",")[0].split("(")[0]
