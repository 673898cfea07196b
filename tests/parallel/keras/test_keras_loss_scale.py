"""Mixed precision with loss scaling: whether a step is skipped is one decision of all ranks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import optimizers
from keras_training import assert_alike, batches, fit, mine, small_model, weights

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()


def outside(**options: Any) -> Any:
    return hvd.DistributedOptimizer(optimizers.LossScaleOptimizer(optimizers.SGD(1.0), initial_scale=4.0), **options)


def inside(**options: Any) -> Any:
    return optimizers.LossScaleOptimizer(hvd.DistributedOptimizer(optimizers.SGD(1.0), **options), initial_scale=4.0)


@pytest.mark.parametrize("make", [outside, inside])
@pytest.mark.parametrize("graph", [False, True])
def test_overflow_on_one_rank_skips_the_step_on_all(make: Any, graph: bool) -> None:
    variable = keras.Variable([0.0])
    optimizer = make()
    optimizer.build([variable])

    def apply(gradient: tf.Tensor) -> None:
        optimizer.apply([gradient], [variable])

    step = tf.function(apply) if graph else apply
    step(tf.constant([4.0 * (RANK + 1)]))
    np.testing.assert_allclose(variable.numpy(), [-(SIZE + 1) / 2])
    step(tf.constant([np.inf if RANK == SIZE - 1 else 1.0], tf.float32))
    np.testing.assert_allclose(variable.numpy(), [-(SIZE + 1) / 2])  # skipped
    assert float(optimizer.dynamic_scale) == 2.0  # halved
    step(tf.constant([2.0 * (RANK + 1)]))
    np.testing.assert_allclose(variable.numpy(), [-(SIZE + 1)])
    assert int(optimizer.iterations) == 2


def test_overflow_of_a_local_gradient_skips_the_step_on_all() -> None:
    local, common = keras.Variable([0.0], name="local"), keras.Variable([0.0], name="common")
    optimizer = outside()
    optimizer.register_local_var(local)
    bad = tf.constant([np.nan if RANK == 0 else 1.0], tf.float32)
    optimizer.apply([bad, tf.constant([1.0])], [local, common])
    assert float(common.numpy()[0]) == 0.0
    assert float(optimizer.dynamic_scale) == 2.0


def test_mixed_float16_model() -> None:
    """compile() puts the loss scaling around the distributed optimizer by itself."""
    keras.config.set_dtype_policy("mixed_float16")
    x, y = batches()
    models = []
    for optimizer, part in (
        (hvd.DistributedOptimizer(optimizers.SGD(0.05)), mine),
        (optimizers.SGD(0.05), lambda b: b),
    ):
        model = small_model()
        model.compile(optimizer, "mse", jit_compile=False)
        assert isinstance(model.optimizer, optimizers.LossScaleOptimizer)
        # Keras begins at 2 ** 15, where more rows in a batch make fewer overflows: other steps would be skipped.
        model.optimizer.initial_scale = 64.0
        for step in range(len(x)):
            model.train_on_batch(part(x)[step], part(y)[step])
        models.append(model)
    together, alone = map(weights, models)
    assert_alike(together)
    np.testing.assert_allclose(together, alone, atol=5e-3)  # float16 has 11 bits
    assert np.abs(together - weights(small_model())).max() > 0.02


def test_mixed_bfloat16_model() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    x, y = batches()
    together = fit(hvd.DistributedOptimizer(optimizers.SGD(0.05)), mine(x), mine(y))
    alone = fit(optimizers.SGD(0.05), x, y, jit_compile=False)
    assert_alike(weights(together))
    np.testing.assert_allclose(weights(together), weights(alone), atol=4e-2)  # 8 bits
