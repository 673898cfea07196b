"""Adam with its update in one operation of TensorFlow's, which reads and writes each number once.

Keras computes the same formula in ten operations over all weights; docs/reference/performance-log.md has the times. Variables, arguments
and what a checkpoint holds are Keras's own.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class FusedUpdate:
    """What an Adam of Keras's mixes in. The formula: Kingma and Ba 2015 (arXiv 1412.6980), end of section 2."""

    def _backend_update_step(self: Any, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        """What Keras calls with all gradients. No update begins before the last is there: what still reads a weight (the
        gradient of a layer's inputs) would make TensorFlow copy it first."""
        with tf.control_dependencies([g for g in grads if tf.is_tensor(g)]):
            super()._backend_update_step(grads, trainable_variables, learning_rate)  # type: ignore[misc]

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if isinstance(gradient, tf.IndexedSlices) or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=handle(variable),
            m=handle(self._momentums[index]),
            v=handle(self._velocities[index]),
            grad=tf.cast(gradient, variable.dtype),
            **self.adam_arguments(learning_rate, variable.dtype),
        )

    def adam_arguments(self: Any, learning_rate: Any, dtype: Any) -> dict[str, Any]:
        """The operation's scalars at this step, by their names there (and in `hvd_train.keras`, which shares the update out)."""
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        return {
            "beta1_power": beta_1**step,
            "beta2_power": beta_2**step,
            "lr": tf.cast(learning_rate, dtype),
            "beta1": beta_1,
            "beta2": beta_2,
            "epsilon": tf.constant(self.epsilon, dtype),
        }


class Adam(FusedUpdate, keras.optimizers.Adam):  # type: ignore[misc]
    """keras.optimizers.Adam, faster."""


class AdamW(FusedUpdate, keras.optimizers.AdamW):  # type: ignore[misc]
    """keras.optimizers.AdamW, faster."""


def handle(variable: Any) -> Any:
    """TensorFlow's resource of its own variable, or of the one in a Keras variable."""
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle
