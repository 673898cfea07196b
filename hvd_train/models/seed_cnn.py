"""The earlier project's net: n x {Conv1D, ReLU}, dropout on some, dense layers, softmax.

Shape letters: N rows, F features, L positions, C channels, K outputs.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.config import ModelConfig
from hvd_train.models.heads import HeadSpec, outputs
from hvd_train.models.inputs import InputSpec, positions_and_channels


class Seeds:
    """Numbers for layers in the order in which they are made: the same weights on every rank, other dropout on each."""

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank, self._made = seed, rank, 0

    def weights(self) -> int:
        self._made += 1
        return (self._seed * 1009 + self._made) % 2**31

    def dropout(self) -> int:
        self._made += 1
        return (self._seed * 1009 + self._made + 1_000_003 * (self._rank + 1)) % 2**31


def seed_cnn(config: ModelConfig, spec: InputSpec, head: HeadSpec, *, seed: int, rank: int) -> Any:
    """(N, F) plain rows -> (N, K) logits, or (N, 1) values."""
    seeds = Seeds(seed, rank)
    x_NF = keras.Input((spec.num_features,), name="rows")
    x = positions_and_channels(x_NF, spec)  # (N, L, C)
    for index, filters in enumerate(config.filters):
        x = keras.layers.Conv1D(
            filters,
            config.kernel_size,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.GlorotUniform(seeds.weights()),
            name=f"conv_{index}",
        )(x)
        if config.conv_dropout and index % 2 == 1:
            x = keras.layers.Dropout(config.conv_dropout, seed=seeds.dropout(), name=f"conv_dropout_{index}")(x)
    x = keras.layers.Flatten(name="flatten")(x)  # (N, L, C) -> (N, L * C)
    for index, units in enumerate(config.dense_units):
        x = keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=keras.initializers.GlorotUniform(seeds.weights()),
            name=f"dense_{index}",
        )(x)
        if config.dense_dropout:
            x = keras.layers.Dropout(config.dense_dropout, seed=seeds.dropout(), name=f"dense_dropout_{index}")(x)
    outputs_NK = outputs(x, head, seeds.weights())
    return keras.Model(x_NF, outputs_NK, name="seed_cnn")
