"""Balance: promised shares, the same rows for any number of ranks, turns; loss weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import converted

from hvd_train.config import SamplingConfig
from hvd_train.data import Dataset, own_shards
from hvd_train.data.balance import (
    balanced_shares,
    class_weights,
    draws_per_epoch,
    label_shares,
    loss_weights,
    make_plan,
    smoothed_counts,
)
from hvd_train.data.plan import EpochPlan
from hvd_train.errors import ConfigError


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Few early years, many late ones: from 5 to 1600 rows a year."""
    path = tmp_path_factory.mktemp("balance")
    rng = np.random.default_rng(0)
    counts = np.array([5, 9, 0, 30, 100, 300, 900, 1600])
    years = rng.permutation(np.repeat(1990 + np.arange(8), counts))
    pd.DataFrame({"year": years, "x": rng.normal(size=len(years))}).to_csv(path / "t.csv", index=False)
    return converted(path / "t.csv", path / "out", num_virtual_shards=12)


def drawn(dataset: Dataset, plan: EpochPlan, epoch: int, size: int) -> np.ndarray:
    """Row ids (steps, global batch), rank after rank."""
    parts = []
    for rank in range(size):
        shards = own_shards(rank, size, dataset.num_virtual_shards)
        rows = dataset.load("train", shards)
        parts.append(rows.row_ids[plan.order(epoch, shards, rows.shard_starts, labels=rows.labels)])
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("evenness", [0.0, 0.5, 1.0])
def test_each_year_gets_its_promised_share_for_any_number_of_ranks(songs: Dataset, evenness: float) -> None:
    config = SamplingConfig(balance="repeat", balance_evenness=evenness)
    plan = make_plan(songs, config, seed=3, rows_per_shard_step=5)
    rows = songs.load("train", range(12))
    label_of = dict(zip(rows.row_ids.tolist(), rows.labels.tolist(), strict=True))
    shares, num_epochs = label_shares(songs, config), 8
    counted = np.zeros(8)
    for epoch in range(num_epochs):
        alone = drawn(songs, plan, epoch, 1)
        for size in (2, 4):
            assert np.array_equal(drawn(songs, plan, epoch, size), alone)
        found = np.bincount([label_of[i] for i in alone.ravel()], minlength=8)
        # Each shard rounds each label by less than one row.
        assert np.abs(found - shares * alone.size).max() < 12
        counted += found
    assert np.abs(counted / num_epochs - shares * alone.size).max() < 12 / num_epochs + 1
    assert shares[2] == 0
    if evenness == 1:
        np.testing.assert_allclose(shares[shares > 0], 1 / 7)
    if evenness == 0:
        np.testing.assert_allclose(shares, songs.label_counts("train") / songs.num_rows("train"))


def test_rows_of_a_year_take_turns_equally(songs: Dataset) -> None:
    plan = make_plan(songs, SamplingConfig(balance="repeat"), seed=0, rows_per_shard_step=7)
    rows = songs.load("train", [4])
    times = np.zeros(len(rows.labels), np.int64)
    for epoch in range(25):
        times += np.bincount(plan.shard_order(epoch, 4, labels=rows.labels), minlength=len(times))
    for label in np.unique(rows.labels):
        assert np.ptp(times[rows.labels == label]) <= 1


def test_a_limit_on_repeats_holds_and_what_it_takes_goes_to_the_others(songs: Dataset) -> None:
    counts = songs.label_counts("train").astype(float)
    shares = balanced_shares(counts, evenness=1.0, max_repeats=4.0)
    assert shares.sum() == pytest.approx(1)
    assert (shares <= counts / counts.sum() * 4 + 1e-12).all()
    free = shares < counts / counts.sum() * 4 - 1e-9
    assert np.ptp(shares[free & (counts > 0)]) < 1e-12


def test_draws_meet_rows_and_columns_although_some_shards_lack_labels() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson([0.3, 1, 5, 60, 200], (16, 5))
    counts[:, 4] += 1
    shares = balanced_shares(counts.sum(0).astype(float), evenness=0.7)
    draws = draws_per_epoch(counts, shares, 250)
    np.testing.assert_allclose(draws.sum(1), 250, rtol=1e-12)
    np.testing.assert_allclose(draws.sum(0), shares * 250 * 16, rtol=1e-6)
    assert (draws[counts == 0] == 0).all()


def test_weights() -> None:
    counts = np.array([1.0, 10, 0, 1000])
    inverse = class_weights("inverse", counts)
    np.testing.assert_allclose(inverse[[0, 1, 3]] * counts[[0, 1, 3]], inverse[0])
    root = class_weights("sqrt-inverse", counts)
    assert root[0] / root[3] == pytest.approx(1000**0.5)
    effective = class_weights("effective-number", counts, effective_beta=0.99)
    assert effective[0] / effective[1] == pytest.approx((1 - 0.99**10) / (1 - 0.99))
    for weights in (inverse, root, effective):
        assert weights @ counts / counts.sum() == pytest.approx(1)
        assert weights[2] == 0


def test_smoothing_is_the_kernel_average_of_the_counts() -> None:
    counts, years, sigma = np.array([4, 0, 8, 100]), (1990, 1991, 1992, 1995), 1.5
    expected = [
        sum(c * np.exp(-((y - z) ** 2) / 2 / sigma**2) for c, z in zip(counts, years, strict=True))
        / sum(np.exp(-((y - z) ** 2) / 2 / sigma**2) for z in years)
        for y in years
    ]
    np.testing.assert_allclose(smoothed_counts(counts, years, sigma), expected)
    with pytest.raises(ConfigError, match="no neighbours"):
        smoothed_counts(counts, ("a", "b", "c", "d"), sigma)


def test_loss_weights_of_a_dataset_have_mean_one_over_its_rows(songs: Dataset) -> None:
    assert loss_weights(songs, SamplingConfig()) is None
    assert loss_weights(songs, SamplingConfig(balance="repeat")) is None
    counts = songs.label_counts("train")
    weights = loss_weights(songs, SamplingConfig(balance="inverse", lds_sigma=2.0))
    assert weights is not None
    assert weights @ counts / counts.sum() == pytest.approx(1, rel=1e-5)
    sharp = loss_weights(songs, SamplingConfig(balance="inverse"))
    assert sharp is not None
    assert sharp[0] / sharp[7] > weights[0] / weights[7] > 1


def test_values_cannot_be_balanced(tmp_path: Path) -> None:
    pd.DataFrame({"y": np.arange(99) / 7, "x": np.arange(99.0)}).to_csv(tmp_path / "t.csv", index=False)
    dataset = converted(tmp_path / "t.csv", tmp_path / "out")
    with pytest.raises(ConfigError, match="values"):
        make_plan(dataset, SamplingConfig(balance="repeat"), seed=0, rows_per_shard_step=1)
