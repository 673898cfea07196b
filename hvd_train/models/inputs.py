"""From plain rows to what a network reads: transform, then arrangement. These layers stand in the model.

Built-in Keras layers alone, so that a saved model opens without this package. Shape letters: N rows, F features, L
positions, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from hvd_train.config import InputConfig, parse_layout
from hvd_train.data import NUM_SONG_TIMBRES as NUM_TIMBRES
from hvd_train.errors import ConfigError
from hvd_train.models.layers import dropped, vector
from hvd_train.models.piecewise import piecewise_linear
from hvd_train.models.seeds import Seeds
from hvd_train.models.series.input import mask_of, prepared_series, with_lengths
from hvd_train.models.transforms import (
    Fit,
    covariance_columns,
    prepared,
    require_song_columns,
)

# Rounds of row and column normalisation that make a matrix (nearly) doubly stochastic; Mena et al. 2018 (arXiv
# 1802.08665) use 20, 5 are within a percent.
SINKHORN_ROUNDS = 5
# Name of the layer where preparation ends: nothing before it is trained or drawn.
PREPARED = "prepared"


@dataclass(frozen=True)
class InputSpec:
    """The train split's statistics and the layout. `mean` and `std` are float64 (F,)."""

    mean: np.ndarray
    std: np.ndarray
    layout: tuple[int, int]
    """Positions and channels; the columns hold channel after channel."""
    fit: Fit = field(default_factory=Fit)
    """What the transform has learnt from the train split."""

    @property
    def num_features(self) -> int:
        return len(self.mean)


def positions_and_channels(x_NF: Any, config: InputConfig, spec: InputSpec, seeds: Seeds) -> Any:
    """(N, F) plain rows -> (N, L, C) transformed and arranged. Raises ConfigError where that is not possible."""
    return positions_and_mask(x_NF, config, spec, seeds)[0]


def positions_and_mask(x_NF: Any, config: InputConfig, spec: InputSpec, seeds: Seeds) -> tuple[Any, Any]:
    """What `positions_and_channels` gives, and for series which positions are no padding (N, L, 1); None for other rows."""
    mask = None
    x_NF = _prepared(x_NF, config, spec)
    layout = (x_NF.shape[1], 1) if config.whiten or spec.fit.indicators else spec.layout
    x_NF = keras.layers.Identity(name=PREPARED, dtype="float32")(x_NF)
    if config.is_for_series:
        x_NF, mask = x_NF[:, :-1], mask_of(x_NF, spec.layout[0])
    x_NF = dropped(x_NF, config.input_dropout, seeds, "input_dropout")
    return _arranged(x_NF, layout, config, spec, seeds), mask


def _prepared(x_NF: Any, config: InputConfig, spec: InputSpec) -> Any:
    """(N, F) plain rows -> prepared ones, (N, F) or with columns that some transforms add. Nothing of it is trained."""
    if config.transform == "series":
        return prepared_series(x_NF, spec.layout)
    if config.transform == "channel":
        return with_lengths(prepared(x_NF, config, spec.mean, spec.std, spec.fit), x_NF, spec.layout)
    return prepared(x_NF, config, spec.mean, spec.std, spec.fit)


def _arranged(x_NF: Any, layout: tuple[int, int], config: InputConfig, spec: InputSpec, seeds: Seeds) -> Any:
    """(N, F) prepared rows -> (N, L, C)."""
    if spec.fit.indicators and spec.layout[1] > 1 and config.arrangement in ("columns", "permutation"):
        raise ConfigError(
            f"missing_values = 'indicator' is not possible: a row of {spec.layout[0]} positions x {spec.layout[1]} channels has no "
            "room for more columns. Leave it out, or choose another --arrangement."
        )
    if config.arrangement == "covariance":
        return _covariance(x_NF, spec)
    if config.arrangement == "projection":
        return _projected(x_NF, parse_layout(config.projection, key="projection"), seeds)
    if config.arrangement == "piecewise":
        return piecewise_linear(x_NF, config, spec.fit, seeds)
    if config.arrangement == "permutation":
        x_NF = _permuted(x_NF, x_NF.shape[1], seeds)
    num_positions, num_channels = layout
    x_NCL = keras.layers.Reshape((num_channels, num_positions), name="channels")(x_NF)
    return keras.layers.Permute((2, 1), name="positions")(x_NCL)


def arranged_columns() -> np.ndarray:
    """(12, 13) columns of a song by position: a row of the covariance matrix, then the timbre's own average."""
    return np.concatenate([covariance_columns(), np.arange(NUM_TIMBRES)[:, None]], axis=1)


def _covariance(x_NF: Any, spec: InputSpec) -> Any:
    require_song_columns("arrangement", "covariance", spec.num_features)
    columns = arranged_columns()
    x = keras.ops.take(x_NF, columns.ravel().tolist(), axis=1)
    return keras.layers.Reshape(columns.shape, name="covariance")(x)  # (N, 156) -> (N, 12, 13)


def _projected(x_NF: Any, layout: tuple[int, int], seeds: Seeds) -> Any:
    """ "Soft ordering": a dense layer chooses what stands side by side."""
    positions, channels = layout
    x = keras.layers.Dense(positions * channels, kernel_initializer=seeds.kernel(), name="projection")(x_NF)
    return keras.layers.Reshape((positions, channels), name="positions")(x)


def _permuted(x_NF: Any, num_features: int, seeds: Seeds) -> Any:
    """x through a trained doubly stochastic matrix (Sinkhorn): a soft permutation of the columns."""
    start = np.random.default_rng(seeds.next()).normal(0, 0.1, (num_features, num_features))
    start += 4 * np.eye(num_features)  # begins close to the order as it is
    one_11 = keras.ops.max(keras.ops.ones_like(x_NF[:, :1]), axis=0, keepdims=True)
    flat = vector(one_11, num_features**2, start.ravel().tolist(), "order")
    log_FF = keras.ops.reshape(flat, (num_features, num_features))
    for _ in range(SINKHORN_ROUNDS):
        log_FF = log_FF - keras.ops.logsumexp(log_FF, axis=1, keepdims=True)
        log_FF = log_FF - keras.ops.logsumexp(log_FF, axis=0, keepdims=True)
    return keras.ops.matmul(x_NF, keras.ops.exp(log_FF))
