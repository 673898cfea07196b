"""Submits runs again that have not come to their end: each goes on from its last checkpoint, in its directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvd_train.cluster.commands import ask
from hvd_train.cluster.jobs.found import JobRun
from hvd_train.cluster.jobs.judged import statuses
from hvd_train.cluster.submit import checks, queue
from hvd_train.cluster.submit.spec import JobSpec, Task
from hvd_train.errors import UserError
from hvd_train.schedulers import scheduler_named


def resume_runs(runs: Sequence[JobRun]) -> list[tuple[queue.Submitted, Sequence[JobRun]]]:
    """Submit the runs that are neither complete nor in the queue; tasks of an array as one array again.

    Raises UserError where there is none, or the scheduler does not answer or refuses.
    """
    found, problems = statuses(runs)
    if problems:
        raise UserError(f"{problems[0]}. Nothing was submitted: the run may still be in the queue.")
    again = [one.run for one in found if not one.is_queued and one.word not in ("complete", "unknown")]
    if not again:
        states = ", ".join(f"{one.run.name} is {one}" for one in found[:5])
        raise UserError(f"There is nothing to resume: {states}.")
    for run in again:
        checks.require_free(run.spec)
    for run in again:
        if command := scheduler_named(run.spec.scheduler).forget_command(run.id):
            ask(command)
    return [(queue.submit(queue.prepare(spec)), members) for spec, members in _jobs(again)]


def _jobs(runs: Sequence[JobRun]) -> list[tuple[JobSpec, list[JobRun]]]:
    """As few jobs as possible: runs that differ in their flags and directories alone are one array."""
    groups: list[tuple[JobSpec, list[JobRun]]] = []
    for run in runs:
        shared = dataclasses.replace(run.spec, flags=(), run_dir="runs/x")
        same = next((members for spec, members in groups if spec == shared), None)
        if same is None:
            groups.append((shared, [run]))
        else:
            same.append(run)
    return [(_job(shared, members), members) for shared, members in groups]


def _job(shared: JobSpec, members: Sequence[JobRun]) -> JobSpec:
    if len(members) == 1:
        return members[0].spec
    tasks = tuple(Task(flags=run.spec.flags, run_dir=run.spec.run_dir) for run in members)
    return dataclasses.replace(shared, run_dir=members[0].spec.run_dir, tasks=tasks)
