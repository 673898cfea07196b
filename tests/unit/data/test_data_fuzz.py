"""Mangled tables: refused with their file named, or read as the standard library reads them; never anything else."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from data_helpers import all_rows, converted, frame
from hypothesis import example, given
from hypothesis import strategies as st

from hvd_train.errors import DataError

GOOD = frame(60, 3).fillna(0.5).to_csv(index=False).splitlines()


def reference(text: str) -> np.ndarray | None:
    """The table by the standard library alone; None where something is wrong with it."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        if len({len(row) for row in rows}) != 1 or len(rows) < 6 or len(rows[0]) < 2:
            return None
        cells = np.array([[float(cell) if cell.strip(" \t") else math.nan for cell in row] for row in rows[1:]])
    except (ValueError, csv.Error):
        return None
    written = [cell for row in rows[1:] for cell in row]
    if any("_" in c or "nan" in c.lower() or "inf" in c.lower() or not c.isascii() for c in written):
        return None
    with np.errstate(over="ignore"):
        return None if np.isinf(cells.astype(np.float32)).any() or np.isnan(cells[:, 0]).any() else cells


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A good table with a few edits anywhere."""
    text = "\n".join(GOOD[: draw(st.integers(12, 40))]) + draw(st.sampled_from(["", "\n", "\r\n", "\n\n"]))
    pieces = st.sampled_from(
        [
            "",
            ",",
            "\n",
            "\r\n",
            '"',
            '""',
            " ",
            "\t",
            "-",
            "+",
            ".",
            "e",
            "1e999",
            "nan",
            "x",
            "0",
            "2001",
            "\ufeff",
            "é",
            "\0",
            "1_0",
            ";",
            "#",
        ]
    )
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(pieces) + text[at + draw(st.integers(0, 2)) :]
    return text


@given(mangled())
@example("\r\r\n\n" + "\n".join(GOOD[:12]))
@example("\n\ufeff".join([GOOD[0], "\n".join(GOOD[1:12])]))
def test_mangled_tables_are_refused_by_place_or_read_right(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    tmp_path = tmp_path_factory.mktemp("fuzz")
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    expected = reference(text)
    message = None
    try:
        dataset = converted(path, tmp_path / "out", label="1", label_kind="values", header="yes")
    except DataError as error:
        message = str(error)
    if message is not None:
        assert str(path) in message
        assert expected is None or "\0" in text or "second column" in message or "\ufeff" in text, message
        return
    features, labels = all_rows(dataset)
    if expected is None:
        # A byte order mark before the rows: a header that was put in front of a file that had one.
        expected = reference(text.replace("\n\ufeff", "\n", 1))
    assert expected is not None
    assert np.array_equal(np.column_stack([labels, features]), expected.astype(np.float32), equal_nan=True)
