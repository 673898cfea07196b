"""Arrays and DataFrames as tables: written once into the cache, then read by the same rules as any file.

A run keeps the path of its table, so a run on a DataFrame can be resumed and evaluated as one on a file.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hvd_train.config import TableConfig
from hvd_train.data.cache import CACHE_WAY_OUT, cache_root
from hvd_train.data.conversion.writing import write_error
from hvd_train.data.dataset import file_sha256
from hvd_train.errors import DataError
from hvd_train.files import new_file

LABEL = "label"
"""Name of the label's column where labels come beside a DataFrame and have no name of their own."""


def in_cache(features: Any, labels: Any = None, *, table: TableConfig | None = None) -> TableConfig:
    """`table` with the path, and where it is known the label, of a table in memory. The table is written to the cache.

    `features`: a pandas DataFrame, pyarrow Table or polars DataFrame, with the label among its columns or beside it in
    `labels` (N,); or an array (N, F) or (N, L, C) of numbers, with `labels` (N,) or one-hot (N, K). Equal tables become
    one file, and every rank may call this at once. Raises DataError for what cannot be a table, and where the cache
    cannot be written.
    """
    table = table or TableConfig()
    folder = cache_root(table) / "arrays"
    if is_frame(features):
        columns, label = _arrow_table(features, labels)
        path = _stored(folder, "dataframe", ".parquet", lambda file: _write_parquet(columns, file))
        return dataclasses.replace(table, path=path, label=label or table.label)
    arrays = {"features": _numbers(features)}
    if labels is not None:
        arrays["labels"] = _labels(labels, len(arrays["features"]))
    return dataclasses.replace(table, path=_stored(folder, "arrays", ".npz", lambda file: _write_archive(arrays, file)))


def is_frame(features: Any) -> bool:
    """Whether it is a table with named columns, rather than an array. Imports neither pandas nor pyarrow."""
    return type(features).__module__.partition(".")[0] in ("pandas", "pyarrow", "polars")


def _arrow_table(frame: Any, labels: Any) -> tuple[Any, str | None]:
    import pyarrow as pa

    try:
        if isinstance(frame, pa.Table):
            table = frame
        elif hasattr(frame, "to_arrow"):  # polars
            table = frame.to_arrow()
        else:
            table = pa.Table.from_pandas(frame.rename(columns=str))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, AttributeError, TypeError) as error:
        raise DataError(
            f"The DataFrame cannot be read as a table: {error}. Each column holds values of one type."
        ) from None
    if labels is None:
        return table, None
    name = str(getattr(labels, "name", None) or LABEL)
    if name in table.column_names:
        raise DataError(f"The DataFrame has a column {name!r} already. Leave `labels` out and give label={name!r}.")
    column = pa.array(np.asarray(labels).tolist() if np.asarray(labels).dtype == object else np.asarray(labels))
    if len(column) != table.num_rows:
        raise DataError(f"There are {len(column)} labels for {table.num_rows} rows. Give one label for each row.")
    return table.append_column(name, column), name


def _numbers(features: Any) -> Any:
    array = np.asarray(features)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiub":
        raise DataError(
            f"The features are an array {array.shape} of {array.dtype}. Give numbers of shape (rows, columns) or "
            "(rows, positions, channels), or a DataFrame."
        )
    return array


def _labels(labels: Any, num_rows: int) -> Any:
    array = np.asarray(labels)
    if array.dtype == object:
        array = np.array([str(label) for label in array.ravel()]).reshape(array.shape)
    if array.ndim == 0 or len(array) != num_rows:
        raise DataError(f"There are labels of shape {array.shape} for {num_rows} rows. Give one label for each row.")
    return array


def _write_parquet(table: Any, file: Any) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, file, write_page_checksum=True)


def _write_archive(arrays: dict[str, Any], file: Any) -> None:
    """As numpy.savez does, but for the time of day that it would write into the file."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _stored(folder: Path, stem: str, suffix: str, write: Callable[[Any], None]) -> Path:
    """The file that holds what `write` writes, named by its content. Written atomically, so several ranks may race."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = new_file(folder / stem, suffix=suffix)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
            path = folder / f"{stem}-{file_sha256(temporary)[:16]}{suffix}"
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise write_error(folder, error, way_out=CACHE_WAY_OUT) from error
    return path
