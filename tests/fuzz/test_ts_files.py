"""Files of series: made without a fault they are read right; damaged they are refused, or read as numbers."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
from fuzzing import fuzz
from reading import read_noted, same, small_blocks, with_note  # noqa: F401  # a fixture of every test here
from series_files import Series, dense, ts_text


def make_series(rng: random.Random) -> tuple[str, list[list[float | None]], list[str]]:
    """A file, its rows with None for what is missing, and its labels."""
    channels, longest = rng.randint(1, 3), rng.randint(1, 9)
    equal = rng.random() < 0.4
    series: list[Series] = []
    for _ in range(rng.choice([1, 3, 40])):
        length = longest if equal else rng.randint(1, longest)
        cells = [[rng.choice([rng.gauss(0, 1e3), 0.5, float(rng.randint(-9, 9)), math.nan]) for _ in range(length)] for _ in range(channels)]  # fmt: skip
        series.append(cells)
    labels = [rng.choice(["a", "b c", "1", "-x"]).replace(" ", "_") for _ in series]
    text = ts_text(series, labels)
    if rng.random() < 0.3:
        text = text.replace("?", rng.choice(["NaN", "nan", " ? "]))
    if rng.random() < 0.3:
        text = text.replace("@data\n", "@DATA\n# between\n\n")
    if rng.random() < 0.3:
        text = text.replace("\n", "\r\n")
    positions = max(len(one[0]) for one in series)
    rows = [[None if np.isnan(v) else float(v) for v in row] for row in dense(series, positions).astype(np.float64)]
    return text, rows, labels


def test_ts_files(tmp_path: Path) -> None:
    path = tmp_path / "t.ts"

    def make(rng: random.Random) -> bytes:
        text, rows, labels = make_series(rng)
        return with_note(rng, [rows, labels], text.encode())

    def check(data: bytes) -> str:
        found, expected, _ = read_noted(path, data, {"format": "ts"})
        if expected is not None:
            assert found is not None
            rows = [[math.nan if value is None else value for value in row] for row in expected[0]]
            same(found, rows, expected[1])
            return "right"
        if found is None:
            return "refused"
        assert not np.isinf(found[0]).any()
        assert len(found[0]) == len(found[1])
        return "read although damaged"

    fuzz("ts", make, check, suffix=".ts")
