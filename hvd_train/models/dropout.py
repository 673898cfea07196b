"""Dropout for training: a byte or two of randomness for each number instead of four. docs/performance.md has the times."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Dropout(keras.layers.Dropout):  # type: ignore[misc]
    """keras.layers.Dropout, whose share is a multiple of 1/256 or, where that is not exact, of 1/65536.

    In a saved model `built_in` has put Keras's own layer in its place: it does nothing there, and opens without this
    package.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        kind = tf.uint8 if (self.rate * 256).is_integer() else tf.uint16
        levels = 1 << (8 * kind.size)
        dropped = round(self.rate * levels)
        kept = tf.cast(random_bits(tf.shape(inputs), kind, self.seed_generator) >= tf.cast(dropped, kind), inputs.dtype)
        return inputs * (kept * tf.cast(levels / (levels - dropped), inputs.dtype))


def random_bits(shape: Any, kind: Any, seeds: Any) -> Any:
    """A tensor of `shape` of random unsigned numbers of a `kind` of at most 32 bits."""
    count, each = tf.reduce_prod(shape), tf.uint32.size // kind.size
    words = tf.random.stateless_uniform(
        [(count + each - 1) // each], tf.cast(seeds.next(), tf.int32), minval=None, maxval=None, dtype=tf.uint32
    )
    return tf.reshape(tf.reshape(tf.bitcast(words, kind), [-1])[:count], shape)
