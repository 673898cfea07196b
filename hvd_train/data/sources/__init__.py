"""Tables on disk, read in blocks of bounded size: CSV (also compressed), Parquet, LIBSVM and .npz."""

from __future__ import annotations

from pathlib import Path

from hvd_train.data.sources.base import Chunk, Table
from hvd_train.data.sources.header import Expected
from hvd_train.data.sources.opening import detect_format
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

__all__ = ["Chunk", "Expected", "Table", "TableFormat", "open_table"]


def open_table(path: Path, table_format: TableFormat, *, expected: Expected | None = None) -> Table:
    """The table at `path`; only its beginning has been read. Raises DataError where there is none.

    `expected` are the columns of the model that it is for, which tell whether a text table has a header.
    """
    found = detect_format(path) if table_format.format == "auto" else table_format.format
    table_format = table_format.but({"format": found})
    if found == "csv":
        from hvd_train.data.sources.csv import CsvTable

        return CsvTable(path, table_format, expected=expected)
    if found == "parquet":
        from hvd_train.data.sources.parquet import ParquetTable

        return ParquetTable(path, table_format)
    if found == "libsvm":
        from hvd_train.data.sources.libsvm import LibsvmTable

        return LibsvmTable(path, table_format)
    if found == "npz":
        from hvd_train.data.sources.npz import NpzTable

        return NpzTable(path, table_format)
    raise DataError(f"{path}: {found!r} is no format of tables: csv, parquet, libsvm or npz.")
