"""The convolution of training against Keras's own: outputs and gradients, and what is left to Keras."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
from layer_twins import assert_twins, normal, twins
from tensorflow.python.eager import context

from hvd_train.models.convolution import Conv1D

ROWS, LENGTH, CHANNELS, FILTERS = 5, 9, 3, 4


def both(dtype: str = "float32", **options: Any) -> tuple[Any, Any]:
    kinds = (Conv1D, keras.layers.Conv1D)
    return twins(kinds, FILTERS, 3, input_shape=(LENGTH, CHANNELS), dtype=dtype, **options)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("activation", ["relu", None, "tanh"])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"padding": "valid"},
        # These are Keras's to compute.
        {"padding": "causal"},
        {"padding": "same", "use_bias": False},
        {"padding": "valid", "strides": 2},
        {"padding": "valid", "dilation_rate": 2},
    ],
    ids=str,
)
def test_equals_keras_s(options: dict[str, Any], activation: str | None, graph: bool) -> None:
    ours, keras_s = both(activation=activation, **options)
    x = normal(ROWS, LENGTH, CHANNELS)
    assert_twins(ours, keras_s, x, graph=graph, atol=2e-5)


def test_in_bfloat16() -> None:
    """8 bits of mantissa: a sum over 45 positions of numbers about 1 is known to a few hundredths."""
    ours, keras_s = both("mixed_bfloat16", activation="relu", padding="same")
    x = normal(ROWS, LENGTH, CHANNELS)
    assert_twins(ours, keras_s, x, graph=True, atol=0.15, rtol=0.02)


def operations(function: Any, *arguments: Any) -> set[str]:
    """The kinds of operations that TensorFlow makes of a tf.function."""
    context.enable_run_metadata()
    try:
        function(*arguments)
        graphs = context.export_run_metadata().function_graphs
        return {node.op for graph in graphs for node in graph.post_optimization_graph.node}
    finally:
        context.disable_run_metadata()


def test_relu_is_within_the_convolution_s_operation() -> None:
    """If TensorFlow made two operations of it again, nothing would be won, and no result would tell."""
    ours, keras_s = both(activation="relu", padding="same")
    x = tf.zeros((ROWS, LENGTH, CHANNELS))
    assert "Relu" in operations(tf.function(lambda x: keras_s(x)), x), "Keras's own is as fast now: ours is not needed"
    assert "Relu" not in operations(tf.function(lambda x: ours(x)), x)
