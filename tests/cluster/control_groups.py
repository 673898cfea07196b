"""The control groups (version 1) of the laboratory: one in each hierarchy, below the group of whoever starts it.

Slurm 22.05 holds jobs to their memory and cores by them. Where the machine has version 2 alone there are none.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from waits import wait_until

TOP = Path("/sys/fs/cgroup")
NAME = "hvd-lab-"
# Hierarchies that a host has for itself.
CONTROLLERS = ("freezer", "cpuset", "memory", "cpuacct", "cpu", "devices")


def make(hosts: Sequence[str]) -> tuple[str, ...]:
    """Control groups named by this process, with one for each host in them."""
    made = []
    for names, own in hierarchies():
        top = TOP / names / own.lstrip("/")
        if not top.is_dir():
            continue
        sweep(top)
        group = top / f"{NAME}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        for place in (group, *(group / host for host in hosts)):
            place.mkdir()
            for key in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, which then takes no process
                if (place / key).exists():
                    (place / key).write_text((top / key).read_text())
        if "cpu" in names.split(","):
            # To Linux the group is one of many sessions, but it holds those of several hosts.
            (group / "cpu.shares").write_text(str(1024 * len(hosts)))
        made.append(str(group))
    return tuple(made)


def sweep(top: Path) -> None:
    """Remove what a killed test left: groups without a process, of a process that is no more."""
    for group in top.glob(f"{NAME}*"):
        inside = [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]
        used = any((folder / "cgroup.procs").read_text() for folder in inside)
        if not used and not Path("/proc", group.name.split("-")[2]).exists():
            for folder in inside:
                folder.rmdir()


def hierarchies() -> list[tuple[str, str]]:
    """The controllers of each hierarchy, as in "cpu,cpuacct", and the group of this process in it."""
    lines = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    return [(names, own) for _, names, own in lines if set(names.split(",")) & set(CONTROLLERS)]


def controllers(group: str) -> list[str]:
    return Path(group).relative_to(TOP).parts[0].split(",")


def of_host(group: str, host: str) -> str:
    """A host's own part of a group.

    There is none for CPU time. Linux shares it between groups, or between sessions where there are none, and a rank
    that polls MPI then keeps a core from the ranks of another host for minutes.
    """
    return group if "cpu" in controllers(group) else f"{group}/{host}"


def join(groups: Sequence[str], host: str) -> None:
    """Move this process into the groups of a host."""
    for group in groups:
        Path(of_host(group, host), "cgroup.procs").write_text("0")


def remove(groups: Sequence[str]) -> None:
    """The processes in them are dead, but the kernel takes a moment to take them out of their groups."""

    def gone() -> bool:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        return not any(map(os.path.exists, groups))

    wait_until(gone, f"the end of the control groups {' '.join(groups)}")
