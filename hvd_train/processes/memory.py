"""Memory that ran out is called that: in this process (an exception), or of a rank that the kernel's OOM killer ended.

The kernel counts what its OOM killer ends, by cgroup and for the whole machine. A count that went up while a rank died
without a word is the reason that the rank could not say.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hvd_train.processes.cgroups import places, read_text

# The exit code of a process whose memory ran out; one that the kernel ends has 137.
MEMORY_RAN_OUT = 5
WAY_OUT = (
    "Give each rank less to hold (a smaller --global-batch-size or --local-batch-size, a smaller model, fewer ranks on "
    "this host, or more hosts, which share the rows), or give the job more memory."
)
KILLED = "the kernel's OOM killer ended it: memory ran out. " + WAY_OUT
# What libraries say whose exceptions are not MemoryError: TensorFlow, C++, XLA.
SIGNS = re.compile(
    r"OOM when allocating|std::bad_alloc|RESOURCE_EXHAUSTED|Cannot allocate memory|failed to allocate memory"
)
TYPES = ("ResourceExhaustedError", "XlaRuntimeError")
LONGEST_REASON = 300
RENEW_S = 30.0


def ran_out(error: BaseException) -> str | None:
    """What to tell a user where memory ran out in this process; None for any other error."""
    for one in _chain(error):
        out = isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        if out or (SIGNS.search(str(one)) and (type(one).__name__ in TYPES or isinstance(one, RuntimeError))):
            said = next(filter(None, map(str.strip, str(one).splitlines())), type(one).__name__)
            return f"memory ran out ({said[:LONGEST_REASON]}). {WAY_OUT}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those it was raised from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def oom_kills(root: Path = Path("/")) -> int | None:
    """How many processes the OOM killer has ended in the cgroups of this job; on the machine where those do not count."""
    counts = [count for file in _counters(root) if (count := _count(file)) is not None]
    return sum(counts) if counts else _count(root / "proc/vmstat")


def _counters(root: Path) -> Iterator[Path]:
    """The files that may hold the count of this process's cgroup and of those around it: each rank may have one of its own."""
    for place in places("memory", root):
        name = "memory.events" if place.version == 2 else "memory.oom_control"
        # Other people's jobs are in slices and scopes, too.
        ends = (n for n, part in reversed([*enumerate(place.parts, 1)]) if part.endswith((".slice", ".scope")))
        own = [folder / name for folder in place.folders()[next(ends, 0) + 1 :]]
        found = [file for file in own if _count(file) is not None]
        yield from found or [place.folders()[-1] / name, *([place.base / name] if place.parts else [])]


def _count(file: Path) -> int | None:
    found = re.search(r"^oom_kill (\d+)$", read_text(file), re.MULTILINE)
    return int(found[1]) if found else None


class OomWatch:
    """Whether the OOM killer has ended a process here within the last minute or so. Costs a look at a file twice a minute."""

    def __init__(
        self, count: Callable[[], int | None] = oom_kills, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._clock = count, clock
        self._before = self._newer = count()
        self._renewed_at = clock()

    def renew(self) -> None:
        """Forget what happened long ago: it has not ended a rank that lives."""
        if self._clock() - self._renewed_at > RENEW_S:
            self._before, self._newer, self._renewed_at = self._newer, self._count(), self._clock()

    def happened(self) -> bool:
        now = self._count()
        return now is not None and self._before is not None and now > self._before
