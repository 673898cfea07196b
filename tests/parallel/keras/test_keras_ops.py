"""The collectives, on each kind of value; and Horovod's own calls handed through."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_training import mean_over_ranks

import hvd_train.keras as hvd

SIZE, RANK = hvd.size(), hvd.rank()
KINDS = {
    "numpy": np.asarray,
    "tensor": tf.constant,
    "tf.Variable": tf.Variable,
    "keras.Variable": keras.Variable,
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@each_kind
def test_allreduce(kind: Any) -> None:
    value = kind(np.array([RANK + 1.0, 2.0], "float32"))
    every = [r + 1.0 for r in range(SIZE)]
    for op, expected in (
        (None, np.mean(every)),
        (hvd.Average, np.mean(every)),
        (hvd.Sum, np.sum(every)),
        (hvd.Min, min(every)),
        (hvd.Max, max(every)),
        (hvd.Product, np.prod(every)),
    ):
        np.testing.assert_allclose(hvd.allreduce(value, op=op).numpy()[0], expected, rtol=1e-6)
    np.testing.assert_allclose(
        hvd.allreduce(value, op=hvd.Sum, prescale_factor=0.5, postscale_factor=4.0)[1], 4.0 * SIZE
    )


def test_allreduce_by_its_old_argument_and_compressed() -> None:
    with pytest.warns(DeprecationWarning, match="average"):
        np.testing.assert_allclose(hvd.allreduce(RANK + 1.0, average=False), SIZE * (SIZE + 1) / 2)
    result = hvd.allreduce(np.float32(1 + 2.0**-13), compression=hvd.Compression.fp16)
    np.testing.assert_allclose(result, 1.0, atol=2.0**-12)


def test_adasum() -> None:
    """Of the same vector on all ranks, Adasum is that vector. It is for a power of two of ranks."""
    if SIZE & (SIZE - 1):
        with pytest.raises(NotImplementedError):
            hvd.allreduce(np.ones(3, "float32"), op=hvd.Adasum)
    else:
        np.testing.assert_allclose(hvd.allreduce(np.ones(3, "float32"), op=hvd.Adasum), 1.0, rtol=1e-5)


@each_kind
def test_allgather(kind: Any) -> None:
    value = kind(
        np.full((RANK + 1, 2), RANK, "int32") if kind is not keras.Variable else np.full((RANK + 1, 2), RANK * 1.0)
    )
    expected = np.concatenate([np.full((r + 1, 2), r) for r in range(SIZE)])
    np.testing.assert_array_equal(hvd.allgather(value), expected)


@each_kind
def test_broadcast(kind: Any) -> None:
    np.testing.assert_array_equal(hvd.broadcast(kind(np.array([RANK * 1.0, 5.0])), root_rank=SIZE - 1), [SIZE - 1, 5])


@each_kind
def test_reducescatter(kind: Any) -> None:
    value = kind(np.arange(2.0 * SIZE) * (RANK + 1))
    own = np.arange(2.0 * RANK, 2.0 * RANK + 2)
    np.testing.assert_allclose(hvd.reducescatter(value), own * mean_over_ranks(lambda r: r + 1.0), rtol=1e-6)
    np.testing.assert_allclose(hvd.reducescatter(value, op=hvd.Sum), own * SIZE * (SIZE + 1) / 2, rtol=1e-6)


def test_indexed_slices_and_graphs() -> None:
    slices = tf.IndexedSlices(tf.constant([[RANK + 1.0]]), tf.constant([0]), tf.constant([1, 1]))
    np.testing.assert_allclose(tf.convert_to_tensor(hvd.allreduce(slices)), [[(SIZE + 1) / 2]])
    np.testing.assert_allclose(tf.function(hvd.allreduce)(tf.constant(RANK + 1.0)), (SIZE + 1) / 2)


def test_process_set() -> None:
    """A collective among some ranks, by the argument that Horovod's TensorFlow interface has."""
    if SIZE == 1:
        pytest.skip("needs a rank to leave out")
    members = hvd.ProcessSet([0])
    assert hvd.add_process_set(members)
    if RANK == 0:
        np.testing.assert_allclose(hvd.allreduce(np.float32(3.0), op=hvd.Sum, process_set=members), 3.0)
    assert hvd.remove_process_set(members)


def test_broadcast_variables_of_any_type() -> None:
    values: dict[str, Any] = {
        "float32": [1.5], "float64": [[2.5]], "bfloat16": [1.5, 2], "float16": 3.0, "int32": [-4], "int64": [5],
        "uint32": [7], "bool": [True, False], "uint8": [[9]], "int8": [-1],
    }  # fmt: skip
    root = SIZE - 1
    variables = [tf.Variable(tf.cast(v if root == RANK else tf.zeros_like(v), dtype)) for dtype, v in values.items()]
    variables.append(keras.Variable(np.zeros((0, 3), "float32")))
    hvd.broadcast_variables(variables, root_rank=root)
    for variable, value in zip(variables, values.values(), strict=False):
        np.testing.assert_array_equal(np.asarray(variable.numpy(), "float64"), np.asarray(value, "float64"))
    with pytest.raises(ValueError, match="not a rank"):
        hvd.broadcast_variables(variables, root_rank=SIZE)


def test_broadcast_variables_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    import hvd_train.keras.variables as module

    monkeypatch.setattr(module, "CHUNK_BYTES", 16)
    variables = [keras.Variable(np.full(n, RANK + 1.0, "float32")) for n in (3, 4, 1, 9)]
    hvd.broadcast_variables(variables, root_rank=0)
    assert all((v.numpy() == 1.0).all() for v in variables)


def test_broadcast_variables_in_a_function() -> None:
    variable = tf.Variable([float(RANK)])
    tf.function(lambda: hvd.broadcast_variables([variable], root_rank=SIZE - 1))()
    assert variable.numpy() == [SIZE - 1.0]


def test_objects() -> None:
    assert hvd.broadcast_object({"rank": RANK}, root_rank=SIZE - 1) == {"rank": SIZE - 1}
    assert hvd.allgather_object(RANK) == list(range(SIZE))


def test_names_of_horovod() -> None:
    """Every public name of horovod.tensorflow.keras is here; and what it says of this job."""
    import horovod.tensorflow.keras as stock

    modules = {"K", "inspect", "keras", "tf", "version", "warnings", "is_version_greater_equal_than"}
    assert {name for name in vars(stock) if not name.startswith("_")} - modules - set(vars(hvd)) == set()
    assert {"PartialDistributedOptimizer", "Adasum", "Min", "Max", "Product", "broadcast_variables"} <= set(hvd.__all__)
    for module in ("callbacks", "elastic"):
        public = {
            n
            for n, v in vars(getattr(stock, module)).items()
            if isinstance(v, type) and "horovod.tensorflow.keras" in v.__module__
        }
        assert public
        assert public <= set(vars(getattr(hvd, module)))
    assert hvd.is_initialized()
    assert 0 <= hvd.local_rank() < hvd.local_size() <= SIZE
    assert hvd.cross_rank() < hvd.cross_size()
    assert hvd.mpi_built() or hvd.gloo_built()
    assert hvd.mpi_enabled() != hvd.gloo_enabled()
    assert bool(hvd.nccl_built()) == tf.test.is_built_with_cuda()  # by `make setup GPU=cuda`, not by `make setup`


def test_arguments_are_horovods() -> None:
    """The same parameters in the same order, with the same defaults; ours may add some at the end."""
    import inspect

    import horovod.keras
    import horovod.tensorflow
    import horovod.tensorflow.keras as stock

    pairs = [
        *((getattr(stock, n), getattr(hvd, n)) for n in ("DistributedOptimizer", "allreduce", "allgather", "broadcast", "reducescatter", "load_model")),
        *((getattr(horovod.tensorflow, n), getattr(hvd, n)) for n in ("broadcast_variables", "DistributedGradientTape")),
        *((getattr(stock.callbacks, n), getattr(hvd.callbacks, n)) for n in ("BroadcastGlobalVariablesCallback", "MetricAverageCallback", "LearningRateScheduleCallback", "LearningRateWarmupCallback", "BestModelCheckpoint")),
        *((getattr(stock.elastic, n), getattr(hvd.elastic, n)) for n in ("KerasState", "CommitStateCallback", "UpdateBatchStateCallback", "UpdateEpochStateCallback", "run")),
    ]  # fmt: skip
    for theirs, ours in pairs:
        mine = [(p.name, p.kind) for p in inspect.signature(ours).parameters.values()]
        stock_parameters = [(p.name, p.kind) for p in inspect.signature(theirs).parameters.values()]
        assert mine[: len(stock_parameters)] == stock_parameters, theirs
        for parameter in inspect.signature(theirs).parameters.values():
            default = inspect.signature(ours).parameters[parameter.name].default
            assert default == parameter.default or default is parameter.default, (theirs, parameter)
