"""The runs that were submitted, by their files: RUN/job/id, job.toml, logs and history.jsonl."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hvd_train.cluster.submit.spec import JobSpec
from hvd_train.errors import UserError
from hvd_train.files import write_text
from hvd_train.runs import RunDir, checkpoint, job_history

MOST_NAMED = 5


@dataclass(frozen=True)
class JobRun:
    """A run with a batch job. Files are read when they are asked for, once."""

    run_dir: RunDir
    ids: tuple[str, ...]
    """Of its jobs, the newest last."""

    @property
    def id(self) -> str:
        """Of its newest job."""
        return self.ids[-1]

    @property
    def name(self) -> str:
        return self.run_dir.path.name

    @property
    def is_complete(self) -> bool:
        """By its file DONE. An ensemble and an evaluation have none: the supervisor says it."""
        return self.run_dir.done.exists() or (self.last_end is not None and self.last_end.outcome == "done")

    @cached_property
    def spec(self) -> JobSpec:
        """What was submitted, or UserError."""
        return JobSpec.load(self.run_dir.job.spec)

    @cached_property
    def history(self) -> tuple[job_history.Event, ...]:
        return job_history.read(self.run_dir.job.history)

    @property
    def last_end(self) -> job_history.End | None:
        """How the last start ended; None where there was none, or it has not ended."""
        last = self.history[-1] if self.history else None
        return last if isinstance(last, job_history.End) else None

    @property
    def is_settled(self) -> bool:
        """Whether its supervisor has ended for good, and no job was submitted since: the scheduler need not be asked."""
        if self.is_complete:
            return True
        end = self.last_end
        return end is not None and end.next in ("give-up", "nothing") and seconds_of(end.time) > self.submitted_at

    @property
    def submitted_at(self) -> float:
        """When its newest job was submitted, in seconds since the epoch."""
        with contextlib.suppress(OSError):
            return self.run_dir.job.ids.stat().st_mtime
        return 0.0

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody cancelled its newest job with hvd-train jobs cancel."""
        return self.run_dir.job.was_cancelled

    def mark_cancelled(self) -> None:
        with contextlib.suppress(OSError):
            write_text(self.run_dir.job.cancelled, f"{self.id}\n")

    @property
    def num_restarts(self) -> int:
        return sum(event.next == "restart" for event in self.history if isinstance(event, job_history.End))

    @property
    def num_requeues(self) -> int:
        return sum(event.next == "continue" for event in self.history if isinstance(event, job_history.End))

    @cached_property
    def position(self) -> tuple[int, int] | None:
        """Complete epochs and the steps after them in the last checkpoint."""
        return checkpoint.position(self.run_dir.last)

    @property
    def checkpoint_at(self) -> float | None:
        """When that was written, in seconds since the epoch."""
        with contextlib.suppress(OSError):
            return self.run_dir.last.stat().st_mtime
        return None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The last line of metrics.csv; empty where there is none."""
        with contextlib.suppress(OSError, ValueError, csv.Error, TypeError):
            with self.run_dir.metrics.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            return {name: float(value) for name, value in rows[-1].items() if value} if rows else {}
        return {}

    @cached_property
    def test_metrics(self) -> dict[str, float]:
        """Those of report.json on the test split; empty before the run is complete."""
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
            figures = json.loads(self.run_dir.report.read_text(encoding="utf-8"))["metrics"]["test"]
            return {name: value for name, value in figures.items() if isinstance(value, int | float)}
        return {}

    @property
    def logs(self) -> tuple[Path, ...]:
        """The files for the output of its jobs, the newest last. Some may not be there yet."""
        return tuple(map(Path, _lines(self.run_dir.job.logs)))


def find_runs(parent: Path) -> list[JobRun]:
    """The runs in a directory that have a job, the newest last."""
    found = [run for path in parent.glob("*/job/id") if (run := run_in(path.parent.parent)) is not None]
    return sorted(found, key=lambda run: (run.submitted_at, [_number(part) for part in run.id.split("_")]))


def run_in(path: Path) -> JobRun | None:
    """The run in this directory, if it has a job."""
    run_dir = RunDir(path)
    ids = _lines(run_dir.job.ids)
    return JobRun(run_dir, tuple(ids)) if ids else None


def selected(given: str, parent: Path) -> list[JobRun]:
    """The runs that somebody means by the id of a job, of an array or of its task, by a run's name or its directory.

    UserError where there is none.
    """
    known = find_runs(parent)
    wanted = re.sub(r"[^A-Za-z0-9-]+", "_", given.partition(".")[0]).strip("_")
    by_id = [run for run in known if any(one == wanted or one.rpartition("_")[0] == wanted for one in run.ids)]
    if by_id:
        return by_id
    by_name = [run for run in known if run.name == given]
    if by_name:
        return by_name
    path = Path(given)
    if path.is_dir() and (run := run_in(path)) is not None:
        return [run]
    names = ", ".join(f"{run.id} ({run.name})" for run in known[-MOST_NAMED:])
    have = f"The newest there: {names}" if names else "There is none"
    raise UserError(
        f"No job {given!r} was found in {parent}/: it is the id of a job, the name of a run or its directory. {have}. "
        "--runs names another directory."
    )


def seconds_of(time: str) -> float:
    """Seconds since the epoch, of a time in a history."""
    try:
        return datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _lines(path: Path) -> Sequence[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []
