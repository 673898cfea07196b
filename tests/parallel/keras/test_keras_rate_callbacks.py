"""The callbacks that set a learning rate or a momentum: warmup, schedule, momentum correction."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import optimizers
from keras_training import batches, mine, small_model, weights

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()


STEPS_PER_EPOCH = 4


class Rates(keras.callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        self.rates: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        rate = self.model.optimizer.learning_rate
        self.rates.append(float(rate))


def rates_of(optimizer: Any, callback: Any, epochs: int) -> tuple[np.ndarray, dict[str, list[float]]]:
    x, y = batches(STEPS_PER_EPOCH)
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizer), "mse")
    watch = Rates()
    flat = mine(x).reshape(-1, 4), mine(y).reshape(-1, 2)
    fit = model.fit(*flat, batch_size=mine(x).shape[1], epochs=epochs, verbose=0, callbacks=[callback, watch])
    return np.array(watch.rates), fit.history


def test_warmup_from_one_rank_to_all(capsys: pytest.CaptureFixture[str]) -> None:
    """lr(epoch) = lr / size * (epoch * (size - 1) / warmup + 1), at the end of each batch."""
    callback = hvd.callbacks.LearningRateWarmupCallback(initial_lr=0.08, warmup_epochs=2, verbose=1)
    rates, history = rates_of(optimizers.Adam(0.08), callback, epochs=3)
    epoch = np.minimum(np.arange(1, 13) / STEPS_PER_EPOCH, 2)
    np.testing.assert_allclose(rates, 0.08 / SIZE * (epoch * (SIZE - 1) / 2 + 1), rtol=1e-6)
    np.testing.assert_allclose(history["lr"], rates[STEPS_PER_EPOCH - 1 :: STEPS_PER_EPOCH], rtol=1e-6)
    assert ("finished gradual learning rate warmup to 0.08" in capsys.readouterr().out) == (RANK == 0)


def test_schedule_callback() -> None:
    def of(**options: Any) -> np.ndarray:
        return rates_of(optimizers.SGD(1.0), hvd.callbacks.LearningRateScheduleCallback(0.5, **options), 3)[0]

    by_step = np.arange(12) / STEPS_PER_EPOCH
    np.testing.assert_allclose(of(multiplier=0.1), 0.5 * 0.1 ** np.floor(by_step), rtol=1e-6)
    smooth = of(multiplier=lambda epoch: 1 + epoch, staircase=False, start_epoch=1, end_epoch=2)
    expected = np.where(by_step < 1, 1.0, 0.5 * (1 + np.clip(by_step, 1, 1.75)))
    np.testing.assert_allclose(smooth, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="initial_lr"):
        hvd.callbacks.LearningRateScheduleCallback(None, 0.1)


def test_warmup_of_an_optimizer_with_a_schedule() -> None:
    """The schedule stays, times the warm-up; it is saved as the schedule it was."""
    decay = optimizers.schedules.ExponentialDecay(0.1, 4, 0.5)
    optimizer = optimizers.SGD(decay)
    callback = hvd.callbacks.LearningRateWarmupCallback(initial_lr=0.1, warmup_epochs=2)
    rates, _ = rates_of(optimizer, callback, epochs=3)
    factor = 1 / SIZE * (np.minimum(np.arange(1, 13) / STEPS_PER_EPOCH, 2) * (SIZE - 1) / 2 + 1)
    # The rate is read after the step, when the count is one further.
    np.testing.assert_allclose(rates, 0.1 * 0.5 ** (np.arange(1, 13) / 4) * factor, rtol=1e-5)
    config = keras.optimizers.serialize(optimizer)["config"]["learning_rate"]
    assert (config["module"], config["class_name"]) == ("keras.optimizers.schedules", "ExponentialDecay")
    with pytest.raises(TypeError, match="cannot be set"):
        rates_of(optimizers.SGD(lambda: 0.1), callback, 1)


@pytest.mark.parametrize("make", [optimizers.SGD, optimizers.RMSprop])
def test_momentum_correction(make: Any) -> None:
    """A new rate multiplies the velocity by new / old, once: a step without gradient then moves by that much more."""

    def velocity_after(correction: bool) -> np.ndarray:
        variable = keras.Variable([0.0])
        optimizer = hvd.DistributedOptimizer(make(0.1, momentum=0.5))
        model = small_model()
        model.compile(optimizer, "mse")
        optimizer.apply([tf.constant([1.0])], [variable])
        before = variable.numpy().copy()
        callback = hvd.callbacks.LearningRateScheduleCallback(0.1, lambda e: 4.0, momentum_correction=correction)
        callback.set_model(model)
        callback.set_params({"steps": 1})
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        callback.on_batch_begin(0)
        optimizer.apply([tf.constant([0.0])], [variable])
        return (variable.numpy() - before) / before

    np.testing.assert_allclose(velocity_after(False), [0.5], rtol=1e-5)
    np.testing.assert_allclose(velocity_after(True), [2.0], rtol=1e-5)


def test_momentum_correction_equals_horovods_formula() -> None:
    """In fit(), compiled: v = m * (new / old) * v - new * g, at every change of the rate."""
    x, y = batches(STEPS_PER_EPOCH)
    model, reference = small_model(), small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.02, momentum=0.9)), "mse")
    callback = hvd.callbacks.LearningRateScheduleCallback(0.02, lambda e: 1 + e, staircase=False)
    flat = mine(x).reshape(-1, 4), mine(y).reshape(-1, 2)
    model.fit(*flat, batch_size=mine(x).shape[1], epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    v = [np.zeros(w.shape, "float32") for w in reference.trainable_variables]
    old = 0.02
    for step in range(2 * STEPS_PER_EPOCH):
        new = 0.02 * (1 + step / STEPS_PER_EPOCH)
        with tf.GradientTape() as tape:
            error = reference(x[step % STEPS_PER_EPOCH]) - y[step % STEPS_PER_EPOCH]
            loss = tf.reduce_mean(tf.square(error))
        for i, g in enumerate(tape.gradient(loss, reference.trainable_variables)):
            v[i] = 0.9 * (new / old) * v[i] - new * g.numpy()
            reference.trainable_variables[i].assign_add(v[i])
        old = new
    np.testing.assert_allclose(weights(model), weights(reference), atol=2e-5)
