"""NumPy archives: an array of features (N, F) or (N, L, C), and one of labels (N,) or one-hot (N, K).

NaN is a missing value; pickles are refused. A split may go by another array, with a cell for each row.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import NUM_SONG_COLUMNS, SONG_YEARS, Columns, unnamed_columns
from hvd_train.data.sources.base import Chunk, Table, checked_float32
from hvd_train.data.sources.npz_arrays import LABEL_NAMES, StoredArray, find_arrays, stored_array
from hvd_train.data.sources.opening import damaged, printable
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

_BLOCK_CELLS = 1 << 20


class NpzTable(Table):
    """Column 1 is the label where there is one, the others are the features, as in a CSV without a header."""

    is_named = False

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        self.path, self.table_format = path, table_format
        self._bytes_read = 0
        try:
            with zipfile.ZipFile(path) as archive:
                self._features, self._labels, others = find_arrays(path, archive)
                self._require_shapes()
                num_features = int(np.prod(self._features.shape[1:], dtype=np.int64))
                self.is_songs = num_features + 1 == NUM_SONG_COLUMNS and self._begins_with_years(archive)
        except DataError:
            raise
        except Exception as error:  # whatever a damaged archive or header makes zipfile and numpy raise
            raise damaged(path, error) from None
        self._others = others
        self._key: StoredArray | None = None
        self._offset = 0 if self._labels is None else 1
        self.columns = unnamed_columns(num_features + self._offset, is_songs=self.is_songs)
        if len(self._features.shape) == 3:
            _, positions, channels = self._features.shape
            self.layout, self.is_series = (positions, channels), True
            self.remarks += (
                f"{self._features.name} is {self._features.shape}: rows of {positions} positions x {channels} channels",
            )
        self._layout_remarks = self.remarks
        self._tell_left_out(others)

    @property
    def is_label_first(self) -> bool:
        return self._labels is not None

    @property
    def label_kind(self) -> str | None:
        return "classes" if self._labels is not None and _num_classes(self._labels.shape) else None

    def require_labels(self) -> None:
        if self._labels is None:
            raise DataError(f"{self.path}: there is no array of labels: it is called one of {', '.join(LABEL_NAMES)}.")

    def find_key(self, split: str) -> int | None:
        name = split.partition(":")[2]
        found = name if name in self._others else None
        found = found or next((other for other in self._others if other.lower() == name.lower()), None)
        if found is None:
            there = ", ".join(self._others) or "none"
            raise DataError(
                f"{self.path}: --split {split} needs an array {printable(name)!r} with a cell for each row. The arrays beside the "
                f"features and the labels are: {printable(there)}."
            )
        try:
            with zipfile.ZipFile(self.path) as archive:
                self._key = array = stored_array(self.path, archive, found)
        except DataError:
            raise
        except Exception as error:
            raise damaged(self.path, error) from None
        num_rows = self._features.shape[0]
        if array.shape not in ((num_rows,), (num_rows, 1)) or array.dtype.kind not in "iubUS":
            raise DataError(
                f"{self.path}: {printable(found)} is {array.shape} of {array.dtype}. For --split {split} it holds a text or a whole "
                f"number for each of the {num_rows} rows."
            )
        self._tell_left_out(tuple(other for other in self._others if other != found))
        return len(self.columns)

    def row_error(self, row: int, column: int | None, problem: str) -> DataError:
        if self._key is not None and column == len(self.columns):
            return DataError(f"{self.path}, {self.place(row)}, {printable(self._key.name)}: {problem}")
        return super().row_error(row, column, problem)

    def bytes_read(self) -> int:
        return self._bytes_read

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        if columns.label is not None:
            self.require_labels()
        if columns.label not in (0, None) or (self._offset and 0 in columns.features):
            raise DataError(f"{self.path}: in an .npz file the labels are an array of their own: leave --label out.")
        picked = np.array(columns.features) - self._offset
        rows = max(1, _BLOCK_CELLS // max(len(self.columns), 1))
        total, start = self.path.stat().st_size, 0
        try:
            with zipfile.ZipFile(self.path) as archive:
                labels = iter(()) if self._labels is None else self._labels.blocks(archive, rows)
                keys = (
                    self._key.blocks(archive, rows) if self._key is not None and columns.key is not None else iter(())
                )
                for block in self._features.blocks(archive, rows):
                    matrix = _channel_after_channel(block)[:, picked].astype(np.float64)
                    self.missing.erase(matrix, single=block.dtype.itemsize < 8 and block.dtype.kind == "f")
                    features = checked_float32(self, matrix, columns, start)
                    found = next(labels, None)
                    wanted = columns.label is not None and found is not None
                    own = self._as_labels(found, start) if wanted else None
                    key = next(keys, None)
                    of_split = None if key is None else self._cells(key, start, len(self.columns))
                    yield Chunk(features, own, of_split, extremes_of(matrix))
                    start += len(block)
                    self._bytes_read = total * start // max(self._features.shape[0], 1)
        except DataError:
            raise
        except Exception as error:
            raise damaged(self.path, error) from None

    def _tell_left_out(self, others: tuple[str, ...]) -> None:
        told = (f"left out of the file: {', '.join(others)}",) if others else ()
        self.remarks = (*self._layout_remarks, *told)

    def _require_shapes(self) -> None:
        array, labels = self._features, self._labels
        if len(array.shape) not in (2, 3) or array.dtype.kind not in "fiub" or 0 in array.shape[1:]:
            raise DataError(
                f"{self.path}: {array.name} is {array.shape} of {array.dtype}; features are numbers (rows, columns) or "
                "(rows, positions, channels)."
            )
        if labels is None:
            return
        fits = labels.shape in ((array.shape[0],), (array.shape[0], 1)) and labels.dtype.kind in "fiubUS"
        one_hot = _num_classes(labels.shape) and labels.shape[0] == array.shape[0] and labels.dtype.kind in "fiub"
        if not fits and not one_hot:
            raise DataError(
                f"{self.path}: {labels.name} is {labels.shape} of {labels.dtype}; labels are numbers or texts, one for "
                f"each of the {array.shape[0]} rows, or one-hot (rows, classes)."
            )

    def _begins_with_years(self, archive: zipfile.ZipFile) -> bool:
        if self._labels is None or _num_classes(self._labels.shape):
            return False
        labels = self._labels.beginning(archive, 100)
        return labels.dtype.kind in "iuf" and bool(np.isin(labels, np.array(SONG_YEARS)).mean() >= 0.9)

    def _as_labels(self, labels: Any, start: int) -> Any:
        if _num_classes(labels.shape):
            return self._from_one_hot(labels, start)
        return self._cells(labels, start, 0)

    def _cells(self, array: NDArray[Any], start: int, column: int) -> Any:
        """Numbers or texts of some consecutive rows, one a row."""
        array = array.reshape(-1)
        if array.dtype.kind == "S":
            texts = [self._decoded(text, start + row, column) for row, text in enumerate(array.tolist())]
            return pa.array(texts, pa.string())
        if array.dtype.kind == "U":
            return pa.array(array.tolist(), pa.string())
        return array.astype(np.int64 if array.dtype.kind == "b" else array.dtype.newbyteorder("="))

    def _from_one_hot(self, labels: NDArray[Any], start: int) -> NDArray[np.float64]:
        """(n, K) with one 1 in each row -> (n,) its column, from 0."""
        right = ((labels == 0) | (labels == 1)).all(axis=1) & ((labels == 1).sum(axis=1) == 1)
        if not right.all():
            raise self.row_error(
                start + int(np.argmin(right)),
                None,
                f"the {labels.shape[1]} columns of the labels are not one-hot (one 1, and else 0). Several labels at once "
                "are not predicted: save one column of them.",
            )
        classes: NDArray[np.float64] = labels.argmax(axis=1).astype(np.float64)
        return classes

    def _decoded(self, text: bytes, row: int, column: int) -> str:
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            raise self.row_error(
                row,
                column,
                f"the {'cell' if column else 'label'} {text!r} is not UTF-8. Save the array as texts: array.astype(str).",
            ) from None


def _num_classes(shape: tuple[int, ...]) -> int:
    """K of one-hot labels (N, K); 0 for others."""
    return shape[1] if len(shape) == 2 and shape[1] > 1 else 0


def _channel_after_channel(block: NDArray[Any]) -> NDArray[Any]:
    """(n, F) as it is; (n, L, C) -> (n, C * L), as columns hold a layout."""
    return block if block.ndim == 2 else block.transpose(0, 2, 1).reshape(len(block), -1)
