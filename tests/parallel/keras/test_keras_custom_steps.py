"""Gradients outside of fit(): a custom loop, a tape, a train step with several optimizers, local variables."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import (
    TOLERANCE,
    assert_alike,
    assert_same_training,
    batches,
    fit,
    mean_over_ranks,
    mine,
    small_model,
    trained_alone,
    trained_together,
    weights,
)

import hvd_train.keras as hvd
from hvd_train.keras import checks

SIZE, RANK = hvd.size(), hvd.rank()


@pytest.mark.parametrize(("scale", "share"), [(True, 1.0 / SIZE), (False, 1.0)])
def test_local_variables(scale: bool, share: float) -> None:
    local, common = (keras.Variable(np.zeros(1, "float32"), name=n) for n in ("local", "common"))
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(1.0), scale_local_gradients=scale)
    optimizer.register_local_var(local)
    optimizer.apply([tf.constant([RANK + 1.0])] * 2, [local, common])
    np.testing.assert_allclose(local.numpy(), [-(RANK + 1.0) * share])
    np.testing.assert_allclose(common.numpy(), [-mean_over_ranks(lambda r: r + 1.0)])


def test_partial_distributed_optimizer() -> None:
    model = small_model()
    optimizer = hvd.PartialDistributedOptimizer(optimizers.SGD(1.0), local_layers=model.layers[0])
    start = weights(model)
    optimizer.apply([tf.fill(v.shape, RANK + 1.0) for v in model.trainable_variables], model.trainable_variables)
    moved = start - weights(model)
    local = model.layers[0].count_params()
    np.testing.assert_allclose(moved[:local], (RANK + 1.0) / SIZE, rtol=1e-5)
    np.testing.assert_allclose(moved[local:], (SIZE + 1) / 2, rtol=1e-5)
    with pytest.raises(ValueError, match="must be built"):
        hvd.PartialDistributedOptimizer(optimizers.SGD(), local_layers=[layers.Dense(1)])


def test_none_gradients_are_left_out() -> None:
    a, b = keras.Variable(np.zeros(1, "float32")), keras.Variable(np.zeros(1, "float32"))
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(1.0))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, tf.constant([RANK + 1.0])], [a, b])
    np.testing.assert_allclose([a.numpy()[0], b.numpy()[0]], [0, -(SIZE + 1) / 2])
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None, None], [a, b])


def test_mixed_types_of_numbers() -> None:
    """float32, float64 and bfloat16 (which Horovod does not reduce: it travels as float32) in one step."""
    variables = [keras.Variable(np.zeros(2), dtype=d) for d in ("float32", "float64", "bfloat16")]
    gradients = [tf.cast(tf.fill([2], RANK + 1.0), v.dtype) for v in variables]
    hvd.DistributedOptimizer(optimizers.SGD(1.0)).apply(gradients, variables)
    for v in variables:
        np.testing.assert_allclose(np.asarray(v.numpy(), "float64"), -(SIZE + 1) / 2)


def test_no_trainable_variables() -> None:
    model = small_model()
    model.trainable = False
    x, y = batches()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        fit(hvd.DistributedOptimizer(optimizers.Adam()), mine(x), mine(y), lambda: model)
    hvd.DistributedOptimizer(optimizers.SGD()).apply([], [])
    np.testing.assert_array_equal(weights(model), weights(small_model()))


def test_frozen_layer() -> None:
    def build() -> keras.Model:
        model = small_model()
        model.layers[0].trainable = False
        return model

    together = trained_together(optimizers.Adam(0.01), build=build)
    assert_same_training(together, trained_alone(optimizers.Adam(0.01), build=build))
    np.testing.assert_array_equal(together.layers[0].kernel.numpy(), small_model().layers[0].kernel.numpy())


def test_custom_loop() -> None:
    x, y = batches()
    model, optimizer = small_model(), hvd.DistributedOptimizer(optimizers.Adam(0.01))

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))  # noqa: B905

    for number in range(len(x)):
        step(mine(x)[number], mine(y)[number])
    assert_same_training(model, trained_alone(optimizers.Adam(0.01)))


@pytest.mark.parametrize("also_optimizer", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_distributed_gradient_tape(also_optimizer: bool, graph: bool) -> None:
    """With a plain optimizer; with a distributed one too, where a second sum would show."""
    source = keras.Variable(np.ones(3, "float32"))
    plain = optimizers.SGD(1.0)
    optimizer = hvd.DistributedOptimizer(plain, op=hvd.Sum) if also_optimizer else plain

    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(source * (RANK + 1.0))
        [gradient] = hvd.DistributedGradientTape(tape, op=hvd.Sum).gradient(loss, [source])
        optimizer.apply([gradient], [source])
        return gradient

    total = SIZE * (SIZE + 1) / 2
    np.testing.assert_allclose((tf.function(step) if graph else step)().numpy(), total)
    np.testing.assert_allclose(source.numpy(), 1 - total)


def test_tape_sources_in_a_structure_and_local_ones() -> None:
    a, b = keras.Variable(1.0), keras.Variable(1.0)
    with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
        loss = (a + 2 * b) * (RANK + 1.0)
    tape.register_local_source(b)
    gradients = tape.gradient(loss, {"a": a, "b": [b]})
    np.testing.assert_allclose(gradients["a"], (SIZE + 1) / 2)
    np.testing.assert_allclose(gradients["b"][0], 2 * (RANK + 1.0) / SIZE)


def test_compute_gradients_then_apply_averages_once() -> None:
    variable = keras.Variable([0.0])
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(1.0), op=hvd.Sum)
    pairs = optimizer.compute_gradients(lambda: variable * (RANK + 1.0), [variable])
    optimizer.apply_gradients(pairs)
    total = SIZE * (SIZE + 1) / 2
    np.testing.assert_allclose(variable.numpy(), [-total])
    optimizer.minimize(lambda: variable * (RANK + 1.0), [variable])
    np.testing.assert_allclose(variable.numpy(), [-2 * total])
    optimizer.apply_gradients([(tf.constant([1.0]), variable)], skip_gradients_aggregation=True)
    np.testing.assert_allclose(variable.numpy(), [-2 * total - 1])


class TwoOptimizers(keras.Model):
    """A custom train_step with an optimizer for each half, both at work in one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_model()

    def call(self, x: Any) -> Any:
        return self.net(x)

    def set(self, make: Any) -> TwoOptimizers:
        self.first, self.second = make(optimizers.SGD(0.05)), make(optimizers.Adam(0.01))
        self.compile(loss="mse", optimizer=make(optimizers.SGD()))
        return self

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        v = self.net.trainable_variables
        gradients = tape.gradient(loss, v)
        self.first.apply_gradients(list(zip(gradients[:2], v[:2], strict=True)))
        self.second.apply_gradients(list(zip(gradients[2:], v[2:], strict=True)))
        return {"loss": loss}


def test_several_optimizers_in_a_custom_train_step() -> None:
    x, y = batches()
    together, alone = TwoOptimizers().set(hvd.DistributedOptimizer), TwoOptimizers().set(lambda o: o)
    together.fit(mine(x).reshape(-1, 4), mine(y).reshape(-1, 2), batch_size=mine(x).shape[1], shuffle=False, verbose=0)
    alone.fit(x.reshape(-1, 4), y.reshape(-1, 2), batch_size=x.shape[1], shuffle=False, verbose=0)
    np.testing.assert_allclose(weights(together), weights(alone), atol=TOLERANCE)
    assert_alike(weights(together))


def test_optimizers_made_in_another_number_on_each_rank() -> None:
    """The ranks agree on the collectives' names: rank 0 may have built something for itself before."""
    for _ in range(RANK):
        small_model()
        hvd.DistributedOptimizer(optimizers.SGD())
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.Adam(0.01)), "mse")
    model.optimizer.build(model.trainable_variables)
    hvd.broadcast_variables([*model.variables, *model.optimizer.variables], root_rank=0)
    assert_same_training(trained_together(optimizers.Adam(0.01)), trained_alone(optimizers.Adam(0.01)))


def test_one_collective_per_step() -> None:
    """A step's graph holds one grouped allreduce, and no Python: this is what makes it fast."""
    variables = small_model().trainable_variables
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(1.0))
    step = tf.function(lambda: optimizer.apply([tf.ones(v.shape) for v in variables], variables))
    kinds = [op.type for op in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("HorovodGroupedAllreduce") == (1 if SIZE > 1 else 0)
    assert not {"PyFunc", "EagerPyFunc", "HorovodAllgather"} & set(kinds)


def test_a_custom_loop_in_a_tf_function_is_traced_without_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AutoGraph converts what a user's function calls, and warned with four lines where it could not."""
    original = checks.describe

    def describe(*arguments: Any) -> list[str]:  # a function that AutoGraph has not warned about before
        return lines if (lines := original(*arguments)) else []

    monkeypatch.setattr(checks, "describe", describe)
    model = small_model()
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(0.1))
    own = hvd.DistributedOptimizer(optimizers.SGD(0.1), sparse_as_dense=True)

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        own.minimize(lambda: tf.reduce_sum(model(x) ** 2), model.trainable_variables)
        with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
            loss = tf.reduce_sum(model(x) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return hvd.allreduce(loss) + tf.reduce_sum(hvd.allgather(loss[tf.newaxis])) + hvd.broadcast(loss, 0)

    own.build(model.trainable_variables)
    optimizer.build(model.trainable_variables)
    logger = tf.get_logger()
    logger.propagate = True
    before = logger.level
    logger.setLevel("WARNING")
    try:
        assert np.isfinite(step(tf.ones((2, 4))))
    finally:
        logger.setLevel(before)
    assert "AutoGraph" not in caplog.text
