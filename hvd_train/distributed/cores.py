"""The cores of this machine that a process may use, and how they are assigned to the ranks of one host.

`read_machine` reads Linux (affinity, /sys, cgroups). `assign_cores` is arithmetic: it assigns whole cores with their
hyper-threads, neighbours in a NUMA node together, inside the cpuset, and no core twice while there are enough. A CPU
quota (`docker run --cpus`, cpu.max of a cgroup) limits the number of useful threads, not where they run. Other
containers have the same cores, so pinning to fewer cores would put two containers on one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SYS_CPU = "sys/devices/system/cpu"


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


def read_machine(root: Path = Path("/"), *, pid: int = 0) -> Machine:
    """The machine as this process sees it. Whatever cannot be read is taken as not there."""
    cpus = tuple(sorted(os.sched_getaffinity(pid)))
    try:
        launcher: tuple[int, ...] | None = tuple(sorted(os.sched_getaffinity(os.getppid())))
    except OSError:
        launcher = None
    cores = {cpu: core for cpu in cpus if (core := _core_of(root, cpu)) is not None}
    return Machine(cpus, cores, _nodes_of(root, cpus), read_quota(root), launcher)


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


def read_quota(root: Path = Path("/")) -> float | None:
    """CPU time, in CPUs, of this process's cgroup, v2 (cpu.max) or v1 (cpu.cfs_quota_us), the least on the way up; None: no limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    limits: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            bases, read = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"], _quota_v2
        elif "cpu" in controllers.split(","):
            bases, read = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"], _quota_v1
        else:
            continue
        # Inside a container the path may be the host's, and the container's own group the mount's top.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for base in bases:
            for depth in range(len(parts) + 1):
                limit = read(base.joinpath(*parts[:depth]))
                if limit is not None:
                    limits.append(limit)
    return min(limits, default=None)


def _quota_v2(folder: Path) -> float | None:
    found = _read(folder / "cpu.max")
    match = re.fullmatch(r"(\d+) (\d+)", found)
    return int(match[1]) / int(match[2]) if match and int(match[2]) else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
