"""What `hvd-train jobs` does: list, status, logs, cancel and resume of what `hvd-train submit` has put into a queue."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hvd_train.cli.cluster.job_tables import list_table, status_lines, tasks_table
from hvd_train.cli.cluster.submit_verb import near
from hvd_train.cli.runs.listing import show
from hvd_train.cli.terminal import chosen, parse, tell
from hvd_train.cluster import jobs
from hvd_train.distributed import Placement
from hvd_train.errors import UserError
from hvd_train.text import printable

VERBS = {
    "list": "every job of the runs here, and what has become of it (also without a verb)",
    "status": "one job: its state, what is trained, its checkpoint; of an array, a table of its tasks",
    "logs": "print the log of a job; -f follows it over requeues",
    "cancel": "save a checkpoint and cancel",
    "resume": "submit again what did not come to its end; of an array, those tasks alone",
}


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    """List the jobs of the runs here. Their state is the scheduler's, and all else is read from the files of the runs.

    Examples:

        hvd-train jobs

        hvd-train jobs list --runs /scratch/ada/runs
    """

    runs: Path = Path("runs")
    """The directory with the runs."""


@dataclass(frozen=True, kw_only=True)
class IdArguments(ListArguments):
    id: Annotated[str, tyro.conf.Positional]
    """The id of a job, of an array or of its task, the name of a run, or its directory."""


@dataclass(frozen=True, kw_only=True)
class StatusArguments(IdArguments):
    """Show one job: the scheduler's state, what is trained, the age of the checkpoint, restarts and requeues.

    Of an array it shows a table of the tasks with their flags and metrics.

    Examples:

        hvd-train jobs status 123

        hvd-train jobs status runs/default-123
    """


@dataclass(frozen=True, kw_only=True)
class LogsArguments(IdArguments):
    """Print the log of a job. Of an array it prints those of all tasks.

    Examples:

        hvd-train jobs logs 123 -f

        hvd-train jobs logs 123_4
    """

    follow: Annotated[bool, tyro.conf.arg(aliases=["-f"])] = False
    """Go on with what is added, over requeues and restarts, until the run has ended."""


@dataclass(frozen=True, kw_only=True)
class CancelArguments(IdArguments):
    """Cancel a job, or all tasks of an array. A running one saves a checkpoint first, for 30 seconds at most.

    What is held to follow it is cancelled too. hvd-train jobs resume goes on later.

    Examples:

        hvd-train jobs cancel 123

        hvd-train jobs cancel 123_4 --now
    """

    now: bool = False
    """Do not wait for a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class ResumeArguments(IdArguments):
    """Submit again what did not come to its end. It goes on from its last checkpoint, in its directory.

    Of an array those tasks alone are submitted, as one array.

    Example:

        hvd-train jobs resume 123
    """


KINDS = {
    "list": ListArguments,
    "status": StatusArguments,
    "logs": LogsArguments,
    "cancel": CancelArguments,
    "resume": ResumeArguments,
}


def run_jobs(argv: Sequence[str], placement: Placement) -> int:
    """One of VERBS. Returns the exit code."""
    argv = list(argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["list", *argv]
    name, rest = chosen("jobs", VERBS, argv, placement)
    actions: dict[str, Any] = {"list": list_jobs, "status": status, "logs": logs, "cancel": cancel, "resume": resume}
    code: int = actions[name](parse(KINDS[name], rest, placement, prog=f"hvd-train jobs {name}"), placement)
    return code


def list_jobs(arguments: ListArguments, placement: Placement) -> int:
    found = jobs.find_runs(arguments.runs)
    if not found:
        return tell(
            placement,
            f"No run in {arguments.runs}/ was submitted. hvd-train submit does it, and --runs looks elsewhere.",
        )
    now, problems = jobs.statuses(found)
    show(list_table(now, time.time()))
    _notes(problems)
    return 0


def status(arguments: StatusArguments, placement: Placement) -> int:
    now, problems = jobs.statuses(jobs.selected(arguments.id, arguments.runs))
    if len(now) == 1:
        tell(placement, status_lines(now[0], time.time()))
    else:
        show(tasks_table(now, time.time()))
    _notes(problems)
    return 0


def logs(arguments: LogsArguments, placement: Placement) -> int:
    found = jobs.selected(arguments.id, arguments.runs)
    if len(found) == 1 and (code := jobs.pod_logs(found[0], follow=arguments.follow)) is not None:
        return 0 if code == 0 else 1
    if not arguments.follow:
        jobs.print_logs(found, _write)
        return 0
    if len(found) > 1:
        ids = ", ".join(run.id for run in found[:5])
        raise UserError(f"-f follows one job, and {arguments.id} has {len(found)} tasks: {ids}. Name one.")
    try:
        ended = jobs.Follower(found[0], write=_write, tell=_note).follow()
    except KeyboardInterrupt:
        return 130
    _note(f"{ended.run.id} has ended: {ended}")
    return 0


def cancel(arguments: CancelArguments, placement: Placement) -> int:
    found = jobs.selected(arguments.id, arguments.runs)
    gone = jobs.cancel_runs(found, now=arguments.now, tell=lambda text: _tell(placement, text))
    return 0 if gone else 1


def resume(arguments: ResumeArguments, placement: Placement) -> int:
    for submitted, members in jobs.resume_runs(jobs.selected(arguments.id, arguments.runs)):
        names = ", ".join(near(run.run_dir.path) for run in members)
        log = (
            f"log {near(submitted.logs[0])}" if submitted.logs else f"hvd-train jobs logs {submitted.id} prints its log"
        )
        tell(placement, f"{names} was submitted again as job {submitted.id}; {log}")
    return 0


def _tell(placement: Placement, text: str) -> None:
    tell(placement, text)


def _notes(problems: Sequence[str]) -> None:
    for problem in problems:
        _note(f"{problem} What is shown comes from the files of the runs.")


def _note(text: str) -> None:
    print(f"note: {printable(text)}", file=sys.stderr, flush=True)


def _write(data: bytes) -> None:
    """As it is in the file."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
