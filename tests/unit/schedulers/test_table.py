"""The scheduler that is installed here, and a new one from outside: a class and an entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args, get_type_hints

import pytest

from hvd_train.cluster.submit.settings import Settings
from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers import (
    BatchScheduler,
    Job,
    Resources,
    Scheduler,
    detect_job,
    detect_scheduler,
    scheduler_named,
    scheduler_of_job,
    script,
    table,
)
from hvd_train.schedulers.base import State
from hvd_train.schedulers.table import SCHEDULERS, batch_schedulers

SLURM = ["sbatch", "squeue", "scancel"]
PBS = ["qsub", "qstat", "pbsnodes"]
SGE = ["qsub", "qstat", "qconf"]
LSF = ["bsub", "bjobs"]


def detected(*folders: tuple[str, list[str]], **environment: str) -> str:
    """The flag of the scheduler that is found with these folders on PATH, in this order."""

    def which(program: str) -> str | None:
        return next((f"{folder}/{program}" for folder, programs in folders if program in programs), None)

    return detect_scheduler(environment, which).flag


def test_the_scheduler_is_that_whose_commands_are_here() -> None:
    assert detected(("/usr/bin", SLURM)) == "slurm"
    assert detected(("/opt/pbs/bin", PBS)) == "pbs"
    assert detected(("/usr/bin", SGE)) == "sge"
    assert detected(("/lsf/bin", LSF)) == "lsf"


def test_a_qsub_belongs_to_the_scheduler_in_its_folder() -> None:
    """Both are installed, and the first qsub on PATH is the one that would submit."""
    assert detected(("/opt/pbs/bin", PBS), ("/usr/bin", SGE)) == "pbs"
    assert detected(("/usr/bin", SGE), ("/opt/pbs/bin", PBS)) == "sge"
    assert detected(("/usr/bin", ["qsub"]), SGE_ROOT="/opt/sge") == "sge"
    assert detected(("/usr/bin", ["qsub"]), PBS_CONF_FILE="/etc/pbs.conf") == "pbs"


def test_the_qsub_and_bsub_that_come_with_slurm_are_no_schedulers() -> None:
    assert detected(("/usr/bin", [*SLURM, *PBS, *LSF])) == "slurm"


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([("/usr/bin", SLURM), ("/opt/pbs/bin", PBS)], r"Slurm \(/usr/bin/sbatch\) and PBS \(/opt/pbs/bin/qsub\)"),
        ([("/usr/bin", [*SLURM, *SGE])], "Choose one with --on slurm or --on sge"),
        ([("/usr/bin", ["qsub"])], "No batch scheduler was found on PATH"),
        ([("/usr/bin", ["qsub"]), ("/x", ["pbsnodes"])], "No batch scheduler was found on PATH"),
        ([], "Looked for these commands: Slurm: sbatch, squeue; PBS: qsub, pbsnodes"),
    ],
)
def test_none_or_two_are_refused_by_name(folders: list[tuple[str, list[str]]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        detected(*folders)


def test_a_scheduler_has_a_flag() -> None:
    assert [scheduler_named(flag).name for flag in ("slurm", "pbs", "sge", "lsf")] == [
        "Slurm",
        "PBS",
        "Grid Engine",
        "LSF",
    ]
    with pytest.raises(
        UserError, match="There is no scheduler 'moab'. Those that can be driven are slurm, pbs, lsf, sge, kubernetes"
    ):
        scheduler_named("moab")


def test_submit_offers_what_is_in_the_table() -> None:
    offered = set(get_args(get_type_hints(Settings)["on"]))
    assert offered == {"auto", *(scheduler.flag for scheduler in batch_schedulers())}


class Recognised(Scheduler):
    """A scheduler from outside whose jobs are recognised."""

    name = "Cobalt"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        return Job.of(self.name, environment["COBALT_JOBID"]) if "COBALT_JOBID" in environment else None


class Flux(BatchScheduler):
    """A scheduler from outside that can be driven."""

    name = "Flux"
    flag = "flux"
    programs = ("flux",)
    directive = "#FLUX:"
    continuation = "chain"
    no_such_job = ("unknown job",)
    task_variable = "FLUX_JOB_CC"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        return Job.of(self.name, environment["FLUX_JOB_ID"]) if "FLUX_JOB_ID" in environment else None

    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        return (Host("node1", 2),)

    def options(self, resources: Resources) -> list[str]:
        return [f"--nodes={resources.num_hosts}", f"--time-limit={resources.time_limit_s}s"]

    def submit_command(self, script: str) -> list[str]:
        return ["flux", "batch", script]

    def submitted_id(self, output: str) -> str:
        return output.strip()

    def status_command(self, job_id: str) -> list[str]:
        return ["flux", "jobs", "--no-header", "--format={state}", job_id]

    def state(self, output: str, job_id: str) -> State:
        return "running" if output.strip() == "RUN" else "gone"

    def cancel_command(self, job_id: str) -> list[str]:
        return ["flux", "cancel", job_id]

    def time_left_command(self, job_id: str) -> list[str]:
        return ["flux", "job", "timeleft", job_id]

    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        return float(output)


def test_a_new_scheduler_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SCHEDULERS", (*SCHEDULERS, Recognised(), Flux()))
    assert str(detect_job({"COBALT_JOBID": "12"})) == "Cobalt job 12"
    assert scheduler_of_job({"COBALT_JOBID": "12"}) is None
    assert str(detect_job({"FLUX_JOB_ID": "f-12"})) == "Flux job f-12"
    flux = scheduler_of_job({"FLUX_JOB_ID": "f-12"})
    assert flux is scheduler_named("flux")
    assert detected(("/usr/bin", ["flux"])) == "flux"
    wanted = Resources(name="songs", num_hosts=2, ranks_per_host=2, time_limit_s=60, extra_directives=("-q debug",))
    assert script(scheduler_named("flux"), wanted, ["true"]).splitlines() == [
        "#!/bin/bash",
        "#FLUX: --nodes=2",
        "#FLUX: --time-limit=60s",
        "#FLUX: -q debug",
        "",
        "true",
    ]
