"""Collectives on values: numpy arrays, numbers, TensorFlow tensors, IndexedSlices and Keras variables.

Every rank of the process set must call each of them, with values that fit together. They return TensorFlow tensors, and
work inside a tf.function too.
"""

from __future__ import annotations

from typing import Any

import horovod.tensorflow as _horovod
import tensorflow as tf

from hvd_train.keras.basics import native, require_initialized
from hvd_train.keras.optimizers import shared_update


def allreduce(
    value: Any,
    name: str | None = None,
    average: bool | None = None,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    op: Any = None,
    compression: Any = _horovod.Compression.none,
    process_set: Any = _horovod.global_process_set,
) -> Any:
    """Combine `value`, of one shape and type on all ranks, into the same result on all of them.

    Args:
        average: Horovod's old word for `op`: True is Average, False is Sum. Not together with `op`.
        prescale_factor, postscale_factor: multiply before and after.
        op: Average (default), Sum, Min, Max, Product or Adasum.
        compression: `Compression.fp16` halves what is sent.
    """
    require_initialized("hvd.allreduce()")
    if op == _horovod.Adasum and _horovod.size() & (_horovod.size() - 1):
        # Horovod looks only after the operation, which has ended the process by then.
        raise NotImplementedError(f"Adasum needs a number of ranks that is a power of two, not {_horovod.size()}.")
    return _horovod.allreduce(
        _tensor(value),
        average=average,
        op=op,
        compression=compression,
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
        name=name,
        process_set=process_set,
    )


def allgather(value: Any, name: str | None = None, process_set: Any = _horovod.global_process_set) -> Any:
    """Concatenate the ranks' values, in the order of ranks: (n_rank, ...) -> (sum of n_rank, ...)."""
    require_initialized("hvd.allgather()")
    return _horovod.allgather(_tensor(value), name=name, process_set=process_set)


def broadcast(
    value: Any, root_rank: int, name: str | None = None, process_set: Any = _horovod.global_process_set
) -> Any:
    """The value that `root_rank` gave; shape and type are the same on all ranks."""
    require_initialized("hvd.broadcast()")
    return _horovod.broadcast(_tensor(value), root_rank, name=name, process_set=process_set)


def reducescatter(
    value: Any,
    name: str | None = None,
    op: Any = _horovod.Average,
    process_set: Any = _horovod.global_process_set,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> Any:
    """Combine as `allreduce` does (Average or Sum), and keep this rank's share of the rows: (n, ...) -> (n / size, ...).

    Where n does not divide, the first ranks keep one row more.
    """
    require_initialized("hvd.reducescatter()")
    return _horovod.reducescatter(
        _tensor(value),
        op=op,
        name=name,
        process_set=process_set,
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
    )


def join() -> Any:
    """Say that this rank has no more data: it takes part in the others' averages with zeros until all have joined.

    Returns the last rank that joined. A rank that has joined updates nothing, so this cannot be where the ranks share
    an optimizer's update out.
    """
    require_initialized("hvd.join()")
    if shared_update.sharing:
        raise ValueError(
            "hvd.join() cannot be called while the ranks share an optimizer's update out: this rank's part of the weights "
            "would no longer be updated. Give DistributedOptimizer share_update=False."
        )
    return _horovod.join()


def _tensor(value: Any) -> Any:
    if isinstance(value, tf.IndexedSlices):
        return value
    return tf.convert_to_tensor(native(value))
