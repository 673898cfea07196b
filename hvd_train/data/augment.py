"""Augmentation of train rows, drawn from (seed, epoch, row id): the same for a row whatever rank and batch it is in.

`Augmentation.apply` works on one batch of any rows; `Mixup` first says which row each is mixed with. Both are pure
numpy. Train only: validation and test rows are never augmented.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import SamplingConfig
from hvd_train.data.dataset import Dataset
from hvd_train.data.series import window_warp
from hvd_train.errors import ConfigError

_NOISE, _DROPOUT, _PARTNER, _BETA, _WARP = 1, 2, 3, 4, 5  # streams
_WEYL = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seed: int, stream: int, epoch: int, row_ids: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """(n, count) numbers in (0, 1), each a pure function of (seed, stream, epoch, row id, column).

    SplitMix64 (Steele, Lea and Flood 2014) as a counter-based generator: one mix keys the row, one draws each number.
    """
    with np.errstate(over="ignore"):
        key = _mix(np.array([seed], np.uint64) * _WEYL + np.uint64(stream))
        key = _mix(key + np.uint64(epoch) * _WEYL)
        rows = _mix(key + row_ids.astype(np.uint64) * _WEYL)
        bits = _mix(rows[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _WEYL)
    # 23 bits and a half: never 0 and never 1, also after rounding to float32
    return ((bits >> np.uint64(41)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def normals(seed: int, stream: int, epoch: int, row_ids: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """(n, count) standard normal numbers, keyed as `uniforms` (Box and Muller 1958)."""
    half = (count + 1) // 2
    u = uniforms(seed, stream, epoch, row_ids, 2 * half)
    radius = np.sqrt(np.float32(-2.0) * np.log(u[:, :half]))
    angle = np.float32(2 * np.pi) * u[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]


def augments(sampling: SamplingConfig) -> bool:
    """Whether a row is another one in each epoch."""
    return any((sampling.noise, sampling.feature_dropout, sampling.window_warp, sampling.mixup_alpha))


def require_possible_augmentation(sampling: SamplingConfig, dataset: Dataset, are_series: bool) -> None:
    """ConfigError where windows of rows are to be warped that are no series. `are_series`: the transform takes them for some. All ranks alike."""
    if sampling.window_warp > 0 and dataset.series is None and not are_series:
        raise ConfigError(
            f"window_warp = {sampling.window_warp} is not possible: the rows are no series, so their columns have no order in "
            "time. Leave --window-warp out. Series come as .ts files or as arrays of three axes. Where the columns of a table "
            "are the positions of series, give --transform channel."
        )


@dataclass(frozen=True, eq=False)
class Augmentation:
    """Mixup, window warping, noise and feature dropout of batches, in this order."""

    seed: int
    noise: float
    """Standard deviation of the added noise, as a share of `scale`."""
    feature_dropout: float
    """Share of the features replaced by `center`."""
    window_warp: float
    """Probability that a window of a series is warped."""
    layout: tuple[int, int]
    """Positions and channels of a series."""
    center: NDArray[np.float32]
    """(F,) the features' means; zeros where they are normalised already."""
    scale: NDArray[np.float32]
    """(F,) the features' standard deviations; ones where they are normalised already, zeros for constant columns."""

    @classmethod
    def of(
        cls,
        sampling: SamplingConfig,
        *,
        seed: int,
        layout: tuple[int, int],
        center: NDArray[np.float32],
        scale: NDArray[np.float32],
    ) -> Augmentation | None:
        """What the config asks for; None where it asks for nothing."""
        if not augments(sampling):
            return None
        return cls(seed, sampling.noise, sampling.feature_dropout, sampling.window_warp, layout, center, scale)

    def apply(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.float32],
        row_ids: NDArray[np.int64],
        epoch: int,
        *,
        partner: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Augmented (features (n, F), targets (n, K) or (n,)) of the rows `row_ids` (n,) in an epoch.

        `partner` holds features, targets and weight (n,) of the row that each is mixed with, from `Mixup.pairs`.
        """
        if partner is not None:
            other_features, other_targets, weight = partner
            features = features + weight[:, None] * (other_features - features)
            shape = (-1,) + (1,) * (targets.ndim - 1)
            targets = targets + weight.reshape(shape) * (other_targets - targets)
        num_features = features.shape[1]
        if self.window_warp > 0:
            drawn = uniforms(self.seed, _WARP, epoch, row_ids, window_warp.NUM_DRAWN)
            features = window_warp.warped(features, self.layout, drawn, self.window_warp)
        if self.noise > 0:
            drawn = normals(self.seed, _NOISE, epoch, row_ids, num_features)
            features = features + np.float32(self.noise) * self.scale * drawn
        if self.feature_dropout > 0:
            kept = uniforms(self.seed, _DROPOUT, epoch, row_ids, num_features) >= self.feature_dropout
            # A missing value stays one: at the end of a series it is padding.
            features = np.where(kept | np.isnan(features), features, self.center)
        return features, targets


class Mixup:
    """Which row each row is mixed with: one of its own virtual shard whose label is near.

    Within the virtual shard, because every rank that has the row has that one too: so the pairs don't depend on the
    number of ranks. Zhang, Cisse, Dauphin and Lopez-Paz (2018), "mixup", ICLR; near labels as in C-Mixup (Yao, Wang,
    Zhang, Zou and Finn, 2022).
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        row_ids: NDArray[np.int64],
        shard_starts: NDArray[np.int64],
        *,
        seed: int,
        alpha: float,
        distance: float,
    ) -> None:
        """`values` (N,) are the labels in their unit (years; class indices for names, with distance 0)."""
        self.seed, self.alpha, self.row_ids = seed, alpha, row_ids
        ends = [*shard_starts[1:].tolist(), len(values)]
        self._order = np.empty(len(values), np.int64)  # each shard's rows by label
        self._first = np.empty(len(values), np.int64)  # of the near ones, in that order
        self._count = np.empty(len(values), np.int64)
        for start, end in zip(shard_starts.tolist(), ends, strict=True):
            own = values[start:end]
            order = np.lexsort((row_ids[start:end], own))
            ranked = own[order]
            self._order[start:end] = order + start
            self._first[start:end] = start + np.searchsorted(ranked, own - distance, side="left")
            self._count[start:end] = start + np.searchsorted(ranked, own + distance, side="right")
        self._count -= self._first

    def pairs(self, epoch: int, positions: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """For rows at `positions` (n,): the position of each one's partner, and the partner's weight, at most a half."""
        ids = self.row_ids[positions]
        u = uniforms(self.seed, _PARTNER, epoch, ids, 1)[:, 0].astype(np.float64)
        near = self._first[positions] + (u * self._count[positions]).astype(np.int64)
        weight = _beta(self.seed, epoch, ids, self.alpha)
        return self._order[near], np.minimum(weight, 1 - weight)


def _beta(seed: int, epoch: int, row_ids: NDArray[np.int64], alpha: float) -> NDArray[np.float32]:
    """(n,) from Beta(alpha, alpha): a table of its quantiles, looked up by a uniform number."""
    random = np.random.Generator(np.random.Philox(0))
    quantiles = np.sort(random.beta(alpha, alpha, 65_536)).astype(np.float32)
    u = uniforms(seed, _BETA, epoch, row_ids, 1)[:, 0]
    return quantiles[(u * len(quantiles)).astype(np.int64)]


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
