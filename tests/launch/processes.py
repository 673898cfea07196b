"""The one helper that starts every subprocess of the test-suite, and leaves none behind.

`run` waits for a command; `started` gives a handle to one that is running. Both put it in a session of its own,
with the environment's programs first in PATH and Open MPI's settings from scripts/mpi.env. mpirun's ranks can end up
in other process groups, or without a living parent; so every process also carries a mark in its environment, and
whatever carries it is killed at the end, when a test fails too.

    finished = run(mpirun(2, "python", script), timeout_s=30)
    with started(horovodrun(2, "hvd-train", "train"), timeout_s=60) as job:
        job.wait_for("epoch 1", timeout_s=30)
        job.signal(signal.SIGINT)
        assert job.wait(10).code == 130
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# In the background of a shell SIGINT is ignored, and what a test starts would inherit that and never see its Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MARK = "HVD_TRAIN_TEST_MARK"
# Seconds that a job's processes have to be gone after its first process ended: mpirun's ranks take a moment.
LINGER_S = 3.0
POLL_S = 0.02
# Where Open MPI's ranks share memory; elsewhere than on Linux, in the temporary directory.
SHARED_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True)
class Finished:
    """How a command ended. `code` is negative after a signal, as in subprocess."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    left_behind: tuple[str, ...] = ()
    """Command lines of processes that outlived it by LINGER_S; they were killed."""

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def __str__(self) -> str:
        return f"exit code {self.code} after {self.seconds:.1f} s\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def mpi_settings(path: Path = REPOSITORY / "scripts" / "mpi.env") -> dict[str, str]:
    """The KEY=VALUE lines of scripts/mpi.env."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """What a command is started with: ours, Open MPI's settings, the programs of this environment first in PATH.

    A value of None in `extra` takes a variable away.
    """
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    merged: dict[str, str | None] = {**os.environ, **mpi_settings(), "PATH": path, **(extra or {})}
    return {key: value for key, value in merged.items() if value is not None}


def mpirun(np: int, *command: str | Path) -> list[str]:
    """`mpirun -np N command...`; options of mpirun may come first."""
    return [str(BIN / "mpirun"), "-np", str(np), *map(str, command)]


def horovodrun(np: int, *command: str | Path) -> list[str]:
    """`horovodrun -np N command...` on this host; options of horovodrun may come first."""
    return [str(BIN / "horovodrun"), "-np", str(np), *map(str, command)]


class Job:
    """A running command. Made by `started`."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str, directory: Path, deadline: float) -> None:
        self.process = process
        self.pid = process.pid
        self._mark = mark
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        self._began = time.monotonic()
        self._deadline = deadline
        self._finished: Finished | None = None

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def wait_for(self, text: str, timeout_s: float) -> str:
        """Wait until `text` stands in the output; returns the output. AssertionError if it ends or takes longer."""
        deadline = min(time.monotonic() + timeout_s, self._deadline)
        while text not in self.output:
            ended = self.process.poll() is not None
            if text in self.output:
                break
            if ended or time.monotonic() > deadline:
                why = f"ended with code {self.process.returncode}" if ended else f"ran for {timeout_s:g} s more"
                raise AssertionError(f"{self._command} {why} without writing {text!r}.\n{self._so_far()}")
            time.sleep(POLL_S)
        return self.output

    def signal(self, number: int) -> None:
        """Send a signal to the command's process group, as a terminal does."""
        os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> Finished:
        """Wait for the end. On AssertionError (it took longer) everything is already killed."""
        if self._finished is None:
            limit = max(0.0, min(timeout_s, self._deadline - time.monotonic()))
            try:
                code = self.process.wait(limit)
            except subprocess.TimeoutExpired:
                so_far = self._so_far()
                self.kill()
                raise AssertionError(f"{self._command} did not end within {timeout_s:g} s.\n{so_far}") from None
            seconds = time.monotonic() - self._began
            left_behind = self._reap()
            self._finished = Finished(code, self.stdout, self.stderr, seconds, left_behind)
        return self._finished

    def processes(self) -> list[psutil.Process]:
        """Every living process of this job, itself first."""
        found = [p for p in psutil.process_iter() if _carries(p, self._mark)]
        return sorted(found, key=lambda p: p.pid != self.pid)

    def kill(self) -> None:
        """End everything. mpirun gets a moment to clear its files away; what is left is killed."""
        if self.process.poll() is None:
            for number in (signal.SIGCONT, signal.SIGTERM):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2.0)
        self._kill_marked()
        self.process.wait()

    def _reap(self) -> tuple[str, ...]:
        deadline = time.monotonic() + LINGER_S
        while self.processes() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return self._kill_marked()

    def _kill_marked(self) -> tuple[str, ...]:
        killed: dict[int, str] = {}
        while living := self.processes():  # again, for a child that was born in between
            for process in living:
                with contextlib.suppress(psutil.Error):
                    killed[process.pid] = " ".join(process.cmdline())
                    process.kill()
            psutil.wait_procs(living, timeout=1.0)
        return tuple(killed.values())

    @property
    def _command(self) -> str:
        return " ".join(map(str, self.process.args)) if isinstance(self.process.args, list) else str(self.process.args)

    def _so_far(self) -> str:
        return f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False  # gone meanwhile, or another user's


def _open_mpi_files(directory: Path, shared: Path) -> dict[str, str]:
    """Where this job's Open MPI keeps its files: they would stay where mpirun is killed."""
    return {"OMPI_MCA_orte_tmpdir_base": str(directory), "OMPI_MCA_btl_vader_backing_directory": str(shared)}


@contextlib.contextmanager
def started(
    command: Sequence[str | Path],
    *,
    timeout_s: float = 60.0,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
) -> Iterator[Job]:
    """Start a command; whatever is left of it at the end of the block is killed. `timeout_s` limits its whole life."""
    mark = uuid.uuid4().hex
    with (
        tempfile.TemporaryDirectory(prefix="hvd_train-test-") as scratch,
        tempfile.TemporaryDirectory(prefix="hvd_train-test-", dir=SHARED_MEMORY) as shared,
    ):
        directory = Path(scratch)
        # Files, not pipes: a process left behind cannot keep the test waiting for the end of its output.
        with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**environment({**_open_mpi_files(directory, Path(shared)), **(env or {})}), MARK: mark},
                cwd=cwd,
                start_new_session=True,
            )
        job = Job(process, mark, directory, time.monotonic() + timeout_s)
        try:
            yield job
        except BaseException:
            job.kill()
            sys.stderr.write(f"{job._command}\n{job._so_far()}\n")  # pytest shows it with the failure
            raise
        job.kill()


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    ok: bool | None = True,
) -> Finished:
    """Run a command to its end. Fails the test, with all its output, when it takes longer than `timeout_s`, ends with a
    code that `ok` doesn't allow (True: 0, False: not 0, None: any), or leaves a process behind.
    """
    with started(command, timeout_s=timeout_s, env=env, cwd=cwd) as job:
        finished = job.wait(timeout_s)
    assert ok is None or (finished.code == 0) == ok, f"{' '.join(map(str, command))}: {finished}"
    assert not finished.left_behind, f"left behind: {finished.left_behind}\n{finished}"
    return finished


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
