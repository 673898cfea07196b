"""What is saved here is plain Keras: it opens where there is no Horovod, and goes on training where there is."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from keras_training import TOLERANCE, assert_alike, batches, mine, small_model, weights

import hvd_train.keras as hvd
from hvd_train.keras import basics, copies, hooks

SIZE, RANK = hvd.size(), hvd.rank()
PLAIN = """
import sys
for name in ("horovod", "hvd_train", "mpi4py"):
    sys.modules[name] = None  # importing it raises
import keras
model = keras.models.load_model(sys.argv[1])
optimizer = model.optimizer
print(type(optimizer).__module__, type(optimizer).__name__, int(optimizer.iterations), len(optimizer.variables))
print(*(round(float(v.numpy().sum()), 4) for v in model.variables + optimizer.variables))
"""


def trained(optimizer: Any) -> keras.Model:
    x, y = batches(3)
    model = small_model()
    model.compile(optimizer, keras.losses.MeanSquaredError())
    model.fit(mine(x).reshape(-1, 4), mine(y).reshape(-1, 2), batch_size=mine(x).shape[1], verbose=0, shuffle=False)
    return model


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("extension", ["keras", pytest.param("h5", marks=pytest.mark.slow)])
def test_opens_in_plain_keras(tmp_path: Path, extension: str) -> None:
    """In a new process that cannot import Horovod or hvd_train; state and all."""
    wrap = {"backward_passes_per_step": 2, "groups": 2}  # leaves nothing in the file
    model = trained(hvd.DistributedOptimizer(optimizers.Adam(0.01), **wrap))
    path = tmp_path / f"model.{extension}"
    model.save(path)
    if RANK == 0:
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
        finished = subprocess.run(
            [sys.executable, "-c", PLAIN, str(path)], capture_output=True, text=True, timeout=120, env=outside
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        first, second = finished.stdout.splitlines()[-2:]
        # From HDF5 Keras 3 does not read an optimizer's slots, whoever wrote them.
        variables = [*model.variables, *model.optimizer.variables[: 10 if extension == "keras" else 2]]
        assert first == f"keras.src.optimizers.adam Adam 3 {len(variables) - 4}"
        np.testing.assert_allclose([float(n) for n in second.split()], [v.numpy().sum() for v in variables], atol=2e-4)


MAKE = {
    "Adam": lambda: optimizers.Adam(0.01),
    "SGD with schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.5),
    "LossScaleOptimizer": lambda: optimizers.LossScaleOptimizer(optimizers.SGD(0.01)),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE.keys())
def test_configuration_is_that_of_the_plain_class(make: Any) -> None:
    plain = keras.optimizers.serialize(make())
    distributed = hvd.DistributedOptimizer(make())
    ours = keras.optimizers.serialize(distributed)
    assert {**ours, "config": None} == {**plain, "config": None}
    again = keras.optimizers.deserialize(ours)
    assert type(again) is type(make())
    copy = type(distributed).from_config(distributed.get_config())
    assert copy.get_config() == distributed.get_config()
    with pytest.raises(ValueError, match="distributed already"):  # a copy averages too
        hvd.DistributedOptimizer(copy)


@keras.saving.register_keras_serializable(package="tests")
class Registered(optimizers.SGD):
    pass


class Own(optimizers.SGD):
    pass


def test_optimizers_of_ones_own(tmp_path: Path) -> None:
    model = trained(hvd.DistributedOptimizer(Registered(0.01)))
    model.save(tmp_path / "registered.keras")
    assert type(keras.models.load_model(tmp_path / "registered.keras").optimizer) is Registered
    model = trained(hvd.DistributedOptimizer(Own(0.01)))
    model.save(tmp_path / "own.keras")
    loaded = hvd.load_model(tmp_path / "own.keras", custom_optimizers=[Own])
    assert isinstance(loaded.optimizer, Own)


def test_stop_and_go_on_is_going_on(tmp_path: Path) -> None:
    """Three epochs = one epoch, saved, loaded on every rank, and two more."""
    x, y = batches(3)
    rows = {"batch_size": mine(x).shape[1], "verbose": 0, "shuffle": False}
    flat = mine(x).reshape(-1, 4), mine(y).reshape(-1, 2)
    model = trained(hvd.DistributedOptimizer(optimizers.Adam(0.01)))
    model.save(tmp_path / "model.keras")
    model.fit(*flat, epochs=2, **rows)
    again = hvd.load_model(tmp_path / "model.keras")
    again.fit(*flat, epochs=2, **rows)
    np.testing.assert_allclose(weights(again), weights(model), atol=TOLERANCE)
    assert_alike(weights(again))
    assert int(again.optimizer.iterations) == 9
    with pytest.raises(ValueError, match="distributed already"):
        hvd.DistributedOptimizer(again.optimizer)


def test_model_loaded_on_the_root_alone(tmp_path: Path) -> None:
    """Others build it, and the broadcast hands over weights and optimizer."""
    model = trained(optimizers.Adam(0.01) if SIZE == 1 else hvd.DistributedOptimizer(optimizers.Adam(0.01)))
    path = tmp_path / "model.keras"
    model.save(path)
    if RANK == 0:
        model = keras.models.load_model(path)
        hvd.DistributedOptimizer(model.optimizer)
    else:
        model = small_model()
        model.compile(hvd.DistributedOptimizer(optimizers.Adam(0.5)), keras.losses.MeanSquaredError())
    x, y = batches(2)
    callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0)]
    model.fit(mine(x)[0], mine(y)[0], verbose=0, callbacks=callbacks)
    assert_alike(weights(model))
    assert int(model.optimizer.iterations) == 4


def test_load_model_without_optimizer_and_with_compression(tmp_path: Path) -> None:
    small_model().save(tmp_path / "bare.keras")
    assert not hvd.load_model(tmp_path / "bare.keras").compiled
    trained(optimizers.SGD(0.01)).save(tmp_path / "plain.keras")
    loaded = hvd.load_model(tmp_path / "plain.keras", compression=hvd.Compression.fp16)
    assert loaded.optimizer.hvd_state.reduction.compression is hvd.Compression.fp16
    assert loaded.jit_compile is False
    with pytest.raises(ValueError, match="legacy"):
        hvd.load_model(tmp_path / "plain.keras", legacy_opts=True)


def test_custom_layer(tmp_path: Path) -> None:
    class Twice(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    model = keras.Sequential([keras.Input((4,)), Twice(), layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(optimizers.SGD()), keras.losses.MeanSquaredError())
    model.save(tmp_path / "model.keras")
    assert hvd.load_model(tmp_path / "model.keras", custom_objects={"Twice": Twice}).count_params() == 5


COPY = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: cloudpickle.loads(cloudpickle.dumps(thing)),
    "a copy of a copy": lambda thing: copy.deepcopy(pickle.loads(pickle.dumps(thing))),
}


@pytest.mark.parametrize("kind", ["cloudpickle", pytest.param("a copy of a copy", marks=pytest.mark.slow)])
def test_a_copy_trains_as_the_model_does(kind: str) -> None:
    """On rows of each rank's own: weights are the original's after as many steps, and alike on all ranks."""
    model = trained(hvd.DistributedOptimizer(optimizers.Adam(0.01)))
    twin = COPY[kind](model)
    x, y = batches(3)
    for each in (model, twin):
        each.fit(mine(x).reshape(-1, 4), mine(y).reshape(-1, 2), batch_size=6, verbose=0, shuffle=False, epochs=2)
    assert_alike(weights(twin))
    np.testing.assert_allclose(weights(twin), weights(model), atol=TOLERANCE)
    assert twin.jit_compile is False
    assert twin in hooks.compiled_models()


@pytest.mark.parametrize("make", COPY.values(), ids=COPY.keys())
@pytest.mark.parametrize("wrap", ["bare", "scaled outside", "scaled inside"])
def test_a_copied_optimizer_is_distributed(make: Any, wrap: str) -> None:
    if wrap == "scaled outside":
        optimizer = optimizers.LossScaleOptimizer(hvd.DistributedOptimizer(optimizers.SGD(0.1)))
    elif wrap == "scaled inside":
        optimizer = hvd.DistributedOptimizer(optimizers.LossScaleOptimizer(optimizers.SGD(0.1)))
    else:
        optimizer = hvd.DistributedOptimizer(optimizers.SGD(0.1, momentum=0.5), op=hvd.Sum, groups=2)
    twin = make(optimizer)
    (ours,), (theirs,) = hooks.distributed_in(optimizer), hooks.distributed_in(twin)
    assert type(theirs) is type(ours)
    assert theirs.hvd_state.reduction == ours.hvd_state.reduction
    assert theirs.hvd_state is not ours.hvd_state
    assert twin.get_config() == optimizer.get_config()


def test_a_copy_keeps_layers_of_the_ranks_own_and_synchronous_layers() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), hvd.SyncBatchNormalization(), layers.Dense(2)])
    optimizer = hvd.PartialDistributedOptimizer(optimizers.SGD(0.1), local_layers=model.layers[0])
    model.compile(optimizer, "mse")
    twin = copy.deepcopy(model)
    assert [v.path for v in twin.optimizer.hvd_state.local.values()] == [v.path for v in twin.layers[0].variables]
    assert type(twin.layers[1]) is hvd.SyncBatchNormalization
    assert type(copy.deepcopy(model.layers[1])) is hvd.SyncBatchNormalization


def test_a_plain_model_is_copied_as_ever_and_a_pickle_opens_in_plain_keras(tmp_path: Path) -> None:
    assert not hooks.holds_distributed(copy.deepcopy(trained(optimizers.SGD(0.1))).optimizer)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(trained(hvd.DistributedOptimizer(optimizers.SGD(0.1)))))
    if RANK == 0:
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
        read = PLAIN.replace(
            "keras.models.load_model(sys.argv[1])", "__import__('pickle').load(open(sys.argv[1], 'rb'))"
        )
        finished = subprocess.run(
            [sys.executable, "-c", read, str(tmp_path / "model.pickle")],
            capture_output=True, text=True, timeout=120, env=outside,
        )  # fmt: skip
        assert finished.stdout.splitlines()[-2].startswith("keras.src.optimizers.sgd SGD 3"), str(finished)


def test_a_plain_optimizer_beside_a_distributed_one_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file opened by plain Keras, and a pickle of another process: what cannot be known is warned about."""
    model = trained(hvd.DistributedOptimizer(optimizers.SGD(0.1)))
    pickled = pickle.dumps(model)
    basics._said.clear()
    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    expected = 1 if RANK == 0 and SIZE > 1 else 0
    for _ in range(2):
        opened.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
        assert caplog.text.count("SGD is not distributed (another optimizer here is") == expected
    monkeypatch.setattr(copies, "_classes", {})
    assert not hooks.holds_distributed(pickle.loads(pickled).optimizer)
    assert caplog.text.count("SGD is not distributed (it was pickled in another process") == expected
    model.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
    assert caplog.text.count("is not distributed") == 2 * expected


def test_no_warning_for_a_distributed_tape_or_what_is_inside_a_distributed_optimizer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    basics._said.clear()
    model = small_model()
    scaled = hvd.DistributedOptimizer(optimizers.LossScaleOptimizer(optimizers.SGD(0.1)))
    with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
        loss = tf.reduce_sum(model(np.ones((2, 4))))
    optimizers.SGD(0.1).apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    scaled.apply([tf.ones_like(v) for v in model.trainable_variables], model.trainable_variables)
    assert "is not distributed" not in caplog.text
