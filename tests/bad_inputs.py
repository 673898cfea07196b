"""What users get wrong, in one list: tried on one rank through the command, and on many in one launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


def table(num_rows: int = 400, num_features: int = 4, seed: int = 0) -> list[list[object]]:
    """A header and rows: a year, then features that tell of it."""
    rng = np.random.default_rng(seed)
    years = rng.integers(1990, 2010, num_rows)
    features = rng.normal(size=(num_rows, num_features)) + (years[:, None] - 2000) / 10
    header: list[object] = ["year", *(f"f{i}" for i in range(num_features))]
    return [header] + [[int(y), *(f"{v:.4f}" for v in row)] for y, row in zip(years, features, strict=True)]


def write(path: Path, rows: list[list[object]]) -> Path:
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def with_cell(line: int, column: int, value: object) -> Callable[[Path], Path]:
    """A table whose cell in this line (1 is the header) and column (1 is the year) is `value`."""

    def make(path: Path) -> Path:
        rows = table()
        rows[line - 1][column - 1] = value
        return write(path, rows)

    return make


def ragged(path: Path) -> Path:
    rows = table()
    rows[6].append("9.9")
    return write(path, rows)


def one_class(path: Path) -> Path:
    return write(path, [[row[0] if i == 0 else 2000, *row[1:]] for i, row in enumerate(table())])


def wide_songs(path: Path) -> Path:
    """91 columns without a header are songs; their years end in 2011."""
    rows = table(num_features=90)[1:]
    rows[4][0] = 2055
    return write(path, rows)


@dataclass(frozen=True)
class BadInput:
    name: str
    make: Callable[[Path], Path]
    says: tuple[str, ...]
    """Each of these stands in the message."""
    flags: tuple[str, ...] = ()


BAD_INPUTS = [
    BadInput("no such file", lambda path: path.with_name("nothing.csv"), ("nothing.csv",)),
    BadInput("empty file", lambda path: (path.write_text(""), path)[1], ("table.csv", "empty")),
    BadInput("text for a number", with_cell(11, 3, "loud"), ("table.csv", "line 11", "f1", "loud")),
    BadInput("ragged rows", ragged, ("table.csv", "line 7")),
    BadInput("not a number", with_cell(11, 3, "nan"), ("table.csv", "line 11", "f1", "nan")),
    BadInput("infinite", with_cell(12, 4, "inf"), ("table.csv", "line 12", "f2", "inf")),
    BadInput("too large to be finite", with_cell(12, 4, "1e999"), ("table.csv", "line 12", "f2", "1e999")),
    BadInput("label outside the range", wide_songs, ("table.csv", "line 5", "2055")),
    BadInput("one class only", one_class, ("table.csv", "same label")),
    BadInput(
        "fewer rows than a batch",
        lambda path: write(path, table()),
        ("1152", "largest batch"),
        ("--global-batch-size", "1152"),  # a multiple of 64 and of 48 virtual shards: right for 2, 3 and 4 ranks
    ),
    BadInput("no rows to speak of", lambda path: write(path, table(3)), ("table.csv",)),
]
