"""What the networks for series share: they see no padding, so more zeros at the end of a series change nothing.

After each convolution padding is made zero again, as the zeros beyond the end of a row are. Normalisation and pooling count the
positions of the series alone. Batch normalisation is over the global batch, so the number of ranks changes nothing.
Shape letters: N rows, L positions, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from hvd_train.models.convolution import Conv1D
from hvd_train.models.seeds import Seeds

# Of the statistics that predictions are made with: those of some tens of batches. Keras's 0.99 is for longer training.
MOMENTUM = 0.9
# Less than any value of a normalised series.
FAR_BELOW = -1e9


@dataclass(frozen=True)
class SeriesLayers:
    """Makes the layers of one network."""

    mask: Any
    """(N, L, 1) one where a series has a position; None where no row has padding."""
    seeds: Seeds
    batch_normalization: Callable[[dict[str, Any]], Any] | None = None
    """The layer over the global batch that has the settings of Keras's own; None where this rank has all of it."""

    def convolved(self, x_NLC: Any, filters: int, size: int, name: str, *, bias: bool = False) -> Any:
        """A convolution that keeps the length."""
        kernel = self.seeds.kernel()
        return Conv1D(filters, size, padding="same", use_bias=bias, kernel_initializer=kernel, name=name)(x_NLC)

    def separably_convolved(self, x_NLC: Any, filters: int, size: int, dilation: int, name: str) -> Any:
        """A convolution of each channel, then one of a single position over all of them. It keeps the length."""
        depthwise, pointwise = self.seeds.kernel(), self.seeds.kernel()
        layer = keras.layers.SeparableConv1D(
            filters,
            size,
            padding="same",
            dilation_rate=dilation,
            use_bias=False,
            depthwise_initializer=depthwise,
            pointwise_initializer=pointwise,
            name=name,
        )
        return layer(x_NLC)

    def normalised(self, x_NLC: Any, name: str) -> Any:
        """Each channel at mean 0 and variance 1 over the positions of a batch, then a scale and an offset."""
        layer = keras.layers.BatchNormalization(momentum=MOMENTUM, name=name)
        if self.batch_normalization is not None:
            layer = self.batch_normalization(layer.get_config())
        return layer(x_NLC) if self.mask is None else layer(x_NLC, mask=self.mask[:, :, 0])

    def rectified(self, x_NLC: Any, name: str) -> Any:
        """ReLU, and zero where there is padding."""
        return self.masked(keras.layers.Activation("relu", name=name)(x_NLC))

    def masked(self, x_NLC: Any) -> Any:
        """Zero where there is padding."""
        return x_NLC if self.mask is None else x_NLC * keras.ops.cast(self.mask, x_NLC.dtype)

    def largest_of_three(self, x_NLC: Any, name: str) -> Any:
        """The largest of each position and its neighbours, where padding is none of them."""
        pool = keras.layers.MaxPooling1D(3, strides=1, padding="same", name=name)
        if self.mask is None:
            return pool(x_NLC)
        return self.masked(pool(keras.ops.where(self.mask > 0, x_NLC, keras.ops.cast(FAR_BELOW, x_NLC.dtype))))

    def averaged(self, x_NLC: Any) -> Any:
        """(N, L, C) -> (N, C) the mean over the positions of each series."""
        if self.mask is None:
            return keras.layers.GlobalAveragePooling1D(name="average")(x_NLC)
        x_NLC = keras.ops.cast(x_NLC, "float32")
        return keras.ops.sum(x_NLC * self.mask, axis=1) / keras.ops.maximum(keras.ops.sum(self.mask, axis=1), 1.0)


def fixed_filter(x_NLC: Any, taps: np.ndarray, name: str) -> Any:
    """(N, L, C) -> (N, L, 1) by one filter that is not trained, the same for each channel."""
    layer = keras.layers.Conv1D(1, len(taps), padding="same", use_bias=False, trainable=False, name=name)
    layer.build(x_NLC.shape)
    kernel = np.repeat(taps.astype(np.float32)[:, None], x_NLC.shape[2], axis=1)
    layer.set_weights([kernel[:, :, None]])
    return layer(x_NLC)
