"""Averaging of gradients over the ranks: what is sent, together with what, and in which form.

A `Reduction` holds the choices of one optimizer or tape; its `reduce` is what apply() calls at every step. In a
tf.function it leaves only Horovod's ops in the graph: no Python runs per step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import horovod.tensorflow as _horovod
import tensorflow as tf

from hvd_train.keras.basics import is_elastic, key
from hvd_train.keras.optimizers.early import last_groups_first

# What Horovod's allreduce takes; others (bfloat16) travel as float32.
_REDUCIBLE = {"uint8", "int8", "int32", "int64", "float16", "float32", "float64"}

# horovod/patches: a tensor with this in its name may be rounded on the wire between hosts.
ROUNDED = ".rounded"


@dataclass(frozen=True)
class Reduction:
    """How gradients are combined. The fields are DistributedOptimizer's arguments of the same name."""

    op: Any = _horovod.Average
    compression: Any = _horovod.Compression.none
    sparse_as_dense: bool = False
    gradient_predivide_factor: float = 1.0
    groups: int | Sequence[Sequence[Any]] | None = None
    process_set: Any = _horovod.global_process_set
    scale_local_gradients: bool = True
    device_dense: str = ""
    device_sparse: str = ""
    may_round: bool = False

    def __post_init__(self) -> None:
        if self.op not in (_horovod.Average, _horovod.Sum):
            raise ValueError("op currently only supports Average and Sum. Use hvd.allreduce() for other reductions.")
        if self.gradient_predivide_factor != 1.0 and self.op != _horovod.Average:
            raise ValueError("gradient_predivide_factor is not supported with op != Average: a sum has no division.")
        if self.gradient_predivide_factor <= 0:
            raise ValueError(f"gradient_predivide_factor must be positive, not {self.gradient_predivide_factor}.")
        if isinstance(self.groups, int) and self.groups < 1:
            raise ValueError("groups should be a positive integer or a list of lists of variables.")

        if self.process_set.process_set_id is None:
            raise ValueError("The process set is not known to Horovod: give it to hvd.init() or hvd.add_process_set().")

    def needs_communication(self) -> bool:
        """Whether this rank has somebody to average with. In an elastic job the answer can change, so it is yes."""
        members = self.process_set
        if members is not _horovod.global_process_set and not members.included():
            return False
        return is_elastic() or members.size() > 1

    def reduce(
        self, gradients: Sequence[Any], variables: Sequence[Any], *, name: str | None, local: Collection[int] = ()
    ) -> list[Any]:
        """The gradients combined over the ranks of the process set, in the order given.

        Every rank of the process set must call it, with gradients of the same kinds and shapes.

        Args:
            gradients: tensors, IndexedSlices or None, one per variable; a None stays None.
            variables: what they belong to.
            name: start of the collectives' names, alike on all ranks. None: Horovod names them after the tensors.
            local: keys of variables that belong to this rank alone; theirs are not sent, only scaled by 1/size.
        """
        result = list(gradients)
        for i, g in enumerate(gradients):
            # On one rank too: Keras' optimizers treat rows and full tensors differently.
            if self.sparse_as_dense and isinstance(g, tf.IndexedSlices):
                result[i] = tf.convert_to_tensor(g)
        if not self.needs_communication():
            return result
        sent = [i for i, g in enumerate(gradients) if g is not None and key(variables[i]) not in local]
        dense = [i for i in sent if not isinstance(result[i], tf.IndexedSlices)]
        for i in (i for i in sent if isinstance(result[i], tf.IndexedSlices)):
            result[i] = self._reduce_sparse(result[i], _named(name, f"sparse.{i}"))
        groups = list(self.groups_of(dense, variables))
        last_groups_first([[result[i] for i in members] for members in groups])
        for number, members in enumerate(groups):
            self._reduce_group(members, result, _named(name, f"dense.{number}"))
        if self.scale_local_gradients:
            for i, g in enumerate(result):
                if g is not None and key(variables[i]) in local:
                    result[i] = _divide(g, self._size())
        return result

    def _reduce_group(self, members: Sequence[int], result: list[Any], name: str | None) -> None:
        """One grouped allreduce per type of number in the group; writes into `result`."""
        factor = self.gradient_predivide_factor
        by_dtype: dict[tf.DType, list[int]] = {}
        for i in members:
            by_dtype.setdefault(result[i].dtype, []).append(i)
        for dtype, indices in by_dtype.items():
            indices = largest_first(indices, result)
            wire = dtype if dtype.name in _REDUCIBLE else tf.float32
            reduced = _horovod.grouped_allreduce(
                [tf.cast(tf.convert_to_tensor(result[i]), wire) for i in indices],
                op=self.op,
                compression=self.compression,
                # Horovod divides by the number of ranks after the sum: together this is 1/factor before, factor/size after.
                prescale_factor=1.0 / factor,
                postscale_factor=factor,
                process_set=self.process_set,
                device_dense=self.device_dense,
                name=_named(name, dtype.name + (ROUNDED if self.may_round else "")),
                ignore_name_scope=name is not None,
            )
            for i, tensor in zip(indices, reduced, strict=True):
                result[i] = tf.cast(tensor, dtype)

    def _reduce_sparse(self, slices: tf.IndexedSlices, name: str | None) -> tf.IndexedSlices:
        """All ranks' rows one below the other. Rows of the same index add up wherever the slices are used."""
        with tf.device(self.device_sparse):
            values, context = self.compression.compress(slices.values)
            options = {"process_set": self.process_set, "ignore_name_scope": name is not None}
            values = _horovod.allgather(values, name=_named(name, "values"), **options)
            indices = _horovod.allgather(slices.indices, name=_named(name, "indices"), **options)
            gathered = tf.IndexedSlices(self.compression.decompress(values, context), indices, slices.dense_shape)
            return _divide(gathered, self._size()) if self.op == _horovod.Average else gathered

    def _size(self) -> Any:
        if is_elastic():  # asked at every step: the graph outlives a change of the number of ranks
            return _horovod.size_op(process_set_id=self.process_set.process_set_id)
        return self.process_set.size()

    def groups_of(self, dense: Sequence[int], variables: Sequence[Any]) -> Iterator[list[int]]:
        """Split the positions in `dense` into what is sent together."""
        if self.groups is None:
            yield list(dense)
        elif isinstance(self.groups, int):
            count = min(self.groups, len(dense))
            for g in range(count):
                yield list(dense[g * len(dense) // count : (g + 1) * len(dense) // count])
        else:
            position = {key(variables[i]): i for i in dense}
            for group in self.groups:
                members = [position.pop(key(v)) for v in group if key(v) in position]
                if members:
                    yield members
            yield from ([i] for i in position.values())


def largest_first(positions: Collection[int], tensors: Sequence[Any]) -> list[int]:
    """The order to send these tensors in. Horovod fuses neighbours only: between small ones a large one would part them into
    two messages."""
    return sorted(positions, key=lambda i: tensors[i].shape.num_elements() or 0, reverse=True)


def _named(name: str | None, part: str) -> str | None:
    return None if name is None else f"{name}.{part}"


def _divide(gradient: Any, size: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values / tf.cast(size, gradient.values.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient / tf.cast(size, gradient.dtype)
