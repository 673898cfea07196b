"""LARS: momentum with a rate of each layer's own, for large batches. You, Gitman and Ginsburg 2017 (arXiv 1708.03888).

Keras has LAMB and not this. The gradient of a kernel, with its decay, is scaled to a share of the kernel's norm; biases
and normalisations (whatever is excluded from weight decay, or of one dimension) are updated as by SGD.
"""

from __future__ import annotations

from typing import Any

import keras

# The share of a layer's norm that a gradient is scaled to, at rate 1 (the paper's eta).
TRUST_COEFFICIENT = 1e-3


class LARS(keras.optimizers.SGD):  # type: ignore[misc]
    """keras.optimizers.SGD whose gradients are first scaled by eta * |w| / |g|, layer by layer."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if len(variable.shape) > 1:
            norm = keras.ops.norm(keras.ops.reshape(variable, (-1,)))
            size = keras.ops.norm(keras.ops.reshape(gradient, (-1,)))
            scale = keras.ops.where((norm > 0) & (size > 0), TRUST_COEFFICIENT * norm / (size + 1e-12), 1.0)
            gradient = gradient * keras.ops.cast(scale, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)
