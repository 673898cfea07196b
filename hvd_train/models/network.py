"""A network as one Keras model: inputs, body and head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from hvd_train.config import ModelConfig, is_reference
from hvd_train.models.deep_cnn import deep_cnn, residual_cnn
from hvd_train.models.expansive_cnn import expansive_cnn
from hvd_train.models.heads import HeadSpec, head
from hvd_train.models.inputs import PREPARED, InputSpec, positions_and_channels, positions_and_mask
from hvd_train.models.mlp import linear, mlp
from hvd_train.models.own_network import LayerOfSettings, built, failure, own_network, reset_layer_names
from hvd_train.models.seed_cnn import seed_cnn
from hvd_train.models.seeds import Seeds
from hvd_train.models.series.layers import SeriesLayers
from hvd_train.models.series.networks import SERIES_BODIES
from hvd_train.models.tabm import tabm

# (N, L, C) -> (N, U), from the config of the network in hvd_train.config.NETWORKS. A network of M members gives (N, M, U).
BODIES: dict[str, Callable[[Any, Any, Seeds], Any]] = {
    "seed_cnn": seed_cnn,
    "deep_cnn": deep_cnn,
    "residual_cnn": residual_cnn,
    "expansive_cnn": expansive_cnn,
    "mlp": mlp,
    "tabm": tabm,
    "linear": linear,
}


def require_network(config: ModelConfig) -> None:
    """ConfigError unless the network of `config` can be had, a user's own with its options. All ranks alike."""
    if is_reference(config.name):
        own_network(config.name, config.options)


def build(
    config: ModelConfig,
    spec: InputSpec,
    head_spec: HeadSpec,
    *,
    seed: int,
    rank: Any = 0,
    batch_normalization: LayerOfSettings | None = None,
) -> Any:
    """The Keras model of `config`: plain rows (N, F) in, what the head of `head_spec` is trained on out.

    All ranks, with the same arguments but `rank`: equal weights everywhere, and on each rank the dropout of its part of the
    global batch. `rank` may be an int64 variable. `batch_normalization` makes the layer that has the settings of one of Keras's, and the
    statistics of the global batch. Raises ConfigError where the rows cannot be arranged as the config says, or a user's network fails.
    """
    seeds = Seeds(seed, rank)
    if is_reference(config.name):
        return _build_own(config, spec, head_spec, seeds, batch_normalization)
    x_NF = keras.Input((spec.num_features,), name="rows")
    x_NLC, mask = positions_and_mask(x_NF, config.inputs, spec, seeds)
    if config.name in SERIES_BODIES:
        x_NU = SERIES_BODIES[config.name](x_NLC, SeriesLayers(mask, seeds, batch_normalization))
    else:
        x_NU = BODIES[config.name](x_NLC, config.network, seeds)
    return keras.Model(x_NF, head(x_NU, head_spec, seeds), name=config.name)


def _build_own(
    config: ModelConfig, spec: InputSpec, head_spec: HeadSpec, seeds: Seeds, batch_normalization: LayerOfSettings | None
) -> Any:
    network = own_network(config.name, config.options)
    reset_layer_names()
    x_NF = keras.Input((spec.num_features,), name="rows")
    x_NLC = positions_and_channels(x_NF, config.inputs, spec, seeds)
    x_NF, x_NU = built(network, config.name, x_NF, x_NLC, seeds, batch_normalization)
    try:
        return keras.Model(x_NF, head(x_NU, head_spec, seeds), name=config.name.rpartition(":")[2])
    except ValueError as error:  # a layer of the user's has the name of one of ours
        raise failure(error, config.name) from error


def split(model: Any) -> tuple[Any, Any]:
    """`model` in two that share its layers: plain rows (N, F) to prepared ones, and from there to its outputs.

    A prepared row is the same in every step, so a run can prepare its rows once and train the second alone.
    """
    prepared = model.get_layer(PREPARED).output
    return keras.Model(model.input, prepared, name=PREPARED), keras.Model(prepared, model.output, name=model.name)
