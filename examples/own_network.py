"""Train a network of your own, with a layer of your own. From Python, or by name from the command line:

horovodrun -np 2 python examples/own_network.py
horovodrun -np 2 hvd-train train --model examples/own_network.py:wide
"""

from dataclasses import dataclass

import keras

import hvd_train


@dataclass(frozen=True)
class WideConfig:
    """Settings of the network `wide`."""

    units: int = 64
    """Units of each of its two layers."""


@keras.saving.register_keras_serializable(package="example")
class Gate(keras.layers.Layer):
    """Multiplies its inputs (N, U) by a learnt share between 0 and 1."""

    def build(self, shape):
        self.logit = self.add_weight(shape=shape[1:], initializer="zeros", name="logit")

    def call(self, x_NU):
        return x_NU * keras.ops.sigmoid(self.logit)


def wide(x_NLC, config: WideConfig):
    """(N, L, C) -> (N, U): two dense layers with a gate between."""
    x_NU = keras.layers.Flatten()(x_NLC)
    x_NU = keras.layers.Dense(config.units, activation="relu")(x_NU)
    x_NU = Gate()(x_NU)
    return keras.layers.Dense(config.units, activation="relu")(x_NU)


if __name__ == "__main__":
    report = hvd_train.train(
        config=hvd_train.recipe("debug"), network=wide, network_options={"units": 32}, run_dir="runs/own-network"
    )
    if hvd_train.open_world().is_root:
        print(f"The model is {report.verdict}.")
