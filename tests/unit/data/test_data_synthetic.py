"""Synthetic songs: like the published figures, and with a posterior that is right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from data_helpers import all_rows, sections

from hvd_train.data import Dataset, prepare
from hvd_train.data.conversion.converter import convert_table
from hvd_train.data.schema import NUM_OFFICIAL_TRAIN_SONGS, SONG_FEATURES, SONG_YEARS, Columns
from hvd_train.data.songs.fit import draw, regression_rmse
from hvd_train.data.songs.model import PAIRS, SongModel
from hvd_train.data.songs.optimum import best_figures
from hvd_train.data.songs.published_statistics import load_published
from hvd_train.data.songs.table import SyntheticSongs

MODEL, PUBLISHED = SongModel.load(), load_published()
YEARS = np.array(SONG_YEARS)
ALL = Columns(("year", *SONG_FEATURES), tuple(range(1, 91)), 0)


def generated(num_songs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, SyntheticSongs]:
    table = SyntheticSongs(num_songs, seed)
    chunks = list(table.chunks(ALL))
    return np.concatenate([c.features for c in chunks]), np.concatenate([c.labels for c in chunks]), table


@pytest.fixture(scope="module")
def songs() -> tuple[np.ndarray, np.ndarray, SyntheticSongs]:
    return generated(12_000)


@pytest.mark.slow
def test_they_look_like_the_published_songs() -> None:
    v, years = draw(MODEL, np.random.default_rng(5), 24_000)  # independent songs: artists would add noise of their own
    features = MODEL.features(v)
    assert np.abs((features.mean(0) - PUBLISHED.mean) / PUBLISHED.std).max() < 0.05
    assert np.abs(features.std(0) / PUBLISHED.std - 1).max() < 0.15
    correlation = np.corrcoef(features, rowvar=False)
    assert np.abs(correlation - PUBLISHED.correlation).mean() < 0.04
    with_year = [np.corrcoef(column, years)[0, 1] for column in features.T]
    assert np.abs(with_year - PUBLISHED.year_correlation).max() < 0.05
    tails = np.abs((features - features.mean(0)) / features.std(0)).max(0)
    assert tails[:12].min() > 5
    assert np.median(tails[12:]) > 10


@pytest.mark.slow
def test_a_linear_model_sees_half_of_what_can_be_seen() -> None:
    v, years = draw(MODEL, np.random.default_rng(6), 24_000)
    best = np.sqrt(np.mean((MODEL.posterior_of_v(v[:8000]) @ YEARS - years[:8000]) ** 2))
    assert regression_rmse(MODEL.features(v), years) == pytest.approx(9.6, abs=0.2)
    assert best == pytest.approx(8.7, abs=0.2)


def test_years_have_their_published_shares(songs: tuple[np.ndarray, np.ndarray, SyntheticSongs]) -> None:
    shares = PUBLISHED.year_counts / PUBLISHED.year_counts.sum()
    assert PUBLISHED.year_counts.sum() == 515_345
    assert PUBLISHED.year_counts[1] == 0
    found = np.bincount(songs[1].astype(int) - 1922, minlength=90)
    assert found[1] == 0
    assert found[-1] <= 3  # artists' times are reflected at the ends of the century, not heaped up there
    decades = np.add.reduceat(found, range(8, 90, 10)) / len(songs[1])
    # Artists' songs lie near each other in time, so the error is that of the artists, not of the songs.
    assert np.abs(decades - np.add.reduceat(shares, range(8, 90, 10))).max() < 0.05


def test_covariances_are_positive_definite_in_float32(songs: tuple[np.ndarray, np.ndarray, SyntheticSongs]) -> None:
    matrices = np.empty((len(songs[0]), 12, 12))
    matrices[:, PAIRS[:, 0], PAIRS[:, 1]] = matrices[:, PAIRS[:, 1], PAIRS[:, 0]] = songs[0][:, 12:]
    assert np.linalg.eigvalsh(matrices).min() > 0.1


def test_features_can_be_inverted() -> None:
    v, _ = draw(MODEL, np.random.default_rng(0), 500)
    features = MODEL.features(v)
    np.testing.assert_allclose(MODEL.invert(features), v, atol=1e-9)
    np.testing.assert_allclose(MODEL.invert(features.astype(np.float32).astype(np.float64)), v, atol=1e-3)
    np.testing.assert_allclose(MODEL.posterior(features.astype(np.float32)), MODEL.posterior_of_v(v), atol=1e-4)


def brute_force(model: SongModel, v: np.ndarray) -> np.ndarray:
    """p(year | delta) by full 90-dimensional Gaussian densities of delta = mixing @ v, one at a time."""
    covariances = [scale**2 * model.mixing @ model.mixing.T for scale in model.scales]
    inverses = [np.linalg.inv(covariance) for covariance in covariances]
    log_volumes = [np.linalg.slogdet(covariance)[1] for covariance in covariances]
    posterior = np.zeros((len(v), len(YEARS)))
    for i, delta in enumerate(v @ model.mixing.T):
        for k, prior in enumerate(model.year_share):
            for signal in model.signal[:, k]:
                middle = model.mixing @ (model.signal_directions @ signal)
                away = delta - middle
                for inverse, log_volume, share in zip(inverses, log_volumes, model.scale_share, strict=True):
                    log = -0.5 * (away @ inverse @ away + log_volume)
                    posterior[i, k] += prior / 2 * share * math.exp(log)
    return posterior / posterior.sum(1, keepdims=True)


def test_posterior_and_best_figures_equal_brute_force() -> None:
    v, years = draw(MODEL, np.random.default_rng(3), 4)
    fast, slow = MODEL.posterior(MODEL.features(v)), brute_force(MODEL, v)
    np.testing.assert_allclose(fast, slow, rtol=1e-6, atol=1e-12)
    labels = (years - 1922).astype(np.int32)
    figures = best_figures(slow, YEARS, labels)
    losses = np.abs(YEARS[:, None] - YEARS[None, :])
    choices = {
        "accuracy": (losses > 0, lambda miss: 1 - miss.mean()),
        "within_5": (losses > 5, lambda miss: 1 - miss.mean()),
        "mae": (losses, lambda miss: miss.mean()),
    }
    for name, (loss, figure) in choices.items():
        chosen = (slow @ loss).argmin(1)  # the year with the least expected loss, tried one by one
        assert figures[name] == pytest.approx(figure(loss[chosen, labels])), name
    grid = np.linspace(1922, 2011, 200_001)
    means = [grid[np.argmin((grid**2) * p.sum() - 2 * grid * (p @ YEARS))] for p in slow]
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((np.array(means) - years) ** 2)), abs=1e-3)


@pytest.mark.slow
def test_the_posterior_is_calibrated() -> None:
    v, years = draw(MODEL, np.random.default_rng(9), 10_000)
    posterior = MODEL.posterior_of_v(v)
    hits = posterior.argmax(1) == years - 1922
    assert hits.mean() == pytest.approx(posterior.max(1).mean(), abs=0.008)
    early = posterior[:, : 1985 - 1922].sum(1)
    for low, high in [(0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1)]:
        inside = (early >= low) & (early < high)
        assert np.mean(years[inside] < 1985) == pytest.approx(early[inside].mean(), abs=0.03)


def test_fewer_songs_are_the_first_of_more_and_seeds_differ() -> None:
    few, more = generated(1200), generated(3000)
    assert np.array_equal(few[0], more[0][:1200])
    assert np.array_equal(few[1], more[1][:1200])
    assert not np.array_equal(generated(1200, seed=1)[1], few[1])


def test_artists_share_an_effect_and_are_on_one_side_of_a_split(
    songs: tuple[np.ndarray, np.ndarray, SyntheticSongs],
) -> None:
    features, years, table = songs
    starts = np.array([*table._artist_starts, len(years)])
    artist = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    noise = (
        MODEL.invert(features[:6000].astype(np.float64))
        @ np.linalg.qr(np.random.default_rng(0).normal(size=(90, 5)))[0]
    )
    same = artist[:5999] == artist[1:6000]
    alike = [np.corrcoef(noise[:-1][pick, 0], noise[1:][pick, 0])[0, 1] for pick in (same, ~same)]
    assert alike[0] == pytest.approx(float(MODEL.artist_share), abs=0.1)
    assert abs(alike[1]) < 0.25
    apart = np.abs(np.diff(years))
    same_artist = np.diff(artist) == 0
    assert apart[same_artist].mean() < 0.6 * apart[~same_artist].mean()
    for row in (0, 1, 5000, 11_999):
        assert artist[table.first_of_group(row)] == artist[row]
        assert table.first_of_group(row) == 0 or artist[table.first_of_group(row) - 1] == artist[row] - 1


def test_an_artist_ends_where_the_official_split_is() -> None:
    table = SyntheticSongs(1000)
    sizes, _, _ = table._draw(0, NUM_OFFICIAL_TRAIN_SONGS - 900)
    assert NUM_OFFICIAL_TRAIN_SONGS in NUM_OFFICIAL_TRAIN_SONGS - 900 + np.cumsum(sizes)


def test_the_embedded_songs_know_their_optimum(tmp_path: Path) -> None:
    config = sections(cache_dir=tmp_path, num_songs=3000)
    dataset = Dataset.open(prepare(*config))
    assert sum(dataset.num_rows(split) for split in ("train", "val", "test")) == 3000
    rows = dataset.load("test", range(dataset.num_virtual_shards))
    assert dataset.optimum("test") == best_figures(MODEL.posterior(rows.features), YEARS, rows.labels)
    assert dataset.optimum("train") is None
    table = SyntheticSongs(3000)
    features, labels, _ = generated(3000)
    assert np.array_equal(all_rows(dataset)[0], features)
    assert np.array_equal(all_rows(dataset)[1] + 1922, labels)
    directory = convert_table(table, tmp_path / "again", *sections(cache_dir=tmp_path, drop=("avg_1",)))
    assert Dataset.open(directory).optimum("test") is None  # without all features another would be best
    ends = [
        rows.row_ids.min() for rows in (dataset.load(s, range(dataset.num_virtual_shards)) for s in ("val", "test"))
    ]
    assert all(table.first_of_group(int(end)) == end for end in ends)
