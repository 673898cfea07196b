"""The CPUs that a job was given on one host, from the environment of its processes. None where that is not known.

What a CPU is, the site decides: a core, or a hyper-thread. Where the kernel confines a job to its CPUs, the affinity of
its processes says the same, and is believed before this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# Job scripts of hvd_train say it where a rank has several CPUs and the scheduler does not tell.
CPUS_PER_RANK = "HVD_TRAIN_CPUS_PER_RANK"


def cpus_of_slurm(environment: Mapping[str, str], host: str, given: Mapping[str, int]) -> int | None:
    """`given` are the CPUs of the job by host. A step may have fewer of them."""
    node = environment.get("SLURMD_NODENAME") or host
    found = [cpus for name, cpus in given.items() if is_same_host(name, node)]
    # mpirun starts its daemon as a step, whose share says nothing about the ranks.
    is_step = "SLURM_STEP_ID" in environment and "OMPI_COMM_WORLD_RANK" not in environment
    if is_step or not found:
        found += number_of(environment, "SLURM_CPUS_ON_NODE")
    return min(found, default=None)


def cpus_of_pbs(environment: Mapping[str, str], host: str) -> int | None:
    """NCPUS is the number of the first host, others have as many for each line of the nodefile. In our scripts it is that of
    a rank, as `ompthreads` is, and CPUS_PER_RANK says so.

    Torque has no NCPUS, and its nodefile has a line for each core.
    """
    lines = [line.strip() for line in lines_of(environment, "PBS_NODEFILE") if line.strip()]
    here = sum(is_same_host(name, host) for name in lines)
    first = sum(name == lines[0] for name in lines)
    given = number_of(environment, "NCPUS")
    if not here:
        return given[0] if given else None
    if per_rank := number_of(environment, CPUS_PER_RANK):
        return here * per_rank[0]
    return max(here, here * given[0] // first) if given else here


def cpus_of_grid_engine(environment: Mapping[str, str], host: str) -> int | None:
    """A slot is a CPU. Other hosts than the first one cannot read PE_HOSTFILE: there it is the mean of the hosts."""
    words = [line.split() for line in lines_of(environment, "PE_HOSTFILE")]
    here = [int(word[1]) for word in words if len(word) > 1 and word[1].isdecimal() and is_same_host(word[0], host)]
    if here:
        return sum(here)
    slots, hosts = number_of(environment, "NSLOTS"), number_of(environment, "NHOSTS")
    return max(1, slots[0] // (hosts[0] if hosts else 1)) if slots else None


def cpus_of_lsf(environment: Mapping[str, str], host: str) -> int | None:
    """A slot is a CPU, unless LSF binds tasks to several: then the affinity says how many."""
    if environment.get("LSB_AFFINITY_HOSTFILE") or environment.get("LSB_BIND_CPU_LIST"):
        return None
    words = environment.get("LSB_MCPU_HOSTS", "").split()
    here = sum_here(zip(words[::2], words[1::2], strict=False), host)
    if here or words:
        return here or None
    names = [line.strip() for line in lines_of(environment, "LSB_DJOB_HOSTFILE")]
    here = sum(is_same_host(name, host) for name in names)
    return here or min(number_of(environment, "LSB_DJOB_NUMPROC"), default=None)


def sum_here(counts: Iterable[tuple[str, str]], host: str) -> int:
    return sum(int(count) for name, count in counts if count.isdecimal() and is_same_host(name, host))


def is_same_host(one: str, other: str) -> bool:
    """Whether two names are those of one host: with or without its domain.

    >>> is_same_host("node1.cluster", "node1"), is_same_host("node1.east", "node1.west")
    (True, False)
    """
    one, other = one.lower(), other.lower()
    return one == other or one.split(".")[0] == other or one == other.split(".")[0]


def number_of(environment: Mapping[str, str], name: str) -> list[int]:
    """The number in a variable, if it is one of at least 1."""
    text = environment.get(name, "").strip()
    return [int(text)] if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) else []


def lines_of(environment: Mapping[str, str], name: str) -> Sequence[str]:
    """The lines of the file that a variable names; none where it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return Path(environment.get(name, "")).read_text(encoding="utf-8", errors="replace").splitlines()
    return ()
