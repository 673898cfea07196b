"""What a scheduler is to hvd_train. Commands are argument lists and answers are texts, so all of it is pure.

Two levels: a `Scheduler` recognises its jobs, which names run directories and locks. A `BatchScheduler` can also be
driven. To add one, write a class in a file of its own and list it in `SCHEDULERS` (table.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from hvd_train.hostfiles import Host
from hvd_train.schedulers.job import Job, Resources

State = Literal["pending", "running", "ending", "gone"]


class Scheduler(ABC):
    """A scheduler whose jobs are recognised."""

    name: ClassVar[str]
    """As messages call it."""

    @abstractmethod
    def job(self, environment: Mapping[str, str]) -> Job | None:
        """The job, or the task of an array, that a process with this environment runs in. None outside of one."""


class BatchScheduler(Scheduler):
    """A scheduler that can be driven: jobs are submitted, watched, cancelled and queued again."""

    @abstractmethod
    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        """The hosts of the job's allocation with their slots, in the scheduler's order. Raises UserError where they are not given."""

    @abstractmethod
    def directives(self, resources: Resources) -> list[str]:
        """The lines of a job script that ask for these resources."""

    @abstractmethod
    def submit_command(self, script: str) -> list[str]:
        """Submits a job script."""

    @abstractmethod
    def submitted_id(self, output: str) -> str:
        """The id of the job, from the output of `submit_command`."""

    @abstractmethod
    def status_command(self, job_id: str) -> list[str]:
        """Asks for the state of a job."""

    @abstractmethod
    def state(self, output: str) -> State:
        """The state, from the output of `status_command`. A job that the scheduler no longer lists is gone."""

    @abstractmethod
    def cancel_command(self, job_id: str) -> list[str]:
        """Cancels a job."""

    @abstractmethod
    def requeue_command(self, job_id: str) -> list[str]:
        """Ends a running job and queues it again."""

    @abstractmethod
    def time_left_command(self, job_id: str) -> list[str]:
        """Asks how long a running job may still take."""

    @abstractmethod
    def time_left_s(self, output: str) -> float | None:
        """Seconds, from the output of `time_left_command`. None where the job has no limit or none is known."""


def get(environment: Mapping[str, str], name: str) -> str:
    """The value of a variable without blanks around it; empty where it is not set."""
    return environment.get(name, "").strip()


def script(scheduler: BatchScheduler, resources: Resources, lines: Sequence[str]) -> str:
    """A job script for bash: the directives, then `lines`."""
    return "\n".join(["#!/bin/bash", *scheduler.directives(resources), "", *lines]) + "\n"
