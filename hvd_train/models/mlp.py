"""The honest baselines: dense layers on the row, and nothing at all between the row and the output.

Shape letters: N rows, L positions, C channels, U units.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.config import LinearConfig, MlpConfig
from hvd_train.models.layers import dense_stack
from hvd_train.models.seeds import Seeds


def mlp(x_NLC: Any, config: MlpConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U)."""
    return dense_stack(linear(x_NLC, LinearConfig(), seeds), config, seeds, normalisation=config.normalisation)


def linear(x_NLC: Any, config: LinearConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, L * C)."""
    return keras.layers.Flatten(name="flatten")(x_NLC)
