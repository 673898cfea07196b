"""Dropout for training: a row is treated alike on whichever rank it is, for a byte or two of randomness a number.

The mask of a row is a pure function of the layer's seed, the count of calls (the step) and the place of the row in the
global batch. There the batches of all ranks stand one after another, which is the order of the virtual shards at any number
of ranks. So masks depend neither on the number of ranks nor on an interruption: a checkpoint holds the count.
docs/reference/performance-log.md has the times.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

# Philox (Salmon et al. 2011) gives 16 bytes for each value of its counter. A row begins with a value of its own.
_BLOCK_BYTES = 16
_PHILOX = 1  # TensorFlow's number for it


class Dropout(keras.layers.Dropout):  # type: ignore[misc]
    """keras.layers.Dropout, whose share is a multiple of 1/256 or, where that is not exact, of 1/65536.

    `rank` says which part of the global batch the rows of a call are; all ranks give the same number of rows and the same
    seed. In a saved model `built_in` has put Keras's own layer in its place: it does nothing there, and opens without this
    package.
    """

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, *, rank: Any = 0, **kwargs: Any):
        super().__init__(rate, noise_shape, seed, **kwargs)
        if self.noise_shape is not None and self.noise_shape[0] is not None:
            raise ValueError(f"noise_shape = {noise_shape}: each row has a mask of its own, so it begins with None.")
        self.rank = rank

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        kind = tf.uint8 if (self.rate * 256).is_integer() else tf.uint16
        levels = 1 << (8 * kind.size)
        dropped = min(round(self.rate * levels), levels - 1)
        wanted = self.noise_shape or inputs.shape
        shape = [size if fixed is None else fixed for size, fixed in zip(inputs.shape, wanted, strict=True)][1:]
        num_rows = tf.shape(inputs)[0]
        bits = random_rows(num_rows, math.prod(shape), kind, self.seed_generator.next(), rank=self.rank)
        kept = tf.cast(tf.reshape(bits, [num_rows, *shape]) >= tf.cast(dropped, kind), inputs.dtype)
        return inputs * (kept * tf.cast(levels / (levels - dropped), inputs.dtype))


def random_rows(num_rows: Any, length: int, kind: Any, state: Any, *, rank: Any) -> Any:
    """(num_rows, length) random unsigned numbers of a `kind` of at most 32 bits: the part of `rank` of a global batch.

    `state` is int64 (2,), seed and step, as a keras.random.SeedGenerator gives it.
    """
    numbers_a_block = _BLOCK_BYTES // kind.size
    blocks_a_row = -(-length // numbers_a_block)
    num_blocks = tf.cast(num_rows, tf.int64) * blocks_a_row
    words = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[num_blocks * (_BLOCK_BYTES // tf.uint32.size)],
        key=tf.bitcast(state[:1], tf.uint64),
        counter=tf.bitcast(tf.stack([rank * num_blocks, state[1]]), tf.uint64),
        alg=_PHILOX,
        dtype=tf.uint32,
    )
    numbers = tf.reshape(tf.bitcast(words, kind), [num_rows, blocks_a_row * numbers_a_block])
    return numbers if numbers.shape[1] == length else numbers[:, :length]
