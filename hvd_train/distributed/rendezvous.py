"""Which ranks have reached a barrier before the watchdog runs, and which rank keeps the others waiting.

In hvd.init() a rank hears nothing of the others until the last one has come. So each rank of a host leaves a mark that the
others can see. The mark is an abstract socket, whose name holds the job and the rank. It ends with the process, needs no
folder and leaves nothing behind. Ranks of other hosts leave no mark here, so only a time limit applies to them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hvd_train.distributed.launchers import job_of, launcher_of
from hvd_train.distributed.placement import Placement
from hvd_train.errors import RankFailure
from hvd_train.processes import end_process
from hvd_train.watchdog import AwakeClock

# Ranks start seconds apart (an ssh, a cold file system); minutes mean that one of them never will.
LONGEST_S = 300.0
# Another host may be slower by so many limits than this one.
OTHER_HOSTS = 2.0
# Nothing is looked at before: most jobs have gathered by then.
FIRST_LOOK_S = 1.0
# One rank speaks; others only where mpirun has not ended them by then.
STAGGER_S = 3.0
STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
UNIX_SOCKETS = Path("/proc/net/unix")


@dataclass(frozen=True)
class Seen:
    """A rank of this host that has not come: its process, and for how long that has used no CPU time."""

    pid: int
    status: str
    idle_s: float

    @property
    def is_stopped(self) -> bool:
        return self.status in STOPPED

    def __str__(self) -> str:
        how = (
            "is stopped"
            if self.is_stopped
            else f"has used no CPU time for {self.idle_s:.0f} s"
            if self.idle_s >= 1
            else "is at work"
        )
        return f"process {self.pid}, which {how}"


@dataclass(frozen=True)
class View:
    """What one rank sees of the others of its host. `here` is None where marks cannot be seen."""

    here: frozenset[int] | None
    absent: Mapping[int, Seen | None]
    """Ranks of this host that have not come; None where there is no such process."""
    stopped: Mapping[int, Seen]
    """Ranks of this host that have come and were stopped since."""


def waited_too_long(
    placement: Placement, view: View, *, waited_s: float, limit_s: float, longest_s: float
) -> str | None:
    """Why the wait has to end, or None. Pure.

    A rank of this host that is at work may take `longest_s`: it reads TensorFlow from a slow disk. One that has used no CPU
    time for `limit_s`, that is stopped, or that is not there, will not come.
    """
    if waited_s <= limit_s:
        return None
    lost = {
        rank: seen for rank, seen in view.absent.items() if seen is None or seen.is_stopped or seen.idle_s > limit_s
    }
    lost |= view.stopped
    if not lost and waited_s <= (longest_s if view.absent else min(longest_s, OTHER_HOSTS * limit_s)):
        return None
    if lost or view.absent:
        named = [
            f"rank {rank} on host {placement.host} ({seen or 'no such process'})"
            for rank, seen in sorted((lost or view.absent).items())
        ]
        return f"{' and '.join(named)} {'keeps' if len(named) == 1 else 'keep'} the others waiting"
    if view.here is None:
        return "which one is missing is not known"
    here = ", ".join(map(str, sorted(view.here)))
    if placement.local_size == placement.size:
        return f"all have come ({here}), and one of them does not answer"
    return f"on host {placement.host} rank {here} has come, but not every rank of the other hosts"


@contextlib.contextmanager
def gathering(
    placement: Placement, stage: str, *, limit_s: float, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """End the process if not all ranks come to this block in time; say which one is missing, if it is on this host.

    All ranks enter the block with the same `stage`, which reads after "waited for all ranks to". `limit_s` is --watchdog-s; 0
    leaves the longest limit alone.
    """
    if placement.size == 1:
        yield
        return
    environment = os.environ if environment is None else environment
    key = job_key(environment)
    limit_s = min(limit_s or LONGEST_S, LONGEST_S)
    with contextlib.ExitStack() as stack:
        slug = stage.replace(" ", "-")
        marks = stack.enter_context(mark(f"{key}.{slug}.{placement.rank}")) if key else False
        look = Look(placement, f"{key}.{slug}" if marks else "", environment)
        done = threading.Event()
        stack.callback(done.set)
        watch = threading.Thread(
            target=_watch, args=(placement, stage, look, done, limit_s), name="hvd_train gathering", daemon=True
        )
        watch.start()
        yield


def _watch(placement: Placement, stage: str, look: Look, done: threading.Event, limit_s: float) -> None:
    every_s = max(FIRST_LOOK_S, limit_s / 10)
    clock = AwakeClock(every_s)
    while not done.wait(every_s):
        if clock.tick():
            continue  # this process was stopped itself, and the others perhaps with it
        view, waited_s = look.view(clock.now), clock.now
        why = waited_too_long(placement, view, waited_s=waited_s, limit_s=limit_s, longest_s=LONGEST_S)
        if why is None:
            continue
        told = f"error: {placement} waited {waited_s:.0f} s for all {placement.size} ranks to {stage}: {why}; ending the job."
        with mark(f"{look.name}.speaker") as is_first:
            # One of each host speaks, that of the root's host first; the others only where the job goes on all the same.
            one_host = placement.local_size == placement.size
            if not done.wait(0 if is_first and one_host else STAGGER_S * (min(placement.rank, 2) + (not is_first))):
                end_process(told, RankFailure.exit_code)


def job_key(environment: Mapping[str, str]) -> str:
    """A word that the ranks of one job share and no other job has; empty where the launcher gives none. Pure."""
    known = sorted(job_of(environment))
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:24] if known else ""


@contextlib.contextmanager
def mark(name: str) -> Iterator[bool]:
    """Leave a mark of this name while the block runs. False where this system has no such sockets or the name is taken."""
    with contextlib.ExitStack() as stack:
        try:
            sign = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            sign.bind(f"\0hvd_train.{name}")
        except OSError:
            yield False
            return
        yield True


def marked(name: str, listing: str) -> frozenset[int]:
    """The ranks whose mark stands in this listing of /proc/net/unix. Pure.

    >>> sorted(marked("ab.start", "0: 2 0 0 2 1 9 @hvd_train.ab.start.1\\n0: 2 0 0 2 1 9 /run/x\\n"))
    [1]
    """
    start = f"@hvd_train.{name}."
    words = (line.rpartition(" ")[2] for line in listing.splitlines())
    return frozenset(
        int(end) for word in words if word.startswith(start) and (end := word.removeprefix(start)).isdecimal()
    )


class Look:
    """Looks at this host's ranks now and then, and remembers when each last used CPU time."""

    def __init__(self, placement: Placement, name: str, environment: Mapping[str, str]) -> None:
        self._placement, self.name, self._environment = placement, name, environment
        self._came: frozenset[int] = frozenset()
        self._used: dict[int, tuple[float, float]] = {}

    def view(self, now: float) -> View:
        """Who is here, and what those do who are not. `now` is a reading of an `AwakeClock`."""
        here = None
        with contextlib.suppress(OSError, ValueError):
            here = marked(self.name, UNIX_SOCKETS.read_text()) if self.name else None
        if not self.name or here is None:
            return View(None, {}, {})
        processes = processes_by_rank(self._placement, self._environment)
        one_host = self._placement.local_size == self._placement.size
        seen = {
            rank: self._seen(rank, processes.get(rank, []), now)
            for rank in {*processes, *(range(self._placement.size) if one_host else ())}
        }
        self._came |= here
        # One that came and is gone has ended the job.
        absent = {rank: found for rank, found in seen.items() if rank not in here and (found or rank not in self._came)}
        stopped = {
            rank: found for rank, found in seen.items() if rank in here and found is not None and found.is_stopped
        }
        return View(here, absent, stopped)

    def _seen(self, rank: int, processes: Sequence[psutil.Process], now: float) -> Seen | None:
        """The rank's first process, and the CPU time of all of them."""
        living: list[tuple[psutil.Process, str]] = []  # with its status
        used = 0.0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times, status = process.cpu_times(), str(process.status())
                if status != psutil.STATUS_ZOMBIE:
                    used += times.user + times.system
                    living.append((process, status))
        if not living:
            return None
        if rank not in self._used or self._used[rank][0] != used:
            self._used[rank] = (used, now)
        stopped = [one for one in living if one[1] in STOPPED]
        process, status = (stopped or living)[0]
        return Seen(process.pid, status, now - self._used[rank][1])


def processes_by_rank(placement: Placement, environment: Mapping[str, str]) -> dict[int, list[psutil.Process]]:
    """This host's processes of the same job by rank, as far as this user may see them."""
    launcher, job = launcher_of(placement), job_of(environment)
    found: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            theirs = process.environ()
            rank = launcher.rank_in(theirs)
            if rank.isdecimal() and job <= job_of(theirs):
                found.setdefault(int(rank), []).append(process)
    return found
