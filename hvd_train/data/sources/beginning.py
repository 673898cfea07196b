"""What the first lines of a text table show: its encoding, its delimiter, its header, lines that are no rows.

sep=;                    Excel's line: it sets the delimiter
# year a b               numpy.savetxt's header: the line loses its `#`
"a" "b"  /  "1" 2.5 3    R's row names: the header gets an empty name for their column
"""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path

from hvd_train.config import NAMED_DELIMITERS
from hvd_train.data.sources.careful import Record, records, text_lines
from hvd_train.data.sources.cells import Notation, kind_of
from hvd_train.data.sources.header import Expected, find_header
from hvd_train.data.sources.missing import MissingMarkers
from hvd_train.data.sources.table_format import TableFormat
from hvd_train.data.sources.text_stream import TextForm, found_encoding
from hvd_train.errors import DataError

NUM_PROBED_ROWS = 100
MAX_PROBED_CHARS = 1 << 20
_MAX_HEAD_LINES = 1000
_SEP_LINE = re.compile(r'"?sep=(.)"?')
_HASH = "#"


@dataclass(frozen=True)
class Beginning:
    """The first rows, and how the whole is read."""

    form: TextForm
    rows: list[Record]
    """Of them the first is the header where there is one."""
    is_named: bool
    remarks: tuple[str, ...]


def read_beginning(
    path: Path, given: TableFormat, notation: Notation, *, expected: Expected | None = None
) -> Beginning:
    """Read the first rows and find out what the user has not said. Raises DataError."""
    form = TextForm(
        encoding=found_encoding(path, given.encoding),
        delimiter=NAMED_DELIMITERS.get(given.delimiter, given.delimiter),
        comment=given.comment,
    )
    if notation.decimal == notation.thousands:
        raise DataError(f"{path}: {notation.decimal!r} cannot be both --decimal and --thousands.")
    form, remarks = _first_lines(path, form, given, notation)
    if notation.decimal == form.delimiter or notation.thousands == form.delimiter:
        which = "decimal" if notation.decimal == form.delimiter else "thousands"
        raise DataError(
            f"{path}: {form.delimiter!r} cannot be both --delimiter and --{which}. Tables with a decimal comma mostly "
            "have --delimiter ';'."
        )
    rows = _first_rows(path, form)
    if not rows:
        raise DataError(f"{path}: the file holds no rows.")
    is_named = given.header == "yes"
    if given.header == "auto":
        missing = MissingMarkers.in_features(given.missing, given.missing_in_features)
        is_named, remark = find_header(
            [row.cells for row in rows], lambda cell: is_value(cell, notation) or missing.is_text(cell), expected
        )
        remarks += (remark,) if remark else ()
    if is_named and _has_row_names(rows, notation):
        number = rows[0].line
        text = next(itertools.islice(text_lines(path, form), number - 1, None))[2].rstrip("\r\n")
        form = replace(form, edits={**form.edits, number: f'""{form.delimiter}{text}'})
        remarks += ("the header has no name for the first column: it is taken for names of rows, as R writes them",)
        rows = _first_rows(path, form)
    return Beginning(form, rows, is_named, remarks)


def looks_like_names(cells: list[str], notation: Notation) -> bool:
    """Whether most of the filled cells are not values."""
    filled = [cell for cell in cells if cell.strip()]
    return sum(not is_value(cell, notation) for cell in filled) > len(filled) / 2


def is_value(cell: str, notation: Notation) -> bool:
    """Whether a cell is a number (nan and inf too), a boolean, a percentage or a date."""
    try:
        float(cell)
    except ValueError:
        return kind_of(cell, notation) is not None
    return True


def _first_rows(path: Path, form: TextForm) -> list[Record]:
    rows, num_chars = [], 0
    for record in records(path, form):
        rows.append(record)
        num_chars += sum(map(len, record.cells))
        if len(rows) > NUM_PROBED_ROWS or num_chars > MAX_PROBED_CHARS:
            break
    return rows


def _first_lines(
    path: Path, form: TextForm, given: TableFormat, notation: Notation
) -> tuple[TextForm, tuple[str, ...]]:
    """Heed a `sep=` line and a header in a comment."""
    mark = form.comment or _HASH
    raw = replace(form, comment="", delimiter=",")  # lines as they stand
    comments: list[tuple[int, str]] = []
    edits: dict[int, str] = {}
    remarks: tuple[str, ...] = ()
    for number, _, line in itertools.islice(text_lines(path, raw), _MAX_HEAD_LINES):
        text = line.strip("\ufeff\r\n \t")
        if number == 1 and (found := _SEP_LINE.fullmatch(line.strip("\ufeff\r\n"))):
            form = replace(form, delimiter=found[1], edits={1: ""})
            remarks = (f"line 1 says that the delimiter is {found[1]!r}",)
            edits[1] = ""
        elif text.startswith(mark) and (form.comment or not comments):
            comments.append((number, line.lstrip("\ufeff \t").lstrip(mark).lstrip(" ").rstrip("\r\n")))
        elif text:
            named = (
                [c for c in comments if _names_columns(c[1], line.strip("\r\n"), form, given.missing, notation)]
                if given.header != "no"
                else []
            )
            if named:
                edits[named[-1][0]] = named[-1][1]
                remarks += (f"line {named[-1][0]} begins with {mark!r} and names the columns: it is the header",)
            break
    return replace(form, edits=edits), remarks


def _names_columns(comment: str, row: str, form: TextForm, missing: tuple[str, ...], notation: Notation) -> bool:
    names, cells = _split(comment, form.delimiter), _split(row, form.delimiter)
    same = len(names) == len(cells) > 1
    filled = [cell for cell in cells if cell.strip() not in missing]
    return same and looks_like_names(names, notation) and not looks_like_names(filled, notation)


def _split(text: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        text = re.sub(r"[ \t]+", " ", text.strip(" \t"))
    return next(csv.reader([text], delimiter=delimiter), [])


def _has_row_names(rows: list[Record], notation: Notation) -> bool:
    """Whether each row has one cell more than the header, and the first cells are names, or numbers from 1."""
    first = [row.cells[0] for row in rows[1:]]
    num_columns = len(rows[0].cells) + 1
    if len(first) < 2 or num_columns < 3 or any(len(row.cells) != num_columns for row in rows[1:]):
        return False
    if len(set(first)) < len(first) or not any(row.cells[-1].strip() for row in rows[1:]):
        return False
    counted = first == [str(i) for i in range(1, len(first) + 1)]
    return counted or all(cell.strip() and not is_value(cell, notation) for cell in first)
