"""The logs of a run's jobs, and following them: over requeues and restarts, until the run has ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hvd_train.cluster.jobs.found import JobRun, run_in
from hvd_train.cluster.jobs.judged import Scheduler, Status, status_of
from hvd_train.errors import MissingEnvironment, UserError
from hvd_train.schedulers import Kubernetes, scheduler_named

POLL_S = 0.5
ASK_EVERY_S = 15.0
# Lines that a job wrote before its end may come late from another machine's cache.
LINGER_S = 3.0
BLOCK_BYTES = 1 << 16

Write = Callable[[bytes], None]
Tell = Callable[[str], None]


def print_logs(runs: Sequence[JobRun], write: Write) -> None:
    """The logs of all these runs, with the name of each where there are several. UserError where there is none yet."""
    logs = [log for run in runs for log in run.logs if log.exists()]
    if not logs:
        status = status_of(runs[0], Scheduler())
        raise UserError(f"{runs[0].id} has no log yet: it is {status}. -f waits for it.")
    for log in logs:
        if len(logs) > 1:
            write(f"==> {log} <==\n".encode())
        Tail(log).copy(write)


def pod_logs(run: JobRun, *, follow: bool) -> int | None:
    """Print what Kubernetes keeps of the output, by kubectl and to our own output. Its exit code.

    None where the job is one of another scheduler, which writes files. Raises MissingEnvironment.
    """
    scheduler = scheduler_named(run.spec.scheduler)
    if not isinstance(scheduler, Kubernetes):
        return None
    command = scheduler.log_command(run.id, follow=follow)
    try:
        return subprocess.run(command, check=False).returncode
    except OSError as error:
        raise MissingEnvironment(
            f"{command[0]} cannot be started ({error.strerror}). The log of {run.id} is with it."
        ) from None


class Tail:
    """What was added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def copy(self, write: Write) -> bool:
        """Write what is new. Whether there was anything. A file that is shorter than before is read from its beginning."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                found = False
                while data := file.read(BLOCK_BYTES):
                    write(data)
                    self._offset += len(data)
                    found = True
                return found
        except OSError:  # not there yet, or a network file system that is away for a moment
            return False


class Follower:
    """Follows the logs of one run."""

    def __init__(self, run: JobRun, *, write: Write, tell: Tell) -> None:
        self._path = run.run_dir.path
        self._write, self._tell = write, tell
        self._tails: dict[Path, Tail] = {}
        self._problem = ""

    def follow(self) -> Status:
        """Until the job has ended and no other goes on with the run. Returns what has become of it."""
        waiting = False
        asked = float("-inf")
        while True:
            grew = self.copy()
            if time.monotonic() - asked > ASK_EVERY_S or (self._run.is_settled and not grew):
                status = self._status()
                asked = time.monotonic()
                is_newest = self._run.ids == status.run.ids  # or another job goes on with the run
                if is_newest and not status.is_queued and status.word != "unknown":
                    self._rest()
                    return status
                if not self._tails and not waiting:
                    waiting = True
                    self._tell(f"{self._run.id} is {status}: its log is not there yet")
            time.sleep(POLL_S)

    def copy(self) -> bool:
        """Write what is new in any log, the oldest first. Whether there was anything."""
        for log in self._run.logs:
            if log not in self._tails and log.exists():
                self._tails[log] = Tail(log)
        return any([tail.copy(self._write) for tail in self._tails.values()])

    @property
    def _run(self) -> JobRun:
        run = run_in(self._path)
        if run is None:
            raise UserError(f"{self._path} has no job any more.")
        return run

    def _status(self) -> Status:
        scheduler = Scheduler()
        status = status_of(self._run, scheduler)
        problem = next(iter(scheduler.problems.values()), "")
        if problem and problem != self._problem:
            self._tell(problem)
        self._problem = problem
        return status

    def _rest(self) -> None:
        deadline = time.monotonic() + LINGER_S
        while time.monotonic() < deadline:
            if not self.copy():
                time.sleep(POLL_S)
