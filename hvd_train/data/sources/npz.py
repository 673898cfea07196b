"""NumPy archives: an array of features (N, F) and one of labels (N,). NaN is a missing value; pickles are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hvd_train.data.schema import NUM_SONG_COLUMNS, SONG_YEARS, Columns, unnamed_columns
from hvd_train.data.sources.base import Chunk, Table, checked_float32
from hvd_train.data.sources.opening import DAMAGE, damaged
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

FEATURE_NAMES = ("features", "x", "X", "data", "x_train")
LABEL_NAMES = ("labels", "label", "y", "Y", "target", "y_train")
_BLOCK_CELLS = 1 << 20


class NpzTable(Table):
    """Column 1 is the label, the others are the features, as in a CSV without a header."""

    is_named = False

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        self.path, self.table_format = path, table_format
        self._bytes_read = 0
        try:
            with zipfile.ZipFile(path) as archive:
                arrays = {Path(name).stem: name for name in archive.namelist() if name.endswith(".npy")}
                self._features = self._find(arrays, FEATURE_NAMES, "features")
                self._labels = self._find(arrays, LABEL_NAMES, "labels")
                with archive.open(self._features) as file:
                    shape, self._fortran, dtype = _header(path, self._features, file)
                with archive.open(self._labels) as file:
                    label_shape, _, label_dtype = _header(path, self._labels, file)
        except (*DAMAGE, ValueError, RuntimeError, MemoryError) as error:
            raise damaged(path, error) from None
        if len(shape) != 2 or dtype.kind not in "fiub":
            raise DataError(f"{path}: {self._features} is {shape} of {dtype}; features are numbers (rows, columns).")
        if label_shape not in ((shape[0],), (shape[0], 1)) or label_dtype.kind not in "fiubUS":
            raise DataError(
                f"{path}: {self._labels} is {label_shape} of {label_dtype}; labels are numbers or texts, one for each "
                f"of the {shape[0]} rows."
            )
        self._shape, self._dtype, self._label_dtype = shape, dtype, label_dtype
        self.is_songs = shape[1] + 1 == NUM_SONG_COLUMNS and self._begins_with_years()
        self.columns = unnamed_columns(shape[1] + 1, is_songs=self.is_songs)

    def bytes_read(self) -> int:
        return self._bytes_read

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        if columns.key is not None or columns.label not in (0, None) or 0 in columns.features:
            raise DataError(f"{self.path}: in an .npz file the labels are an array of their own: leave --label out.")
        picked = np.array(columns.features) - 1
        total, start = self.path.stat().st_size, 0
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._labels) as label_file:
                _header(self.path, self._labels, label_file)
                for block in self._blocks(archive):
                    labels = _read(label_file, self._label_dtype, len(block))
                    matrix = block[:, picked].astype(np.float64)
                    self.missing.erase(matrix, single=block.dtype.itemsize < 8 and block.dtype.kind == "f")
                    features = checked_float32(self, matrix, columns, start)
                    yield Chunk(features, None if columns.label is None else _as_labels(labels))
                    start += len(block)
                    self._bytes_read = total * start // max(self._shape[0], 1)
        except (*DAMAGE, ValueError, RuntimeError, MemoryError) as error:
            raise damaged(self.path, error) from None

    def _blocks(self, archive: zipfile.ZipFile) -> Iterator[NDArray[Any]]:
        num_rows, num_columns = self._shape
        rows = max(1, _BLOCK_CELLS // max(num_columns, 1))
        with archive.open(self._features) as file:
            _header(self.path, self._features, file)
            if self._fortran:  # column after column: rows can only be had from the whole
                whole = _read(file, self._dtype, num_rows * num_columns).reshape(num_columns, num_rows).T
                yield from (whole[start : start + rows] for start in range(0, num_rows, rows))
                return
            for start in range(0, num_rows, rows):
                count = min(rows, num_rows - start)
                yield _read(file, self._dtype, count * num_columns).reshape(count, num_columns)

    def _begins_with_years(self) -> bool:
        with zipfile.ZipFile(self.path) as archive, archive.open(self._labels) as file:
            _header(self.path, self._labels, file)
            labels = _read(file, self._label_dtype, min(self._shape[0], 100))
        return labels.dtype.kind in "iuf" and bool(np.isin(labels, np.array(SONG_YEARS)).mean() >= 0.9)

    def _find(self, arrays: dict[str, str], names: tuple[str, ...], what: str) -> str:
        for name in names:
            if name in arrays:
                return arrays[name]
        raise DataError(
            f"{self.path}: there is no array of {what}: it is called one of {', '.join(names)}; "
            f"there are {', '.join(arrays) or 'none'}."
        )


def _header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(f"{path}: {name} holds Python objects (pickles), which could run any program. Save numbers.")
    return shape, fortran, dtype


def _read(file: IO[bytes], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise EOFError("an array ends early")
    return np.frombuffer(data, dtype)


def _as_labels(labels: NDArray[Any]) -> Any:
    if labels.dtype.kind in "US":
        texts = labels.astype(str) if labels.dtype.kind == "S" else labels
        return pa.array(texts.tolist(), pa.string())
    return labels.astype(np.float64)
