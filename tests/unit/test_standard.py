"""Standardised columns do not depend on the unit: by a power of two not by a bit, by another factor by rounding alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvd_train.data.standard import Standard
from hvd_train.data.statistics import RunningStatistics


def standardised(rows: np.ndarray) -> np.ndarray:
    statistics = RunningStatistics(rows.shape[1])
    statistics.add(rows)
    result = statistics.result()
    return Standard.of(result.mean, result.std).apply(rows)


def column(at: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(at, 1, (500, 1)).astype(np.float32)


@given(st.integers(-100, 100), st.floats(-1e4, 1e4), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_a_power_of_two_changes_no_bit(exponent: int, at: float, seed: int) -> None:
    rows = column(at, seed)
    scaled = np.ldexp(rows, exponent)
    assert standardised(scaled).tobytes() == standardised(rows).tobytes()


@given(st.floats(-30, 30), st.floats(-100, 100), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
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
