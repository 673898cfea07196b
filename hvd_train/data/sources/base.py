"""What every kind of table gives: its columns, and its rows in blocks."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import Split
from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import Columns
from hvd_train.data.sources.header import Expected
from hvd_train.data.sources.missing import MissingMarkers
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

if TYPE_CHECKING:
    from hvd_train.data.categories.codes import TextCodes


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some consecutive rows."""

    features: NDArray[np.float32]
    """(n, F), C order; NaN is a missing cell, and there is no infinity. A column of texts holds their codes (`Table.texts`)."""
    labels: Any
    """(n,) numbers of any numpy type, or a pyarrow array of texts; None where no label was asked for. A missing one is
    NaN, null, empty, or what `Table.missing` says."""
    keys: Any = None
    """(n,) cells of the split's column, as labels are; None where there is none."""
    extremes: NDArray[np.float64] | None = None
    """(2, F) each column's least and greatest cell before rounding; None where the features were float32 already."""


class Table(ABC):
    """A labelled table. Reading it twice gives the same rows.

    To read a format of your own, write a subclass and name it: `hvd-train train --format own.py:Scores --data rows.scores`.

        class Scores(Table):
            def __init__(self, path, table_format):
                super().__init__(path, table_format)
                with path.open() as file:
                    self.columns = tuple(file.readline().split())

            def chunks(self, columns):
                cells = np.loadtxt(self.path, skiprows=1, ndmin=2)
                yield self.chunk_of(cells, columns, start=0)

    The constructor reads what it needs to know the columns, and no more. `chunks` reads the rows, in blocks of a few MiB
    where the table is large. Raise `hvd_train.errors.DataError` for a file that cannot be read; `row_error` makes one that
    names the row and the column. One process of each host reads the table. Of the attributes below only `columns` must be
    set.
    """

    path: Path
    columns: tuple[str, ...]
    """Names of all columns; made up where `is_named` is false."""
    is_named: bool = True
    table_format: TableFormat = TableFormat()
    """How it is read, without an `auto` that was found out."""
    remarks: tuple[str, ...] = ()
    """What the user should know about how it is read."""
    kinds: Mapping[int, str] = MappingProxyType({})
    """What the cells of columns are that hold no plain numbers: boolean, percent, date, text; certain only after `chunks`."""
    layout: tuple[int, int] | None = None
    """Positions and channels of a row, where the table knows."""
    index_columns: tuple[int, ...] = ()
    """Columns that number or name the rows, and are features only where they are asked for."""
    reads_texts: bool = False
    """Whether `chunks` reads columns of texts."""
    is_songs: bool = False
    """Whether its columns are those of YearPredictionMSD, as far as its beginning tells."""
    is_series: bool = False
    """Whether a row is a series, laid out as `layout` says. What is missing at its end is padding."""

    def __init__(self, path: Path, table_format: TableFormat) -> None:
        self.path, self.table_format = path, table_format

    @classmethod
    def open(cls, path: Path, table_format: TableFormat, expected: Expected | None) -> Table:
        """The table at `path`. `expected` are the columns that a model needs, for formats that may lack a header."""
        return cls(path, table_format)

    @functools.cached_property
    def missing(self) -> MissingMarkers:
        """What stands for a missing value in it."""
        return MissingMarkers(self.table_format.missing)

    @functools.cached_property
    def missing_in_features(self) -> MissingMarkers:
        """What stands for a missing value in its features."""
        return MissingMarkers.in_features(self.table_format.missing, self.table_format.missing_in_features)

    @functools.cached_property
    def texts(self) -> TextCodes:
        """The codes of its texts, as `chunks` gives them."""
        from hvd_train.data.categories.codes import TextCodes

        return TextCodes(self)

    def text_columns(self, columns: Columns) -> tuple[int, ...]:
        """The features that are read as texts, by their number in the table; certain only after `chunks`."""
        return tuple(column for column in columns.features if self.kinds.get(column) == "text")

    def texts_by_position(self, columns: Columns) -> dict[int, tuple[str, ...]]:
        """Of the features that are texts, by position: their texts in the order of their codes; only after `chunks`."""
        found = self.text_columns(columns)
        return {i: self.texts.texts(column) for i, column in enumerate(columns.features) if column in found}

    @property
    def is_label_first(self) -> bool:
        """Whether column 1 can only be the label."""
        return False

    @property
    def label_kind(self) -> str | None:
        """What the labels are (`TableConfig.label_kind`), where the table knows."""
        return None

    @abstractmethod
    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        """The rows in order, in blocks of a few MiB: the features, label and key that `columns` numbers from 0.

        Raises DataError naming the file, the row and the column.
        """

    def chunk_of(self, cells: NDArray[np.float64], columns: Columns, start: int) -> Chunk:
        """The chunk of some consecutive rows, from all their cells.

        `cells` is (n, number of columns) of numbers, with NaN for a missing one. `start` is the number of the first row,
        from 0. Raises DataError at an infinite feature.
        """
        matrix = np.asarray(cells, np.float64)[:, list(columns.features)]
        return Chunk(
            np.ascontiguousarray(checked_float32(self, matrix, columns, start)),
            labels=None if columns.label is None else cells[:, columns.label],
            keys=None if columns.key is None else cells[:, columns.key],
            extremes=extremes_of(matrix),
        )

    def stamp(self) -> tuple[int, int]:
        """Bytes and time of change, to notice that the file is changed while it is read."""
        facts = self.path.stat()
        return facts.st_size, facts.st_mtime_ns

    def find_key(self, split: str) -> int | None:
        """The number of the key that `split` (METHOD:NAME) names, where keys are no columns; None where they are.

        Such a number follows those of the columns. Raises DataError where there is none of this name, or none at all.
        """
        return None

    def widen(self, num_columns: int) -> None:  # noqa: B027 (most tables say)
        """Count at least this many columns, where a table does not say how many it has (LIBSVM)."""

    def require_labels(self) -> None:  # noqa: B027 (any column of most tables may be the label)
        """Raise DataError where it can have no label to train on."""

    def pad(self, layout: tuple[int, int]) -> None:  # noqa: B027 (tables have no series)
        """Make room for series of `layout`, where they are longer and have as many channels."""

    @property
    def num_rows_before_test(self) -> int | None:
        """The rows before those of the test split, where the table knows; only after `chunks`."""
        return None

    def bytes_read(self) -> int:
        """How much of the file `chunks` has read, for progress."""
        return 0

    def first_of_group(self, row: int) -> int:
        """The row where the group (the artist) of `row` begins, where the table knows; only after `chunks`."""
        return row

    def feature_kinds(self, columns: Columns) -> tuple[str, ...]:
        """What the cells of each feature were, after `chunks`; empty where all were numbers."""
        kinds = tuple(self.kinds.get(column, "number") for column in columns.features)
        return kinds if set(kinds) != {"number"} else ()

    def facts(self, load: Callable[[Split], tuple[NDArray[np.float32], NDArray[Any]]]) -> dict[str, Any]:
        """What the table knows about itself for metadata.json; `load` gives features and labels of a split."""
        return {}

    def place(self, row: int) -> str:
        """Where row `row` (from 0) stands, in the words of a message."""
        return f"row {row + 1}"

    def row_error(self, row: int, column: int | None, problem: str) -> DataError:
        """The error for what is wrong in a row, or in one of its cells."""
        where = f"{self.path}, {self.place(row)}"
        if column is not None:
            where += f", {describe_column(self.columns, column, named=self.is_named)}"
        return DataError(f"{where}: {problem}")


class LineTable(Table):
    """A text that holds a row on each line, with the label in a place of its own."""

    is_named = False
    _bytes_read = 0

    @abstractmethod
    def lines(self) -> Iterator[tuple[int, int, Any]]:
        """(number from 1, bytes read up to its end, content) of the lines that hold a row."""

    def place(self, row: int) -> str:
        for number, (line, _, _) in enumerate(self.lines()):
            if number == row:
                return f"line {line}"
        raise IndexError(row)

    def bytes_read(self) -> int:
        return self._bytes_read

    def find_key(self, split: str) -> int | None:
        raise DataError(
            f"{self.path}: --split {split} is not possible: a {self.table_format.format} file has no such column. Test rows "
            "come in a file of their own: --test-data."
        )


def describe_column(names: tuple[str, ...], column: int, *, named: bool) -> str:
    """A column in the words of a message, its number counted from 1.

    >>> describe_column(("year", "avg_1"), 1, named=True)
    "column 2 ('avg_1')"
    """
    return f"column {column + 1} ({names[column]!r})" if named and column < len(names) else f"column {column + 1}"


def checked_float32(table: Table, matrix: NDArray[np.float64], columns: Columns, start: int) -> NDArray[np.float32]:
    """Features (n, F) as float32. Raises DataError at the first infinite cell; `start` is the number of row 0."""
    with np.errstate(over="ignore"):
        features = matrix.astype(np.float32)
    infinite = np.isinf(features)
    if infinite.any():
        row, position = np.unravel_index(int(infinite.argmax()), features.shape)
        raise table.row_error(
            start + int(row),
            columns.features[position],
            f"{matrix[row, position]} is infinite or too large for 32-bit floats (at most 3.4e38).",
        )
    return features
