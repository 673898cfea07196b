"""Two tables of the same columns as one: the first has the rows of train and val, the second those of test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hvd_train.data.conversion.splits import assigned_twice
from hvd_train.data.schema import Columns
from hvd_train.data.sources.base import Chunk, Table
from hvd_train.errors import DataError


class TrainAndTest(Table):
    """The rows of `train`, then those of `test`. Raises DataError where their columns are not the same."""

    def __init__(self, train: Table, test: Table) -> None:
        super().__init__(train.path, train.table_format)
        for one, other in ((train, test), (test, train)):
            if other.layout is not None:
                one.pad(other.layout)
        self.train, self.test = train, test
        self._require_same()
        self.columns, self.is_named = train.columns, train.is_named
        self.layout, self.index_columns = train.layout, train.index_columns
        self.is_songs, self.is_series = train.is_songs, train.is_series
        self.reads_texts = train.reads_texts and test.reads_texts
        test.texts = self.texts = train.texts
        self.remarks = tuple(
            dict.fromkeys([*train.remarks, *test.remarks, f"the test rows are those of {test.path.name}"])
        )
        self.num_train_rows = 0

    @property
    def is_label_first(self) -> bool:
        return self.train.is_label_first

    @property
    def label_kind(self) -> str | None:
        return self.train.label_kind

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        self.num_train_rows = 0
        for chunk in self.train.chunks(columns):
            self.num_train_rows += len(chunk.features)
            yield chunk
        # The first table alone tells which columns hold texts.
        yield from self.test.chunks(replace(columns, texts=self.text_columns(columns), finds_texts=False))
        self._require_same_kinds(columns)

    def find_key(self, split: str) -> int | None:
        raise assigned_twice(self.path, split)

    def text_columns(self, columns: Columns) -> tuple[int, ...]:
        return self.train.text_columns(columns)

    @property
    def num_rows_before_test(self) -> int | None:
        return self.num_train_rows

    def stamp(self) -> tuple[int, int]:
        (bytes_of_train, train_time), (bytes_of_test, test_time) = self.train.stamp(), self.test.stamp()
        return bytes_of_train + bytes_of_test, max(train_time, test_time)

    def bytes_read(self) -> int:
        return self.train.bytes_read() + self.test.bytes_read()

    def feature_kinds(self, columns: Columns) -> tuple[str, ...]:
        return self.train.feature_kinds(columns)

    def place(self, row: int) -> str:
        table, own = self._owner(row)
        return table.place(own)

    def row_error(self, row: int, column: int | None, problem: str) -> DataError:
        table, own = self._owner(row)
        return table.row_error(own, column, problem)

    def _owner(self, row: int) -> tuple[Table, int]:
        """The table that a row of both is in, and its number there."""
        return (self.train, row) if row < self.num_train_rows else (self.test, row - self.num_train_rows)

    def _require_same(self) -> None:
        train, test = self.train, self.test
        if train.columns != test.columns or train.layout != test.layout:
            ours, theirs = (_shape(table) for table in (train, test))
            raise DataError(
                f"{test.path}: --test-data has {theirs}, but {train.path} has {ours}. Both have the same columns in the same "
                "order."
            )
        if train.label_kind != test.label_kind:
            raise DataError(
                f"{test.path}: its labels are of another kind than those of {train.path}. Are these the two parts of one table?"
            )

    def _require_same_kinds(self, columns: Columns) -> None:
        train, test = (table.feature_kinds(columns) for table in (self.train, self.test))
        if train != test:
            kinds = zip(train or ("number",) * len(test), test or ("number",) * len(train), strict=True)
            differ = next(i for i, (one, other) in enumerate(kinds) if one != other)
            raise DataError(
                f"{self.test.path}, column {columns.features[differ] + 1}: the cells are of another kind (numbers, booleans, "
                f"percentages, dates) than in {self.train.path}. Write both tables alike."
            )


def _shape(table: Table) -> str:
    if table.layout is not None:
        return f"rows of {table.layout[0]} positions x {table.layout[1]} channels" + (
            "" if table.is_label_first else " without labels"
        )
    shown = ", ".join(table.columns[:5]) + (", ..." if len(table.columns) > 5 else "")
    return f"{len(table.columns)} columns ({shown})"
