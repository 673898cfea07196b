"""A table's labelled rows, read once and kept on disk as they were read.

They wait there for what is known only at the table's end: its labels, and which split each row belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import TableConfig
from hvd_train.data.conversion.exactness import joined, require_held
from hvd_train.data.conversion.row_numbers import RowNumbers
from hvd_train.data.conversion.writing import write_whole
from hvd_train.data.labels.cells import missing_cells, named, picked
from hvd_train.data.labels.reader import LabelReader, Labels
from hvd_train.data.schema import Columns
from hvd_train.data.sources import Table
from hvd_train.errors import DataError

ShowProgress = Callable[[int, int], None]
"""Called with the bytes of the table read so far, and all of them."""

BLOCK_BYTES = 16 << 20
NO_KEY = -1
"""The code of a row whose cell in the split's column is missing."""


@dataclass(eq=False)
class Spill:
    """Features float32, labels float64, keys int32, row after row. A feature of texts holds their codes."""

    directory: Path
    num_rows: int
    num_features: int
    labels: Labels
    label_column: int
    is_songs: bool
    key_names: tuple[str, ...]
    table: Table
    key_column: int | None
    unlabelled: NDArray[np.int64]
    """Rows of the table that have no label and are left out, in order."""
    row_numbers: tuple[int, ...]
    """Features that seem to number the rows."""

    def blocks(self, width: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        """(features (n, S) as they were read, raw labels (n,)) in order. `width`: the columns that a block may become."""
        rows = max(1, BLOCK_BYTES // (4 * max(width, self.num_features)))
        with (self.directory / "features").open("rb") as features, (self.directory / "labels").open("rb") as labels:
            for start in range(0, self.num_rows, rows):
                count = min(rows, self.num_rows - start)
                block = np.fromfile(features, np.float32, count * self.num_features)
                yield block.reshape(count, self.num_features), np.fromfile(labels, np.float64, count)

    def raw_labels(self) -> NDArray[np.float64]:
        return np.fromfile(self.directory / "labels", np.float64)

    def keys(self) -> NDArray[np.int32]:
        """(N,) codes of the cells in the split's column; NO_KEY where they are missing."""
        return np.fromfile(self.directory / "keys", np.int32)

    def source_rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """The rows of the table that the rows start .. stop - 1 are."""
        rows = np.arange(start, stop, dtype=np.int64)
        # The i-th row left out (from 0) has unlabelled[i] - i rows with a label before it.
        before = self.unlabelled - np.arange(len(self.unlabelled))
        return rows + np.searchsorted(before, rows, side="right")

    def num_rows_before_test(self) -> int | None:
        """The rows before those of the test split, where the table knows."""
        before = self.table.num_rows_before_test
        return None if before is None else before - int(np.searchsorted(self.unlabelled, before))

    def row_error(self, row: int, problem: str) -> DataError:
        """The error for the cell of the split's column in row `row`."""
        return self.table.row_error(int(self.source_rows(row, row + 1)[0]), self.key_column, problem)

    def first_of_group(self, row: int) -> int:
        """See `Table.first_of_group`; a table that knows has a label in each row."""
        return row if len(self.unlabelled) else self.table.first_of_group(row)

    def remove(self) -> None:
        for name in ("features", "labels", "keys"):
            (self.directory / name).unlink(missing_ok=True)
        self.directory.rmdir()


class LabelFiles:
    """The labels and the keys of a table as they are read: two files in `directory`, of eight and four bytes a row. Use it with `with`."""

    def __init__(self, table: Table, columns: Columns, config: TableConfig, directory: Path) -> None:
        assert columns.label is not None
        self._table, self._columns, self._label = table, columns, columns.label
        self._directory = directory
        self._labels = LabelReader(table, columns.label, config)
        self._keys: dict[str, int] = {}
        self._unlabelled: list[NDArray[np.int64]] = []
        self._num_read = 0

    def __enter__(self) -> LabelFiles:
        self._label_file = (self._directory / "labels").open("wb")
        self._key_file = (self._directory / "keys").open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._label_file.close()
        self._key_file.close()

    def add(self, labels: Any, keys: Any | None) -> NDArray[np.bool_]:
        """Write the cells of the next rows; (n,) which of them have a label."""
        raw, present = self._labels.add(labels)
        self._label_file.write(raw.tobytes())
        if keys is not None:
            self._key_file.write(key_codes(self._table, picked(keys, present), self._keys).tobytes())
        if len(raw) < len(present):
            self._unlabelled.append(np.flatnonzero(~present) + self._num_read)
        self._num_read += len(present)
        return present

    def spill(self, row_numbers: tuple[int, ...]) -> Spill:
        """All rows that were added, after the files are closed."""
        left_out = np.concatenate([np.empty(0, np.int64), *self._unlabelled])
        return Spill(
            directory=self._directory,
            num_rows=self._num_read - len(left_out),
            num_features=len(self._columns.features),
            labels=self._labels.result(),
            label_column=self._label,
            is_songs=self._labels.is_songs,
            key_names=tuple(self._keys),
            table=self._table,
            key_column=self._columns.key,
            unlabelled=left_out,
            row_numbers=row_numbers,
        )


def read_into_spill(
    table: Table, columns: Columns, config: TableConfig, directory: Path, progress: ShowProgress | None
) -> Spill:
    """Read the whole table once."""
    spill_dir = directory / "spill"
    spill_dir.mkdir()
    numbers = RowNumbers(len(columns.features))
    is_empty, total = True, table.stamp()[0]
    extremes = np.full((2, len(columns.features)), np.nan)
    with (
        LabelFiles(table, columns, config, spill_dir) as files,
        (spill_dir / "features").open("wb", buffering=0) as feature_file,
    ):
        for chunk in table.chunks(columns):
            present = files.add(chunk.labels, chunk.keys)
            features = chunk.features if present.all() else chunk.features[present]
            write_whole(feature_file, features)
            numbers.add(features)
            if chunk.extremes is not None:
                extremes = joined(extremes, chunk.extremes)
            is_empty = is_empty and not len(present)
            if progress is not None:
                progress(min(table.bytes_read(), total), total)
    if is_empty:
        raise DataError(f"{table.path}: the file holds no rows.")
    require_held(table.path, columns.feature_names, extremes, what="column")
    return files.spill(numbers.result())


def key_codes(table: Table, cells: Any, known: dict[str, int]) -> NDArray[np.int32]:
    """The code of each cell of the split's column; names that are new get the next ones."""
    missing = missing_cells(cells, table.missing)
    codes = np.full(len(missing), NO_KEY, np.int32)
    of_present, names = named(picked(cells, ~missing))
    codes[~missing] = np.array([known.setdefault(name, len(known)) for name in names], np.int32)[of_present]
    return codes
