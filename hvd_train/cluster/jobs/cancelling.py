"""Ends jobs: they are asked to save a checkpoint, then the scheduler cancels them, and what was to follow them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from hvd_train.cluster.commands import answer_of
from hvd_train.cluster.jobs.found import JobRun, run_in, seconds_of
from hvd_train.cluster.jobs.judged import Scheduler, Status, status_of
from hvd_train.errors import UserError
from hvd_train.runs import job_history
from hvd_train.schedulers import BatchScheduler, scheduler_named

# A job that was warned has so long for its checkpoint; one that was cancelled has so long to be gone.
SAVE_LIMIT_S = 30.0
GONE_LIMIT_S = 60.0
POLL_S = 0.5
ASK_EVERY_S = 5.0

Tell = Callable[[str], None]


def cancel_runs(runs: Sequence[JobRun], *, now: bool, tell: Tell) -> bool:
    """Cancel the jobs of these runs that are in the queue. Returns whether all of them are gone.

    With `now` none is asked for a checkpoint before. Raises UserError where the scheduler refuses.
    """
    scheduler = Scheduler()
    found = [status_of(run, scheduler) for run in runs]
    if scheduler.problems and not now:
        raise UserError(
            f"{next(iter(scheduler.problems.values()))}. Nothing was cancelled. --now cancels without asking for states."
        )
    live = [one for one in found if one.is_queued or (now and one.word == "unknown")]
    for one in found:
        if one not in live:
            tell(f"{one.run.id} ({one.run.name}) is not in the queue: {one}")
    if not live:
        return True
    for one in live:
        one.run.mark_cancelled()
    if not now:
        _save(live, tell)
    gone = _end([one.run for one in live], tell)
    for one in live:
        one.run.mark_cancelled()  # newer than a job that was submitted meanwhile
    return gone


def _save(live: Sequence[Status], tell: Tell) -> None:
    """Warn the running jobs that can save, and wait until they have, for SAVE_LIMIT_S at most."""
    began, warned = time.time(), []
    for one in live:
        scheduler_of_run = scheduler_named(one.run.spec.scheduler)
        command = scheduler_of_run.warn_command(one.run.id)
        if scheduler_of_run.cancels_gently:
            continue
        if one.word != "running" or one.run.spec.verb != "train":
            continue
        if command is None:
            tell(f"{one.run.id}: its scheduler can send no warning. The last checkpoint counts")
            continue
        answer = answer_of(command)
        if answer.code == 0:
            warned.append(one.run)
        else:
            tell(f"{one.run.id} could not be warned: {answer.said}")
    if not warned:
        return
    tell(f"asked {', '.join(run.id for run in warned)} to save a checkpoint, which may take {SAVE_LIMIT_S:g} s")
    deadline, asked = time.monotonic() + SAVE_LIMIT_S, time.monotonic()
    while warned and time.monotonic() < deadline:
        time.sleep(POLL_S)
        scheduler = Scheduler() if time.monotonic() - asked > ASK_EVERY_S else None
        asked = time.monotonic() if scheduler else asked
        for run in list(warned):
            if end := _ended_since(run, began):
                tell(f"{run.id} ended its ranks: {end.reason}")
                warned.remove(run)
            elif scheduler and not (now := status_of(_again(run), scheduler)).is_queued:
                tell(f"{run.id} has ended: {now}")
                warned.remove(run)
    for run in warned:
        tell(f"{run.id} has not saved within {SAVE_LIMIT_S:g} s. The last checkpoint counts")


def _end(runs: Sequence[JobRun], tell: Tell) -> bool:
    """Cancel, wait until the scheduler has none of them any more, and cancel what they have submitted meanwhile."""
    cancelled: set[str] = set()
    deadline = time.monotonic() + GONE_LIMIT_S
    left = {run.id: run for run in runs}
    while left:
        for job_id, run in left.items():
            if job_id not in cancelled:
                _cancel(scheduler_named(run.spec.scheduler), job_id)
                cancelled.add(job_id)
                tell(f"cancelled {job_id} ({run.name})")
        if time.monotonic() > deadline:
            tell(f"still in the queue after {GONE_LIMIT_S:g} s: {', '.join(left)}")
            return False
        time.sleep(POLL_S)
        scheduler = Scheduler()
        left = {job_id: run for run in map(_again, runs) for job_id in _still_there(run, scheduler)}
        if scheduler.problems:
            tell(next(iter(scheduler.problems.values())))
            return False
    return True


def _still_there(run: JobRun, scheduler: Scheduler) -> list[str]:
    """The jobs of a run that the scheduler still has: the newest, and the one before, which it may wait for."""
    driver = scheduler_named(run.spec.scheduler)
    answers = {job_id: scheduler.ask(driver, job_id) for job_id in run.ids[-2:]}
    return [job_id for job_id, answer in answers.items() if answer is not None and answer[0] != "gone"]


def _cancel(scheduler: BatchScheduler, job_id: str) -> None:
    """Raises UserError where the scheduler refuses. A job that has just ended is no refusal."""
    command = scheduler.cancel_command(job_id)
    answer = answer_of(command)
    if answer.code != 0 and not scheduler.is_unknown(answer.errors + answer.output):
        raise UserError(
            f"{command[0]} refused (exit code {answer.code}) and printed: {answer.said}. {job_id} is still in the queue."
        )


def _again(run: JobRun) -> JobRun:
    """As its files are now."""
    return run_in(run.run_dir.path) or run


def _ended_since(run: JobRun, began: float) -> job_history.End | None:
    end = _again(run).last_end
    return end if end is not None and seconds_of(end.time) >= began else None
