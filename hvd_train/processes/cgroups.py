"""What the cgroup of this process allows: CPU time and memory. Version 1, version 2, and both at once.

A batch job and a container have a cgroup of their own, whose path stands in /proc/self/cgroup. Limits of the groups around
it hold, too, so the least one counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Version 1 writes a number near 2^63 for no limit.
NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Place:
    """A folder in which the kernel may show the groups of this process, and the path of its own group below it."""

    version: int
    base: Path
    parts: tuple[str, ...]

    def folders(self) -> list[Path]:
        """From the outermost group to that of this process."""
        return [self.base.joinpath(*self.parts[:depth]) for depth in range(len(self.parts) + 1)]


def places(controller: str, root: Path = Path("/")) -> Iterator[Place]:
    """Where the groups of this process are, for "cpu" or "memory". Not each of them needs to exist."""
    top = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line + "::").split(":", 3)[:3]
        if controllers == "":
            version, bases = 2, [top, top / "unified"]
        elif controller in controllers.split(","):
            version, bases = 1, [top / controllers, top / controller]
        else:
            continue
        # Inside a container the path may be the host's, and the container's own group the mount's top.
        parts = tuple(part for part in path.split("/") if part not in ("", ".."))
        yield from (Place(version, base, parts) for base in dict.fromkeys(bases))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU time, in CPUs, for all processes of the cgroup together; None without a limit."""
    return _least("cpu", {1: _quota_v1, 2: _quota_v2}, root)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes, for all processes of the cgroup together; None without a limit."""
    limit = _least("memory", {1: _memory_v1, 2: _memory_v2}, root)
    return None if limit is None else int(limit)


def _least(controller: str, readers: dict[int, Callable[[Path], float | None]], root: Path) -> float | None:
    found = (readers[place.version](folder) for place in places(controller, root) for folder in place.folders())
    return min((limit for limit in found if limit is not None), default=None)


def _quota_v2(folder: Path) -> float | None:
    match = re.fullmatch(r"(\d+) (\d+)", read_text(folder / "cpu.max").strip())
    return int(match[1]) / int(match[2]) if match and int(match[2]) else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = (read_text(folder / f"cpu.cfs_{word}_us").strip() for word in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _memory_v2(folder: Path) -> float | None:
    return _bytes(folder / "memory.max")


def _memory_v1(folder: Path) -> float | None:
    return _bytes(folder / "memory.limit_in_bytes")


def _bytes(path: Path) -> float | None:
    text = read_text(path).strip()
    return int(text) if text.isdecimal() and int(text) < NO_LIMIT else None


def read_text(path: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
