"""From plain rows to what a network reads: missing values, transform, arrangement. These layers stand in the model.

Built-in Keras layers alone, so that a saved model opens without this package. Shape letters: N rows, F features, L
positions, C channels, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import keras
import numpy as np

from hvd_train.config import ModelConfig, parse_layout
from hvd_train.errors import ConfigError
from hvd_train.models.layers import dropped, vector
from hvd_train.models.seeds import Seeds

# A constant column says nothing; with this variance it comes out as (almost exactly) zero whatever it holds later.
CONSTANT_VARIANCE = 1e30
NUM_TIMBRES = 12
"""Of YearPredictionMSD: 12 averages, then their covariances in the order of np.diag(covariance, k) for k = 0..11."""
NUM_SONG_COLUMNS = NUM_TIMBRES + NUM_TIMBRES * (NUM_TIMBRES + 1) // 2
# Of the quantiles that a column is mapped by; the ends stand for all that lies beyond.
QUANTILE_LEVELS = np.concatenate([[0.001, 0.01], np.linspace(0.03, 0.97, 29), [0.99, 0.999]])
# Rounds of row and column normalisation that make a matrix (nearly) doubly stochastic; Mena et al. 2018 (arXiv
# 1802.08665) use 20, 5 are within a percent.
SINKHORN_ROUNDS = 5


@dataclass(frozen=True)
class InputSpec:
    """The train split's statistics and the layout. `mean` and `std` are float64 (F,)."""

    mean: np.ndarray
    std: np.ndarray
    layout: tuple[int, int]
    """Positions and channels; the columns hold channel after channel."""
    quantiles: np.ndarray | None = None
    """(Q, F) of the train split at QUANTILE_LEVELS; needed by the quantile transform alone."""

    @property
    def num_features(self) -> int:
        return len(self.mean)


def positions_and_channels(x_NF: Any, config: ModelConfig, spec: InputSpec, seeds: Seeds) -> Any:
    """(N, F) plain rows -> (N, L, C) transformed and arranged. Raises ConfigError where that is not possible."""
    x_NF = dropped(transformed(x_NF, config, spec), config.input_dropout, seeds, "input_dropout")
    if config.arrangement == "covariance":
        return _covariance(x_NF, spec)
    if config.arrangement == "projection":
        return _projected(x_NF, parse_layout(config.projection, key="projection"), seeds)
    if config.arrangement == "permutation":
        x_NF = _permuted(x_NF, spec.num_features, seeds)
    num_positions, num_channels = spec.layout
    x_NCL = keras.layers.Reshape((num_channels, num_positions), name="channels")(x_NF)
    return keras.layers.Permute((2, 1), name="positions")(x_NCL)


def transformed(x_NF: Any, config: ModelConfig, spec: InputSpec) -> Any:
    """(N, F) plain rows -> (N, F) of about mean 0 and deviation 1, missing values at their column's middle."""
    variance = np.where(spec.std > 0, spec.std**2, CONSTANT_VARIANCE)
    # In float32 whatever the network computes in: 8 bits of a feature far from zero would leave nothing of its spread.
    x_NF = keras.layers.Normalization(mean=spec.mean, variance=variance, name="normalise", dtype="float32")(x_NF)
    # After normalisation a column's mean is zero.
    x_NF = keras.ops.nan_to_num(x_NF, nan=0.0)
    if config.transform == "signed-log":
        return keras.ops.sign(x_NF) * keras.ops.log1p(keras.ops.abs(x_NF))
    if config.transform == "quantile":
        return _by_quantiles(x_NF, spec)
    return x_NF


def _by_quantiles(x_NF: Any, spec: InputSpec) -> Any:
    """Each column to a normal distribution: piecewise linear between the quantiles, constant beyond the outermost."""
    assert spec.quantiles is not None
    knots_FQ, steps_FQ, start_F = quantile_knots(spec)
    F, Q = knots_FQ.shape
    apart = keras.layers.EinsumDense(
        "nf,fq->nfq",
        output_shape=(F, Q),
        bias_axes="fq",
        activation="relu",
        trainable=False,
        dtype="float32",
        name="past_quantiles",
    )
    joined = keras.layers.EinsumDense(
        "nfq,fq->nf", output_shape=(F,), bias_axes="f", trainable=False, dtype="float32", name="to_normal"
    )
    x_NF = joined(apart(x_NF))
    apart.set_weights([np.ones((F, Q), np.float32), -knots_FQ])
    joined.set_weights([steps_FQ, start_F])
    return x_NF


def quantile_knots(spec: InputSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots (F, Q) in deviations, changes of slope (F, Q) and starts (F,) of y = start + sum of change * relu(x - knot)."""
    assert spec.quantiles is not None
    normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])
    knots, steps, starts = [], [], []
    for mean, std, quantiles in zip(spec.mean, spec.std, spec.quantiles.T, strict=True):
        x = (quantiles - mean) / (std if std > 0 else np.sqrt(CONSTANT_VARIANCE))
        # Equal quantiles (a column of few values) become one knot at the middle of their levels.
        at, group = np.unique(x, return_inverse=True)
        y = np.bincount(group, normal) / np.bincount(group)
        slopes = np.diff(y) / np.diff(at)
        changes = np.diff(np.concatenate([[0.0], slopes, [0.0]]))
        missing = len(x) - len(at)
        knots.append(np.concatenate([at, np.full(missing, at[-1])]))
        steps.append(np.concatenate([changes, np.zeros(missing)]))
        starts.append(y[0] if len(at) > 1 else 0.0)
    return np.array(knots, np.float32), np.array(steps, np.float32), np.array(starts, np.float32)


def covariance_columns() -> np.ndarray:
    """(12, 13) columns of a song by position: a row of the covariance matrix, then the timbre's own average."""
    columns = np.zeros((NUM_TIMBRES, NUM_TIMBRES + 1), np.int64)
    columns[:, NUM_TIMBRES] = np.arange(NUM_TIMBRES)
    first = NUM_TIMBRES
    for k in range(NUM_TIMBRES):
        for i in range(NUM_TIMBRES - k):
            columns[i, i + k] = columns[i + k, i] = first + i
        first += NUM_TIMBRES - k
    return columns


def _covariance(x_NF: Any, spec: InputSpec) -> Any:
    if spec.num_features != NUM_SONG_COLUMNS:
        raise ConfigError(
            f"arrangement = 'covariance' is not possible: it is made of the {NUM_SONG_COLUMNS} columns of "
            f"YearPredictionMSD, and this table has {spec.num_features}. Choose columns, projection or permutation."
        )
    columns = covariance_columns()
    x = keras.ops.take(x_NF, columns.ravel().tolist(), axis=1)
    return keras.layers.Reshape(columns.shape, name="covariance")(x)  # (N, 156) -> (N, 12, 13)


def _projected(x_NF: Any, layout: tuple[int, int], seeds: Seeds) -> Any:
    """ "Soft ordering": a dense layer chooses what stands side by side."""
    positions, channels = layout
    x = keras.layers.Dense(positions * channels, kernel_initializer=seeds.kernel(), name="projection")(x_NF)
    return keras.layers.Reshape((positions, channels), name="positions")(x)


def _permuted(x_NF: Any, num_features: int, seeds: Seeds) -> Any:
    """x through a trained doubly stochastic matrix (Sinkhorn): a soft permutation of the columns."""
    start = np.random.default_rng(seeds.weights()).normal(0, 0.1, (num_features, num_features))
    start += 4 * np.eye(num_features)  # begins close to the order as it is
    one_11 = keras.ops.max(keras.ops.ones_like(x_NF[:, :1]), axis=0, keepdims=True)
    flat = vector(one_11, num_features**2, start.ravel().tolist(), "order")
    log_FF = keras.ops.reshape(flat, (num_features, num_features))
    for _ in range(SINKHORN_ROUNDS):
        log_FF = log_FF - keras.ops.logsumexp(log_FF, axis=1, keepdims=True)
        log_FF = log_FF - keras.ops.logsumexp(log_FF, axis=0, keepdims=True)
    return keras.ops.matmul(x_NF, keras.ops.exp(log_FF))
