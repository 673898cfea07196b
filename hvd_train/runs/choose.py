"""Which directory a run uses: a new one, that of the newest run, or a named one that is begun or gone on with."""

from __future__ import annotations

import contextlib
import datetime
import itertools
from pathlib import Path
from typing import Literal

from hvd_train.errors import CheckpointError, UserError
from hvd_train.runs.directory import LAST, RunDir
from hvd_train.runs.directory_lock import holder, make, not_writable
from hvd_train.schedulers import Job

Stage = Literal["new", "begun", "complete"]
"""Of a run: without a checkpoint, with one to go on from, or DONE."""
JOB_MARK = "{job}"


def new_run_dir(
    name: str, *, now: datetime.datetime | None = None, parent: Path = Path("runs"), job: Job | None = None
) -> RunDir:
    """Make runs/<name>-<time>, with the id of the batch `job`, if there is one. Root only.

    Making the directory reserves it: programs that start in the same second get different ones.
    """
    stem = f"{name}-{now or datetime.datetime.now():%Y%m%d-%H%M%S}{f'-job{job.id}' if job else ''}"
    try:
        above = make(parent)
        for number in itertools.count(1):
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise not_writable(parent / stem, error) from None
    return RunDir(path, made=(path, *above))


def latest_run(parent: Path = Path("runs")) -> Path:
    """The run directory with the newest checkpoint, among those that no program holds; or CheckpointError."""
    found: list[tuple[float, Path]] = []
    for path in parent.glob(f"*/checkpoints/{LAST}"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path.parent.parent))
    if not found:
        raise CheckpointError(f"--resume: no run with a checkpoint was found in {parent}/. Name one: --resume RUN_DIR.")
    for _, path in sorted(found, reverse=True):
        if holder(path) is None:
            return path
    path = max(found)[1]
    raise CheckpointError(
        f"--resume: every run in {parent}/ is still going on; the newest, {path}, is in use by {holder(path)}. Wait until it has ended."
    )


def stage_of(run_dir: RunDir) -> Stage:
    """How far the run in a directory has come, which need not exist. Root only."""
    if run_dir.done.exists():
        return "complete"
    return "begun" if run_dir.last.exists() else "new"


def named_after_job(path: Path, job: Job | None, *, flag: str = "--run-dir") -> Path:
    """`path` with the id of the batch job in place of {job}; UserError where it stands there and this is no batch job."""
    text = str(path)
    if JOB_MARK not in text:
        return path
    if job is None:
        raise UserError(
            f"{flag} {text}: {JOB_MARK} stands for the id of a batch job, and no scheduler started this. "
            "Write the name of the run out, or start it in a job."
        )
    return Path(text.replace(JOB_MARK, job.id))
