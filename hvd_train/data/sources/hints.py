"""Why a text table cannot be read and what is probably meant, in the words of a message."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from hvd_train.data.sources.cells import PLURALS, Kind, Notation, kind_of
from hvd_train.data.sources.missing import COMMON, parsed_number

_DELIMITERS = (";", "\t", "|", ",", " ")
_COMMENTS = "#%;|!*/"
MISSING = frozenset(COMMON)
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:[ T].*)?")


def no_value(text: str, kind: Kind | None, notation: Notation) -> str:
    """What is wrong with a filled cell of a column that holds cells of this kind (None: not known yet)."""
    shown = repr(text if len(text) <= 40 else text[:40] + "...")
    if kind not in (None, "number"):
        return f"{shown} stands in a column of {PLURALS[kind]}."
    if notation.decimal == ".":
        try:
            value = float(text) if "_" not in text and text.isascii() else 0.0
        except ValueError:
            value = 0.0
        if math.isnan(value):
            return f"{text!r} is not a number. Leave the cell empty where a value is missing."
        if math.isinf(value):
            return too_large(text)
    return f"{shown} stands where a number should be.{_meant(text, kind, notation)}"


def too_large(text: str) -> str:
    return f"{text!r} is infinite or too large for 32-bit floats (at most 3.4e38)."


def _meant(text: str, kind: Kind | None, notation: Notation) -> str:
    if text.lower() in MISSING:
        return f" Does it stand for a missing value? Give --missing {text if text.isalnum() else repr(text)}."
    if len(text) > 1 and text[0] == text[-1] == "'":
        return " Single quotes do not quote a cell: remove them, or write double quotes."
    if kind == "number" and (found := kind_of(text, notation)) not in (None, "number"):
        return f" The cells before it are numbers, and this is one of {PLURALS[found]}: write a column alike."
    if other := other_notation(text, notation):
        flags = f"--decimal {other.decimal}" if other.decimal != notation.decimal else ""
        if other.thousands:
            flags += f" --thousands {other.thousands if other.thousands in '.,' else repr(other.thousands)}"
        return f" Is it a number in another notation? Give {flags.strip()}." if flags.strip() else ""
    if DATE.fullmatch(text):
        return " Is it a date? Dates are read when they are written YYYY-MM-DD."
    return ""


def other_notation(text: str, notation: Notation) -> Notation | None:
    """The notation in which a text that is no number here is one."""
    for decimal, thousands in ((",", ""), (".", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'")):
        other = Notation(decimal, thousands)
        # Without the second question any text would be a plain number.
        if other != notation and not math.isnan(parsed_number(other.plain(text))):
            return other
    return None


def one_column(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Why the first line may be one cell alone; empty where there is no sign of a mistake. `rows` are cells."""
    first = rows[0][0].strip()
    wider = next((len(row) for row in rows[1:] if len(row) > 1), 0)
    if wider:
        return f"line 1 is {shortened(first)}, but rows after it have {wider} columns.{_no_row(first)}"
    others = [d for d in _DELIMITERS if d != delimiter and d in first]
    # The delimiter is what stands in each row equally often; a text may hold others.
    even = [d for d in others if len({row[0].count(d) for row in rows}) == 1 and not first.startswith(d)]
    if first[:1] in _COMMENTS and not even:
        return f"line 1 is {shortened(first)}, one column only.{_no_row(first)}"
    if others:
        return f"one column only. Is the delimiter {(even or others)[0]!r}? Give it by --delimiter{_name((even or others)[0])}."
    return ""


def ragged(cells: Sequence[str], delimiter: str, num_columns: int) -> str:
    """What may be the matter with a row of another number of cells than the first."""
    first = cells[0].strip()
    if first[:1] and first[0] in _COMMENTS:
        return _no_row(first)
    if len(cells) == num_columns + 1 and not cells[-1].strip():
        return " Each row may end with a delimiter that the first does not have."
    if len(cells) == 1:
        others = [d for d in _DELIMITERS if d != delimiter and d in first]
        return f" Is the delimiter {others[0]!r}? Give it by --delimiter{_name(others[0])}." if others else ""
    return ""


def shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _no_row(first: str) -> str:
    if first[:1] and first[0] in _COMMENTS:
        return f" Is that a comment? Give --comment '{first[0]}' to leave out the lines that begin with it."
    return " If it is no row, remove it."


def _name(delimiter: str) -> str:
    return {" ": " whitespace", "\t": " tab"}.get(delimiter, "")
