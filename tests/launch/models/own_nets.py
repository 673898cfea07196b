"""A network, a layer and losses from outside the package, as a user writes them in one file."""

import dataclasses

import keras

from hvd_train.models import ProbabilityObjective, ValueObjective


class Gate(keras.layers.Layer):
    """x times a trained share of each channel. Counts its calls in training, each rank its own."""

    def build(self, shape):
        self.share = self.add_weight(shape=(shape[-1],), initializer="zeros", name="share")
        self.mean = self.add_weight(shape=(), initializer="zeros", trainable=False, name="running_mean")

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x))
        return x * keras.ops.sigmoid(self.share)


def leaky(x):
    return keras.ops.leaky_relu(x, 0.1)


@dataclasses.dataclass(frozen=True)
class Wide:
    width: int = 8
    activation: str = "relu"
    units: tuple[int, ...] = ()


def wide(x_NLC, config: Wide):
    x = keras.layers.Conv1D(config.width, 3, padding="same", activation=config.activation)(x_NLC)
    x = keras.layers.BatchNormalization()(x)
    x = Gate()(keras.layers.Dropout(0.25)(x))
    x = keras.layers.GlobalAveragePooling1D()(x)
    for units in config.units:
        x = keras.layers.Dense(units, activation=leaky)(x)
    return x


def broken(x_NLC):
    return keras.layers.Reshape((7, 7))(x_NLC)


class Pinball(ValueObjective):
    """The 90th percentile of the label."""

    degree = 1

    def loss(self, targets, outputs):
        error = targets - outputs
        return keras.ops.maximum(0.9 * error, -0.1 * error)[:, 0]


class Smooth(ProbabilityObjective):
    """Cross-entropy with a share of a tenth for all labels."""

    def loss(self, targets, outputs):
        log_probabilities = keras.ops.log_softmax(outputs)
        return -keras.ops.sum((0.9 * targets + 0.1 / outputs.shape[-1]) * log_probabilities, axis=-1)
