"""Reading CSV one line at a time, slowly, for what pyarrow's reader does not do: to name the line and the column of what
is wrong, and to read what is right although pyarrow refuses it (such as `+1.5`).

`hvd_train.data.sources.csv` reads the whole table fast and comes here only when that fails.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hvd_train.data.schema import Columns
from hvd_train.data.sources.base import describe_column
from hvd_train.data.sources.missing import MissingMarkers, parsed_number
from hvd_train.data.sources.opening import DAMAGE, damaged, open_bytes
from hvd_train.errors import DataError

MAX_LINE_CHARS = 32 << 20
"""A longer line is no row of a table. Python holds up to 4 bytes a character, a few times over."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Record:
    """A row as it stands in the file."""

    line: int
    """Of its last character, counted from 1 as an editor does."""
    cells: list[str]


def records(path: Path, delimiter: str) -> Iterator[Record]:
    """The file's rows, without the empty lines. Raises DataError for what is no text or no CSV."""
    with open_bytes(path) as file:
        # Without this limit one open quote could swallow the whole file into memory.
        csv.field_size_limit(MAX_LINE_CHARS)
        lines = _Lines(path, file.stream)
        reader = csv.reader(lines, delimiter=delimiter, strict=False)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{path}, line {lines.number}: this is no CSV: {error}.") from None
            if cells:
                yield Record(lines.number, cells)


def text_lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """(line from 1, bytes of the file read so far, text) of each line. Raises DataError as `records` does."""
    with open_bytes(path) as file:
        lines = _Lines(path, file.stream)
        for text in lines:
            yield lines.number, file.raw.tell(), text


class _Lines:
    """Decoded lines, none longer than the limit; counts them."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self.path, self.number = path, 0
        # utf-8-sig leaves out a byte order mark; surrogateescape lets us find the line of a bad byte.
        self._text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        try:
            line = self._text.readline(MAX_LINE_CHARS)
        except DAMAGE as error:
            raise damaged(self.path, error) from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= MAX_LINE_CHARS:
            raise DataError(
                f"{self.path}, line {self.number}: the line is longer than {MAX_LINE_CHARS >> 20} million characters. "
                "Rows stand one on each line."
            )
        if not line.isascii():
            self._check_text(line)
        elif "\0" in line:
            raise DataError(f"{self.path}, line {self.number}: there is a zero byte: this is no text file in UTF-8.")
        return line

    def _check_text(self, line: str) -> None:
        for position, char in enumerate(line, 1):
            if "\udc80" <= char <= "\udcff":
                raise DataError(
                    f"{self.path}, line {self.number}, character {position}: the byte 0x{ord(char) & 0xFF:02x} is not "
                    "UTF-8: save the table as UTF-8 text."
                )


def number(cell: str, *, missing: MissingMarkers) -> float:
    """The value of a cell, NaN where it is empty. Raises ValueError with the reason in the words of a message."""
    text = cell.strip(" \t")
    if text in missing.texts:
        return math.nan
    value = parsed_number(text)
    if missing.is_number(value):
        return math.nan
    if math.isnan(value):
        if text.strip("+-").lower() == "nan":
            raise ValueError(f"{text!r} is not a number. Leave the cell empty where a value is missing.")
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise ValueError(f"{shown!r} stands where a number should be.")
    if math.isinf(value) or math.isinf(np.float32(value) if abs(value) <= FLOAT32_MAX * 1.0001 else math.inf):
        raise ValueError(f"{text!r} is infinite or too large for 32-bit floats (at most 3.4e38).")
    return value


class CarefulReader:
    """The rows of a CSV checked cell by cell."""

    def __init__(self, path: Path, *, delimiter: str, names: tuple[str, ...], named: bool, missing: MissingMarkers):
        self.path, self.delimiter, self.names, self.named = path, delimiter, names, named
        self.missing = missing

    def rows(self, columns: Columns, *, skip: int) -> Iterator[tuple[list[float], str | None, str | None]]:
        """(features, label, key) of each row after the first `skip` rows. Raises DataError at the first bad cell."""
        for index, record in enumerate(self._data()):
            if index < skip:
                continue
            cells = record.cells
            if len(cells) != len(self.names):
                raise self._ragged(record)
            features = []
            for column in columns.features:
                try:
                    features.append(number(cells[column], missing=self.missing))
                except ValueError as error:
                    where = describe_column(self.names, column, named=self.named)
                    raise DataError(f"{self.path}, line {record.line}, {where}: {error}") from None
            label = None if columns.label is None else cells[columns.label]
            yield features, label, None if columns.key is None else cells[columns.key]

    def line_of(self, row: int) -> int:
        """The line on which row `row` (from 0) ends."""
        for index, record in enumerate(self._data()):
            if index == row:
                return record.line
        raise IndexError(row)

    def _data(self) -> Iterator[Record]:
        rows = records(self.path, self.delimiter)
        if self.named:
            next(rows)
        return rows

    def _ragged(self, record: Record) -> DataError:
        hint = ""
        if len(record.cells) == 1:
            others = [d for d in ",;\t |" if d != self.delimiter and d in record.cells[0]]
            hint = f" Is the delimiter {others[0]!r}? Give it by --delimiter." if others else ""
        first = "the header" if self.named else "the first row"
        return DataError(
            f"{self.path}, line {record.line}: {len(record.cells)} columns, but {first} has {len(self.names)}.{hint}"
        )
