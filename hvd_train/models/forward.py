"""A compiled forward pass: plain rows in, the outputs of a model out. Shape letters: N rows, F features, K outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# Rows of one forward pass; large enough for the matrix multiplications, small enough for any memory.
FORWARD_BATCH = 1024


def forward_pass(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A compiled forward pass, (N, F) float32 -> (N, K), for any N. Each call traces the model once."""
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    # As Keras traces it for training: without AutoGraph, whose files a killed rank leaves in TMPDIR.
    forward = tf.function(lambda x: model(x, training=False), input_signature=[spec], autograph=False)
    num_columns = model.output_shape[-1]

    def infer(features_NF: np.ndarray) -> np.ndarray:
        batches = range(0, len(features_NF), FORWARD_BATCH)
        outputs = [forward(tf.constant(features_NF[i : i + FORWARD_BATCH])).numpy() for i in batches]
        return np.concatenate(outputs) if outputs else np.empty((0, num_columns), np.float32)

    return infer
