"""A batch job: what it is called, and what it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job, or one task of a job array."""

    scheduler: str
    id: str
    """Letters, digits, - and _ alone: 123, or 123_4 for task 4 of the array 123."""

    @classmethod
    def of(cls, scheduler: str, given: str) -> Job:
        """With an id that is safe in a file name."""
        return cls(scheduler, re.sub(r"[^A-Za-z0-9-]+", "_", given).strip("_")[:40])

    def __str__(self) -> str:
        return f"{self.scheduler} job {self.id}"


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks its scheduler for."""

    name: str
    """Letters, digits, dots, - and _."""
    num_hosts: int
    ranks_per_host: int
    cpus_per_rank: int = 1
    memory_mb_per_rank: int | None = None
    """None is the default of the site."""
    time_limit_s: int
    warning_s: int = 120
    """So long before the limit the job is warned: by the scheduler's signal, or by the supervisor's timer."""
    queue: str = ""
    account: str = ""
    log: str = ""
    """A file for the output, perhaps with `log_marks` of the scheduler. The scheduler's default where it is empty."""
    exclusive: bool = False
    """Whether no other job may share the hosts."""
    num_tasks: int | None = None
    """Tasks of a job array, numbered from the scheduler's first number; None is a plain job."""
    max_parallel: int | None = None
    """Tasks of an array that may run at once."""
    after: str = ""
    """The id of a job that must have ended first."""
    mail: str = ""
    keep_on_host_loss: bool = True
    """Whether the job stays in its allocation when it loses a host, where the scheduler can do that."""
    parallel_environment: str = ""
    """Grid Engine's name for it (-pe)."""
    extra_directives: tuple[str, ...] = ()
    """Further directives, with or without the #SBATCH in front."""
    skip_directives: tuple[str, ...] = ()
    """Words: a directive that contains one of them is left out, unless it is an extra one."""
