"""Each scheduler against commands that answer like the real ones: what is submitted is found, watched and ended."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_schedulers import COMMANDS, FakeCluster

from hvd_train.errors import UserError
from hvd_train.schedulers import BatchScheduler, Resources, detect_job, detect_scheduler, scheduler_named, script

HOSTS = {"node1": 2, "node2": 2}
JOB = Resources(name="songs", num_hosts=2, ranks_per_host=2, time_limit_s=3600, parallel_environment="mpi")
ARRAY = Resources(
    name="songs", num_hosts=1, ranks_per_host=2, time_limit_s=3600, num_tasks=3, parallel_environment="mpi"
)


class Session:
    """A scheduler and its fake commands."""

    def __init__(self, folder: Path, flag: str) -> None:
        self.cluster = FakeCluster(folder / "cluster", flag)
        self.scheduler: BatchScheduler = scheduler_named(flag)
        self.folder = folder

    def ask(self, command: list[str] | None, stdin: str = "") -> str:
        assert command is not None
        path = {"PATH": self.cluster.search_path}
        ended = subprocess.run(command, input=stdin, capture_output=True, text=True, env=os.environ | path, timeout=60)
        return ended.stdout

    def submit(self, resources: Resources, *options: str) -> str:
        text = script(self.scheduler, resources, ["true"])
        (self.folder / "job.sh").write_text(text)
        program, *arguments = self.scheduler.submit_command(str(self.folder / "job.sh"))
        return self.scheduler.submitted_id(self.ask([program, *options, *arguments], text))

    def state(self, job_id: str) -> str:
        return self.scheduler.state(self.ask(self.scheduler.status_command(job_id)), job_id)

    def time_left(self, job_id: str) -> float | None:
        return self.scheduler.time_left_s(self.ask(self.scheduler.time_left_command(job_id)), job_id)


@pytest.fixture(params=sorted(COMMANDS))
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Session:
    return Session(tmp_path, request.param)


def test_a_job_is_submitted_watched_and_cancelled(session: Session) -> None:
    job_id = session.submit(JOB)
    assert job_id == "101"
    assert session.state(job_id) == "pending"
    environment = session.cluster.environment(job_id, HOSTS)
    assert str(detect_job(environment)) == f"{session.scheduler.name} job 101"
    assert {host.name: host.slots for host in session.scheduler.hosts(environment)} == HOSTS
    assert session.state(job_id) == "running"
    left = session.time_left(job_id)
    assert left is not None
    assert 3500 <= left <= 3600
    session.ask(session.scheduler.cancel_command(job_id))
    assert session.state(job_id) == "gone"


def test_the_tasks_of_an_array_have_ids_of_their_own(session: Session) -> None:
    job_id = session.submit(ARRAY)
    first = session.scheduler.first_task
    tasks = [f"{job_id}_{number}" for number in range(first, first + 3)]
    assert sorted(session.cluster.jobs) == tasks
    environment = session.cluster.environment(tasks[1], {"node1": 2})
    assert str(detect_job(environment)) == f"{session.scheduler.name} job {tasks[1]}"
    assert session.scheduler.task(environment) == first + 1
    assert environment[session.scheduler.task_variable] == str(first + 1)
    assert [session.state(task) for task in tasks] == ["pending", "running", "pending"]
    assert session.state(f"{job_id}[]") == "running"
    session.ask(session.scheduler.cancel_command(tasks[2]))
    assert [job["state"] for job in session.cluster.jobs.values()] == ["pending", "running", "gone"]


def test_a_follow_up_waits(session: Session) -> None:
    job_id = session.submit(JOB)
    session.cluster.environment(job_id)
    follow_up = session.submit(JOB, *session.scheduler.after_option(job_id))
    assert session.cluster.jobs[follow_up]["reason"] == "Dependency"


def test_a_warning_reaches_the_script_and_not_the_job(session: Session) -> None:
    job_id = session.submit(JOB)
    session.cluster.environment(job_id)
    command = session.scheduler.warn_command(job_id)
    if session.scheduler.flag == "sge":
        assert command is None
        return
    session.ask(command)
    assert session.state(job_id) == "running"


@pytest.mark.parametrize("flag", ["slurm", "lsf"])
def test_a_job_that_is_queued_again_keeps_its_id(flag: str, tmp_path: Path) -> None:
    session = Session(tmp_path, flag)
    job_id = session.submit(JOB)
    assert session.scheduler.restart_count(session.cluster.environment(job_id)) == 0
    session.ask(session.scheduler.requeue_command(job_id))
    assert session.state(job_id) == "pending"
    assert session.scheduler.restart_count(session.cluster.environment(job_id)) == 1


def test_nonsense_for_an_id_is_an_error_that_shows_it(session: Session) -> None:
    session.cluster.misbehave(session.scheduler.programs[0], say="Good morning")
    with pytest.raises(UserError, match=r"printed no job id, but: Good morning\."):
        session.submit(JOB)


def test_nonsense_for_a_state_is_a_job_that_is_gone_or_about_to_end(session: Session) -> None:
    job_id = session.submit(JOB)
    session.cluster.misbehave(session.scheduler.status_command(job_id)[0], say="Good morning")
    assert session.state(job_id) in ("gone", "ending")
    assert session.time_left(job_id) is None


def test_the_installed_scheduler_is_found(session: Session) -> None:
    found = detect_scheduler({}, lambda program: shutil.which(program, path=str(session.cluster.path)))
    assert found is session.scheduler
