"""Tables whose columns have Arrow's types. NaN and null are missing values; booleans, decimals, dates and times are numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvd_train.data.conversion.exactness import extremes_of
from hvd_train.data.schema import NUM_SONG_COLUMNS, Columns
from hvd_train.data.sources.base import Chunk, Table, checked_float32
from hvd_train.data.sources.cells import Kind
from hvd_train.data.sources.csv import as_numpy
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError


class ArrowTable(Table):
    """A table with the columns of an Arrow schema, which have names. How its rows are read is for subclasses."""

    is_named = True
    reads_texts = True

    def __init__(self, path: Path, table_format: TableFormat, schema: Any) -> None:
        super().__init__(path, table_format)
        self.schema = schema
        self.columns = tuple(schema.names)
        if len(set(self.columns)) < len(self.columns):
            raise DataError(f"{path}: two columns have the same name.")
        kinds = {column: kind_of_type(field.type) for column, field in enumerate(schema)}
        self.kinds = {column: kind for column, kind in kinds.items() if kind in ("boolean", "date")}
        self.is_songs = len(self.columns) == NUM_SONG_COLUMNS and self.columns[0].lower() == "year"

    def convert(self, batch: Any, columns: Columns, start: int) -> Chunk:
        """The chunk of a record batch, whose columns have the table's names; `start` is the number of its first row."""
        matrix = np.empty((batch.num_rows, len(columns.features)), np.float64)
        texts = self.text_columns(columns)
        for position, column in enumerate(columns.features):
            cells = batch.column(self.columns[column])
            if column in texts:
                matrix[:, position] = self.texts.encode(column, cells_of(cells))
                continue
            matrix[:, position] = as_numbers(cells).to_numpy(zero_copy_only=False)
            if column not in self.kinds:
                single = pa.types.is_float32(cells.type) or pa.types.is_float16(cells.type)
                self.missing.erase(matrix[:, position], single=single)
        features = checked_float32(self, matrix, columns, start)
        label = None if columns.label is None else cells_of(batch.column(self.columns[columns.label]))
        key = None if columns.key is None else cells_of(batch.column(self.columns[columns.key]))
        return Chunk(features, label, key, extremes_of(matrix))

    def text_columns(self, columns: Columns) -> tuple[int, ...]:
        def is_text(column: int) -> bool:
            return column in columns.texts or (
                columns.finds_texts and kind_of_type(self.schema.field(column).type) == "text"
            )

        return tuple(filter(is_text, columns.features))

    def feature_kinds(self, columns: Columns) -> tuple[str, ...]:
        self.kinds = {**self.kinds, **dict.fromkeys(self.text_columns(columns), "text")}
        return super().feature_kinds(columns)

    def check_types(self, columns: Columns) -> None:
        """Raise DataError for a column whose type holds no numbers or texts, or none that can be a label."""
        texts = self.text_columns(columns)
        for column in columns.features:
            kind = self.schema.field(column).type
            if kind_of_type(kind) is None or (kind_of_type(kind) == "text" and column not in texts):
                way_out = "Leave it out by --drop, or choose --features."
                if pa.types.is_nested(kind):
                    way_out = (
                        "Nested columns are not read: make a column of each of its parts, or leave it out by --drop."
                    )
                raise DataError(
                    f"{self.path}, column {column + 1} ({self.columns[column]!r}): its type is {kind}, not a number. "
                    f"{way_out}"
                )
        for wanted in (columns.label, columns.key):
            if wanted is not None and pa.types.is_nested(kind := self.schema.field(wanted).type):
                raise DataError(
                    f"{self.path}, column {wanted + 1} ({self.columns[wanted]!r}): its type is {kind}. A label or a group "
                    "is one number or one text for each row: choose another column."
                )


def kind_of_type(kind: Any) -> Kind | None:
    """What a feature column of this type holds; None where it is neither numbers nor texts."""
    types = pa.types
    if types.is_dictionary(kind):
        return kind_of_type(kind.value_type)
    if types.is_boolean(kind):
        return "boolean"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "date"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)
    return "number" if numeric else None


_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def as_numbers(cells: Any) -> Any:
    """A pyarrow array of float64: dates and times in days since 1970-01-01, in UTC; null where a cell is missing."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    kind = cells.type
    if pa.types.is_date32(kind):
        return cells.cast(pa.int32()).cast(pa.float64())
    if pa.types.is_date64(kind):
        return pc.divide(cells.cast(pa.int64()).cast(pa.float64(), safe=False), float(_PER_DAY["ms"]))
    if pa.types.is_timestamp(kind):
        return pc.divide(cells.cast(pa.int64()).cast(pa.float64(), safe=False), float(_PER_DAY[kind.unit]))
    return cells.cast(pa.float64(), safe=False)


def cells_of(cells: Any) -> Any:
    """Labels or groups as `Chunk` has them, without losing a digit."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        cells = cells.dictionary_decode()
        kind = cells.type
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not cells.null_count):
        return as_numpy(cells.fill_null(math.nan) if cells.null_count else cells)
    if pa.types.is_integer(kind):
        try:
            return as_numpy(cells.cast(pa.float64()).fill_null(math.nan))
        except pa.ArrowInvalid:  # some are above 2**53: texts keep all their digits
            pass
    return pc.cast(cells, pa.string())
