"""metrics.csv: the history of a run, a line an epoch. Root only.

The checkpoint has the same rows, so the file need not be synced: where a run goes on, it is written again.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from hvd_train.files import named, write_text

Row = dict[str, float]


def write_history(history: Sequence[Row], path: Path) -> None:
    """The whole file, or none where there is no row."""
    if history:
        write_text(path, _lines(history, heads=True), sync=False)


class HistoryFile:
    """The file of a run in training. An epoch costs its own line, however many there were before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_rows = 0

    def write(self, history: Sequence[Row]) -> None:
        """Bring the file up to date with `history`, which only grows."""
        new = history[self._num_rows :]
        if self._num_rows == 0 or not self._append(new):
            write_history(history, self._path)
        self._num_rows = len(history)

    def _append(self, rows: Sequence[Row]) -> bool:
        """False where the file is gone."""
        try:
            with named(self._path):
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        # One write, so that a reader sees whole lines.
        with named(self._path), os.fdopen(descriptor, "wb") as file:
            file.write(_lines(rows, heads=False).encode())
        return True


def _lines(rows: Sequence[Row], *, heads: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    if heads:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
