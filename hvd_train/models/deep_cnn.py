"""The deeper nets that the earlier project planned: plain stages, and pre-activation residual ones.

Residual blocks with the activation first: He et al. 2016 (arXiv 1603.05027). Squeeze-and-excitation: Hu et al. 2018
(arXiv 1709.01507). Stochastic depth: Huang et al. 2016 (arXiv 1603.09382). Normalisation is over a row alone, so the
number of ranks does not matter. Shape letters: N rows, L positions, C channels, U units.
"""

from __future__ import annotations

from typing import Any

import keras

from hvd_train.config import DeepCnnConfig, ResidualCnnConfig
from hvd_train.models.convolution import Conv1D
from hvd_train.models.layers import dense_stack, dropped, normalised
from hvd_train.models.seeds import Seeds


def deep_cnn(x_NLC: Any, config: DeepCnnConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U): stages of `blocks` times twice {Conv1D, normalisation, activation}, then dropout."""
    x = x_NLC
    for stage, filters in enumerate(config.filters):
        x = _halved(x, config, stage)
        for block in range(config.blocks):
            for half in range(2):
                name = f"{stage}_{block}_{half}"
                x = _convolved(x, filters, config.kernel_size, seeds, f"conv_{name}")
                x = normalised(x, config.normalisation, f"norm_{name}")
                x = keras.layers.Activation(config.activation, name=f"activation_{name}")(x)
            x = dropped(x, config.conv_dropout, seeds, f"conv_dropout_{stage}_{block}")
    return dense_stack(_pooled(x, config), config, seeds, normalisation=config.normalisation)


def residual_cnn(x_NLC: Any, config: ResidualCnnConfig, seeds: Seeds) -> Any:
    """(N, L, C) -> (N, U): stages of `blocks` residual blocks, then dense layers."""
    num_blocks = len(config.filters) * config.blocks
    x = _convolved(x_NLC, config.filters[0], config.kernel_size, seeds, "stem")
    for stage, filters in enumerate(config.filters):
        x = _halved(x, config, stage)
        for block in range(config.blocks):
            # The probability of being left out grows linearly from the first block to the last.
            left_out = config.stochastic_depth * (stage * config.blocks + block + 1) / num_blocks
            x = _residual_block(x, filters, config, seeds, f"{stage}_{block}", left_out)
    x = normalised(x, config.normalisation, "norm_end")
    x = keras.layers.Activation(config.activation, name="activation_end")(x)
    return dense_stack(_pooled(x, config), config, seeds, normalisation=config.normalisation)


def _residual_block(x: Any, filters: int, config: ResidualCnnConfig, seeds: Seeds, name: str, left_out: float) -> Any:
    """x + branch(x), where the branch is twice {normalisation, activation, Conv1D}."""
    skip, branch = x, x
    for half in range(2):
        branch = normalised(branch, config.normalisation, f"norm_{name}_{half}")
        branch = keras.layers.Activation(config.activation, name=f"activation_{name}_{half}")(branch)
        if half:
            branch = dropped(branch, config.conv_dropout, seeds, f"conv_dropout_{name}")
        branch = _convolved(branch, filters, config.kernel_size, seeds, f"conv_{name}_{half}")
    if config.squeeze_ratio:
        branch = _squeezed_and_excited(branch, config.squeeze_ratio, seeds, name)
    # Dropout of a whole row's branch; what is kept is scaled, so that nothing changes at inference.
    branch = dropped(branch, left_out, seeds, f"stochastic_depth_{name}", whole_rows=True)
    if skip.shape[-1] != filters:
        skip = _convolved(skip, filters, 1, seeds, f"skip_{name}")
    return keras.layers.Add(name=f"add_{name}")([skip, branch])


def _squeezed_and_excited(x_NLC: Any, ratio: int, seeds: Seeds, name: str) -> Any:
    channels = x_NLC.shape[-1]
    s = keras.layers.GlobalAveragePooling1D(keepdims=True, name=f"squeeze_{name}")(x_NLC)  # (N, 1, C)
    s = keras.layers.Dense(
        max(1, channels // ratio), activation="relu", kernel_initializer=seeds.kernel(), name=f"squeezed_{name}"
    )(s)
    s = keras.layers.Dense(
        channels, activation="sigmoid", kernel_initializer=seeds.kernel(), name=f"excitation_{name}"
    )(s)
    return keras.layers.Multiply(name=f"excited_{name}")([x_NLC, s])


def _convolved(x: Any, filters: int, kernel_size: int, seeds: Seeds, name: str) -> Any:
    return Conv1D(filters, kernel_size, padding="same", kernel_initializer=seeds.kernel(), name=name)(x)


def _halved(x: Any, config: DeepCnnConfig, stage: int) -> Any:
    """Half the positions before each stage but the first, where the net ends in pooling over them."""
    if config.pooling == "flatten" or stage == 0 or x.shape[1] < 2:
        return x
    return keras.layers.MaxPooling1D(2, name=f"halve_{stage}")(x)


def _pooled(x_NLC: Any, config: DeepCnnConfig) -> Any:
    """(N, L, C) -> (N, L * C), or (N, C)."""
    if config.pooling == "average":
        return keras.layers.GlobalAveragePooling1D(name="pool")(x_NLC)
    if config.pooling == "max":
        return keras.layers.GlobalMaxPooling1D(name="pool")(x_NLC)
    return keras.layers.Flatten(name="flatten")(x_NLC)
