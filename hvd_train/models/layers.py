"""What the networks share: normalisation over a row, dropout, stacks of dense layers.

Built-in Keras layers, and a dropout and a dense layer of our own, which built-in ones replace when the model is saved: so
that the file opens without this package. Shape letters: N rows, L positions, C channels, U units.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.config import DenseStackConfig
from hvd_train.models.dense import Dense
from hvd_train.models.dropout import Dropout
from hvd_train.models.seeds import Seeds

# Channels of one group of GroupNormalization (Wu and He 2018, arXiv 1803.08494, find 16 a good number).
CHANNELS_PER_GROUP = 16


def normalised(x: Any, kind: str, name: str) -> Any:
    """The last axis (layer) or groups of channels over all positions (group) at mean 0 and variance 1; "none": x."""
    if kind == "layer":
        return keras.layers.LayerNormalization(name=name)(x)
    if kind == "group":
        channels = x.shape[-1]
        groups = max(g for g in range(1, max(1, channels // CHANNELS_PER_GROUP) + 1) if channels % g == 0)
        return keras.layers.GroupNormalization(groups, name=name)(x)
    return x


def dropped(x: Any, share: float, seeds: Seeds, name: str, *, whole_rows: bool = False) -> Any:
    """x with a share of its values (or of its rows) dropped while training; x itself where the share is 0."""
    if not share:
        return x
    noise_shape = (None, *[1] * (len(x.shape) - 1)) if whole_rows else None
    return Dropout(share, noise_shape, seed=seeds.next(), rank=seeds.rank, name=name)(x)


def dense_stack(x_NU: Any, config: DenseStackConfig, seeds: Seeds, *, normalisation: str = "none") -> Any:
    """(N, U) through `dense_units` layers: dense, normalisation, activation, dropout."""
    for index, units in enumerate(config.dense_units):
        x_NU = Dense(units, kernel_initializer=seeds.kernel(), name=f"dense_{index}")(x_NU)
        x_NU = normalised(x_NU, normalisation, f"dense_norm_{index}")
        x_NU = keras.layers.Activation(config.activation, name=f"dense_activation_{index}")(x_NU)
        x_NU = dropped(x_NU, config.dense_dropout, seeds, f"dense_dropout_{index}")
    return x_NU


def vector(x: Any, length: int, values: list[float], name: str) -> Any:
    """(N, length): the same trainable vector for every row, starting from `values`. `x` (N, ...) gives the rows.

    Keras has no layer that is a vector alone; a dense layer without bias on the constant 1 is one.
    """
    first_N1 = x[:, :1] if len(x.shape) == 2 else x[:, :1, 0]
    ones_N1 = keras.ops.ones_like(first_N1)
    start = keras.initializers.Constant(values)
    return keras.layers.Dense(length, use_bias=False, kernel_initializer=start, name=name, dtype="float32")(ones_N1)
