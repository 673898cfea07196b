"""Mixed precision: matrix multiplications in bfloat16 (`--precision`). Weights, sums, losses and metrics stay float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers made in this block compute in `precision`, except those with an explicit dtype="float32"."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
