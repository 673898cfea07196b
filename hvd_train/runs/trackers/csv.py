"""csv: steps.csv in the run directory, a line for each report within an epoch. metrics.csv has those of the epochs.

    hvd-train train --trackers csv

A run writes metrics.csv in any case. For a script (`TrackerCallback`) this tracker writes it, too.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from hvd_train.runs.trackers.base import BY_STEP, STEP_LOSS, Axis, Beginning, Interval, ScalarTracker

STEPS, METRICS = "steps.csv", "metrics.csv"
STEP_COLUMNS = ("step", STEP_LOSS.removeprefix(BY_STEP), "learning_rate", "samples_per_s")
FLUSH_EVERY_S = 2.0


class CsvTracker(ScalarTracker):
    """Appends to one file for each axis. A resumed run appends to the files of before."""

    writes_metrics = False
    """Whether metrics.csv is left to this tracker. Its columns are then the names in the first row."""

    def begin(self, beginning: Beginning) -> None:
        self._folder = beginning.run_dir
        self._steps = (self._folder / STEPS).open("a", newline="", encoding="utf-8")
        if self._steps.tell() == 0:
            csv.writer(self._steps, lineterminator="\n").writerow(STEP_COLUMNS)
        self._waiting: dict[str, float] = {}
        self._flush = Interval(FLUSH_EVERY_S)

    def scalars(self, values: dict[str, float], *, step: int, axis: Axis) -> None:
        if axis == "epoch":
            self._write_steps()
            self._steps.flush()
            if self.writes_metrics:
                _append(self._folder / METRICS, {"epoch": step, **values})
            return
        if self._waiting.get("step") != step:  # several reports of one step are one line
            self._write_steps()
        self._waiting |= {"step": step} | {name.removeprefix(BY_STEP): value for name, value in values.items()}
        if self._flush.is_over():
            self._steps.flush()

    def end(self, *, complete: bool) -> None:
        self._write_steps()
        self._steps.close()

    def _write_steps(self) -> None:
        if self._waiting:
            line = [self._waiting.get(column, "") for column in STEP_COLUMNS]
            csv.writer(self._steps, lineterminator="\n").writerow(line)
            self._waiting = {}


def _append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a table. A name that the table lacks is left out, and a missing one is empty."""
    columns = path.read_text(encoding="utf-8").partition("\n")[0].split(",") if path.exists() else list(row)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
