"""The dense layer of training against Keras's own: outputs and gradients."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
from layer_twins import assert_twins, normal, twins

from hvd_train.models.dense import Dense
from hvd_train.training.precision.float32_copy import built_in

ROWS, INPUTS, UNITS = 5, 7, 4


def both(dtype: str = "float32", **options: Any) -> tuple[Any, Any]:
    return twins((Dense, keras.layers.Dense), UNITS, input_shape=(INPUTS,), dtype=dtype, **options)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("options", [{}, {"activation": "relu"}, {"activation": "tanh", "use_bias": False}], ids=str)
@pytest.mark.parametrize("between", [(), (3,)], ids=["rows of numbers", "rows of members"])
def test_equals_keras_s(between: tuple[int, ...], options: dict[str, Any], graph: bool) -> None:
    ours, keras_s = both(**options)
    x = normal(ROWS, *between, INPUTS)
    assert_twins(ours, keras_s, x, graph=graph, atol=2e-6)


def test_in_bfloat16() -> None:
    """8 bits of mantissa: a sum of seven numbers about 1 is known to a hundredth."""
    ours, keras_s = both("mixed_bfloat16", activation="relu")
    x = normal(ROWS, INPUTS)
    assert_twins(ours, keras_s, x, graph=True, atol=0.03, rtol=0.02)


def test_the_inputs_gradient_is_the_product_that_packs_nothing() -> None:
    """If it went back to MatMul nothing would be won, and no result would tell."""

    def gradient(layer: Any) -> set[str]:
        def of(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
            return tape.gradient(y, x)

        graph = tf.function(of).get_concrete_function(tf.TensorSpec((None, INPUTS))).graph
        return {operation.type for operation in graph.get_operations()}

    ours, keras_s = both()
    assert "BatchMatMulV2" not in gradient(keras_s), "Keras's own does it too: ours is not needed"
    assert "BatchMatMulV2" in gradient(ours)


def test_keras_s_own_takes_its_place_in_a_saved_model() -> None:
    ours, _ = both(activation="relu")
    assert type(built_in(ours)) is keras.layers.Dense
