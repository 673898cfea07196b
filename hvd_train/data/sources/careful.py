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
from typing import Any

import numpy as np

from hvd_train.data.schema import Columns
from hvd_train.data.sources.base import describe_column
from hvd_train.data.sources.cells import PLURALS, Kind, Notation, kind_of, value_of
from hvd_train.data.sources.hints import no_value, ragged, too_large
from hvd_train.data.sources.missing import MissingMarkers
from hvd_train.data.sources.opening import DAMAGE, damaged
from hvd_train.data.sources.text_stream import TextForm, open_text
from hvd_train.data.sources.words import is_word
from hvd_train.errors import DataError

MAX_LINE_CHARS = 32 << 20
"""A longer line is no row of a table. Python holds up to 4 bytes a character, a few times over."""
_COULD_BE_TEXTS = ("should be.", f"stands in a column of {PLURALS['boolean']}.")
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Record:
    """A row as it stands in the file."""

    line: int
    """Of its last character, counted from 1 as an editor does."""
    cells: list[str]


def records(path: Path, form: TextForm) -> Iterator[Record]:
    """The file's rows, without the empty lines. Raises DataError for what is no text or no CSV."""
    with open_text(path, form) as file:
        # Without this limit one open quote could swallow the whole file into memory.
        csv.field_size_limit(MAX_LINE_CHARS)
        lines = _Lines(path, file.stream, form.encoding)
        reader = csv.reader(lines, delimiter=form.delimiter, strict=False)
        start = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{path}, line {lines.number}: this is no CSV: {error}.") from None
            if lines.ended:  # the reader asks for a line after the last one only inside a quoted cell
                raise DataError(
                    f"{path}, line {start}: a quote that is opened in this row is never closed, so that the rest of the "
                    "file would be one cell."
                )
            start = lines.number + 1
            if cells:
                yield Record(lines.number, cells)


def text_lines(path: Path, form: TextForm) -> Iterator[tuple[int, int, str]]:
    """(line from 1, bytes of the file read so far, text) of each line. Raises DataError as `records` does."""
    with open_text(path, form) as file:
        lines = _Lines(path, file.stream, form.encoding)
        for text in lines:
            yield lines.number, file.raw.tell(), text


class _Lines:
    """Decoded lines, none longer than the limit; counts them."""

    def __init__(self, path: Path, file: io.BufferedReader[Any], encoding: str) -> None:
        self.path, self.number, self.encoding = path, 0, encoding
        self.ended = False
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
            self.ended = True
            raise StopIteration
        self.number += 1
        if len(line) >= MAX_LINE_CHARS:
            raise DataError(
                f"{self.path}, line {self.number}: the line is longer than {MAX_LINE_CHARS >> 20} million characters. "
                "Rows stand one on each line."
            )
        if not line.isascii():
            self._check_text(line)
        if "\0" in line:
            raise DataError(
                f"{self.path}, line {self.number}: there is a zero byte: this is no text in UTF-8. Is it UTF-16? Give "
                "--encoding utf-16-le (or utf-16-be)."
            )
        return line

    def _check_text(self, line: str) -> None:
        for position, char in enumerate(line, 1):
            if "\udc80" <= char <= "\udcff":
                name = "UTF-8" if self.encoding == "utf-8" else self.encoding
                raise DataError(
                    f"{self.path}, line {self.number}, character {position}: the byte 0x{ord(char) & 0xFF:02x} is not "
                    f"{name}: save the table as UTF-8 text, or give its --encoding, such as latin-1 or cp1252."
                )


class CellReader:
    """The values of cells, row after row. The first filled cell of a column decides which kind of cells it holds."""

    def __init__(
        self,
        num_columns: int,
        *,
        missing: MissingMarkers,
        notation: Notation,
        may_be_texts: frozenset[int] = frozenset(),
    ) -> None:
        self.kinds: list[Kind | None] = [None] * num_columns
        self._missing, self._notation, self._may_be_texts = missing, notation, may_be_texts

    def value(self, column: int, cell: str) -> float | str:
        """The value of a cell, NaN where it is empty, or itself in a column of texts.

        Raises ValueError with the reason in the words of a message.
        """
        text = cell.strip(" \t")
        kind = self.kinds[column]
        if kind == "text":
            return cell
        if self._is_missing(text):
            return math.nan
        if kind is None:
            kind = self.kinds[column] = self._kind_of(column, text)
        if kind == "text":
            return cell
        value = None if kind is None else value_of(text, kind, self._notation)
        if value is None:
            raise ValueError(no_value(text, kind, self._notation))
        if abs(value) > FLOAT32_MAX and np.isinf(_as_float32(value)):
            raise ValueError(too_large(text))
        return value

    def note(self, cells: list[str], columns: tuple[int, ...]) -> None:
        """Look at a row that is not read, for the kinds of the columns alone."""
        for position, column in enumerate(columns):
            if self.kinds[position] is None and not self._is_missing(text := cells[column].strip(" \t")):
                self.kinds[position] = self._kind_of(position, text)

    def _kind_of(self, column: int, text: str) -> Kind | None:
        kind = kind_of(text, self._notation)
        return "text" if kind is None and column in self._may_be_texts and is_word(text, self._notation) else kind

    def _is_missing(self, text: str) -> bool:
        if text in self._missing.texts:
            return True
        value = value_of(text, "number", self._notation) if self._missing.has_numbers else None
        return value is not None and self._missing.is_number(value)


def _as_float32(value: float) -> np.float32:
    with np.errstate(over="ignore"):
        return np.float32(value)


class CarefulReader:
    """The rows of a CSV checked cell by cell."""

    def __init__(
        self,
        path: Path,
        form: TextForm,
        *,
        names: tuple[str, ...],
        named: bool,
        missing: MissingMarkers,
        notation: Notation,
    ) -> None:
        self.path, self.form, self.names, self.named = path, form, names, named
        self.missing, self.notation = missing, notation
        self.kinds: list[Kind | None] = []
        """Of the feature columns, once `rows` has been through."""

    def rows(
        self,
        columns: Columns,
        *,
        skip: int,
        texts: frozenset[int] = frozenset(),
        undecided: frozenset[int] = frozenset(),
    ) -> Iterator[tuple[list[float | str], str | None, str | None]]:
        """(features, label, key) of each row after the first `skip` rows. Raises DataError at the first bad cell.

        `texts` are features that hold texts, whose cells are given as they are. Of the `undecided` ones the first filled
        cell tells whether they do.
        """
        reader = CellReader(
            len(columns.features),
            missing=self.missing,
            notation=self.notation,
            may_be_texts=frozenset(i for i, column in enumerate(columns.features) if column in undecided),
        )
        reader.kinds[:] = ["text" if column in texts else None for column in columns.features]
        self.kinds = reader.kinds
        for index, record in enumerate(self._data()):
            cells = record.cells
            if index < skip:
                if None in reader.kinds:
                    reader.note(cells, columns.features)
                continue
            if len(cells) != len(self.names):
                raise self._ragged(record)
            features: list[float | str] = []
            of_texts = []
            for position, column in enumerate(columns.features):
                try:
                    value = reader.value(position, cells[column])
                except ValueError as error:
                    where = describe_column(self.names, column, named=self.named)
                    hint = self._role_hint(columns, column) if str(error).endswith(_COULD_BE_TEXTS) else ""
                    raise DataError(f"{self.path}, line {record.line}, {where}: {error}{hint}") from None
                features.append(value)
                if isinstance(value, str):
                    of_texts.append(column)
            for text_column in (columns.label, columns.key, *of_texts):
                if text_column is not None and ("\n" in cells[text_column] or "\r" in cells[text_column]):
                    where = describe_column(self.names, text_column, named=self.named)
                    raise DataError(
                        f"{self.path}, line {record.line}, {where}: the cell holds line breaks, and rows may be lost in it. "
                        "Is a quote closed only rows later? Or write a space for each line break."
                    )
            label = None if columns.label is None else cells[columns.label]
            if label is not None and self.notation.is_foreign(label):
                where = describe_column(self.names, columns.label or 0, named=self.named)
                raise DataError(
                    f"{self.path}, line {record.line}, {where}: the label {label!r} is a number in another notation than "
                    "that of --decimal and --thousands."
                )
            yield features, label, None if columns.key is None else cells[columns.key]

    def _role_hint(self, columns: Columns, column: int) -> str:
        """What a column of texts may be: the label, which is the first column where none was named, or no feature."""
        if not self.named:
            last = columns.label == 0 and column == len(self.names) - 1
            return " Is it the label? Give --label -1." if last else ""
        name = self.names[column] if self.names[column].isprintable() else repr(self.names[column])
        label = f" Is it the label? Give --label {name}." if columns.label == 0 else ""
        category = f" Is it a category? Give --categories {name}." if columns.finds_texts else ""
        return f"{label}{category} Is it no feature? Give --drop {name}."

    def line_of(self, row: int) -> int:
        """The line on which row `row` (from 0) ends."""
        for index, record in enumerate(self._data()):
            if index == row:
                return record.line
        raise IndexError(row)

    def _data(self) -> Iterator[Record]:
        rows = records(self.path, self.form)
        if self.named:
            next(rows)
        return rows

    def _ragged(self, record: Record) -> DataError:
        hint = ragged(record.cells, self.form.delimiter, len(self.names))
        first = "the header" if self.named else "the first row"
        return DataError(
            f"{self.path}, line {record.line}: {len(record.cells)} columns, but {first} has {len(self.names)}.{hint}"
        )
