"""What the networks for series share: they see no padding, so more zeros at the end of a series change nothing.

After each convolution padding is made zero again, as the zeros beyond the end of a row are. Normalisation and pooling count the
positions of the series alone. The published networks have batch normalisation. Its statistics depend on which
rows are on which rank, so group normalisation, over the positions of one series, is in its place. `mask` (N, L, 1) is None where no row has
padding. Shape letters: N rows, L positions, C channels, G groups.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hvd_train.models.convolution import Conv1D
from hvd_train.models.layers import CHANNELS_PER_GROUP
from hvd_train.models.seeds import Seeds
from hvd_train.models.tabm import Scale

EPSILON = 1e-3
# Less than any value of a normalised series.
FAR_BELOW = -1e9


def convolved(x_NLC: Any, filters: int, size: int, seeds: Seeds, name: str, *, bias: bool = False) -> Any:
    """A convolution that keeps the length."""
    layer = Conv1D(filters, size, padding="same", use_bias=bias, kernel_initializer=seeds.kernel(), name=name)
    return layer(x_NLC)


def normalised(x_NLC: Any, mask: Any, name: str) -> Any:
    """Groups of channels at mean 0 and variance 1 over the positions of each series, then a scale and an offset a channel."""
    L, C = x_NLC.shape[1:]
    G = max(g for g in range(1, max(1, C // CHANNELS_PER_GROUP) + 1) if C % g == 0)
    x = keras.ops.reshape(keras.ops.cast(x_NLC, "float32"), (-1, L, G, C // G))
    if mask is None:
        d = x - keras.ops.mean(x, axis=(1, 3), keepdims=True)
        variance = keras.ops.mean(keras.ops.square(d), axis=(1, 3), keepdims=True)
    else:
        here = keras.ops.expand_dims(mask, 3)
        count = keras.ops.maximum(keras.ops.sum(here, axis=1, keepdims=True), 1.0) * (C // G)
        d = (x - keras.ops.sum(x * here, axis=(1, 3), keepdims=True) / count) * here
        variance = keras.ops.sum(keras.ops.square(d), axis=(1, 3), keepdims=True) / count
    # Position by position: the converter of LiteRT mistakes an einsum of "nlc,c->nlc" where the number of rows is open.
    z_MC = keras.ops.reshape(d * keras.ops.rsqrt(variance + EPSILON), (-1, C))
    scale = Scale("mc,c->mc", C, bias_axes="c", kernel_initializer="ones", name=name)
    return keras.ops.reshape(scale(z_MC), (-1, L, C))


def rectified(x_NLC: Any, mask: Any, name: str) -> Any:
    """ReLU, and zero where there is padding."""
    return masked(keras.layers.Activation("relu", name=name)(x_NLC), mask)


def masked(x_NLC: Any, mask: Any) -> Any:
    """Zero where there is padding."""
    return x_NLC if mask is None else x_NLC * keras.ops.cast(mask, x_NLC.dtype)


def largest_of_three(x_NLC: Any, mask: Any, name: str) -> Any:
    """The largest of each position and its neighbours, where padding is none of them."""
    pool = keras.layers.MaxPooling1D(3, strides=1, padding="same", name=name)
    if mask is None:
        return pool(x_NLC)
    return masked(pool(keras.ops.where(mask > 0, x_NLC, keras.ops.cast(FAR_BELOW, x_NLC.dtype))), mask)


def averaged(x_NLC: Any, mask: Any) -> Any:
    """(N, L, C) -> (N, C) the mean over the positions of each series."""
    if mask is None:
        return keras.layers.GlobalAveragePooling1D(name="average")(x_NLC)
    x_NLC = keras.ops.cast(x_NLC, "float32")
    return keras.ops.sum(x_NLC * mask, axis=1) / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1.0)


def fixed_filter(x_NLC: Any, taps: np.ndarray, name: str) -> Any:
    """(N, L, C) -> (N, L, 1) by one filter that is not trained, the same for each channel."""
    layer = keras.layers.Conv1D(1, len(taps), padding="same", use_bias=False, trainable=False, name=name)
    layer.build(x_NLC.shape)
    kernel = np.repeat(taps.astype(np.float32)[:, None], x_NLC.shape[2], axis=1)
    layer.set_weights([kernel[:, :, None]])
    return layer(x_NLC)
