"""Parquet tables. NaN and null are missing values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from hvd_train.data.schema import NUM_SONG_COLUMNS, Columns
from hvd_train.data.sources.base import Chunk, Table, checked_float32
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

_BLOCK_CELLS = 1 << 20


class ParquetTable(Table):
    """A Parquet file; its columns have names."""

    is_named = True

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        self.path, self.table_format = path, table_format
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                self._schema = file.schema_arrow
                self._num_rows = file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: this is no whole Parquet file ({_first_line(error)}).") from None
        self.columns = tuple(self._schema.names)
        if len(set(self.columns)) < len(self.columns):
            raise DataError(f"{path}: two columns have the same name.")
        self._bytes_read = 0
        self.is_songs = len(self.columns) == NUM_SONG_COLUMNS and self.columns[0].lower() == "year"

    def bytes_read(self) -> int:
        return self._bytes_read

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        self._check_types(columns)
        wanted = [*columns.features, *(i for i in (columns.label, columns.key) if i is not None)]
        rows = max(1, _BLOCK_CELLS // len(wanted))
        total, done = self.path.stat().st_size, 0
        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=[self.columns[i] for i in wanted]):
                    yield self._convert(batch, columns, done)
                    done += batch.num_rows
                    self._bytes_read = total * done // max(self._num_rows, 1)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: the Parquet file is damaged ({_first_line(error)}). Get it again.") from None

    def _convert(self, batch: Any, columns: Columns, start: int) -> Chunk:
        matrix = np.empty((batch.num_rows, len(columns.features)), np.float64)
        for position, column in enumerate(columns.features):
            cells = batch.column(self.columns[column])
            matrix[:, position] = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            single = pa.types.is_float32(cells.type) or pa.types.is_float16(cells.type)
            self.missing.erase(matrix[:, position], single=single)
        features = checked_float32(self, matrix, columns, start)
        label = None if columns.label is None else _labels(batch.column(self.columns[columns.label]))
        key = None
        if columns.key is not None:
            key = batch.column(self.columns[columns.key]).cast(pa.string()).fill_null("")
        return Chunk(features, label, key)

    def _check_types(self, columns: Columns) -> None:
        for column in columns.features:
            kind = self._schema.field(column).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise DataError(
                    f"{self.path}, column {column + 1} ({self.columns[column]!r}): its type is {kind}, not a number. "
                    "Leave it out by --drop, or choose --features."
                )


def _labels(cells: Any) -> Any:
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells = cells.dictionary_decode()
        kind = cells.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers: NDArray[np.float64] = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return numbers
    return pc.cast(cells, pa.string())


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")
