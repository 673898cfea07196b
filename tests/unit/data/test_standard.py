"""Standardised columns do not depend on the unit: by a power of two not by a bit, by another factor by rounding alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import sections
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.data import Dataset, convert
from hvd_train.data.standardization import Standard
from hvd_train.data.statistics import RunningStatistics
from hvd_train.errors import DataError


def standardised(rows: np.ndarray) -> np.ndarray:
    statistics = RunningStatistics(rows.shape[1])
    statistics.add(rows)
    result = statistics.result()
    return Standard.of(result.mean, result.std).apply(rows)


def column(at: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(at, 1, (500, 1)).astype(np.float32)


@given(st.integers(-100, 100), st.floats(-1e4, 1e4), st.integers(0, 99))
def test_a_power_of_two_changes_no_bit(exponent: int, at: float, seed: int) -> None:
    rows = column(at, seed)
    scaled = np.ldexp(rows, exponent)
    assert standardised(scaled).tobytes() == standardised(rows).tobytes()


@given(st.floats(-30, 30), st.floats(-100, 100), st.integers(0, 99))
def test_any_other_factor_changes_rounding_alone(power: float, at: float, seed: int) -> None:
    rows = column(at, seed)
    scaled = (rows.astype(np.float64) * 10**power).astype(np.float32)
    # What float32 rounds off the scaled cells, in standard deviations.
    rounding = 2.0**-22 * (abs(at) + 5)
    assert standardised(scaled) == pytest.approx(standardised(rows), abs=rounding)


def test_nothing_is_lost_beside_a_large_mean() -> None:
    rows = np.random.default_rng(0).normal(1e8, 100, (4000, 1)).astype(np.float32)
    exact = rows.astype(np.float64)
    assert standardised(rows) == pytest.approx((exact - exact.mean()) / exact.std(), abs=1e-6)


@pytest.mark.parametrize("size", [1e-36, 1e-30, 1e-7, 1.0, 1e30, 1e38])
def test_every_size_that_float32_holds_comes_out_at_mean_0_and_deviation_1(size: float) -> None:
    for rows in (column(0.0) * np.float32(size / 8), np.linspace(-size, size, 100, dtype=np.float32)[:, None]):
        z = standardised(rows).astype(np.float64)
        assert (z.mean(), z.std()) == pytest.approx((0, 1), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e-38, 5e-20, -7.0, 3e38])
def test_a_constant_column_counts_for_nothing_whatever_it_holds_later(value: float) -> None:
    rows = np.full((50, 1), value, np.float32)
    statistics = RunningStatistics(1)
    statistics.add(rows)
    result = statistics.result()
    later = np.array([[0.0], [value], [1e-30], [-1e30]], np.float32)
    assert not Standard.of(result.mean, result.std).apply(later).any()


def told(tmp_path: Path, cells: np.ndarray, *, ends: str = "csv") -> tuple[Dataset, list[str]]:
    """A table of the column `odd` of these cells and a good one, converted."""
    table = pd.DataFrame({"year": np.arange(len(cells)) % 9 + 1990, "odd": cells, "good": np.arange(len(cells)) / 7})
    path = tmp_path / f"t.{ends}"
    if ends == "csv":
        table.to_csv(path, index=False)
    elif ends == "parquet":
        table.to_parquet(path)
    elif ends == "npz":
        np.savez(path, X=table[["odd", "good"]].to_numpy(), y=table["year"].to_numpy())
    else:
        path.write_text("".join(f"{y} 1:{odd!r} 2:{good!r}\n" for y, odd, good in table.to_numpy().tolist()))
    lines: list[str] = []
    return Dataset.open(convert(path, tmp_path / "out", *sections(), report=lines.append)), lines


NOISE = np.random.default_rng(0).normal(0, 1, 60)


@pytest.mark.parametrize("ends", ["csv", "parquet", "npz", "libsvm"])
def test_a_column_whose_variation_float32_cannot_hold_is_refused_by_name(tmp_path: Path, ends: str) -> None:
    """At 1e9, 32-bit floats are 64 apart: a standard deviation of 1 would be read as a constant."""
    name = "odd" if ends in ("csv", "parquet") else "column_2"
    with pytest.raises(DataError, match=rf"the column '{name}' runs from .*they are 64 apart.*Subtract an offset"):
        told(tmp_path, 1e9 + NOISE, ends=ends)


@pytest.mark.parametrize("cells", [1e-42 * NOISE, 1e-60 * NOISE, -(2.0**30) + NOISE])
def test_what_float32_takes_for_zero_or_a_constant_is_refused(tmp_path: Path, cells: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"the column 'odd'.*which 32-bit floats cannot tell apart"):
        told(tmp_path, cells)


@pytest.mark.parametrize(
    ("cells", "is_coarse"),
    [
        (np.where(NOISE > 0, 1e9, 1e9 + 64), True),  # two neighbours, held exactly
        (1e9 + 300 * NOISE, True),
        (1e9 + 2000 * NOISE, False),
        (1e-36 * NOISE, False),
        (np.full(60, 1e9 + 1), False),  # a constant is one however it is rounded
        (np.where(NOISE > 0, 0.0, 1.0), False),
    ],
)
def test_what_float32_holds_is_taken(tmp_path: Path, cells: np.ndarray, is_coarse: bool) -> None:
    _, lines = told(tmp_path, cells)
    assert any("precision of 32-bit floats" in line for line in lines) == is_coarse


def test_a_label_that_float32_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    pd.DataFrame({"energy": 1e9 + NOISE, "x": NOISE}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="the label 'energy' runs from .*Subtract an offset"):
        convert(tmp_path / "t.csv", tmp_path / "out", *sections())
