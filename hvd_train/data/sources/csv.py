"""CSV tables, read by pyarrow's streaming reader in blocks.

What pyarrow refuses goes to the careful reader, which names the line and the column of what is wrong.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from hvd_train.data.schema import NUM_SONG_COLUMNS, SONG_YEARS, Columns, unnamed_columns
from hvd_train.data.sources.base import Chunk, Table
from hvd_train.data.sources.careful import CarefulReader, Record, records
from hvd_train.data.sources.opening import DAMAGE, open_bytes
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

BLOCK_BYTES, MAX_BLOCK_BYTES = 4 << 20, 8 << 20
"""Read and parsed at once. Measured: 4 MiB is a third faster than 16 MiB, in half the memory; but a block of many
columns and few rows costs as much as one of many rows, so wide tables take larger ones."""
MIN_BLOCK_ROWS = 128
CAREFUL_ROWS = 1024
NUM_PROBED_ROWS = 100
MAX_PROBED_CHARS = 1 << 20


class CsvTable(Table):
    """A text table. `header`: yes, no, or auto: there is one when most cells of the first line are not numbers."""

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        delimiter = table_format.delimiter
        self.path, self.delimiter = path, delimiter
        self._raw: io.BufferedReader | None = None
        beginning = self._probe()
        if not beginning:
            raise DataError(f"{path}: the file holds no rows.")
        first = [cell.strip() for cell in beginning[0].cells]
        header = table_format.header
        self.is_named = header == "yes" or (header == "auto" and _looks_like_names(first))
        self.table_format = table_format.but({"header": "yes" if self.is_named else "no"})
        line_bytes = max(len(",".join(record.cells)) for record in beginning)
        self._block_bytes = min(max(BLOCK_BYTES, MIN_BLOCK_ROWS * line_bytes), MAX_BLOCK_BYTES)
        self._header_lines = beginning[0].line if self.is_named else 0
        if len(first) == 1 and (others := [d for d in ";\t|, " if d != delimiter and d in first[0]]):
            raise DataError(f"{path}: one column only. Is the delimiter {others[0]!r}? Give it by --delimiter.")
        rows = [record.cells for record in beginning[1 if self.is_named else 0 :]]
        if not rows:
            raise DataError(f"{path}: there is a header, but no row after it.")
        self.is_songs = _looks_like_songs(first if self.is_named else None, rows)
        self.columns = (
            self._header_names(first) if self.is_named else unnamed_columns(len(first), is_songs=self.is_songs)
        )
        self._careful = CarefulReader(
            path, delimiter=delimiter, names=self.columns, named=self.is_named, missing=self.missing
        )

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        num_rows = 0
        try:
            for batch in self._batches(columns):
                chunk = self._convert(batch, columns)
                if chunk is None:
                    break
                yield chunk
                num_rows += batch.num_rows
            else:
                return
        except (pa.ArrowException, UnicodeDecodeError, *DAMAGE):
            pass
        yield from self._careful_chunks(columns, num_rows)

    def place(self, row: int) -> str:
        return f"line {self._careful.line_of(row)}"

    def _probe(self) -> list[Record]:
        rows, num_chars = [], 0
        for record in records(self.path, self.delimiter):
            rows.append(record)
            num_chars += sum(map(len, record.cells))
            if len(rows) > NUM_PROBED_ROWS or num_chars > MAX_PROBED_CHARS:
                break
        return rows

    def _header_names(self, first: list[str]) -> tuple[str, ...]:
        names = tuple(cell or f"column_{i + 1}" for i, cell in enumerate(first))
        seen: set[str] = set()
        for i, name in enumerate(names):
            if name in seen:
                raise DataError(f"{self.path}, line 1, column {i + 1}: a second column is called {name!r}.")
            seen.add(name)
        return names

    def _batches(self, columns: Columns) -> Iterator[Any]:
        names = [str(i) for i in range(len(self.columns))]
        types = {names[i]: pa.float64() for i in columns.features}
        types |= {names[i]: pa.string() for i in (columns.label, columns.key) if i is not None}
        with open_bytes(self.path) as opened:
            file, self._raw = opened.stream, opened.raw
            if file.peek(3)[:3] == b"\xef\xbb\xbf":
                file.read(3)
            for _ in range(self._header_lines):
                # Where a carriage return alone ends a line, lines must be counted as the careful reader counts them.
                if b"\r" in file.readline(MAX_BLOCK_BYTES).removesuffix(b"\n").removesuffix(b"\r"):
                    raise pa.ArrowInvalid("lines end with a carriage return alone: for the careful reader")
            reader = pyarrow.csv.open_csv(
                pa.PythonFile(file, "r"),
                read_options=pyarrow.csv.ReadOptions(block_size=self._block_bytes, column_names=names),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    null_values=["", " ", *self.table_format.missing],
                    strings_can_be_null=False,
                ),
            )
            yield from reader

    def bytes_read(self) -> int:
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def _convert(self, batch: Any, columns: Columns) -> Chunk | None:
        """A block as a chunk; None where a cell is no number that a float32 can hold."""
        num_features = len(columns.features)
        cells = batch.select(list(range(num_features)))
        num_missing = sum(column.null_count for column in cells.columns)
        matrix = to_matrix(cells)
        if self.missing.has_numbers:
            matrix = matrix.copy()
            num_missing += self.missing.erase(matrix)
        with np.errstate(over="ignore"):
            features = matrix.astype(np.float32)
        if np.count_nonzero(np.isfinite(features)) != features.size - num_missing:
            return None
        texts = batch.columns[num_features:]
        label = texts.pop(0) if columns.label is not None else None
        return Chunk(features, label, texts[0] if columns.key is not None else None)

    def _careful_chunks(self, columns: Columns, skip: int) -> Iterator[Chunk]:
        features: list[list[float]] = []
        labels: list[str | None] = []
        keys: list[str | None] = []

        def chunk() -> Chunk:
            return Chunk(
                np.array(features, np.float64).astype(np.float32),
                pa.array(labels, pa.string()) if columns.label is not None else None,
                pa.array(keys, pa.string()) if columns.key is not None else None,
            )

        for row_features, label, key in self._careful.rows(columns, skip=skip):
            features.append(row_features)
            labels.append(label)
            keys.append(key)
            if len(features) == CAREFUL_ROWS or len(features) * len(row_features) >= BLOCK_BYTES // 8:
                yield chunk()
                for column in (features, labels, keys):
                    column.clear()  # type: ignore[attr-defined]
        if features:
            yield chunk()


def to_matrix(batch: Any) -> NDArray[np.float64]:
    """(n, F) of a record batch of float64 columns, NaN for nulls; read-only."""
    if batch.num_rows == 0:
        return np.empty((0, batch.num_columns))
    matrix: NDArray[np.float64] = batch.to_tensor(null_to_nan=True, row_major=True).to_numpy()
    return matrix


def as_numpy(array: Any) -> NDArray[Any]:
    """A pyarrow array without nulls; unlike its own to_numpy, this does not import pandas, which takes half a second."""
    numbers: NDArray[Any] = np.from_dlpack(array)
    return numbers


def label_numbers(texts: Any) -> NDArray[np.float64] | None:
    """The numbers that all of `texts` are; None where one is not."""
    try:
        return as_numpy(pc.utf8_trim_whitespace(texts).cast(pa.float64()))
    except pa.ArrowInvalid:
        return None


def _looks_like_names(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return sum(not _is_number(cell) for cell in filled) > len(filled) / 2


def _looks_like_songs(header: list[str] | None, rows: list[list[str]]) -> bool:
    if header is not None and header[0].lower() not in ("year", "label"):
        return False
    complete = [row for row in rows if len(row) == NUM_SONG_COLUMNS]
    years = [row[0].strip() for row in complete]
    num_years = sum(year.isdecimal() and int(year) in SONG_YEARS for year in years)
    return 2 * len(complete) > len(rows) and 10 * num_years >= 9 * len(complete)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
