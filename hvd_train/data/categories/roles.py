"""Which columns of a table are read, where some may hold texts."""

from __future__ import annotations

from hvd_train.config import SplitConfig, TableConfig
from hvd_train.data.schema import Columns, choose_columns, choose_layout
from hvd_train.data.sources.base import Table
from hvd_train.errors import DataError


def choose_table_columns(table: Table, config: TableConfig, split: SplitConfig) -> Columns:
    """The columns to read of a table that a dataset is made of. Raises DataError."""
    columns = choose_columns(
        table.columns,
        config,
        split,
        path=table.path,
        index=table.index_columns,
        finds_texts=table.reads_texts,
        key=table.find_key(split.method) if split.method.partition(":")[2] else None,
    )
    if columns.texts and not table.reads_texts:
        raise DataError(
            f"{table.path}: --categories is for tables in CSV or Parquet and for data frames. This one is read as "
            f"{table.table_format.format}, which holds numbers alone. Save it as CSV or Parquet."
        )
    require_label_named(table, columns)
    if not table.text_columns(columns):  # otherwise each of them becomes several
        choose_layout(len(columns.features), config, path=table.path, known=table.layout)
    return columns


def layout_of_features(table: Table, num_features: int, config: TableConfig) -> tuple[int, int]:
    """Positions and channels of a row of features, once texts are columns of numbers. Raises DataError."""
    return choose_layout(num_features, config, path=table.path, known=table.layout)


def require_label_named(table: Table, columns: Columns) -> None:
    """Raise DataError where nobody named the label, the first column would be it, and a column of texts may be meant."""
    texts = [table.columns[i] for i in table.text_columns(columns)]
    if not (columns.is_label_found and texts and columns.label is not None):
        return
    label = table.columns[columns.label] if table.is_named else str(columns.label + 1)
    other = texts[-1] if table.is_named else str(table.columns.index(texts[-1]) + 1)
    raise DataError(
        f"{table.path}: which column is the label? By default it is the first one, {table.columns[columns.label]!r}, but "
        f"{texts[-1]!r} holds texts and may be it. Give --label {other} or --label {label}, or another column."
    )
