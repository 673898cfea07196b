"""The supervisor in a batch job: its time limit, and how another job goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from supervised import Script, supervise

from hvd_train.cluster.supervise.allocation import Allocation, find_allocation
from hvd_train.cluster.supervise.supervisor import Options
from hvd_train.cluster.supervise.surroundings import Answer
from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.runs import RunDir
from hvd_train.schedulers import SCHEDULERS, BatchScheduler, Job

HOSTS = (Host("node1", 2), Host("node2", 2))
SAVED = Script(saves=(2, 7), after_s=5000)


def job_of(name: str) -> Allocation:
    scheduler = next(one for one in SCHEDULERS if one.name == name)
    assert isinstance(scheduler, BatchScheduler)
    return Allocation(HOSTS, f"{name} job 17", scheduler, Job(name, "17"))


def warned_after(seconds: float, **more: object) -> dict[str, object]:
    return {"signals": {seconds: signal.SIGUSR1}, **more}


def test_slurm_queues_the_job_again_and_the_supervisor_waits_for_its_end(tmp_path: Path) -> None:
    world = warned_after(60, answers={"scontrol": Answer(0, "")})
    world["signals"][70.0] = signal.SIGTERM  # type: ignore[index]
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of("Slurm"))
    assert outcome.code == 85
    assert ["scontrol", "requeue", "17"] in outcome.world.commands
    assert outcome.ends == [("saved", "continue")]
    assert outcome.world.t - 1000 == pytest.approx(70, abs=1)


def test_a_requeue_that_is_refused_is_tried_three_times_and_told(tmp_path: Path) -> None:
    world = warned_after(60, answers={"scontrol": Answer(1, "Access denied")})
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of("Slurm"))
    assert outcome.code == 85
    assert outcome.world.commands.count(["scontrol", "requeue", "17"]) == 3
    assert any("Access denied" in line for line in outcome.told)
    assert "not continued by itself" in outcome.told[-1]


def test_a_scheduler_that_took_the_requeue_and_does_nothing_is_waited_for_within_a_limit(tmp_path: Path) -> None:
    world = warned_after(60, answers={"scontrol": Answer(0, "")})
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of("Slurm"))
    assert "did not end this job within 120 s" in outcome.told[-1]
    assert outcome.world.t - 1000 < 200


def test_lsf_takes_the_exit_code(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, SAVED, world=warned_after(60), allocation=job_of("LSF"))
    assert outcome.code == 85
    assert "for which LSF queues it again" in outcome.told[-1]


@pytest.mark.parametrize("name", ["PBS", "Grid Engine"])
def test_a_follow_up_is_submitted(tmp_path: Path, name: str) -> None:
    given: list[tuple[str, list[str]]] = []

    def follow_up(job_id: str, excluded: Sequence[str]) -> str:
        given.append((job_id, list(excluded)))
        return "18"

    spec = tmp_path / "run" / "job" / "job.toml"
    spec.parent.mkdir(parents=True)
    spec.touch()
    world = warned_after(60, silent={1: {"node2"}})
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of(name), follow_up=follow_up)
    assert outcome.code == 85
    assert given == [("17", ["node2"])]
    assert outcome.ranks == [2]
    assert "job 18 is in the queue" in outcome.told[-1]


def test_a_job_that_was_not_submitted_by_us_cannot_be_followed_up(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, SAVED, world=warned_after(60), allocation=job_of("PBS"), follow_up=lambda *_: "18")
    assert outcome.code == 85
    assert outcome.ends == [("saved", "nothing")]


def test_a_job_that_grid_engine_deletes_saves_and_is_not_continued(tmp_path: Path) -> None:
    """-notify has it send SIGUSR2 before it kills a job. Seen with a real qdel, after which a follow-up went on."""
    spec = tmp_path / "run" / "job" / "job.toml"
    spec.parent.mkdir(parents=True)
    spec.touch()
    world = {"signals": {60: signal.SIGUSR2}}
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of("Grid Engine"), follow_up=lambda *_: "18")
    assert outcome.code == 128 + signal.SIGUSR2
    assert outcome.ends == [("stopped", "nothing")]
    assert outcome.world.started[0].signals == [signal.SIGUSR1]


def test_a_refused_follow_up_is_told(tmp_path: Path) -> None:
    def refuse(job_id: str, excluded: Sequence[str]) -> str:
        raise UserError("qsub refused: no more jobs today")

    spec = tmp_path / "run" / "job" / "job.toml"
    spec.parent.mkdir(parents=True)
    spec.touch()
    outcome = supervise(tmp_path, SAVED, world=warned_after(60), allocation=job_of("PBS"), follow_up=refuse)
    assert outcome.code == 85
    assert sum("no more jobs today" in line for line in outcome.told) == 3


def test_the_scheduler_tells_the_limit(tmp_path: Path) -> None:
    world = {"answers": {"squeue": Answer(0, "10:00\n"), "scontrol": Answer(1, "no")}}
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of("Slurm"), options=Options(time_limit_s=9000))
    assert outcome.ends == [("saved", "continue")]
    # It is asked at the start, 600 s before the end of the job, and the warning comes 120 s before that.
    assert outcome.world.started[0].signals == [signal.SIGUSR1]
    assert 480 <= outcome.world.t - 1000 < 500


def test_nothing_gained_is_continued_once(tmp_path: Path) -> None:
    """A warning that comes while Python still starts kills ranks, or finds no step to save."""
    for killed in (True, False):
        script = Script(saves=None) if killed else Script(code=85, saves=None)
        world = warned_after(60, answers={"scontrol": Answer(0, "")}) if killed else None
        outcome = supervise(tmp_path, script, world=world, allocation=job_of("Slurm"))
    assert outcome.code == 85
    assert outcome.ends == [("failed", "continue"), ("saved", "give-up")]
    assert "would come no further" in outcome.told[-1]


@pytest.mark.parametrize(("name", "code"), [("LSF", 1), ("Slurm", 85)])
def test_a_job_that_gives_up_is_not_queued_again_for_its_exit_code(name: str, code: int, tmp_path: Path) -> None:
    """bsub -Q 85 goes by the code alone, and so does a Job of Kubernetes."""
    for _ in range(2):
        outcome = supervise(tmp_path, Script(code=85, saves=None), allocation=job_of(name))
    assert outcome.ends == [("saved", "continue"), ("saved", "give-up")]
    assert outcome.code == code


@pytest.mark.parametrize("name", ["Slurm", "PBS"])
def test_a_job_that_is_being_cancelled_saves_and_is_not_queued_again(tmp_path: Path, name: str) -> None:
    """Seen with a real Slurm: the job was in the queue again until `jobs cancel` came to cancel it."""
    job = RunDir(tmp_path / "run").job
    job.path.mkdir(parents=True)
    for file in (job.spec, job.ids, job.cancelled):
        file.touch()
    world = warned_after(60, answers={"scontrol": Answer(0, "")})
    world["signals"][70.0] = signal.SIGTERM  # type: ignore[index]
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of(name), follow_up=lambda *_: "18")
    assert outcome.ends == [("saved", "nothing")]
    assert outcome.code == 85
    assert ["scontrol", "requeue", "17"] not in outcome.world.commands
    assert outcome.world.t - 1000 == pytest.approx(70, abs=1), "the scheduler would call it failed, not cancelled"


def test_a_job_that_was_submitted_after_the_cancelled_one_is_continued(tmp_path: Path) -> None:
    job = RunDir(tmp_path / "run").job
    job.path.mkdir(parents=True)
    job.cancelled.touch()
    os.utime(job.cancelled, (1, 1))
    job.ids.touch()
    world = warned_after(60, answers={"scontrol": Answer(0, "")})
    outcome = supervise(tmp_path, SAVED, world=world, allocation=job_of("Slurm"))
    assert outcome.ends == [("saved", "continue")]


def test_a_hostlist_takes_precedence_over_the_job(tmp_path: Path) -> None:
    environment = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_TASKS_PER_NODE": "2(x2)"}
    assert find_allocation(environment, hosts=None, hostfile=None).hosts == HOSTS
    given = find_allocation(environment, hosts="node1:1", hostfile=None)
    assert [host.slots for host in given.hosts] == [1]
    assert given.job == Job("Slurm", "17")
    file = tmp_path / "hosts"
    file.write_text("node2 slots=3\n")
    assert find_allocation(environment, hosts=None, hostfile=file).slots == 3
    with pytest.raises(UserError, match="give one of them"):
        find_allocation(environment, hosts="a", hostfile=file)


def test_without_a_job_it_is_this_machine() -> None:
    found = find_allocation({}, hosts=None, hostfile=None)
    assert found.is_this_machine
    assert found.slots >= 1
