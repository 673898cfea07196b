"""Ends a job whose horovodrun was ended alone, by SIGTERM or SIGKILL: its mpirun and all ranks would go on.

A stock horovodrun turns into `/bin/sh -c "mpirun ..."`, and a shell passes no signal on to what it waits for. Supervisors,
`kill PID` and Python's `Popen.terminate` signal that process only. (The one that `make setup` builds turns into mpirun itself.)

Nothing but such a shell is watched. An mpirun that was started in the background, under nohup or setsid, or by a service
manager or batch system, may rightly outlive the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from hvd_train.processes.launcher import end_launcher, launcher_of

POLL_S = 1.0
# A signal to the whole process group reached mpirun, too, which then ends its ranks, this one with them, within two seconds.
# A second signal would keep it from passing on what they say last.
SETTLE_S = 3.0
# How horovodrun 0.28.1 begins the command that it gives the shell (horovod/runner/mpi_run.py).
SHELL = ("/bin/sh", "-c")
BEGINS = "mpirun --allow-run-as-root --tag-output -np "


def watch_horovodrun() -> None:
    """From now on end the job when the horovodrun above this process is gone. Nothing where there is none on this host.

    One rank of a host calls it, as early as possible.
    """
    launcher = launcher_of()
    shell = horovodrun_above(launcher) if launcher is not None else None
    if launcher is not None and shell is not None:
        HorovodrunWatch(shell, lambda: end_orphans(launcher, shell)).start()


def horovodrun_above(launcher: psutil.Process) -> psutil.Process | None:
    """The shell that horovodrun turned into, if it started this mpirun."""
    with contextlib.suppress(psutil.Error):
        parent = launcher.parent()
        if parent is not None and is_horovodrun_command(parent.cmdline()):
            return parent
    return None


def is_horovodrun_command(command: Sequence[str]) -> bool:
    """Whether this is the command line of the shell that horovodrun turns into. One that puts mpirun into the background is not.

    >>> is_horovodrun_command(["/bin/sh", "-c", "mpirun --allow-run-as-root --tag-output -np 2 -H localhost:2 hvd-train train"])
    True
    >>> is_horovodrun_command(["/bin/sh", "-c", "mpirun -np 2 hvd-train train"])
    False
    """
    return (
        tuple(command[:-1]) == SHELL and command[-1].startswith(BEGINS) and not command[-1].rstrip("; ").endswith("&")
    )


class HorovodrunWatch(threading.Thread):
    """Polls once a second whether a process still runs, and calls `act` when it has ended."""

    def __init__(self, process: psutil.Process, act: Callable[[], None], *, poll_s: float = POLL_S) -> None:
        super().__init__(name="hvd_train horovodrun", daemon=True)
        self._process, self._act, self._poll_s = process, act, poll_s
        self._left = threading.Event()

    def run(self) -> None:
        while not self._left.wait(self._poll_s):
            if is_gone(self._process):
                self._act()
                return

    def stop(self) -> None:
        self._left.set()


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended. A zombie has ended. A process that cannot be inspected counts as running."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def end_orphans(launcher: psutil.Process, shell: psutil.Process) -> None:
    """Send the signal that was lost: mpirun ends its ranks, and each prints where the last checkpoint is."""
    time.sleep(SETTLE_S)
    if is_gone(launcher):
        return
    message = f"error: horovodrun (process {shell.pid}), which started this job, was ended; ending the job.\n"
    with contextlib.suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, message.encode())
    with contextlib.suppress(psutil.Error):
        launcher.send_signal(signal.SIGTERM)
    end_launcher()
