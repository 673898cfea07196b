"""Augmentation drawn from (seed, epoch, row id), and target tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_train.config import SamplingConfig
from hvd_train.data.augment import Augmentation, Mixup, normals, uniforms
from hvd_train.data.targets import target_table, two_hot
from hvd_train.errors import ConfigError

SCALE = np.array([1, 10, 0, 0.1] * 5, np.float32)


def augmentation(**options: float) -> Augmentation:
    made = Augmentation.of(
        SamplingConfig(**options), seed=7, layout=(20, 1), center=np.zeros(20, np.float32), scale=SCALE
    )
    assert made is not None
    return made


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 2**31 - 1))
def test_a_row_is_augmented_alike_in_any_batch(num_rows: int, epoch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = augmentation(noise=0.3, feature_dropout=0.2)
    features, ids = rng.normal(size=(num_rows, 20)).astype(np.float32), rng.permutation(10**6)[:num_rows]
    targets = np.eye(num_rows, dtype=np.float32)
    whole, kept = made.apply(features, targets, ids, epoch)
    order = rng.permutation(num_rows)
    assert np.array_equal(made.apply(features[order], targets, ids[order], epoch)[0], whole[order])
    assert np.array_equal(made.apply(features[:1], targets[:1], ids[:1], epoch)[0], whole[:1])
    assert np.array_equal(kept, targets)
    assert whole.dtype == np.float32
    assert not np.array_equal(made.apply(features, targets, ids, epoch + 1)[0], whole)


def test_noise_and_dropout_have_the_asked_size() -> None:
    features, ids = np.full((20_000, 20), 3, np.float32), np.arange(20_000)
    noisy, _ = augmentation(noise=0.5).apply(features, features, ids, 2)
    np.testing.assert_allclose((noisy - 3).std(0), 0.5 * SCALE, rtol=0.03)
    np.testing.assert_allclose((noisy - 3).mean(0), 0, atol=0.02 * SCALE.max())
    dropped, _ = augmentation(feature_dropout=0.25).apply(features, features, ids, 2)
    assert set(np.unique(dropped)) == {0, 3}
    np.testing.assert_allclose((dropped == 0).mean(0), 0.25, atol=0.02)


def test_draws_are_uniform_normal_and_uncorrelated() -> None:
    u = uniforms(0, 1, 0, np.arange(50_000), 8)
    assert u.dtype == np.float32
    assert 0 < u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    counts = np.histogram(u, 50, (0, 1))[0]
    assert ((counts - 8000) ** 2 / 8000).sum() < 110  # chi-squared with 49 degrees: p about 1e-6
    z = normals(0, 1, 0, np.arange(50_000), 7)
    assert z.shape == (50_000, 7)
    assert abs((z**4).mean() - 3) < 0.1
    assert np.abs(np.corrcoef(z, rowvar=False) - np.eye(7)).max() < 0.02
    other = normals(0, 1, 1, np.arange(50_000), 7)
    assert abs(np.corrcoef(z.ravel(), other.ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(z[:-1].ravel(), z[1:].ravel())[0, 1]) < 0.01


def test_nothing_asked_is_nothing_done() -> None:
    assert Augmentation.of(SamplingConfig(), seed=0, layout=(20, 1), center=SCALE, scale=SCALE) is None


def test_mixup_stays_in_the_shard_and_near_the_label_for_any_number_of_ranks() -> None:
    rng = np.random.default_rng(0)
    sizes, starts = np.array([50, 60, 40]), np.array([0, 50, 110])
    values, ids = rng.integers(1990, 2010, 150).astype(float), rng.permutation(1000)[:150]
    mixup = Mixup(values, ids, starts, seed=1, alpha=0.4, distance=2.0)
    partners, weights = mixup.pairs(3, np.arange(150))
    shard = np.repeat([0, 1, 2], sizes)
    assert np.array_equal(shard[partners], shard)
    assert np.abs(values[partners] - values).max() <= 2
    assert len(np.unique(partners)) > 50
    assert weights.min() >= 0
    assert weights.max() <= 0.5
    alone = Mixup(values[50:110], ids[50:110], np.array([0]), seed=1, alpha=0.4, distance=2.0)
    own_partners, own_weights = alone.pairs(3, np.arange(60))
    assert np.array_equal(own_partners + 50, partners[50:110])
    assert np.array_equal(own_weights, weights[50:110])
    features, targets = rng.normal(size=(150, 20)).astype(np.float32), np.eye(150, dtype=np.float32)
    mixed, mixed_targets = augmentation(mixup_alpha=0.4).apply(
        features, targets, ids, 3, partner=(features[partners], targets[partners], weights)
    )
    w = weights[:, None]
    np.testing.assert_allclose(mixed, (1 - w) * features + w * features[partners], atol=1e-5)
    np.testing.assert_allclose(mixed_targets.sum(1), 1, atol=1e-6)


def test_mixup_weights_are_beta() -> None:
    mixup = Mixup(np.zeros(40_000), np.arange(40_000), np.array([0]), seed=0, alpha=0.3, distance=0)
    weights = mixup.pairs(0, np.arange(40_000))[1]
    expected = np.random.default_rng(0).beta(0.3, 0.3, 40_000)
    expected = np.minimum(expected, 1 - expected)
    np.testing.assert_allclose(np.quantile(weights, [0.2, 0.5, 0.8]), np.quantile(expected, [0.2, 0.5, 0.8]), atol=0.01)


YEARS = tuple(range(1922, 2012))


def test_target_tables() -> None:
    assert np.array_equal(target_table("one-hot", YEARS), np.eye(90))
    soft = target_table("gaussian", YEARS, sigma=2.0)
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
    middle = soft[45].astype(float)
    assert middle @ np.array(YEARS) == pytest.approx(YEARS[45], abs=1e-3)
    # A Gaussian gathered in bins of a year has a twelfth more variance.
    assert np.sqrt(middle @ (np.array(YEARS) - YEARS[45]) ** 2) == pytest.approx(np.sqrt(4 + 1 / 12), rel=1e-3)
    assert (soft.argmax(1) == np.arange(90)).all()
    pairs = target_table("two-hot", YEARS, step=5)
    np.testing.assert_allclose(pairs @ np.array(YEARS), YEARS, atol=1e-3)
    assert ((pairs > 0).sum(1) <= 2).all()
    assert set(np.flatnonzero(pairs.sum(0))) == {*range(0, 90, 5), 89}
    with pytest.raises(ConfigError, match="no neighbours"):
        target_table("gaussian", ("a", "b"))


def test_two_hot_of_values_outside_goes_to_the_ends() -> None:
    centers = np.array([0.0, 1, 3])
    table = two_hot(np.array([-1.0, 0.25, 2.0, 9]), centers)
    np.testing.assert_allclose(table, [[1, 0, 0], [0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1]])
