"""What a cell of a text table may hold besides a plain number, and what number that is.

A column holds one kind of cell, which its first filled cell decides: numbers, booleans (true, false, yes, no),
percentages (12.5%: 0.125), dates (2026-01-31, days since 1970-01-01) or texts, which `categories` makes numbers of. Each rule stands here twice: for one cell, which
`careful.py` asks for, and for a whole column of a block, which `csv.py` asks for. tests/fuzz/test_tables.py compares them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hvd_train.data.sources.missing import MissingMarkers

Kind = Literal["number", "boolean", "percent", "date", "text"]
PLURALS: dict[str, str] = {
    "number": "numbers",
    "boolean": "booleans (true, false, yes, no)",
    "percent": "percentages",
    "date": "dates",
    "text": "texts",
}
BOOLEANS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
"""In any case of letters."""
_DATE = r"(\d{4}-\d\d-\d\d)(?:[T ]((?:[01]\d|2[0-3]):[0-5]\d)(?::([0-5]\d)(?:\.(\d{1,6}))?)?)?"
_ZONE = r"(?:Z|([+-](?:[01]\d|2[0-3])):?([0-5]\d))"
_IS_DATE = re.compile(f"{_DATE}(?(2){_ZONE}?)", re.ASCII)  # a zone where there is a time
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY_US = 86_400_000_000
_BLANKS = " \t"
_SPACES = " \u00a0\u202f"
"""A thousands separator that is a space may be one that does not break."""


@dataclass(frozen=True)
class Notation:
    """How numbers are written."""

    decimal: str = "."
    thousands: str = ""

    @property
    def is_plain(self) -> bool:
        return self.decimal == "." and not self.thousands

    @property
    def pattern(self) -> str:
        """A regular expression (of Python and of RE2) for the whole of a number."""
        mark, digits = re.escape(self.decimal), "[0-9]+"
        if self.thousands:
            digits = f"(?:[0-9]{{1,3}}(?:{self._separator}[0-9]{{3}})+|[0-9]+)"
        return f"[+-]?(?:{digits}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"

    @property
    def _separator(self) -> str:
        return f"[{_SPACES}]" if self.thousands == " " else re.escape(self.thousands)

    def plain(self, text: str) -> str | None:
        """The number as Python writes it; None where `text` is none in this notation.

        >>> Notation(",", ".").plain("-8.019,5"), Notation(",").plain("1.5")
        ('-8019.5', None)
        """
        if self.is_plain:
            return text
        if not re.fullmatch(self.pattern, text):
            return None
        if self.thousands:
            text = re.sub(self._separator, "", text)
        return text.replace(self.decimal, ".")

    def plain_column(self, texts: Any) -> Any:
        """`plain` of a pyarrow array of trimmed texts, null where a text is no number in this notation."""
        matches = pc.match_substring_regex(texts, f"^{self.pattern}$")
        if self.thousands:
            texts = pc.replace_substring_regex(texts, self._separator, "")
        return pc.if_else(matches, pc.replace_substring(texts, self.decimal, "."), None)

    def is_foreign(self, text: str) -> bool:
        """Whether Python reads a number in `text`, but not this notation."""
        if self.is_plain:
            return False
        text = text.strip(_BLANKS)
        return self.plain(text) is None and _number(text, Notation()) is not None

    def plain_labels(self, texts: Any) -> Any:
        """Labels, a pyarrow array of texts, with the numbers among them as Python writes them.

        None where one is a number in another notation, which the careful reader refuses.
        """
        if self.is_plain:
            return texts
        trimmed = pc.utf8_trim(texts, _BLANKS)
        plain = self.plain_column(trimmed)
        foreign = pc.and_(plain.is_null(), pc.match_substring_regex(trimmed, f"^{Notation().pattern}$"))
        return None if pc.any(foreign).as_py() else pc.coalesce(plain, texts)


def kind_of(cell: str, notation: Notation) -> Kind | None:
    """What a filled cell is; None where it is a text.

    >>> kind_of("1e3", Notation()), kind_of("Yes", Notation()), kind_of("12 %", Notation()), kind_of("x", Notation())
    ('number', 'boolean', 'percent', None)
    """
    text = cell.strip(_BLANKS)
    if _number(text, notation) is not None:
        return "number"
    if text.lower() in BOOLEANS:
        return "boolean"
    if text.endswith("%") and _number(text[:-1].rstrip(_BLANKS), notation) is not None:
        return "percent"
    return "date" if _days(text) is not None else None


def value_of(text: str, kind: Kind, notation: Notation) -> float | None:
    """The number that a trimmed cell stands for in a column of this kind; None where it is not of that kind."""
    if kind == "number":
        return _number(text, notation)
    if kind == "boolean":
        return BOOLEANS.get(text.lower())
    if kind == "percent":
        value = _number(text[:-1].rstrip(_BLANKS), notation) if text.endswith("%") else None
        return None if value is None else value / 100
    return _days(text)


def column_values(texts: Any, kind: Kind, notation: Notation, missing: MissingMarkers) -> NDArray[np.float64] | None:
    """`value_of` each of a pyarrow array of texts, NaN where one is missing; None where one is not of that kind."""
    trimmed = pc.utf8_trim(texts, _BLANKS)
    absent = pc.is_in(trimmed, pa.array(sorted(missing.texts), pa.string()))
    if missing.has_numbers and kind != "number":  # of numbers the reader looks at the values
        as_numbers = notation.plain_column(trimmed).cast(pa.float64()).to_numpy(zero_copy_only=False)
        absent = pc.or_(absent, pa.array(missing.mask(as_numbers) & ~np.isnan(as_numbers)))
    try:
        values = _column_values(pc.if_else(absent, None, trimmed), kind, notation)
    except pa.ArrowInvalid:
        return None
    if values.null_count != pc.sum(absent).as_py():
        return None
    numbers: NDArray[np.float64] = values.to_numpy(zero_copy_only=False)
    return numbers


def _column_values(texts: Any, kind: Kind, notation: Notation) -> Any:
    if kind == "number":
        return notation.plain_column(texts).cast(pa.float64())
    if kind == "percent":
        numbers = pc.if_else(
            pc.ends_with(texts, "%"), pc.utf8_rtrim(pc.utf8_slice_codeunits(texts, 0, -1), _BLANKS), None
        )
        return pc.divide(notation.plain_column(numbers).cast(pa.float64()), 100.0)
    if kind == "boolean":
        lowered = pc.utf8_lower(texts)
        words = pa.array(BOOLEANS, pa.string())
        return pc.take(pa.array(BOOLEANS.values(), pa.float64()), pc.index_in(lowered, words))
    whole = pc.match_substring_regex(texts, f"^{_DATE}$")  # a time zone is left to the careful reader
    times = pc.if_else(whole, texts, None).cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64())
    return pc.divide(times, float(_DAY_US))


def _number(text: str, notation: Notation) -> float | None:
    plain = notation.plain(text)
    if (
        plain is None or "_" in plain or not plain.isascii()
    ):  # Python reads 1_000 and full-width digits; a table means text
        return None
    try:
        value = float(plain)
    except ValueError:
        return None
    if math.isnan(value) or plain.lstrip("+-")[:1] in "iI" or plain[-1].isspace() or plain[0].isspace():
        return None  # Python strips line breaks, which only a quote that is not closed puts there
    return value


def _days(text: str) -> float | None:
    if (found := _IS_DATE.fullmatch(text)) is None:
        return None
    day, minute, second, fraction, hours, minutes = (group or "" for group in found.groups())
    try:  # in the form that Python 3.10 reads, too: six digits after the second, and no Z
        time = datetime.fromisoformat(
            f"{day}T{minute or '00:00'}:{second or '00'}.{fraction:0<6}{hours or '+00'}:{minutes or '00'}"
        )
    except ValueError:  # such as the 31st of February
        return None
    since = time - _EPOCH
    return (since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds) / _DAY_US
