"""The last layer: logits over the labels, or one real value.

Shape letters: N rows, U units, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# `hvd_train.export` looks the layer up by this name.
OUTPUTS_LAYER = "outputs"


@dataclass(frozen=True)
class HeadSpec:
    """What the outputs start from, so that a network that has learnt nothing yet predicts as the trivial baseline does.

    For labels with K outputs `bias` (K,) holds the logarithms of their shares in the train split; for real values
    `bias` (1,) is the train split's mean and `scale` its deviation.
    """

    bias: np.ndarray
    scale: float | None = None

    @property
    def num_outputs(self) -> int:
        return len(self.bias)


def outputs(x_NU: Any, head: HeadSpec, seed: int) -> Any:
    """(N, U) -> (N, K) logits, or (N, 1) values; in float32 whatever the network computes in, for losses and metrics."""
    kernel = keras.initializers.GlorotUniform(seed)
    if head.scale is None:
        bias = keras.initializers.Constant(head.bias.astype(np.float32).tolist())
        return keras.layers.Dense(
            head.num_outputs, kernel_initializer=kernel, bias_initializer=bias, name=OUTPUTS_LAYER, dtype="float32"
        )(x_NU)
    z_N1 = keras.layers.Dense(1, kernel_initializer=kernel, name="standardised", dtype="float32")(x_NU)
    return keras.layers.Rescaling(head.scale, offset=float(head.bias[0]), name=OUTPUTS_LAYER, dtype="float32")(z_N1)
