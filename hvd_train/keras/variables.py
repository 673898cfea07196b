"""Broadcast of variables: every rank starts from the root's weights.

All values travel as one stream of bytes, whatever their types: one collective for a model, a few for a large one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf

from hvd_train.keras import checks, hooks
from hvd_train.keras.basics import is_elastic, key, native, require_initialized
from hvd_train.keras.optimizers import hidden, shared_update

# Bytes in one collective: bounds the memory beside the variables themselves.
CHUNK_BYTES = 64 * 2**20


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def broadcast_variables(
    variables: Iterable[Any],
    root_rank: int,
    process_set: Any = _horovod.global_process_set,
    inplace: bool = False,
) -> None:
    """Give `variables` the values they have on `root_rank`. Every rank of `process_set` must call it.

    Args:
        variables: Keras variables or tf.Variables, the same on every rank; names and shapes are compared first.
        root_rank: a global rank, also with a process set.
        inplace: accepted as Horovod's; the values are always assigned.

    Raises:
        NotInitializedError: before hvd.init().
        ModelMismatchError: on every rank alike, if the ranks' variables differ.
    """
    require_initialized("hvd.broadcast_variables()")
    variables = list(variables)
    members = process_set.ranks or range(_horovod.size())
    if root_rank not in members:
        raise ValueError(f"root_rank={root_rank} is not a rank of the process set; its ranks are {list(members)}.")
    if process_set is not _horovod.global_process_set and not process_set.included():
        return
    if len(members) == 1 and not is_elastic():
        return
    checks.agree(checks.describe(variables), number=0, process_set=process_set)
    if process_set is _horovod.global_process_set:
        shared_update.gather_before_broadcast(variables, root_rank)
    natives = [native(v) for v in variables]
    for number, chunk in enumerate(_chunks(natives)):
        _broadcast_chunk(chunk, root_rank, f"hvd_train.keras.broadcast.{number}", process_set)
    hidden.refresh(variables)


def broadcast_global_variables(root_rank: int) -> None:
    """Broadcast all variables of the models that were compiled with a distributed optimizer, and the optimizers'.

    TensorFlow 2 keeps no list of global variables, and Horovod raises here; compiled models are what can be known.
    Every rank must call it, after the models are built.

    Raises:
        RuntimeError: if no model was compiled with a distributed optimizer, or one is not built yet.
    """
    require_initialized("hvd.broadcast_global_variables()")
    models = hooks.compiled_models()
    if not models or not all(is_built(model) for model in models):
        raise RuntimeError(
            "hvd.broadcast_global_variables() broadcasts the models that are compiled with a distributed optimizer and "
            f"built, and there are {len(models)} compiled ones, {sum(map(is_built, models))} of them built. Use "
            "hvd.broadcast_variables(model.variables, root_rank=0), or the callback BroadcastGlobalVariablesCallback."
        )
    broadcast_variables([v for model in models for v in state_of(model)], root_rank)


def state_of(model: Any, excluded: Iterable[Any] = ()) -> list[Any]:
    """What the ranks must have alike: the variables of `model` and of its optimizers, which are built if need be.

    The states of random generators are left out: each rank keeps its own noise (Dropout), as under Horovod on Keras 2.
    """
    left_out = {key(v) for v in excluded}
    found: dict[int, Any] = {}
    for variable in model.variables:
        if variable.name != "seed_generator_state":
            found.setdefault(key(variable), variable)
    for optimizer in optimizers_of(model):
        if not optimizer.built:
            with tf.init_scope():
                optimizer.build(model.trainable_variables)
        for variable in optimizer.variables:
            found.setdefault(key(variable), variable)
    return [variable for k, variable in found.items() if k not in left_out]


def optimizers_of(model: Any) -> Iterator[Any]:
    """The compiled optimizer, then others that are attributes of the model (a GAN has two)."""
    main = getattr(model, "optimizer", None)
    if main is not None:
        yield main
    for name, value in sorted(vars(model).items()):
        # An optimizer that is not built belongs to variables that only its owner knows.
        if isinstance(value, keras.optimizers.Optimizer) and value is not main and value.built and name != "optimizer":
            yield value


def is_built(model: Any) -> bool:
    """Whether `model` and all layers in it have their variables."""
    return bool(model.built) and all(layer.built for layer in model._flatten_layers())


def _chunks(variables: Sequence[tf.Variable]) -> Iterator[list[tf.Variable]]:
    chunk: list[tf.Variable] = []
    size = 0
    for variable in variables:
        size += variable.shape.num_elements() * variable.dtype.size
        chunk.append(variable)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _broadcast_chunk(variables: Sequence[tf.Variable], root_rank: int, name: str, process_set: Any) -> None:
    pieces = [_to_bytes(v) for v in variables]
    sizes = [v.shape.num_elements() * (1 if v.dtype == tf.bool else v.dtype.size) for v in variables]
    stream = _horovod.broadcast(
        tf.concat(pieces, 0), root_rank, name=name, ignore_name_scope=True, process_set=process_set
    )
    for variable, piece in zip(variables, tf.split(stream, sizes), strict=True):
        variable.assign(_from_bytes(piece, variable))


def _to_bytes(variable: tf.Variable) -> tf.Tensor:
    """(any shape and type) -> (bytes,) uint8."""
    value = tf.cast(variable, tf.uint8) if variable.dtype == tf.bool else tf.convert_to_tensor(variable)
    return tf.reshape(tf.bitcast(value, tf.uint8), [-1])


def _from_bytes(piece: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
    if variable.dtype == tf.bool:
        return tf.cast(tf.reshape(piece, variable.shape), tf.bool)
    width = [variable.dtype.size] if variable.dtype.size > 1 else []
    return tf.bitcast(tf.reshape(piece, [*variable.shape, *width]), variable.dtype)
