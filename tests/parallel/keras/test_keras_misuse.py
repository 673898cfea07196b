"""A misuse is loud, and alike on every rank. (Before hvd.init(): tests/launch/keras/test_keras_programs.py.)"""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import batches, fit, mine, small_model

import hvd_train.keras as hvd
from hvd_train.keras import basics, checks, compat

SIZE, RANK = hvd.size(), hvd.rank()
several = pytest.mark.skipif(SIZE == 1, reason="one rank cannot disagree")


def test_wrapped_twice_is_refused() -> None:
    optimizer = hvd.DistributedOptimizer(optimizers.SGD())
    with pytest.raises(ValueError, match="distributed already"):
        hvd.DistributedOptimizer(optimizer)
    with pytest.raises(ValueError, match="distributed already"):
        hvd.DistributedOptimizer(optimizers.LossScaleOptimizer(optimizer))
    copy = type(optimizer).from_config(optimizer.get_config())
    with pytest.raises(ValueError, match="distributed already"):
        hvd.DistributedOptimizer(copy)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"op": hvd.Adasum}, ValueError, "Average and Sum"),
        ({"op": hvd.Sum, "gradient_predivide_factor": 2.0}, ValueError, "op != Average"),
        ({"gradient_predivide_factor": 0.0}, ValueError, "positive"),
        ({"groups": 0}, ValueError, "groups"),
        ({"process_set": hvd.ProcessSet([0])}, ValueError, "not known to Horovod"),
        ({"backward_passes_per_step": 0}, ValueError, "must be > 0"),
        ({"optimizer": object()}, TypeError, "Keras 3 optimizer"),
    ],
    ids=str,
)
def test_arguments_out_of_range(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        hvd.DistributedOptimizer(**{"optimizer": optimizers.SGD(), **arguments})


def other_model(rank: int) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3 + rank, name="odd"), layers.Dense(2)])


@several
@pytest.mark.parametrize("eager", [False, True])
def test_ranks_with_different_models(eager: bool) -> None:
    """At the first step, before anything is averaged; the first difference is named, on all ranks alike."""
    x, y = batches(1)
    with pytest.raises(hvd.ModelMismatchError) as caught:
        fit(hvd.DistributedOptimizer(optimizers.SGD()), mine(x), mine(y), lambda: other_model(RANK), run_eagerly=eager)
    for word in ("Variable 0 is", "odd/kernel (4, 3)", "on rank 0", "odd/kernel (4, 4)", "on rank 1"):
        assert word in str(caught.value)


@several
def test_ranks_that_broadcast_different_models() -> None:
    with pytest.raises(hvd.ModelMismatchError, match=r"4 variables in all|missing|odd"):
        hvd.broadcast_variables(other_model(RANK).variables[: 4 - RANK], root_rank=0)


@several
def test_ranks_with_other_kinds_of_gradients() -> None:
    """A None on one rank would leave the others waiting for ever."""
    a, b = keras.Variable([0.0], name="a"), keras.Variable([0.0], name="b")
    gradients = [tf.constant([1.0]), None if RANK == 1 else tf.constant([1.0])]
    with pytest.raises(hvd.ModelMismatchError, match="dense gradient.*none gradient"):
        hvd.DistributedOptimizer(optimizers.SGD()).apply(gradients, [a, b])


def test_models_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = checks.agree
    monkeypatch.setattr(checks, "agree", lambda *a, **k: calls.append(a) or original(*a, **k))
    x, y = batches()
    fit(hvd.DistributedOptimizer(optimizers.SGD()), mine(x), mine(y), run_eagerly=True)
    assert len(calls) == (1 if SIZE > 1 else 0)


def test_automatic_names_may_have_other_numbers() -> None:
    """Only the order of the numbers counts: a rank that built another model before has larger ones."""

    class Named:
        shape, dtype = (2,), "float32"

        def __init__(self, path: str) -> None:
            self.path = path

    def lines(*paths: str) -> list[str]:
        return checks.describe([Named(p) for p in paths])

    first = lines("net/dense/kernel", "net/dense_1/kernel", "net/conv_4/kernel")
    assert lines("net_7/dense_3/kernel", "net_7/dense_5/kernel", "net_7/conv_9/kernel") == first
    assert lines("net/dense_1/kernel", "net/dense/kernel", "net/conv_4/kernel") != first
    assert lines("net/dense/kernel", "net/dense_1/bias", "net/conv_4/kernel") != first


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        ("sequential/dense/kernel", "dense/kernel", True),
        ("adam/sequential_1_dense_3_kernel_momentum", "adam/dense_kernel_momentum", True),
        ("dense/kernel", "dense/bias", False),
        ("net/tower_1/kernel", "net/tower/kernel", False),
        ("adam/dense_kernel_momentum", "adam/dense_kernel_velocity", False),
        ("adam/dense_kernel_momentum", "sgd/dense_kernel_momentum", False),
    ],
)
def test_which_names_are_the_same_variable(here: str, there: str, same: bool) -> None:
    assert checks._same_line(f"{here}\t(2,) float32", f"{there}\t(2,) float32") == same
    assert not checks._same_line(f"{here}\t(2,) float32", f"{there}\t(3,) float32")


def test_jit_compile_auto_is_handled_and_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On CPUs alone Keras' "auto" is False by itself: be a machine where it is not.
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda self: True)
    basics._said.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            model = small_model()
            model.compile(hvd.DistributedOptimizer(optimizers.SGD()), "mse")
            assert model.jit_compile is False
    assert caplog.text.count('jit_compile="auto"') == (1 if RANK == 0 else 0)
    plain = small_model()
    plain.compile(optimizers.SGD(), "mse", jit_compile=True)
    assert plain.jit_compile is True  # it is the distributed optimizer alone that forbids it
    with pytest.raises(ValueError, match="jit_compile=True"):
        small_model().compile(hvd.DistributedOptimizer(optimizers.SGD()), "mse", jit_compile=True)


def test_batch_normalization_that_is_not_synchronized_is_said(caplog: pytest.LogCaptureFixture) -> None:
    basics._said.clear()
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(synchronized=True)])
    model.compile(hvd.DistributedOptimizer(optimizers.SGD()), "mse", jit_compile=False)
    assert caplog.text.count("synchronized=True") == (1 if RANK == 0 else 0)


def test_distributed_optimizer_set_after_compile() -> None:
    """compile() was told XLA; the broadcast callback takes it back before the first step."""
    x, y = batches(2)
    model = small_model()
    model.compile(optimizers.SGD(0.1), "mse", jit_compile=True)
    hvd.DistributedOptimizer(model.optimizer)
    model.fit(mine(x)[0], mine(y)[0], verbose=0, callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)])
    assert model.jit_compile is False


def test_elastic_state_of_an_unbuilt_model() -> None:
    with pytest.raises(ValueError, match="must be built"):
        hvd.elastic.KerasState(keras.Sequential([layers.Dense(1)]))


def test_unknown_steps_per_epoch() -> None:
    callback = hvd.callbacks.LearningRateWarmupCallback(0.1)
    callback.set_model(small_model())
    callback.set_params({"steps": None})
    with pytest.raises(ValueError, match="steps per epoch"):
        callback.on_train_begin()


def test_broadcast_global_variables_without_a_built_model() -> None:
    model = keras.Sequential([layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(optimizers.SGD()), "mse")
    with pytest.raises(RuntimeError, match="broadcast_variables"):
        hvd.broadcast_global_variables(0)
    assert np.isfinite(model.count_params() if model.built else 0)


def test_a_horovod_of_somebody_else_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the first rank, with the way out. benchmarks/versions.py trains on such a build."""
    basics._said.clear()
    hvd.init()
    assert caplog.messages == []
    monkeypatch.setattr(compat, "has_patches", lambda: False)
    for _ in range(2):
        hvd.init()
    assert caplog.messages == ([compat.OTHER_BUILD] if hvd.rank() == 0 else [])
