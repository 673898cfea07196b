"""The deep CNN of D.-X. Zhou's theory: every convolution widens its input.

Layer j maps h (d + (j-1)s) to ReLU(T h - b) of width d + js, where T is the (d + js) x (d + (j-1)s) Toeplitz matrix of a
filter of s + 1 taps, T[i, k] = w[i - k]: the whole convolution, with zeros on both sides. Source: "Universality of deep
convolutional neural networks" (arXiv 1805.10769), which shows that these nets, with one channel and a linear output,
approximate any continuous function as the depth grows. Downsampling keeps the positions m, 2m, 3m, ... (counted from 1) after
chosen layers: "Theory of deep convolutional neural networks: Downsampling" (Neural Networks, 2020).

The theory has one channel (--filters 1 1 1 ...), a bias that is one number but for s positions at either end
(--expansive-bias ends; the last layer's is free) and a linear output (--loss mse). More channels, a bias shared by all
positions and a softmax are ours. Shape letters: N rows, L positions, C channels, U units.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.config import ExpansiveCnnConfig
from hvd_train.models.convolution import Conv1D
from hvd_train.models.layers import vector
from hvd_train.models.seeds import Seeds


def expansive_cnn(x_NLC: Any, config: ExpansiveCnnConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U)."""
    x, s = x_NLC, config.kernel_size - 1
    for layer, filters in enumerate(config.filters, start=1):
        bias = "free" if config.expansive_bias == "ends" and layer == len(config.filters) else config.expansive_bias
        x = keras.layers.ZeroPadding1D(s, name=f"zeros_{layer}")(x)
        x = Conv1D(
            filters,
            config.kernel_size,
            use_bias=bias == "shared",
            kernel_initializer=seeds.kernel(),
            name=f"conv_{layer}",
        )(x)  # (N, d + (j-1)s, C) -> (N, d + js, C)
        if bias != "shared":
            x = x - _bias(x, s, ends=bias == "ends", name=f"bias_{layer}")
        x = keras.layers.Activation(config.activation, name=f"activation_{layer}")(x)
        if layer in config.downsample_after:
            x = x[:, config.downsample_by - 1 :: config.downsample_by]
    return keras.layers.Flatten(name="flatten")(x)


def _bias(x_NLC: Any, s: int, *, ends: bool, name: str) -> Any:
    """(N, L, C): a number for each position and channel, or for `s` positions at both ends and one between."""
    _, length, channels = x_NLC.shape
    ends = ends and length > 2 * s + 1
    count = 2 * s + 1 if ends else length
    flat = vector(x_NLC, count * channels, [0.0] * (count * channels), name)
    b = keras.layers.Reshape((count, channels), name=f"{name}_by_position")(flat)
    if not ends:
        return b
    middle = keras.ops.repeat(b[:, s : s + 1], length - 2 * s, axis=1)
    return keras.ops.concatenate([b[:, :s], middle, b[:, s + 1 :]], axis=1)
