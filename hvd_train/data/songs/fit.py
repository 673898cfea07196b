"""Finds the numbers of the model of synthetic songs from the published figures: `python -m hvd_train.data.songs.fit`.

Targets: the published means, standard deviations, correlations and songs per year; a linear regression with an RMSE of 9.6
years; a best possible RMSE of 8.7 years. Not needed to use the package: its result ships as tables/songs_model.npz.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from hvd_train.data.schema import NUM_SONG_TIMBRES as T
from hvd_train.data.schema import SONG_YEARS
from hvd_train.data.songs.model import PAIRS, Array, SongModel, symmetric
from hvd_train.data.songs.published_statistics import TABLES, Published, load_published

LINEAR_RMSE, BEST_RMSE = 9.6, 8.7
NUM_SAMPLES = 40_000
NUM_TURNS = 7
_YEARS = np.array(SONG_YEARS, np.float64)
log = logging.getLogger(__name__)


def fit(published: Published) -> SongModel:
    """Adjust the two strengths of the signal and the moments in turn until all targets are met."""
    linear, hidden = 1.12, 0.31
    model = start_model(published, linear, hidden)
    for turn in range(NUM_TURNS):
        model = with_signal(model, published, linear, hidden)
        model = match_moments(model, published, num_turns=15 if turn == 0 else 4)
        v, years = draw(model, np.random.default_rng(1))
        linear_rmse = regression_rmse(model.features(v), years)
        best_rmse = float(np.sqrt(np.mean((model.posterior_of_v(v) @ _YEARS - years) ** 2)))
        log.info("turn %d: linear %.4f best %.4f (%.4f, %.4f)", turn, linear_rmse, best_rmse, linear, hidden)
        spread = float(np.std(years))
        linear *= _ratio(LINEAR_RMSE, linear_rmse, spread)
        # The best RMSE hardly moves with the hidden signal, so the signal must move much.
        hidden *= _ratio(BEST_RMSE, best_rmse, spread) ** 4
    return model


def start_model(published: Published, linear: float, hidden: float) -> SongModel:
    """A model with the published moments to first order."""
    noise = published.correlation - np.outer(published.year_correlation, published.year_correlation)
    values, vectors = np.linalg.eigh(noise)
    mixing = vectors * np.sqrt(np.maximum(values, 0.02))
    center = np.zeros((T, T))
    center[PAIRS[:, 0], PAIRS[:, 1]] = center[PAIRS[:, 1], PAIRS[:, 0]] = published.mean[T:]
    scales, scale_share = np.array([0.9, 1.1, 1.8]), np.array([0.68, 0.28, 0.04])
    scales = scales / np.sqrt((scales**2) @ scale_share)
    blank = np.zeros((2, len(SONG_YEARS), 5))
    # The direction along which the published correlations with the year lie, then others at random.
    first = np.linalg.solve(mixing, published.year_correlation)
    others = np.random.default_rng(0).standard_normal((len(noise), blank.shape[2] - 1))
    directions, _ = np.linalg.qr(np.column_stack([first, others]))
    directions[:, 0] *= np.sign(directions[:, 0] @ first)
    return SongModel(
        year_share=published.year_counts / published.year_counts.sum(),
        signal=blank,
        signal_directions=directions,
        scales=scales,
        scale_share=scale_share,
        artist_share=np.array(0.4),
        mixing=mixing,
        mean=published.mean[:T].copy(),
        # exp() adds spread of its own
        spread=published.std * np.where(np.arange(len(published.std)) < T, 1.0, 0.5),
        center=center,
    )


def with_signal(model: SongModel, published: Published, linear: float, hidden: float) -> SongModel:
    """The model with signals of these strengths: one linear in the year, three curved, one whose sign is the genre's."""
    share = model.year_share
    z = _YEARS - share @ _YEARS
    z /= np.sqrt(share @ z**2)
    rank = np.cumsum(share) - share / 2
    curved: list[Array] = [np.ones_like(z), z]
    for candidate in (z**2, np.cos(2 * np.pi * rank), np.cos(3 * np.pi * rank)):
        rest = candidate.astype(np.float64)
        for known in curved:  # so that no linear model sees it
            rest = rest - (share @ (rest * known)) / (share @ known**2) * known
        curved.append(rest / np.sqrt(share @ rest**2))
    first = np.linalg.solve(model.mixing, published.year_correlation)
    by_genre = np.tanh(z)
    columns = [
        linear * np.linalg.norm(first) * z,
        *(hidden * weight * c for weight, c in zip((0.6, 0.5, 0.4), curved[2:], strict=True)),
    ]
    genres = [np.column_stack([*columns, sign * hidden * by_genre]) for sign in (1.0, -1.0)]
    return replace(model, signal=np.stack(genres))


def draw(model: SongModel, random: np.random.Generator, count: int = NUM_SAMPLES) -> tuple[Array, Array]:
    """v (N, F) and the year (N,) of independent songs."""
    k = random.choice(len(_YEARS), count, p=model.year_share)
    genre = random.integers(0, len(model.signal), count)
    scale = random.choice(model.scales, count, p=model.scale_share)
    v = random.standard_normal((count, len(model.mixing))) * scale[:, None]
    return v + model.signal[genre, k] @ model.signal_directions.T, _YEARS[k]


def match_moments(model: SongModel, published: Published, num_turns: int) -> SongModel:
    """Adjust mean, spread and center until the features have the published means and standard deviations."""
    wanted = np.linalg.cholesky(symmetric(published.mean[None, T:])[0])
    for _ in range(num_turns):
        v, _ = draw(model, np.random.default_rng(2))
        features = model.features(v)
        mean, std = features.mean(0), features.std(0)
        # The mean of C g(H) C' is C W C'; this C makes it the published one, as far as W stays as it is.
        inverse = np.linalg.inv(np.linalg.cholesky(model.center))
        inner = np.linalg.cholesky(inverse @ symmetric(mean[None, T:])[0] @ inverse.T)
        root = wanted @ np.linalg.inv(inner)
        model = replace(
            model,
            mean=model.mean + published.mean[:T] - mean[:T],
            spread=model.spread * np.clip((published.std / std) ** 0.7, 0.7, 1.4),
            center=root @ root.T,
        )
    return model


def regression_rmse(features: Array, years: Array) -> float:
    """RMSE in years of ordinary least squares on the second half of the rows, fitted on the first."""
    half = len(years) // 2
    design = np.column_stack([np.ones(len(years)), (features - features.mean(0)) / features.std(0)])
    weights, *_ = np.linalg.lstsq(design[:half], years[:half], rcond=None)
    return float(np.sqrt(np.mean((design[half:] @ weights - years[half:]) ** 2)))


def _ratio(wanted: float, got: float, spread: float) -> float:
    """How to change a signal's strength so that the share of variance it explains is the wanted one."""
    explained = [max(1e-3, 1 - (rmse / spread) ** 2) for rmse in (wanted, got)]
    return float(np.clip(np.sqrt(explained[0] / explained[1]), 0.8, 1.25))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fit(load_published()).save(TABLES / "songs_model.npz")
