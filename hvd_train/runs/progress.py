"""RUN/progress.json: how far a run has come, for who follows it from another terminal or another machine.

The root writes it about once a second, and `hvd-train watch RUN` shows it. A reader sees a whole file, and needs neither the
ranks nor TensorFlow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hvd_train.events import Observer, RankState
from hvd_train.files import strict, write_json
from hvd_train.runs.directory import RunDir

EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class RankProgress:
    """One rank, as it last reported itself to the root."""

    rank: int
    host: str
    phase: str
    """What it does, in words."""
    step: int
    """Steps it has done since the beginning of the run."""
    cpu_s_per_step: float | None
    """CPU time of its process for a step; the slowest rank has the most. None where no step was measured."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is. `time` and `started` are seconds since 1970."""

    time: float
    started: float
    """When this process began the run or went on with it."""
    epoch: int
    """The one that is trained now, from 1."""
    num_epochs: int
    step: int
    """Steps done in it."""
    num_steps: int
    """Of an epoch; 0 where a resumed run has not begun one yet."""
    loss: float | None
    """Mean over the rows of the root alone, in this epoch."""
    samples_per_s: float | None
    """Over all ranks."""
    seconds_left: float | None
    """Until the last epoch ends. Early stopping can end it sooner."""
    best_epoch: int = 0
    ranks: list[RankProgress] = field(default_factory=list)


class ProgressFile(Observer):
    """Writes the file. `ranks` tells how the ranks last reported themselves. Root only."""

    is_optional = True

    def __init__(
        self, ranks: Callable[[], Sequence[RankState]] = lambda: (), clock: Callable[[], float] = time.time
    ) -> None:
        self._ranks, self._clock = ranks, clock
        self._path: Path | None = None
        self._started = self._written = clock()
        self._epoch = self._num_epochs = self._num_steps = self._best_epoch = 0
        self._epoch_seconds: list[float] = []
        self._earlier: Sequence[dict[str, float]] = ()  # the rows of the sessions before this one
        self._first_step = 0  # done by them in the epoch with which this one begins
        self._before: dict[int, RankState] = {}
        self._cpu_s: dict[int, float] = {}

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        self._path, self._started = RunDir(run_dir).progress, self._clock()
        self._num_epochs = config.get("training", {}).get("num_epochs", 0)

    def on_resume(self, rows: Sequence[dict[str, float]], *, step: int, best_epoch: int) -> None:
        """Replaces the file of the session before, also where no epoch is left that would."""
        self._earlier, self._first_step, self._best_epoch = rows, step, best_epoch
        self._epoch = max(1, len(rows) + bool(step))
        self._write(0, math.nan, math.nan)

    def on_epoch_begin(self, epoch: int, num_epochs: int, num_steps: int) -> None:
        self._epoch, self._num_epochs, self._num_steps = epoch, num_epochs, num_steps
        self._write(self._first_step, math.nan, math.nan)
        self._first_step = 0

    def on_steps(self, step: int, num_steps: int, samples_per_s: float, loss: float) -> None:
        if self._clock() - self._written >= EVERY_S:
            self._write(step, samples_per_s, loss)

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        self._epoch_seconds.append(row["seconds"])
        self._best_epoch = int(row["epoch"]) if best else self._best_epoch
        self._write(self._num_steps, row["samples_per_s"], row["loss"])

    def _write(self, step: int, samples_per_s: float, loss: float) -> None:
        if self._path is None:
            return
        self._written = self._clock()
        progress = Progress(
            time=self._written,
            started=self._started,
            epoch=self._epoch,
            num_epochs=self._num_epochs,
            step=step,
            num_steps=self._num_steps,
            loss=_number(loss),
            samples_per_s=_number(samples_per_s),
            seconds_left=self._seconds_left(step, samples_per_s),
            best_epoch=self._best_epoch,
            ranks=[self._rank(state) for state in self._ranks()],
        )
        write_json(self._path, asdict(progress), sync=False)

    def _seconds_left(self, step: int, samples_per_s: float) -> float | None:
        """By the epochs of this process. The first includes the tracing of the graph, so it counts only while it is alone.

        Before it is complete: by the last epoch before the resume, at the rate of now, since the ranks may be others.
        """
        known = self._epoch_seconds[1:] or self._epoch_seconds
        if not known and self._earlier and samples_per_s > 0:
            last = self._earlier[-1]
            known = [last["seconds"] * last["samples_per_s"] / samples_per_s]
        if not known:
            return None
        epochs = self._num_epochs - self._epoch + 1 - step / max(1, self._num_steps)
        return epochs * sum(known) / len(known)

    def _rank(self, state: RankState) -> RankProgress:
        before = self._before.setdefault(state.rank, state)
        if state.step > before.step:
            self._cpu_s[state.rank] = (state.cpu_s - before.cpu_s) / (state.step - before.step)
            self._before[state.rank] = state
        return RankProgress(
            rank=state.rank,
            host=state.host,
            phase=state.phase,
            step=state.step,
            cpu_s_per_step=self._cpu_s.get(state.rank),
        )


def read_progress(run_dir: RunDir) -> Progress | None:
    """What the file says now; None where there is none, or another program has written it."""
    try:
        return strict.read(Progress, strict.loads(run_dir.progress.read_bytes()), "progress")  # type: ignore[no-any-return]
    except Exception:
        return None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
