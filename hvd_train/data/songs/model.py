"""The distribution of synthetic songs, and the posterior over years that follows from it.

Shape letters: N songs, K years, F = 90 features, T = 12 timbres, P = 78 covariances, Q signal directions, G genres, S scales.

A song of year y is a point v in F dimensions,
    v = signal_directions @ signal[genre, y] + scale * (sqrt(share) * artist + sqrt(1 - share) * own),
with `artist` and `own` standard normal, the genre hidden, and the scale drawn per artist (so tails are heavy). Its
features are a smooth, invertible function of v that does not know y:
    delta = mixing @ v                                  # correlated as the published features are
    averages = mean + spread * delta[:12]
    covariance = C g(H) C', with the symmetric H linear in delta[12:]         # positive definite, heavy-tailed
where g(H) is exp(TAIL asinh(H / TAIL)), a function of the matrix: near exp() for small H, a power of it for large ones.
Because the function is invertible, p(year | features) = p(year | v), and v is a mixture of Gaussians given the year.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hvd_train.data.schema import NUM_SONG_TIMBRES as T
from hvd_train.data.songs import exact
from hvd_train.data.songs.published_statistics import TABLES

Array = NDArray[np.float64]
NUM_FEATURES = 90
PAIRS = np.array([(i, i + k) for k in range(T) for i in range(T - k)])
"""(P, 2) which timbres each covariance column is of."""
TAIL = 2.0
"""Covariances grow as this power of what is far from normal: exp() itself has far heavier tails than real songs. With 2,
g(H) is the square of H/2 + sqrt(1 + H H/4), which needs neither exp() nor eigenvalues."""
_BLOCK_ROWS = 1024
_THREAD_ROWS = 1024
"""What a thread works on at once then fits its core's cache."""


@dataclass(frozen=True, eq=False)
class SongModel:
    """The numbers of the distribution, found by `hvd_train.data.songs.fit`."""

    year_share: Array
    """(K,) how often each year is."""
    signal: Array
    """(G, K, Q) mean of v along the signal directions."""
    signal_directions: Array
    """(F, Q) orthonormal."""
    scales: Array
    """(S,) of the noise, with mean square 1."""
    scale_share: Array
    """(S,)"""
    artist_share: Array
    """() share of the noise's variance that an artist's songs have in common."""
    mixing: Array
    """(F, F)"""
    mean: Array
    """(T,) of the averages."""
    spread: Array
    """(F,) of the averages and of the covariances around `center`, in their units."""
    center: Array
    """(T, T) the covariance of a song with delta = 0."""

    @classmethod
    def load(cls, path: Path = TABLES / "songs_model.npz") -> SongModel:
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    def features(self, v: Array) -> Array:
        """(N, F) -> features (N, F), on all cores of the process; the same bits on every CPU."""
        root, to_log = self._factors()
        to_averages = self.spread[:T, None] * self.mixing[:T]
        to_entries = exact.product(to_log, self.spread[T:, None] * self.mixing[T:])
        linear = np.concatenate([to_averages, to_entries])  # (F, F)
        left, right = PAIRS.T

        def of_block(block: Array) -> Array:
            delta = exact.product(linear, np.ascontiguousarray(block.T))  # (F, n)
            h = np.empty((T, T, len(block)))
            h[left, right] = h[right, left] = delta[T:]
            grown = exact.grown(h)
            half = np.zeros_like(grown)  # root @ grown
            for k in range(T):
                half[k:] += root[k:, k, None, None] * grown[k]
            delta[:T] += self.mean[:, None]
            delta[T:] = 0.0
            for k in range(T):  # half @ half.T
                delta[T:] += half[left, k] * half[right, k]
            return delta.T

        blocks = [v[start : start + _THREAD_ROWS] for start in range(0, len(v), _THREAD_ROWS)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # NumPy lets go of the lock
            return np.concatenate(list(pool.map(of_block, blocks)))

    def invert(self, features: Array) -> Array:
        """Features (N, F) -> v (N, F), the inverse of `features`."""
        root, to_log = self._factors()
        # Take out what is common first: what remains is near the identity, and rounding to float32 does no harm.
        inverse_root = np.linalg.inv(root)
        values, vectors = np.linalg.eigh(inverse_root @ symmetric(features[:, T:]) @ inverse_root.T)
        log = (vectors * (TAIL * np.sinh(np.log(values) / TAIL))[:, None, :]) @ vectors.transpose(0, 2, 1)
        changes = log[:, PAIRS[:, 0], PAIRS[:, 1]] @ np.linalg.inv(to_log).T
        delta = np.concatenate([features[:, :T] - self.mean, changes], axis=1) / self.spread
        return delta @ np.linalg.inv(self.mixing).T

    def posterior(self, features: NDArray[np.float32] | Array) -> Array:
        """(N, K) probability of each year given one song's features (N, F), knowing nothing of its artist's others."""
        blocks = [
            self.posterior_of_v(self.invert(features[start : start + _BLOCK_ROWS].astype(np.float64)))
            for start in range(0, len(features), _BLOCK_ROWS)
        ]
        return np.concatenate(blocks)

    def posterior_of_v(self, v: Array) -> Array:
        """(N, K) probability of each year given v (N, F)."""
        along = v @ self.signal_directions  # (N, Q)
        rest = (v**2).sum(1) - (along**2).sum(1)  # what says nothing about the year, but much about the scale
        with np.errstate(divide="ignore"):
            log_prior = np.log(self.year_share)
        parts = []
        for signal in self.signal:
            distance = rest[:, None] + (along**2).sum(1)[:, None] - 2 * along @ signal.T + (signal**2).sum(1)
            for scale, share in zip(self.scales, self.scale_share, strict=True):
                parts.append(log_prior - 0.5 * distance / scale**2 + np.log(share) - NUM_FEATURES * np.log(scale))
        logs = np.stack(parts)  # (G * S, N, K), genres equally likely
        shares = np.exp(logs - logs.max((0, 2), keepdims=True)).sum(0)
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float64)

    def _factors(self) -> tuple[Array, Array]:
        """C (T, T), and the linear map (P, P) from a small change of the covariance to that of H."""
        root = exact.cholesky(self.center)
        inverse = root[:, :, None].copy()
        exact.invert(inverse)
        left, right = PAIRS.T
        of_left, of_right = inverse[:, left, 0], inverse[:, right, 0]  # (T, P)
        changes = of_left[left] * of_right[right] + np.where(left != right, of_right[left] * of_left[right], 0.0)
        return root, changes


def symmetric(entries: Array) -> Array:
    """(N, P) -> (N, T, T)"""
    matrices = np.empty((len(entries), T, T))
    matrices[:, PAIRS[:, 0], PAIRS[:, 1]] = entries
    matrices[:, PAIRS[:, 1], PAIRS[:, 0]] = entries
    return matrices
