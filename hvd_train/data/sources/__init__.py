"""Tables on disk, read in blocks of bounded size: CSV (also compressed), Parquet, LIBSVM and .npz."""

from __future__ import annotations

from pathlib import Path

from hvd_train.data.sources.base import Chunk, Table
from hvd_train.data.sources.opening import detect_format
from hvd_train.errors import DataError

__all__ = ["Chunk", "Table", "open_table"]


def open_table(
    path: Path,
    *,
    format: str = "auto",
    delimiter: str = ",",
    header: str = "auto",
    missing: tuple[str, ...] = (),
) -> Table:
    """The table at `path`; only its beginning has been read. Raises DataError where there is none."""
    found = detect_format(path) if format == "auto" else format
    if found == "csv":
        from hvd_train.data.sources.csv import CsvTable

        return CsvTable(path, delimiter=delimiter, header=header, missing=missing)
    if found == "parquet":
        from hvd_train.data.sources.parquet import ParquetTable

        return ParquetTable(path)
    if found == "libsvm":
        from hvd_train.data.sources.libsvm import LibsvmTable

        return LibsvmTable(path)
    if found == "npz":
        from hvd_train.data.sources.npz import NpzTable

        return NpzTable(path)
    raise DataError(f"{path}: {format!r} is no format of tables: csv, parquet, libsvm or npz.")
