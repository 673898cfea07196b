"""The labels of new rows as the outputs of a model that was trained on others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.labels.cells import missing_cells, named, number_of_name, numbers, picked
from hvd_train.data.labels.names import KnownNames
from hvd_train.data.labels.reader import MISSING_LABEL
from hvd_train.data.schema import Schema
from hvd_train.data.sources import Table


@dataclass(frozen=True)
class KnownLabels:
    """Finds the output for each label of a table."""

    table: Table
    column: int
    schema: Schema

    def encode(self, cells: Any, start: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """(outputs (k,) of the rows that have a label, which rows those are (n,)); `start` is the number of row 0.

        Outputs are class indices int32, or values float32. Raises DataError for a label that the model has no output
        for, and for a missing one unless such rows are left out.
        """
        missing = missing_cells(cells, self.table.missing)
        if missing.any() and self.table.table_format.missing_labels == "error":
            raise self.table.row_error(start + int(missing.argmax()), self.column, MISSING_LABEL)
        rows, cells = start + np.flatnonzero(~missing), picked(cells, ~missing)
        if self.schema.label_kind == "classes":
            return self._classes(cells, rows), ~missing
        found = numbers(cells)
        if self.schema.label_kind == "values":
            with np.errstate(over="ignore"):
                values = found.astype(np.float32)
            self._require(np.isfinite(values), rows, cells, "is no number that a 32-bit float holds")
            return values, ~missing
        self._require(np.isfinite(found), rows, cells, "is not a number")
        outputs = np.array(self.schema.label_values, np.float64)
        codes = np.searchsorted(outputs, found).clip(max=len(outputs) - 1)
        self._require(outputs[codes] == found, rows, cells, self._unknown)
        return codes.astype(np.int32), ~missing

    @property
    def _unknown(self) -> str:
        return f"is none of the model's {len(self.schema.label_values)} outputs"

    def _classes(self, cells: Any, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        codes, names = named(cells)
        known = KnownNames.of(tuple(map(str, self.schema.label_values)))
        outputs = np.array([known.index(name) for name in names], np.int32)[codes]
        self._require(outputs >= 0, rows, cells, self._unknown)
        return outputs

    def _require(self, right: NDArray[np.bool_], rows: NDArray[np.int64], cells: Any, problem: str) -> None:
        if right.all():
            return
        index = int(np.argmin(right))
        _, (name,) = named(cells[index : index + 1])
        shown = repr(name) if self.schema.label_kind == "classes" or number_of_name(name) is None else name
        raise self.table.row_error(int(rows[index]), self.column, f"the label {shown} {problem}.")
