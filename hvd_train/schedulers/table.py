"""The table of schedulers, and the job that a process runs in."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.schedulers.base import Scheduler
from hvd_train.schedulers.job import Job
from hvd_train.schedulers.recognised import GridEngine, Lsf, Pbs
from hvd_train.schedulers.slurm import Slurm

SCHEDULERS: tuple[Scheduler, ...] = (Slurm(), Pbs(), Lsf(), GridEngine())


def detect_job(environment: Mapping[str, str]) -> Job | None:
    """The batch job that a process with this environment runs in, or None."""
    return next((job for scheduler in SCHEDULERS if (job := scheduler.job(environment)) is not None), None)
