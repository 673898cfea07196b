"""A run is a directory.

config.toml          the RunConfig that was used, with everything that was chosen; runs again from here
log.txt              what was found, set and done
metrics.csv          a line an epoch
checkpoints/         last.npz and best.npz
data.json            what the outputs mean: schema, label counts, the data's checksum
model.keras          the best model with its preprocessing: plain rows in, years (or whatever the label is) out
learning-curve.png
tensorboard/         event files, with --trackers tensorboard
by-decade.png        where the model errs, and how true its chances are; for years and integers
confusion.csv        test rows by true and predicted class, and confusion.png as a picture; for classes
report.json          everything about the run in one file
.lock                who writes here, for as long as somebody does
DONE                 there when the run came to its end
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hvd_train.errors import CheckpointError, UserError
from hvd_train.files import write_text
from hvd_train.processes import Job
from hvd_train.runs.directory_lock import holder, make, occupied

if TYPE_CHECKING:
    from hvd_train.distributed import World

LAST, BEST = "last.npz", "best.npz"
# The temporary name of a file of ours.
LEFTOVER = re.compile(r"\.[\w.-]+\.[0-9a-f]{8}(\.keras)?")


@dataclass(frozen=True)
class RunDir:
    """The places in a run's directory. Only the root writes there."""

    path: Path
    made: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    """Directories that were made for it, the deepest first: they go again if nothing is written there."""

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
    def done(self) -> Path:
        return self.path / "DONE"

    def create(self) -> None:
        """Make it, or UserError. Root only."""
        try:
            self.last.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path / ".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise UserError(
                f"The run directory {self.path} cannot be written: {error.strerror or error}. Choose another with --run-dir."
            ) from None

    def sweep(self) -> None:
        """Remove what interrupted writes left (see `new_file`). Root only, while nobody else writes here."""
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


def new_run_dir(
    name: str, *, now: datetime.datetime | None = None, parent: Path = Path("runs"), job: Job | None = None
) -> RunDir:
    """runs/<name>-<time>, made now and by nobody else; with the id of the batch `job`, if there is one. Root only.

    Making it is the reservation: of several that start in one second each gets its own.
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
        raise UserError(
            f"The run directory {parent / stem} cannot be written: {error.strerror or error}. Choose another with --run-dir."
        ) from None
    return RunDir(path, made=(path, *above))


def latest_run(parent: Path = Path("runs")) -> Path:
    """The run directory whose checkpoint is the newest, of those where no run is going on; or CheckpointError."""
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


@contextlib.contextmanager
def held(run_dir: RunDir, world: World, *, new: bool, told: Callable[[str], None] | None = None) -> Iterator[None]:
    """Nobody else writes to `run_dir` while the block runs. All ranks; the root holds it, and makes it if need be.

    UserError on all ranks where another program holds it, and with `new` where a run's results are there.
    """
    with contextlib.ExitStack() as stack:

        def take() -> None:
            held_here = occupied(run_dir.path, what="The run directory", flag="--run-dir", made=run_dir.made, told=told)
            stack.enter_context(held_here)
            if new:
                run_dir.refuse_if_used()

        world.together(take, on="root")
        yield
