"""Go on in another job: the scheduler queues this one again, or a follow-up was submitted that waits for its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hvd_train.cluster.supervise.allocation import Allocation
from hvd_train.cluster.supervise.surroundings import Surroundings
from hvd_train.cluster.supervise.watch import STOPS
from hvd_train.errors import TO_BE_CONTINUED, HvdTrainError
from hvd_train.runs import JobDir
from hvd_train.schedulers import Job

COMMAND_S = 60.0
TRIES = 3
BETWEEN_S = 5.0
# A scheduler that took `requeue` ends this job within seconds.
ENDED_WITHIN_S = 120.0
# `jobs cancel` cancels a job within a second after it has saved.
CANCELLED_WITHIN_S = 30.0

FollowUp = Callable[[str, Sequence[str]], str]
"""Submits a job that begins when the job of this id has ended, off these hosts. Returns its id. Raises HvdTrainError."""


class Continuation:
    """Continues the job of an allocation."""

    def __init__(
        self,
        allocation: Allocation,
        world: Surroundings,
        *,
        job_dir: JobDir,
        follow_up: FollowUp | None,
        tell: Callable[[str], None],
    ) -> None:
        self._allocation, self._world, self._follow_up, self._tell = allocation, world, follow_up, tell
        self._job_dir = job_dir

    @property
    def possible(self) -> bool:
        """Whether this is a job that can be continued. A follow-up needs the job.toml, which may come while the job runs."""
        scheduler, job = self._allocation.scheduler, self._allocation.job
        if scheduler is None or job is None or self._job_dir.was_cancelled:
            return False
        return scheduler.continuation != "chain" or (self._follow_up is not None and self._job_dir.spec.exists())

    def go_on(self, excluded: Sequence[str]) -> int:
        """Have the run continued. Returns the exit code to end with; may be ended by the scheduler meanwhile."""
        scheduler, job = self._allocation.scheduler, self._allocation.job
        assert scheduler is not None
        assert job is not None
        if scheduler.continuation == "exit-code":
            self._tell(f"{job} ends with {TO_BE_CONTINUED}, for which {scheduler.name} queues it again")
            return TO_BE_CONTINUED
        if scheduler.continuation == "requeue":
            command = scheduler.requeue_command(job.id)
            assert command is not None
            if self._try(lambda: self._requeue(command, job)):
                self._wait_for_the_end()
            return TO_BE_CONTINUED
        assert self._follow_up is not None
        follow_up, job_id = self._follow_up, job.id
        self._try(lambda: self._submit(follow_up, job_id, excluded))
        return TO_BE_CONTINUED

    def final(self, code: int) -> int:
        """The exit code with which nothing goes on. Some schedulers would queue a job again that ends with 85."""
        scheduler = self._allocation.scheduler
        if scheduler is not None and self._job_dir.was_cancelled and code == TO_BE_CONTINUED:
            # A job that ends by itself now would count as failed.
            self._tell("this job was cancelled by hvd-train jobs: it waits for the scheduler to end it")
            self._wait_for_the_end(CANCELLED_WITHIN_S)
        goes_on_by_code = scheduler is not None and scheduler.continuation == "exit-code"
        return 1 if goes_on_by_code and code == TO_BE_CONTINUED else code

    def _submit(self, follow_up: FollowUp, job_id: str, excluded: Sequence[str]) -> str:
        """Why it failed; empty where it did not."""
        try:
            new = follow_up(job_id, excluded)
        except HvdTrainError as error:
            return str(error)
        self._tell(f"job {new} is in the queue, and begins when this one has ended")
        return ""

    def _requeue(self, command: Sequence[str], job: Job) -> str:
        answer = self._world.run(command, COMMAND_S)
        if answer.code != 0:
            return f"{command[0]}: {answer.output or f'exit code {answer.code}'}"
        self._tell(f"{job} is in the queue again")
        return ""

    def _try(self, action: Callable[[], str]) -> bool:
        """Do it, several times if need be: a scheduler can be busy. Whether it worked."""
        for attempt in range(1, TRIES + 1):
            failure = action()
            if not failure:
                return True
            self._tell(f"attempt {attempt} of {TRIES} to continue this run failed: {failure}")
            if attempt < TRIES:
                self._world.wait(BETWEEN_S)
        self._tell("this run is not continued by itself. The same command goes on from the last checkpoint")
        return False

    def _wait_for_the_end(self, limit_s: float = ENDED_WITHIN_S) -> None:
        """Slurm ends a job that it queues again. One that ended by itself before would count as complete."""
        deadline = self._world.now() + limit_s
        while (left := deadline - self._world.now()) > 0:
            if any(number in STOPS for number in self._world.wait(left)):
                return
        self._tell(f"the scheduler did not end this job within {limit_s:g} s")
