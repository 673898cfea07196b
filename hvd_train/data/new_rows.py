"""Reading a table that a trained model is applied to: the same columns, in input order, with or without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.categories.encoding import Encoding, text_positions
from hvd_train.data.conversion.spill import ShowProgress
from hvd_train.data.labels.known import KnownLabels
from hvd_train.data.matching import format_of_new_rows, match_columns
from hvd_train.data.schema import Columns, Schema
from hvd_train.data.sources import Expected, Table, TableFormat, open_table
from hvd_train.data.sources.base import describe_column
from hvd_train.data.sources.cells import PLURALS
from hvd_train.errors import DataError


class NewRows(NamedTuple):
    """Some consecutive rows."""

    features: NDArray[np.float32]
    """(n, F)"""
    labels: NDArray[Any] | None
    """(n,) class indices int32, or values float32."""
    num_unlabelled: int
    """Rows between these that have no label and are left out."""


def read_table_for_prediction(
    path: Path,
    schema: Schema,
    table_format: TableFormat,
    *,
    given: Mapping[str, Any] | None = None,
    with_labels: bool = True,
    report: Callable[[str], None] | None = None,
    progress: ShowProgress | None = None,
) -> Iterator[NewRows]:
    """The rows of a table in order, in blocks.

    `table_format` is how the table that the model was trained on was read, `given` what the user says of this one.
    `report` gets what the user should know about how it is read, `progress` the bytes read and all bytes after each block.
    There are no labels where the table has no label column, or `with_labels` is false; rows without a label are left
    out where the model's table was read so. Columns are found by name, or without a header by position. Raises
    DataError for missing columns, bad cells, and labels that the model has no output for.
    """
    categories = {column.name: frozenset(column.categories) for column in schema.text_columns}
    expected = Expected(
        schema.input_names, schema.source_columns, categories=categories, numbers_are_rows=table_format.header == "no"
    )
    table = open_table(path, format_of_new_rows(path, table_format, given or {}), expected=expected)
    table.pad(schema.layout)
    _require_same_layout(table, schema)
    columns = match_columns(table, schema, table_format)
    know_categories(table, columns, schema)
    encoding = Encoding.of_schema(schema)
    if report is not None:
        idle = table.table_format.idle(given or {})
        for remark in (*table.remarks, *columns.remarks, *([idle] if idle else [])):
            report(remark)
    if not with_labels:
        columns = dataclasses.replace(columns, label=None)
    known = None if columns.label is None else KnownLabels(table, columns.label, schema)
    start, num_bytes = 0, table.stamp()[0] if progress is not None else 0
    for chunk in table.chunks(columns):
        if progress is not None:
            progress(table.bytes_read(), num_bytes)
        _require_same_kinds(table, columns, schema, chunk.features)
        features = encoding.apply(chunk.features)
        if known is None:
            yield NewRows(features, None, 0)
        else:
            labels, present = known.encode(chunk.labels, start)
            features = features if len(labels) == len(present) else features[present]
            yield NewRows(features, labels, len(present) - len(labels))
        start += len(chunk.features)


def _require_same_layout(table: Table, schema: Schema) -> None:
    if table.layout is None or table.layout == schema.layout:
        return
    way_out = ""
    if table.layout[1] == schema.layout[1] and table.layout[0] > schema.layout[0]:
        way_out = " Cut the series, or train a model on longer ones."
    raise DataError(
        f"{table.path}: its rows are {table.layout[0]} positions x {table.layout[1]} channels, but the model was trained on "
        f"{schema.layout[0]} x {schema.layout[1]}.{way_out}"
    )


def input_kinds(schema: Schema) -> tuple[str, ...]:
    """(S,) what the cells of each column were that the model's features are made of."""
    kinds = schema.feature_kinds or ("number",) * schema.num_features
    of_texts = {column.first + i for column in schema.text_columns for i in range(1, column.num_features)}
    return tuple(kind for i, kind in enumerate(kinds) if i not in of_texts)


def know_categories(table: Table, columns: Columns, schema: Schema) -> None:
    """Have the table read the model's columns of texts by the model's categories. Raises DataError where it cannot."""
    if columns.texts and not table.reads_texts:
        name = schema.text_columns[0].name
        raise DataError(
            f"{table.path}: the model was trained on texts in the column {name!r}, and this table is read as "
            f"{table.table_format.format}, which holds numbers alone. Save it as CSV or Parquet."
        )
    for position, column in text_positions(schema).items():
        table.texts.know(columns.features[position], column.categories)


def _require_same_kinds(table: Table, columns: Columns, schema: Schema, features: NDArray[np.float32]) -> None:
    """Raise DataError where a column holds dates and held numbers when the model was trained, or the reverse.

    The numbers that booleans and percentages stand for may be written as numbers: they mean the same.
    """
    was = input_kinds(schema)
    now = table.feature_kinds(columns) or ("number",) * len(was)
    if was == now:
        return
    for position, (before, here) in enumerate(zip(was, now, strict=True)):
        if ("date" in (before, here)) and before != here and not np.isnan(features[:, position]).all():
            where = describe_column(table.columns, columns.features[position], named=table.is_named)
            raise DataError(
                f"{table.path}, {where}: the cells are {PLURALS[here]}, but in the table that the model was trained on "
                f"they were {PLURALS[before]}."
            )
