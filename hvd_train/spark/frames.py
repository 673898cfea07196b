"""A DataFrame as a table: its columns, its types, and an order of its rows that does not depend on its partitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from hvd_train.config import RunConfig
from hvd_train.data import ArrowTable, Chunk, Columns, TableFormat
from hvd_train.errors import ConfigError, DataError

NAME = "the DataFrame"
BY_POSITION = ("official", "sequential")


class FrameTable(ArrowTable):
    """A DataFrame on the driver: its columns alone."""

    order: tuple[str, ...] = ()

    def chunks(self, columns: Columns) -> Iterator[Chunk]:
        raise NotImplementedError

    def place(self, row: int) -> str:
        by = f"in the order of {', '.join(self.order)}" if self.order else "in the order of the rows' hashes"
        return f"row {row + 1} {by}"


@dataclass(frozen=True, eq=False)
class Frame:
    """A DataFrame that is ready to be read."""

    rows: Any
    """Its columns for us, then those that decide the order."""
    names: tuple[str, ...]
    order: tuple[Any, ...]
    """Columns of Spark: rows are sorted by these."""
    table: FrameTable
    widths: tuple[tuple[str, int | None], ...]


def prepared(frame: Any, config: RunConfig, order_by: Sequence[str]) -> Frame:
    """The DataFrame with arrays for vectors, and how its rows are put in order. Raises DataError for a column of no use.

    Rows are in the order of the columns `order_by`, and where those are equal, or not given, in that of a hash of 128 bits
    over all columns: so equal rows give an equal dataset, however they were distributed. Rows with equal hashes are equal.
    """
    import pyspark.sql.functions as F
    from pyspark.ml.functions import vector_to_array

    if not frame.columns:
        raise DataError(f"{NAME}: it has no columns.")
    unknown = [name for name in order_by if name not in frame.columns]
    if unknown:
        raise ConfigError(
            f"order_by = {unknown[0]!r} is not possible: the DataFrame has the columns {', '.join(frame.columns[:8])}."
        )
    if len(set(frame.columns)) < len(frame.columns):
        raise DataError(f"{NAME}: two columns have the same name. Rename one of them.")
    wanted = {config.table.label, *config.table.features, config.split.method.partition(":")[2]}
    names = [name for name in frame.columns if name not in order_by or name in wanted]
    columns = []
    for name in names:
        column = F.col(quoted(name))
        is_vector = type(frame.schema[name].dataType).__name__ == "VectorUDT"
        columns.append((vector_to_array(column) if is_vector else column).alias(name))
    rows = frame.select(*columns, *(F.col(quoted(name)).alias(_order(i)) for i, name in enumerate(order_by)))
    schema, widths = _flat_schema(rows, names)
    table = FrameTable(Path(NAME), TableFormat.of(config.table).but({"format": "parquet"}), schema)
    table.order = tuple(order_by)
    _require_order(table, config, order_by)
    hashed = [F.col(quoted(name)) for name in names if not pa.types.is_map(_arrow_type(rows, name))]
    hashes = (F.xxhash64(*hashed), F.xxhash64(F.lit(1), *hashed))
    order = (*(F.col(_order(i)) for i in range(len(order_by))), *hashes)
    return Frame(rows, tuple(names), order, table, widths)


def _order(index: int) -> str:
    return f"__order_{index}"


def quoted(name: str) -> str:
    """A name of a column as Spark's functions take it, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def _arrow_type(rows: Any, name: str) -> Any:
    from pyspark.sql.pandas.types import to_arrow_type

    kind = rows.schema[name].dataType
    try:
        try:
            return to_arrow_type(kind, timezone="UTC")
        except TypeError:  # PySpark 3.5 asks for none
            return to_arrow_type(kind)
    except Exception:  # each version raises another
        raise DataError(
            f"{NAME}, column {name!r}: its type is {kind.simpleString()}, not a number. Leave it out of the DataFrame."
        ) from None


def _flat_schema(rows: Any, names: Sequence[str]) -> tuple[Any, tuple[tuple[str, int | None], ...]]:
    """The types of the columns with a column for each value of an array, and how many values each array has."""
    kinds = {name: _arrow_type(rows, name) for name in names}
    arrays = [name for name in names if pa.types.is_list(kinds[name])]
    lengths = _lengths(rows, arrays)
    fields: list[tuple[str, Any]] = []
    for name in names:
        if name in lengths:
            of_value = kinds[name].value_type
            fields += [(f"{name}_{i + 1}", of_value) for i in range(lengths[name])]
        else:
            fields.append((name, kinds[name]))
    return pa.schema(fields), tuple((name, lengths.get(name)) for name in names)


def _lengths(rows: Any, arrays: Sequence[str]) -> dict[str, int]:
    """The length of each array column, by its longest row; every row is compared with it as it is read."""
    import pyspark.sql.functions as F

    if not arrays:
        return {}
    longest = rows.select(*(F.max(F.size(quoted(name))) for name in arrays)).first()
    return {name: max(1, int(length or 1)) for name, length in zip(arrays, longest, strict=True)}


def _require_order(table: FrameTable, config: RunConfig, order_by: Sequence[str]) -> None:
    """Raise DataError where the split goes by the order of the rows and the DataFrame has none."""
    method = config.split.method.partition(":")[0]
    by_songs = method == "auto" and table.is_songs
    if not order_by and (method in BY_POSITION or by_songs):
        why = "they are songs, and those of one artist stand together" if by_songs else f"--split {method}"
        raise DataError(
            f"{NAME}: the rows are split by their order ({why}), and a DataFrame has none of its own. Name the columns that "
            'give it, order_by=["row"], or split by a column: --split group:COLUMN or column:COLUMN.'
        )
