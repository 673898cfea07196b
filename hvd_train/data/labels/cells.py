"""Labels and groups as they stand in a table: which are missing, and what the others are as names or as numbers.

One reading for training, evaluating and predicting, and for every format. Cells come as a source gives them: numbers
(n,) of any numpy type, NaN where they are missing, or a pyarrow array of texts, null or empty where they are missing.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hvd_train.data.sources.csv import as_numpy, label_numbers
from hvd_train.data.sources.missing import MissingMarkers, parsed_number

MAX_EXACT = 2**53
"""Whole numbers from here on have neighbours that a 64-bit float cannot tell from them."""
_PLAIN_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def is_numeric(cells: Any) -> bool:
    return isinstance(cells, np.ndarray)


def missing_cells(cells: Any, markers: MissingMarkers) -> NDArray[np.bool_]:
    """(n,) whether each cell is missing."""
    if is_numeric(cells):
        return markers.mask(cells, single=cells.dtype.kind == "f" and cells.dtype.itemsize < 8)
    numbers = None if cells.null_count else label_numbers(cells)
    if numbers is not None:  # the usual case, without a Python object for each number
        found: NDArray[np.bool_] = np.zeros(len(cells), np.bool_)
        if markers.has_numbers:
            markers.erase(numbers := numbers.copy())
            found = np.isnan(numbers)
        return found
    codes, texts = _encoded(cells.fill_null(""))
    return np.array([markers.is_text(text) for text in texts], np.bool_)[codes]


def picked(cells: Any, keep: NDArray[np.bool_]) -> Any:
    """The cells that are kept."""
    if is_numeric(cells):
        return cells[keep]
    bits = np.packbits(keep, bitorder="little").tobytes()
    return cells.filter(pa.Array.from_buffers(pa.bool_(), len(keep), [None, pa.py_buffer(bits)]))


def named(cells: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Cells without missing ones as (codes (n,), names in the order of the rows that have them first).

    Spaces around a name do not belong to it. A number's name is its digits, all of them: 1000001, not 1e+06.
    """
    if not is_numeric(cells):
        return _encoded(cells)
    values, first, codes = np.unique(cells, return_index=True, return_inverse=True)
    order = first.argsort()
    return order.argsort()[codes], [number_name(value) for value in values[order]]


def number_name(value: Any) -> str:
    """The name of a numpy number: whole numbers without a point.

    >>> number_name(np.float64(1000001)), number_name(np.float32(0.1)), number_name(np.uint64(2**64 - 1))
    ('1000001', '0.1', '18446744073709551615')
    """
    if value.dtype.kind in "iub":
        return str(int(value))
    number = float(value)
    return str(int(number)) if abs(number) < MAX_EXACT and number.is_integer() else str(value)


def number_of_name(name: str) -> int | float | None:
    """The number that a name certainly is: 1 for "1" and "1.0", but None for "01", which may be a code.

    >>> number_of_name("1.0"), number_of_name("9007199254740993"), number_of_name("01")
    (1, 9007199254740993, None)
    """
    match = _PLAIN_NUMBER.fullmatch(name)
    if not match:
        return None
    if match[2] is None and match[3] is None:
        return int(name)
    value = float(name)
    return int(value) if value.is_integer() and abs(value) < MAX_EXACT else value


def numbers(cells: Any) -> NDArray[np.float64]:
    """(n,) the cells as numbers, NaN where a text is none."""
    if is_numeric(cells):
        return cells.astype(np.float64)  # type: ignore[no-any-return]
    found = None if cells.null_count else label_numbers(cells)
    if found is not None:
        return found
    codes, texts = _encoded(cells.fill_null(""))
    return np.array([parsed_number(text) for text in texts], np.float64)[codes]


def _encoded(texts: Any) -> tuple[NDArray[np.int64], list[str]]:
    encoded = pc.utf8_trim_whitespace(texts).dictionary_encode()
    return as_numpy(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()
