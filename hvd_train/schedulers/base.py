"""What a scheduler is to hvd_train. Commands are argument lists and answers are texts, so all of it is pure.

Two levels: a `Scheduler` recognises its jobs, which names run directories and locks. A `BatchScheduler` can also be
driven. To add one, write a class in a file of its own and list it in `SCHEDULERS` (table.py).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from hvd_train.errors import UserError
from hvd_train.hostfiles import Host
from hvd_train.schedulers.job import Job, Resources

State = Literal["pending", "running", "ending", "gone"]
Continuation = Literal["requeue", "exit-code", "chain"]


@dataclass(frozen=True)
class LaunchAgent:
    """How mpirun starts its daemon on another host, where its own way does not work: the value of plm_rsh_agent."""

    command: str
    """With `{script}` where `script` has been written to."""
    script: str = ""
    """A program to write first, as text; empty where none is needed."""


class Scheduler(ABC):
    """A scheduler whose jobs are recognised."""

    name: ClassVar[str]
    """As messages call it."""

    @abstractmethod
    def job(self, environment: Mapping[str, str]) -> Job | None:
        """The job, or the task of an array, that a process with this environment runs in. None outside of one."""

    def cpus_here(self, environment: Mapping[str, str], host: str) -> int | None:
        """The CPUs that the job was given on this host. None where the scheduler does not say."""
        return None


class BatchScheduler(Scheduler):
    """A scheduler that can be driven: jobs are submitted, watched, cancelled and continued."""

    flag: ClassVar[str]
    """What `hvd-train submit --on` calls it."""
    programs: ClassVar[tuple[str, ...]]
    """Commands that stand in one folder on PATH where it is installed. The first one submits."""
    cancels_gently: ClassVar[bool] = False
    """Whether `cancel_command` gives the job time for a checkpoint, so that no warning has to come before it."""
    ends_with: ClassVar[tuple[int, ...]] = ()
    """Signals before an end for good, such as that of a cancelled job. It warns of the time limit with others, or later than the
    supervisor's own timer."""
    is_detected: ClassVar[bool] = True
    """Whether these commands mean that the machine belongs to a cluster. `--on` names a scheduler without this."""
    imitates: ClassVar[tuple[str, ...]] = ()
    """The flags of schedulers whose commands come with this one, in the folder of its own."""
    directive: ClassVar[str]
    """What a line of a script begins with that is for the scheduler: #SBATCH."""
    continuation: ClassVar[Continuation]
    """How a job is continued after its end: it queues itself again, ends with TO_BE_CONTINUED, or has a follow-up wait for it."""
    warns: ClassVar[bool] = False
    """Whether it sends the job script a signal before the time limit. Otherwise the supervisor's own timer warns."""
    submits_by_stdin: ClassVar[bool] = False
    """Whether `submit_command` reads the script from its standard input."""
    survives_lost_hosts: ClassVar[bool] = False
    """Whether a job can go on in its allocation when one of its hosts is lost."""
    no_such_job: ClassVar[tuple[str, ...]] = ()
    """What its commands print, among other words, about a job that has ended or never was."""
    task_variable: ClassVar[str]
    """The variable that holds the number of a task, in each task of a job array."""
    first_task: ClassVar[int] = 0
    """The number of the first task of an array, as `directives` asks for it."""

    def is_configured(self, environment: Mapping[str, str]) -> bool:
        """Whether the environment points to an installation of this scheduler, where its commands alone do not tell."""
        return False

    @abstractmethod
    def hosts(self, environment: Mapping[str, str]) -> tuple[Host, ...]:
        """The hosts of the job's allocation with their slots, in the scheduler's order. Raises UserError where they are not given."""

    def launch_agent(self, environment: Mapping[str, str]) -> LaunchAgent | None:
        """How mpirun reaches the other hosts of the job. None where its own way does."""
        return None

    def run_on_host(self, host: str, line: str) -> list[str] | None:
        """Runs a line for sh on one host of the job. None where the launch agent does that, or else ssh."""
        return None

    def task(self, environment: Mapping[str, str]) -> int | None:
        """The number of this task in its array, as the scheduler counts. None outside of an array."""
        return None

    def restart_count(self, environment: Mapping[str, str]) -> int:
        """How often this job was queued again under the same id."""
        return 0

    @abstractmethod
    def options(self, resources: Resources) -> list[str]:
        """What asks for these resources, an option each, as it follows `directive` in a line of a script."""

    def directives(self, resources: Resources) -> list[str]:
        """The lines of a job script that ask for these resources. Raises UserError."""
        skipped = [word for word in resources.skip_directives if word]
        kept = [option for option in self.options(resources) if not any(word in option for word in skipped)]
        extra = [option.removeprefix(self.directive).strip() for option in resources.extra_directives]
        lines = [f"{self.directive} {option}" for option in (*kept, *extra)]
        for line in lines:
            if not line.isprintable():
                raise UserError(
                    f"{line!r} is no directive of a job script: it must be one line without control characters."
                )
        return lines

    def opening(self, resources: Resources) -> list[str]:
        """The first lines of a job script, for what no directive can say."""
        return []

    def log_marks(self, *, array: bool) -> tuple[str, str]:
        """What the scheduler replaces in `Resources.log`: by the id of the job, or of the whole array, and by the task.

        Empty where it replaces nothing.
        """
        return "", ""

    @abstractmethod
    def submit_command(self, script: str) -> list[str]:
        """Submits a job script."""

    def after_option(self, job_id: str) -> list[str]:
        """Options of `submit_command`: the new job waits until that one has ended, however it ends."""
        return []

    def exclude_option(self, hosts: Sequence[str]) -> list[str]:
        """Options of `submit_command` that keep a job off these hosts. Empty where the scheduler has none."""
        return []

    @abstractmethod
    def submitted_id(self, output: str) -> str:
        """The id of the job, from the output of `submit_command`. Raises UserError.

        It is that of `job` in the job itself: 123 for 123.server. For an array it is the id without the task, and 123_4
        is task 4. All methods here take an id in this form, and write it as their command wants it.
        """

    @abstractmethod
    def status_command(self, job_id: str) -> list[str]:
        """Asks for the state of a job."""

    @abstractmethod
    def state(self, output: str, job_id: str) -> State:
        """The state, from the output of `status_command`. A job that the scheduler no longer lists is gone.

        The output can be about other jobs, too: Grid Engine lists all jobs of the user.
        """

    def reason(self, output: str, job_id: str) -> str:
        """Why a job is pending, from the same output; empty where it does not say."""
        return ""

    def is_unknown(self, errors: str) -> bool:
        """Whether a command failed because there is no such job, or no longer. Otherwise the scheduler may be down."""
        return any(words.lower() in errors.lower() for words in self.no_such_job)

    def verdict(self, output: str, job_id: str) -> Literal["complete", "failed"] | None:
        """How a job that is gone has ended, from the same output. None where the scheduler forgets it."""
        return None

    def forget_command(self, job_id: str) -> list[str] | None:
        """Removes a job that has ended, so that one of the same id can be submitted. None where ids are always new."""
        return None

    @abstractmethod
    def cancel_command(self, job_id: str) -> list[str]:
        """Cancels a job."""

    def warn_command(self, job_id: str) -> list[str] | None:
        """Sends SIGUSR1 to the job script, which is the supervisor. None where the scheduler cannot."""
        return None

    def requeue_command(self, job_id: str) -> list[str] | None:
        """Ends a running job and queues it again. None where users may not."""
        return None

    @abstractmethod
    def time_left_command(self, job_id: str) -> list[str]:
        """Asks how long a running job may still take."""

    @abstractmethod
    def time_left_s(self, output: str, job_id: str, now: float | None = None) -> float | None:
        """Seconds, from the output of `time_left_command`. None where the job has no limit or none is known.

        `now` is the time of the output in seconds since the epoch. None is the present time.
        """


def get(environment: Mapping[str, str], name: str) -> str:
    """The value of a variable without blanks around it; empty where it is not set."""
    return environment.get(name, "").strip()


def whole_number(environment: Mapping[str, str], name: str) -> int | None:
    """The number in a variable. None where it holds none."""
    value = get(environment, name)
    return int(value) if re.fullmatch(r"\d{1,9}", value, re.ASCII) else None


def foremost(states: Iterable[State]) -> State:
    """The state of an array from the states of its tasks. Gone where there is none."""
    given = set(states)
    order: tuple[State, ...] = ("running", "pending", "ending")
    return next((state for state in order if state in given), "gone")


def script(scheduler: BatchScheduler, resources: Resources, lines: Sequence[str]) -> str:
    """A job script for bash: the directives, then `lines`."""
    body = [*scheduler.opening(resources), *lines]
    return "\n".join(["#!/bin/bash", *scheduler.directives(resources), "", *body]) + "\n"
