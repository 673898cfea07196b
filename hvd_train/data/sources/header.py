"""Whether the first line of a text table holds the names of its columns, and which of them is pandas' index.

Where the user has not said it: the names that a model was trained on decide for new rows; otherwise there is a header
where most cells of the first line are no values, or where they count the columns, as pandas' default names do, or rise
or fall from column to column, as wavelengths and hours do.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hvd_train.data.sources.missing import parsed_number
from hvd_train.text import one_line

IsValue = Callable[[str], bool]
"""Whether a cell is a value and no name: a number, a date, what stands for a missing value."""

_MIN_COUNTED, _SURELY_COUNTED = 3, 8
"""So many numbers in order are names where the rows below hold fractions or texts, or hold whatever they like."""
_MIN_AXIS, _MIN_ROWS_BELOW_AXIS = 10, 3
"""Ten numbers in any order are sorted once in two million times."""
_PANDAS_NAMES = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Expected:
    """The columns that a model was trained on."""

    feature_names: tuple[str, ...]
    source_columns: tuple[str, ...]
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of the features that are texts: what tells a row from a header where there are no numbers."""
    numbers_are_rows: bool = False
    """Whether the user said that its first line was a row, so that numbers in the first line of new rows are one."""


def find_header(rows: Sequence[Sequence[str]], is_value: IsValue, expected: Expected | None) -> tuple[bool, str | None]:
    """Whether the first of these rows holds names, and what to tell about it."""
    cells = [cell.strip() for cell in rows[0]]
    if expected is not None and _names_what_is_expected(cells, is_value, expected):
        return True, None
    if expected is not None and expected.numbers_are_rows:
        return False, None
    filled = [cell for cell in cells if cell]
    values = [cell for cell in filled if is_value(cell)]
    if expected is None and len(values) < len(filled) / 2:
        if word := _repeated_below(cells, rows[1:], is_value):
            return (
                False,
                f"the first line is taken for a row, since {word!r} stands below it, too: --header yes if it is none",
            )
        return True, _told(cells, f"although {values[0]!r} is no name") if values else None
    if _counts_columns(cells, rows[1:]):
        return True, _told(cells, "since they count the columns")
    if _is_axis(cells, rows[1:]):
        return True, _told(cells, "since they rise or fall from column to column, as no row does")
    return False, None


def index_columns(names: Sequence[str]) -> tuple[int, ...]:
    """The columns of a header that are an index which pandas or R wrote: the first, without a name, or by pandas' names."""
    filled = [i for i, name in enumerate(names) if name.strip()]
    leading = range(filled[0]) if filled else range(0)
    by_name = [i for i, name in enumerate(names) if _PANDAS_NAMES.fullmatch(name) or (i == 0 and name == "Unnamed: 0")]
    return (*leading, *by_name)


def _told(cells: Sequence[str], why: str) -> str:
    shown = one_line(", ".join(cells[:5]) + (", ..." if len(cells) > 5 else ""))
    return f"the first line ({shown}) is taken for the names of the columns, {why}: --header no if it is a row"


def _names_what_is_expected(cells: list[str], is_value: IsValue, expected: Expected) -> bool:
    """Yes where the features are all named; or else by whether a value stands where a feature should be."""
    names = expected.feature_names
    if set(names) <= set(cells):
        return True
    source = expected.source_columns
    places = [source.index(name) for name in names] if len(cells) == len(source) else range(len(cells))
    named = dict(zip(names, places, strict=False))
    if any(cells[named[name]] in known for name, known in expected.categories.items() if named[name] < len(cells)):
        return False
    filled = [cells[i] for i in places if cells[i]]
    return bool(filled) and not any(map(is_value, filled))


def _repeated_below(cells: list[str], rows: Sequence[Sequence[str]], is_value: IsValue) -> str | None:
    """A text of the first line that stands below it again, in a line that is not the same: a category, and no name."""
    words = {i: cell for i, cell in enumerate(cells) if cell and not is_value(cell)}
    others = (below for row in rows if (below := [cell.strip() for cell in row]) != cells)
    return next((word for row in others for i, word in words.items() if i < len(row) and row[i] == word), None)


def _counts_columns(cells: list[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line is 0, 1, 2, ... or 1, 2, 3, ..., after the empty cells of an index, and no row is."""
    if not _counts(cells) or not rows or any(_counts([cell.strip() for cell in row]) for row in rows):
        return False
    fractions = sum(any(not _is_digits(cell.strip()) for cell in row if cell.strip()) for row in rows)
    return len(cells) >= _SURELY_COUNTED or 2 * fractions > len(rows)


def _counts(cells: list[str]) -> bool:
    counted = cells[next((i for i, cell in enumerate(cells) if cell), 0) :]
    return len(counted) >= _MIN_COUNTED and any(
        counted == [str(start + i) for i in range(len(counted))] for start in (0, 1)
    )


def _is_axis(cells: list[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of the first line rise or fall from each to the next, and those of no row do."""
    places = [i for i, cell in enumerate(cells) if not math.isnan(parsed_number(cell))]
    if len(places) < _MIN_AXIS or len(rows) < _MIN_ROWS_BELOW_AXIS:
        return False

    def is_sorted(row: Sequence[str]) -> bool:
        numbers = [parsed_number(row[i].strip()) for i in places if i < len(row)]
        pairs = list(itertools.pairwise(numbers))
        return all(a < b for a, b in pairs) or all(a > b for a, b in pairs)

    return is_sorted(cells) and not any(map(is_sorted, rows))


def _is_digits(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal()
