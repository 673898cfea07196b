"""Dense for training: the gradient of its inputs by a matrix multiplication that does not pack the kernel again.

TensorFlow's MatMul hands float32 to oneDNN's gemm, which rearranges a transposed right side first: for the reference's
(2880, 128) kernel that is much of the multiplication's time at 32 rows. BatchMatMul's kernels read it as it lies.
docs/reference/performance-log.md has the times. Shape letters: N rows, M members, I inputs, U units.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Dense(keras.layers.Dense):  # type: ignore[misc]
    """keras.layers.Dense, with another way to the gradient of its inputs.

    In a saved model `built_in` has put Keras's own layer in its place.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(N, I) -> (N, U), or (N, M, I) -> (N, M, U)."""
        if None in inputs.shape[1:] or tf.config.get_visible_devices("GPU"):
            return super().call(inputs, training=training)
        x = inputs if len(inputs.shape) == 2 else tf.reshape(inputs, [-1, inputs.shape[-1]])  # (N, M, I) -> (N * M, I)
        y = _product(x, tf.convert_to_tensor(self.kernel))
        if self.use_bias:
            y = tf.nn.bias_add(y, tf.convert_to_tensor(self.bias))
        return self.activation(y if len(inputs.shape) == 2 else tf.reshape(y, [-1, *inputs.shape[1:-1], self.units]))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _product(x_NI: Any, kernel_IU: Any) -> Any:
    """x times the kernel, (N, U)."""

    def gradient(upstream_NU: Any) -> tuple[Any, Any]:
        dx_1NI = tf.raw_ops.BatchMatMulV2(x=upstream_NU[tf.newaxis], y=kernel_IU[tf.newaxis], adj_y=True)
        return tf.squeeze(dx_1NI, 0), tf.matmul(x_NI, upstream_NU, transpose_a=True)

    return tf.matmul(x_NI, kernel_IU), gradient
