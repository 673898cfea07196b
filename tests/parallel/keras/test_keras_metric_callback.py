"""MetricAverageCallback: metrics of all samples, however they lie on the ranks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import mean_over_ranks

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()


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
