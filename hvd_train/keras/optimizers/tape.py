"""DistributedGradientTape: for custom loops, a tape whose gradients are averages over the ranks.

With a DistributedOptimizer it is not needed; if both are used, the gradients are still averaged once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf

from hvd_train.keras.basics import key, require_initialized
from hvd_train.keras.optimizers.gradients import Reduction
from hvd_train.keras.optimizers.mixin import mark_reduced


class _DistributedGradientTape(tf.GradientTape):  # type: ignore[misc]
    """Shares the state of the tape it is made from; only `gradient` differs."""

    def __init__(self, tape: tf.GradientTape, reduction: Reduction) -> None:
        self.__dict__ = tape.__dict__
        self._hvd_reduction = reduction
        self._hvd_local: dict[int, Any] = {}

    def register_local_source(self, source: Any) -> None:
        """Keep `source` to this rank: its gradient is not sent, only divided by the number of ranks."""
        self._hvd_local[key(source)] = source

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, use_generic_names: bool = False, **kwargs: Any
    ) -> Any:
        """As tf.GradientTape.gradient, averaged over the ranks, all of which must call it."""
        local = super().gradient(target, sources, output_gradients, **kwargs)
        # IndexedSlices are composite: flatten along the sources, not the gradients.
        flat_sources, flat = tf.nest.flatten(sources), _flatten_up_to(sources, local)
        name = "DistributedGradientTape" if use_generic_names else None
        reduced = self._hvd_reduction.reduce(flat, flat_sources, name=name, local=self._hvd_local)
        return tf.nest.pack_sequence_as(sources, [mark_reduced(g) for g in reduced])

    def get_local_and_global_gradients(
        self, target: Any, sources: Any, output_gradients: Any = None, use_generic_names: bool = False
    ) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
        """Pairs (source, gradient): those of local sources, and the averaged ones."""
        pairs = list(zip(sources, self.gradient(target, sources, output_gradients, use_generic_names), strict=True))
        return (
            [p for p in pairs if key(p[0]) in self._hvd_local],
            [p for p in pairs if key(p[0]) not in self._hvd_local],
        )


def _flatten_up_to(sources: Any, gradients: Any) -> list[Any]:
    if isinstance(sources, dict):
        return [g for k in sorted(sources) for g in _flatten_up_to(sources[k], gradients[k])]
    if isinstance(sources, (list, tuple)):
        return [g for s, part in zip(sources, gradients, strict=True) for g in _flatten_up_to(s, part)]
    return [gradients]


def DistributedGradientTape(
    gradtape: tf.GradientTape,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Any = _horovod.Compression.none,
    sparse_as_dense: bool = False,
    op: Any = _horovod.Average,
    gradient_predivide_factor: float = 1.0,
    num_groups: int = 0,
    groups: int | Sequence[Sequence[Any]] | None = None,
    process_set: Any = _horovod.global_process_set,
    scale_local_gradients: bool = True,
) -> Any:
    """A tape that averages what `gradient` returns. Arguments as DistributedOptimizer's."""
    require_initialized("hvd.DistributedGradientTape()")
    reduction = Reduction(
        op=op,
        compression=compression,
        sparse_as_dense=sparse_as_dense,
        gradient_predivide_factor=gradient_predivide_factor,
        groups=groups if groups is not None else (num_groups or None),
        process_set=process_set,
        scale_local_gradients=scale_local_gradients,
        device_dense=device_dense,
        device_sparse=device_sparse,
    )
    return _DistributedGradientTape(gradtape, reduction)


def PartialDistributedGradientTape(
    gradtape: tf.GradientTape, *args: Any, local_layers: Any = None, **kwargs: Any
) -> Any:
    """DistributedGradientTape that leaves the variables of some layers to each rank."""
    layers = [local_layers] if isinstance(local_layers, keras.layers.Layer) else list(local_layers or [])
    tape = DistributedGradientTape(gradtape, *args, **kwargs)
    for layer in layers:
        for variable in layer.trainable_variables:
            tape.register_local_source(variable)
    return tape
