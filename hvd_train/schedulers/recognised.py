"""Schedulers whose jobs are recognised, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.schedulers.base import Scheduler, get
from hvd_train.schedulers.job import Job


class Pbs(Scheduler):
    """OpenPBS and PBS Pro."""

    name = "PBS"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        given = get(environment, "PBS_JOBID")  # 123[4].server
        return Job.of(self.name, given.partition(".")[0]) if given else None


class Lsf(Scheduler):
    """LSF of IBM."""

    name = "LSF"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        given, task = get(environment, "LSB_JOBID"), get(environment, "LSB_JOBINDEX")
        return Job.of(self.name, given + (f"_{task}" if task.strip("0") else "")) if given else None


class GridEngine(Scheduler):
    """Grid Engine, by whatever name. Others set JOB_ID too; it alone says which task a job is, or "undefined"."""

    name = "Grid Engine"

    def job(self, environment: Mapping[str, str]) -> Job | None:
        given, task = get(environment, "JOB_ID"), get(environment, "SGE_TASK_ID")
        if not given or not task:
            return None
        return Job.of(self.name, given + (f"_{task}" if task.isdecimal() else ""))
