"""Published networks for series: fcn, resnet1d, inception, lite.

- fcn and resnet1d: Wang, Yan and Oates 2017, "Time series classification from scratch with deep neural networks" (arXiv
  1611.06455).
- inception: one network of InceptionTime, Fawaz et al. 2020 (arXiv 1909.04939).
- lite: Ismail-Fawaz et al. 2023, "LITE: light inception with boosting techniques for time series classification" (arXiv
  2409.02869 has its ensemble and its form for several channels).

Each ends with the mean over the positions. `layers` tells what becomes of padding. Shape letters: N rows, L positions, C
channels, U units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from hvd_train.models.series.layers import SeriesLayers, fixed_filter

INCEPTION_DEPTH, INCEPTION_FILTERS, INCEPTION_SIZES = 6, 32, (40, 20, 10)
LITE_FILTERS = 32
# Lengths of the filters of LITE that find rises and falls; those that find peaks begin with the second.
LITE_FIXED_SIZES = (2, 4, 8, 16, 32, 64)


def fcn(x_NLC: Any, layers: SeriesLayers) -> Any:
    """(N, L, C) -> (N, U): three times {convolution, normalisation, ReLU}."""
    x = x_NLC
    for layer, (filters, size) in enumerate(((128, 8), (256, 5), (128, 3))):
        x = layers.convolved(x, filters, size, f"conv_{layer}", bias=True)
        x = layers.rectified(layers.normalised(x, f"norm_{layer}"), f"relu_{layer}")
    return layers.averaged(x)


def resnet1d(x_NLC: Any, layers: SeriesLayers) -> Any:
    """(N, L, C) -> (N, U): three residual blocks of three convolutions."""
    x = x_NLC
    for block, filters in enumerate((64, 128, 128)):
        y = x
        for layer, size in enumerate((8, 5, 3)):
            y = layers.convolved(y, filters, size, f"conv_{block}_{layer}", bias=True)
            y = layers.normalised(y, f"norm_{block}_{layer}")
            if layer < 2:
                y = layers.rectified(y, f"relu_{block}_{layer}")
        x = layers.rectified(y + _shortcut(x, filters, layers, str(block), bias=True), f"relu_{block}")
    return layers.averaged(x)


def inception(x_NLC: Any, layers: SeriesLayers) -> Any:
    """(N, L, C) -> (N, U): six modules of three lengths of filters and a pool, with a shortcut around every three."""
    x = start = x_NLC
    for depth in range(INCEPTION_DEPTH):
        narrow = layers.convolved(x, INCEPTION_FILTERS, 1, f"bottleneck_{depth}") if x.shape[2] > 1 else x
        parts = [layers.convolved(narrow, INCEPTION_FILTERS, size, f"conv_{depth}_{size}") for size in INCEPTION_SIZES]
        pooled = layers.largest_of_three(x, f"pool_{depth}")
        parts.append(layers.convolved(pooled, INCEPTION_FILTERS, 1, f"conv_{depth}_pool"))
        x = keras.layers.Concatenate(name=f"module_{depth}")(parts)
        x = layers.rectified(layers.normalised(x, f"norm_{depth}"), f"relu_{depth}")
        if depth % 3 == 2:
            x = x + _shortcut(start, x.shape[2], layers, str(depth), always=True)
            x = start = layers.rectified(x, f"relu_shortcut_{depth}")
    return layers.averaged(x)


def lite(x_NLC: Any, layers: SeriesLayers) -> Any:
    """(N, L, C) -> (N, U): filters of three lengths beside 17 fixed ones, then two separable convolutions."""
    parts = [layers.convolved(x_NLC, LITE_FILTERS, size, f"conv_{size}") for size in (40, 20, 10)]
    fixed = [fixed_filter(x_NLC, taps, f"fixed_{i}") for i, taps in enumerate(lite_filters())]
    parts.append(keras.layers.Activation("relu", name="fixed")(keras.layers.Concatenate(name="fixed_filters")(fixed)))
    x = keras.layers.Concatenate(name="first")(parts)
    x = layers.rectified(layers.normalised(x, "norm_0"), "relu_0")
    for layer, (size, dilation) in enumerate(((20, 2), (10, 4)), start=1):
        x = layers.separably_convolved(x, LITE_FILTERS, size, dilation, f"conv_{layer}")
        x = layers.rectified(layers.normalised(x, f"norm_{layer}"), f"relu_{layer}")
    return layers.averaged(x)


def lite_filters() -> list[np.ndarray]:
    """The fixed filters of LITE: six that find rises, six that find falls, five that find peaks."""
    signs = [np.where(np.arange(size) % 2 == 0, -1.0, 1.0) for size in LITE_FIXED_SIZES]
    peaks = []
    for size in LITE_FIXED_SIZES[1:]:
        rise = np.linspace(0, 1, size // 4 + 1)[1:] ** 2
        hill = np.concatenate([rise, rise[::-1]])
        peaks.append(np.concatenate([-hill, 2 * hill, -hill]))
    return [*signs, *(-taps for taps in signs), *peaks]


def _shortcut(
    x_NLC: Any, channels: int, layers: SeriesLayers, name: str, *, bias: bool = False, always: bool = False
) -> Any:
    """x with so many channels, normalised; by a convolution where it has another number, or `always`."""
    if always or x_NLC.shape[2] != channels:
        x_NLC = layers.convolved(x_NLC, channels, 1, f"shortcut_{name}", bias=bias)
    return layers.masked(layers.normalised(x_NLC, f"shortcut_norm_{name}"))


# (N, L, C) -> (N, U), by the names in hvd_train.config.NETWORKS.
SERIES_BODIES: dict[str, Callable[[Any, SeriesLayers], Any]] = {
    "fcn": fcn,
    "resnet1d": resnet1d,
    "inception": inception,
    "lite": lite,
}
