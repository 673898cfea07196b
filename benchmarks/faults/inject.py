"""Waits for the moment of a fault, and makes it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from faults.places import Place, daemon_in, launcher_in, ranks_in
from faults.plan import Fault
from faults.story import Struck, read

POLL_S = 0.005
# A moment that does not come within this time: the run does not go on.
MOMENT_S = 240.0
# After a host was cut off, mpirun has this long to end. The supervisor waits 180 s for the first rank.
ENDS_S = 240.0
IN_CREATE = 0x100


class Stuck(Exception):
    """The run does not go on, or ended too early."""


class StepFile:
    """The end of a file of steps that another process writes."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""
        self.done = self.steps = 0
        self.ended = False
        """Steps of the run that are done, lines read, and whether the run came to its end."""

    def renew(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            block = file.read()
            self._offset += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            for event in read(line.decode(errors="replace") for line in lines):
                if event["what"] == "steps":
                    self.done, self.steps = event["done"], self.steps + 1
                self.ended = self.ended or event["what"] == "end"


class NewFiles:
    """The names of files as they appear in a folder (Linux's inotify)."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")

    def wait(self, timeout_s: float) -> bool:
        """Whether a file appeared within this time."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return False
        os.read(self._descriptor, 65536)
        return True

    def close(self) -> None:
        os.close(self._descriptor)


class Injector:
    """Makes the faults of one run at a place."""

    def __init__(self, place: Place, steps: Path, checkpoints: Path) -> None:
        self._place, self._checkpoints = place, checkpoints
        self.steps = StepFile(steps)
        self._launcher: psutil.Process | None = None
        """The mpirun that the last fault hit."""
        self.launches: list[float] = []
        """When each mpirun was born."""

    def make(self, fault: Fault) -> Struck:
        """Wait for the moment of this fault, and make it. Stuck where the moment does not come."""
        launcher = self.next_launcher()
        if fault.moment == "start-up":
            self._sleep(self.launches[-1] + fault.delay_s - time.time())
        else:
            before = self.steps.steps
            self._until(lambda: self.steps.steps > before and self.steps.done >= fault.at, f"step {fault.at}")
        strike = self._prepared(fault, launcher)
        if fault.moment == "step":
            self._sleep(fault.delay_s)
        elif fault.moment == "save":
            self._save_begins()
            time.sleep(fault.delay_s)
        at = time.time()
        strike()
        self._launcher = launcher
        return Struck(fault, at)

    def next_launcher(self) -> psutil.Process:
        """The mpirun after the one that was hit last."""
        found: list[psutil.Process] = []

        def look() -> bool:
            one = launcher_in(self._place.processes())
            if one is not None and one != self._launcher:
                found.append(one)
            return bool(found)

        self._until(look, "the next start of mpirun", poll_s=0.05)
        self.launches.append(found[0].create_time())
        return found[0]

    def _prepared(self, fault: Fault, launcher: psutil.Process) -> Callable[[], Any]:
        """The fault, ready to be made: processes are looked up before the moment, which may be short."""
        place, host = self._place, self._place.host_of(fault.rank)
        if fault.kind == "mpirun":
            return launcher.kill
        if fault.kind == "cut":
            return lambda: self._apart(launcher, lambda: place.cut(host), lambda: place.plug(host))
        if fault.kind == "power-off":
            return lambda: self._apart(launcher, lambda: place.power_off(host), lambda: place.boot(host))
        found: list[psutil.Process] = []

        def look() -> bool:
            processes = place.processes()
            one = daemon_in(processes) if fault.kind == "daemon" else ranks_in(processes).get(fault.rank)
            if one is not None:
                found.append(one)
            return bool(found)

        self._until(look, f"rank {fault.rank}", poll_s=0.02)
        number = signal.SIGSTOP if fault.kind == "stop" else signal.SIGKILL
        return lambda: self._signal(found[0], number)

    def _signal(self, process: psutil.Process, number: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)

    def _apart(self, launcher: psutil.Process, cut: Callable[[], None], mend: Callable[[], None]) -> None:
        """Cut a host off until mpirun has ended."""
        cut()
        try:
            self._until(lambda: not runs(launcher), "the end of mpirun after a host was cut off", limit_s=ENDS_S)
        finally:
            mend()

    def _save_begins(self) -> None:
        files = NewFiles(self._checkpoints)
        try:
            self._until(lambda: files.wait(0.05), "the next save")
        finally:
            files.close()

    def _sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _until(
        self, condition: Callable[[], bool], what: str, *, limit_s: float = MOMENT_S, poll_s: float = POLL_S
    ) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            self.steps.renew()
            job = self._place.job
            if job is None or job.process.poll() is not None:
                raise Stuck(f"the supervisor ended before {what}")
            if time.monotonic() > deadline:
                raise Stuck(f"{what} did not come within {limit_s:g} s")
            time.sleep(poll_s)


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
