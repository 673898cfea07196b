"""Tables of every format: made without a fault they are read right; damaged they are refused, or read right."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing import BYTES, fuzz
from reading import read, read_noted, same, small_blocks, with_note  # noqa: F401  # a fixture of every test here
from tables import Case, has_special_beginning, make_case, reference

PIECES = ("", ",", ";", "\n", "\r\n", '"', '""', " ", "\t", "-", "+", ".", "e", "1e999", "nan", "x", "0", "1_0", "#", "%",
          "true", "2020-01-01", "\ufeff", "é", "\0", "1.234,5", "/", "sep=;", "'", "\u00a0", "\u0661", "9" * 400)  # fmt: skip


def test_text_tables_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"

    def check(data: bytes) -> str:
        case = Case.of(data)
        path.write_bytes(case.text)
        values, labels = case.values, case.labels
        assert values is not None
        if (found := read(path, case.options)) is None:
            assert not _is_certain(case), "refused"
            return "refused"
        same(found, values, labels)
        return "right"

    fuzz("text", lambda rng: make_case(rng).to_bytes(), check, suffix=".txt")


def _is_certain(case: Case) -> bool:
    """Whether a table has enough rows to be told from one with the wrong delimiter or with names of rows."""
    return case.values is not None and reference(case) is not None


def mangled(rng: random.Random) -> bytes:
    case = make_case(rng)
    encoding = "utf-8" if case.options["encoding"] == "auto" else case.options["encoding"]
    text = case.text
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.2:
            data = bytearray(text)
            rng.choice(BYTES)(rng, data)
            text = bytes(data)
        else:
            at = rng.randint(0, len(text))
            piece = rng.choice(PIECES).encode(encoding, "replace")
            text = text[:at] + piece + text[at + rng.randint(0, 2) :]
    return Case(case.options, text).to_bytes()


def test_mangled_text_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"

    def check(data: bytes) -> str:
        case = Case.of(data)
        path.write_bytes(case.text)
        found, expected = read(path, case.options), reference(case)
        if found is None:
            return "refused" if expected is None else "refused, not by the reference"
        if expected is None or len(expected[0]) != len(found[0]):
            assert has_special_beginning(case), "read although there is a fault"
            return "special"
        assert (
            [_plain(x) for x in found[1]] == [_plain(x) for x in expected[0]]
            or case.options["decimal"] != "."
            or case.options["thousands"]
        )
        same(found, expected[1], None)
        return "right"

    fuzz("mangled", mangled, check, suffix=".txt")


def _plain(label: str) -> str:
    return label.replace("\ufeff", "").strip()


def make_libsvm(rng: random.Random) -> tuple[bytes, list[list[float]], list[float]]:
    base, num_features = rng.choice([0, 1]), rng.randint(1, 6)
    lines, values, labels = [], [], []
    for row in range(rng.choice([1, 3, 40])):
        label = rng.choice([0, 1, -1, 2.5, 1e-3])
        cells = [rng.gauss(0, 10) if rng.random() < 0.6 else 0.0 for _ in range(num_features)]
        if row == 0:
            cells[0] = cells[-1] = 1.5  # all columns are seen, and the base
        pairs = [f"{i + base}:{cell!r}" for i, cell in enumerate(cells) if cell]
        rng.shuffle(pairs)
        comment = rng.choice(["", "", " # c", " #1:2"])
        lines.append(rng.choice([" ", "\t", "  "]).join([repr(label), *pairs]) + comment)
        values.append(cells)
        labels.append(float(label))
    text = "\n".join(lines) + rng.choice(["", "\n", "\r\n", "\n\n# end\n"])
    return text.encode(), values, labels


def test_libsvm_tables(tmp_path: Path) -> None:
    path = tmp_path / "t.svm"

    def make(rng: random.Random) -> bytes:
        text, values, labels = make_libsvm(rng)
        return with_note(rng, [values, labels], text)

    def check(data: bytes) -> str:
        found, expected, text = read_noted(path, data, {"format": "libsvm"})
        if expected is not None:
            assert found is not None
            same(found, *expected)
            return "right"
        if found is None:
            return "refused"
        _same_sparse(found, text.decode("utf-8-sig"))
        return "right although damaged"

    fuzz("libsvm", make, check, suffix=".svm")


def _same_sparse(found: tuple[np.ndarray, list[Any]], text: str) -> None:
    rows = [line.split("#")[0].split() for line in re.split(r"\r\n|\r|\n", text)]
    rows = [row for row in rows if row]
    assert len(rows) == len(found[0])
    pairs = [[pair.split(":") for pair in row[1:] if not pair.startswith("qid:")] for row in rows]
    first = min([1, *(int(index) for row in pairs for index, _ in row)])
    for row, values in zip(pairs, found[0], strict=True):
        expected = np.zeros(len(values), np.float32)
        for index, value in row:
            expected[int(index) - first] = float(value)
        assert np.array_equal(values, expected, equal_nan=True)
