"""Submitted jobs for the tests of hvd-train jobs, in the working directory, and what their supervisors would write."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_schedulers import FakeCluster

from hvd_train.cluster import JobSpec, jobs
from hvd_train.cluster.submit import queue
from hvd_train.cluster.submit.spec import Task
from hvd_train.runs import RunDir, job_history
from hvd_train.schedulers import Resources


def cluster_of(flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Commands that stand for those of a scheduler, alone on PATH."""
    cluster = FakeCluster(tmp_path / "cluster", flag)
    monkeypatch.setenv("PATH", cluster.search_path)
    return cluster


def submit(flag: str = "slurm", *, tasks: int = 0) -> queue.Submitted:
    resources = Resources(name="songs", num_hosts=1, ranks_per_host=2, time_limit_s=3600, parallel_environment="mpi")
    spec = JobSpec(
        scheduler=flag,
        resources=resources,
        working_directory=str(Path.cwd()),
        programs="/opt/hvd/bin",
        environment={},
        run_dir="runs/songs-{job}",
        flags=("--data", "songs.csv"),
        supervise=("--np", "2"),
        tasks=tuple(Task(flags=("--seed", str(number))) for number in range(tasks)),
    )
    return queue.submit(queue.prepare(spec))


def start(run: Path, **values: object) -> None:
    given = {"number": 1, "hosts": {"node1": 2}, "ranks": 2, **values}
    job_history.append(RunDir(run).job.history, job_history.Start(**given))  # type: ignore[arg-type]


def end(run: Path, outcome: str = "failed", next: str = "give-up", reason: str = "the loss is nan") -> None:
    event = job_history.End(number=1, code=1, outcome=outcome, reason=reason, next=next)  # type: ignore[arg-type]
    job_history.append(RunDir(run).job.history, event)


def the_status(given: str = "101") -> str:
    (found,), _ = jobs.statuses(jobs.selected(given, Path("runs")))
    return str(found)
