"""Series as input: normalised one by one, or channel by channel over all of them, and which positions are padding.

A series ends at its last position that has a value in any channel. Built-in Keras operations alone, so that a saved model
opens without this package. Shape letters: N rows, F columns (channel after channel), L positions, C channels.
"""

from __future__ import annotations

from typing import Any

import keras

# Beyond the largest value that a table may hold.
FAR = 3.4e38


def prepared_series(x_NF: Any, layout: tuple[int, int]) -> Any:
    """(N, F) plain rows -> (N, F + 1): normalised, zero where a value is missing or padding; then the length of the series.

    A value's place between the least and the greatest of its channel comes first: so any unit and any offset are alike,
    and a channel without variation is zero throughout. Missing values do not count.
    """
    positions, channels = layout
    x_NCL = keras.ops.reshape(x_NF, (-1, channels, positions))
    is_missing = keras.ops.isnan(x_NCL)
    present = 1.0 - keras.ops.cast(is_missing, "float32")
    low = keras.ops.min(keras.ops.where(is_missing, FAR, x_NCL), axis=2, keepdims=True)
    high = keras.ops.max(keras.ops.where(is_missing, -FAR, x_NCL), axis=2, keepdims=True)
    varies = high > low
    extent = keras.ops.where(varies, high - low, 1.0)
    share = keras.ops.where(is_missing, 0.0, (x_NCL - low) / extent)
    count = keras.ops.maximum(keras.ops.sum(present, axis=2, keepdims=True), 1.0)
    centred = (share - keras.ops.sum(share, axis=2, keepdims=True) / count) * present
    deviation = keras.ops.sqrt(keras.ops.sum(keras.ops.square(centred), axis=2, keepdims=True) / count)
    z_NCL = keras.ops.where(varies, centred / keras.ops.where(varies, deviation, 1.0), 0.0)
    return with_lengths(keras.ops.reshape(z_NCL, (-1, positions * channels)), x_NF, layout)


def with_lengths(z_NF: Any, x_NF: Any, layout: tuple[int, int]) -> Any:
    """Prepared series (N, F) -> (N, F + 1): then the length of each plain one, the number of its last position with a value."""
    positions, channels = layout
    is_missing_NCL = keras.ops.isnan(keras.ops.reshape(x_NF, (-1, channels, positions)))
    present_NL = keras.ops.max(1.0 - keras.ops.cast(is_missing_NCL, "float32"), axis=1)
    numbers_1L = keras.ops.convert_to_tensor([[float(i + 1) for i in range(positions)]], "float32")
    length_N1 = keras.ops.max(present_NL * numbers_1L, axis=1, keepdims=True)
    return keras.ops.concatenate([z_NF, length_N1], axis=1)


def mask_of(prepared_NF: Any, positions: int) -> Any:
    """(N, L, 1) one where a prepared series has a position, and zero where its row is padding."""
    length_N1 = prepared_NF[:, -1:]
    before_1L = keras.ops.convert_to_tensor([[float(i) for i in range(positions)]], "float32")
    return keras.ops.expand_dims(keras.ops.cast(length_N1 > before_1L, "float32"), axis=2)
