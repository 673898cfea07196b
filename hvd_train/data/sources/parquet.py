"""Parquet tables. NaN and null are missing values; booleans, decimals, dates and times are numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import NUM_SONG_COLUMNS, Columns
from hvd_train.data.sources.base import Chunk, Table, checked_float32
from hvd_train.data.sources.cells import Kind
from hvd_train.data.sources.csv import as_numpy
from hvd_train.data.sources.opening import printable
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

_BLOCK_CELLS = 1 << 20


class ParquetTable(Table):
    """A Parquet file; its columns have names."""

    is_named = True

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        self.path, self.table_format = path, table_format
        try:
            with _opened(path) as file:
                self._schema = file.schema_arrow
                self._num_rows = file.metadata.num_rows
        except Exception as error:  # whatever a damaged footer makes pyarrow raise
            raise DataError(
                f"{path}: this is no whole Parquet file ({printable(str(error).rstrip('.')) or type(error).__name__})."
            ) from None
        self.columns = tuple(self._schema.names)
        if len(set(self.columns)) < len(self.columns):
            raise DataError(f"{path}: two columns have the same name.")
        self.index_columns = _index_columns(self._schema)
        self._bytes_read = 0
        kinds = {column: kind_of_type(field.type) for column, field in enumerate(self._schema)}
        self.kinds = {column: kind for column, kind in kinds.items() if kind in ("boolean", "date")}
        self.is_songs = len(self.columns) == NUM_SONG_COLUMNS and self.columns[0].lower() == "year"

    def bytes_read(self) -> int:
        return self._bytes_read

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        self._check_types(columns)
        wanted = [*columns.features, *(i for i in (columns.label, columns.key) if i is not None)]
        rows = max(1, _BLOCK_CELLS // len(wanted))
        total, done = self.path.stat().st_size, 0
        try:
            with _opened(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=[self.columns[i] for i in wanted]):
                    yield self._convert(batch, columns, done)
                    done += batch.num_rows
                    self._bytes_read = total * done // max(self._num_rows, 1)
            if done != self._num_rows:  # a damaged page may just end
                raise OSError(f"it has {self._num_rows} rows, but {done} were found")
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{self.path}: the Parquet file is damaged ({printable(str(error).rstrip('.')) or type(error).__name__}). Get it again."
            ) from None

    def _convert(self, batch: Any, columns: Columns, start: int) -> Chunk:
        matrix = np.empty((batch.num_rows, len(columns.features)), np.float64)
        for position, column in enumerate(columns.features):
            cells = batch.column(self.columns[column])
            matrix[:, position] = as_numbers(cells).to_numpy(zero_copy_only=False)
            if column not in self.kinds:
                single = pa.types.is_float32(cells.type) or pa.types.is_float16(cells.type)
                self.missing.erase(matrix[:, position], single=single)
        features = checked_float32(self, matrix, columns, start)
        label = None if columns.label is None else _cells(batch.column(self.columns[columns.label]))
        key = None if columns.key is None else _cells(batch.column(self.columns[columns.key]))
        return Chunk(features, label, key, extremes_of(matrix))

    def _check_types(self, columns: Columns) -> None:
        for column in columns.features:
            kind = self._schema.field(column).type
            if kind_of_type(kind) is None:
                way_out = "Leave it out by --drop, or choose --features."
                if pa.types.is_nested(kind):
                    way_out = (
                        "Nested columns are not read: make a column of each of its parts, or leave it out by --drop."
                    )
                raise DataError(
                    f"{self.path}, column {column + 1} ({self.columns[column]!r}): its type is {kind}, not a number. "
                    f"{way_out}"
                )
        for wanted in (columns.label, columns.key):
            if wanted is not None and pa.types.is_nested(kind := self._schema.field(wanted).type):
                raise DataError(
                    f"{self.path}, column {wanted + 1} ({self.columns[wanted]!r}): its type is {kind}. A label or a group "
                    "is one number or one text for each row: choose another column."
                )


def _opened(path: Path) -> Any:
    # Pages carry a checksum where their writer was asked for it, and pyarrow compares it where it is asked.
    return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)


def kind_of_type(kind: Any) -> Kind | None:
    """What a feature column of this type holds; None where it is not numbers."""
    types = pa.types
    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type)
    if types.is_boolean(kind):
        return "boolean"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "date"
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
    return "number" if numeric else None


_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def as_numbers(cells: Any) -> Any:
    """A pyarrow array of float64: dates and times in days since 1970-01-01, in UTC; null where a cell is missing."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    kind = cells.type
    if pa.types.is_date32(kind):
        return cells.cast(pa.int32()).cast(pa.float64())
    if pa.types.is_date64(kind):
        return pc.divide(cells.cast(pa.int64()).cast(pa.float64(), safe=False), float(_PER_DAY["ms"]))
    if pa.types.is_timestamp(kind):
        return pc.divide(cells.cast(pa.int64()).cast(pa.float64(), safe=False), float(_PER_DAY[kind.unit]))
    return cells.cast(pa.float64(), safe=False)


def _index_columns(schema: Any) -> tuple[int, ...]:
    """The columns that pandas says are its index."""
    try:
        index = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return tuple(schema.names.index(name) for name in index if name in schema.names)
    except (KeyError, TypeError, ValueError, RecursionError):  # no word of pandas, or a damaged one
        return ()


def _cells(cells: Any) -> Any:
    """Labels or groups as `Chunk` has them, without losing a digit."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells = cells.dictionary_decode()
        kind = cells.type
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not cells.null_count):
        return as_numpy(cells.fill_null(math.nan) if cells.null_count else cells)
    if pa.types.is_integer(kind):
        try:
            return as_numpy(cells.cast(pa.float64()).fill_null(math.nan))
        except pa.ArrowInvalid:  # some are above 2**53: texts keep all their digits
            pass
    return pc.cast(cells, pa.string())
