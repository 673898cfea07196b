"""Which texts of a column are categories: decided by the rows of the train split alone, and in the order of the texts.

A text has a column of its own if it is among the MAX_CATEGORIES most frequent ones of train, and at least `least_rows` have
it: a rarer one would be a column of zeros to the quantiles of a network's inputs, and an outlier to others. All others share
a column. A column where most texts stand in a single row is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.categories.codes import as_argument
from hvd_train.data.schema import TextColumn
from hvd_train.data.statistics import least_rows
from hvd_train.errors import DataError

MAX_CATEGORIES = 64
MIN_ROWS_OF_IDENTIFIERS = 20
"""In fewer rows, texts of one row each prove nothing."""


class TextCounts:
    """How often each code occurs in the rows of train, block after block."""

    def __init__(self, num_texts: Mapping[int, int]) -> None:
        """`num_texts`: the number of different texts of each column, by its position."""
        # The last entry is for missing cells.
        self._counts = {position: np.zeros(count + 1, np.int64) for position, count in num_texts.items()}

    def add(self, rows: NDArray[np.float32]) -> None:
        """Add train rows (n, S), as they were read."""
        for position, counts in self._counts.items():
            codes = rows[:, position]
            codes = np.where(np.isnan(codes), len(counts) - 1, codes).astype(np.int64)
            counts += np.bincount(codes, minlength=len(counts))

    def merge(self, other: TextCounts) -> None:
        """Add what `other` has counted, of the same columns."""
        for position, counts in self._counts.items():
            counts += other._counts[position]

    def of(self, position: int) -> NDArray[np.int64]:
        """(number of texts + 1,) rows of each text, then the rows where the cell is missing."""
        return self._counts[position]


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts as it was read."""

    name: str
    texts: tuple[str, ...]
    """In the order of their codes."""
    counts: NDArray[np.int64]
    """Rows of train with each of them, then those where the cell is missing."""


def decided(path: object, columns: Mapping[int, Texts]) -> dict[int, TextColumn]:
    """What the columns, by their positions among all, become. Raises DataError naming all that are unlike categories."""
    refused = [column for column in columns.values() if _is_unlike(column)]
    if refused:
        names = ", ".join(repr(column.name) for column in refused)
        counts = ", ".join(_told(column) for column in refused[:3])
        raise DataError(
            f"{path}: {'the column ' if len(refused) == 1 else 'the columns '}{names} {'is' if len(refused) == 1 else 'are'} "
            f"unlike a category: {counts}. Most of the texts stand in one row, as names and identifiers do, so that nothing "
            f"can be learnt from them. Leave out what is none: --drop {' '.join(map(as_argument, (c.name for c in refused)))}."
        )
    found, extra = {}, 0
    for position in sorted(columns):
        column = replace(_categories(columns[position]), first=position + extra)
        found[position] = column
        extra += column.num_features - 1
    return found


def _is_unlike(column: Texts) -> bool:
    counts = column.counts[:-1]
    num_rows = int(counts.sum())
    if num_rows < MIN_ROWS_OF_IDENTIFIERS:
        return False
    return 2 * int((counts == 1).sum()) > num_rows or not _frequent(column)


def _frequent(column: Texts) -> list[int]:
    """The codes of the texts that have a column of their own, the most frequent first; equal ones in the order of the texts."""
    counts = column.counts
    least = _least(column)
    order = sorted(np.flatnonzero(counts[:-1] >= least).tolist(), key=lambda code: (-counts[code], column.texts[code]))
    return order[:MAX_CATEGORIES]


def _least(column: Texts) -> float:
    return least_rows(int(column.counts.sum()))


def _categories(column: Texts) -> TextColumn:
    frequent = _frequent(column)
    num_missing, num_filled = int(column.counts[-1]), int(column.counts[:-1].sum())
    has_missing = num_missing >= _least(column) or (num_missing > 0 and not num_filled)
    num_other = num_filled - int(column.counts[frequent].sum()) + (0 if has_missing else num_missing)
    return TextColumn(
        name=column.name,
        first=0,
        categories=tuple(sorted(column.texts[code] for code in frequent)),
        has_missing=has_missing,
        # A column without any text of train becomes one of zeros.
        has_other=num_other > 0 or not (frequent or has_missing),
    )


def _told(column: Texts) -> str:
    counts = column.counts[:-1]
    return f"{column.name!r} has {np.count_nonzero(counts):,} different texts in {int(counts.sum()):,} rows of train"


def names_of(columns: Sequence[TextColumn]) -> str:
    """The columns in the words of a note.

    >>> names_of([TextColumn(name="hue", first=0, categories=("blue", "red"), has_missing=False, has_other=True)])
    "'hue' (2 and others)"
    """
    return ", ".join(
        f"{c.name!r} ({len(c.categories)}{' and others' if c.has_other else ''}{' and missing' if c.has_missing else ''})"
        for c in columns
    )
