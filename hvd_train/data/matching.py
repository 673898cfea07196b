"""How a table of new rows is read for a model, and where the model's columns stand in it.

A table with a header is matched by name. One without is matched by position: the columns of the table that the model
was trained on, or its features alone. In .npz and LIBSVM files the label stands apart, so features are counted without
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hvd_train.config import is_reference
from hvd_train.data.categories.encoding import text_positions
from hvd_train.data.schema import Columns, Schema, unnamed_columns
from hvd_train.data.sources import Table, TableFormat, detect_format
from hvd_train.errors import DataError

_LABEL_APART = ("npz", "libsvm", "ts")
_BY_POSITION = "the columns are taken in their order: the table of the run had no names to find them by"


def format_of_new_rows(path: Path, trained: TableFormat, given: Mapping[str, Any]) -> TableFormat:
    """How to read a table of new rows for a model whose table was read as `trained`; `given` takes precedence.

    What kind of file it is and whether it has a header, the file itself shows. All else is as it was in training: what
    stands for a missing value, the delimiter, the base of LIBSVM's indices, and so on.
    """
    found = given.get("format", "auto")
    if found == "auto" and is_reference(trained.format):
        found = trained.format  # no file shows that it is for a user's own class
    if found == "auto":
        found = detect_format(path)
        if found == "csv" and trained.format == "libsvm" and path.suffix.lower() not in (".csv", ".tsv"):
            found = "libsvm"  # whose rows have no sign of their own
    return trained.but({"header": "auto", **given, "format": found})


def match_columns(table: Table, schema: Schema, trained: TableFormat) -> Columns:
    """Where the schema's columns stand in another table. Raises DataError naming those that are missing."""
    found = _matched(table, schema, trained)
    return dataclasses.replace(found, texts=tuple(found.features[i] for i in text_positions(schema)))


def _matched(table: Table, schema: Schema, trained: TableFormat) -> Columns:
    names, source = table.columns, schema.source_columns
    if table.is_named and set(schema.input_names) <= set(names):
        label = names.index(schema.label_name) if schema.label_name in names else None
        return Columns(names, tuple(names.index(name) for name in schema.input_names), label)
    if table.table_format.format in _LABEL_APART:
        return Columns(names, _places_beside_label(table, schema, trained), 0 if table.is_label_first else None)
    # The names of a table without a header were made up, so they are no reason to refuse others.
    by_position, remarks = not table.is_named or schema.is_songs, tuple[str, ...]()
    if not by_position and _has_made_up_names(schema) and trained.format not in _LABEL_APART:
        by_position, remarks = True, (_BY_POSITION,)
    if by_position and len(names) == len(source):
        features = tuple(source.index(name) for name in schema.input_names)
        return Columns(names, features, source.index(schema.label_name), remarks=remarks)
    if by_position and len(names) == schema.num_inputs:
        return Columns(names, tuple(range(schema.num_inputs)), None, remarks=remarks)
    if not table.is_named:
        raise DataError(
            f"{table.path}: {len(names)} columns without a header, but the model was trained on {len(source)} "
            f"columns, {schema.num_inputs} of them features."
        )
    raise missing_columns(table.path, names, schema)


def missing_columns(path: object, names: Sequence[str], schema: Schema) -> DataError:
    """The error for a table with these columns, where some that the model needs are not among them."""
    absent = [name for name in schema.input_names if name not in names]
    return DataError(
        f"{path}: {len(absent)} of the model's {schema.num_inputs} columns are missing: "
        f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}."
    )


def _places_beside_label(table: Table, schema: Schema, trained: TableFormat) -> tuple[int, ...]:
    """Where the features stand in a table where the label is column 0 or not there, wherever it was in the model's."""
    others = [name for name in schema.source_columns if name != schema.label_name]
    is_libsvm = table.table_format.format == "libsvm"
    if is_libsvm:
        # What is zero is not listed, so the last columns may seem to be missing.
        num_columns = len(table.columns) - 1
        same_kind = trained.format in _LABEL_APART or (trained.format == "auto" and _has_made_up_names(schema))
        if not same_kind and num_columns <= schema.num_inputs < len(others):
            raise DataError(
                f"{table.path}: the model was trained on {schema.num_inputs} of {len(others)} columns, and a LIBSVM "
                "file does not tell which of them it holds. Write the rows as CSV with a header."
            )
        table.widen(1 + (len(others) if same_kind or num_columns > schema.num_inputs else schema.num_inputs))
    first = 1 if table.is_label_first else 0
    num_columns = len(table.columns) - first
    if num_columns == len(others):
        return tuple(others.index(name) + first for name in schema.input_names)
    if num_columns == schema.num_inputs:
        return tuple(range(first, num_columns + first))
    raise DataError(
        f"{table.path}: {num_columns} columns beside the label, but the model was trained on {len(others)}, "
        f"{schema.num_inputs} of them features."
    )


def _has_made_up_names(schema: Schema) -> bool:
    source = schema.source_columns
    return source == unnamed_columns(len(source), is_songs=schema.is_songs)
