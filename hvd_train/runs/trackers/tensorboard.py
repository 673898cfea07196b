"""TensorBoard: event files in the folder `tensorboard` of the run directory.

    hvd-train train --trackers tensorboard
    tensorboard --logdir runs

Scalars are written once an epoch, the config and the facts as text. Files are written by the tensorboard package alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvd_train.runs.trackers.base import Tracker

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

FOLDER = "tensorboard"


class TensorBoardTracker(Tracker):
    """Writes the metrics of each epoch, by the names in metrics.csv, and the final figures by split."""

    def __init__(self) -> None:
        self._writer: Any = None

    def on_start(self, config: dict[str, Any], facts: dict[str, str], run_dir: Path) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(run_dir / FOLDER))
        self._add(text_pb("facts", _markdown_table(facts)), step=0)
        for section, values in config.items():
            rows = values if isinstance(values, dict) else {section: values}
            self._add(text_pb(f"config/{section}", _markdown_table(rows)), step=0)
        self._writer.flush()

    def on_epoch_end(self, row: dict[str, float], *, best: bool) -> None:
        scalars = {name: value for name, value in row.items() if name != "epoch"}
        self._add_scalars(scalars, step=int(row["epoch"]))

    def on_end(self, report: Any) -> None:
        for split, metrics in report.metrics.items():
            self._add_scalars({f"{split}/{name}": value for name, value in metrics.items()}, step=report.best_epoch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add_scalars(self, scalars: dict[str, float], *, step: int) -> None:
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for name, value in scalars.items():
            self._add(scalar_pb(name, float(value)), step=step)
        self._writer.flush()

    def _add(self, summary: Summary, *, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _markdown_table(rows: dict[str, Any]) -> str:
    """A table of two columns, as the text plugin shows it."""

    def cell(value: Any) -> str:
        return " ".join(str(value).split()).replace("|", "\\|")

    return "\n".join(["| name | value |", "| --- | --- |", *(f"| {cell(k)} | {cell(v)} |" for k, v in rows.items())])
