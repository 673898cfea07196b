"""One rank's rows as a tf.data pipeline: resident once, gathered in each epoch's order, no Python per step.

Shape letters: N rows of this rank, F features, S steps, B local batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hvd_train.data import Rows

PREFETCHED_BATCHES = 4


def epochs_dataset(rows: Rows, order: Callable[[], np.ndarray], num_steps: int) -> Any:
    """A finite tf.data.Dataset of `num_steps` batches (x (B, F), y (B,)); each iteration asks `order` anew.

    `order()` returns this epoch's positions into `rows`, int32 (S, B). It is called once per iteration of the dataset,
    which in `model.fit` is once per epoch.
    """
    features_NF, labels_N = tf.constant(rows.features), tf.constant(rows.labels)
    local_batch_size = order().shape[1]

    def positions(_: Any) -> Any:
        drawn = tf.numpy_function(order, [], tf.int32, stateful=True)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(drawn, (num_steps, local_batch_size)))

    def gather(positions_B: Any) -> Any:
        return tf.gather(features_NF, positions_B), tf.gather(labels_N, positions_B)

    dataset = tf.data.Dataset.from_tensors(0).flat_map(positions).map(gather).prefetch(PREFETCHED_BATCHES)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_steps))
    return dataset.with_options(steady_options())


def steady_options() -> Any:
    """tf.data without its tuner: on a rank that owns one core, every epoch's end would wait for the tuner's timer."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    options.deterministic = True
    return options
