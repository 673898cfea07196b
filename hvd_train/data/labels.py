"""From the label column to outputs: numbers or names as they stand in the table, then class indices or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hvd_train.config import DataConfig
from hvd_train.data.schema import SONG_YEARS, YEARS, LabelKind
from hvd_train.data.sources import Table
from hvd_train.data.sources.csv import as_numpy, label_numbers
from hvd_train.errors import DataError

MAX_CLASSES = 10_000
MIN_ROWS_OF_IDENTIFIERS = 20
"""In fewer rows, classes of one row each prove nothing."""
MAX_AUTO_INTEGERS = 256
"""Whole numbers with more distinct values are taken for values, not for classes in an order."""


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

    def __init__(self, table: Table, column: int, config: DataConfig) -> None:
        self.table, self.column, self.asked = table, column, config.label_kind
        if self.asked == "auto" and table.label_kind is not None:
            self.asked = table.label_kind  # type: ignore[assignment]
        self.is_songs = table.is_songs and column == 0 and self.asked == "auto"
        self._as_text: bool | None = {"auto": None, "classes": True}.get(self.asked, False)
        if self.is_songs:
            self._as_text = False
        self._names: dict[str, int] = {}
        self._num_rows = 0
        self._whole = True
        self._distinct: set[float] = set()
        self._minimum, self._maximum = np.inf, -np.inf

    def add(self, labels: Any) -> NDArray[np.float64]:
        """Raw labels (n,) of the next rows: numbers as they are, names as codes. Raises DataError naming the row."""
        if self._as_text is None:
            self._as_text = not isinstance(labels, np.ndarray) and _share_of_numbers(labels) < 0.9
        raw = self._add_names(labels) if self._as_text else self._add_numbers(labels)
        self._num_rows += len(raw)
        return raw

    def result(self) -> Labels:
        """The labels' kind and values. Raises DataError where nothing can be learnt from them."""
        name = self.table.columns[self.column]
        if self._as_text:
            self._require_several(len(self._names), name)
            self._require_repeated(name)
            names = sorted(self._names, key=_class_order(self._names))
            codes = np.empty(len(names), np.int64)
            codes[[self._names[n] for n in names]] = np.arange(len(names))
            return Labels("classes", tuple(names), codes)
        kind = self._numeric_kind(name)
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
            if len(self._distinct) <= min(MAX_AUTO_INTEGERS, self._num_rows // 2):
                return "integers"
        return "values"

    def _require_several(self, num_values: int, name: str) -> None:
        if num_values < 2:
            raise DataError(
                f"{self.table.path}: all {self._num_rows} rows have the same label in column {self.column + 1} "
                f"({name!r}): there is nothing to learn. Is --label right?"
            )

    def _require_repeated(self, name: str) -> None:
        if self._num_rows >= MIN_ROWS_OF_IDENTIFIERS and 2 * len(self._names) > self._num_rows:
            raise DataError(
                f"{self.table.path}: the {self._num_rows} rows have {len(self._names)} different labels in column "
                f"{self.column + 1} ({name!r}): this looks like an identifier or a date. Choose another column by --label."
            )

    def _add_names(self, labels: Any) -> NDArray[np.float64]:
        if isinstance(labels, np.ndarray):
            whole = np.all(labels == np.floor(labels))
            labels = pa.array(labels.astype(np.int64) if whole else labels).cast(pa.string())
        encoded = labels.dictionary_encode()
        if labels.null_count or "" in (values := encoded.dictionary.to_pylist()):
            raise self._error(pc.or_kleene(labels.is_null(), pc.equal(labels, "")), "the label is missing.")
        codes = np.array([self._names.setdefault(value, len(self._names)) for value in values], np.float64)
        if len(self._names) > MAX_CLASSES:
            name = self.table.columns[self.column]
            raise DataError(
                f"{self.table.path}: the label {name!r} has more than {MAX_CLASSES} different texts: this looks like "
                "an identifier. Choose another column by --label."
            )
        raw: NDArray[np.float64] = codes[as_numpy(encoded.indices)]
        return raw

    def _add_numbers(self, labels: Any) -> NDArray[np.float64]:
        numbers = labels if isinstance(labels, np.ndarray) else label_numbers(labels)
        if numbers is None:
            numbers = np.array([_parsed(text) for text in labels.to_pylist()])
            if np.isnan(numbers).any():
                index = int(np.isnan(numbers).argmax())
                text = labels[index].as_py()
                problem = f"{text!r} stands where the label, a number, should be." if text else "the label is missing."
                raise self._error(np.isnan(numbers), problem)
        if not np.isfinite(numbers).all():
            raise self._error(~np.isfinite(numbers), "the label is missing, not a number, or infinite.")
        if (np.abs(numbers) > np.finfo(np.float32).max).any():
            raise self._error(np.abs(numbers) > np.finfo(np.float32).max, "the label is too large for 32-bit floats.")
        self._check_range(numbers)
        self._whole = self._whole and bool((numbers == np.floor(numbers)).all())
        self._minimum, self._maximum = min(self._minimum, numbers.min()), max(self._maximum, numbers.max())
        if len(self._distinct) <= MAX_CLASSES:
            self._distinct.update(np.unique(numbers).tolist())
        return numbers

    def _check_range(self, numbers: NDArray[np.float64]) -> None:
        fractional = numbers != np.floor(numbers)
        if (self.is_songs or self.asked in ("years", "integers")) and fractional.any():
            raise self._error(fractional, f"the label {numbers[fractional.argmax()]:g} is not a whole number.")
        outside = (numbers < SONG_YEARS[0]) | (numbers > SONG_YEARS[-1])
        if self.is_songs and outside.any():
            raise self._error(
                outside,
                f"the year {numbers[outside.argmax()]:.0f} is outside {SONG_YEARS[0]}..{SONG_YEARS[-1]}, the years of "
                "YearPredictionMSD, whose columns these are. Say --label-kind years if other years are meant.",
            )

    def _error(self, where: Any, problem: str) -> DataError:
        mask = where.to_numpy(zero_copy_only=False) if isinstance(where, pa.Array) else where
        return self.table.row_error(self._num_rows + int(mask.argmax()), self.column, problem)


def _share_of_numbers(texts: Any) -> float:
    if label_numbers(texts) is not None:
        return 1.0
    numbers = [_parsed(text) for text in texts.to_pylist()]
    return 1.0 - float(np.isnan(numbers).mean())


def _parsed(text: str | None) -> float:
    try:
        return float(text) if text and "_" not in text else np.nan
    except ValueError:
        return np.nan


def _class_order(names: dict[str, int]) -> Any:
    # 2 before 10 where the names are whole numbers
    return int if all(n.isdecimal() and n.isascii() and len(n) < 18 for n in names) else str
