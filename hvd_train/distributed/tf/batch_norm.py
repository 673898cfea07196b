"""Batch normalization over the batches of all ranks of the engine tensorflow.

Two sums over the ranks for each layer and step: one gives the mean, the other the squared deviations from it, so no digits are lost
where the mean is large against the standard deviation. Rows and masks may differ between ranks. N: rows, C: channels.
"""

from __future__ import annotations

import weakref
from typing import Any

import keras
import tensorflow as tf

from hvd_train.distributed.tf.collectives import Collectives


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """keras.layers.BatchNormalization with the statistics of the whole global batch, in training. All ranks.

    A saved model has Keras's own layer in its place.
    """

    def __init__(self, collectives: Collectives, **settings: Any) -> None:
        super().__init__(**settings | {"synchronized": True})
        self._collectives = collectives
        # By graph: how many sums this layer has in it. Each has a key of its own.
        self._sums: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def _moments(self, inputs: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance per channel, over all ranks. (N, ..., C) -> (C,), (C,)"""
        axes = self._reduction_axes
        present = tf.ones_like(inputs) if mask is None else _spread(mask, inputs)
        counts_and_sums = tf.stack([tf.reduce_sum(present, axes), tf.reduce_sum(inputs * present, axes)])
        count, total = tf.unstack(self._over_ranks(counts_and_sums))
        mean = tf.math.divide_no_nan(total, count)
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        squares = self._over_ranks(tf.reduce_sum(tf.square(inputs - tf.reshape(mean, shape)) * present, axes))
        return mean, tf.math.divide_no_nan(squares, count)

    def _over_ranks(self, local: tf.Tensor) -> tf.Tensor:
        """The sum over the ranks. Differentiable: the loss of each rank depends on the rows of every rank."""
        graph = tf.compat.v1.get_default_graph()
        number = self._sums[graph] = self._sums.get(graph, 0) + 1
        key = f"batch normalization {self.name}.{number}"

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def summed(x: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return self._collectives.reduce(upstream, key=f"{key}.gradient")

            return self._collectives.reduce(x, key=key), gradient

        return summed(local)


def _spread(mask: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """(N, ...) -> (N, ..., C) with the numbers 0 and 1."""
    return tf.cast(tf.broadcast_to(tf.expand_dims(tf.cast(mask, tf.bool), -1), tf.shape(inputs)), inputs.dtype)
