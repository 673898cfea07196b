"""The callbacks: when the weights are broadcast, what the metrics mean, what the learning rate is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import assert_alike, batches, mean_over_ranks, mine, small_model, weights

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


class Spy(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen = dict(logs)


def rows_of(rank: int) -> int:
    return 4 + 9 * rank


def unequal_data() -> tuple[np.ndarray, np.ndarray]:
    """Rank r has 4 + 9 r rows, and its errors are about r: an unweighted average would be far off."""
    random = np.random.default_rng(5)
    parts = [random.normal(size=(rows_of(r), 4)).astype("float32") for r in range(SIZE)]
    labels = [(np.arange(rows_of(r))[:, None] % 2 + 0.3 * r).astype("float32") for r in range(SIZE)]
    return parts, labels  # type: ignore[return-value]


def metric_model(**options: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.1))])
    metrics = [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.RootMeanSquaredError(name="rmse")]
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.0)), "mse", metrics=metrics, **options)
    return model


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("validate", [False, True])
def test_metrics_are_those_of_all_samples(position: str, validate: bool) -> None:
    """loss, MAE and RMSE of the whole set, to float32; every other callback and the history see them, in any order."""
    parts, labels = unequal_data()
    model, spy = metric_model(), Spy()
    average = hvd.callbacks.MetricAverageCallback()
    callbacks = [average, spy] if position == "first" else [spy, average]
    val = (parts[RANK][::-1] * 2, labels[RANK][::-1]) if validate else None
    # No steps in common, so each rank trains for itself: the rate is 0, and with it the number of steps is free.
    model.compile(optimizers.SGD(0.0), "mse", metrics=model._compile_metrics._user_metrics)
    history = model.fit(parts[RANK], labels[RANK], batch_size=4, validation_data=val, verbose=0, callbacks=callbacks)
    every_x, every_y = np.concatenate(parts), np.concatenate(labels)
    for prefix, factor in (("", 1), ("val_", 2)) if validate else (("", 1),):
        error = factor * every_x.sum(1, keepdims=True) * 0.1 - every_y
        expected = {"loss": np.mean(error**2), "mae": np.mean(np.abs(error)), "rmse": np.sqrt(np.mean(error**2))}
        for name, value in expected.items():
            np.testing.assert_allclose(spy.seen[prefix + name], value, rtol=1e-5, err_msg=prefix + name)
            np.testing.assert_allclose(history.history[prefix + name][0], value, rtol=1e-5)


def logs_of_fit(model: keras.Model, x: Any, y: Any) -> dict[str, list[float]]:
    model.compile(optimizers.SGD(0.0), loss="mse", metrics=model.own_metrics)
    callbacks = [hvd.callbacks.MetricAverageCallback()]
    return model.fit(x, y, validation_data=(x, y), verbose=0, callbacks=callbacks).history


def test_area_under_the_curve_is_that_of_all_samples() -> None:
    """An AUC is no mean: ranks' values cannot be averaged. Here every rank alone has 1.0 or 0.0."""
    scores = np.array([[0.2], [0.4]], "float32")
    labels = [np.array([[0.0], [1.0]]) if r % 2 == 0 else np.array([[1.0], [0.0]]) for r in range(SIZE)]
    one = keras.initializers.Constant(1.0)
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, kernel_initializer=one)])
    model.own_metrics = [keras.metrics.AUC(name="auc")]
    logs = logs_of_fit(model, scores + 0.1 * RANK, labels[RANK])
    reference = keras.metrics.AUC()
    for r in range(SIZE):
        reference.update_state(labels[r], scores + np.float32(0.1 * r))
    np.testing.assert_allclose([logs["auc"][0], logs["val_auc"][0]], float(reference.result()), rtol=1e-6)


class Largest(keras.metrics.Metric):
    """A metric of one's own whose state does not add up."""

    def __init__(self) -> None:
        super().__init__(name="largest")
        self.value = self.add_weight(initializer="zeros", name="value")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.value.assign(tf.maximum(self.value, tf.reduce_max(tf.cast(y_true, tf.float32))))

    def result(self) -> Any:
        return self.value


def test_other_metrics_are_weighted_by_samples() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.own_metrics = [Largest()]
    rows = rows_of(RANK)
    logs = logs_of_fit(model, np.zeros((rows, 4)), np.full((rows, 1), RANK + 1.0))
    total = sum(rows_of(r) for r in range(SIZE))
    expected = sum(rows_of(r) * (r + 1) for r in range(SIZE)) / total
    np.testing.assert_allclose([logs["largest"][0], logs["val_largest"][0]], expected, rtol=1e-6)


def test_metrics_without_a_model_are_averaged() -> None:
    logs = {"b": RANK + 1.0, "a": 2.0}
    hvd.callbacks.MetricAverageCallback().on_epoch_end(0, logs)
    assert logs == {"b": pytest.approx(mean_over_ranks(lambda r: r + 1.0)), "a": pytest.approx(2.0)}


def test_metric_on_some_ranks_only_is_an_error() -> None:
    if SIZE == 1:
        pytest.skip("one rank cannot disagree")
    logs = {"loss": 1.0} | ({"extra": 1.0} if RANK == 0 else {})
    with pytest.raises(hvd.MetricMismatchError, match=r"'extra' exists on ranks \[0\] and not on ranks \[1"):
        hvd.callbacks.MetricAverageCallback().on_epoch_end(0, logs)


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


def test_best_model_checkpoint(tmp_path: Path) -> None:
    x, y = batches(2)
    checkpoint = hvd.callbacks.BestModelCheckpoint(monitor="loss")
    checkpoint.filepath = str(tmp_path / "best.keras")
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.01)), "mse")
    model.fit(mine(x)[0], mine(y)[0], verbose=0, callbacks=[checkpoint])
    assert Path(checkpoint.filepath).exists()
