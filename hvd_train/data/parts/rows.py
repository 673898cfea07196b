"""One part of the rows, in order: from record batches to files of features, labels and keys. Runs on a worker."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hvd_train.data.conversion.exactness import joined
from hvd_train.data.conversion.writing import as_bytes
from hvd_train.data.parts.store import Store, attempt
from hvd_train.data.schema import Columns
from hvd_train.data.sources.arrow import ArrowTable
from hvd_train.data.sources.csv import as_numpy
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.errors import DataError

SPILL = "spill"


@dataclass(frozen=True)
class PartSpec:
    """What a worker needs to know to write a part. It travels by pickle."""

    root: str
    name: str
    """Of the table, in messages."""
    schema: Any
    """Of the columns, an array's values as columns of their own; a pyarrow.Schema."""
    widths: tuple[tuple[str, int | None], ...]
    """The columns as they come: the name, and for an array how many values each of its rows has."""
    table_format: TableFormat
    columns: Columns


@dataclass(frozen=True, eq=False)
class Part:
    """A part that was written."""

    index: int
    stem: str
    num_rows: int
    extremes: NDArray[np.float64]
    num_bytes: int
    problem: tuple[int, int | None, str] | None
    """What is wrong with one of its rows: its number in the part, its column, and the problem."""
    texts: dict[int, tuple[str, ...]]
    """Of the features that are texts, by position: those of this part, in the order of their codes."""
    refused: str | None = None
    """What is wrong with the part, and with none of its rows."""


class RowProblem(DataError):
    """What is wrong in a row whose number in the whole table is not known yet."""

    def __init__(self, row: int, column: int | None, problem: str) -> None:
        super().__init__(problem)
        self.found = (row, column, problem)


class PartTable(ArrowTable):
    """The table as a worker sees it."""

    def chunks(self, columns: Columns) -> Any:
        raise NotImplementedError

    def row_error(self, row: int, column: int | None, problem: str) -> DataError:
        return RowProblem(row, column, problem)


def write_part(spec: PartSpec, index: int, batches: Iterable[Any]) -> Part:
    """Write the rows of these record batches, in their order. A bad row is noted in the part, not raised."""
    table = PartTable(Path(spec.name), spec.table_format, spec.schema)
    store = Store(spec.root)
    stem = f"{SPILL}/{index:05d}-{attempt()}"
    num_rows = num_bytes = 0
    problem = refused = None
    extremes = np.full((2, len(spec.columns.features)), np.nan)
    with ExitStack() as stack:
        features, labels, keys = (
            stack.enter_context(store.write(f"{stem}.{kind}")) for kind in ("features", "labels", "keys")
        )
        for batch in batches:
            if batch.num_rows and problem is None and refused is None:
                try:
                    flat = flattened(table, batch, spec.widths, num_rows)
                    chunk = table.convert(flat, spec.columns, num_rows)
                except RowProblem as error:
                    problem = error.found  # the other rows are counted, since a message numbers them
                except DataError as error:
                    refused = str(error)
                else:
                    features.write(as_bytes(np.ascontiguousarray(chunk.features)))
                    _write_cells(labels, chunk.labels)
                    if chunk.keys is not None:
                        _write_cells(keys, chunk.keys)
                    if chunk.extremes is not None:
                        extremes = joined(extremes, chunk.extremes)
            num_rows += batch.num_rows
            num_bytes += batch.nbytes
    return Part(index, stem, num_rows, extremes, num_bytes, problem, table.texts_by_position(spec.columns), refused)


def flattened(table: ArrowTable, batch: Any, widths: tuple[tuple[str, int | None], ...], start: int) -> Any:
    """The batch with a column for each value of an array."""
    arrays: list[Any] = []
    for position, (name, width) in enumerate(widths):
        column = batch.column(position)
        if width is None:
            arrays.append(column)
            continue
        lengths = as_numpy(pc.list_value_length(column).fill_null(width))
        wrong = lengths != width
        if wrong.any():
            row = int(wrong.argmax())
            raise table.row_error(
                start + row,
                len(arrays),
                f"the array in {name!r} holds {lengths[row]} values, but that of another row {width}. "
                "Each row has as many: fill them up, or leave the column out by --drop.",
            )
        arrays += [pc.list_element(column, element) for element in range(width)]
    return pa.RecordBatch.from_arrays(arrays, names=list(table.columns))


def _write_cells(file: Any, cells: Any) -> None:
    array = pa.array(cells)
    with pa.ipc.new_stream(file, pa.schema([("cells", array.type)])) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([array], names=["cells"]))


def read_cells(store: Store, name: str) -> Iterable[Any]:
    """The labels or keys of a part, as a `Chunk` has them: block after block."""
    with store.open(name) as file:
        size = file.size()
        while file.tell() < size:
            for batch in pa.ipc.open_stream(file):
                cells = batch.column(0)
                yield cells if pa.types.is_string(cells.type) or cells.null_count else as_numpy(cells)


def flat_batch(batch: Any, name: str) -> Any:
    """A record batch of unknown rows with a column for each value of an array, as many as its first row has.

    Raises DataError, which names the table, where another row has another number.
    """
    widths: list[tuple[str, int | None]] = []
    fields: list[tuple[str, Any]] = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not pa.types.is_list(field.type):
            widths.append((field.name, None))
            fields.append((field.name, field.type))
            continue
        width = int(pc.max(pc.list_value_length(column)).as_py() or 1)
        widths.append((field.name, width))
        fields += [(f"{field.name}_{i + 1}", field.type.value_type) for i in range(width)]
    table = PartTable(Path(name), TableFormat(), pa.schema(fields))
    try:
        return flattened(table, batch, tuple(widths), 0)
    except RowProblem as error:
        raise DataError(f"{name}: {error}") from None
