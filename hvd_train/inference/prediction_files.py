"""Files of predictions, written block by block: CSV, Parquet, or CSV into a pipe.

Each rank encodes its own blocks, and the root writes them in the order of the table. What is written beside the name of a
file takes its place when it is whole. A pipe gets each block at once.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from hvd_train.evaluation import OutputSpec
from hvd_train.files import named, open_atomically
from hvd_train.inference.prediction_rows import columns

STANDARD_STREAM = Path("-")
"""The standard input, or output."""
PARQUET = (".parquet", ".pq")
# How a column of numbers is written in a text.
_FORMATS = {"predicted": "%.7g", "deviation": "%.7g", "expected": "%.3f", "probability": "%.6f"}
# What a shell reports for a program that SIGPIPE ended.
BROKEN_PIPE = 128 + 13
Kind = Literal["csv", "parquet"]


class Sink(Protocol):
    """Where the root writes blocks to."""

    def write(self, block: Any) -> None:
        """Write a block as `encoded` gave it."""


def kind_of(out: Path) -> Kind:
    """The format of a file of this name."""
    return "parquet" if out.suffix.lower() in PARQUET else "csv"


def encoded(found: Mapping[str, Sequence[Any]], kind: Kind) -> Any:
    """The columns of a block as a sink takes them: bytes of lines, or an Arrow record batch. Pure."""
    if kind == "parquet":
        return pa.RecordBatch.from_pydict({name: _array(values) for name, values in found.items()})
    values = [column.tolist() if isinstance(column, np.ndarray) else column for column in found.values()]
    # Names may hold commas and quotes. All else is numbers, which one format a line writes three times as fast.
    if any(isinstance(column[0], str) for column in values if column):
        return _quoted(list(found), values)
    line = ",".join(_FORMATS.get(name, "%d") for name in found) + "\n"
    return "".join([line % row for row in zip(*values, strict=True)]).encode()


def _quoted(names: Sequence[str], values: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    written = [
        [form % value for value in column] if (form := _FORMATS.get(name)) else column
        for name, column in zip(names, values, strict=True)
    ]
    csv.writer(text, lineterminator="\n").writerows(zip(*written, strict=True))
    return text.getvalue().encode()


def _array(values: Sequence[Any]) -> Any:
    """Labels as int64 or text, all else as float64: a block of any rank has the same types."""
    if isinstance(values, np.ndarray):
        return pa.array(values.astype(np.float64 if values.dtype.kind == "f" else np.int64))
    return pa.array(values, pa.string())


@contextmanager
def open_sink(out: Path, spec: OutputSpec) -> Iterator[Sink]:
    """The sink of `out`, whose columns are those of `spec`. OSError where it cannot be written."""
    names = columns(spec)
    header = ",".join(names) + "\n"
    if out == STANDARD_STREAM:
        pipe = _Pipe(header.encode())
        yield pipe
        pipe.write(b"")
        return
    with open_atomically(out) as file:
        if kind_of(out) == "parquet":
            nothing = encoded({name: _nothing(name, spec) for name in names}, "parquet")
            with _parquet_writer(file, nothing.schema) as writer:
                yield _Parquet(writer, out)
        else:
            lines = _Lines(file, out)
            lines.write(header.encode())
            yield lines


def _nothing(name: str, spec: OutputSpec) -> Sequence[Any]:
    """No rows of this column, of its type."""
    if name in _FORMATS:
        return np.empty(0, np.float64)  # type: ignore[return-value]
    return [] if spec.kind == "classes" else np.empty(0, np.int64)  # type: ignore[return-value]


@contextmanager
def _parquet_writer(file: IO[bytes], schema: Any) -> Iterator[Any]:
    """Closed after the block. After an error that is tried in silence: a full disk refuses the end of the file again."""
    writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
    try:
        yield writer
    except BaseException:
        with suppress(OSError, pa.ArrowException):
            writer.close()
        raise
    writer.close()


class _Parquet:
    def __init__(self, writer: Any, out: Path) -> None:
        self._writer, self._out = writer, out

    def write(self, block: Any) -> None:
        with named(self._out):
            self._writer.write_batch(block)


class _Lines:
    def __init__(self, file: IO[bytes], out: Path) -> None:
        self._file, self._out = file, out

    def write(self, block: bytes) -> None:
        with named(self._out):
            self._file.write(block)


class _Pipe:
    """The standard output. Whoever reads it may stop reading: then this process ends as SIGPIPE ends others.

    The header leaves with the first block, so that a table that cannot be read leaves nothing there.
    """

    def __init__(self, header: bytes) -> None:
        self._header = header

    def write(self, block: bytes) -> None:
        try:
            sys.stdout.buffer.write(self._header + block)
            self._header = b""
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(BROKEN_PIPE)
