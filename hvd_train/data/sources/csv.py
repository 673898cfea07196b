"""CSV tables, parsed by pyarrow in blocks, on the threads of this process.

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

from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import NUM_SONG_COLUMNS, SONG_YEARS, Columns, unnamed_columns
from hvd_train.data.sources.base import Chunk, Table
from hvd_train.data.sources.beginning import read_beginning
from hvd_train.data.sources.careful import CarefulReader, CellReader, records
from hvd_train.data.sources.cells import Kind, Notation, column_values
from hvd_train.data.sources.csv_blocks import parsed_blocks
from hvd_train.data.sources.header import Expected, index_columns
from hvd_train.data.sources.hints import one_column
from hvd_train.data.sources.missing import MissingMarkers
from hvd_train.data.sources.opening import DAMAGE
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.data.sources.text_stream import open_text
from hvd_train.data.sources.words import columns_of_words
from hvd_train.errors import DataError

BLOCK_BYTES, MAX_BLOCK_BYTES = 4 << 20, 8 << 20
"""Read and parsed at once. Measured: 4 MiB is a third faster than 16 MiB, in half the memory; but a block of many
columns and few rows costs as much as one of many rows, so wide tables take larger ones."""
MIN_BLOCK_ROWS = 128
CAREFUL_ROWS = 1024


class CsvTable(Table):
    """A text table."""

    reads_texts = True

    @classmethod
    def open(cls, path: Path, table_format: TableFormat, expected: Expected | None) -> CsvTable:
        return cls(path, table_format, expected=expected)

    def __init__(self, path: Path, table_format: TableFormat, *, expected: Expected | None = None) -> None:
        self.path = path
        self._notation = Notation(table_format.decimal, table_format.thousands)
        self._raw: io.BufferedReader[Any] | None = None
        beginning = read_beginning(path, table_format, self._notation, expected=expected)
        self._form, self.is_named, self.remarks = beginning.form, beginning.is_named, beginning.remarks
        # Only a user knows for certain that a first line of numbers is a row: "no" is kept as said, and never found.
        header = "yes" if self.is_named else table_format.header
        self.table_format = table_format.but({"header": header, "delimiter": self._form.delimiter})
        first = [cell.strip() for cell in beginning.rows[0].cells]
        if len(first) == 1 and (problem := one_column([row.cells for row in beginning.rows], self._form.delimiter)):
            raise DataError(f"{path}: {problem}")
        line_bytes = max(len(",".join(record.cells)) for record in beginning.rows)
        self._block_bytes = min(max(BLOCK_BYTES, MIN_BLOCK_ROWS * line_bytes), MAX_BLOCK_BYTES)
        self._header_lines = beginning.rows[0].line if self.is_named else 0
        rows = [record.cells for record in beginning.rows[1 if self.is_named else 0 :]]
        if not rows:
            raise DataError(f"{path}: there is a header, but no row after it.")
        self.is_songs = _looks_like_songs(first if self.is_named else None, rows)
        self.columns = (
            self._header_names(first) if self.is_named else unnamed_columns(len(first), is_songs=self.is_songs)
        )
        self.index_columns = index_columns(first) if self.is_named else ()
        self._kinds_at_first = _kinds(rows, len(first), self.missing_in_features, self._notation)
        self._words, self._undecided = columns_of_words(rows, len(first), self.missing_in_features, self._notation)
        self.kinds: dict[int, Kind] = self._kinds_at_first
        self._careful = CarefulReader(
            path,
            self._form,
            names=self.columns,
            named=self.is_named,
            missing=self.missing_in_features,
            notation=self._notation,
        )

    def text_columns(self, columns: Columns) -> tuple[int, ...]:
        found = {*columns.texts, *(self._words if columns.finds_texts else ())}
        found |= {column for column, kind in self.kinds.items() if kind == "text"}
        return tuple(column for column in columns.features if column in found)

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        self.kinds = {**self._kinds_at_first}
        self.kinds |= dict.fromkeys(self.text_columns(columns), "text")
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
        types = {names[i]: pa.string() if self._is_text(i) else pa.float64() for i in columns.features}
        types |= {names[i]: pa.string() for i in (columns.label, columns.key) if i is not None}
        with open_text(self.path, self._form) as opened:
            file, self._raw = opened.stream, opened.raw
            if file.peek(3)[:3] == b"\xef\xbb\xbf":
                file.read(3)
            for _ in range(self._header_lines):
                # Where a carriage return alone ends a line, lines must be counted as the careful reader counts them.
                if b"\r" in file.readline(MAX_BLOCK_BYTES).removesuffix(b"\n").removesuffix(b"\r"):
                    raise pa.ArrowInvalid("lines end with a carriage return alone: for the careful reader")
            quotes = _QuoteCounter(file)
            yield from parsed_blocks(
                quotes.read,
                self._block_bytes,
                names=names,
                parse_options=pyarrow.csv.ParseOptions(delimiter=self._form.delimiter, newlines_in_values=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    null_values=["", " ", *self.missing_in_features.texts],
                    strings_can_be_null=False,
                    decimal_point=self._notation.decimal,
                ),
            )
        if quotes.count % 2:  # pyarrow takes all after a quote that is never closed for one cell
            for _ in records(self.path, self._form):
                pass

    def bytes_read(self) -> int:
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    def _is_text(self, column: int) -> bool:
        """Whether pyarrow's reader of numbers cannot read this column."""
        return bool(self._notation.thousands) or column in self.kinds

    def _convert(self, batch: Any, columns: Columns) -> Chunk | None:
        """A block as a chunk; None where a cell is no number that a float32 can hold."""
        num_features = len(columns.features)
        cells = batch.select(list(range(num_features)))
        for position, column in enumerate(columns.features):
            kind: Kind = self.kinds.get(column, "number")
            if kind == "text":
                if _breaks_lines(cells.column(position)):
                    return None
                codes = self.texts.encode(column, cells.column(position))
                cells = cells.set_column(position, str(column), pa.array(codes, from_pandas=True))
            elif self._is_text(column):
                values = column_values(cells.column(position), kind, self._notation, self.missing_in_features)
                if values is None:
                    return None
                cells = cells.set_column(position, str(column), pa.array(values, from_pandas=True))
        num_missing = sum(column.null_count for column in cells.columns)
        matrix = to_matrix(cells)
        if self.missing.has_numbers:
            plain = [position for position, column in enumerate(columns.features) if column not in self.kinds]
            numbers = matrix[:, plain]  # a copy
            num_missing += self.missing.erase(numbers)
            matrix = matrix.copy()
            matrix[:, plain] = numbers
        with np.errstate(over="ignore"):
            features = matrix.astype(np.float32)
        if np.count_nonzero(np.isfinite(features)) != features.size - num_missing:
            return None
        texts = batch.columns[num_features:]
        if any(map(_breaks_lines, texts)):
            return None
        label = self._notation.plain_labels(texts.pop(0)) if columns.label is not None else None
        if columns.label is not None and label is None:
            return None
        return Chunk(features, label, texts[0] if columns.key is not None else None, extremes_of(matrix))

    def _careful_chunks(self, columns: Columns, skip: int) -> Iterator[Chunk]:
        features: list[list[float | str]] = []
        labels: list[str | None] = []
        keys: list[str | None] = []

        def chunk() -> Chunk:
            matrix = np.array(
                [[0.0 if isinstance(cell, str) else cell for cell in row] for row in features], np.float64
            )
            for position, (column, kind) in enumerate(zip(columns.features, self._careful.kinds, strict=True)):
                if kind == "text":  # cells before the first text are missing
                    cells = [cell if isinstance(cell := row[position], str) else None for row in features]
                    matrix[:, position] = self.texts.encode(column, pa.array(cells, pa.string()))
            return Chunk(
                matrix.astype(np.float32),
                self._notation.plain_labels(pa.array(labels, pa.string())) if columns.label is not None else None,
                pa.array(keys, pa.string()) if columns.key is not None else None,
                extremes_of(matrix),
            )

        texts = frozenset(self.text_columns(columns))
        undecided = self._undecided if columns.finds_texts else frozenset()
        for row_features, label, key in self._careful.rows(columns, skip=skip, texts=texts, undecided=undecided):
            features.append(row_features)
            labels.append(label)
            keys.append(key)
            if len(features) == CAREFUL_ROWS or len(features) * len(row_features) >= BLOCK_BYTES // 8:
                yield chunk()
                for column in (features, labels, keys):
                    column.clear()  # type: ignore[attr-defined]
        if features:
            yield chunk()
        self.kinds = {c: k for c, k in zip(columns.features, self._careful.kinds, strict=True) if k and k != "number"}


class _QuoteCounter:
    """A file that counts the quotes in what is read of it."""

    closed = False

    def __init__(self, file: io.BufferedReader[Any]) -> None:
        self._file, self.count = file, 0

    def read(self, num_bytes: int) -> bytes:
        data = self._file.read(num_bytes)
        self.count += data.count(b'"')
        return data


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


def _kinds(rows: list[list[str]], num_columns: int, missing: MissingMarkers, notation: Notation) -> dict[int, Kind]:
    """The columns whose first filled cell is neither a number nor a text."""
    reader, kinds = CellReader(num_columns, missing=missing, notation=notation), {}
    for cells in rows:
        if None not in reader.kinds:
            break
        reader.note(cells[:num_columns], tuple(range(min(num_columns, len(cells)))))
    for column, kind in enumerate(reader.kinds):
        if kind not in (None, "number"):
            kinds[column] = kind
    return kinds


def _breaks_lines(texts: Any) -> bool:
    """Whether a cell of a column of texts holds what ends a line: for the careful reader."""
    return bool(pc.any(pc.match_substring_regex(texts, "[\\x00\\n\\r]")).as_py())


def _looks_like_songs(header: list[str] | None, rows: list[list[str]]) -> bool:
    if header is not None and header[0].lower() not in ("year", "label"):
        return False
    complete = [row for row in rows if len(row) == NUM_SONG_COLUMNS]
    years = [row[0].strip() for row in complete]
    num_years = sum(year.isdecimal() and int(year) in SONG_YEARS for year in years)
    return 2 * len(complete) > len(rows) and 10 * num_years >= 9 * len(complete)
