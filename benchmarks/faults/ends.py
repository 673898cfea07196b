"""Do trainings on two hosts always end? A loop of short ones, and a look inside where mpirun stays."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil
from processes import BIN

from faults.places import TwoHosts
from hvd_train.runs import RunDir

TRAIN = ["train", "--recipe", "debug", "--num-epochs", "1", "--num-songs", "2000", "--watchdog-s", "30"]
STARTS_S = 240.0
# From DONE to the end of mpirun.
ENDS_S = 40.0


def measure(place: TwoHosts, number: int, told: Callable[[str], None]) -> dict[str, Any]:
    """Train `number` times. Returns the seconds from DONE to the end of mpirun, and what was seen where it did not end."""
    seconds: list[float] = []
    stuck: list[dict[str, Any]] = []
    for index in range(number):
        code, took, seen = _one(place, RunDir(place.root / "run"))
        if seen:
            stuck.append({"number": index + 1, **seen})
        else:
            seconds.append(round(took, 2))
        told(f"end {index + 1} of {number}: {f'mpirun stays: {seen}' if seen else f'{took:.2f} s, code {code}'}")
    return {"ends": number, "seconds": seconds, "stuck": stuck}


def _one(place: TwoHosts, run_dir: RunDir) -> tuple[int | None, float, dict[str, Any]]:
    """Train once. Returns the exit code, the seconds from DONE to the end, and what was seen where it does not end."""
    command = [*place.mpirun, "-x", "PATH", BIN / "hvd-train", *TRAIN, "--run-dir", run_dir.path]
    with place.running(command, STARTS_S + ENDS_S) as job:
        _wait(lambda: run_dir.done.exists() or job.process.poll() is not None, STARTS_S)
        if not run_dir.done.exists():
            raise SystemExit(f"a training did not come to its end:\n{job.output}")
        done = time.monotonic()
        ended = _wait(lambda: job.process.poll() is not None, ENDS_S)
        seen = {} if ended else {"output": job.output, "processes": inside(place)}
        took = time.monotonic() - done
    shutil.rmtree(run_dir.path)
    return job.process.returncode, took, seen


def inside(place: TwoHosts) -> list[dict[str, Any]]:
    """What each process of the job waits for: its state, connections, and the stacks of its threads where gdb is installed."""
    found = []
    for process in place.processes():
        with contextlib.suppress(psutil.Error):
            about = {"pid": process.pid, "command": " ".join(process.cmdline())[:200], "status": process.status()}
            about["connections"] = [f"{c.laddr} {c.raddr} {c.status}" for c in process.net_connections("tcp")]
            found.append({**about, "stacks": _stacks(process.pid)})
    return found


def _stacks(pid: int) -> str:
    if shutil.which("gdb") is None:
        return "gdb is not installed"
    command = ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout[-8000:]
    return "gdb took too long"


def _wait(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
