"""The cores of this machine that a process may use, and how they are assigned to the ranks of one host.

`read_machine` reads Linux (affinity, /sys, cgroups). `assign_cores` is arithmetic: it assigns whole cores with their
hyper-threads, neighbours in a NUMA node together, inside the cpuset, and no core twice while there are enough. A CPU
quota (`docker run --cpus`, cpu.max of a cgroup) limits the number of useful threads, not where they run. Other
containers have the same cores, so pinning to fewer cores would put two containers on one. The same holds for batch jobs
that share a host and are not confined to their CPUs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hvd_train.processes import cpu_quota

SYS_CPU = "sys/devices/system/cpu"
RDMA_DEVICES = ("sys/class/infiniband", "sys/class/cxi")


@dataclass(frozen=True)
class Machine:
    """What one process may use of its host. CPU numbers are Linux's (a hyper-thread each)."""

    cpus: tuple[int, ...]
    """Those this process may run on, ascending."""
    cores: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """(package, core) of a CPU; CPUs that share one are hyper-threads of a core. A missing one is a core of its own."""
    nodes: Mapping[int, int] = field(default_factory=dict)
    """NUMA node of a CPU; a missing one is in node 0."""
    quota: float | None = None
    """CPU time, in CPUs, that the cgroup gives to all ranks on this host together."""
    launcher_cpus: tuple[int, ...] | None = None
    """Those the launcher itself may run on: all that it can assign to its ranks."""
    granted: int | None = None
    """CPUs that a batch job was given on this host; None outside of one, and where its scheduler does not say."""
    rdma: str = ""
    """A network device of this host for RDMA (InfiniBand, RoCE, Omni-Path, EFA, Slingshot), by its name. Empty: there is none."""

    @property
    def is_shared(self) -> bool:
        """Whether other jobs run on some of these CPUs: the job was given fewer, and is not confined to its own."""
        return self.granted is not None and self.granted < len(self.cpus)

    def unbound(self) -> Machine:
        """The machine as the launcher sees it."""
        return replace(self, cpus=self.launcher_cpus or self.cpus)

    def units(self) -> list[tuple[int, ...]]:
        """The physical cores among `cpus`, each as its CPUs, ordered by NUMA node."""
        found: dict[tuple[int, int, int], list[int]] = {}
        for cpu in self.cpus:
            package, core = self.cores.get(cpu, (-1, cpu))
            found.setdefault((self.nodes.get(cpu, 0), package, core), []).append(cpu)
        return [tuple(found[key]) for key in sorted(found)]


@dataclass(frozen=True)
class Share:
    """The cores of one rank: where it may run, and how many threads are useful there."""

    cpus: tuple[int, ...]
    num_threads: int
    oversubscribed: bool
    exclusive: bool = False
    """Whether no other rank of this job runs there."""


def assign_cores(machine: Machine, local_rank: int, local_size: int) -> Share:
    """The cores of one of `local_size` ranks. No two ranks share one where there are enough CPUs.

    >>> assign_cores(Machine(cpus=(0, 1, 2, 3)), 1, 2)
    Share(cpus=(2, 3), num_threads=2, oversubscribed=False, exclusive=True)
    """
    units = machine.units()
    if local_size > len(units):  # not a core for each: hyper-threads, first those of different cores
        units = [(unit[n],) for n in range(max(map(len, units))) for unit in units if n < len(unit)]
    over = local_size > len(units)
    if over:
        mine = [units[local_rank * len(units) // local_size]]
    else:
        first, last = (len(units) * r // local_size for r in (local_rank, local_rank + 1))
        mine = units[first:last]
    # A second thread on a core's other hyper-thread gains nothing in matrix multiplications: one thread a core.
    paid = len(mine)
    if machine.quota is not None:
        paid = min(paid, int(machine.quota / local_size))
        over = over or machine.quota < local_size
    return Share(tuple(sorted(cpu for unit in mine for cpu in unit)), max(1, paid), over, local_size <= len(units))


def bound_cores(machine: Machine, local_size: int) -> Share:
    """The cores of a rank that its launcher has bound. Others may have them too: mpirun binds to sockets from 3 ranks on."""
    num_cores = len(machine.units())
    everywhere = machine.launcher_cpus or machine.cpus
    paid = min(num_cores, max(1, len(everywhere) // local_size))
    if machine.quota is not None:
        paid = min(paid, max(1, int(machine.quota / local_size)))
    exclusive = len(machine.cpus) * local_size <= len(everywhere)
    return Share(machine.cpus, paid, local_size > len(everywhere), exclusive)


def shared_cores(machine: Machine, local_size: int) -> Share:
    """The cores of a rank of a job that was given fewer CPUs than it may run on.

    All ranks run anywhere. Only the kernel knows on which CPUs the other jobs are busy, and two jobs that choose cores for
    themselves choose the same ones.
    """
    given = machine.granted if machine.granted is not None else len(machine.cpus)
    paid = min(given, len(machine.units())) // local_size
    if machine.quota is not None:
        paid = min(paid, int(machine.quota / local_size))
    return Share(machine.cpus, max(1, paid), given < local_size)


def read_machine(root: Path = Path("/"), *, pid: int = 0, granted: int | None = None) -> Machine:
    """The machine as this process sees it. Whatever cannot be read is taken as not there. `granted` is that of the job."""
    cpus = tuple(sorted(os.sched_getaffinity(pid)))
    try:
        launcher: tuple[int, ...] | None = tuple(sorted(os.sched_getaffinity(os.getppid())))
    except OSError:
        launcher = None
    known = tuple(sorted({*cpus, *(launcher or ())}))
    cores = {cpu: core for cpu in known if (core := _core_of(root, cpu)) is not None}
    return Machine(cpus, cores, _nodes_of(root, known), cpu_quota(root), launcher, granted, _rdma_device(root))


def _rdma_device(root: Path) -> str:
    """The first network device that MPI may use without TCP, by its name."""
    for kind in RDMA_DEVICES:
        with contextlib.suppress(OSError):
            for device in sorted((root / kind).iterdir()):
                return device.name
    return ""


def _core_of(root: Path, cpu: int) -> tuple[int, int] | None:
    folder = root / SYS_CPU / f"cpu{cpu}" / "topology"
    try:
        return (int((folder / "physical_package_id").read_text()), int((folder / "core_id").read_text()))
    except (OSError, ValueError):
        return None


def _nodes_of(root: Path, cpus: tuple[int, ...]) -> dict[int, int]:
    found: dict[int, int] = {}
    for folder in sorted((root / "sys/devices/system/node").glob("node[0-9]*")):
        try:
            listed = parse_cpu_list((folder / "cpulist").read_text())
        except (OSError, ValueError):
            continue
        found |= {cpu: int(folder.name[4:]) for cpu in listed if cpu in cpus}
    return found


def parse_cpu_list(text: str) -> list[int]:
    """Linux's way to write CPUs.

    >>> parse_cpu_list("0-2,8")
    [0, 1, 2, 8]
    """
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
