"""Reading a table that a trained model is applied to: the same columns, in input order, with or without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hvd_train.data.schema import Columns, Schema
from hvd_train.data.sources import Table, TableFormat, open_table
from hvd_train.data.sources.base import describe_column
from hvd_train.data.sources.cells import PLURALS
from hvd_train.data.sources.csv import label_numbers
from hvd_train.errors import DataError


def read_table_for_prediction(
    path: Path,
    schema: Schema,
    table_format: TableFormat,
    *,
    given: Mapping[str, Any] | None = None,
    with_labels: bool = True,
) -> Iterator[tuple[NDArray[np.float32], NDArray[Any] | None]]:
    """The rows of a table in order, in blocks of (features (n, F), labels (n,)).

    `table_format` is how the table that the model was trained on was read, `given` what the user says of this one.
    The labels are class indices int32 or values float32; None where the table has no label column, or `with_labels` is
    false. Columns are found by name, or without a header by position. Raises DataError for missing columns, bad cells,
    and labels that the model has no output for.
    """
    table = open_table(path, format_of_new_rows(path, table_format, given or {}))
    table.widen(len(schema.source_columns))
    columns = match_columns(table, schema)
    if table.layout is not None and table.layout != schema.layout:
        raise DataError(
            f"{path}: its rows are {table.layout[0]} positions x {table.layout[1]} channels, but the model was trained on "
            f"{schema.layout[0]} x {schema.layout[1]}."
        )
    if not with_labels:
        columns = Columns(columns.names, columns.features, None)
    start = 0
    for chunk in table.chunks(columns):
        labels = None
        if columns.label is not None:
            labels = _Encoder(table, columns.label, schema).encode(chunk.labels, start)
        _require_same_kinds(table, columns, schema, chunk.features)
        yield chunk.features, labels
        start += len(chunk.features)


def _require_same_kinds(table: Table, columns: Columns, schema: Schema, features: NDArray[np.float32]) -> None:
    """Raise DataError where a column holds dates and held numbers when the model was trained, or the reverse.

    The numbers that booleans and percentages stand for may be written as numbers: they mean the same.
    """
    was = schema.feature_kinds or ("number",) * schema.num_features
    now = table.feature_kinds(columns) or ("number",) * schema.num_features
    if was == now:
        return
    for position, (before, here) in enumerate(zip(was, now, strict=True)):
        if ("date" in (before, here)) and before != here and not np.isnan(features[:, position]).all():
            where = describe_column(table.columns, columns.features[position], named=table.is_named)
            raise DataError(
                f"{table.path}, {where}: the cells are {PLURALS[here]}, but in the table that the model was trained on "
                f"they were {PLURALS[before]}."
            )


def format_of_new_rows(path: Path, trained: TableFormat, given: Mapping[str, Any]) -> TableFormat:
    """How to read a table of new rows for a model whose table was read as `trained`."""
    return trained.but({"format": "auto", "header": "auto"} | dict(given))


def match_columns(table: Table, schema: Schema) -> Columns:
    """Where the schema's columns stand in another table. Raises DataError naming those that are missing."""
    names = table.columns
    if table.is_named and set(schema.feature_names) <= set(names):
        label = names.index(schema.label_name) if schema.label_name in names else None
        return Columns(names, tuple(names.index(name) for name in schema.feature_names), label)
    source = schema.source_columns
    if table.is_label_first and source.index(schema.label_name) > 0 and len(names) == schema.num_features + 1:
        return Columns(names, tuple(range(1, len(names))), 0)
    if len(names) == len(source) and (not table.is_named or schema.is_songs):
        return Columns(
            names, tuple(source.index(name) for name in schema.feature_names), source.index(schema.label_name)
        )
    if len(names) == schema.num_features and not table.is_named:
        return Columns(names, tuple(range(schema.num_features)), None)
    if not table.is_named:
        raise DataError(
            f"{table.path}: {len(names)} columns without a header, but the model was trained on {len(source)} "
            f"columns, {schema.num_features} of them features."
        )
    absent = [name for name in schema.feature_names if name not in names]
    raise DataError(
        f"{table.path}: {len(absent)} of the model's {schema.num_features} columns are missing: "
        f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}."
    )


@dataclass(frozen=True)
class _Encoder:
    """Labels of a table as the outputs of a model."""

    table: Table
    column: int
    schema: Schema

    def encode(self, labels: Any, start: int) -> NDArray[Any]:
        if self.schema.label_kind == "classes":
            texts = labels if isinstance(labels, pa.Array) else pa.array([f"{v:g}" for v in labels])
            return self._look_up(texts.to_pylist(), [str(v) for v in self.schema.label_values], start)
        numbers = labels if isinstance(labels, np.ndarray) else label_numbers(labels)
        if numbers is None or not np.isfinite(numbers).all():
            parsed = [_finite(text) for text in (labels if isinstance(labels, np.ndarray) else labels.to_pylist())]
            row = parsed.index(None)
            raise self.table.row_error(start + row, self.column, "the label is missing or not a number.")
        if self.schema.label_kind == "values":
            return numbers.astype(np.float32)
        return self._look_up(numbers.tolist(), [float(v) for v in self.schema.label_values], start)

    def _look_up(self, labels: list[Any], outputs: list[Any], start: int) -> NDArray[np.int32]:
        index = {value: i for i, value in enumerate(outputs)}
        codes = np.array([index.get(label, -1) for label in labels], np.int32)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            shown = f"{labels[row]:g}" if isinstance(labels[row], float) else repr(labels[row])
            raise self.table.row_error(
                start + row, self.column, f"the label {shown} is none of the model's {len(outputs)} outputs."
            )
        return codes


def _finite(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None
