"""Batch normalization over the batches of all ranks.

Each rank reduces its rows to (count, mean, sum of squared deviations) per channel; one collective of 2 C + 1 numbers a
rank brings them together, and they are combined as Chan et al. (1979) do, which loses no digits where the mean is large
against the standard deviation. Ranks count by their rows, so unequal batches and masks are right.
"""

from __future__ import annotations

import weakref
from typing import Any

import horovod.tensorflow as _horovod
import keras
import tensorflow as tf

from hvd_train.keras import checks
from hvd_train.keras.basics import is_elastic, require_initialized
from hvd_train.keras.plain import save_as


class SyncBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """keras.layers.BatchNormalization with the statistics of the whole global batch, in training.

    In training every rank must call it. Arguments are BatchNormalization's. It is saved as BatchNormalization with
    `synchronized=True`, which plain Keras opens; `hvd.load_model` makes it this class again.

    Args:
        fused: accepted as Horovod's: False.
    """

    _next_number = 0

    def __init__(self, fused: bool = False, **kwargs: Any) -> None:
        if fused:
            raise ValueError("SyncBatchNormalization does not support fused=True: it needs the moments themselves.")
        kwargs["synchronized"] = True
        super().__init__(**kwargs)
        self.supports_jit = False  # XLA cannot compile Horovod's collectives

    def _moments(self, inputs: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance per channel, over all ranks. (N, ..., C) -> (C,), (C,)"""
        require_initialized("SyncBatchNormalization in training")
        axes = self._reduction_axes
        if mask is None:
            rows = tf.size(inputs) / tf.shape(inputs)[self.axis]
            count = tf.fill([inputs.shape[self.axis]], tf.cast(rows, inputs.dtype))  # (C,)
            kept = inputs
        else:
            weights = self._broadcast_mask(mask, inputs)
            count = tf.reduce_sum(weights, axes)
            kept = inputs * weights
        mean = tf.math.divide_no_nan(tf.reduce_sum(kept, axes), count)
        deviation = inputs - tf.reshape(mean, self._channel_shape(inputs))
        squares = tf.reduce_sum(tf.square(deviation if mask is None else deviation * weights), axes)
        if _horovod.size() > 1 or is_elastic():
            rows = self._gather(tf.stack([count, mean, squares])[tf.newaxis])  # (ranks, 3, C)
            counts, means, squares = rows[:, 0], rows[:, 1], rows[:, 2]
            count = tf.reduce_sum(counts, 0)
            mean = tf.math.divide_no_nan(tf.reduce_sum(counts * means, 0), count)
            squares = tf.reduce_sum(squares + counts * tf.square(means - mean), 0)
        # Keras adds its epsilon to the divisor where there is a mask.
        divisor = count if mask is None else count + keras.config.epsilon()
        return mean * tf.math.divide_no_nan(count, divisor), tf.math.divide_no_nan(squares, divisor)

    def _gather(self, row: tf.Tensor) -> tf.Tensor:
        """(1, 3, C) -> (ranks, 3, C), differentiable: every rank's loss depends on every rank's rows."""
        name = self._collective_name(int(row.shape[-1]))

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def gather(row: tf.Tensor) -> Any:
            rows = _horovod.allgather(row, name=name, ignore_name_scope=True)

            # Horovod's own gradient of allgather averages over the ranks, which is not the derivative of their losses' sum.
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                total = _horovod.allreduce(upstream, op=_horovod.Sum, name=f"{name}.gradient", ignore_name_scope=True)
                rank = _horovod.rank_op() if is_elastic() else _horovod.rank()
                return total[rank : rank + 1]

            return rows, gradient

        return gather(row)

    def _collective_name(self, channels: int) -> str:
        """Alike on all ranks, whatever each has built before; another one for each call within one graph."""
        if not hasattr(self, "_hvd_number"):
            number = SyncBatchNormalization._next_number
            if not is_elastic():
                lines = [f"SyncBatchNormalization of {channels} channels"]
                number = checks.agree(lines, number=number, process_set=_horovod.global_process_set)
            object.__setattr__(self, "_hvd_number", number)
            object.__setattr__(self, "_hvd_calls", weakref.WeakKeyDictionary())
            SyncBatchNormalization._next_number = number + 1
        call = 0
        if not tf.executing_eagerly():  # eager calls are over before the next begins
            graph = tf.compat.v1.get_default_graph()
            call = self._hvd_calls.get(graph, 0)
            self._hvd_calls[graph] = call + 1
        return f"SyncBatchNormalization.{self._hvd_number}.{call}"

    def _broadcast_mask(self, mask: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.broadcast_to(tf.expand_dims(tf.cast(mask, tf.bool), -1), tf.shape(inputs)), inputs.dtype)

    def _channel_shape(self, inputs: tf.Tensor) -> list[int]:
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        return shape


save_as(SyncBatchNormalization, keras.layers.BatchNormalization)
