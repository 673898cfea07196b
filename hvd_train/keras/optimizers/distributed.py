"""DistributedOptimizer and PartialDistributedOptimizer: Horovod's functions around mixin.py.

The optimizer that is given becomes distributed itself, and is returned: learning rate, slots and iterations stay.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as _horovod
import keras

from hvd_train.keras import hooks
from hvd_train.keras.basics import require_initialized
from hvd_train.keras.optimizers.gradients import Reduction
from hvd_train.keras.optimizers.mixin import DistributedMixin, OptimizerState
from hvd_train.keras.plain import become, plain_subclass


def DistributedOptimizer(  # Horovod's name
    optimizer: Any,
    name: str | None = None,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Any = _horovod.Compression.none,
    sparse_as_dense: bool = False,
    gradient_predivide_factor: float = 1.0,
    op: Any = _horovod.Average,
    backward_passes_per_step: int = 1,
    average_aggregated_gradients: bool = False,
    num_groups: int = 0,
    groups: int | Sequence[Sequence[Any]] | None = None,
    process_set: Any = _horovod.global_process_set,
    scale_local_gradients: bool = True,
    share_update: bool = False,
    may_round: bool = False,
) -> Any:
    """Make a Keras optimizer average gradients over the ranks before it applies them. Every rank must call it.

    Args:
        optimizer: any Keras 3 optimizer, built or not. It is changed in place, keeps its state, and is returned.
        name: start of the names of the collectives. Default "Distributed" and the optimizer's class.
        device_dense, device_sparse: TensorFlow devices for the collectives. Default: where the gradients are.
        compression: `Compression.fp16` halves what is sent.
        sparse_as_dense: send IndexedSlices (of an Embedding) as full tensors.
        gradient_predivide_factor: f splits the averaging: 1/f before the sum, f/size after it. Average alone.
        op: Average or Sum.
        backward_passes_per_step: sum the gradients of so many passes on each rank, then reduce and update once.
        average_aggregated_gradients: divide that sum by the number of passes.
        num_groups: Horovod's old name for a number in `groups`.
        groups: a number of groups to send the gradients in, or lists of variables to send together. Default: one group.
        process_set: average among these ranks alone.
        scale_local_gradients: divide gradients of local variables by the number of ranks.
        share_update: where the ranks of one host share memory, let each update a part of the weights. For optimizers
            with `adam_arguments` (hvd_train's own); before their variables are saved, every rank must call
            `hvd_gather_state()`.
        may_round: let gradients be rounded on the wire between hosts, where HOROVOD_WIRE_PRECISION asks for it.

    Raises:
        NotInitializedError: before hvd.init().
        ValueError: an optimizer that is distributed already, or an argument out of range.
        TypeError: not a Keras optimizer.
        ModelMismatchError: at the first update, on every rank, if they build different models.
    """
    require_initialized("hvd.DistributedOptimizer()")
    optimizer = keras.optimizers.get(optimizer) if isinstance(optimizer, (str, dict)) else optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"hvd.DistributedOptimizer() takes a Keras 3 optimizer, not {type(optimizer)!r}.")
    if hooks.holds_distributed(optimizer):
        raise ValueError(
            f"{type(optimizer).__name__} is distributed already: wrapped twice, gradients would be reduced twice. "
            "hvd.DistributedOptimizer() changes the optimizer it is given; use that one, or build a new one."
        )
    if num_groups:
        warnings.warn("`num_groups` has been replaced by `groups`.", DeprecationWarning, stacklevel=2)
        groups = groups if groups is not None else num_groups
    reduction = Reduction(
        op=op,
        compression=compression,
        sparse_as_dense=sparse_as_dense,
        gradient_predivide_factor=gradient_predivide_factor,
        groups=groups,
        process_set=process_set,
        scale_local_gradients=scale_local_gradients,
        device_dense=device_dense,
        device_sparse=device_sparse,
        may_round=may_round,
    )
    parent = type(optimizer)
    prefix = name or f"Distributed{parent.__name__}"

    def new_state() -> OptimizerState:
        return OptimizerState(reduction, prefix, backward_passes_per_step, average_aggregated_gradients, share_update)

    new_state()  # refuses bad arguments now
    hooks.install()
    hooks.any_distributed = True
    namespace: dict[str, Any] = {"_hvd_new_state": staticmethod(new_state)}
    namespace.update(hooks.keras_2_update_step(parent))
    return become(optimizer, plain_subclass(parent, DistributedMixin, namespace))


def PartialDistributedOptimizer(optimizer: Any, *args: Any, local_layers: Any = None, **kwargs: Any) -> Any:
    """DistributedOptimizer that leaves some layers to each rank: their gradients are applied where they arise.

    Args:
        local_layers: a built layer or a collection of them, the same on every rank. The other arguments are
            DistributedOptimizer's.
    """
    layers = [local_layers] if isinstance(local_layers, keras.layers.Layer) else list(local_layers or [])
    if not all(isinstance(layer, keras.layers.Layer) for layer in layers):
        raise ValueError("All local layers must be of keras.layers.Layer type.")
    if unbuilt := [layer.name for layer in layers if not layer.built]:
        raise ValueError(f"Local layers must be built first, so that they have variables; {unbuilt} are not.")
    optimizer = DistributedOptimizer(optimizer, *args, **kwargs)
    for layer in layers:
        for variable in layer.trainable_variables:
            optimizer.register_local_var(variable)
    return optimizer
