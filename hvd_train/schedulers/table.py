"""The table of schedulers, and the job that a process runs in."""

from __future__ import annotations

from collections.abc import Mapping

from hvd_train.schedulers.base import Scheduler
from hvd_train.schedulers.job import Job
from hvd_train.schedulers.recognised import GridEngine, Lsf, Pbs
from hvd_train.schedulers.slurm import Slurm

SCHEDULERS: tuple[Scheduler, ...] = (Slurm(), Pbs(), Lsf(), GridEngine())


def detect_scheduler(environment: Mapping[str, str]) -> Scheduler | None:
    """The scheduler whose job a process with this environment runs in, or None."""
    return next((scheduler for scheduler in SCHEDULERS if scheduler.job(environment) is not None), None)


def detect_job(environment: Mapping[str, str]) -> Job | None:
    """The batch job that a process with this environment runs in, or None."""
    scheduler = detect_scheduler(environment)
    return scheduler.job(environment) if scheduler is not None else None
