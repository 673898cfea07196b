"""Piecewise-linear functions of each column: its value by the intervals between quantiles, then a linear layer of its own.

Gorishniy, Rubachev and Babenko 2022, "On embeddings for numerical features in tabular deep learning" (arXiv 2203.05556),
as TabM uses them: a linear function of the column, plus one of its intervals that starts at zero. Built-in Keras layers
alone. Shape letters: N rows, F features, B intervals, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from hvd_train.config import InputConfig
from hvd_train.models.seeds import Seeds

if TYPE_CHECKING:
    from hvd_train.models.transforms import Fit

# Edges that are closer, in standard deviations of the column, are one: float32 could not say where between them a value is.
LEAST_WIDTH = 1e-4
# What no value reaches: JSON has no infinity.
FAR = 1e9
# How often the values of a column have to come on average for an interval each: a weight needs rows to learn from.
LEAST_REPEATS = 8
# The transforms that take each column alone.
ALONE = ("standard", "signed-log", "quantile")


def edges_of(rows_NF: np.ndarray, x_NF: np.ndarray, config: InputConfig) -> np.ndarray:
    """(F, B + 1) ascending edges of the intervals of each prepared column, from train rows. Pure.

    A column of more values than bins has them for edges where they repeat (`piecewise_values`). Any other one has
    quantiles. The last edge is repeated where a column has fewer than another. `rows_NF` are those of the table. What
    repeats is counted there: CPUs may round prepared values differently, and a run that goes on has the same shapes.
    """
    levels = np.linspace(0, 1, config.piecewise_bins + 1)
    edges = list(np.quantile(x_NF, levels, axis=0).T)
    if config.piecewise_values and config.transform in ALONE and not config.whiten:
        most = min(config.piecewise_values, len(x_NF) // LEAST_REPEATS)
        # Indicators of missing values come after the columns of the table.
        for number, column in enumerate(rows_NF.T):
            _, first = np.unique(column, return_index=True)
            if config.piecewise_bins < len(first) <= most:
                edges[number] = np.sort(x_NF[first, number])
    longest = max(map(len, edges))
    return np.stack([np.append(each, np.full(longest - len(each), each[-1])) for each in edges])


def piecewise_linear(x_NF: Any, config: InputConfig, fit: Fit, seeds: Seeds) -> Any:
    """(N, F) prepared rows -> (N, F, C)."""
    assert fit.edges is not None
    F, C = x_NF.shape[1], config.piecewise_channels
    x_NFB = _by_intervals(x_NF, fit.edges)
    whole = keras.layers.EinsumDense(
        "nf,fc->nfc",
        (F, C),
        bias_axes="fc",
        kernel_initializer=keras.initializers.RandomUniform(-(C**-0.5), C**-0.5, seeds.next()),
        bias_initializer=keras.initializers.RandomUniform(-(C**-0.5), C**-0.5, seeds.next()),
        name="linear",
    )
    parts = keras.layers.EinsumDense("nfb,fbc->nfc", (F, C), kernel_initializer="zeros", name="piecewise")
    return keras.layers.Add(name="positions")([whole(x_NF), parts(x_NFB)])


def _by_intervals(x_NF: Any, edges_FE: np.ndarray) -> Any:
    """(N, F) -> (N, F, B): how far into each interval of its column a value is, 0 below it and 1 above it.

    The first interval goes on below its edge, and the last above.
    """
    slopes_FB, starts_FB, low_FB, high_FB = intervals(edges_FE)
    layer = keras.layers.EinsumDense(
        "nf,fb->nfb", slopes_FB.shape, bias_axes="fb", trainable=False, dtype="float32", name="into_intervals"
    )
    layer.build(x_NF.shape)
    layer.set_weights([slopes_FB, starts_FB])
    low, high = (keras.ops.convert_to_tensor(limit.tolist(), "float32") for limit in (low_FB, high_FB))
    return keras.ops.minimum(keras.ops.maximum(layer(x_NF), low), high)


def intervals(edges_FE: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Slope, start, lower and upper limit (F, B) of each interval: y = min(max(slope * x + start, low), high).

    `edges_FE` ascend within a column. Equal ones (a column of few values) are one edge, and what is left of B is 0.
    """
    F, B = edges_FE.shape[0], edges_FE.shape[1] - 1
    slopes, starts, low, high = (np.zeros((F, B)) for _ in range(4))
    for column, given in enumerate(edges_FE.astype(np.float64)):
        edges = given[:1]
        for edge in given[1:]:
            if edge - edges[-1] >= LEAST_WIDTH:
                edges = np.append(edges, edge)
        count = len(edges) - 1
        slopes[column, :count] = 1 / np.diff(edges)
        starts[column, :count] = -edges[:-1] / np.diff(edges)
        high[column, :count] = 1
        if count:
            low[column, 0], high[column, count - 1] = -FAR, FAR
    return tuple(each.astype(np.float32) for each in (slopes, starts, low, high))  # type: ignore[return-value]
