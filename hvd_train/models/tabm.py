"""tabm: M dense networks that are trained side by side and share all but vectors (Gorishniy et al. 2025, arXiv 2410.24210).

Layer by layer member m computes y = ((x * r_m) W) * s_m + b_m. All members share W, and r, s and b are a member's own
(BatchEnsemble: Wen et al. 2020, arXiv 2002.06715). Only the first r is random, so the members start from different views
of a row, and are otherwise equal. With `member_weights` "own" member m computes y = x W_m + b_m instead: M networks of the
kind `mlp`. The heads are each member's own: `models.heads`. A member counts alike in the loss and in the prediction:
`models.members`. Shape letters: N rows, L positions, C channels, M members, I inputs, U units.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hvd_train.config import LinearConfig, TabmConfig
from hvd_train.models.dense import Dense
from hvd_train.models.layers import dropped
from hvd_train.models.mlp import linear
from hvd_train.models.seeds import Seeds


class Scale(keras.layers.EinsumDense):  # type: ignore[misc]
    """x * kernel + bias, number by number: keras.layers.EinsumDense of "nmu,mu->nmu".

    TensorFlow's einsum makes a batch of matrix multiplications of it. In a saved model `built_in` has put Keras's own
    layer in its place.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(N, M, U) -> (N, M, U)."""
        y = inputs * tf.convert_to_tensor(self.kernel)
        return y if self.bias is None else y + tf.convert_to_tensor(self.bias)


def tabm(x_NLC: Any, config: TabmConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, M, U): for each member `dense_units` layers with activation and dropout."""
    positions, channels = x_NLC.shape[1:]
    M, shared = config.parallel_members, config.member_weights == "shared"
    x_NMU = linear(x_NLC, LinearConfig(), seeds)
    if shared:
        x_NMU = keras.layers.RepeatVector(M, name="members")(x_NMU)
        r_MI = _views(M, positions, channels, seeds)
    for index, units in enumerate(config.dense_units):
        if shared:
            x_NMU = _adapted(x_NMU, r_MI, units, seeds, str(index))
            r_MI = np.ones((M, units), np.float32)
        else:
            x_NMU = _own(x_NMU, M, units, seeds, str(index))
        x_NMU = keras.layers.Activation(config.activation, name=f"dense_activation_{index}")(x_NMU)
        x_NMU = dropped(x_NMU, config.dense_dropout, seeds, f"dense_dropout_{index}")
    return x_NMU


def _views(M: int, positions: int, channels: int, seeds: Seeds) -> np.ndarray:
    """(M, L * C) the first r: random signs of plain columns. With several channels one normal number for each position."""
    random = np.random.default_rng(seeds.next())
    if channels == 1:
        return random.choice(np.array([-1.0, 1.0], np.float32), (M, positions))
    return np.repeat(random.normal(size=(M, positions)).astype(np.float32), channels, axis=1)


def _adapted(x_NMI: Any, r_MI: np.ndarray, units: int, seeds: Seeds, name: str) -> Any:
    """(N, M, I) -> (N, M, U): the dense layer that all members share, between the vectors of each."""
    M, inputs = r_MI.shape
    reach = inputs**-0.5
    # One bias for all members at the start, so that they differ by their view of the row alone.
    bias_U = np.random.default_rng(seeds.next()).uniform(-reach, reach, units).astype(np.float32)
    kernel = keras.initializers.RandomUniform(-reach, reach, seeds.next())
    x_NMI = _scaled(x_NMI, r_MI, None, f"scaled_inputs_{name}")
    x_NMU = Dense(units, use_bias=False, kernel_initializer=kernel, name=f"dense_{name}")(x_NMI)
    return _scaled(x_NMU, np.ones((M, units), np.float32), np.tile(bias_U, (M, 1)), f"scaled_outputs_{name}")


def _own(x: Any, members: int, units: int, seeds: Seeds, name: str) -> Any:
    """(N, I), which all members see, or (N, M, I) -> (N, M, U): a dense layer of each member's own."""
    # Glorot's, as in every network here. Keras would take the members for inputs or units, too.
    reach = math.sqrt(6 / (x.shape[-1] + units))
    settings = {
        "kernel_initializer": keras.initializers.RandomUniform(-reach, reach, seeds.next()),
        "name": f"dense_{name}",
    }
    if len(x.shape) == 2:  # as one layer: a single multiplication
        return keras.layers.Reshape((members, units), name="members")(Dense(members * units, **settings)(x))
    return keras.layers.EinsumDense("nmi,miu->nmu", (members, units), bias_axes="mu", **settings)(x)


def _scaled(x_NMU: Any, kernel_MU: np.ndarray, bias_MU: np.ndarray | None, name: str) -> Any:
    """x * kernel + bias, trainable and a member's own."""
    weights = [kernel_MU] if bias_MU is None else [kernel_MU, bias_MU]
    layer = Scale("nmu,mu->nmu", kernel_MU.shape, bias_axes=None if bias_MU is None else "mu", name=name)
    layer.build(x_NMU.shape)
    layer.set_weights(weights)
    return layer(x_NMU)
