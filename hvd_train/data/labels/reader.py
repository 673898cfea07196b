"""From the label column to outputs: numbers or names as they stand in the table, then class indices or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import TableConfig
from hvd_train.data.labels.cells import MAX_EXACT, is_numeric, missing_cells, named, numbers, picked
from hvd_train.data.schema import SONG_YEARS, YEARS, LabelKind
from hvd_train.data.sources import Table
from hvd_train.errors import DataError

MAX_CLASSES = 10_000
MIN_ROWS_OF_IDENTIFIERS = 20
"""In fewer rows, classes of one row each prove nothing."""
MAX_AUTO_INTEGERS = 256
"""Whole numbers with more distinct values are taken for values, not for classes in an order."""
MISSING_LABEL = "the label is missing. Leave such rows out by --missing-labels drop."


@dataclass(frozen=True, eq=False)
class Labels:
    """What the labels turned out to be, once all have been seen."""

    kind: LabelKind
    values: tuple[int | str, ...]
    """(K,) in the order of the outputs; empty for values."""
    _codes: NDArray[np.int64] | None = None

    def encode(self, raw: NDArray[np.float64]) -> NDArray[Any]:
        """Class indices int32, or values float32, of raw labels as `LabelReader.add` gave them."""
        if self.kind == "values":
            return raw.astype(np.float32)
        if self.kind == "years":
            return (raw - float(self.values[0])).astype(np.int32)
        if self._codes is not None:
            return self._codes[raw.astype(np.int64)].astype(np.int32)
        return np.searchsorted(np.array(self.values, np.float64), raw).astype(np.int32)


class LabelReader:
    """Reads labels block by block, checks each, and decides at the end what they are."""

    def __init__(self, table: Table, column: int, config: TableConfig) -> None:
        self.table, self.column, self.asked = table, column, config.label_kind
        if self.asked == "auto" and table.label_kind is not None:
            self.asked = table.label_kind  # type: ignore[assignment]
        self.is_songs = table.is_songs and column == 0 and self.asked == "auto"
        self._as_text: bool | None = {"auto": None, "classes": True}.get(self.asked, False)
        if self.is_songs:
            self._as_text = False
        self._names: dict[str, int] = {}
        self._num_rows = self._num_labelled = 0
        self._rows = np.empty(0, np.int64)
        self._whole = True
        self._distinct: set[float] = set()
        self._minimum, self._maximum = np.inf, -np.inf

    def add(self, cells: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Raw labels (k,) of those of the next rows that have one, and which rows those are (n,).

        Raw are numbers as they are, and names as codes. Raises DataError naming the row.
        """
        missing = missing_cells(cells, self.table.missing)
        if missing.any():
            if self.table.table_format.missing_labels == "error":
                raise self.table.row_error(self._num_rows + int(missing.argmax()), self.column, MISSING_LABEL)
            cells = picked(cells, ~missing)
        self._rows = self._num_rows + np.flatnonzero(~missing)
        raw = self._raw(cells) if len(self._rows) else np.empty(0)
        self._num_rows += len(missing)
        self._num_labelled += len(raw)
        return raw, ~missing

    def _raw(self, cells: Any) -> NDArray[np.float64]:
        if self._as_text is None:
            self._as_text = not is_numeric(cells) and np.isfinite(numbers(cells)).mean() < 0.9
        return self._add_names(cells) if self._as_text else self._add_numbers(cells)

    def result(self) -> Labels:
        """The labels' kind and values. Raises DataError where nothing can be learnt from them."""
        name = self.table.columns[self.column]
        if not self._num_labelled:
            raise DataError(f"{self.table.path}: no row has a label in column {self.column + 1} ({name!r}).")
        if self._as_text:
            self._require_several(len(self._names), name)
            self._require_repeated(name)
            names = sorted(self._names, key=_class_order(self._names))
            codes = np.empty(len(names), np.int64)
            codes[[self._names[n] for n in names]] = np.arange(len(names))
            return Labels("classes", tuple(names), codes)
        kind = self._numeric_kind(name)
        if kind in ("years", "integers") and max(-self._minimum, self._maximum) >= MAX_EXACT:
            raise DataError(
                f"{self.table.path}: the label {name!r} has whole numbers from 2**53 on, which 64-bit floats cannot tell "
                "from their neighbours. Say --label-kind classes where they are names, or --label-kind values."
            )
        if kind == "values":
            self._require_several(2 if self._maximum > self._minimum else 1, name)
            return Labels("values", ())
        self._require_several(len(self._distinct), name)
        if kind == "integers":
            return Labels("integers", tuple(int(v) for v in sorted(self._distinct)))
        years = SONG_YEARS if self.is_songs else range(int(self._minimum), int(self._maximum) + 1)
        return Labels("years", tuple(years))

    def _numeric_kind(self, name: str) -> LabelKind:
        few = len(self._distinct) <= MAX_CLASSES
        if self.asked in ("years", "integers"):
            if self.asked == "years":
                few = self._maximum - self._minimum < MAX_CLASSES
            if not few:
                raise DataError(
                    f"{self.table.path}: the label {name!r} has more than {MAX_CLASSES} values: too many for one "
                    "output each. Say --label-kind values."
                )
            return self.asked  # type: ignore[return-value]
        if self.asked == "auto" and self._whole:
            if self.is_songs or (self._minimum >= YEARS[0] and self._maximum <= YEARS[-1]):
                return "years"
            if len(self._distinct) <= min(MAX_AUTO_INTEGERS, self._num_labelled // 2):
                return "integers"
        return "values"

    def _require_several(self, num_values: int, name: str) -> None:
        if num_values < 2:
            raise DataError(
                f"{self.table.path}: all {self._num_labelled} rows have the same label in column {self.column + 1} "
                f"({name!r}): there is nothing to learn. Is --label right?"
            )

    def _require_repeated(self, name: str) -> None:
        if self._num_labelled >= MIN_ROWS_OF_IDENTIFIERS and 2 * len(self._names) > self._num_labelled:
            raise DataError(
                f"{self.table.path}: the {self._num_labelled} rows have {len(self._names)} different labels in column "
                f"{self.column + 1} ({name!r}): this looks like an identifier or a date. Choose another column by --label."
            )

    def _add_names(self, cells: Any) -> NDArray[np.float64]:
        if is_numeric(cells):
            self._require(np.isfinite(cells), cells, "is infinite")
        codes, names = named(cells)
        known = np.array([self._names.setdefault(name, len(self._names)) for name in names], np.float64)
        if len(self._names) > MAX_CLASSES:
            name = self.table.columns[self.column]
            raise DataError(
                f"{self.table.path}: the label {name!r} has more than {MAX_CLASSES} different texts: this looks like "
                "an identifier. Choose another column by --label."
            )
        return known[codes]

    def _add_numbers(self, cells: Any) -> NDArray[np.float64]:
        found = numbers(cells)
        self._require(np.isfinite(found), cells, "stands where a number should be")
        self._require(np.abs(found) <= np.finfo(np.float32).max, cells, "is too large for 32-bit floats")
        self._check_range(found, cells)
        self._whole = self._whole and bool((found == np.floor(found)).all())
        self._minimum, self._maximum = min(self._minimum, found.min()), max(self._maximum, found.max())
        if len(self._distinct) <= MAX_CLASSES:
            self._distinct.update(np.unique(found).tolist())
        return found

    def _check_range(self, found: NDArray[np.float64], cells: Any) -> None:
        if self.is_songs or self.asked in ("years", "integers"):
            self._require(found == np.floor(found), cells, "is not a whole number")
        if self.is_songs:
            self._require(
                (found >= SONG_YEARS[0]) & (found <= SONG_YEARS[-1]),
                cells,
                f"is outside {SONG_YEARS[0]}..{SONG_YEARS[-1]}, the years of YearPredictionMSD, whose columns these are. "
                "Say --label-kind years if other years are meant",
            )

    def _require(self, right: NDArray[np.bool_], cells: Any, problem: str) -> None:
        if not right.all():
            index = int(np.argmin(right))
            _, (name,) = named(cells[index : index + 1])
            shown = name if is_numeric(cells) else repr(name)
            raise self.table.row_error(int(self._rows[index]), self.column, f"the label {shown} {problem}.")


def _class_order(names: dict[str, int]) -> Any:
    # 2 before 10 where the names are whole numbers
    return int if all(n.isdecimal() and n.isascii() and len(n) < 18 for n in names) else str
