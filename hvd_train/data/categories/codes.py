"""TextCodes: the texts of a table's columns as numbers while it is read, since rows on their way are numbers.

In training, a text's code counts the texts that came before it for the first time. For a model's new rows the codes are those
of its categories, and every other text is UNKNOWN: what is remembered does not grow with the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.labels.cells import missing_cells, named, picked
from hvd_train.data.labels.names import KnownNames
from hvd_train.errors import DataError

if TYPE_CHECKING:
    from hvd_train.data.sources.base import Table

UNKNOWN = -1
MAX_TEXTS = 100_000
"""Different texts of a column. They are kept in memory until all rows have been read."""
MAX_CHARACTERS = 64 << 20
"""Of the different texts of all columns together."""


class TextCodes:
    """The codes of the texts of one table, column by column."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._codes: dict[int, dict[str, int]] = {}
        self._known: dict[int, KnownNames] = {}
        self._num_characters = 0

    def know(self, column: int, categories: tuple[str, ...]) -> None:
        """Take the categories of a model for this column."""
        self._known[column] = KnownNames.of(categories)

    def texts(self, column: int) -> tuple[str, ...]:
        """The texts of a column in the order of their codes."""
        return tuple(self._codes.get(column, ()))

    def encode(self, column: int, cells: Any) -> NDArray[np.float64]:
        """(n,) codes of the next cells: numbers (n,) or a pyarrow array of texts; NaN where one is missing. Raises DataError."""
        missing = missing_cells(cells, self._table.missing_in_features)
        found = np.full(len(missing), np.nan)
        if not missing.all():
            of_present, texts = named(picked(cells, ~missing))
            found[~missing] = np.array([self._code(column, text) for text in texts], np.float64)[of_present]
        return found

    def _code(self, column: int, text: str) -> int:
        if column in self._known:
            return self._known[column].index(text)
        codes = self._codes.setdefault(column, {})
        if text not in codes:
            codes[text] = len(codes)
            self._num_characters += len(text)
            if error := too_many(self._table, column, len(codes), self._num_characters):
                raise error
        return codes[text]


def too_many(table: Table, column: int, num_texts: int, num_characters: int) -> DataError | None:
    """The error for a column with so many different texts; None where they can be kept in memory."""
    if num_texts <= MAX_TEXTS and num_characters <= MAX_CHARACTERS:
        return None
    name = table.columns[column]
    return DataError(
        f"{table.path}: column {column + 1} ({name!r}) has {num_texts:,} different texts so far, which are too many for "
        f"categories. Leave it out: --drop {as_argument(name)}."
    )


def as_argument(name: str) -> str:
    """The name of a column as a shell takes it."""
    return name if name.isprintable() and not set(name) & set(" '\"$`\\*?;&|<>()") else repr(name)
