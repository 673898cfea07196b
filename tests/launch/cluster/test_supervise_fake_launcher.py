"""The supervisor with a launcher that ends as it is told: real processes and signals, no MPI."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Job, run, started

from hvd_train.runs import RunDir, job_history

PROGRAM = Path(__file__).with_name("supervise_fake.py")
LIMIT_S = 60.0


def command(tmp_path: Path, *plan: str, options: tuple[str, ...] = ()) -> list[str | Path]:
    file = tmp_path / "plan"
    file.write_text("\n".join(plan))
    supervise = ["supervise", "--np", "1", "--restart-delay", "0.1", *options]
    return [sys.executable, PROGRAM, file, *supervise, "--", "train", "--run-dir", tmp_path / "run"]


@contextlib.contextmanager
def playing(tmp_path: Path, *plan: str, options: tuple[str, ...] = ()) -> Iterator[Job]:
    """A supervisor whose launcher has begun to play the first of the plan."""
    with started(command(tmp_path, *plan, options=options), timeout_s=LIMIT_S) as job:
        job.wait_for("the launcher plays", timeout_s=LIMIT_S)
        yield job


def ends(tmp_path: Path) -> list[str]:
    events = job_history.read(RunDir(tmp_path / "run").job.history)
    return [f"{event.outcome} {event.next}" for event in events if isinstance(event, job_history.End)]


@pytest.mark.parametrize(
    ("plan", "code", "wanted"),
    [
        (("end 0", "done"), 0, ["failed restart", "done nothing"]),
        (("end 137", "checkpoint 1 0 4", "end 139", "done"), 0, ["failed restart"] * 3 + ["done nothing"]),
        (("end 1", "end 1"), 1, ["failed restart", "failed give-up"]),
        (("end 4",) * 4, 4, ["failed restart"] * 3 + ["failed give-up"]),
        (("end 2",), 2, ["mistake give-up"]),
        (("checkpoint 1 7 85",), 85, ["saved nothing"]),
        (("end 85",), 85, ["saved nothing"]),
    ],
)
def test_each_end_of_the_launcher(tmp_path: Path, plan: tuple[str, ...], code: int, wanted: list[str]) -> None:
    finished = run(command(tmp_path, *plan), timeout_s=LIMIT_S, ok=None)
    assert finished.code == code, finished
    assert ends(tmp_path) == wanted
    assert "Primary job" not in finished.output
    assert finished.stdout.splitlines()[-1].startswith("supervise: ")


def test_a_launcher_that_stays_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    finished = run(command(tmp_path, "linger", "done"), timeout_s=LIMIT_S)
    assert ends(tmp_path) == ["failed restart", "done nothing"], finished
    assert "did not end within" in finished.stdout


def test_a_launcher_that_starts_nothing_is_ended(tmp_path: Path) -> None:
    finished = run(command(tmp_path, "idle", "done"), timeout_s=LIMIT_S, env={"BEGIN_S": "4"})
    assert ends(tmp_path) == ["failed restart", "done nothing"], finished
    assert "no rank had begun" in finished.stdout


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGUSR1, 85), (signal.SIGUSR2, 85), (signal.SIGXCPU, 85), (signal.SIGTERM, 143)]
)
def test_a_signal_has_the_run_saved(tmp_path: Path, number: int, code: int) -> None:
    with playing(tmp_path, "save 2 5") as job:
        job.process.send_signal(number)
        finished = job.wait(LIMIT_S)
    assert finished.code == code, finished
    assert ends(tmp_path) == ["stopped nothing" if number == signal.SIGTERM else "saved nothing"]
    assert not finished.left_behind
    assert "goes on from the last checkpoint" in finished.stdout.splitlines()[-1]


def test_its_own_timer_has_the_run_saved(tmp_path: Path) -> None:
    options = ("--time", "0:00:32", "--warn", "30")
    finished = run(command(tmp_path, "save 2 5", options=options), timeout_s=LIMIT_S, ok=None)
    assert finished.code == 85, finished
    assert finished.seconds < 25


def test_a_deaf_launcher_is_killed(tmp_path: Path) -> None:
    with playing(tmp_path, "deaf") as job:
        job.signal(signal.SIGINT)
        finished = job.wait(20)
    assert finished.code == 130, finished
    assert not finished.left_behind


def test_the_ranks_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with playing(tmp_path, "idle") as job:
        job.process.kill()
        finished = job.wait(10)
    assert not finished.left_behind


def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    with playing(tmp_path, "save 1 1", "done") as job:
        second = run(command(tmp_path, "done"), timeout_s=LIMIT_S, ok=False)
        assert second.code == 2
        assert "is in use by" in second.stderr
        job.process.send_signal(signal.SIGUSR1)
        assert job.wait(LIMIT_S).code == 85
