"""SyncBatchNormalization equals BatchNormalization on the ranks' batches put together.

Tolerance in float32: 1e-5 on outputs, input gradients and moving statistics; 5e-4 on weight gradients, sums of many terms of 1 to 10.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import TOLERANCE, assert_alike, batches, fit, mine, weights

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()


def rows_of(rank: int) -> int:
    return 2 + 3 * rank


def parts(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Rank r has 2 + 3 r rows, about 10 r, with deviation 1 + r."""
    random = np.random.default_rng(8)
    return [(10 * r + (1 + r) * random.normal(size=(rows_of(r), *shape))).astype("float32") for r in range(SIZE)]


def share(array: np.ndarray) -> np.ndarray:
    start = sum(rows_of(r) for r in range(RANK))
    return array[start : start + rows_of(RANK)]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((5,), {}),
        ((7, 3), {}),
        ((4, 3, 2), {"axis": 1}),
        ((6,), {"scale": False, "center": False}),
        ((5,), {"momentum": 0.5}),
    ],
    ids=str,
)
def test_equals_batch_normalization_of_all_rows(shape: tuple[int, ...], options: dict[str, Any], graph: bool) -> None:
    mine_x, all_x = parts(shape)[RANK], np.concatenate(parts(shape))
    target = np.random.default_rng(9).normal(size=all_x.shape).astype("float32")
    sync, plain = hvd.SyncBatchNormalization(**options), layers.BatchNormalization(**options)

    def losses(layer: Any, x: np.ndarray, y: np.ndarray) -> Any:
        x = tf.constant(x)
        layer.build(x.shape)

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            out = (tf.function(layer) if graph else layer)(x, training=True)
            loss = tf.reduce_sum(tf.square(out - y))
        return out, tape.gradient(loss, x), [tape.gradient(loss, v) for v in layer.trainable_variables]

    out, dx, dw = losses(sync, mine_x, share(target))
    expected, expected_dx, expected_dw = losses(plain, all_x, target)
    np.testing.assert_allclose(out, share(expected.numpy()), atol=1e-5)
    np.testing.assert_allclose(dx, share(expected_dx.numpy()), atol=1e-5)
    for ours, theirs in zip(dw, expected_dw, strict=True):
        np.testing.assert_allclose(hvd.allreduce(ours, op=hvd.Sum), theirs, rtol=1e-5, atol=5e-4)
    for ours, theirs in zip(sync.non_trainable_variables, plain.non_trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
        assert_alike(ours.numpy())


def test_large_mean_keeps_its_digits() -> None:
    """Mean 3000, deviation 1: E[x^2] - E[x]^2 in float32 would be wrong by about 1."""
    x = (3000 + np.random.default_rng(1).normal(size=(SIZE, 400, 2))).astype("float32")
    layer = hvd.SyncBatchNormalization(momentum=0.0)
    layer(x[RANK], training=True)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.astype("float64").var((0, 1)), rtol=1e-3)


def test_mask() -> None:
    """Steps that are masked do not count, on any rank."""
    x = np.stack([np.full((2, 4, 3), r + 1, "float32") for r in range(SIZE)])
    x += np.random.default_rng(3).normal(size=x.shape).astype("float32")
    mask = np.arange(4)[None, :] < np.stack([[1 + r % 3, 4] for r in range(SIZE)])[..., None]  # (SIZE, 2, 4)
    sync, plain = hvd.SyncBatchNormalization(momentum=0.0), layers.BatchNormalization(momentum=0.0)
    out = sync(x[RANK], training=True, mask=tf.constant(mask[RANK]))
    expected = plain(x.reshape(-1, 4, 3), training=True, mask=tf.constant(mask.reshape(-1, 4)))
    np.testing.assert_allclose(out, expected.numpy().reshape(x.shape)[RANK], atol=1e-5)
    np.testing.assert_allclose(sync.moving_mean.numpy(), plain.moving_mean.numpy(), rtol=1e-5)


def test_inference_needs_no_other_rank() -> None:
    layer = hvd.SyncBatchNormalization()
    if RANK == 0:
        np.testing.assert_allclose(layer(np.ones((1, 2), "float32")).numpy(), 1 / np.sqrt(1.001), rtol=1e-6)


def build(layer: Any) -> keras.Model:
    kernels = [keras.initializers.GlorotUniform(seed=s) for s in (3, 4)]
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, kernel_initializer=kernels[0]),
            layer(),
            layers.Dense(2, kernel_initializer=kernels[1]),
            layer(),
        ]
    )


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"steps_per_execution": 3}], ids=str)
def test_training_equals_one_process(options: dict[str, Any]) -> None:
    """Two layers in one model, with a distributed optimizer, in fit()."""
    x, y = batches()
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(0.05, momentum=0.9))
    together = fit(optimizer, mine(x), mine(y), lambda: build(hvd.SyncBatchNormalization), **options)
    alone = fit(optimizers.SGD(0.05, momentum=0.9), x, y, lambda: build(layers.BatchNormalization), run_eagerly=True)
    np.testing.assert_allclose(weights(together), weights(alone), atol=5 * TOLERANCE)
    assert_alike(weights(together))


def test_layers_made_in_another_number_on_each_rank() -> None:
    for _ in range(RANK):
        layer = hvd.SyncBatchNormalization()
        layer.build((None, 2))
    shared = hvd.SyncBatchNormalization(momentum=0.0)

    @tf.function
    def twice(x: tf.Tensor) -> tf.Tensor:
        return shared(shared(x, training=True) + 1, training=True)

    twice(tf.constant([[RANK + 1.0]]))
    np.testing.assert_allclose(shared.moving_mean.numpy(), 1.0, atol=1e-5)


def test_saved_as_batch_normalization(tmp_path: Path) -> None:
    """Plain Keras opens it; hvd.load_model makes it synchronous again."""
    x, y = batches(2)
    model = build(hvd.SyncBatchNormalization)
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.05)), "mse")
    model.fit(mine(x)[0], mine(y)[0], verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    plain = keras.models.load_model(path)
    assert type(plain.layers[1]) is layers.BatchNormalization
    np.testing.assert_allclose(plain.predict(x[0], verbose=0), model.predict(x[0], verbose=0), atol=1e-6)
    plain.fit(x[0], y[0], verbose=0)
    again = hvd.load_model(path)
    assert type(again.layers[1]) is hvd.SyncBatchNormalization
    again.fit(mine(x)[0], mine(y)[0], verbose=0)
    assert_alike(weights(again))
    with pytest.raises(ValueError, match="fused"):
        hvd.SyncBatchNormalization(fused=True)
