"""The callbacks: when the weights are broadcast, what the metrics mean, what the learning rate is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import assert_alike, batches, mine, small_model

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()
ROOT = SIZE - 1


def own_model(*, built: bool = True) -> keras.Model:
    """A model whose weights are all `rank`."""
    initial: dict[str, Any] = {"kernel_initializer": keras.initializers.Constant(RANK)}
    first = [keras.Input((4,))] if built else []
    return keras.Sequential([*first, layers.Dense(3, **initial), layers.Dropout(0.5), layers.Dense(2, **initial)])


class FirstKernel(keras.callbacks.Callback):
    """Remembers the first kernel when the first step begins and when it ends."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0 and self.model.layers[0].built:
            self.before = self.model.layers[0].kernel.numpy().copy()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.after = self.model.layers[0].kernel.numpy().copy()


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("built", [False, True])
def test_broadcast_comes_before_the_first_step(built: bool, eager: bool) -> None:
    """Rate 0, so a step shows nothing but the broadcast; and the loss of that step is that of the root's weights."""
    x, y = batches(1)
    model = own_model(built=built)
    model.layers[1].rate = 0.0
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.0)), "mse", run_eagerly=eager)
    seen = FirstKernel()
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(ROOT), seen]
    history = model.fit(mine(x)[0], mine(y)[0], batch_size=100, verbose=0, callbacks=callbacks)
    np.testing.assert_array_equal(seen.after, ROOT)
    if built:
        np.testing.assert_array_equal(seen.before, ROOT)
    hidden = mine(x)[0].sum(1, keepdims=True) * ROOT
    expected = np.mean((3 * ROOT * hidden - mine(y)[0]) ** 2)
    np.testing.assert_allclose(history.history["loss"][0], expected, rtol=1e-4)
    assert "train_step" not in vars(model) or model.train_step.__name__ == "train_step"


def test_broadcast_takes_the_optimizer_too(tmp_path: Path) -> None:
    """The root alone has trained before: weights, slots, iterations and rate go to the others."""
    x, y = batches(3)
    model = small_model()
    model.compile(optimizers.Adam(0.01 * (RANK + 1)), "mse", jit_compile=False)
    if RANK == ROOT:
        model.fit(x[0], y[0], verbose=0, epochs=3)
    model.compile(hvd.DistributedOptimizer(model.optimizer), "mse")
    model.optimizer.build(model.trainable_variables)
    done = hvd.callbacks.BroadcastGlobalVariablesCallback(ROOT)
    done.set_model(model)
    done.on_train_begin()
    assert_alike(np.concatenate([v.numpy().ravel() for v in [*model.variables, *model.optimizer.variables]]))
    assert int(model.optimizer.iterations) == 3 * -(-len(x[0]) // 32)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.01 * SIZE, rtol=1e-6)


class Restore(keras.callbacks.Callback):
    """What BackupAndRestore does on the root alone: weights and the epoch to go on with."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.when = when

    def restore(self) -> None:
        if RANK == ROOT:
            for variable in self.model.trainable_variables:
                variable.assign(np.full(variable.shape, 9.0))
            self.model.optimizer.iterations.assign(20)

    def on_train_begin(self, logs: Any = None) -> None:
        if RANK == ROOT:
            self.model._initial_epoch = 2
        if self.when == "train":
            self.restore()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.when == "epoch" and epoch == 2:
            self.restore()


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("when", ["train", "epoch"])
def test_restored_on_the_root_in_any_order(position: str, when: str) -> None:
    """Weights, iterations and first epoch are the root's when the first step begins; no rank waits for another."""
    x, y = batches(1)
    model = own_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.0)), "mse")
    callbacks = [
        hvd.callbacks.BroadcastGlobalVariablesCallback(ROOT),
        Restore(when),
        hvd.callbacks.MetricAverageCallback(),
    ]
    if position == "before":
        callbacks.reverse()
    history = model.fit(mine(x)[0], mine(y)[0], batch_size=100, epochs=4, verbose=0, callbacks=callbacks)
    assert history.epoch == [2, 3]
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), 9.0)
    assert int(model.optimizer.iterations) == 22


def adapted() -> layers.Normalization:
    """Adapted to rows of this rank: their mean is the rank, their variance its square plus one."""
    layer = layers.Normalization()
    layer.adapt(np.array([[-1.0], [1.0]], "float32") * np.sqrt(RANK**2 + 1.0) + RANK)
    return layer


PROBE = np.array([[5.0]], "float32")
NORMALIZED = (5.0 - ROOT) / np.sqrt(ROOT**2 + 1.0)


@pytest.mark.parametrize("built", [False, True])
def test_statistics_of_adapted_layers_are_the_roots(built: bool) -> None:
    """Also in functions of Keras that were traced before, and in the file that a rank saves."""
    norm = adapted()
    one = layers.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), norm, one] if built else [norm, one])
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.0)), "mse")
    if built:
        model.predict(PROBE, verbose=0)
        model.evaluate(PROBE, PROBE, verbose=0)
    logs = model.fit(PROBE, PROBE * 0, verbose=0, callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(ROOT)])
    np.testing.assert_allclose(np.asarray(norm(PROBE)), NORMALIZED, rtol=1e-5)
    np.testing.assert_allclose(model.predict(PROBE, verbose=0), NORMALIZED, rtol=1e-5)
    np.testing.assert_allclose(logs.history["loss"], NORMALIZED**2, rtol=1e-4)
    np.testing.assert_allclose(model.evaluate(PROBE, PROBE * 0, verbose=0), NORMALIZED**2, rtol=1e-4)


def test_statistics_of_a_model_that_is_not_compiled() -> None:
    model = keras.Sequential([keras.Input((1,)), adapted()])
    hvd.broadcast_variables(model.variables, ROOT)
    np.testing.assert_allclose(np.asarray(model(PROBE)), NORMALIZED, rtol=1e-5)


def test_broadcast_leaves_local_variables_and_noise() -> None:
    model = own_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.0)), "mse")
    seeds = [v for v in model.variables if v.name == "seed_generator_state"]
    seeds[0].assign([RANK, RANK])
    local = model.layers[0].variables
    callback = hvd.callbacks.BroadcastGlobalVariablesCallback(ROOT, local_variables=local)
    callback.set_model(model)
    callback.on_train_begin()
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), RANK)
    np.testing.assert_array_equal(model.layers[2].kernel.numpy(), ROOT)
    np.testing.assert_array_equal(seeds[0].numpy(), RANK)
    with pytest.raises(ValueError, match="local variables"):
        hvd.callbacks.BroadcastGlobalVariablesCallback(0, local_variables=["kernel"])


class OnlyTrainStep(keras.Model):
    """A model without call(): nothing can build its layer before the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(1, kernel_initializer=keras.initializers.Constant(RANK))

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.inner(x) - y))
        self.optimizer.apply(tape.gradient(loss, self.inner.trainable_variables), self.inner.trainable_variables)
        return {"loss": loss}


def test_model_that_cannot_be_built_is_broadcast_after_its_first_step(caplog: pytest.LogCaptureFixture) -> None:
    x, y = batches(2)
    model = OnlyTrainStep()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.0)))
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(ROOT)]
    model.fit(mine(x)[0], mine(y)[0][:, :1], batch_size=3, verbose=0, callbacks=callbacks)
    np.testing.assert_array_equal(model.inner.kernel.numpy(), ROOT)
    assert RANK != 0 or "broadcast after the first step" in caplog.text


def test_broadcast_global_variables() -> None:
    model = own_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.1 * (RANK + 1))), "mse")
    hvd.broadcast_global_variables(ROOT)
    np.testing.assert_array_equal(model.layers[2].kernel.numpy(), ROOT)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.1 * SIZE, rtol=1e-6)


def test_best_model_checkpoint(tmp_path: Path) -> None:
    x, y = batches(2)
    checkpoint = hvd.callbacks.BestModelCheckpoint(monitor="loss")
    checkpoint.filepath = str(tmp_path / "best.keras")
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.01)), "mse")
    model.fit(mine(x)[0], mine(y)[0], verbose=0, callbacks=[checkpoint])
    assert Path(checkpoint.filepath).exists()
