"""What stands for a missing value, as `--missing` lists it: texts as they are, numbers by their value.

So -999 also is -999.0, -9.99e2 and, in a column of floats, the number itself, whatever the format of the table.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMMON = ("na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "?", "-", "--", ".")
"""Texts that often stand for a missing value, in small letters."""


class MissingMarkers:
    """The texts and numbers that are missing values; an empty text always is one."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = frozenset({"", *(text.strip() for text in texts)})
        numbers = {parsed for text in texts if not math.isnan(parsed := parsed_number(text))}
        self._numbers = frozenset(numbers)
        self._doubles = np.array(sorted(numbers), np.float64)
        # In a column of 32-bit floats, 0.1 is the 32-bit float next to it.
        with np.errstate(over="ignore"):
            self._singles = np.unique(self._doubles.astype(np.float32).astype(np.float64))
        self._integers = sorted({int(text) for text in texts if _is_integer(text)} | set(map(int, _whole(numbers))))

    @classmethod
    def in_features(cls, texts: tuple[str, ...], kind: str) -> MissingMarkers:
        """Of features: these texts ("listed"), or also the common ones, in small and capital letters, and as pandas writes them."""
        if kind == "listed":
            return cls(texts)
        common = (form for text in COMMON for form in (text, text.upper(), text.capitalize()))
        return cls((*texts, *common, "NaN", "N/a"))

    @property
    def has_numbers(self) -> bool:
        return bool(self._numbers)

    def is_number(self, value: float) -> bool:
        """Whether this number is a missing value."""
        return value in self._numbers

    def is_text(self, text: str) -> bool:
        """Whether this text is a missing value, as a text or as the number it is."""
        stripped = text.strip()
        return stripped in self.texts or (bool(self._numbers) and parsed_number(stripped) in self._numbers)

    def mask(self, values: NDArray[Any], *, single: bool = False) -> NDArray[np.bool_]:
        """Where numbers are missing values, NaN among them. `single`: they were 32-bit floats."""
        found: NDArray[np.bool_]
        if values.dtype.kind in "iu":
            info = np.iinfo(values.dtype)
            possible = [number for number in self._integers if info.min <= number <= info.max]
            found = np.isin(values, np.array(possible, values.dtype))
        else:
            found = np.isnan(values)
            found |= np.isin(values, self._singles if single else self._doubles)
        return found

    def erase(self, values: NDArray[np.float64], *, single: bool = False) -> int:
        """Make NaN of the numbers that are missing values; returns how many."""
        if not self._numbers:
            return 0
        found = np.isin(values, self._singles if single else self._doubles)
        values[found] = np.nan
        return int(np.count_nonzero(found))


def parsed_number(text: str | None) -> float:
    """The number that a text is; NaN where it is none."""
    try:  # Python reads 1_000 and full-width digits; a table means text
        return float(text) if text and "_" not in text and text.isascii() else math.nan
    except ValueError:
        return math.nan


def _is_integer(text: str) -> bool:
    digits = text.strip().removeprefix("-").removeprefix("+")
    return digits.isdecimal() and digits.isascii()


def _whole(numbers: set[float]) -> list[float]:
    return [
        number for number in numbers if math.isfinite(number) and number == math.floor(number) and abs(number) < 2**53
    ]
