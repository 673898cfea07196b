"""Piecewise-linear functions of each column: its value by the intervals between quantiles, then a linear layer of its own.

Gorishniy, Rubachev and Babenko 2022, "On embeddings for numerical features in tabular deep learning" (arXiv 2203.05556),
as TabM uses them: a linear function of the column, plus one of its intervals that starts at zero. Built-in Keras layers
alone. Shape letters: N rows, F features, B intervals, C channels.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_train.config import InputConfig
from hvd_train.models.seeds import Seeds
from hvd_train.models.transforms import Fit

# Edges that are closer, in standard deviations of the column, are one: float32 could not say where between them a value is.
LEAST_WIDTH = 1e-4
# What no value reaches: JSON has no infinity.
FAR = 1e9


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
