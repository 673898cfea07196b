"""A layer of ours beside the one of Keras's that it stands for: the same weights, outputs and gradients of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def twins(
    kinds: tuple[Any, Any], *sizes: Any, input_shape: tuple[int, ...], dtype: str = "float32", **options: Any
) -> tuple[Any, Any]:
    """Layers of both kinds, `kind(*sizes, ...)`, for inputs of this shape; with the same weights, and a bias that is not zero."""
    ours, keras_s = (kind(*sizes, dtype=dtype, **options) for kind in kinds)
    for layer in (ours, keras_s):
        layer.build((None, *input_shape))
    random = np.random.default_rng(1)
    weights = [random.normal(size=v.shape) for v in ours.weights]
    for layer in (ours, keras_s):
        layer.set_weights(weights)
    return ours, keras_s


def normal(*shape: int) -> Any:
    """Inputs, the same in every call."""
    return tf.constant(np.random.default_rng(2).normal(size=shape), tf.float32)


def assert_twins(ours: Any, keras_s: Any, x: Any, *, graph: bool = True, **tolerance: float) -> None:
    """Their outputs for x are the same, and the gradients to x and to each weight."""
    for found, expected in zip(
        output_and_gradients(ours, x, graph), output_and_gradients(keras_s, x, graph), strict=True
    ):
        np.testing.assert_allclose(found, expected, **tolerance)


def output_and_gradients(layer: Any, x: Any, graph: bool) -> list[np.ndarray]:
    upstream = tf.constant(np.random.default_rng(3).normal(size=layer(x).shape), tf.float32)

    def step(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.cast(layer(x), tf.float32)
            loss = tf.reduce_sum(y * upstream)
        return [y, *tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])]

    return [np.asarray(found, np.float32) for found in (tf.function(step) if graph else step)(x)]
