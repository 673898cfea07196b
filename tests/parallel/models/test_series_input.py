"""Series as input: normalised one by one in any unit, with zeros where a value is missing or padding."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from hvd_train.config import ModelConfig
from hvd_train.data.statistics import RunningStatistics
from hvd_train.models.inputs import InputSpec, positions_and_channels, positions_and_mask
from hvd_train.models.seeds import Seeds
from hvd_train.models.series.input import mask_of, prepared_series

L, C = 7, 2
NAN = float("nan")


def prepared(x_NF: np.ndarray, layout: tuple[int, int] = (L, C)) -> np.ndarray:
    rows = keras.Input((x_NF.shape[1],))
    return np.array(keras.Model(rows, prepared_series(rows, layout))(x_NF.astype(np.float32)))


def some_rows(lengths: list[int], seed: int = 0) -> np.ndarray:
    """(N, C * L) of series of these lengths."""
    x_NCL = np.random.default_rng(seed).normal(3, 2, (len(lengths), C, L))
    for x_CL, length in zip(x_NCL, lengths, strict=True):
        x_CL[:, length:] = NAN
    return x_NCL.reshape(len(lengths), -1)


def test_each_channel_of_each_series_has_mean_0_and_deviation_1_without_its_padding() -> None:
    rows = some_rows([7, 3, 5])
    rows[0, 2] = rows[2, L + 1] = NAN
    found = prepared(rows)
    x_NCL = rows.reshape(3, C, L)
    expected = (x_NCL - np.nanmean(x_NCL, 2, keepdims=True)) / np.nanstd(x_NCL, 2, keepdims=True)
    assert found[:, :-1] == pytest.approx(np.nan_to_num(expected).reshape(3, -1), abs=1e-5)
    assert (found[:, :-1][np.isnan(rows)] == 0).all()
    assert found[:, -1].tolist() == [7, 3, 5]


@pytest.mark.parametrize(("factor", "offset"), [(1e-30, 0), (1e30, 0), (1, 4096), (-3, 2)])
def test_the_unit_and_the_offset_of_a_series_change_nothing(factor: float, offset: float) -> None:
    rows = np.round(some_rows([7, 4]) * 64) / 64  # so that the offset loses no digit
    found, other = prepared(rows), prepared(rows * factor + offset)
    found[:, :-1] *= np.sign(factor)
    assert other == pytest.approx(found, abs=2e-5)


def test_constant_and_empty_channels_are_zero() -> None:
    rows = np.full((3, C * L), 0.1)
    rows[1, L:] = NAN
    rows[2] = NAN
    found = prepared(rows)
    assert (found[:, :-1] == 0).all()
    assert found[:, -1].tolist() == [7, 7, 0]


def test_a_series_ends_where_no_channel_goes_on() -> None:
    rows = np.full((1, C * L), NAN)
    rows[0, :3], rows[0, L : L + 5] = [1, 2, 3], [1, 2, NAN, 4, 5]
    rows[0, L + 5] = NAN
    found = prepared(rows)
    assert found[0, -1] == 5
    assert np.asarray(mask_of(found, L))[0, :, 0].tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_the_network_sees_positions_and_channels() -> None:
    rows = some_rows([7, 4])
    x = keras.Input((C * L,))
    spec = InputSpec(np.zeros(C * L), np.ones(C * L), (L, C))
    model = keras.Model(x, positions_and_channels(x, ModelConfig(transform="series").inputs, spec, Seeds(0, 0)))
    found = np.asarray(model(rows.astype(np.float32)))
    expected = prepared(rows)[:, :-1].reshape(2, C, L).transpose(0, 2, 1)
    assert np.array_equal(found, expected)


def test_by_channel_the_whole_train_split_has_mean_0_and_deviation_1() -> None:
    """Its padding and missing values are zero, and how large a series is stays."""
    rows = some_rows([7, 3, 5])
    rows[0, 2] = NAN
    rows[:, L:] *= 1000
    statistics = RunningStatistics(C * L)
    statistics.add(rows.astype(np.float32))
    mean, std = statistics.result().of_channels(3, C)
    x = keras.Input((C * L,))
    inputs = ModelConfig(transform="channel").inputs
    positions, mask = positions_and_mask(x, inputs, InputSpec(mean, std, (L, C)), Seeds(0, 0))
    found, kept = (np.asarray(part) for part in keras.Model(x, [positions, mask])(rows.astype(np.float32)))
    assert kept.sum(axis=(1, 2)).tolist() == [7, 3, 5]
    x_NCL = rows.reshape(3, C, L)
    assert (found[np.isnan(x_NCL).transpose(0, 2, 1)] == 0).all()
    middle, spread = np.nanmean(x_NCL, axis=(0, 2)), np.nanstd(x_NCL, axis=(0, 2))
    expected = (x_NCL - middle[None, :, None]) / spread[None, :, None]
    assert found == pytest.approx(np.nan_to_num(expected).transpose(0, 2, 1), abs=1e-5)
