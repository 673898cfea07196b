"""Where the intervals of --arrangement piecewise begin and end."""

from __future__ import annotations

import numpy as np
import pytest

from hvd_train.config import InputConfig, ModelConfig
from hvd_train.errors import ConfigError
from hvd_train.models.piecewise import LEAST_REPEATS, edges_of, intervals

N = 800


def edges(column: np.ndarray, values: int) -> np.ndarray:
    rows_NF = column[:, None]
    return edges_of(rows_NF, rows_NF, ModelConfig(piecewise_bins=8, piecewise_values=values).inputs)[0]


@pytest.mark.parametrize(
    ("num_values", "most", "has_each"),
    [
        (100, 1000, True),
        (101, 1000, False),
        (100, 100, True),
        (100, 99, False),
        (100, 0, False),
        (9, 1000, True),
        (8, 1000, False),
    ],
)
def test_a_column_whose_values_repeat_has_an_interval_for_each(num_values: int, most: int, has_each: bool) -> None:
    assert N // LEAST_REPEATS == 100
    column = np.random.default_rng(0).permutation(np.arange(N) % num_values) / 7
    found = edges(column, most)
    if has_each:
        assert np.unique(found) == pytest.approx(np.arange(num_values) / 7)
    else:
        assert found.tolist() == np.quantile(column, np.linspace(0, 1, 9)).tolist()


@pytest.mark.parametrize(("transform", "whiten"), [("standard", False), ("quantile", False), ("standard", True)])
def test_what_repeats_is_counted_in_the_table_and_not_in_what_cpus_may_round(transform: str, whiten: bool) -> None:
    """Ranks on CPUs of several kinds have as many intervals. Whitened columns are of several, and repeat nowhere."""
    rows_NF = (np.arange(N) % 50)[:, None] / 7
    rounded_NF = rows_NF + np.random.default_rng(0).uniform(0, 1e-6, (N, 1))
    inputs = InputConfig(piecewise_bins=8, piecewise_values=1000, transform=transform, whiten=whiten)  # type: ignore[arg-type]
    found = edges_of(rows_NF, rounded_NF, inputs)
    assert found.shape == ((1, 9) if whiten else (1, 50))
    if not whiten:
        assert found[0] == pytest.approx(np.arange(50) / 7, abs=1e-5)


def test_columns_of_other_lengths_stand_side_by_side() -> None:
    """Repeated values with some missing ones, a column of any values, a constant, and an indicator of the missing ones."""
    repeated = np.arange(N) % 60
    rows_NF = np.stack([np.where(repeated == 7, np.nan, repeated), np.linspace(0, 1, N), np.ones(N)], axis=1)
    x_NF = np.column_stack([np.nan_to_num(rows_NF, nan=29.5), repeated == 7])
    found = edges_of(rows_NF, x_NF, ModelConfig(piecewise_bins=8, piecewise_values=1000).inputs)
    slopes, _, _, _ = intervals(found)
    assert found.shape == (4, 60)
    assert (np.diff(found) >= 0).all()
    assert [np.count_nonzero(each) for each in slopes] == [59, 8, 0, 1]


def test_any_function_of_the_values_is_a_sum_of_the_intervals() -> None:
    """Eight intervals of equally many rows cannot say which of 60 values a row has."""
    rng = np.random.default_rng(0)
    column = rng.permutation(np.arange(N) % 60).astype(np.float64)
    labels = rng.normal(size=60)[column.astype(int)]
    left = []
    for most in (1000, 0):
        slopes, starts, low, high = intervals(edges(column, most)[None])
        shares_NB = np.clip(column[:, None] * slopes[0] + starts[0], low[0], high[0])
        whole = np.column_stack([shares_NB, np.ones(N)])
        left.append(np.std(labels - whole @ np.linalg.lstsq(whole, labels, rcond=None)[0]))
    assert left[0] < 1e-4 < 0.5 < left[1]


def test_no_negative_number_of_values() -> None:
    with pytest.raises(ConfigError, match="piecewise_values = -1 is not possible"):
        ModelConfig(piecewise_values=-1)
