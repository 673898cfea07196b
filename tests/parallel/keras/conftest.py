"""These tests run under mpirun: `mpirun -np N python -m pytest tests/parallel/keras`, with any N."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras
import pytest

import hvd_train.keras as hvd

hvd.init(process_sets="dynamic")


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Every rank begins each test with the same seeds, names and precision."""
    keras.utils.clear_session(free_memory=False)
    # An iterator of tf.data that has lived for long may take as long again to end, up to a minute (TensorFlow 2.21).
    gc.collect(1)
    keras.utils.set_random_seed(7)
    yield
    keras.config.set_dtype_policy("float32")
