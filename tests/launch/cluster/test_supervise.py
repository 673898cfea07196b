"""`hvd-train supervise` on real processes: whatever ends the ranks, the weights are those of the undisturbed run, bit for bit."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pace import Pace
from processes import Job, mpirun, run, started

from hvd_train.runs import RunDir, job_history

# A checkpoint every few steps. Pace keeps it from its end until it was disturbed.
FLAGS = ("--recipe", "debug", "--num-epochs", "24", "--checkpoint-every-steps", "20", "--early-stopping-patience", "0")
SUPERVISE = ("hvd-train", "supervise", "--np", "2", "--hosts", "localhost:2", "--restart-delay", "0.5")
LIMIT_S = 240.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The arrays of the last checkpoint of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    run(mpirun(2, "--bind-to", "none", "hvd-train", "train", *FLAGS, "--run-dir", path), timeout_s=LIMIT_S)
    return weights(path)


def weights(path: Path) -> dict[str, Any]:
    with np.load(path / "checkpoints" / "last.npz") as file:
        return {name: file[name] for name in file.files if name != "note"}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.fixture
def pace(tmp_path: Path) -> Pace:
    return Pace(tmp_path, 1.0)


@pytest.fixture
def supervised(tmp_path: Path, pace: Pace) -> Iterator[tuple[Job, RunDir]]:
    """A run under supervise that has finished its second epoch, and waits in each validation."""
    run_dir = RunDir(tmp_path / "run")
    command = [*SUPERVISE, "--", "train", *FLAGS, *pace.flags, "--watchdog-s", "3", "--run-dir", run_dir.path]
    with started(command, timeout_s=LIMIT_S) as job:
        job.wait_for("epoch  2/24", timeout_s=LIMIT_S)
        yield job, run_dir


def rank_of(job: Job, number: int) -> psutil.Process:
    return next(p for p in job.processes() if p.environ().get("OMPI_COMM_WORLD_RANK") == str(number))


def ends(run_dir: RunDir) -> list[job_history.End]:
    return [event for event in job_history.read(run_dir.job.history) if isinstance(event, job_history.End)]


# test_kills.py kills mpirun, too.
DISTURBANCES = {
    "a rank is killed": lambda job: rank_of(job, 1).kill(),
    "the root is stopped": lambda job: rank_of(job, 0).suspend(),
}


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=() if how == "a rank is killed" else pytest.mark.slow) for how in DISTURBANCES]
)
def test_the_weights_are_those_of_the_undisturbed_run(
    how: str, supervised: tuple[Job, RunDir], pace: Pace, undisturbed: dict[str, Any]
) -> None:
    job, run_dir = supervised
    DISTURBANCES[how](job)
    pace.set(0.0)
    finished = job.wait(LIMIT_S)
    assert finished.code == 0, finished
    assert not finished.left_behind
    assert [(end.outcome, end.next) for end in ends(run_dir)] == [("failed", "restart"), ("done", "nothing")], finished
    assert "start 2 of" in finished.stdout
    assert same(weights(run_dir.path), undisturbed)


SIGNALS = {
    "a warning": (signal.SIGUSR1, 85, "saved"),
    "SIGTERM": (signal.SIGTERM, 143, "stopped"),
    "Ctrl-C": (signal.SIGINT, 130, "stopped"),
}


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=() if how == "a warning" else pytest.mark.slow) for how in SIGNALS]
)
def test_a_signal_saves_and_the_same_command_goes_on(
    how: str, supervised: tuple[Job, RunDir], pace: Pace, undisturbed: dict[str, Any]
) -> None:
    job, run_dir = supervised
    number, code, outcome = SIGNALS[how]
    job.process.send_signal(number)
    finished = job.wait(60)
    pace.set(0.0)
    assert finished.code == code, finished
    assert not finished.left_behind
    (end,) = ends(run_dir)
    assert (end.outcome, end.next) == (outcome, "nothing")
    assert end.epoch >= 2
    assert "disconnected" not in finished.stderr
    again = run(job.process.args, timeout_s=LIMIT_S)
    assert f"start 2 of {run_dir.path}" in again.stdout
    assert same(weights(run_dir.path), undisturbed)


def processes_of(run_dir: RunDir, job: Job) -> list[list[str]]:
    """The command lines of ranks, launchers and guards of a run, without that of its supervisor."""
    marks = (str(run_dir.path), run_dir.job.mark.read_text().strip())
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]) if process.pid != job.pid]
    return [line for line in lines if any(mark in " ".join(line) for mark in marks)]


@pytest.mark.slow
def test_a_killed_supervisor_takes_its_ranks_along(
    supervised: tuple[Job, RunDir], pace: Pace, undisturbed: dict[str, Any]
) -> None:
    job, run_dir = supervised
    job.process.kill()
    deadline = time.monotonic() + 20
    while (left := processes_of(run_dir, job)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    job.wait(20)
    pace.set(0.0)
    run(job.process.args, timeout_s=LIMIT_S)
    assert same(weights(run_dir.path), undisturbed)
    report = json.loads(run_dir.report.read_text())
    assert [start["outcome"] for start in report["starts"]] == [None, None]
