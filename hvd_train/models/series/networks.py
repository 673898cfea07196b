"""Published networks for series: fcn, resnet1d, inception, lite. Group normalisation in place of batch normalisation.

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

from hvd_train.config import SeriesNetworkConfig
from hvd_train.models.seeds import Seeds
from hvd_train.models.series.layers import (
    averaged,
    convolved,
    fixed_filter,
    largest_of_three,
    masked,
    normalised,
    rectified,
)

INCEPTION_DEPTH, INCEPTION_FILTERS, INCEPTION_SIZES = 6, 32, (40, 20, 10)
LITE_FILTERS = 32
# Lengths of the filters of LITE that find rises and falls; those that find peaks begin with the second.
LITE_FIXED_SIZES = (2, 4, 8, 16, 32, 64)


def fcn(x_NLC: Any, mask: Any, config: SeriesNetworkConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U): three times {convolution, normalisation, ReLU}."""
    x = x_NLC
    for layer, (filters, size) in enumerate(((128, 8), (256, 5), (128, 3))):
        x = convolved(x, filters, size, seeds, f"conv_{layer}", bias=True)
        x = rectified(normalised(x, mask, f"norm_{layer}"), mask, f"relu_{layer}")
    return averaged(x, mask)


def resnet1d(x_NLC: Any, mask: Any, config: SeriesNetworkConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U): three residual blocks of three convolutions."""
    x = x_NLC
    for block, filters in enumerate((64, 128, 128)):
        y = x
        for layer, size in enumerate((8, 5, 3)):
            y = convolved(y, filters, size, seeds, f"conv_{block}_{layer}", bias=True)
            y = normalised(y, mask, f"norm_{block}_{layer}")
            if layer < 2:
                y = rectified(y, mask, f"relu_{block}_{layer}")
        x = rectified(y + _shortcut(x, filters, mask, seeds, str(block), bias=True), mask, f"relu_{block}")
    return averaged(x, mask)


def inception(x_NLC: Any, mask: Any, config: SeriesNetworkConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U): six modules of three lengths of filters and a pool, with a shortcut around every three."""
    x = start = x_NLC
    for depth in range(INCEPTION_DEPTH):
        narrow = x
        if x.shape[2] > 1:
            narrow = convolved(x, INCEPTION_FILTERS, 1, seeds, f"bottleneck_{depth}")
        parts = [convolved(narrow, INCEPTION_FILTERS, size, seeds, f"conv_{depth}_{size}") for size in INCEPTION_SIZES]
        pooled = largest_of_three(x, mask, f"pool_{depth}")
        parts.append(convolved(pooled, INCEPTION_FILTERS, 1, seeds, f"conv_{depth}_pool"))
        x = keras.layers.Concatenate(name=f"module_{depth}")(parts)
        x = rectified(normalised(x, mask, f"norm_{depth}"), mask, f"relu_{depth}")
        if depth % 3 == 2:
            x = x + _shortcut(start, x.shape[2], mask, seeds, str(depth), always=True)
            x = start = rectified(x, mask, f"relu_shortcut_{depth}")
    return averaged(x, mask)


def lite(x_NLC: Any, mask: Any, config: SeriesNetworkConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U): filters of three lengths beside 17 fixed ones, then two separable convolutions."""
    parts = [convolved(x_NLC, LITE_FILTERS, size, seeds, f"conv_{size}") for size in (40, 20, 10)]
    fixed = [fixed_filter(x_NLC, taps, f"fixed_{i}") for i, taps in enumerate(lite_filters())]
    parts.append(keras.layers.Activation("relu", name="fixed")(keras.layers.Concatenate(name="fixed_filters")(fixed)))
    x = keras.layers.Concatenate(name="first")(parts)
    x = rectified(normalised(x, mask, "norm_0"), mask, "relu_0")
    for layer, (size, dilation) in enumerate(((20, 2), (10, 4)), start=1):
        x = keras.layers.SeparableConv1D(
            LITE_FILTERS,
            size,
            padding="same",
            dilation_rate=dilation,
            use_bias=False,
            depthwise_initializer=seeds.kernel(),
            pointwise_initializer=seeds.kernel(),
            name=f"conv_{layer}",
        )(x)
        x = rectified(normalised(x, mask, f"norm_{layer}"), mask, f"relu_{layer}")
    return averaged(x, mask)


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
    x_NLC: Any, channels: int, mask: Any, seeds: Seeds, name: str, *, bias: bool = False, always: bool = False
) -> Any:
    """x with so many channels, normalised; by a convolution where it has another number, or `always`."""
    if always or x_NLC.shape[2] != channels:
        x_NLC = convolved(x_NLC, channels, 1, seeds, f"shortcut_{name}", bias=bias)
    return masked(normalised(x_NLC, mask, f"shortcut_norm_{name}"), mask)


# (N, L, C) and the mask -> (N, U), from the config of the network in hvd_train.config.NETWORKS.
SERIES_BODIES: dict[str, Callable[[Any, Any, SeriesNetworkConfig, Seeds], Any]] = {
    "fcn": fcn,
    "resnet1d": resnet1d,
    "inception": inception,
    "lite": lite,
}
