"""The earlier project's net: n x {Conv1D, ReLU}, dropout on some, dense layers, softmax.

Shape letters: N rows, L positions, C channels, U units.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.config import SeedCnnConfig
from hvd_train.models.convolution import Conv1D
from hvd_train.models.layers import dense_stack, dropped
from hvd_train.models.seeds import Seeds


def seed_cnn(x_NLC: Any, config: SeedCnnConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U)."""
    x = x_NLC
    for index, filters in enumerate(config.filters):
        x = Conv1D(
            filters,
            config.kernel_size,
            padding="same",
            activation=config.activation,
            kernel_initializer=seeds.kernel(),
            name=f"conv_{index}",
        )(x)
        # A single convolution is followed by dropout too, as in the net for leaves.
        if index % 2 == 1 or len(config.filters) == 1:
            x = dropped(x, config.conv_dropout, seeds, f"conv_dropout_{index}")
    x = keras.layers.Flatten(name="flatten")(x)  # (N, L, C) -> (N, L * C)
    return dense_stack(x, config, seeds)
