"""Ranks that hold other values or train otherwise than the root are found, and named on every rank."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import batches, fit, mine, small_model

import hvd_train.keras as hvd
from hvd_train.keras import basics, checks
from hvd_train.keras.optimizers import hidden

SIZE, RANK = hvd.size(), hvd.rank()
several = pytest.mark.skipif(SIZE == 1, reason="one rank cannot disagree")


def lookup(words: list[str]) -> layers.Layer:
    layer = layers.StringLookup()
    layer.adapt(np.array(words)[:, np.newaxis])
    return layer


# What each rank would hold, by kind of layer: `r` is 0 on the root and 1 on the others.
HELD = {
    "StringLookup, adapted": lambda r: lookup(["red", "blue", ["grey", "pink"][r]]),
    "StringLookup, given": lambda r: layers.StringLookup(vocabulary=["red", ["grey", "pink"][r]]),
    "IntegerLookup": lambda r: layers.IntegerLookup(vocabulary=[1, 2 + r]),
    "TextVectorization": lambda r: layers.TextVectorization(vocabulary=["red", ["grey", "pink"][r]]),
    "TextVectorization, weights": lambda r: layers.TextVectorization(
        vocabulary=["red"], output_mode="tf_idf", idf_weights=[0.5 + r]
    ),
    "Hashing": lambda r: layers.Hashing(num_bins=4, salt=7 + r),
    "HashedCrossing": lambda r: layers.HashedCrossing(num_bins=4 + r),
    "Discretization": lambda r: layers.Discretization(bin_boundaries=[0.0, 1.0 + r]),
    "Normalization, given": lambda r: layers.Normalization(mean=float(r), variance=1.0),
    "Rescaling": lambda r: layers.Rescaling(1.0 + r),
    "CategoryEncoding": lambda r: layers.CategoryEncoding(num_tokens=4 + r),
}


@several
@pytest.mark.parametrize("make", HELD.values(), ids=HELD.keys())
def test_layers_that_hold_other_values_than_the_roots(make: Any) -> None:
    """What no variable holds is compared: names and ranks on every rank. The same values, whatever the names, pass."""

    def agree(layer: layers.Layer) -> None:
        held = hidden.contents([keras.Sequential([layer])])
        checks.agree([], number=0, process_set=hvd.global_process_set, contents=held)

    agree(make(0))
    if RANK == 0:
        make(1)  # moves Keras' running number for names
    agree(make(0))
    with pytest.raises(hvd.ModelMismatchError) as caught:
        agree(make(min(RANK, 1)))
    others = list(range(1, SIZE))
    assert f"holds other values on ranks {others} than on rank 0" in str(caught.value)
    assert type(make(0)).__name__ in str(caught.value)


@several
def test_other_vocabularies_are_found_before_the_first_step() -> None:
    words = np.array([["red"], ["blue"], [["grey"], ["pink"]][min(RANK, 1)]])
    codes = layers.StringLookup()
    codes.adapt(words)
    rows = keras.Input((1,), dtype="string")
    model = keras.Model(rows, layers.Dense(1)(layers.Flatten()(layers.Embedding(4, 2)(codes(rows)))))
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.1)), "mse")
    with pytest.raises(hvd.ModelMismatchError, match="string_lookup.*pink.*grey.*broadcast_object"):
        model.fit(tf.data.Dataset.from_tensors((words, np.ones((3, 1)))), verbose=0, shuffle=False)


class OfSomeRanks(keras.callbacks.Callback):
    """What EarlyStopping, ReduceLROnPlateau or BackupAndRestore do, after the first epoch, on the root alone."""

    def __init__(
        self,
        *,
        stop: bool = False,
        rate: float | None = None,
        go_on_with: int | None = None,
        updates: int | None = None,
        weight: float | None = None,
    ) -> None:
        super().__init__()
        self.stop, self.rate, self.go_on_with, self.updates, self.weight = stop, rate, go_on_with, updates, weight

    def on_train_begin(self, logs: Any = None) -> None:
        if self.go_on_with is not None and RANK == 0:
            self.model._initial_epoch = self.go_on_with

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if RANK == 0:
            self.model.stop_training = self.stop
            if self.rate is not None:
                self.model.optimizer.learning_rate = self.rate
            if self.updates is not None:
                self.model.optimizer.iterations.assign(self.updates)

    def on_train_end(self, logs: Any = None) -> None:
        if self.weight is not None and RANK == 0:
            self.model.trainable_variables[0].assign_add(tf.fill(self.model.trainable_variables[0].shape, self.weight))


def average_on_the_root() -> list[Any]:
    return [hvd.callbacks.MetricAverageCallback()] if RANK == 0 else []


@several
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            lambda: {"callbacks": average_on_the_root()},
            r"has a MetricAverageCallback on ranks \[0\] and not on ranks \[1",
        ),
        (
            lambda: {"steps_per_epoch": 1 + (RANK > 0)},
            r"number of steps of an epoch is 1 on ranks \[0\], 2 on ranks \[1",
        ),
        (lambda: {"epochs": 1 + (RANK > 0)}, r"`epochs` of fit\(\) is 1 on ranks \[0\], 2 on ranks \[1"),
        (lambda: {"initial_epoch": 1 * (RANK == 0)}, r"first epoch of fit\(\) is 1 on ranks \[0\], 0 on ranks \[1"),
        (
            lambda: {"callbacks": [OfSomeRanks(go_on_with=1)]},
            r"epoch to go on with is 1 on ranks \[0\], None on ranks \[1",
        ),
        (lambda: {"callbacks": [OfSomeRanks(stop=True)]}, r"epoch 1 training is to stop on ranks \[0\].*EarlyStopping"),
        (
            lambda: {"callbacks": [OfSomeRanks(rate=0.5)]},
            r"learning rate is 0.5 on ranks \[0\], 0.1.*ReduceLROnPlateau",
        ),
        (lambda: {"callbacks": [OfSomeRanks(updates=7)]}, r"number of updates is 7 on ranks \[0\].*loaded weights"),
    ],
    ids=["callbacks", "steps", "epochs", "initial_epoch", "restored", "stop", "rate", "updates"],
)
def test_ranks_that_do_not_train_alike(options: Any, words: str) -> None:
    """At once, or at the end of the epoch; the same message everywhere; nothing waits."""
    x, y = batches(2)
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.1)), "mse")
    flat = mine(x).reshape(-1, 4), mine(y).reshape(-1, 2)
    with pytest.raises(hvd.TrainingMismatchError, match=words) as caught:
        model.fit(*flat, batch_size=6, verbose=0, **{"epochs": 2, **options()})
    assert len(set(hvd.allgather_object(str(caught.value)))) == 1


@several
def test_a_plain_optimizer_on_some_ranks() -> None:
    x, y = batches(2)
    model = small_model()
    model.compile(optimizers.SGD(0.1) if RANK else hvd.DistributedOptimizer(optimizers.SGD(0.1)), "mse")
    with pytest.raises(hvd.TrainingMismatchError, match=r"distributed is True on ranks \[0\], False on ranks \[1"):
        model.fit(mine(x)[0], mine(y)[0], verbose=0, callbacks=[hvd.callbacks.MetricAverageCallback()])


@several
def test_no_broadcast_of_other_weights_is_said(caplog: pytest.LogCaptureFixture) -> None:
    basics._said.clear()
    keras.utils.set_random_seed(RANK)
    x, y = batches(2)
    fit(
        hvd.DistributedOptimizer(optimizers.SGD(0.1)),
        mine(x),
        mine(y),
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2)]),
    )
    assert caplog.text.count("weights differ as training begins") == (1 if RANK == 0 else 0)


@several
@pytest.mark.parametrize("weight", [None, 1.0])
def test_weights_that_a_callback_changed_on_the_root_at_the_end_are_said(
    weight: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    basics._said.clear()
    x, y = batches(2)
    model = small_model()
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.1)), "mse")
    model.fit(mine(x)[0], mine(y)[0], verbose=0, callbacks=[OfSomeRanks(weight=weight)])
    assert caplog.text.count("weights differ as training ends") == (1 if RANK == 0 and weight else 0)
