"""Parquet tables. NaN and null are missing values; booleans, decimals, dates and times are numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet

from hvd_train.data.schema import Columns
from hvd_train.data.sources.arrow import ArrowTable
from hvd_train.data.sources.base import Chunk
from hvd_train.data.sources.opening import printable
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

_BLOCK_CELLS = 1 << 20


class ParquetTable(ArrowTable):
    """A Parquet file; its columns have names."""

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        try:
            with _opened(path) as file:
                schema = file.schema_arrow
                self._num_rows = file.metadata.num_rows
        except Exception as error:  # whatever a damaged footer makes pyarrow raise
            raise DataError(
                f"{path}: this is no whole Parquet file ({printable(str(error).rstrip('.')) or type(error).__name__})."
            ) from None
        super().__init__(path, table_format, schema)
        self.index_columns = _index_columns(schema)
        self._bytes_read = 0

    def bytes_read(self) -> int:
        return self._bytes_read

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        self.check_types(columns)
        wanted = [*columns.features, *(i for i in (columns.label, columns.key) if i is not None)]
        rows = max(1, _BLOCK_CELLS // len(wanted))
        total, done = self.path.stat().st_size, 0
        try:
            with _opened(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=[self.columns[i] for i in wanted]):
                    yield self.convert(batch, columns, done)
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


def _opened(path: Path) -> Any:
    # Pages carry a checksum where their writer was asked for it, and pyarrow compares it where it is asked.
    return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)


def _index_columns(schema: Any) -> tuple[int, ...]:
    """The columns that pandas says are its index."""
    try:
        index = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return tuple(schema.names.index(name) for name in index if name in schema.names)
    except (KeyError, TypeError, ValueError, RecursionError):  # no word of pandas, or a damaged one
        return ()
