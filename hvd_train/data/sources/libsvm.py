"""LIBSVM's sparse text: `label index:value index:value ...`; what is not listed is 0, `#` begins a comment.

The number of columns is known only at the end, so the file is read twice: once for the largest index, once for the
rows. https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/ (YearPredictionMSD is there in this form.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import NUM_SONG_COLUMNS, SONG_YEARS, Columns, unnamed_columns
from hvd_train.data.sources.base import Chunk, LineTable
from hvd_train.data.sources.careful import FLOAT32_MAX, text_lines
from hvd_train.data.sources.missing import parsed_number
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.data.sources.text_stream import TextForm, found_encoding
from hvd_train.errors import DataError

MAX_FEATURES = 1_000_000
"""Rows are stored dense, so more columns are not what this program is for."""
_BLOCK_CELLS = 1 << 20
_NUM_PROBED_ROWS = 100


class LibsvmTable(LineTable):
    """Column 1 is the label, column i + 1 the feature of index i (of index i - 1 where indices begin at 0)."""

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        self.path = path
        self._form = TextForm(encoding=found_encoding(path, table_format.encoding))
        base = table_format.index_base
        first, last = (1 if base == "auto" else int(base)), 0
        labels: list[str] = []
        for line, _, text in self.lines():
            label, *pairs = text.split()
            for pair in pairs:
                if not pair.startswith("qid:"):
                    index = self._index(pair, line)
                    if index < first and base != "auto":
                        raise DataError(
                            f"{path}, line {line}: there is a feature {index}, but features count from {base} (by "
                            "--index-base, or as in the table of the run). Give --index-base 0 if they do not."
                        )
                    first, last = min(first, index), max(last, index)
            if len(labels) < _NUM_PROBED_ROWS:
                labels.append(label)
        if not labels:
            raise DataError(f"{path}: the file holds no rows.")
        if last < first:
            raise DataError(f"{path}: no row has a feature: they are written index:value.")
        self._first, self._num_features = first, last - first + 1
        self.table_format = table_format.but({"index_base": str(first)})
        years = sum(label in _SONG_YEAR_TEXTS for label in labels)
        self.is_songs = self._num_features + 1 == NUM_SONG_COLUMNS and 10 * years >= 9 * len(labels)
        self.columns = unnamed_columns(self._num_features + 1, is_songs=self.is_songs)

    def widen(self, num_columns: int) -> None:
        if num_columns > len(self.columns):
            self._num_features = num_columns - 1
            self.columns = unnamed_columns(num_columns, is_songs=self.is_songs)

    @property
    def is_label_first(self) -> bool:
        return True

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        if columns.key is not None or columns.label not in (0, None) or 0 in columns.features:
            raise DataError(f"{self.path}: in a LIBSVM file the label stands first on each line: leave --label out.")
        picked = np.array(columns.features) - 1
        num_rows = max(1, _BLOCK_CELLS // self._num_features)
        block = np.zeros((num_rows, self._num_features))
        labels: list[float | str] = []
        for line, position, text in self.lines():
            label, *pairs = text.split()
            number = self._number(label, line, 0)
            # A text keeps all the digits of a whole number that a 64-bit float does not hold.
            labels.append(label if abs(number) >= 2**53 and label.lstrip("+-").isdecimal() else number)
            row = block[len(labels) - 1]
            for pair in pairs:
                if not pair.startswith("qid:"):
                    index, _, value = pair.partition(":")
                    column = int(index) - self._first
                    row[column] = self._number(value, line, column + 1)
            if len(labels) == num_rows:
                yield self._chunk(block[:, picked], labels)
                block[:] = 0
                labels.clear()
                self._bytes_read = position
        if labels:
            yield self._chunk(block[: len(labels), picked], labels)

    def _chunk(self, matrix: NDArray[np.float64], labels: list[float | str]) -> Chunk:
        self.missing.erase(matrix)
        found: Any = np.array(labels) if all(isinstance(label, float) for label in labels) else _texts(labels)
        return Chunk(matrix.astype(np.float32, order="C"), found, extremes=extremes_of(matrix))

    def lines(self) -> Iterator[tuple[int, int, str]]:
        """(line from 1, bytes read, content) of the lines that hold a row."""
        for line, position, text in text_lines(self.path, self._form):
            content = text.partition("#")[0].strip()
            if content:
                yield line, position, content

    def _index(self, pair: str, line: int) -> int:
        index, colon, _ = pair.partition(":")
        if not colon or not (index.isdecimal() and index.isascii()) or int(index[:10]) > MAX_FEATURES:
            raise DataError(
                f"{self.path}, line {line}: {pair[:40]!r} is no feature: they are written index:value, with indices "
                f"up to {MAX_FEATURES:,}."
            )
        return int(index)

    def _number(self, text: str, line: int, column: int) -> float:
        if self.table_format.missing and self.missing.is_text(text):
            return math.nan
        value = parsed_number(text)
        if not abs(value) <= FLOAT32_MAX:
            raise DataError(
                f"{self.path}, line {line}, column {column + 1}: {text[:40]!r} is no number that a 32-bit float holds."
            )
        return value


def _texts(labels: list[float | str]) -> Any:
    """Labels, some of which need all their digits, as texts; a missing one is null."""
    texts = [label.lstrip("+") if isinstance(label, str) else f"{label:.17g}" for label in labels]
    return pa.array([None if text == "nan" else text for text in texts], pa.string())


_SONG_YEAR_TEXTS = frozenset(str(year) for year in SONG_YEARS)
