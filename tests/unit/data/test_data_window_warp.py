"""Window warping: one warp in plain loops, the same for a row in any batch, and what becomes of ends and of missing values."""

from __future__ import annotations

import numpy as np
import pytest
from data_helpers import converted
from hypothesis import given
from hypothesis import strategies as st
from series_files import some_series, ts_text, write

from hvd_train.config import SamplingConfig
from hvd_train.data.augment import Augmentation, require_possible_augmentation
from hvd_train.data.series.lengths import lengths_of
from hvd_train.data.series.window_warp import warped
from hvd_train.errors import ConfigError

L, C = 40, 2
ALWAYS = 1.0


def rows_of(lengths: list[int], seed: int = 0) -> np.ndarray:
    """(N, C * L) of series of these lengths."""
    x_NCL = np.random.default_rng(seed).normal(3, 2, (len(lengths), C, L)).astype(np.float32)
    for x_CL, length in zip(x_NCL, lengths, strict=True):
        x_CL[:, length:] = np.nan
    return x_NCL.reshape(len(lengths), -1)


def numbers(num_rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.001, 0.999, (num_rows, 3)).astype(np.float32)


def by_hand(channel: np.ndarray, place: float, factor: float) -> np.ndarray:
    """One whole channel: where each old value lies in the new time, then straight lines between them."""
    last = len(channel) - 1
    window = 0.1 * last
    begin = place * (last - window)
    times = sorted({*range(len(channel)), begin, begin + window})
    new_times = []
    for time in times:
        if time <= begin:
            new_times.append(time)
        elif time <= begin + window:
            new_times.append(begin + (time - begin) * factor)
        else:
            new_times.append(time + window * (factor - 1))
    values = np.interp(times, range(len(channel)), channel)
    return np.interp(range(len(channel)), np.array(new_times) / new_times[-1] * last, values)


@pytest.mark.parametrize(("drawn", "factor"), [(0.2, 0.5), (0.8, 2.0)])
def test_a_window_of_a_tenth_is_squeezed_or_stretched_as_by_hand(drawn: float, factor: float) -> None:
    lengths = [40, 25, 11, 2]
    rows = rows_of(lengths)
    u = np.array([[0.5, place, drawn] for place in (0.3, 0.99, 0.01, 0.5)], np.float32)
    found = warped(rows, (L, C), u, ALWAYS)
    assert found.dtype == np.float32
    for row, before, length, place in zip(found, rows, lengths, u[:, 1], strict=True):
        for channel, old in zip(row.reshape(C, L), before.reshape(C, L), strict=True):
            np.testing.assert_allclose(channel[:length], by_hand(old[:length], place, factor), rtol=1e-4, atol=1e-4)
            assert np.isnan(channel[length:]).all()
    assert not np.allclose(found[0], rows[0])


def test_the_share_of_the_rows_that_is_warped_is_the_probability() -> None:
    rows = rows_of([40] * 2000)
    u = numbers(len(rows))
    found = warped(rows, (L, C), u, 0.3)
    changed = (found != rows).any(1)
    assert np.array_equal(changed, u[:, 0] < 0.3)
    assert rows.tobytes() == rows_of([40] * 2000).tobytes(), "the rows themselves were changed"


def test_ends_stay_where_they_are_and_no_value_is_new() -> None:
    """Also of series of one value and of none, and at the limits of 32-bit floats."""
    lengths = [40, 17, 3, 2, 1, 0]
    rows = rows_of(lengths)
    rows[0, :L] = np.where(np.arange(L) % 2, 3.4e38, -3.4e38)
    rows[1, L : L + 17] = 0.1
    for seed in range(50):
        found = warped(rows, (L, C), numbers(len(rows), seed), ALWAYS)
        assert lengths_of(found, (L, C)).tolist() == lengths
        for row, before, length in zip(found.reshape(-1, C, L), rows.reshape(-1, C, L), lengths, strict=True):
            assert np.array_equal(np.isnan(row), np.isnan(before))
            assert (row[:, :length] >= before[:, :length].min(1, initial=np.inf, keepdims=True)).all()
            assert (row[:, :length] <= before[:, :length].max(1, initial=-np.inf, keepdims=True)).all()
            if length:
                np.testing.assert_allclose(row[:, [0, length - 1]], before[:, [0, length - 1]], rtol=1e-4)
        # Rounding makes no variation of a constant channel: normalising would make noise of it.
        assert (found[1, L : L + 17] == np.float32(0.1)).all()


def test_a_value_is_missing_where_the_nearest_old_one_is() -> None:
    """A channel may begin late, end early, or lack values in between; the series ends where its last channel does."""
    rows = rows_of([40])
    rows[0, 10:14] = rows[0, L + 30 : L + 40] = np.nan
    old_times = np.arange(L, dtype=np.float32)
    times = np.concatenate([old_times, old_times])[None]
    for seed in range(50):
        u = numbers(1, seed)
        found = warped(rows, (L, C), u, ALWAYS)[0]
        old = warped(times, (L, C), u, ALWAYS)[0]  # warping the time itself tells where each value comes from
        nearest = np.rint(old).astype(int) + np.repeat([0, L], L)
        decided = np.abs(np.abs(old - np.rint(old)) - 0.5) > 1e-4
        assert np.array_equal(np.isnan(found)[decided], np.isnan(rows[0, nearest])[decided])
        assert lengths_of(found[None], (L, C)) == [40]


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 2**31 - 1))
def test_a_row_is_warped_alike_in_any_batch(num_rows: int, epoch: int, seed: int) -> None:
    """So the number of ranks, and a resumed run, change nothing."""
    rng = np.random.default_rng(seed)
    made = augmentation(window_warp=0.5)
    rows, ids = rows_of(rng.integers(5, 41, num_rows).tolist(), seed), rng.permutation(10**6)[:num_rows]
    targets = np.eye(num_rows, dtype=np.float32)
    whole, kept = made.apply(rows, targets, ids, epoch)
    order = rng.permutation(num_rows)
    assert np.array_equal(made.apply(rows[order], targets, ids[order], epoch)[0], whole[order], equal_nan=True)
    assert np.array_equal(made.apply(rows[:1], targets[:1], ids[:1], epoch)[0], whole[:1], equal_nan=True)
    assert kept is targets


def test_each_epoch_draws_other_windows_and_noise_leaves_padding() -> None:
    rows, ids = rows_of([40, 20] * 50), np.arange(100)
    targets = np.zeros(100, np.float32)
    one, other = (augmentation(window_warp=0.5).apply(rows, targets, ids, epoch)[0] for epoch in (0, 1))
    assert not np.array_equal(one, other, equal_nan=True)
    jittered, _ = augmentation(window_warp=0.5, noise=0.1, feature_dropout=0.1).apply(rows, targets, ids, 0)
    assert np.array_equal(np.isnan(jittered), np.isnan(rows))


def augmentation(**options: float) -> Augmentation:
    center, scale = np.zeros(C * L, np.float32), np.ones(C * L, np.float32)
    made = Augmentation.of(SamplingConfig(**options), seed=7, layout=(L, C), center=center, scale=scale)
    assert made is not None
    return made


def test_columns_without_an_order_are_not_warped(tmp_path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("".join(f"{i % 2},{i},{i * i}\n" for i in range(60)))
    table, warping = converted(path, tmp_path / "table"), SamplingConfig(window_warp=0.5)
    with pytest.raises(ConfigError, match=r"window_warp = 0\.5 is not possible: the rows are no series"):
        require_possible_augmentation(warping, table, False)
    require_possible_augmentation(warping, table, True)  # its user says that they are positions in time
    require_possible_augmentation(SamplingConfig(noise=0.5), table, False)
    series = converted(write(tmp_path / "a.ts", ts_text(*some_series(30, 2, (6, 8)))), tmp_path / "series")
    require_possible_augmentation(warping, series, False)
