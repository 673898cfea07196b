"""The arguments of DistributedOptimizer, and the programs that are not a plain fit()."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import (
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
from hvd_train.keras.optimizers import gradients

SIZE, RANK = hvd.size(), hvd.rank()


def test_the_largest_gradient_is_sent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Horovod puts neighbours together up to its threshold: a large one between small ones makes two messages of them."""
    sent: list[list[int]] = []
    real = gradients._horovod.grouped_allreduce

    def grouped_allreduce(tensors: list[Any], **options: Any) -> Any:
        sent.append([int(tf.size(t)) for t in tensors])
        return real(tensors, **options)

    monkeypatch.setattr(gradients._horovod, "grouped_allreduce", grouped_allreduce)
    sizes = (3, 1, 50, 2, 1)
    variables = [keras.Variable(np.full(n, 5.0, "float32")) for n in sizes]
    by_size = [tf.fill([n], float(n)) for n in sizes]
    hvd.DistributedOptimizer(optimizers.SGD(1.0)).apply(by_size, variables)
    assert sent == [[50, 3, 2, 1, 1]] * (SIZE > 1)
    for n, variable in zip(sizes, variables, strict=True):
        assert (variable.numpy() == 5.0 - n).all(), "each variable gets its own"


def one_update(gradient: Any, value: Any, **wrap: Any) -> np.ndarray:
    """SGD of rate 1 on one variable: it ends at value - (what the gradient became)."""
    variable = keras.Variable(np.asarray(value, "float32"))
    hvd.DistributedOptimizer(optimizers.SGD(1.0), **wrap).apply([gradient], [variable])
    return variable.numpy()


@pytest.mark.parametrize(
    "wrap",
    [
        {"gradient_predivide_factor": 2.0},
        pytest.param({"groups": 1}, marks=pytest.mark.slow),
        {"groups": 3},
        pytest.param({"groups": 100}, marks=pytest.mark.slow),
        {"name": "My optimizer's".replace(" ", "_").replace("'", "")},
        {"backward_passes_per_step": 1, "average_aggregated_gradients": True},
    ],
    ids=str,
)
def test_arguments_that_do_not_change_the_result(wrap: dict[str, Any]) -> None:
    assert_same_training(trained_together(optimizers.Adam(0.01), wrap), trained_alone(optimizers.Adam(0.01)))


def test_groups_of_variables() -> None:
    x, y = batches()
    model = small_model()
    v = model.trainable_variables
    # The last variable is in no group, and is sent by itself.
    optimizer = hvd.DistributedOptimizer(optimizers.Adam(0.01), groups=[[v[0], v[2]], [v[1]]])
    assert_same_training(fit(optimizer, mine(x), mine(y), lambda: model), trained_alone(optimizers.Adam(0.01)))


def test_sum() -> None:
    gradient = tf.constant([RANK + 1.0, 2.0])
    total = SIZE * (SIZE + 1) / 2
    np.testing.assert_allclose(one_update(gradient, [0, 0], op=hvd.Sum), [-total, -2 * SIZE])


def test_compression_fp16() -> None:
    """Half precision has 11 bits: 2 ** -11 relative. 1 + 2**-13 is not among its numbers, so it shows."""
    value = 1.0 + 2.0**-13
    result = one_update(tf.constant([value]), [0.0], compression=hvd.Compression.fp16)
    np.testing.assert_allclose(result, [-value], rtol=2.0**-11)
    assert SIZE == 1 or result[0] == -1.0
    together = trained_together(optimizers.SGD(0.05), {"compression": hvd.Compression.fp16})
    np.testing.assert_allclose(weights(together), weights(trained_alone(optimizers.SGD(0.05))), atol=2e-3)
    assert_alike(weights(together))


def test_predivide_divides_before_the_sum() -> None:
    """With f = size the sum is of gradient / size: large gradients that would overflow in the sum do not."""
    huge = 3.0e38  # the largest float32 is 3.4e38
    result = one_update(tf.constant([huge]), [0.0], gradient_predivide_factor=float(SIZE))
    np.testing.assert_allclose(result, [-huge], rtol=1e-6)


def test_process_set_of_some_ranks() -> None:
    if SIZE == 1:
        pytest.skip("needs a rank to leave out")
    members = hvd.ProcessSet(list(range(SIZE - 1)))
    hvd.add_process_set(members)
    try:
        result = one_update(tf.constant([RANK + 1.0]), [0.0], process_set=members)
        inside = sum(range(1, SIZE)) / (SIZE - 1)
        np.testing.assert_allclose(result, [-(RANK + 1.0) if RANK == SIZE - 1 else -inside])
    finally:
        hvd.remove_process_set(members)


def embedding_model() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(7, 2, embeddings_initializer=keras.initializers.RandomUniform(seed=5)),
            layers.Flatten(),
            layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=6)),
        ]
    )


class DenseAdam(optimizers.Adam):
    """Keras squares IndexedSlices row by row, before rows of the same index are added: full tensors differ from that."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        super().apply([tf.convert_to_tensor(g) for g in grads], trainable_variables)


@pytest.mark.parametrize(
    ("sparse_as_dense", "make", "reference"),
    [
        (False, optimizers.SGD, optimizers.SGD),
        (True, optimizers.SGD, optimizers.SGD),
        (False, optimizers.Adam, optimizers.Adam),
        (True, optimizers.Adam, DenseAdam),
    ],
)
def test_embedding(sparse_as_dense: bool, make: Any, reference: Any) -> None:
    """IndexedSlices, with the same rows on several ranks and twice on one."""
    random = np.random.default_rng(2)
    x = random.integers(0, 7, size=(4, SIZE * 5, 3)).astype("int32")
    y = random.normal(size=(4, SIZE * 5, 1)).astype("float32")
    together = fit(
        hvd.DistributedOptimizer(make(0.02), sparse_as_dense=sparse_as_dense), mine(x), mine(y), embedding_model
    )
    assert_same_training(together, fit(reference(0.02), x, y, embedding_model, run_eagerly=True))


def test_sparse_gradients_stay_sparse() -> None:
    slices = tf.IndexedSlices(tf.constant([[RANK + 1.0]]), tf.constant([RANK]), tf.constant([SIZE, 1]))
    variable = keras.Variable(np.zeros((SIZE, 1), "float32"))
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(1.0))
    [(reduced, _)] = [(g, v) for g, v in zip(optimizer._hvd_reduce([slices], [variable]), [variable], strict=True)]
    assert isinstance(reduced, tf.IndexedSlices)
    optimizer.apply([reduced], [variable])
    np.testing.assert_allclose(variable.numpy()[:, 0], [-(r + 1.0) / SIZE for r in range(SIZE)])


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_backward_passes_per_step(average: bool, graph: bool) -> None:
    """Gradient of pass p on rank r is (r + 1) * p; two passes a step. Passes without an update count as iterations."""
    variable = keras.Variable(np.zeros(2, "float32"))
    optimizer = hvd.DistributedOptimizer(
        optimizers.SGD(1.0), backward_passes_per_step=2, average_aggregated_gradients=average
    )
    step = (
        tf.function(lambda g: optimizer.apply([g], [variable]))
        if graph
        else (lambda g: optimizer.apply([g], [variable]))
    )
    expected = 0.0
    for number in range(1, 6):
        step(tf.fill([2], (RANK + 1.0) * number))
        if number % 2 == 0:
            expected -= mean_over_ranks(lambda r: r + 1.0) * (2 * number - 1) / (2 if average else 1)
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)
        assert int(optimizer.iterations) == number
    assert int(optimizer._agg_helper.counter) == 1


def test_backward_passes_are_one_pass_over_the_joint_batch() -> None:
    """Two averaged passes equal one process on twice the batch, in fit()."""
    x, y = batches()
    rows = x.reshape(len(x) // 2, -1, *x.shape[2:]), y.reshape(len(y) // 2, -1, *y.shape[2:])
    wrap = {"backward_passes_per_step": 2, "average_aggregated_gradients": True}
    together = trained_together(optimizers.SGD(0.05, momentum=0.9), wrap)
    alone = fit(optimizers.SGD(0.05, momentum=0.9), *rows, run_eagerly=True)
    assert_same_training(together, alone)


def test_backward_passes_with_sparse_gradients() -> None:
    variable = keras.Variable(np.zeros((3, 1), "float32"))
    optimizer = hvd.DistributedOptimizer(optimizers.SGD(1.0), backward_passes_per_step=2)
    for row in (0, 2):
        slices = tf.IndexedSlices(tf.constant([[RANK + 1.0]]), tf.constant([row]), tf.constant([3, 1]))
        optimizer.apply([slices], [variable])
    np.testing.assert_allclose(variable.numpy()[:, 0], [-mean_over_ranks(lambda r: r + 1.0), 0, -(SIZE + 1) / 2])
