"""RunDir: the files of a run and their names.

config.toml          the RunConfig that was used, with everything that was chosen; runs again from here
log.txt              what the run printed, with the time
metrics.csv          one row for each epoch
checkpoints/         last.npz and best.npz
data.json            what the outputs mean: schema, label counts, the data's checksum
code/                copies of the user's own files that the run needs (user_code.py); mostly not there
model.keras          the best model with its preprocessing: plain rows in, years (or whatever the label is) out
learning-curve.png
tensorboard/         event files, with --trackers tensorboard
trackers.json        the names of the run at its trackers, by which a resumed run finds them. Mostly not there
by-decade.png        errors by decade, and the calibration of the probabilities; for years and integers
confusion.csv        test rows by true and predicted class, and confusion.png as a picture; for classes
report.json          everything about the run in one file
report.html          the same to look at
job/                 what the supervisor and the batch job of the run keep; see `JobDir`. Mostly not there
progress.json        how far the run has come, while it goes on; see `progress`
.lock                held by the program that writes here
DONE                 there when the run is complete
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from hvd_train.errors import UserError
from hvd_train.files import write_text
from hvd_train.runs.directory_lock import not_writable

LAST, BEST = "last.npz", "best.npz"
# The temporary name of a file of ours.
LEFTOVER = re.compile(r"\.[\w.-]+\.[0-9a-f]{8}(\.keras)?")


@dataclass(frozen=True)
class JobDir:
    """RUN/job, what the supervisor and the batch job of a run keep. It may not exist."""

    path: Path

    @property
    def script(self) -> Path:
        """The job script that was submitted."""
        return self.path / "script"

    @property
    def spec(self) -> Path:
        """What was asked for, enough to submit the job again."""
        return self.path / "job.toml"

    @property
    def ids(self) -> Path:
        """The ids of the jobs, one a line."""
        return self.path / "id"

    @property
    def logs(self) -> Path:
        """The files for the output of those jobs, one a line."""
        return self.path / "logs"

    @property
    def cancelled(self) -> Path:
        """Made when somebody cancels the newest job."""
        return self.path / "cancelled"

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody cancelled the newest job with hvd-train jobs cancel. A job that was submitted later is another one."""
        with contextlib.suppress(OSError):
            submitted = self.ids.stat().st_mtime if self.ids.exists() else 0.0
            return self.cancelled.stat().st_mtime >= submitted
        return False

    @property
    def hostfile(self) -> Path:
        """The hosts of the last start, for the launcher."""
        return self.path / "hostfile"

    @property
    def excluded(self) -> Path:
        """Hosts that the last start left out, one a line, and why."""
        return self.path / "excluded"

    @property
    def agent(self) -> Path:
        """A program that starts a command on another host of the job, where the scheduler needs one."""
        return self.path / "agent"

    @property
    def mark(self) -> Path:
        """What all processes of this run have in their environment, so that those left behind are found on any host."""
        return self.path / "mark"

    @property
    def history(self) -> Path:
        """Every start of the ranks and how it ended; see `job_history`."""
        return self.path / "history.jsonl"


@dataclass(frozen=True)
class RunDir:
    """The directory of a run, which may not exist yet. Only the root writes there."""

    path: Path
    made: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    """Directories that were made for it, the deepest first. They are removed if nothing is written there."""

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / LAST

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / BEST

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def curve(self) -> Path:
        return self.path / "learning-curve.png"

    @property
    def by_decade(self) -> Path:
        return self.path / "by-decade.png"

    @property
    def confusion(self) -> Path:
        return self.path / "confusion.csv"

    @property
    def confusion_picture(self) -> Path:
        return self.path / "confusion.png"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def done(self) -> Path:
        return self.path / "DONE"

    @property
    def job(self) -> JobDir:
        return JobDir(self.path / "job")

    def create(self) -> None:
        """Make it, or UserError. Root only."""
        try:
            self.last.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path / ".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise not_writable(self.path, error) from None

    def sweep(self) -> None:
        """Remove the temporary files of interrupted writes. Root only, while it holds the lock."""
        for folder in (self.path, self.last.parent):
            for path in folder.glob(".*"):
                if LEFTOVER.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def refuse_if_used(self) -> None:
        """UserError if another run's results are there: they are never overwritten. Root only."""
        if self.last.exists() or self.report.exists():
            raise UserError(
                f"{self.path} holds a run already. Go on with it: --resume {self.path}; or choose another --run-dir."
            )
