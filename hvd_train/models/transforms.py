"""What the columns go through first: standardised, by a signed logarithm, by their quantiles, or by the logarithm of the
songs' covariance matrix. Fitted on the train split alone, and part of the model.

Built-in Keras layers alone, so that a saved model opens without this package. Shape letters: N rows, F features, Q
quantiles, T timbres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import keras
import numpy as np

from hvd_train.config import InputConfig
from hvd_train.data import NUM_SONG_TIMBRES as NUM_TIMBRES
from hvd_train.data import Standard
from hvd_train.errors import ConfigError
from hvd_train.models.piecewise import edges_of

NUM_SONG_COLUMNS = NUM_TIMBRES + NUM_TIMBRES * (NUM_TIMBRES + 1) // 2
"""Of YearPredictionMSD: 12 averages, then their covariances in the order of np.diag(covariance, k) for k = 0..11."""
# Of the quantiles that a column is mapped by; the ends stand for all that lies beyond.
QUANTILE_LEVELS = np.concatenate([[0.001, 0.01], np.linspace(0.03, 0.97, 29), [0.99, 0.999]])
# Of a covariance matrix, in units of the songs' mean: a flat direction is as good as this one.
LEAST_EIGENVALUE = 1e-6
# Added to covariances before they are inverted, in units of the columns' variance: a constant column has none.
RIDGE = 1e-3


@dataclass(frozen=True)
class Fit:
    """What a transform has learnt from rows of the train split (n, F)."""

    quantiles: np.ndarray | None = None
    """(Q, F) at QUANTILE_LEVELS."""
    to_identity: np.ndarray | None = None
    """(T, T), W with W (geometric mean of the songs' covariances) W' = 1."""
    mean: np.ndarray | None = None
    """(F,) of the columns after the logarithm of the covariance; `std` likewise."""
    std: np.ndarray | None = None
    whitening: np.ndarray | None = None
    """(F, F), which takes the transformed columns to covariance 1."""
    indicators: tuple[int, ...] = ()
    """The columns with an indicator of missing values, for --missing-values indicator."""
    edges: np.ndarray | None = None
    """(F, B + 1) of the intervals of each prepared column, for --arrangement piecewise."""

    @classmethod
    def of(
        cls,
        config: InputConfig,
        rows_NF: np.ndarray,
        mean: np.ndarray,
        std: np.ndarray,
        indicators: tuple[int, ...] = (),
    ) -> Fit:
        """From rows (n, F) with missing values, and all rows' mean and standard deviation (F,). Pure.

        `indicators` are the columns with an indicator. Raises ConfigError where the transform is not for these columns.
        """
        fit = cls()
        if config.transform == "quantile":
            fit = cls(quantiles=_quantiles(rows_NF, mean, std))
        elif config.transform == "log-covariance":
            require_song_columns("transform", config.transform, rows_NF.shape[1])
            whole_NF = rows_NF[np.isfinite(rows_NF).all(axis=1)].astype(np.float64)
            to_identity = geometric_mean(whole_NF)
            # In float64: a float32 sum of many rows keeps few digits of a mean that is far from zero.
            logs = _in_parts(lambda part: log_covariance(part, to_identity), whole_NF).astype(np.float64)
            fit = cls(to_identity=to_identity, mean=logs.mean(axis=0), std=logs.std(axis=0))
        if config.whiten:
            x_NF = _in_parts(lambda part: transformed(part, config.transform, mean, std, fit), rows_NF)
            covariance = np.cov(x_NF.astype(np.float64).T) + RIDGE * np.eye(x_NF.shape[1])
            values, vectors = np.linalg.eigh(covariance)
            fit = replace(fit, whitening=vectors @ np.diag(values**-0.5) @ vectors.T)
        fit = replace(fit, indicators=indicators)
        if config.arrangement == "piecewise":
            x_NF = _in_parts(lambda part: prepared(part, config, mean, std, fit), rows_NF)
            fit = replace(fit, edges=edges_of(rows_NF, x_NF, config))
        return fit


def _quantiles(rows_NF: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(Q, F) float64 at QUANTILE_LEVELS, found in units in which float32 holds differences of any two cells."""
    to_unit = Standard.of(mean, std).to_unit
    # numpy warns of a column without any value, and there is none to map.
    rows_NF = np.where(np.isnan(rows_NF).all(axis=0), 0, rows_NF).astype(rows_NF.dtype)
    in_unit = np.nan_to_num(np.nanquantile(rows_NF * to_unit, QUANTILE_LEVELS, axis=0)).astype(np.float64)
    return np.asarray(in_unit / np.where(to_unit > 0, to_unit, 1.0).astype(np.float64))


def _in_parts(function: Callable[[Any], Any], rows_NF: np.ndarray) -> np.ndarray:
    """`function` of all rows, some thousands at a time."""
    parts = np.array_split(rows_NF, max(1, len(rows_NF) // 4096))
    return np.concatenate([np.asarray(function(keras.ops.convert_to_tensor(part, "float32"))) for part in parts])


def geometric_mean(rows_NF: np.ndarray, rounds: int = 3) -> np.ndarray:
    """W (T, T) with W M W' = 1, M the geometric mean of the songs' covariances: where their logarithms' mean is zero.

    A few wild songs would decide the arithmetic mean. Fixed-point iteration: Moakher 2005, "A differential geometric
    approach to the geometric mean of symmetric positive-definite matrices".
    """
    root = np.linalg.cholesky(rows_NF.mean(axis=0)[covariance_columns()])
    for _ in range(rounds):
        inverse = np.linalg.inv(root)
        mean = _in_parts(lambda part, w=inverse: log_covariance(part, w), rows_NF).mean(axis=0)[covariance_columns()]  # type: ignore[misc]
        values, vectors = np.linalg.eigh(mean.astype(np.float64))
        root = np.linalg.cholesky(root @ (vectors * np.exp(values)) @ vectors.T @ root.T)
    return np.asarray(np.linalg.inv(root))


def covariance_columns() -> np.ndarray:
    """(12, 12) the columns of a song that hold its covariance matrix."""
    columns = np.zeros((NUM_TIMBRES, NUM_TIMBRES), np.int64)
    first = NUM_TIMBRES
    for k in range(NUM_TIMBRES):
        for i in range(NUM_TIMBRES - k):
            columns[i, i + k] = columns[i + k, i] = first + i
        first += NUM_TIMBRES - k
    return columns


def require_song_columns(key: str, given: str, num_features: int) -> None:
    """ConfigError unless there are as many columns as a song of YearPredictionMSD has."""
    if num_features != NUM_SONG_COLUMNS:
        raise ConfigError(
            f"{key} = {given!r} is not possible: it is made of the {NUM_SONG_COLUMNS} columns of YearPredictionMSD, and "
            f"this table has {num_features}. Choose another {key}."
        )


def is_fitted(config: InputConfig) -> bool:
    """Whether `Fit.of` needs rows for these inputs."""
    return config.whiten or config.transform in ("quantile", "log-covariance") or config.arrangement == "piecewise"


def prepared(x_NF: Any, config: InputConfig, mean: np.ndarray, std: np.ndarray, fit: Fit) -> Any:
    """(N, F) plain rows -> (N, F) transformed, or (N, F + 1) whitened: all that is not trained. See `transformed`.

    Then comes a column for each indicator.
    """
    x_given_NF = x_NF
    x_NF = transformed(x_NF, config.transform, mean, std, fit)
    if config.missing_values == "indicator" and config.transform == "quantile":
        # A mean that a few large values decide is no usual value. The median is 0 here.
        x_NF = keras.ops.where(keras.ops.isnan(x_given_NF), 0.0, x_NF)
    x_NF = whitened(x_NF, fit) if config.whiten else x_NF
    if not fit.indicators:
        return x_NF
    return keras.ops.concatenate([x_NF, indicators(x_given_NF, fit.indicators)], axis=1)


def indicators(x_NF: Any, columns: tuple[int, ...]) -> Any:
    """(N, F) plain rows -> (N, I): 1 where a cell of these columns is missing, else 0."""
    return keras.ops.cast(keras.ops.isnan(keras.ops.take(x_NF, list(columns), axis=1)), "float32")


def transformed(x_NF: Any, kind: str, mean: np.ndarray, std: np.ndarray, fit: Fit) -> Any:
    """(N, F) plain rows -> (N, F) of about mean 0 and standard deviation 1, missing values at their column's middle.

    `mean` and `std` (F,) are the train split's, `fit` what the transform `kind` has learnt from it.
    """
    if kind == "log-covariance":
        return _by_logarithm(x_NF, mean, fit)
    # After normalisation a column's mean is zero.
    x_NF = keras.ops.nan_to_num(standardised(x_NF, mean, std), nan=0.0)
    if kind == "signed-log":
        return keras.ops.sign(x_NF) * keras.ops.log1p(keras.ops.abs(x_NF))
    if kind == "quantile":
        return _by_quantiles(x_NF, mean, std, fit)
    return x_NF


def standardised(x_NF: Any, mean: np.ndarray, std: np.ndarray) -> Any:
    """(N, F) rows -> (N, F) of mean 0 and standard deviation 1, constant columns 0; see `hvd_train.data.standardization`.

    Not keras.layers.Normalization: it divides by at least 1e-7, and squares the standard deviation, in float32.
    """
    by = Standard.of(mean, std)
    in_unit = keras.layers.Rescaling(by.to_unit.tolist(), (-by.middle).tolist(), name="to_unit", dtype="float32")
    normalise = keras.layers.Rescaling(by.factor.tolist(), by.rest.tolist(), name="normalise", dtype="float32")
    return normalise(in_unit(x_NF))


def log_covariance(x_NF: Any, to_identity_TT: np.ndarray) -> Any:
    """(N, 90) songs -> (N, 90): the averages as they are, the covariances as those of log(W S W').

    The logarithm of a covariance matrix lives in a flat space, where distances and sums mean something (the log-Euclidean
    metric: Arsigny et al. 2006, "Log-Euclidean metrics for fast and simple calculus on diffusion tensors"); W makes the
    songs' mean the identity, so that the logarithm is of what is peculiar to a song.
    """
    columns = covariance_columns()
    S_NTT = keras.ops.reshape(keras.ops.take(x_NF, columns.ravel().tolist(), axis=1), (-1, NUM_TIMBRES, NUM_TIMBRES))
    left, right = to_identity_TT.astype(np.float32).tolist(), to_identity_TT.T.astype(np.float32).tolist()
    S_NTT = keras.ops.matmul(
        keras.ops.matmul(keras.ops.convert_to_tensor(left), S_NTT), keras.ops.convert_to_tensor(right)
    )
    values_NT, vectors_NTT = keras.ops.eigh(S_NTT)
    logs_NT = keras.ops.log(keras.ops.maximum(values_NT, LEAST_EIGENVALUE))
    log_NTT = keras.ops.matmul(vectors_NTT * keras.ops.expand_dims(logs_NT, 1), keras.ops.swapaxes(vectors_NTT, 1, 2))
    # Back to the order of the columns.
    flat = keras.ops.reshape(log_NTT, (-1, NUM_TIMBRES * NUM_TIMBRES))
    order = [int(np.flatnonzero(columns.ravel() == column)[0]) for column in range(NUM_TIMBRES, NUM_SONG_COLUMNS)]
    return keras.ops.concatenate([x_NF[:, :NUM_TIMBRES], keras.ops.take(flat, order, axis=1)], axis=1)


def whitened(x_NF: Any, fit: Fit) -> Any:
    """(N, F) transformed rows -> (N, F + 1): without correlations, and the logarithm of the row's distance from the mean.

    Rows of heavy tails are far from the mean in all directions at once; how far says how much the directions mean.
    """
    assert fit.whitening is not None
    matrix = keras.layers.Dense(x_NF.shape[1], use_bias=False, trainable=False, dtype="float32", name="whiten")
    matrix.build(x_NF.shape)
    matrix.set_weights([fit.whitening.astype(np.float32)])
    x_NF = matrix(x_NF)
    mean_square_N1 = keras.ops.mean(keras.ops.square(x_NF), axis=1, keepdims=True)
    return keras.ops.concatenate([x_NF, keras.ops.log(mean_square_N1 + RIDGE)], axis=1)


def _by_logarithm(x_NF: Any, mean: np.ndarray, fit: Fit) -> Any:
    assert fit.to_identity is not None
    assert fit.mean is not None
    assert fit.std is not None
    # A missing value is its column's mean; a covariance matrix with a hole has no eigenvalues.
    mean_F = keras.ops.convert_to_tensor(mean.astype(np.float32).tolist(), "float32")
    x_NF = keras.ops.where(keras.ops.isnan(x_NF), mean_F, x_NF)
    return standardised(log_covariance(x_NF, fit.to_identity), fit.mean, fit.std)


def _by_quantiles(x_NF: Any, mean: np.ndarray, std: np.ndarray, fit: Fit) -> Any:
    """Each column to a normal distribution: piecewise linear between the quantiles, constant beyond the outermost."""
    knots_FQ, steps_FQ, start_F = quantile_knots(mean, std, fit)
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
    # Before they are called: the rows that whitening is fitted on go through these layers at once.
    for layer, shape, weights in (
        (apart, (None, F), [np.ones((F, Q), np.float32), -knots_FQ]),
        (joined, (None, F, Q), [steps_FQ, start_F]),
    ):
        layer.build(shape)
        layer.set_weights(weights)
    return joined(apart(x_NF))


def quantile_knots(mean_F: np.ndarray, std_F: np.ndarray, fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots (F, Q) in standard deviations, changes of slope (F, Q) and starts (F,) of y = start + sum of change * relu(x - knot)."""
    assert fit.quantiles is not None
    normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])
    knots, steps, starts = [], [], []
    for mean, std, quantiles in zip(mean_F, std_F, fit.quantiles.T, strict=True):
        x = (quantiles - mean) / std if std > 0 else np.zeros(len(quantiles))
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
