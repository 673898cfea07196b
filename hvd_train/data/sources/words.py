"""Which columns of a text table hold texts, by its first rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from hvd_train.data.sources.cells import Notation, kind_of
from hvd_train.data.sources.hints import DATE, MISSING, other_notation
from hvd_train.data.sources.missing import MissingMarkers, parsed_number


def is_word(text: str, notation: Notation) -> bool:
    """Whether a filled cell is a text that can be a category, and no number, date or missing value in other words.

    >>> is_word("red", Notation()), is_word("1,5", Notation()), is_word("NA", Notation()), is_word("31.12.2026", Notation())
    (True, False, False, False)
    """
    if kind_of(text, notation) is not None or _is_nan_or_number(text) or _is_nan_or_number(text.strip("'")):
        return False
    return text.lower() not in MISSING and other_notation(text, notation) is None and not DATE.fullmatch(text)


def columns_of_words(
    rows: Sequence[Sequence[str]], num_columns: int, missing: MissingMarkers, notation: Notation
) -> tuple[frozenset[int], frozenset[int]]:
    """The columns of texts, and those whose cells say nothing yet.

    Texts are the columns where at least half of the cells that say something are texts, or all but booleans. A single text
    in a column of numbers is a mistake, which the reader names. What often stands for a missing value says nothing.
    """
    counts = [Counter[str]() for _ in range(num_columns)]
    for cells in rows:
        for column, cell in enumerate(cells[:num_columns]):
            text = cell.strip()
            if not missing.is_text(text):
                kind = "word" if is_word(text, notation) else kind_of(text, notation)
                counts[column][kind or "unclear"] += 1
    words = (
        column
        for column, found in enumerate(counts)
        if found["word"]
        and (2 * found["word"] >= found.total() - found["unclear"] or found.keys() <= {"word", "boolean", "unclear"})
    )
    return frozenset(words), frozenset(column for column, found in enumerate(counts) if not found)


def _is_nan_or_number(text: str) -> bool:
    return not math.isnan(parsed_number(text)) or text.lower().lstrip("+-") == "nan"
