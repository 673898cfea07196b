"""What has become of a job: the scheduler's answer beside the files of its run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hvd_train.cluster.commands import answer_of
from hvd_train.cluster.jobs.found import JobRun, run_in
from hvd_train.errors import HvdTrainError, UserError
from hvd_train.runs import job_history
from hvd_train.schedulers import BatchScheduler, scheduler_named

Word = Literal[
    "complete", "pending", "running", "ending", "stopped", "cancelled", "saved", "failed", "lost", "ended", "unknown"
]
QUEUED: tuple[Word, ...] = ("pending", "running", "ending")


@dataclass(frozen=True)
class Status:
    """A run and what has become of its job."""

    run: JobRun
    word: Word
    detail: str
    """Why it is pending, since when it runs, or how it ended."""

    @property
    def is_queued(self) -> bool:
        """Whether the scheduler still has the job."""
        return self.word in QUEUED

    def __str__(self) -> str:
        return f"{self.word}: {self.detail}" if self.detail else self.word


class Scheduler:
    """Asks schedulers for the states of jobs, each question once. What does not answer is asked no more."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ...], str] = {}
        self.problems: dict[str, str] = {}
        """Why a scheduler does not answer, by its name."""

    def ask(self, scheduler: BatchScheduler, job_id: str) -> tuple[str, str] | None:
        """The state and the reason to wait. None where the scheduler does not answer."""
        if scheduler.name in self.problems:
            return None
        command = tuple(scheduler.status_command(job_id))
        try:
            if command not in self._answers:
                answer = answer_of(command)
                if answer.code != 0 and not scheduler.is_unknown(answer.errors + answer.output):
                    self.problems[scheduler.name] = (
                        f"{scheduler.name} does not answer: {command[0]} ended with {answer.code} and printed: {answer.said}"
                    )
                    return None
                self._answers[command] = answer.output if answer.code == 0 else ""
        except HvdTrainError as error:
            self.problems[scheduler.name] = f"{scheduler.name} does not answer: {error}"
            return None
        output = self._answers[command]
        return scheduler.state(output, job_id), scheduler.reason(output, job_id)

    def verdict(self, scheduler: BatchScheduler, job_id: str) -> str | None:
        """How a job has ended that was asked for. None where the scheduler has forgotten it."""
        return scheduler.verdict(self._answers.get(tuple(scheduler.status_command(job_id)), ""), job_id)


def statuses(runs: Iterable[JobRun]) -> tuple[list[Status], list[str]]:
    """The status of each run, and what kept a scheduler from answering."""
    scheduler = Scheduler()
    return [status_of(run, scheduler) for run in runs], list(scheduler.problems.values())


def status_of(run: JobRun, scheduler: Scheduler) -> Status:
    """The status of a run."""
    if run.is_complete:
        return Status(run, "complete", "")
    if run.is_settled and not run.was_cancelled:
        return _ended(run)
    try:
        driver = scheduler_named(run.spec.scheduler)
    except UserError as error:
        return Status(run, "unknown", str(error))
    answer = scheduler.ask(driver, run.id)
    if answer is None:
        return Status(run, "unknown", _by_files(run))
    state, reason = answer
    if state == "gone":
        # It may have ended, and another may have followed, since the files were read.
        now = run_in(run.run_dir.path) or run
        if now.ids != run.ids:
            return status_of(now, scheduler)
        if now.is_complete:
            return Status(now, "complete", "")
        verdict = scheduler.verdict(driver, run.id)
        if verdict is None or now.was_cancelled:
            return _ended(now)
        return Status(now, "complete", "") if verdict == "complete" else Status(now, "failed", reason)
    if state == "running":
        return Status(run, "running", _since(run))
    return Status(run, "pending" if state == "pending" else "ending", reason)


def _ended(run: JobRun) -> Status:
    """The status of a run whose job is no longer there."""
    end = run.last_end
    if run.was_cancelled:
        return Status(run, "cancelled", "" if run.history else "it never began")
    if end is None:
        began = "it never began" if not run.history else "its ranks were running"
        if run.run_dir.job.history.exists() or run.spec.verb == "train":
            return Status(run, "lost", f"the scheduler has no such job, and {began}")
        return Status(run, "ended", "see its log")
    if end.next in ("restart", "continue"):
        return Status(run, "lost", f"the scheduler has no such job; the last start ended: {end.reason}")
    word: Word = "saved" if end.outcome == "saved" else "stopped" if end.outcome == "stopped" else "failed"
    return Status(run, word, end.reason)


def _since(run: JobRun) -> str:
    last = run.history[-1] if run.history else None
    if not isinstance(last, job_history.Start):
        return ""
    return f"{last.ranks} rank{'s' * (last.ranks > 1)} on {', '.join(last.hosts)} since {last.time[:19].replace('T', ' ')} UTC"


def _by_files(run: JobRun) -> str:
    """What the files of a run say where the scheduler is silent."""
    if not run.history:
        return "the run has not begun"
    end = run.last_end
    return f"the last start ended: {end.reason}" if end else f"when it was last seen: {_since(run)}"
