"""What the softmax is trained towards, as a table that is looked up by class index.

`table[labels]` are the soft labels (n, K) of a batch; the loss is the cross-entropy with them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hvd_train.config import ObjectiveConfig
from hvd_train.data.schema import Schema
from hvd_train.errors import ConfigError

Array = NDArray[np.float64]


def make_target_table(schema: Schema, objective: ObjectiveConfig) -> NDArray[np.float32]:
    """(K, K) of the labels of a dataset. Raises ConfigError where they have no order, or are values."""
    if schema.label_kind == "values":
        raise ConfigError("values are trained towards themselves: they have no target table.")
    return target_table(
        objective.targets, schema.label_values, sigma=objective.target_sigma, step=objective.target_step
    )


def target_table(
    kind: str, label_values: tuple[int | str, ...], *, sigma: float = 2.0, step: int = 5
) -> NDArray[np.float32]:
    """(K, K): row k is what an example of label k is trained towards; rows sum to 1.

    one-hot: the label alone. gaussian: the share of a Gaussian of standard deviation `sigma` around the label, in its unit, that
    is nearest to each output (its integral over the output's bin, Imani and White 2018, "Improving regression
    performance with distributional losses"). two-hot: two outputs, among every `step`-th and the last, so weighted that
    their mean is the label.

    >>> target_table("two-hot", (2000, 2001, 2002), step=2).tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]
    """
    if kind == "one-hot":
        return np.eye(len(label_values), dtype=np.float32)
    if any(isinstance(value, str) for value in label_values):
        raise ConfigError(f"targets = {kind!r} is not possible: the labels are names, which have no neighbours.")
    values = np.array(label_values, np.float64)
    if kind == "gaussian":
        return _gaussian(values, sigma).astype(np.float32)
    if kind == "two-hot":
        centers = np.unique([*range(0, len(values), step), len(values) - 1])
        table = np.zeros((len(values), len(values)))
        table[:, centers] = two_hot(values, values[centers])
        return table.astype(np.float32)
    raise ConfigError(f"targets = {kind!r} is unknown: one-hot, gaussian or two-hot.")


def two_hot(values: Array, centers: Array) -> Array:
    """(n, B) weights of the two of the sorted `centers` (B,) around each value (n,) whose mean is the value.

    Values outside the centers go to the nearest.
    """
    table = np.zeros((len(values), len(centers)))
    if len(centers) == 1:
        return table + 1.0
    inside = np.clip(values, centers[0], centers[-1])
    left = np.clip(np.searchsorted(centers, inside, side="right") - 1, 0, len(centers) - 2)
    weight = (inside - centers[left]) / (centers[left + 1] - centers[left])
    rows = np.arange(len(values))
    table[rows, left] = 1 - weight
    table[rows, left + 1] = weight
    return table


def _gaussian(values: Array, sigma: float) -> Array:
    middles = (values[1:] + values[:-1]) / 2
    # The outermost bins are as wide beyond their output as before it; what lies further out is left out, so that the
    # outermost labels keep their own output the most likely.
    edges = np.concatenate([[2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]])
    bins = np.diff(_normal_cdf((edges[None, :] - values[:, None]) / sigma), axis=1)
    normalised: Array = bins / bins.sum(1, keepdims=True)
    return normalised


def _normal_cdf(x: Array) -> Array:
    cdf: Array = 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))
    return cdf
