"""The sharded update of Adam (ZeRO-1): each rank updates its own blocks of every weight, and copies the others.

Averaging and update are one operation of Horovod's then (hvd_train/horovod_build/patches, grouped_adam_op.h), and what a rank keeps up to
date of the moments is its own part. Every weight is updated by the same operations as without this, bit for bit.

    gather_moments(optimizer)    # all ranks: now each has all of them, as a checkpoint needs them

Xu et al. 2020, "Automatic Cross-Replica Sharding of Weight Update in Data-Parallel Training" (arXiv 2004.13336).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import horovod.tensorflow as _horovod
import numpy as np
import tensorflow as tf
from horovod.tensorflow import mpi_ops

from hvd_train.keras.basics import is_elastic, key, native, say_once
from hvd_train.keras.optimizers.early import last_groups_first
from hvd_train.keras.optimizers.gradients import Reduction, largest_first

sharing: weakref.WeakSet[Any] = weakref.WeakSet()
"""The optimizers whose updates are sharded."""


def block_length() -> int:
    """Elements of a block. 0 where the ranks neither share memory nor exchange in two levels."""
    library = mpi_ops._basics.MPI_LIB_CTYPES
    if not hasattr(library, "horovod_shared_memory_block"):  # a Horovod without hvd_train/horovod_build/patches
        return 0
    return int(library.horovod_shared_memory_block(_horovod.size()))


def owner() -> tuple[int, int]:
    """Owner o of n updates the blocks b of a weight with b % n == o. Returns (o, n); o is -1 where this rank owns none."""
    library = mpi_ops._basics.MPI_LIB_CTYPES
    rank, size = _horovod.rank(), _horovod.size()
    if not hasattr(library, "horovod_block_owner"):  # horovod/patches of before two levels
        return rank, size
    return int(library.horovod_block_owner(rank, size)), int(library.horovod_num_block_owners(size))


def has_two_levels() -> bool:
    """Whether the ranks are on several hosts and exchange in two levels (horovod/patches)."""
    library = mpi_ops._basics.MPI_LIB_CTYPES
    return hasattr(library, "horovod_has_two_levels") and bool(library.horovod_has_two_levels(_horovod.size()))


def can_share(optimizer: Any, reduction: Reduction, gradients: Sequence[Any], variables: Sequence[Any]) -> bool:
    """Whether the update of `optimizer` can be sharded: a plain Adam on the mean over all ranks. Alike on all ranks.

    What reads the averaged gradients before the update (clipping, accumulation) needs them whole.
    """
    plain_mean = (
        reduction.op == _horovod.Average
        and reduction.compression is _horovod.Compression.none
        and reduction.gradient_predivide_factor == 1.0
        and (reduction.groups in (None, 1) or (isinstance(reduction.groups, int) and has_two_levels()))
        and not reduction.may_round
        and reduction.process_set is _horovod.global_process_set
        and not reduction.device_dense
    )
    reads_gradients = ("clipnorm", "clipvalue", "global_clipnorm", "gradient_accumulation_steps", "loss_scale_factor")
    plain_adam = (
        hasattr(optimizer, "adam_arguments")
        and not optimizer.amsgrad
        and not any(getattr(optimizer, name) for name in reads_gradients)
    )
    whole = all(
        tf.is_tensor(g) and not isinstance(g, tf.IndexedSlices) and g.dtype == native(v).dtype == tf.float32
        for g, v in zip(gradients, variables, strict=True)
    )
    if not (plain_mean and plain_adam and whole and not is_elastic() and block_length() > 0):
        return False
    if not on_cpus(native(v).device for v in variables):
        say_once("The optimizer's update is not sharded over the ranks: that is for weights on CPUs, and some are not.")
        return False
    return True


def on_cpus(devices: Iterable[str]) -> bool:
    """Whether all of these TensorFlow devices are CPUs: the one kind that has the operation."""
    return all(tf.DeviceSpec.from_string(device).device_type in (None, "CPU") for device in devices)


def update(
    optimizer: Any,
    gradients: Sequence[Any],
    variables: Sequence[Any],
    learning_rate: Any,
    name: str,
    reduction: Reduction,
) -> None:
    """Average `gradients` over all ranks and update `variables`. All ranks, where `can_share`; `name` alike on them.

    Each group of the reduction is an exchange of its own, which begins as soon as its gradients are there.
    """
    index = [optimizer._get_variable_index(v) for v in variables]
    arguments = optimizer.adam_arguments(learning_rate, tf.float32)
    groups = list(reduction.groups_of(range(len(index)), variables))
    last_groups_first([[gradients[i] for i in members] for members in groups])
    for number, members in enumerate(groups):
        order = largest_first(members, gradients)
        mpi_ops.MPI_LIB.horovod_grouped_adam(
            gradients=[gradients[i] for i in order],
            variables=[native(variables[i]).handle for i in order],
            momentums=[native(optimizer._momentums[index[i]]).handle for i in order],
            velocities=[native(optimizer._velocities[index[i]]).handle for i in order],
            **arguments,
            tensor_name=name if reduction.groups is None else f"{name}.{number}",
        )


def gather_moments(optimizer: Any) -> None:
    """Give every rank all of Adam's moments, each part from the rank that updates it. All ranks, between two steps."""
    moments = [native(m) for m in (*optimizer._momentums, *optimizer._velocities)]
    block, (number, num_owners) = block_length(), owner()
    own = []
    for moment in moments:
        is_own = np.zeros(moment.shape.num_elements(), bool)
        for first in range(number * block, len(is_own), num_owners * block) if number >= 0 else ():
            is_own[first : first + block] = True
        # What is added to -0 keeps its bits, where it is -0 itself, too.
        own.append(tf.where(is_own.reshape(moment.shape), moment, -0.0))
    gathered = _horovod.grouped_allreduce(own, op=_horovod.Sum, name="hvd_train.keras.moments")
    for moment, whole in zip(moments, gathered, strict=True):
        moment.assign(whole)


def gather_before_broadcast(variables: Sequence[Any], root_rank: int) -> None:
    """Make the root's moments whole before they are broadcast with `variables`. All ranks, with the same variables.

    Where the root has loaded a checkpoint they are whole, and nothing may be mixed into them.
    """
    sent = {key(v) for v in variables}
    for optimizer in sorted(sharing, key=lambda o: o.hvd_state.number or 0):
        if any(key(m) in sent for m in (*optimizer._momentums, *optimizer._velocities)):
            mine = tf.constant(optimizer.hvd_state_is_whole if _horovod.rank() == root_rank else False)
            if not bool(_horovod.broadcast(mine, root_rank, name="hvd_train.keras.moments.whole").numpy()):
                gather_moments(optimizer)
