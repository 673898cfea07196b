"""Conv1D for training: bias and ReLU within the convolution's own operation, and the bias's gradient as a matrix multiplication.

Keras's Conv1D puts a reshape between convolution and ReLU, so TensorFlow makes two operations of them, and sums the bias's
gradient with a loop that in bfloat16 works number by number. docs/reference/performance-log.md has the times. Shape letters: N rows,
L positions, C channels in, F filters, K taps.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

_STRIDES = [1, 1, 1, 1]


class Conv1D(keras.layers.Conv1D):  # type: ignore[misc]
    """keras.layers.Conv1D, computed otherwise where it has a bias and goes over every position.

    In a saved model `built_in` has put Keras's own layer in its place.
    """

    def call(self, inputs: Any) -> Any:
        """(N, L, C) -> (N, L', F)."""
        if not self._is_plain():
            return super().call(inputs)
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        rectify = self.activation is keras.activations.relu
        y = _convolved(inputs, kernel, bias, self.padding.upper(), rectify)
        return y if rectify else self.activation(y)

    def _is_plain(self) -> bool:
        return (
            self.use_bias
            and (self.strides, self.dilation_rate, self.groups) == ((1,), (1,), 1)
            and self.padding in ("same", "valid")
            and self.data_format == "channels_last"
            and not tf.config.get_visible_devices("GPU")
        )


def _convolved(x_NLC: Any, kernel_KCF: Any, bias_F: Any, padding: str, rectify: bool) -> Any:
    """x convolved with the kernel, and the bias; below zero zero if `rectify`."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(x_NLC: Any, kernel_KCF: Any, bias_F: Any) -> Any:
        x, kernel = x_NLC[:, tf.newaxis], kernel_KCF[tf.newaxis]
        y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, _STRIDES, padding), bias_F)
        if rectify:
            y = tf.nn.relu(y)

        def gradient(upstream_NLF: Any) -> tuple[Any, Any, Any]:
            d = upstream_NLF[:, tf.newaxis]
            if rectify:
                d = tf.raw_ops.ReluGrad(gradients=d, features=y)
            dx = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=d, strides=_STRIDES, padding=padding
            )
            dkernel = tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=tf.shape(kernel), out_backprop=d, strides=_STRIDES, padding=padding
            )
            rows = tf.reshape(d, [-1, tf.shape(bias_F)[0]])  # (N L', F)
            ones = tf.ones([1, tf.shape(rows)[0]], rows.dtype)
            return dx[:, 0], dkernel[0], tf.matmul(ones, rows)[0]

        return y[:, 0], gradient

    return convolved(x_NLC, kernel_KCF, bias_F)
