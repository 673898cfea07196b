"""KerasState and the elastic callbacks, without ranks that come and go (tests/launch/keras/test_keras_elastic.py has those)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, optimizers
from keras_training import assert_alike, batches, mine, small_model, weights

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()


def state_of_rank(**options: Any) -> Any:
    """A state with weights and counts of this rank's own."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Dropout(0.5)])
    model.compile(hvd.DistributedOptimizer(optimizers.Adam(0.01 * (RANK + 1)), **options), "mse")
    model.layers[0].kernel.assign(np.full((3, 2), RANK))
    return hvd.elastic.KerasState(model, batch=20 + RANK, epoch=10 + RANK)


def test_sync_takes_the_state_of_rank_0() -> None:
    state = state_of_rank()
    state.sync()
    np.testing.assert_array_equal(state.model.layers[0].kernel.numpy(), 0)
    np.testing.assert_allclose(float(state.optimizer.learning_rate), 0.01, rtol=1e-6)
    assert (state.batch, state.epoch) == (20, 10)
    assert_alike(np.concatenate([v.numpy().ravel() for v in state.optimizer.variables]))


def test_restore_goes_back_to_the_last_commit() -> None:
    state = state_of_rank()
    state.sync()
    x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
    state.model.fit(x, y, verbose=0)
    state.batch = 21
    state.commit()
    committed = [v.numpy().copy() for v in [*state.model.variables, *state.optimizer.variables]]
    state.model.fit(x, y, verbose=0)
    state.batch, state.epoch = 30, 30
    state.restore()
    assert (state.batch, state.epoch) == (21, 10)
    for variable, value in zip([*state.model.variables, *state.optimizer.variables], committed, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert int(state.optimizer.iterations) == 1


def test_restore_forgets_half_a_step() -> None:
    """Gradients summed since the last commit (backward_passes_per_step) go, too."""
    state = state_of_rank(backward_passes_per_step=2)
    state.sync()
    state.model.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))
    assert int(state.optimizer.hvd_state.aggregation.counter) == 1
    state.restore()
    assert int(state.optimizer.hvd_state.aggregation.counter) == 0


def test_ranks_that_made_other_optimizers_agree_after_sync() -> None:
    for _ in range(RANK):
        hvd.DistributedOptimizer(optimizers.SGD()).hvd_state.take(50 + RANK)
    state = state_of_rank()
    state.sync()
    number = state.optimizer.hvd_state.number
    assert number is not None
    assert hvd.allgather_object(number) == [number] * SIZE


class Commits:
    """A state that writes down what it is told."""

    def __init__(self, batch: int = 0, epoch: int = 0) -> None:
        self.batch, self.epoch = batch, epoch
        self.log: list[tuple[int, int]] = []

    def commit(self) -> None:
        self.log.append((self.epoch, self.batch))


def run(state: Commits, callbacks: list[Any], epochs: int = 2, steps: int = 4) -> int:
    x, y = batches(steps)
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.01)), "mse")
    flat = mine(x).reshape(-1, 4), mine(y).reshape(-1, 2)
    model.fit(*flat, batch_size=mine(x).shape[1], epochs=epochs, verbose=0, callbacks=callbacks)
    assert_alike(weights(model))
    return int(model.optimizer.iterations)


def test_callbacks() -> None:
    state = Commits(epoch=5)
    callbacks = [
        hvd.elastic.UpdateBatchStateCallback(state),
        hvd.elastic.UpdateEpochStateCallback(state),
        hvd.elastic.CommitStateCallback(state, batches_per_commit=3),
    ]
    assert run(state, callbacks) == 8
    # After 3 batches and at the end of an epoch; the count of batches goes on over epochs, as in Horovod.
    assert state.log == [(5, 2), (6, 0), (6, 1), (7, 0)]
    assert (state.epoch, state.batch) == (7, 0)


def test_the_first_epoch_after_a_reset_is_shortened() -> None:
    """Three of four batches were done: one is left in this epoch, and all four in the next."""
    state = Commits(batch=3)
    assert run(state, [hvd.elastic.UpdateBatchStateCallback(state)]) == 1 + 4


class StopAtOnce(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = True


def test_another_callback_can_still_stop_the_training() -> None:
    """In any order: the shortened epoch ends by the same flag."""
    state = Commits(batch=3)
    assert run(state, [StopAtOnce(), hvd.elastic.UpdateBatchStateCallback(state)]) == 1
