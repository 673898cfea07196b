"""The batch job that this process runs in, read from what its scheduler put into the environment. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job, or one task of a job array."""

    scheduler: str
    id: str
    """Letters, digits, - and _ alone: 123, or 123_4 for task 4 of the array 123."""

    def __str__(self) -> str:
        return f"{self.scheduler} job {self.id}"


def job_of(environment: Mapping[str, str]) -> Job | None:
    """The job, or None outside of one."""

    def get(key: str) -> str:
        return environment.get(key, "").strip()

    if get("SLURM_JOB_ID"):
        array = f"{get('SLURM_ARRAY_JOB_ID')}_{get('SLURM_ARRAY_TASK_ID')}"
        return _job("Slurm", array if get("SLURM_ARRAY_TASK_ID") else get("SLURM_JOB_ID"))
    if get("PBS_JOBID"):  # 123[4].server
        return _job("PBS", get("PBS_JOBID").partition(".")[0])
    if get("LSB_JOBID"):
        return _job("LSF", get("LSB_JOBID") + (f"_{get('LSB_JOBINDEX')}" if get("LSB_JOBINDEX").strip("0") else ""))
    # Others than Grid Engine set a JOB_ID too; it alone says of every job which task it is, or "undefined".
    if get("JOB_ID") and get("SGE_TASK_ID"):
        return _job("Grid Engine", get("JOB_ID") + (f"_{get('SGE_TASK_ID')}" if get("SGE_TASK_ID").isdecimal() else ""))
    return None


def _job(scheduler: str, given: str) -> Job:
    return Job(scheduler, re.sub(r"[^A-Za-z0-9-]+", "_", given).strip("_")[:40])
